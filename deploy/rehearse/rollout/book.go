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

// page is what happened in one scenario. A request belongs to the one that it began in.
type page struct {
	mu       *sync.Mutex // the book's
	name     string
	requests map[string]int // by operation
	faults   []fault
	wait     time.Duration // until an operation had succeeded, with its retries
	gap      time.Duration // between two successes, whoever's
	last     time.Time     // success
	closed   bool
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

// turn begins a page.
func (b *book) turn(name string) *page {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.page = &page{mu: &b.mu, name: name, requests: map[string]int{}, last: time.Now()}
	return b.page
}

// now is the page to write on.
func (b *book) now() *page {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.page
}

// request notes one; f is nil if it was answered well.
func (p *page) request(operation string, f *fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[operation]++
	if f != nil {
		p.faults = append(p.faults, *f)
		return
	}
	if now := time.Now(); !p.closed {
		p.gap, p.last = max(p.gap, now.Sub(p.last)), now
	}
}

// waited notes how long an operation took until it had succeeded.
func (p *page) waited(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wait = max(p.wait, d)
}

// close ends the time in which gaps are looked for.
func (p *page) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gap, p.closed = max(p.gap, time.Since(p.last)), true
}

// verdict returns what is wrong with a scenario: its own error, requests that failed and may
// not, and operations that nobody tried, of which it would have shown nothing.
func (p *page) verdict(may func(fault) bool, err error) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
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
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := 0
	for _, n := range p.requests {
		requests += n
	}
	kinds := map[string]int{}
	for _, f := range p.faults {
		kinds[f.operation+": "+f.kind]++
	}
	return fmt.Sprintf("%s\t%d\t%s\t%.2f s\t%.2f s\t%s", p.name, requests, orNone(kinds), p.wait.Seconds(), p.gap.Seconds(), result(ok))
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
