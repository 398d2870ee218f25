package store

import (
	"context"
	"time"
)

const (
	// sweepBatch is how many rows one statement of a sweep removes, so that none holds its
	// locks for long.
	sweepBatch = 1000
	// keepSessions is how long a session that has ended stays readable, so that its tokens
	// are told that they expired or were revoked, and operators can look why.
	keepSessions = 7 * 24 * time.Hour
	// keepRevocations covers differences between the clocks of gateways.
	keepRevocations = time.Minute
)

// Sweep removes what has expired: flows, key-value entries, revocations, and sessions a week
// after their end. Several gateways may sweep at once.
func (s *Store) Sweep(ctx context.Context, now time.Time) error {
	sweeps := []struct {
		op, sql string
		before  time.Time
	}{
		{"sweep flows", `DELETE FROM shield_flows WHERE id IN (
			SELECT id FROM shield_flows WHERE expires_at <= $1 LIMIT $2` + s.dialect.SkipLocked + `)`, now},
		{"sweep entries", `DELETE FROM shield_kv WHERE (provider, key) IN (
			SELECT provider, key FROM shield_kv WHERE expires_at <= $1 LIMIT $2` + s.dialect.SkipLocked + `)`, now},
		{"sweep revocations", `DELETE FROM shield_revocations WHERE seq IN (
			SELECT seq FROM shield_revocations WHERE expires_at <= $1 LIMIT $2` + s.dialect.SkipLocked + `)`, now.Add(-keepRevocations)},
		{"sweep expired sessions", `DELETE FROM shield_sessions WHERE id IN (
			SELECT id FROM shield_sessions WHERE expires_at <= $1 LIMIT $2` + s.dialect.SkipLocked + `)`, now.Add(-keepSessions)},
		{"sweep revoked sessions", `DELETE FROM shield_sessions WHERE id IN (
			SELECT id FROM shield_sessions WHERE revoked_at <= $1 LIMIT $2` + s.dialect.SkipLocked + `)`, now.Add(-keepSessions)},
	}
	for _, w := range sweeps {
		for {
			n, err := s.exec(ctx, w.op, w.sql, w.before, sweepBatch)
			if err != nil {
				return err
			}
			if n < sweepBatch {
				break
			}
		}
	}
	return nil
}
