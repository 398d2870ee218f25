package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/gateway/session"
)

// run runs a keeper until the test ends.
func run(t testing.TB, k *session.Keeper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// eventually waits for a condition that a goroutine brings about.
func eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func TestRevocationIsFeltElsewhereWithinASecond(t *testing.T) {
	b := newBench(t)
	other := b.another(t, prometheus.NewRegistry())
	run(t, other)
	eventually(t, 5*time.Second, "first poll", func() bool { return other.Check() == nil })
	for range 3 {
		v, _ := b.login(t, ann)
		b.store.mu.Lock()
		b.store.clock = b.store.clock.Add(time.Second)
		b.store.mu.Unlock()
		if err := b.Revoke(t.Context(), ann, v.ID, session.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Second, "the other gateway refuses the session", func() bool { return other.Revoked(v.ID) })
	}
}

func TestRevocationsOfBeforeTheStartAreKnownAfterTheFirstPoll(t *testing.T) {
	b := newBench(t)
	v, _ := b.login(t, ann)
	if err := b.Revoke(t.Context(), ann, v.ID, "test"); err != nil {
		t.Fatal(err)
	}
	late := b.another(t, prometheus.NewRegistry())
	if late.Check() == nil {
		t.Error("Check() before the first poll = nil")
	}
	late.Poll(t.Context())
	if err := late.Check(); err != nil || !late.Revoked(v.ID) {
		t.Errorf("after the first poll: Check() = %v, Revoked() = %v", err, late.Revoked(v.ID))
	}
}

// A transaction that began before the newest one read commits after it, with an older time.
func TestRevocationThatCommitsLateIsNotMissed(t *testing.T) {
	b := newBench(t)
	one, _ := b.login(t, ann)
	two, _ := b.login(t, ann)
	other := b.another(t, prometheus.NewRegistry())
	other.Poll(t.Context())
	_ = b.Revoke(t.Context(), ann, one.ID, "test")
	other.Poll(t.Context())
	b.store.clock = b.store.clock.Add(-9 * time.Second)
	_ = b.Revoke(t.Context(), ann, two.ID, "test")
	other.Poll(t.Context())
	if !other.Revoked(two.ID) {
		t.Error("a revocation 9 s older than the newest was missed")
	}
}

// The database's clock goes back by an hour, as after a failover.
func TestClockOfTheDatabaseMayJump(t *testing.T) {
	b := newBench(t)
	one, _ := b.login(t, ann)
	two, _ := b.login(t, ann)
	other := b.another(t, prometheus.NewRegistry())
	_ = b.Revoke(t.Context(), ann, one.ID, "test")
	other.Poll(t.Context())
	b.store.clock = b.store.clock.Add(-time.Hour)
	_ = b.Revoke(t.Context(), ann, two.ID, "test")
	b.advance(time.Minute)
	other.Poll(t.Context())
	if !other.Revoked(two.ID) {
		t.Error("the revocation was not read within a minute")
	}
}

func TestRevocationIsForgottenWhenItsTokensAreDead(t *testing.T) {
	b := newBench(t)
	for range 1000 {
		v, _ := b.login(t, ann)
		_ = b.Revoke(t.Context(), ann, v.ID, "test")
	}
	v, _ := b.login(t, ann)
	_ = b.Revoke(t.Context(), ann, v.ID, "test")
	b.Poll(t.Context())
	if got := value(t, b.reg, "materi_revoked_sessions"); got != 1001 {
		t.Errorf("%v sessions are refused, want 1001", got)
	}
	b.advance(15*time.Minute + 30*time.Second)
	b.Poll(t.Context())
	if !b.Revoked(v.ID) {
		t.Error("forgotten while an access token may be accepted")
	}
	b.advance(2 * time.Minute)
	b.Poll(t.Context())
	if got := value(t, b.reg, "materi_revoked_sessions"); got != 0 || b.Revoked(v.ID) {
		t.Errorf("%v sessions are refused, want 0", got)
	}
}

// The database goes away: what is known stays refused, the log is told once.
func TestPollThatFailsForgetsNothing(t *testing.T) {
	b := newBench(t)
	v, _ := b.login(t, ann)
	_ = b.Revoke(t.Context(), ann, v.ID, "test")
	b.Poll(t.Context())
	down := errors.New("down")
	b.store.fail(down)
	for range 3 {
		b.Poll(t.Context())
	}
	if err := b.Check(); !errors.Is(err, down) {
		t.Errorf("Check() = %v, want the store's error", err)
	}
	if !b.Revoked(v.ID) {
		t.Error("a revocation was forgotten")
	}
	if n := strings.Count(b.log.String(), "cannot be read"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
	b.store.fail(nil)
	b.Poll(t.Context())
	if err := b.Check(); err != nil {
		t.Errorf("Check() after the database came back = %v", err)
	}
}

// A probe asks while the database hangs.
func TestCheckDoesNotWaitForThePoll(t *testing.T) {
	b := newBench(t)
	polling, release := make(chan struct{}), make(chan struct{})
	hung := b.another(t, prometheus.NewRegistry(), func(o *session.Options) {
		o.Store = hanging{b.store, polling, release}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		hung.Poll(context.Background())
	}()
	<-polling
	if err := hung.Check(); err == nil {
		t.Error("Check() before the first poll came back = nil")
	}
	close(release)
	<-done
	if err := hung.Check(); err != nil {
		t.Errorf("Check() = %v", err)
	}
}

// hanging is a store whose revocations take until release.
type hanging struct {
	session.Store
	polling, release chan struct{}
}

func (h hanging) RevocationsSince(ctx context.Context, since, now time.Time) ([]session.Revocation, error) {
	close(h.polling)
	<-h.release
	return h.Store.RevocationsSince(ctx, since, now)
}

func TestSeenIsRecordedAndBounded(t *testing.T) {
	b := newBench(t, func(o *session.Options) { o.MaxPending = 3 })
	v, first := b.login(t, ann)
	_, _ = b.mustRefresh(t, first)
	b.Seen("", 1)
	b.Seen(v.ID, 0)
	b.Seen(v.ID, 2)
	b.Seen(v.ID, 1) // an older token of the same session takes no room
	for i := range 10 {
		b.Seen(fmt.Sprint("session ", i), 1)
	}
	if got := value(t, b.reg, "materi_session_uses_dropped_total"); got != 8 {
		t.Errorf("%v uses dropped, want 8", got)
	}
	stop := run(t, b.Keeper)
	stop() // what was seen is recorded before Run returns
	if got := b.store.sessions[v.ID].Used; got != 2 {
		t.Errorf("used = %d, want 2", got)
	}
}

func TestSeenWaitsForADatabaseThatIsAway(t *testing.T) {
	b := newBench(t)
	v, first := b.login(t, ann)
	_, _ = b.mustRefresh(t, first)
	b.Seen(v.ID, 2)
	b.store.fail(errors.New("down"))
	b.Flush(t.Context())
	b.store.fail(nil)
	b.Flush(t.Context())
	if got := b.store.sessions[v.ID].Used; got != 2 {
		t.Errorf("used = %d, want 2", got)
	}
}

func TestRunCountsSessions(t *testing.T) {
	b := newBench(t)
	b.login(t, ann)
	b.login(t, eve)
	run(t, b.Keeper)
	eventually(t, 5*time.Second, "two sessions are counted", func() bool {
		return value(t, b.reg, "materi_active_refresh_tokens") == 2
	})
}

func TestIssuedTokensAreCountedBesideTheOtherOperations(t *testing.T) {
	b := newBench(t)
	b.Issued(nil)
	b.Issued(nil)
	b.Issued(errors.New("no key"))
	_, _, _ = b.Refresh(t.Context(), "nonsense")
	for _, want := range []struct {
		operation, status string
		n                 float64
	}{{"issue", "success", 2}, {"issue", "error", 1}, {"refresh", "invalid", 1}} {
		if got := value(t, b.reg, "materi_token_operations_total", want.operation, want.status); got != want.n {
			t.Errorf("%s %s counted %v times, want %v", want.operation, want.status, got, want.n)
		}
	}
}

func BenchmarkRevoked(b *testing.B) {
	w := newBench(b)
	for range 10_000 {
		v, _ := w.login(b, ann)
		w.Ended(w.now(), v.ID)
	}
	v, _ := w.login(b, ann)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if w.Revoked(v.ID) {
				b.Error("revoked")
			}
		}
	})
}

func BenchmarkRefresh(b *testing.B) {
	w := newBench(b)
	_, token := w.login(b, ann)
	b.ReportAllocs()
	for b.Loop() {
		_, token = w.mustRefresh(b, token)
	}
}
