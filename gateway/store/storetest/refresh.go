package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/gateway/session"
)

// How a crashing program is told what to do.
const (
	crashWhere = "SHIELD_STORETEST_WHERE"
	crashToken = "SHIELD_STORETEST_TOKEN"
)

// clock is a time that the test moves.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return epoch.Add(time.Duration(c.at.Load())) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func newKeeper(s session.Store, now func() time.Time) (*session.Keeper, error) {
	key, err := seal.NewKey("a secret key of the conformance suite")
	if err != nil {
		return nil, err
	}
	return session.New(session.Options{
		Store: s, Key: key, Now: now, AccessTTL: 15 * time.Minute, Leeway: 30 * time.Second,
		Config: config.Session{RefreshTTL: 24 * time.Hour, Grace: 10 * time.Second},
		Log:    slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
}

// refresh64 is 64 tabs on two gateways that refresh the same token at once.
func refresh64(t *testing.T, e Engine) {
	s, where := freshAt(t, e)
	u := activeUser(t, s)
	var c clock
	var keepers []*session.Keeper
	for _, db := range []session.Store{s, open(t, e, where)} {
		k, err := newKeeper(db, c.now)
		if err != nil {
			t.Fatal(err)
		}
		keepers = append(keepers, k)
	}
	v, first, err := keepers[0].Start(u.ID, session.Login{Method: "email"})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, login.Commit{NewSession: &v})

	token := first
	for round := int64(2); round < 5; round++ {
		next := make([]string, 64)
		errs := atOnce(64, func(i int) (err error) {
			_, next[i], err = keepers[i%2].Refresh(t.Context(), token)
			return err
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("round %d: an honest client was refused: %v", round, err)
		}
		for _, n := range next {
			if n != next[0] {
				t.Fatalf("round %d: two successors of one token", round)
			}
		}
		got, err := s.Session(t.Context(), v.ID)
		if err != nil || got.Counter != round {
			t.Fatalf("round %d: counter = %d, %v", round, got.Counter, err)
		}
		token = next[0]
	}

	// The first token is three generations old: 64 thieves end one family once.
	errs := atOnce(64, func(i int) error {
		_, _, err := keepers[i%2].Refresh(t.Context(), first)
		return err
	})
	for _, err := range errs {
		if !errors.Is(err, session.ErrReused) && !errors.Is(err, session.ErrRevoked) {
			t.Errorf("Refresh() of an old token = %v, want ErrReused or ErrRevoked", err)
		}
	}
	if _, _, err := keepers[0].Refresh(t.Context(), token); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("Refresh() of the current token = %v, want ErrRevoked", err)
	}
	all, err := s.RevocationsSince(t.Context(), time.Time{}, epoch)
	if err != nil || len(all) != 1 || all[0].SessionID != v.ID {
		t.Errorf("RevocationsSince() = %v, %v, want one", all, err)
	}
}

// killing is a store that kills its program between the commit and the answer.
type killing struct{ session.Store }

func (k killing) RotateSession(ctx context.Context, id string, from int64, now, expires time.Time) (bool, error) {
	won, err := k.Store.RotateSession(ctx, id, from, now, expires)
	if err != nil || !won {
		return won, err
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// crash is the program that is killed.
func crash(e Engine, where, token string) int {
	s, err := e.Open(context.Background(), where)
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 1
	}
	k, err := newKeeper(killing{s}, func() time.Time { return epoch })
	if err != nil {
		fmt.Fprintln(os.Stderr, "keeper:", err)
		return 1
	}
	_, _, err = k.Refresh(context.Background(), token)
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 1
}

// refreshKilled runs a gateway that is killed after it spent the token and before it
// answered. The client asks another gateway, long after the grace, and goes on.
func refreshKilled(t *testing.T, e Engine) {
	s, where := freshAt(t, e)
	u := activeUser(t, s)
	var c clock
	k, err := newKeeper(s, c.now)
	if err != nil {
		t.Fatal(err)
	}
	v, token, err := k.Start(u.ID, session.Login{Method: "email"})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, login.Commit{NewSession: &v})

	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), crashWhere+"="+where, crashToken+"="+token)
	out, err := program.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the program was not killed: %v\n%s", err, out)
	}
	got, err := s.Session(t.Context(), v.ID)
	if err != nil || got.Counter != 2 {
		t.Fatalf("after the kill counter = %d, %v, want 2", got.Counter, err)
	}

	c.advance(time.Hour)
	_, next, err := k.Refresh(t.Context(), token)
	if err != nil {
		t.Fatalf("Refresh() after the kill = %v", err)
	}
	if after, _, err := k.Refresh(t.Context(), next); err != nil || after.Counter != 3 {
		t.Errorf("Refresh() of the successor = generation %d, %v, want 3", after.Counter, err)
	}
}
