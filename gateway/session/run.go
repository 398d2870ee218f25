package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	pollEvery  = 500 * time.Millisecond // half of the second in which a revocation is felt
	flushEvery = 250 * time.Millisecond
	countEvery = 30 * time.Second
	// overlap is how far back each poll reads again, since revocations do not become visible
	// in the order of their times. No transaction of the store takes as long.
	overlap = 10 * time.Second
	// reloadEvery is how often all revocations are read, in case the database's clock jumped.
	reloadEvery = time.Minute
	callTimeout = 2 * time.Second
)

// errNotLoaded is what [Keeper.Check] says before the first poll.
var errNotLoaded = errors.New("revocations not yet read")

// feed is where reading the revocations stands.
type feed struct {
	mu       sync.Mutex
	last     time.Time // newest At that was read, in the database's time
	reloadAt time.Time
	err      error // of the last poll
	loaded   bool
}

// Check reports why this gateway may not know of every revocation: nothing was read yet, or
// the last poll failed. Tokens are accepted by what is known meanwhile.
func (k *Keeper) Check() error {
	k.feed.mu.Lock()
	defer k.feed.mu.Unlock()
	if k.feed.err == nil && !k.feed.loaded {
		return errNotLoaded
	}
	return k.feed.err
}

// Run reads the revocations that other gateways make, records what [Keeper.Seen] was told,
// and keeps the gauges, until ctx ends. It returns when all of that has stopped and the last
// of what was seen is recorded.
func (k *Keeper) Run(ctx context.Context) {
	var wg sync.WaitGroup
	// The polls have a goroutine of their own, so that nothing delays them.
	wg.Go(func() { every(ctx, pollEvery, k.poll) })
	wg.Go(func() { every(ctx, countEvery, k.count) })
	every(ctx, flushEvery, k.flush)
	k.flush(context.WithoutCancel(ctx))
	wg.Wait()
}

// every calls f at once, and again each d until ctx ends.
func every(ctx context.Context, d time.Duration, f func(context.Context)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for ctx.Err() == nil {
		f(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// poll reads new revocations. The times by which it goes on are the database's. It is not
// called concurrently.
func (k *Keeper) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	now := k.now()
	since, reload := k.feed.next(now)
	all, err := k.store.RevocationsSince(ctx, since, now)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return // the gateway stops
	}
	for _, r := range all {
		k.revoked.add(r.SessionID, r.ExpiresAt)
	}
	k.metrics.revoked.Set(float64(k.revoked.prune(now)))
	before, first := k.feed.done(now, reload, all, err)
	if first {
		close(k.known)
	}
	switch {
	case err != nil:
		k.metrics.pollFaults.Inc()
		if before == nil { // once, not twice a second
			k.log.Error("revocations cannot be read", "error", err)
		}
	case before != nil:
		k.log.Info("revocations are read again")
	}
}

// next says from when on the next poll reads, and whether that is from the beginning.
func (f *feed) next(now time.Time) (since time.Time, reload bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.loaded || f.last.IsZero() || !now.Before(f.reloadAt) {
		return time.Time{}, true
	}
	return f.last.Add(-overlap), false
}

// done notes what a poll came to, and returns the error of the one before and whether this
// was the first without one.
func (f *feed) done(now time.Time, reload bool, all []Revocation, err error) (before error, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, f.err = f.err, err
	if err != nil {
		return before, false
	}
	first, f.loaded = !f.loaded, true
	if reload {
		f.reloadAt, f.last = now.Add(reloadEvery), time.Time{}
	}
	for _, r := range all {
		if r.At.After(f.last) {
			f.last = r.At
		}
	}
	return before, first
}

// flush records what was seen. What a database that is away does not take waits for the next
// time, as far as there is room.
func (k *Keeper) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var err error
	for id, generation := range k.seen.take() {
		if err == nil {
			err = k.store.MarkSessionUsed(ctx, id, generation)
		}
		if err != nil {
			k.Seen(id, generation)
		}
	}
	if err != nil {
		k.log.Debug("use of sessions not recorded", "error", err)
	}
}

func (k *Keeper) count(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	n, err := k.store.CountSessions(ctx, k.now())
	if err != nil {
		return // the poll beside it says so
	}
	k.metrics.active.Set(float64(n))
}

type metrics struct {
	operations *prometheus.CounterVec
	active     prometheus.Gauge
	revoked    prometheus.Gauge
	pollFaults prometheus.Counter
	unseen     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (metrics, error) {
	m := metrics{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_token_operations_total",
			Help: "Operations on tokens, by operation and status.",
		}, []string{"operation", "status"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "materi_active_refresh_tokens",
			Help: "Sessions that could be refreshed. Every gateway on one database reports the same number.",
		}),
		revoked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "materi_revoked_sessions",
			Help: "Sessions whose access tokens this gateway refuses.",
		}),
		pollFaults: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "materi_revocation_poll_failures_total",
			Help: "Failed attempts to read the revocations that other gateways made.",
		}),
		unseen: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "materi_session_uses_dropped_total",
			Help: "Uses of a session that were not recorded.",
		}),
	}
	// Known, and zero, before the first of a kind: an alert on a rate would miss that one.
	for operation, statuses := range map[string][]string{
		"issue":   {"success", "error"},
		"refresh": {"success", "reused", "expired", "revoked", "invalid", "error"},
		"revoke":  {"success", "error"},
	} {
		for _, status := range statuses {
			m.operations.WithLabelValues(operation, status)
		}
	}
	for _, c := range []prometheus.Collector{m.operations, m.active, m.revoked, m.pollFaults, m.unseen} {
		if err := reg.Register(c); err != nil {
			return metrics{}, err
		}
	}
	return m, nil
}

// count counts an operation by what came of it.
func (m metrics) count(operation string, err error) {
	status := "success"
	switch {
	case err == nil:
	case errors.Is(err, ErrReused):
		status = "reused"
	case errors.Is(err, ErrExpired):
		status = "expired"
	case errors.Is(err, ErrRevoked):
		status = "revoked"
	case errors.Is(err, ErrInvalid):
		status = "invalid"
	default:
		status = "error"
	}
	m.operations.WithLabelValues(operation, status).Inc()
}
