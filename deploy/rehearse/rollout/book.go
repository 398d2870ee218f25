package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// book is where the people's requests are written down, a page for each scenario.
type book struct {
	mu   sync.Mutex
	page *page
}

// page is what happened in one scenario. A request belongs to the one that it ended in, so that
// none is forgotten.
type page struct {
	name     string
	requests map[string]int // by operation
	faults   []fault
	wait     time.Duration // until an operation had succeeded, with its retries
	gap      time.Duration // between two successes, whoever's
	last     time.Time     // success
}

// fault is a request that was not answered as it should have been.
type fault struct {
	operation, kind string
	gateway         string // that haproxy had chosen; empty: none, or not known
	began, ended    time.Time
}

func (f fault) String() string {
	return fmt.Sprintf("%s, %s, by %s, from %s to %s", f.operation, f.kind, or(f.gateway, "nobody"),
		f.began.Format("15:04:05.000"), f.ended.Format("15:04:05.000"))
}

// turn begins a page. Nothing is written any more on the one before, which it returns.
func (b *book) turn(name string) (done *page) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if done = b.page; done != nil {
		done.gap = max(done.gap, now.Sub(done.last))
	}
	b.page = &page{name: name, requests: map[string]int{}, last: now}
	return done
}

// request notes one; f is nil if it was answered well.
func (b *book) request(operation string, f *fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.page
	p.requests[operation]++
	if f != nil {
		p.faults = append(p.faults, *f)
		return
	}
	now := time.Now()
	p.gap, p.last = max(p.gap, now.Sub(p.last)), now
}

// waited notes how long an operation took until it had succeeded.
func (b *book) waited(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.page.wait = max(b.page.wait, d)
}

// verdict returns what is wrong with a scenario: its own error, requests that failed and may
// not, and operations that nobody tried, of which it would have shown nothing.
func (p *page) verdict(may func(fault) bool, err error) []string {
	var wrong []string
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	for _, f := range p.faults {
		if may == nil || !may(f) {
			wrong = append(wrong, f.String())
		}
	}
	failed := map[string]int{}
	for _, f := range p.faults {
		failed[f.operation]++
	}
	for _, operation := range operations {
		if p.requests[operation] == failed[operation] {
			wrong = append(wrong, "no success of: "+operation)
		}
	}
	return wrong
}

// row is what is printed of a page.
func (p *page) row(ok bool) string {
	requests := 0
	for _, n := range p.requests {
		requests += n
	}
	return fmt.Sprintf("%s\t%d\t%s\t%.2f s\t%.2f s\t%s", p.name, requests, orNone(p.kinds()), p.wait.Seconds(), p.gap.Seconds(), result(ok))
}

// kinds counts what went wrong.
func (p *page) kinds() map[string]int {
	kinds := map[string]int{}
	for _, f := range p.faults {
		kinds[f.operation+": "+f.kind]++
	}
	return kinds
}

// orNone tells how many there are of each kind.
func orNone(kinds map[string]int) string {
	var told []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		told = append(told, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	return or(strings.Join(told, ", "), "0")
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
