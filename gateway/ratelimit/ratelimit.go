// Package ratelimit owns who may ask how often: named limits, the budgets that are kept
// under them, and the headers that tell a client about its own. The algorithm is GCRA. With
// Redis all replicas share a budget; without it, or while it is down, each counts in its
// own memory.
//
// Losing Redis never opens a door and never closes the house: from one request to the next
// each replica goes on with its part of every budget, the limit divided by the replicas
// that were last alive, see [Limiter.Run].
package ratelimit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
)

// ErrUnknown says that there is no limit of that name.
var ErrUnknown = errors.New("no such rate limit")

// minKey is the least length of [Options.Key].
const minKey = 32

// Options is what [New] needs. Redis and Subject may be absent.
type Options struct {
	Limits []config.RateLimit
	// Redis is where budgets are shared, best made by [Dial]. nil: every replica has budgets
	// of its own. The limiter does not close it.
	Redis  redis.UniversalClient
	Prefix string // put before every key in Redis
	// Key makes what is stored in Redis unreadable: names of budgets are addresses of people
	// and networks, which a plain hash does not hide. At least 32 bytes, the same in every
	// replica.
	Key []byte
	// Subject names the sender of a request that was authenticated, empty if it was not.
	Subject    func(*fasthttp.RequestCtx) string
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Limiter decides who may go on. It is safe for concurrent use.
type Limiter struct {
	limits  map[string]config.RateLimit
	key     []byte
	subject func(*fasthttp.RequestCtx) string
	now     func() time.Time
	local   *local
	shared  *shared // nil without Redis
	metrics *metrics
}

// Decision is what a limit says of one request.
type Decision struct {
	Name       string
	Allowed    bool
	Limit      int           // of the budget that was asked
	Remaining  int           // how many more would be allowed at once
	RetryAfter time.Duration // when the next one will be; zero if it was allowed
	ResetAfter time.Duration // when the budget is whole again
	At         time.Time
}

// New returns a limiter. Where Redis is given, [Limiter.Run] must run.
func New(o Options) (*Limiter, error) {
	if o.Now == nil || o.Log == nil || o.Registerer == nil {
		return nil, errors.New("ratelimit: Now, Log and Registerer are required")
	}
	if len(o.Key) < minKey {
		return nil, fmt.Errorf("ratelimit: the key has %d bytes, at least %d are needed", len(o.Key), minKey)
	}
	if o.Subject == nil {
		o.Subject = func(*fasthttp.RequestCtx) string { return "" }
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("ratelimit: register metrics: %w", err)
	}
	l := &Limiter{
		limits: map[string]config.RateLimit{}, key: o.Key, subject: o.Subject, now: o.Now,
		local: newLocal(maxLocal), metrics: m,
	}
	for _, limit := range o.Limits {
		if limit.Burst == 0 {
			limit.Burst = limit.Limit
		}
		if limit.Limit < 1 || limit.Burst < 1 || limit.Period/time.Duration(limit.Limit) < 1 {
			return nil, fmt.Errorf("ratelimit: %s: limit, burst and period must be positive, and the period hold the limit", limit.Name)
		}
		if _, twice := l.limits[limit.Name]; twice || limit.Name == "" {
			return nil, fmt.Errorf("ratelimit: %q: a limit needs a name of its own", limit.Name)
		}
		l.limits[limit.Name] = limit
		m.decisions.WithLabelValues(limit.Name, "allowed")
		m.decisions.WithLabelValues(limit.Name, "refused")
	}
	if o.Redis != nil {
		l.shared = newShared(o.Redis, o.Prefix, o.Log, l.metrics)
	}
	return l, nil
}

// Run keeps the limiter well until ctx ends: it forgets budgets that are whole again, tells
// the other replicas of this one, and finds out when Redis is back.
func (l *Limiter) Run(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var probe <-chan time.Time
	if l.shared != nil {
		ticker := time.NewTicker(probeEvery)
		defer ticker.Stop()
		probe = ticker.C
		l.shared.probe(ctx)
		defer l.shared.leave()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			l.local.sweep(l.now())
		case <-probe:
			l.shared.probe(ctx)
		}
	}
}

// Allow takes one from the budget that parts name under a limit. It fails on an unknown
// limit and when ctx has ended, and on nothing else: trouble with Redis costs the time of
// one try, callTimeout at most, then budgets are local.
func (l *Limiter) Allow(ctx context.Context, name string, parts ...string) (Decision, error) {
	limit, ok := l.limits[name]
	if !ok {
		return Decision{}, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	if err := ctx.Err(); err != nil {
		return Decision{}, fmt.Errorf("rate limit %s: %w", name, err)
	}
	d := l.decide(ctx, limit, l.budget(name, parts))
	l.metrics.count(d)
	return d, nil
}

func (l *Limiter) decide(ctx context.Context, limit config.RateLimit, budget budgetKey) Decision {
	if l.shared == nil {
		return l.local.take(limit, budget, l.now())
	}
	if result, ok := l.shared.take(ctx, limit, budget); ok {
		return sharedDecision(limit, result, l.now())
	}
	return l.local.take(divide(limit, l.shared.replicas()), budget, l.now())
}

func sharedDecision(limit config.RateLimit, r *redis_rate.Result, now time.Time) Decision {
	return Decision{
		Name: limit.Name, Allowed: r.Allowed > 0, Limit: limit.Limit, Remaining: min(r.Remaining, limit.Limit),
		RetryAfter: max(r.RetryAfter, 0), ResetAfter: r.ResetAfter, At: now,
	}
}

// divide returns the part of a limit that is one replica's, never less than one request.
func divide(limit config.RateLimit, replicas int) config.RateLimit {
	limit.Limit = max(1, limit.Limit/replicas)
	limit.Burst = max(1, limit.Burst/replicas)
	return limit
}

// budgetKey names a budget.
type budgetKey [16]byte

func (k budgetKey) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// budget makes the name of a budget from the limit and the parts. Each is preceded by its
// length, so that no two lists of parts are written alike.
func (l *Limiter) budget(name string, parts []string) budgetKey {
	mac := hmac.New(sha256.New, l.key)
	write := func(s string) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(s)))
		mac.Write(length[:])
		mac.Write([]byte(s))
	}
	write(name)
	for _, part := range parts {
		write(part)
	}
	var sum [sha256.Size]byte
	return budgetKey(mac.Sum(sum[:0])[:len(budgetKey{})])
}

// IPKey is the part of a budget's name that stands for a client's address. An IPv6 client
// has a whole /64 to itself, so the network is what counts.
func IPKey(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr.String()
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr.String() // only for lengths over 128
	}
	return network.String()
}

type metrics struct {
	decisions *prometheus.CounterVec
	degraded  prometheus.Gauge
	replicas  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_ratelimit_decisions_total",
			Help: "Requests that a rate limit decided about.",
		}, []string{"limit", "result"}),
		degraded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "materi_ratelimit_degraded",
			Help: "1 while Redis is configured and budgets are local because it cannot be used.",
		}),
		replicas: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "materi_ratelimit_replicas",
			Help: "Replicas that were last known to share the budgets.",
		}),
	}
	m.replicas.Set(1)
	return m, errors.Join(reg.Register(m.decisions), reg.Register(m.degraded), reg.Register(m.replicas))
}

func (m *metrics) count(d Decision) {
	result := "allowed"
	if !d.Allowed {
		result = "refused"
	}
	m.decisions.WithLabelValues(d.Name, result).Inc()
}
