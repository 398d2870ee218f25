package token

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// ErrNotAsked is what the [Fetcher] of a [Source] returns if it did not ask for the keys at all:
// somebody else decides how long that lasts, so it is no failure to wait longer for the next
// time.
var ErrNotAsked = errors.New("not asked for")

// SourceOptions is what [NewSource] needs. Fetch and Now are required.
type SourceOptions struct {
	Fetch Fetcher
	Now   func() time.Time
	// Refresh is how old keys may become before they are fetched anew, at least fetchGap; 0
	// is 5 minutes.
	Refresh time.Duration
	// StaleFor is how long the last good keys serve beyond that while their JWKS cannot be
	// fetched; 0 is an hour.
	StaleFor time.Duration
	// MaxURLs is how many JWKS are remembered; 0 is 16. Beyond, the one that was asked for the
	// longest time ago is forgotten.
	MaxURLs int
}

// Source has the keys of issuers whose tokens come seldom and whose JWKS are known only when
// one comes. Unlike a remote it has no goroutine: who needs keys fetches them, once for all
// who need them at that time. It is safe for concurrent use.
type Source struct {
	fetch    Fetcher
	now      func() time.Time
	refresh  time.Duration
	staleFor time.Duration
	max      int

	mu      sync.Mutex
	clock   uint64 // counts uses, to find what was used last
	entries map[string]*entry
}

// entry is the keys at one URL.
type entry struct {
	used uint64 // guarded by Source.mu

	mu     sync.Mutex
	keys   keySet // nil until a fetch succeeded
	at     time.Time
	pace   pace
	cause  error         // of the last fetch
	flight chan struct{} // closed at the end of the fetch that is on its way; nil: there is none
}

// NewSource returns a source that has fetched nothing yet.
func NewSource(o SourceOptions) (*Source, error) {
	if o.Fetch == nil || o.Now == nil {
		return nil, errors.New("token: Fetch and Now are required")
	}
	if o.Refresh <= 0 {
		o.Refresh = 5 * time.Minute
	}
	if o.StaleFor <= 0 {
		o.StaleFor = time.Hour
	}
	if o.MaxURLs <= 0 {
		o.MaxURLs = 16
	}
	return &Source{
		fetch: o.Fetch, now: o.Now, refresh: max(o.Refresh, fetchGap), staleFor: o.StaleFor, max: o.MaxURLs, entries: map[string]*entry{},
	}, nil
}

// Verify is [IDToken.Verify] with the keys that the JWKS at a URL has now. It may fetch, for
// [fetchWait] at most.
func (s *Source) Verify(ctx context.Context, jwksURL string, t IDToken) ([]byte, error) {
	return t.verify(func(name keyName) (crypto.PublicKey, error) { return s.find(ctx, jwksURL, name) })
}

// find returns a key of the JWKS at a URL. It fetches, or waits for who does, if the keys at
// hand are due or lack the key; how often is bounded by pace, so made-up key identifiers
// cause one fetch in [fetchGap].
func (s *Source) find(ctx context.Context, rawURL string, name keyName) (crypto.PublicKey, error) {
	u, err := url.Parse(rawURL)
	if err != nil || !allowedURL(u) {
		return nil, fmt.Errorf("%w: the URL must be https, or http on loopback", ErrUnavailable)
	}
	e := s.entry(rawURL)
	for {
		key, wait, err := s.look(e, name)
		switch {
		case wait != nil:
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
			}
		case errors.Is(err, errDue):
			if err := s.update(ctx, e, rawURL); err != nil {
				return nil, err
			}
		default:
			return key, err
		}
	}
}

// entry returns what is remembered of a URL, and forgets another one if there are too many.
func (s *Source) entry(rawURL string) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	e := s.entries[rawURL]
	if e == nil {
		s.forgetOne()
		e = &entry{}
		s.entries[rawURL] = e
	}
	e.used = s.clock
	return e
}

func (s *Source) forgetOne() {
	if len(s.entries) < s.max {
		return
	}
	var oldest string
	for u, e := range s.entries {
		if oldest == "" || e.used < s.entries[oldest].used {
			oldest = u
		}
	}
	delete(s.entries, oldest)
}

var errDue = errors.New("a fetch is due, and the caller's to make")

// look returns a key, what to wait for, or errDue; then the caller has to call update.
func (s *Source) look(e *entry, name keyName) (key crypto.PublicKey, wait <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := s.now()
	if !now.Before(e.at.Add(s.refresh + s.staleFor)) {
		e.keys = nil
	}
	key, err = e.keys.find(name)
	found := err == nil
	due := !found || !now.Before(e.at.Add(s.refresh))
	switch {
	case e.flight != nil && !found:
		return nil, e.flight, nil
	case e.flight == nil && due && !e.pace.tooSoon(now):
		e.flight = make(chan struct{})
		return nil, nil, errDue
	case e.keys == nil:
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, e.cause)
	}
	return key, nil, err
}

// update fetches. A failure is remembered by the entry, unless it is the caller that gave up:
// then the next one tries.
func (s *Source) update(ctx context.Context, e *entry, rawURL string) error {
	var set keySet
	err := errors.New("the fetch did not return")
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		close(e.flight)
		e.flight = nil
		switch now := s.now(); {
		case err == nil:
			e.keys, e.at = set, now
			e.pace.succeeded(now)
		case errors.Is(err, ErrNotAsked):
			e.pace.passed(now)
		case ctx.Err() == nil:
			e.pace.failed(now)
		}
		e.cause = err
	}()
	fetching, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	data, err := s.fetch(fetching, rawURL)
	if err == nil {
		set, _, err = parseKeySet(data, allAlgorithms)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	return nil
}
