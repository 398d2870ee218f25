// Package circuit stops asking a server that keeps failing: a [Breaker] counts the failures of
// what is asked, refuses to ask while there were too many, and after a pause lets one attempt
// find out whether the server is well again. It knows nothing of what is asked, nor of what a
// failure is; who asks says so (package grant).
package circuit

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// State is whether a server is asked.
type State int

// The states. Their numbers are those of the metric.
const (
	Closed   State = iota // it is
	Open                  // it is not
	HalfOpen              // one attempt finds out
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "unknown"
}

// Outcome is how an attempt ended.
type Outcome int

// The outcomes. Neither says nothing of the server: the attempt was given up, or never made.
const (
	Neither Outcome = iota
	Success
	Failure
)

// Rule says when a breaker opens: at the Failures-th failure Within a time, whatever succeeded
// in between. Pause is how long it stays open.
type Rule struct {
	Failures      int
	Within, Pause time.Duration
}

// maxFailures bounds what a breaker remembers.
const maxFailures = 1000

func (r Rule) check() error {
	if r.Failures < 1 || r.Failures > maxFailures || r.Within <= 0 || r.Pause <= 0 {
		return fmt.Errorf("circuit: a rule of %d failures in %s that opens for %s: want 1 to %d, and times above 0", r.Failures, r.Within, r.Pause, maxFailures)
	}
	return nil
}

// Refused says that a server is not asked now, and when it may be again. It is never longer
// than the pause of the rule.
type Refused struct{ RetryAfter time.Duration }

// Error tells the time.
func (r *Refused) Error() string {
	return fmt.Sprintf("circuit open, to be tried again in %s", r.RetryAfter.Round(time.Millisecond))
}

// probing is how long who is refused is told to wait while an attempt finds out.
const probing = time.Second

// Breaker watches one server. It is safe for concurrent use.
type Breaker struct {
	rule Rule
	now  func() time.Time

	mu     sync.Mutex
	clock  clock
	failed []time.Duration // when, at most rule.Failures of them, the oldest first
	opened time.Duration   // when it opened last
	state  State           // Open also when the pause is over and nobody has asked since
	probe  bool            // half-open: the one attempt is on its way
	epoch  uint64          // tells attempts of this state from those that began before it
}

// clock counts the time that passes and never goes back, whatever becomes of the one that it
// reads: what that is set back by is not counted.
type clock struct {
	last   time.Time
	passed time.Duration
}

func (c *clock) read(now time.Time) time.Duration {
	if d := now.Sub(c.last); d > 0 && !c.last.IsZero() {
		c.passed += d
	}
	c.last = now
	return c.passed
}

// New returns a closed breaker.
func New(rule Rule, now func() time.Time) (*Breaker, error) {
	if now == nil {
		return nil, errors.New("circuit: a clock is required")
	}
	if err := rule.check(); err != nil {
		return nil, err
	}
	return &Breaker{rule: rule, now: now}, nil
}

// Attempt is one thing that is asked of the server.
type Attempt struct {
	b     *Breaker
	epoch uint64
}

// Begin admits an attempt, which has to be ended, or says with a [*Refused] that there must be
// none. Half-open it admits one, and no other until that has ended.
func (b *Breaker) Begin() (Attempt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if left, refuses := b.refuses(); refuses {
		return Attempt{}, &Refused{left}
	}
	if b.state != Closed {
		b.state, b.probe = HalfOpen, true
		b.epoch++
	}
	return Attempt{b, b.epoch}, nil
}

// End notes how the attempt ended, once, and returns the state that the breaker went into by
// it, if it went into another. Nothing follows from an attempt whose state is over.
func (a Attempt) End(o Outcome) (s State, changed bool) {
	b := a.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.epoch != b.epoch {
		return b.state, false
	}
	switch {
	case b.state == Closed && o == Failure:
		return b.count()
	case b.state == HalfOpen && o == Success:
		b.enter(Closed)
		return Closed, true
	case b.state == HalfOpen && o == Failure:
		b.enter(Open)
		return Open, true
	case b.state == HalfOpen:
		b.enter(HalfOpen) // the next may find out
	}
	return b.state, false
}

// Refusing reports whether an attempt would be refused now, and for how long.
func (b *Breaker) Refusing() (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refuses()
}

// State returns the state. Once its pause is over a breaker is half-open, also before somebody
// asks.
func (b *Breaker) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == Open && b.left() <= 0 {
		return HalfOpen
	}
	return b.state
}

// count notes a failure. b.mu is held.
func (b *Breaker) count() (State, bool) {
	now := b.clock.read(b.now())
	if len(b.failed) == b.rule.Failures {
		b.failed = append(b.failed[:0], b.failed[1:]...)
	}
	b.failed = append(b.failed, now)
	if len(b.failed) < b.rule.Failures || now-b.failed[0] >= b.rule.Within {
		return Closed, false
	}
	b.enter(Open)
	return Open, true
}

// enter begins a state. b.mu is held.
func (b *Breaker) enter(s State) {
	b.state, b.probe, b.failed = s, false, nil
	b.opened = b.clock.read(b.now())
	b.epoch++
}

// refuses is [Breaker.Refusing]. b.mu is held.
func (b *Breaker) refuses() (time.Duration, bool) {
	switch b.state {
	case Open:
		left := b.left()
		return left, left > 0
	case HalfOpen:
		return probing, b.probe
	}
	return 0, false
}

// left is how much of the pause is left. b.mu is held.
func (b *Breaker) left() time.Duration {
	return b.opened + b.rule.Pause - b.clock.read(b.now())
}
