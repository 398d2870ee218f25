package session_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/materi/shield/gateway/session"
)

// memory is a store in memory. The suite of package storetest runs keepers on the real ones.
type memory struct {
	mu          sync.Mutex
	sessions    map[string]session.Session
	revocations []session.Revocation
	clock       time.Time // the database's own
	err         error     // what every call fails with, if set
	afterRead   func()    // called once after a session was read
}

var _ session.Store = (*memory)(nil)

func newMemory() *memory {
	return &memory{sessions: map[string]session.Session{}, clock: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (m *memory) put(v session.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[v.ID] = v
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// begin locks the store for one call, or says why the call fails.
func (m *memory) begin(ctx context.Context) (func(), error) {
	m.mu.Lock()
	if ctx.Err() != nil {
		m.mu.Unlock()
		return func() {}, ctx.Err()
	}
	if m.err != nil {
		defer m.mu.Unlock()
		return func() {}, m.err
	}
	return m.mu.Unlock, nil
}

func (m *memory) Session(ctx context.Context, id string) (session.Session, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return session.Session{}, err
	}
	v, found := m.sessions[id]
	hook := m.afterRead
	m.afterRead = nil
	end()
	if hook != nil {
		hook()
	}
	if !found {
		return session.Session{}, session.ErrInvalid
	}
	return v, nil
}

func (m *memory) SessionsOf(ctx context.Context, userID string, now time.Time) ([]session.Session, error) {
	end, err := m.begin(ctx)
	defer end()
	var all []session.Session
	for _, v := range m.sessions {
		if v.UserID == userID && v.RevokedAt.IsZero() && v.ExpiresAt.After(now) {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b session.Session) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return all, err
}

func (m *memory) RotateSession(ctx context.Context, id string, from int64, now, expires time.Time) (bool, error) {
	end, err := m.begin(ctx)
	defer end()
	v, found := m.sessions[id]
	if err != nil || !found || v.Counter != from || !v.RevokedAt.IsZero() || !v.ExpiresAt.After(now) {
		return false, err
	}
	v.Counter++
	v.RotatedAt, v.LastUsedAt, v.ExpiresAt = now, now, expires
	m.sessions[id] = v
	return true, nil
}

func (m *memory) MarkSessionUsed(ctx context.Context, id string, generation int64) error {
	end, err := m.begin(ctx)
	defer end()
	if v, found := m.sessions[id]; err == nil && found && v.Used < generation && v.Counter >= generation {
		v.Used = generation
		m.sessions[id] = v
	}
	return err
}

func (m *memory) RevokeSession(ctx context.Context, id, reason string, now, dead time.Time) (bool, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return false, err
	}
	return m.revoke(id, reason, now, dead), nil
}

func (m *memory) RevokeSessionsOf(ctx context.Context, userID, except, reason string, now, dead time.Time) ([]string, error) {
	end, err := m.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	var ids []string
	for id, v := range m.sessions {
		if v.UserID == userID && id != except && m.revoke(id, reason, now, dead) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func (m *memory) revoke(id, reason string, now, dead time.Time) bool {
	v, found := m.sessions[id]
	if !found || !v.RevokedAt.IsZero() {
		return false
	}
	v.RevokedAt, v.Reason = now, reason
	m.sessions[id] = v
	m.revocations = append(m.revocations, session.Revocation{
		Seq: int64(len(m.revocations) + 1), SessionID: id, At: m.clock, ExpiresAt: dead,
	})
	return true
}

func (m *memory) RevocationsSince(ctx context.Context, since, now time.Time) ([]session.Revocation, error) {
	end, err := m.begin(ctx)
	defer end()
	var all []session.Revocation
	for _, r := range m.revocations {
		if !r.At.Before(since) && r.ExpiresAt.After(now) {
			all = append(all, r)
		}
	}
	return all, err
}

func (m *memory) CountSessions(ctx context.Context, now time.Time) (int64, error) {
	end, err := m.begin(ctx)
	defer end()
	n := int64(0)
	for _, v := range m.sessions {
		if v.RevokedAt.IsZero() && v.ExpiresAt.After(now) {
			n++
		}
	}
	return n, err
}
