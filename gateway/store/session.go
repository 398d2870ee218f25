package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/session"
)

const sessionColumns = `id, user_id, counter, used, salt, method, amr, COALESCE(CAST(identity_id AS text), ''), upstream, ip, user_agent,
	created_at, rotated_at, last_used_at, expires_at, revoked_at, reason`

// Session returns a session, or [session.ErrInvalid].
func (s *Store) Session(ctx context.Context, id string) (session.Session, error) {
	if !isID(id) {
		return session.Session{}, session.ErrInvalid
	}
	all, err := s.sessions(ctx, `SELECT `+sessionColumns+` FROM shield_sessions WHERE id = $1`, id)
	if err != nil {
		return session.Session{}, err
	}
	if len(all) == 0 {
		return session.Session{}, session.ErrInvalid
	}
	return all[0], nil
}

// SessionsOf returns the living sessions of a user, newest first.
func (s *Store) SessionsOf(ctx context.Context, userID string, now time.Time) ([]session.Session, error) {
	if !isID(userID) {
		return nil, nil
	}
	return s.sessions(ctx, `SELECT `+sessionColumns+` FROM shield_sessions
		WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY created_at DESC, id DESC`, userID, now)
}

func (s *Store) sessions(ctx context.Context, sql string, args ...any) ([]session.Session, error) {
	var all []session.Session
	err := s.query(ctx, "read sessions", sql, args, func() { all = nil }, func(r Row) error {
		var v session.Session
		var amr string
		err := r.Scan(&v.ID, &v.UserID, &v.Counter, &v.Used, &v.Salt, &v.Method, &amr, &v.IdentityID, &v.Upstream, &v.IP, &v.UserAgent,
			&v.CreatedAt, &v.RotatedAt, &v.LastUsedAt, &v.ExpiresAt, &v.RevokedAt, &v.Reason)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(amr), &v.AMR); err != nil {
			return fmt.Errorf("amr of session %s: %w", v.ID, err)
		}
		all = append(all, v)
		return nil
	})
	return all, err
}

// RotateSession moves a living session from generation from to the next, and reports whether
// it did. Of any number of callers with the same from, one is told true.
func (s *Store) RotateSession(ctx context.Context, id string, from int64, now, expires time.Time) (bool, error) {
	if !isID(id) {
		return false, nil
	}
	n, err := s.exec(ctx, "rotate session",
		`UPDATE shield_sessions SET counter = counter + 1, rotated_at = $3, last_used_at = $3, expires_at = $4
		WHERE id = $1 AND counter = $2 AND revoked_at IS NULL AND expires_at > $3`, id, from, now, expires)
	return n == 1, err
}

// MarkSessionUsed records that an access token of generation was seen at work.
func (s *Store) MarkSessionUsed(ctx context.Context, id string, generation int64) error {
	if !isID(id) {
		return nil
	}
	_, err := s.exec(ctx, "mark session used",
		`UPDATE shield_sessions SET used = $2 WHERE id = $1 AND used < $2 AND counter >= $2`, id, generation)
	return err
}

// RevokeSession ends a session, records its revocation until tokensDead, and reports whether
// it was alive.
func (s *Store) RevokeSession(ctx context.Context, id, reason string, now, tokensDead time.Time) (bool, error) {
	if !isID(id) {
		return false, nil
	}
	alive := false
	err := s.tx(ctx, "revoke session", func(ctx context.Context, c Conn) error {
		n, err := c.Exec(ctx, `UPDATE shield_sessions SET revoked_at = $2, reason = $3
			WHERE id = $1 AND revoked_at IS NULL`, id, now, reason)
		alive = n == 1
		if err != nil || !alive {
			return err
		}
		_, err = c.Exec(ctx, `INSERT INTO shield_revocations (session_id, at, expires_at)
			VALUES ($1, `+s.dialect.Clock+`, $2)`, id, tokensDead)
		return err
	})
	return alive && err == nil, err
}

// RevokeSessionsOf ends all living sessions of a user but the one named except, and returns
// their ids.
func (s *Store) RevokeSessionsOf(ctx context.Context, userID, except, reason string, now, tokensDead time.Time) ([]string, error) {
	if !isID(userID) {
		return nil, nil
	}
	var revoked []string
	err := s.tx(ctx, "revoke sessions", func(ctx context.Context, c Conn) (err error) {
		// A login that commits at this moment is before this or after it, never half of both.
		if _, err = s.lockUsers(ctx, c, userID); err != nil {
			return err
		}
		revoked, err = s.revokeSessionsOf(ctx, c, userID, except, reason, now, tokensDead)
		return err
	})
	if err != nil {
		return nil, err
	}
	return revoked, nil
}

// revokeSessionsOf is for a transaction that has locked the user, so that two of its kind
// never wait for each other's sessions.
func (s *Store) revokeSessionsOf(ctx context.Context, c Conn, userID, except, reason string, now, tokensDead time.Time) ([]string, error) {
	if !isID(except) {
		except = "00000000-0000-0000-0000-000000000000"
	}
	return s.revokeSessions(ctx, c, tokensDead, `UPDATE shield_sessions SET revoked_at = $3, reason = $4
		WHERE user_id = $1 AND id <> $2 AND revoked_at IS NULL RETURNING id`, userID, except, now, reason)
}

// revokeSessionsBy ends the living sessions of a user that began with one identity: all of
// them, or those that the other site calls by one of the names of upstream. The user is
// locked.
func (s *Store) revokeSessionsBy(ctx context.Context, c Conn, r login.RevokeSessions, now time.Time) ([]string, error) {
	const sql = `UPDATE shield_sessions SET revoked_at = $3, reason = $4
		WHERE user_id = $1 AND identity_id = $2 AND revoked_at IS NULL`
	if len(r.Upstream) == 0 {
		return s.revokeSessions(ctx, c, r.TokensDead, sql+` RETURNING id`, r.UserID, r.IdentityID, now, r.Reason)
	}
	var revoked []string
	for _, name := range r.Upstream {
		ids, err := s.revokeSessions(ctx, c, r.TokensDead, sql+` AND upstream = $5 RETURNING id`, r.UserID, r.IdentityID, now, r.Reason, name)
		if err != nil {
			return nil, err
		}
		revoked = append(revoked, ids...)
	}
	return revoked, nil
}

// revokeSessions runs an UPDATE that ends sessions and returns their ids, and records their
// revocations.
func (s *Store) revokeSessions(ctx context.Context, c Conn, tokensDead time.Time, sql string, args ...any) ([]string, error) {
	var revoked []string
	err := c.Query(ctx, sql, args, func(r Row) error {
		var id string
		err := r.Scan(&id)
		revoked = append(revoked, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, id := range revoked {
		_, err := c.Exec(ctx, `INSERT INTO shield_revocations (session_id, at, expires_at)
			VALUES ($1, `+s.dialect.Clock+`, $2)`, id, tokensDead)
		if err != nil {
			return nil, err
		}
	}
	return revoked, nil
}

// RevocationsSince returns the revocations made at or after since that have not expired at
// now, in the order in which they were made. since is in the database's time, as
// [session.Revocation].At is, so that the clocks of the gateways do not matter. Operations
// that hold all connections, because something keeps them waiting, do not delay it.
func (s *Store) RevocationsSince(ctx context.Context, since, now time.Time) ([]session.Revocation, error) {
	if since.IsZero() {
		since = time.Unix(0, 0)
	}
	var all []session.Revocation
	err := s.run(ctx, "read revocations", func(ctx context.Context) error {
		all = nil
		return s.db.Urgent().Query(ctx, `SELECT seq, session_id, at, expires_at FROM shield_revocations
			WHERE at >= $1 AND expires_at > $2 ORDER BY seq`, []any{since, now}, func(r Row) error {
			var v session.Revocation
			err := r.Scan(&v.Seq, &v.SessionID, &v.At, &v.ExpiresAt)
			all = append(all, v)
			return err
		})
	})
	return all, err
}

// CountSessions returns how many sessions could be refreshed at now.
func (s *Store) CountSessions(ctx context.Context, now time.Time) (int64, error) {
	var n int64
	err := s.one(ctx, "count sessions", nil,
		`SELECT count(*) FROM shield_sessions WHERE revoked_at IS NULL AND expires_at > $1`, []any{now}, &n)
	return n, err
}

func insertSession(ctx context.Context, c Conn, v session.Session) error {
	amr, err := json.Marshal(append([]string{}, v.AMR...))
	if err != nil {
		return fmt.Errorf("encode amr: %w", err)
	}
	_, err = c.Exec(ctx, `INSERT INTO shield_sessions (id, user_id, counter, used, salt, method, amr, identity_id, upstream, ip, user_agent,
			created_at, rotated_at, last_used_at, expires_at, revoked_at, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		v.ID, v.UserID, v.Counter, v.Used, bytes(v.Salt), v.Method, string(amr), null(v.IdentityID), v.Upstream, v.IP, v.UserAgent,
		v.CreatedAt, v.RotatedAt, v.LastUsedAt, v.ExpiresAt, v.RevokedAt, v.Reason)
	return err
}
