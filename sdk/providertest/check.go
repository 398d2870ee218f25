package providertest

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// T is how a check reports. A *testing.T is one.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any) // does not return
}

// Check is one promise that the suite holds a provider to.
type Check struct {
	Name string
	Hint string // what to do about it when it fails
	run  func(T)
}

// NewCheck returns a check of one's own, to be run beside those of a suite.
func NewCheck(name, hint string, run func(T)) Check { return Check{name, hint, run} }

// Failures runs the check outside of a Go test and returns what is wrong, or nothing. A panic
// of the provider's is a failure, too.
func (c Check) Failures() []string {
	t := &reporter{}
	done := make(chan struct{})
	go func() { // Fatalf ends the goroutine that it is called in
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("the provider panicked: %v\n%s", p, debug.Stack())
			}
		}()
		c.run(t)
	}()
	<-done
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures
}

// reporter is a [T] that remembers.
type reporter struct {
	mu       sync.Mutex
	failures []string
}

func (*reporter) Helper() {}

func (r *reporter) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (r *reporter) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
