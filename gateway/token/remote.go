package token

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
)

const (
	// fetchGap is the least time between two fetches of a JWKS that were successful. It
	// bounds what tokens with made-up key identifiers can cause, so no memory of unknown
	// identifiers is needed: within the gap they cost one look into a map.
	fetchGap = 30 * time.Second
	// firstRetry is the pause after a failed fetch; it doubles up to fetchGap.
	firstRetry = time.Second
	// fetchWait is how long a request waits for a fetch that may bring its key.
	fetchWait = 3 * time.Second
	// fetchTimeout bounds one fetch.
	fetchTimeout = 10 * time.Second
	// watchEvery is how often it is looked whether a fetch is due or the keys went stale.
	watchEvery = time.Second
)

// pace says when a JWKS may be fetched again.
type pace struct {
	earliest time.Time
	failures int // in a row
}

func (p *pace) tooSoon(now time.Time) bool { return now.Before(p.earliest) }

func (p *pace) failed(now time.Time) {
	p.earliest = now.Add(min(firstRetry<<min(p.failures, 10), fetchGap))
	p.failures++
}

// passed is for a fetch that was not made.
func (p *pace) passed(now time.Time) { p.earliest = now.Add(firstRetry) }

func (p *pace) succeeded(now time.Time) {
	p.earliest = now.Add(fetchGap)
	p.failures = 0
}

// remote is the keys of another issuer. One goroutine fetches, in run; verifiers look keys
// up without a lock and at most ask it to fetch sooner.
type remote struct {
	cfg     config.Issuer
	fetcher Fetcher
	now     func() time.Time
	log     *slog.Logger
	metrics *remoteMetrics

	keys    atomic.Pointer[remoteKeys] // nil until the first fetch succeeds
	version atomic.Uint64
	ask     chan struct{} // capacity 1: a fetch is wanted

	mu      sync.Mutex
	fetched chan struct{} // closed when the fetch after next ask has ended
	pace    pace
}

// remoteKeys is what one fetch brought. It does not change.
type remoteKeys struct {
	public map[keyName]crypto.PublicKey
	at     time.Time
}

func newRemote(cfg config.Issuer, now func() time.Time, log *slog.Logger, m *remoteMetrics) *remote {
	r := &remote{
		cfg: cfg, fetcher: fetcher(newJWKSClient()), now: now, log: log.With("issuer", cfg.Name), metrics: m,
		ask: make(chan struct{}, 1), fetched: make(chan struct{}),
	}
	m.usable.WithLabelValues(cfg.Name).Set(0)
	for _, status := range []string{"success", "failure"} {
		m.fetches.WithLabelValues(cfg.Name, status)
	}
	return r
}

// public finds a key. If the keys at hand have none of that name, or are too old, it waits
// for a fetch, unless one was made a moment ago.
func (r *remote) public(ctx context.Context, name keyName) (crypto.PublicKey, error) {
	keys := r.usableKeys()
	if key, ok := keys[name]; ok {
		return key, nil
	}
	if fetched := r.request(); fetched != nil {
		timer := time.NewTimer(fetchWait)
		defer timer.Stop()
		select {
		case <-fetched:
		case <-timer.C:
		case <-ctx.Done():
		}
		keys = r.usableKeys()
	}
	if keys == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnavailable, r.cfg.Name)
	}
	if key, ok := keys[name]; ok {
		return key, nil
	}
	return nil, ErrUnknownKey
}

// usableKeys returns the keys of the last good fetch, nil once they are too old.
func (r *remote) usableKeys() map[keyName]crypto.PublicKey {
	keys := r.keys.Load()
	if keys == nil || !r.now().Before(keys.at.Add(r.cfg.Refresh+r.cfg.StaleFor)) {
		return nil
	}
	return keys.public
}

// request asks for a fetch and returns what is closed at its end, or nil if it is too soon
// for one. Everybody who asks while a fetch is on its way waits for that one.
func (r *remote) request() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pace.tooSoon(r.now()) {
		return nil
	}
	select {
	case r.ask <- struct{}{}:
	default:
	}
	return r.fetched
}

// run fetches at once, then whenever it is due or asked for, until ctx ends.
func (r *remote) run(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	r.fetch(ctx)
	usable := r.noteUsable()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.ask:
			r.fetch(ctx)
		case <-ticker.C:
			if r.due() {
				r.fetch(ctx)
			}
		}
		if now := r.noteUsable(); now != usable {
			usable = now
			r.version.Add(1)
		}
	}
}

// noteUsable reports whether there are keys to verify with, and shows it as a metric.
func (r *remote) noteUsable() bool {
	usable := r.usableKeys() != nil
	value := 0.0
	if usable {
		value = 1
	}
	r.metrics.usable.WithLabelValues(r.cfg.Name).Set(value)
	return usable
}

// due reports whether the keys want refreshing.
func (r *remote) due() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.pace.tooSoon(now) {
		return false
	}
	keys := r.keys.Load()
	return keys == nil || r.pace.failures > 0 || !now.Before(keys.at.Add(r.cfg.Refresh))
}

// fetch replaces the keys if it can, and lets everybody who waits go on.
func (r *remote) fetch(ctx context.Context) {
	r.mu.Lock()
	tooSoon := r.pace.tooSoon(r.now())
	r.mu.Unlock()
	if tooSoon {
		return // asked for just before the last fetch ended
	}
	public, skipped, err := fetchKeys(ctx, r.fetcher, r.cfg.JWKSURL, r.cfg.Algorithms)
	if ctx.Err() != nil {
		return
	}
	status := "success"
	if err != nil {
		status = "failure"
	}
	r.metrics.fetches.WithLabelValues(r.cfg.Name, status).Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		close(r.fetched)
		r.fetched = make(chan struct{})
	}()
	if err != nil {
		if r.pace.failures == 0 {
			r.log.Warn("keys of the issuer cannot be fetched", "error", err)
		}
		r.pace.failed(r.now())
		return
	}
	before := r.keys.Swap(&remoteKeys{public: public, at: r.now()})
	if before == nil || !samePublic(before.public, public) {
		r.version.Add(1)
		r.log.Info("keys of the issuer changed", "keys", len(public), "skipped", skipped)
	}
	r.pace.succeeded(r.now())
	r.metrics.fetchedAt.WithLabelValues(r.cfg.Name).Set(float64(r.now().Unix()))
}

func samePublic(a, b map[keyName]crypto.PublicKey) bool {
	if len(a) != len(b) {
		return false
	}
	for name, key := range a {
		other, ok := b[name]
		// Every key of the standard library has Equal.
		if !ok || !key.(interface{ Equal(crypto.PublicKey) bool }).Equal(other) {
			return false
		}
	}
	return true
}

type remoteMetrics struct {
	fetches   *prometheus.CounterVec
	fetchedAt *prometheus.GaugeVec
	usable    *prometheus.GaugeVec
}

func newRemoteMetrics(reg prometheus.Registerer) (*remoteMetrics, error) {
	m := &remoteMetrics{
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_jwks_fetches_total",
			Help: "Fetches of the keys of another issuer.",
		}, []string{"issuer", "status"}),
		fetchedAt: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "materi_jwks_fetched_timestamp_seconds",
			Help: "When the keys of another issuer were last fetched.",
		}, []string{"issuer"}),
		usable: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "materi_jwks_usable",
			Help: "Whether there are keys to check tokens of another issuer with.",
		}, []string{"issuer"}),
	}
	return m, errors.Join(reg.Register(m.fetches), reg.Register(m.fetchedAt), reg.Register(m.usable))
}
