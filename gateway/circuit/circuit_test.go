package circuit

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hand is a clock that is moved by hand.
type hand struct{ t time.Time }

func (h *hand) now() time.Time { return h.t }

func newHand() *hand { return &hand{time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)} }

var fiveInThirty = Rule{Failures: 5, Within: 30 * time.Second, Pause: time.Minute}

func open(t testing.TB, r Rule, now func() time.Time) *Breaker {
	t.Helper()
	b, err := New(r, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ends makes an attempt that has to be admitted.
func ends(t testing.TB, b *Breaker, o Outcome) {
	t.Helper()
	a, err := b.Begin()
	if err != nil {
		t.Fatalf("Begin() = %v in state %v", err, b.State())
	}
	a.End(o)
}

func refused(t testing.TB, b *Breaker, want time.Duration) {
	t.Helper()
	_, err := b.Begin()
	r, ok := errors.AsType[*Refused](err)
	if !ok || r.RetryAfter != want {
		t.Errorf("Begin() = %v, want a refusal for %v", err, want)
	}
}

func TestBreakerFollowsItsRule(t *testing.T) {
	const s, f, n = Success, Failure, Neither
	type step struct {
		after time.Duration // since the step before
		ends  Outcome       // of the attempt that is made then
		want  State         // after it
		no    time.Duration // not 0: the attempt is refused for so long
	}
	four := []step{{0, f, Closed, 0}, {time.Second, f, Closed, 0}, {time.Second, f, Closed, 0}, {time.Second, f, Closed, 0}}
	opened := append(four[:4:4], step{time.Second, f, Open, 0})
	for name, steps := range map[string][]step{
		"the fifth failure opens": append(opened[:5:5], step{0, s, Open, time.Minute}),
		"four do not":             append(four[:4:4], step{time.Second, s, Closed, 0}, step{time.Second, s, Closed, 0}),
		"what succeeds in between does not count": {
			{0, f, Closed, 0}, {0, s, Closed, 0}, {0, f, Closed, 0}, {0, s, Closed, 0}, {0, f, Closed, 0}, {0, f, Closed, 0}, {0, s, Closed, 0}, {0, f, Open, 0},
		},
		"what is neither does not count": {
			{0, n, Closed, 0}, {0, n, Closed, 0}, {0, n, Closed, 0}, {0, n, Closed, 0}, {0, n, Closed, 0}, {0, n, Closed, 0},
		},
		"five in exactly the window do not open": {
			{0, f, Closed, 0}, {7 * time.Second, f, Closed, 0}, {7 * time.Second, f, Closed, 0}, {7 * time.Second, f, Closed, 0}, {9 * time.Second, f, Closed, 0},
		},
		"five in a moment less do": {
			{0, f, Closed, 0}, {7 * time.Second, f, Closed, 0}, {7 * time.Second, f, Closed, 0}, {7 * time.Second, f, Closed, 0}, {9*time.Second - 1, f, Open, 0},
		},
		"the window slides": {
			{0, f, Closed, 0}, {20 * time.Second, f, Closed, 0}, {5 * time.Second, f, Closed, 0}, {2 * time.Second, f, Closed, 0},
			{10 * time.Second, f, Closed, 0}, // the first is 37 s ago
			{9 * time.Second, f, Open, 0},    // five in 26 s
		},
		"one every ten seconds never opens": {
			{0, f, Closed, 0}, {10 * time.Second, f, Closed, 0}, {10 * time.Second, f, Closed, 0}, {10 * time.Second, f, Closed, 0},
			{10 * time.Second, f, Closed, 0}, {10 * time.Second, f, Closed, 0}, {10 * time.Second, f, Closed, 0}, {10 * time.Second, f, Closed, 0},
		},
		"refusals tell what is left of the pause": append(opened[:5:5],
			step{59 * time.Second, s, Open, time.Second}, step{time.Second - 1, s, Open, 1}, step{1, s, Closed, 0}),
		"a probe that succeeds closes, and nothing is held against the server": append(opened[:5:5],
			step{time.Minute, s, Closed, 0}, step{0, f, Closed, 0}, step{0, f, Closed, 0}, step{0, f, Closed, 0}, step{0, f, Closed, 0}, step{0, f, Open, 0}),
		"a probe that fails opens anew, for the whole pause": append(opened[:5:5],
			step{time.Hour, f, Open, 0}, step{0, s, Open, time.Minute}, step{time.Minute, s, Closed, 0}),
		"a probe that is neither leaves it to the next": append(opened[:5:5],
			step{time.Minute, n, HalfOpen, 0}, step{0, n, HalfOpen, 0}, step{0, s, Closed, 0}),
		"and the next may fail": append(opened[:5:5],
			step{time.Minute, n, HalfOpen, 0}, step{0, f, Open, 0}, step{0, s, Open, time.Minute}),
		"a clock that is set back takes nothing away": append(opened[:5:5],
			step{30 * time.Second, s, Open, 30 * time.Second}, step{-24 * time.Hour, s, Open, 30 * time.Second}, step{30 * time.Second, s, Closed, 0}),
		"nor adds to the window": {
			{0, f, Closed, 0}, {0, f, Closed, 0}, {0, f, Closed, 0}, {-time.Hour, f, Closed, 0}, {29 * time.Second, f, Open, 0},
		},
		"nor keeps old failures": {
			{0, f, Closed, 0}, {0, f, Closed, 0}, {0, f, Closed, 0}, {-time.Hour, f, Closed, 0}, {30 * time.Second, f, Closed, 0}, {0, s, Closed, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newHand()
			b := open(t, fiveInThirty, clock.now)
			for i, step := range steps {
				clock.t = clock.t.Add(step.after)
				if step.no != 0 {
					refused(t, b, step.no)
				} else {
					ends(t, b, step.ends)
				}
				if got := b.State(); got != step.want {
					t.Fatalf("step %d: State() = %v, want %v", i, got, step.want)
				}
			}
		})
	}
}

func TestStateIsHalfOpenOnceThePauseIsOver(t *testing.T) {
	clock := newHand()
	b := open(t, Rule{1, time.Second, time.Minute}, clock.now)
	ends(t, b, Failure)
	clock.t = clock.t.Add(time.Minute - 1)
	if got := b.State(); got != Open {
		t.Errorf("State() before = %v", got)
	}
	if left, refusing := b.Refusing(); left != 1 || !refusing {
		t.Errorf("Refusing() = %v, %v", left, refusing)
	}
	clock.t = clock.t.Add(1)
	if got := b.State(); got != HalfOpen {
		t.Errorf("State() after = %v", got)
	}
	if _, refusing := b.Refusing(); refusing {
		t.Error("Refusing() = true for what would be the probe")
	}
}

func TestEndTellsOfEachChange(t *testing.T) {
	clock := newHand()
	b := open(t, Rule{2, time.Minute, time.Minute}, clock.now)
	var got []State
	for _, o := range []Outcome{Failure, Success, Failure, Failure, Neither, Success, Success, Failure} {
		a, err := b.Begin()
		if err != nil {
			clock.t = clock.t.Add(time.Minute)
			if a, err = b.Begin(); err != nil {
				t.Fatal(err)
			}
		}
		if s, changed := a.End(o); changed {
			got = append(got, s)
		}
	}
	if diff := cmp.Diff([]State{Open, Open, Closed}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// What began before a change says nothing of what came after it.
func TestLateEndsAreNotHeld(t *testing.T) {
	clock := newHand()
	b := open(t, Rule{1, time.Minute, time.Minute}, clock.now)
	begin := func() Attempt {
		t.Helper()
		a, err := b.Begin()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	good, bad := begin(), begin()
	ends(t, b, Failure)
	good.End(Success)
	if got := b.State(); got != Open {
		t.Errorf("a success that began before it opened made it %v", got)
	}
	clock.t = clock.t.Add(time.Minute)
	probe := begin()
	bad.End(Failure)
	if got := b.State(); got != HalfOpen {
		t.Errorf("a failure that began before it opened made it %v", got)
	}
	refused(t, b, probing)
	probe.End(Neither)
	second := begin()
	probe.End(Success)
	if got := b.State(); got != HalfOpen {
		t.Errorf("a probe that was given up made it %v", got)
	}
	second.End(Success)
	bad.End(Failure)
	if got := b.State(); got != Closed {
		t.Errorf("State() = %v, want closed", got)
	}
}

func TestHalfOpenAdmitsOneAtATime(t *testing.T) {
	clock := newHand()
	b := open(t, Rule{1, time.Minute, time.Minute}, clock.now)
	ends(t, b, Failure)
	clock.t = clock.t.Add(time.Minute)
	for range 3 { // probes that are given up
		var admitted atomic.Int32
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			var all sync.WaitGroup
			for range 64 {
				all.Go(func() {
					a, err := b.Begin()
					if err != nil {
						return
					}
					admitted.Add(1)
					<-release
					a.End(Neither)
				})
			}
			synctest.Wait()
			close(release)
			all.Wait()
		})
		if got := admitted.Load(); got != 1 {
			t.Fatalf("%d of 64 were admitted at a time, want 1", got)
		}
	}
}

// model is the rule, written down naively.
type model struct {
	rule   Rule
	failed []time.Duration
	open   bool
	since  time.Duration
}

func (m *model) state(now time.Duration) State {
	switch {
	case !m.open:
		return Closed
	case now-m.since >= m.rule.Pause:
		return HalfOpen
	}
	return Open
}

func (m *model) end(now time.Duration, o Outcome) {
	switch s := m.state(now); {
	case s == HalfOpen && o == Success:
		m.open, m.failed = false, nil
	case s == HalfOpen && o == Failure:
		m.since = now
	case s == Closed && o == Failure:
		m.failed = append(m.failed, now)
		recent := 0
		for _, at := range m.failed {
			if now-at < m.rule.Within {
				recent++
			}
		}
		if recent >= m.rule.Failures {
			m.open, m.since = true, now
		}
	}
}

func TestBreakerIsItsModel(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		rule := Rule{1 + random.IntN(6), time.Duration(1+random.IntN(40)) * time.Second, time.Duration(1+random.IntN(90)) * time.Second}
		clock, m := newHand(), model{rule: rule}
		b := open(t, rule, clock.now)
		var now time.Duration
		for i := range 500 {
			step := time.Duration(random.Int64N(int64(20 * time.Second)))
			now += step
			clock.t = clock.t.Add(step)
			if random.IntN(20) == 0 { // it is set back
				b.clock.read(clock.t) // what passed since it was read is lost else
				clock.t = clock.t.Add(-time.Duration(random.Int64N(int64(time.Hour))))
				b.clock.read(clock.t)
			}
			o := Outcome(random.IntN(3))
			a, err := b.Begin()
			if admitted := m.state(now) != Open; (err == nil) != admitted {
				t.Fatalf("seed %d, step %d: Begin() = %v, the model is %v", seed, i, err, m.state(now))
			}
			if err == nil {
				a.End(o)
				m.end(now, o)
			}
			if got, want := b.State(), m.state(now); got != want {
				t.Fatalf("seed %d, step %d, rule %+v: State() = %v, want %v", seed, i, rule, got, want)
			}
		}
	}
}

func TestRulesThatCannotHoldAreRefused(t *testing.T) {
	now := newHand().now
	for _, r := range []Rule{
		{0, time.Second, time.Second}, {-1, time.Second, time.Second}, {maxFailures + 1, time.Second, time.Second},
		{1, 0, time.Second}, {1, time.Second, 0}, {1, -1, time.Second}, {1, time.Second, -1},
	} {
		if _, err := New(r, now); err == nil {
			t.Errorf("New(%+v) = nil", r)
		}
		if _, err := NewSet(r, false, now); err == nil {
			t.Errorf("NewSet(%+v) = nil", r)
		}
	}
	if _, err := New(fiveInThirty, nil); err == nil {
		t.Error("New() without a clock = nil")
	}
	if _, err := NewSet(fiveInThirty, false, nil); err == nil {
		t.Error("NewSet() without a clock = nil")
	}
}

func BenchmarkCircuit(b *testing.B) {
	for name, each := range map[string]bool{"one": false, "each": true} {
		b.Run(name, func(b *testing.B) {
			set, err := NewSet(fiveInThirty, each, time.Now)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				a, err := set.Begin("https://idp.example.com:443")
				if err != nil {
					b.Fatal(err)
				}
				a.End(Success)
			}
		})
	}
}
