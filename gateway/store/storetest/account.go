package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/store"
)

func accountRoundTrip(t *testing.T, e Engine) {
	s := fresh(t, e)
	u := newUser(account.Active)
	first, second := newIdentity(u), newIdentity(u)
	second.CreatedAt, second.LastUsedAt = epoch.Add(time.Second), time.Time{}
	commit(t, s, login.Commit{NewUser: &u, NewIdentity: &first})
	commit(t, s, login.Commit{NewIdentity: &second})

	got, err := s.User(t.Context(), u.ID)
	if d := cmp.Diff(u, got); err != nil || d != "" {
		t.Errorf("User() = %v (-want +got):\n%s", err, d)
	}
	got, err = s.UserByEmail(t.Context(), u.Email)
	if d := cmp.Diff(u, got); err != nil || d != "" {
		t.Errorf("UserByEmail() = %v (-want +got):\n%s", err, d)
	}
	got, i, err := s.UserByIdentity(t.Context(), first.Provider, first.Issuer, first.Subject)
	if d := cmp.Diff(u, got) + cmp.Diff(first, i); err != nil || d != "" {
		t.Errorf("UserByIdentity() = %v (-want +got):\n%s", err, d)
	}
	all, err := s.IdentitiesOf(t.Context(), u.ID)
	if d := cmp.Diff([]account.Identity{first, second}, all); err != nil || d != "" {
		t.Errorf("IdentitiesOf() = %v (-want +got):\n%s", err, d)
	}

	commit(t, s, login.Commit{Now: epoch.Add(time.Minute), TouchIdentity: second.ID})
	_, i, err = s.UserByIdentity(t.Context(), second.Provider, second.Issuer, second.Subject)
	if err != nil || !i.LastUsedAt.Equal(epoch.Add(time.Minute)) {
		t.Errorf("after TouchIdentity last used = %v, %v", i.LastUsedAt, err)
	}
	if _, err := s.User(t.Context(), account.NewID()); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("User() of nobody = %v, want ErrNotFound", err)
	}
}

func accountDeleted(t *testing.T, e Engine) {
	s := fresh(t, e)
	u := newUser(account.Active)
	i := newIdentity(u)
	commit(t, s, login.Commit{NewUser: &u, NewIdentity: &i})
	commit(t, s, login.Commit{UpdateUser: &login.UserUpdate{ID: u.ID, Expect: account.Active, Status: account.Deleted}})
	_, byID := s.User(t.Context(), u.ID)
	_, byEmail := s.UserByEmail(t.Context(), u.Email)
	_, _, byIdentity := s.UserByIdentity(t.Context(), i.Provider, i.Issuer, i.Subject)
	for what, err := range map[string]error{"User": byID, "UserByEmail": byEmail, "UserByIdentity": byIdentity} {
		if !errors.Is(err, account.ErrNotFound) {
			t.Errorf("%s() = %v, want ErrNotFound", what, err)
		}
	}
	again := newUser(account.Active)
	again.Email = u.Email
	commit(t, s, login.Commit{NewUser: &again})
}

func accountAddressRace(t *testing.T, e Engine) {
	s := fresh(t, e)
	errs := atOnce(32, func(int) error {
		u := newUser(account.Pending)
		u.Email = "ann@example.com"
		_, err := s.Commit(t.Context(), login.Commit{Now: epoch, NewUser: &u})
		return err
	})
	if good, refused := tally(t, errs, account.ErrConflict); good != 1 || refused != 31 {
		t.Errorf("%d users and %d conflicts, want 1 and 31", good, refused)
	}
}

func accountIdentityRace(t *testing.T, e Engine) {
	s := fresh(t, e)
	errs := atOnce(32, func(int) error {
		u := newUser(account.Active)
		i := newIdentity(u)
		i.Subject = "one"
		_, err := s.Commit(t.Context(), login.Commit{Now: epoch, NewUser: &u, NewIdentity: &i})
		if err != nil {
			if _, gone := s.User(t.Context(), u.ID); !errors.Is(gone, account.ErrNotFound) {
				return fmt.Errorf("user of a commit that failed: %w", gone)
			}
		}
		return err
	})
	if good, refused := tally(t, errs, account.ErrConflict); good != 1 || refused != 31 {
		t.Errorf("%d identities and %d conflicts, want 1 and 31", good, refused)
	}
}

func accountText(t *testing.T, e Engine) {
	s := fresh(t, e)
	for _, bad := range []string{"a\x00b", "a\xffb", "'; DROP TABLE shield_users; --", "{}", "00000000-0000-0000-0000-00000000000Z", ""} {
		_, byID := s.User(t.Context(), bad)
		_, byEmail := s.UserByEmail(t.Context(), bad)
		_, _, byIdentity := s.UserByIdentity(t.Context(), bad, bad, bad)
		for what, err := range map[string]error{"User": byID, "UserByEmail": byEmail, "UserByIdentity": byIdentity} {
			if !errors.Is(err, account.ErrNotFound) {
				t.Errorf("%s(%q) = %v, want ErrNotFound", what, bad, err)
			}
		}
		if _, found, err := s.KV(t.Context(), bad, bad, epoch); found || err != nil {
			t.Errorf("KV(%q) = %v, %v, want none", bad, found, err)
		}
	}
	u := newUser(account.Active)
	u.Name = "a\x00b"
	if _, err := s.Commit(t.Context(), login.Commit{Now: epoch, NewUser: &u}); !errors.Is(err, store.ErrText) {
		t.Errorf("Commit() with a NUL = %v, want ErrText", err)
	}
}
