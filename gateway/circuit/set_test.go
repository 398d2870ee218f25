package circuit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func set(t testing.TB, r Rule, each bool, now func() time.Time) *Set {
	t.Helper()
	s, err := NewSet(r, each, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asks(t testing.TB, s *Set, name string, o Outcome) {
	t.Helper()
	q, err := s.Begin(name)
	if err != nil {
		t.Fatalf("Begin(%s) = %v", name, err)
	}
	q.End(o)
}

func worst(t testing.TB, s *Set, want State, after time.Duration) {
	t.Helper()
	if got, left := s.Worst(); got != want || left != after {
		t.Errorf("Worst() = %v, %v, want %v, %v", got, left, want, after)
	}
}

func TestServersFailTogetherOrEachByItself(t *testing.T) {
	rule := Rule{2, time.Minute, time.Minute}
	together, each := set(t, rule, false, newHand().now), set(t, rule, true, newHand().now)
	for _, s := range []*Set{together, each} {
		asks(t, s, "a", Failure)
		asks(t, s, "b", Failure)
	}
	if _, err := together.Begin("c"); err == nil {
		t.Error("two failures of two servers: the third is asked, want all refused")
	}
	asks(t, each, "a", Failure)
	if _, err := each.Begin("a"); err == nil {
		t.Error("two failures of one server: it is asked")
	}
	if left, refusing := each.Refusing("a"); !refusing || left != time.Minute {
		t.Errorf("Refusing(a) = %v, %v", left, refusing)
	}
	if _, refusing := each.Refusing("c"); refusing {
		t.Error("Refusing(c) = true")
	}
	asks(t, each, "b", Success)
}

func TestWorstOfTheServers(t *testing.T) {
	clock := newHand()
	s := set(t, Rule{1, time.Minute, time.Minute}, true, clock.now)
	worst(t, s, Closed, 0)
	asks(t, s, "well", Success)
	asks(t, s, "first", Failure)
	worst(t, s, Open, time.Minute)
	clock.t = clock.t.Add(20 * time.Second)
	asks(t, s, "second", Failure)
	worst(t, s, Open, 40*time.Second)
	clock.t = clock.t.Add(40 * time.Second)
	worst(t, s, Open, 20*time.Second) // the first is half-open
	clock.t = clock.t.Add(20 * time.Second)
	worst(t, s, HalfOpen, 0)
	asks(t, s, "first", Success)
	worst(t, s, HalfOpen, 0)
	asks(t, s, "second", Success)
	worst(t, s, Closed, 0)
}

// Names may come without end where the operator allows every name below a domain.
func TestSetRemembersABoundedNumberOfServers(t *testing.T) {
	s := set(t, Rule{2, time.Minute, time.Minute}, true, newHand().now)
	for i := range 10_000 {
		asks(t, s, fmt.Sprint("well", i), Success)
	}
	if got := len(s.servers); got != 0 {
		t.Errorf("%d servers that never failed are remembered", got)
	}
	asks(t, s, "down", Failure)
	asks(t, s, "down", Failure)
	for i := range 10 * maxServers {
		asks(t, s, fmt.Sprint("once", i), Failure)
	}
	if got := len(s.servers); got != maxServers {
		t.Errorf("%d servers are remembered, want %d", got, maxServers)
	}
	if _, refusing := s.Refusing("down"); !refusing {
		t.Error("a server that is down was forgotten for others that are not")
	}
	for i := range maxServers {
		for range 2 {
			asks(t, s, fmt.Sprint("down", i), Failure)
		}
	}
	if got := len(s.servers); got != maxServers {
		t.Errorf("%d servers are remembered, want %d", got, maxServers)
	}
	if _, refusing := s.Refusing("down"); refusing {
		t.Error("the server that was asked for the longest time ago is still remembered")
	}
	if _, refusing := s.Refusing(fmt.Sprint("down", maxServers-1)); !refusing {
		t.Error("the last server is not remembered")
	}
}

// As many as ask at a time are counted, also when the server had never failed before.
func TestFirstFailuresAtATimeAreAllCounted(t *testing.T) {
	clock := newHand()
	for n, want := range map[int]State{4: Closed, 5: Open, 64: Open} {
		s := set(t, fiveInThirty, true, clock.now)
		var admitted atomic.Int32
		var opened atomic.Int32
		synctest.Test(t, func(t *testing.T) {
			fail := make(chan struct{})
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					q, err := s.Begin("one")
					if err != nil {
						return
					}
					admitted.Add(1)
					<-fail
					if state, changed := q.End(Failure); changed && state == Open {
						opened.Add(1)
					}
				})
			}
			synctest.Wait()
			close(fail)
			all.Wait()
		})
		if got, _ := s.Worst(); got != want || admitted.Load() != int32(n) {
			t.Errorf("%d failures at a time: %v after %d attempts, want %v", n, got, admitted.Load(), want)
		}
		if got := opened.Load(); got != int32(want) {
			t.Errorf("%d failures at a time: it opened %d times", n, got)
		}
	}
}
