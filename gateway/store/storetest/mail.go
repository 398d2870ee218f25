package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/store"
)

func mailClaims(t *testing.T, e Engine) {
	s, where := freshAt(t, e)
	stores := []*store.Store{s, open(t, e, where)}
	const mails = 30
	var mu sync.Mutex
	claims := map[string]int{}
	for range 5 {
		clear(claims)
		for range mails {
			m := newMail()
			commit(t, s, login.Commit{Mail: &m})
		}
		errs := atOnce(8, func(i int) error {
			for {
				got, err := stores[i%2].ClaimMail(t.Context(), epoch, epoch.Add(time.Minute), 10)
				if err != nil || len(got) == 0 {
					return err
				}
				if len(got) > 10 {
					t.Errorf("ClaimMail(10) = %d mails", len(got))
				}
				mu.Lock()
				for _, m := range got {
					claims[m.ID]++
				}
				mu.Unlock()
			}
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if len(claims) != mails {
			t.Errorf("%d mails claimed, want %d", len(claims), mails)
		}
		for id, times := range claims {
			if times != 1 {
				t.Errorf("mail %s claimed %d times", id, times)
			}
		}
	}
}

func mailReturns(t *testing.T, e Engine) {
	s := fresh(t, e)
	m, younger := newMail(), newMail()
	younger.CreatedAt, younger.DueAt = m.CreatedAt.Add(time.Second), epoch.Add(1000*time.Hour)
	oldest := func(want time.Time) {
		t.Helper()
		if got, err := s.OldestMail(t.Context()); err != nil || !got.Equal(want) {
			t.Errorf("OldestMail() = %v, %v, want %v", got, err, want)
		}
	}
	oldest(time.Time{})
	commit(t, s, login.Commit{Mail: &younger})
	oldest(younger.CreatedAt)
	commit(t, s, login.Commit{Mail: &m})
	claim := func(now time.Time) int {
		t.Helper()
		got, err := s.ClaimMail(t.Context(), now, now.Add(time.Minute), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range got {
			if g.ID != m.ID || string(g.Sealed) != "sealed" || g.Attempts != m.Attempts || !g.CreatedAt.Equal(m.CreatedAt) {
				t.Errorf("ClaimMail() = %+v, want %+v", g, m)
			}
		}
		return len(got)
	}
	for _, c := range []struct {
		name string
		now  time.Time
		want int
	}{
		{"not yet due", epoch.Add(-time.Microsecond), 0},
		{"due", epoch, 1},
		{"claimed", epoch.Add(59 * time.Second), 0},
		{"the claim ran out", epoch.Add(time.Minute), 1},
	} {
		if got := claim(c.now); got != c.want {
			t.Errorf("%s: %d mails, want %d", c.name, got, c.want)
		}
	}
	if err := s.DeferMail(t.Context(), m.ID, epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	m.Attempts = 1
	if claim(epoch.Add(59*time.Minute)) != 0 || claim(epoch.Add(time.Hour)) != 1 {
		t.Error("a deferred mail is not due at its time")
	}
	oldest(m.CreatedAt)
	for _, id := range []string{m.ID, m.ID, account.NewID(), "x"} {
		if err := s.DropMail(t.Context(), id); err != nil {
			t.Errorf("DropMail() = %v", err)
		}
	}
	if claim(epoch.Add(100*time.Hour)) != 0 {
		t.Error("a dropped mail is there")
	}
	oldest(younger.CreatedAt)
}
