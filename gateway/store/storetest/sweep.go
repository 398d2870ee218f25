package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/gateway/store"
)

func sweepExpired(t *testing.T, e Engine) {
	s := fresh(t, e)
	u := activeUser(t, s)
	gone, stays := newFlow(u.ID), newFlow(u.ID)
	gone.ExpiresAt = epoch
	expired, revoked, living := newSession(u.ID), newSession(u.ID), newSession(u.ID)
	expired.ExpiresAt = epoch
	revoked.ExpiresAt, living.ExpiresAt = epoch.Add(1000*time.Hour), epoch.Add(1000*time.Hour)
	for _, v := range []session.Session{expired, revoked, living} {
		commit(t, s, login.Commit{NewSession: &v})
	}
	for _, f := range []login.Flow{gone, stays} {
		commit(t, s, login.Commit{NewFlow: &f})
	}
	commit(t, s, login.Commit{Writes: []plugin.Write{
		{Provider: "email", Key: "gone", ExpiresAt: epoch},
		{Provider: "email", Key: "stays", ExpiresAt: epoch.Add(time.Hour)},
		{Provider: "email", Key: "forever"},
	}})
	if _, err := s.RevokeSession(t.Context(), revoked.ID, "test", epoch, epoch); err != nil {
		t.Fatal(err)
	}

	before := epoch.Add(-time.Hour)
	check := func(when string, flow, entries bool) {
		t.Helper()
		_, err := s.Flow(t.Context(), gone.Hash, before)
		_, found := entry(t, s, "email", "gone", before)
		_, expiredErr := s.Session(t.Context(), expired.ID)
		_, revokedErr := s.Session(t.Context(), revoked.ID)
		all, _ := s.RevocationsSince(t.Context(), time.Time{}, before)
		if (err == nil) != flow || found != entries || expiredErr != nil || revokedErr != nil || len(all) != 1 {
			t.Errorf("%s: flow %v, entry %v, sessions %v %v, %d revocations", when, err, found, expiredErr, revokedErr, len(all))
		}
		if _, err := s.Flow(t.Context(), stays.Hash, before); err != nil {
			t.Errorf("%s: a flow that waits is gone: %v", when, err)
		}
		if _, found := entry(t, s, "email", "stays", before); !found {
			t.Errorf("%s: an entry that lives is gone", when)
		}
		if _, found := entry(t, s, "email", "forever", before); !found {
			t.Errorf("%s: an entry that never expires is gone", when)
		}
	}
	for _, c := range []struct {
		when    string
		now     time.Time
		expired bool
	}{
		{"before the expiry", epoch.Add(-time.Microsecond), false},
		{"at the expiry", epoch, true},
	} {
		if err := s.Sweep(t.Context(), c.now); err != nil {
			t.Fatalf("Sweep() = %v", err)
		}
		check(c.when, !c.expired, !c.expired)
	}
	if err := s.Sweep(t.Context(), epoch.Add(8*24*time.Hour)); err != nil {
		t.Fatalf("Sweep() = %v", err)
	}
	for _, v := range []session.Session{expired, revoked} {
		if _, err := s.Session(t.Context(), v.ID); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("a week later: Session() = %v, want ErrInvalid", err)
		}
	}
	if _, err := s.Session(t.Context(), living.ID); err != nil {
		t.Errorf("a week later: a living session is gone: %v", err)
	}
	if all, err := s.RevocationsSince(t.Context(), time.Time{}, before); err != nil || len(all) != 0 {
		t.Errorf("a week later: RevocationsSince() = %v, %v, want none", all, err)
	}
	if _, found := entry(t, s, "email", "forever", epoch); !found {
		t.Error("a week later: an entry that never expires is gone")
	}
}

func sweepConcurrently(t *testing.T, e Engine) {
	s, where := freshAt(t, e)
	stores := []*store.Store{s, open(t, e, where)}
	var writes []plugin.Write
	for i := range 1500 { // more than one batch
		writes = append(writes, plugin.Write{Provider: "email", Key: fmt.Sprint(i), ExpiresAt: epoch})
	}
	commit(t, s, login.Commit{Writes: writes})
	errs := atOnce(4, func(i int) error { return stores[i%2].Sweep(t.Context(), epoch) })
	if err := errors.Join(errs...); err != nil {
		t.Errorf("Sweep() = %v", err)
	}
	if err := s.Sweep(t.Context(), epoch); err != nil {
		t.Errorf("Sweep() = %v", err)
	}
	for i := range 1500 {
		if _, found := entry(t, s, "email", fmt.Sprint(i), epoch.Add(-time.Hour)); found {
			t.Fatalf("entry %d is still there", i)
		}
	}
}

// each calls every kind of operation.
func each(ctx context.Context, s *store.Store) map[string]error {
	_, session := s.Session(ctx, newUser("").ID)
	_, rotate := s.RotateSession(ctx, newUser("").ID, 1, epoch, epoch)
	_, revoke := s.RevokeSession(ctx, newUser("").ID, "", epoch, epoch)
	_, claim := s.ClaimMail(ctx, epoch, epoch, 1)
	_, _, kv := s.KV(ctx, "email", "k", epoch)
	_, user := s.UserByEmail(ctx, "ann@example.com")
	_, commit := s.Commit(ctx, login.Commit{Now: epoch, SpendFlow: newUser("").ID})
	_, pending := s.Pending(ctx)
	return map[string]error{
		"Session": session, "RotateSession": rotate, "RevokeSession": revoke, "ClaimMail": claim, "KV": kv,
		"UserByEmail": user, "Commit": commit, "Pending": pending, "Ping": s.Ping(ctx), "Sweep": s.Sweep(ctx, epoch),
	}
}

func unavailableClosed(t *testing.T, e Engine) {
	s := fresh(t, e)
	s.Close()
	for what, err := range each(t.Context(), s) {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s() on a closed store = %v, want ErrUnavailable", what, err)
		}
	}
	if err := s.Migrate(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Migrate() on a closed store = %v, want ErrUnavailable", err)
	}
}

func unavailableDeadline(t *testing.T, e Engine) {
	s := fresh(t, e)
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for what, err := range each(late, s) {
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s() after the deadline = %v, want ErrUnavailable and DeadlineExceeded", what, err)
		}
	}
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	for what, err := range each(gone, s) {
		if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s() for a caller who is gone = %v, want Canceled alone", what, err)
		}
	}
}
