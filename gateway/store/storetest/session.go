package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/session"
)

func sessionRoundTrip(t *testing.T, e Engine) {
	s := fresh(t, e)
	u := activeUser(t, s)
	want := activeSession(t, s, u.ID)
	got, err := s.Session(t.Context(), want.ID)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("Session() = %v (-want +got):\n%s", err, d)
	}
	for _, id := range []string{"", "x", account.NewID(), "a\x00"} {
		if _, err := s.Session(t.Context(), id); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("Session(%q) = %v, want ErrInvalid", id, err)
		}
	}

	newer, expired, revoked := newSession(u.ID), newSession(u.ID), newSession(u.ID)
	newer.CreatedAt = epoch.Add(time.Second)
	expired.ExpiresAt = epoch.Add(time.Minute)
	for _, v := range []session.Session{newer, expired, revoked} {
		commit(t, s, login.Commit{NewSession: &v})
	}
	now := epoch.Add(time.Minute)
	if was, err := s.RevokeSession(t.Context(), revoked.ID, "test", now, now); !was || err != nil {
		t.Errorf("RevokeSession() = %v, %v, want true", was, err)
	}
	all, err := s.SessionsOf(t.Context(), u.ID, now)
	if d := cmp.Diff([]session.Session{newer, want}, all); err != nil || d != "" {
		t.Errorf("SessionsOf() = %v (-want +got):\n%s", err, d)
	}
	if n, err := s.CountSessions(t.Context(), now); n != 2 || err != nil {
		t.Errorf("CountSessions() = %d, %v, want 2", n, err)
	}
	if got, _ := s.Session(t.Context(), revoked.ID); !got.RevokedAt.Equal(now) || got.Reason != "test" {
		t.Errorf("revoked at %v for %q", got.RevokedAt, got.Reason)
	}
}

func sessionRotateRace(t *testing.T, e Engine) {
	s := fresh(t, e)
	v := activeSession(t, s, activeUser(t, s).ID)
	now, expires := epoch.Add(time.Minute), epoch.Add(48*time.Hour)
	errLost := errors.New("lost")
	for from := int64(1); from <= 3; from++ {
		errs := atOnce(32, func(int) error {
			won, err := s.RotateSession(t.Context(), v.ID, from, now, expires)
			if err == nil && !won {
				return errLost
			}
			return err
		})
		if good, _ := tally(t, errs, errLost); good != 1 {
			t.Errorf("%d rotations from %d, want 1", good, from)
		}
	}
	got, err := s.Session(t.Context(), v.ID)
	want := v
	want.Counter, want.RotatedAt, want.LastUsedAt, want.ExpiresAt = 4, now, now, expires
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("Session() = %v (-want +got):\n%s", err, d)
	}
}

func sessionRotateDead(t *testing.T, e Engine) {
	s := fresh(t, e)
	u := activeUser(t, s)
	expired, revoked := activeSession(t, s, u.ID), activeSession(t, s, u.ID)
	if _, err := s.RevokeSession(t.Context(), revoked.ID, "test", epoch, epoch); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id  string
		now time.Time
	}{"expired": {expired.ID, expired.ExpiresAt}, "revoked": {revoked.ID, epoch}, "absent": {account.NewID(), epoch}, "no id": {"x", epoch}} {
		if won, err := s.RotateSession(t.Context(), c.id, 1, c.now, c.now.Add(time.Hour)); won || err != nil {
			t.Errorf("%s: RotateSession() = %v, %v, want false", name, won, err)
		}
	}
}

func sessionUsed(t *testing.T, e Engine) {
	s := fresh(t, e)
	v := activeSession(t, s, activeUser(t, s).ID)
	for range 4 {
		got, _ := s.Session(t.Context(), v.ID)
		if won, err := s.RotateSession(t.Context(), v.ID, got.Counter, epoch, v.ExpiresAt); !won || err != nil {
			t.Fatal(won, err)
		}
	}
	for _, c := range []struct{ mark, want int64 }{{2, 2}, {4, 4}, {3, 4}, {6, 4}, {5, 5}} {
		if err := s.MarkSessionUsed(t.Context(), v.ID, c.mark); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Session(t.Context(), v.ID); err != nil || got.Used != c.want {
			t.Errorf("after MarkSessionUsed(%d) used = %d, %v, want %d", c.mark, got.Used, err, c.want)
		}
	}
}

func sessionRevokeRace(t *testing.T, e Engine) {
	s := fresh(t, e)
	v := activeSession(t, s, activeUser(t, s).ID)
	errDead := errors.New("dead before")
	errs := atOnce(16, func(i int) error {
		was, err := s.RevokeSession(t.Context(), v.ID, fmt.Sprint(i), epoch, epoch.Add(time.Hour))
		if err == nil && !was {
			return errDead
		}
		return err
	})
	if good, _ := tally(t, errs, errDead); good != 1 {
		t.Errorf("%d revocations ended the session, want 1", good)
	}
	if all, err := s.RevocationsSince(t.Context(), time.Time{}, epoch); err != nil || len(all) != 1 {
		t.Errorf("RevocationsSince() = %v, %v, want one", all, err)
	}
}

// sessionRevocations reads as a gateway does: from the newest time that it saw, less the
// overlap, whatever its own clock says.
func sessionRevocations(t *testing.T, e Engine) {
	s := fresh(t, e)
	u := activeUser(t, s)
	one, two, three := activeSession(t, s, u.ID), activeSession(t, s, u.ID), activeSession(t, s, u.ID)
	end := func(id string, dead time.Time) {
		t.Helper()
		if was, err := s.RevokeSession(t.Context(), id, "test", epoch, dead); !was || err != nil {
			t.Fatalf("RevokeSession() = %v, %v", was, err)
		}
	}
	ids := func(since, now time.Time) (out []string) {
		t.Helper()
		all, err := s.RevocationsSince(t.Context(), since, now)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range all {
			if i > 0 && r.Seq <= all[i-1].Seq {
				t.Errorf("seq %d after %d", r.Seq, all[i-1].Seq)
			}
			out = append(out, r.SessionID)
		}
		return out
	}
	end(one.ID, epoch.Add(time.Minute))
	end(two.ID, epoch.Add(time.Hour))
	all, err := s.RevocationsSince(t.Context(), time.Time{}, epoch)
	if err != nil || len(all) != 2 {
		t.Fatalf("RevocationsSince() = %v, %v, want two", all, err)
	}
	last := all[1].At
	end(three.ID, epoch.Add(time.Hour))
	if d := cmp.Diff([]string{one.ID, two.ID, three.ID}, ids(last.Add(-10*time.Second), epoch)); d != "" {
		t.Errorf("over the overlap (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{two.ID, three.ID}, ids(time.Time{}, epoch.Add(time.Minute))); d != "" {
		t.Errorf("after the first expired (-want +got):\n%s", d)
	}
	if got := ids(last.Add(time.Hour), epoch); len(got) != 0 {
		t.Errorf("since later = %v, want none", got)
	}
}
