package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testKey = bytes.Repeat([]byte("k"), 32)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// clock is a clock that the test moves.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock { c := &clock{}; c.nanos.Store(start.UnixNano()); return c }

func (c *clock) Now() time.Time       { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) Move(d time.Duration) { c.nanos.Add(int64(d)) }
func limitOf(n int, p time.Duration) config.RateLimit {
	return config.RateLimit{Name: "test", Limit: n, Period: p, Key: []string{"ip"}}
}

func newLimiter(t testing.TB, c *clock, client redis.UniversalClient, prefix string, limits ...config.RateLimit) *Limiter {
	t.Helper()
	l, err := New(Options{
		Limits: limits, Redis: client, Prefix: prefix, Key: testKey, Now: c.Now, Log: slog.New(slog.DiscardHandler),
		Subject:    func(ctx *fasthttp.RequestCtx) string { s, _ := ctx.UserValue("subject").(string); return s },
		Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func allow(t testing.TB, l *Limiter, parts ...string) Decision {
	t.Helper()
	d, err := l.Allow(t.Context(), "test", parts...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAllowSpendsAndRefillsABudget(t *testing.T) {
	c := newClock()
	l := newLimiter(t, c, nil, "", limitOf(3, time.Minute))
	for want := 2; want >= 0; want-- {
		if d := allow(t, l, "a"); !d.Allowed || d.Remaining != want || d.Limit != 3 {
			t.Errorf("Allow() = %+v, want %d remaining", d, want)
		}
	}
	d := allow(t, l, "a")
	if d.Allowed || d.Remaining != 0 || d.RetryAfter != 20*time.Second || d.ResetAfter != time.Minute {
		t.Errorf("Allow() = %+v, want refused for 20 s", d)
	}
	if d := allow(t, l, "b"); !d.Allowed {
		t.Error("another budget is spent, too")
	}
	c.Move(20*time.Second - 1)
	if allow(t, l, "a").Allowed {
		t.Error("allowed a moment too early")
	}
	c.Move(1)
	if !allow(t, l, "a").Allowed {
		t.Error("refused after retry_after")
	}
	c.Move(time.Hour)
	if d := allow(t, l, "a"); d.Remaining != 2 {
		t.Errorf("Allow() = %+v, want a whole budget", d)
	}
}

func TestNewRefusesLimitsThatCannotWork(t *testing.T) {
	good := limitOf(1, time.Second)
	for name, limits := range map[string][]config.RateLimit{
		"zero limit":     {{Name: "a", Period: time.Second}},
		"negative limit": {{Name: "a", Limit: -1, Period: time.Second}},
		"zero period":    {{Name: "a", Limit: 1}},
		"negative burst": {{Name: "a", Limit: 1, Period: time.Second, Burst: -1}},
		"too dense":      {{Name: "a", Limit: 2, Period: 1}},
		"no name":        {{Limit: 1, Period: time.Second}},
		"twice":          {good, good},
	} {
		_, err := New(Options{Limits: limits, Key: testKey, Now: time.Now, Log: slog.Default(), Registerer: prometheus.NewRegistry()})
		if err == nil {
			t.Errorf("%s: New() = nil, want an error", name)
		}
	}
	if _, err := New(Options{Key: testKey[:31], Now: time.Now, Log: slog.Default(), Registerer: prometheus.NewRegistry()}); err == nil {
		t.Error("a short key was accepted")
	}
}

func TestAllowFailsOnlyForTheCaller(t *testing.T) {
	l := newLimiter(t, newClock(), nil, "", limitOf(1, time.Second))
	if _, err := l.Allow(t.Context(), "other"); !errors.Is(err, ErrUnknown) {
		t.Errorf("Allow(unknown) = %v, want ErrUnknown", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Allow(ctx, "test"); !errors.Is(err, context.Canceled) {
		t.Errorf("Allow(ended) = %v, want context.Canceled", err)
	}
}

func TestBudgetsNeverCollide(t *testing.T) {
	l := newLimiter(t, newClock(), nil, "", limitOf(1, time.Second))
	seen := map[budgetKey]string{}
	for _, parts := range [][]string{
		nil, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"a", "", "b"}, {"ab", ""}, {"", "ab"}, {"a\x00b"}, {"a:b"}, {"a", ":b"},
	} {
		for _, name := range []string{"test", "tes", ""} {
			k := l.budget(name, parts)
			if other, twice := seen[k]; twice {
				t.Errorf("%q %q and %s share a budget", name, parts, other)
			}
			seen[k] = fmt.Sprintf("%q %q", name, parts)
		}
	}
	if l.budget("test", []string{"t"}) == l.budget("tes", []string{"tt"}) {
		t.Error("name and parts run together")
	}
}

func TestIPKeyCountsAnIPv6NetworkAsOne(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::1": "2001:db8:1:2::/64",
		"2001:db8:1:3::1":      "2001:db8:1:3::/64",
		"fe80::1%eth0":         "fe80::/64",
	} {
		if got := IPKey(netip.MustParseAddr(in)); got != want {
			t.Errorf("IPKey(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestMemoryIsBoundedAndAbusersAreRemembered(t *testing.T) {
	c := newClock()
	l := newLocal(localShards * 16)
	limit := limitOf(10, time.Minute)
	limit.Burst = 10
	var abuser budgetKey
	for range 10 {
		l.take(limit, abuser, c.Now())
	}
	for i := range 100_000 {
		var k budgetKey
		k[8], k[9], k[10], k[11] = byte(i), byte(i>>8), byte(i>>16), 1
		k[7] = byte(i % 3) // few shards, the abuser's among them
		l.take(limit, k, c.Now())
		if i%1000 == 0 && l.size() > localShards*16 {
			t.Fatalf("%d budgets are kept", l.size())
		}
	}
	if d := l.take(limit, abuser, c.Now()); d.Allowed {
		t.Error("filling the memory bought a fresh budget")
	}
	c.Move(time.Hour)
	l.sweep(c.Now())
	if l.size() != 0 {
		t.Errorf("%d budgets are kept after all are whole again", l.size())
	}
}

func TestLargeLimitsDoNotOverflow(t *testing.T) {
	c := newClock()
	l := newLocal(100)
	limit := config.RateLimit{Name: "x", Limit: 1_000_000, Period: 365 * 24 * time.Hour, Burst: 5_000_000}
	if d := l.take(limit, budgetKey{}, c.Now()); !d.Allowed || d.Remaining != 1_000_000 {
		t.Errorf("take() = %+v", d)
	}
}

func TestConcurrentRequestsNeverOverdraw(t *testing.T) {
	url, prefix := testbed.Redis(t)
	for name, client := range map[string]redis.UniversalClient{"local": nil, "shared": dial(t, url)} {
		l := newLimiter(t, newClock(), client, prefix, limitOf(50, time.Hour))
		if l.shared != nil {
			l.shared.patience = time.Minute // a busy machine is not a Redis that is gone
		}
		var allowed atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 20 {
					if d, err := l.Allow(context.Background(), "test", name); err == nil && d.Allowed {
						allowed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got := allowed.Load(); got != 50 {
			t.Errorf("%s: %d allowed, want 50", name, got)
		}
	}
}

func dial(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	client, err := Dial(config.Redis{URL: config.NewSecret(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestDialDoesNotTellThePassword(t *testing.T) {
	_, err := Dial(config.Redis{URL: config.NewSecret("redis://:canary@host:port:x/0")})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("Dial() = %v", err)
	}
}

// The algorithm in memory is checked against redis_rate itself on random sequences. The
// clock of Redis cannot be moved, but moving it by d is the same as moving every stored
// arrival time by -d.
func TestLocalDecidesLikeRedisRate(t *testing.T) {
	url, prefix := testbed.Redis(t)
	client := dial(t, url)
	limiter := redis_rate.NewLimiter(client)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		limit := config.RateLimit{Name: "x", Limit: 1 + random.IntN(20), Burst: 1 + random.IntN(20)}
		// Intervals of minutes: what the calls themselves take does not matter then.
		limit.Period = time.Duration(limit.Limit) * time.Duration(1+random.IntN(10)) * time.Minute
		interval := limit.Period / time.Duration(limit.Limit)
		key := fmt.Sprint(prefix, round)
		c, l := newClock(), newLocal(100)
		began, moved := time.Now(), time.Duration(0)
		for step := range 40 {
			if random.IntN(3) == 0 {
				// Moves end off the beat, where a microsecond would decide.
				d := time.Duration(random.IntN(8))*interval + interval/4 + time.Duration(random.Int64N(int64(interval/2)))
				moved += d
				shift(t, client, "rate:"+key, d)
			}
			c.nanos.Store(start.Add(time.Since(began) + moved).UnixNano())
			want, err := limiter.Allow(t.Context(), key, redis_rate.Limit{Rate: limit.Limit, Burst: limit.Burst, Period: limit.Period})
			if err != nil {
				t.Fatal(err)
			}
			got := l.take(limit, budgetKey{}, c.Now())
			if got.Allowed != (want.Allowed == 1) || !near(got.ResetAfter, want.ResetAfter) || !near(got.RetryAfter, max(0, want.RetryAfter)) {
				t.Fatalf("round %d, step %d, %d per %v, burst %d:\n got %+v\nwant %+v", round, step, limit.Limit, limit.Period, limit.Burst, got, want)
			}
			// redis_rate computes in floating point, so where exactly n remain it may say n-1.
			if diff := got.Remaining - min(want.Remaining, limit.Limit); diff < 0 || diff > 1 {
				t.Fatalf("round %d, step %d: %d remain, redis_rate says %d", round, step, got.Remaining, want.Remaining)
			}
		}
	}
}

func near(a, b time.Duration) bool { return (a - b).Abs() < 5*time.Second }

// shift moves the stored arrival time of a key into the past by d.
func shift(t testing.TB, client redis.UniversalClient, key string, d time.Duration) {
	t.Helper()
	tat, err := client.Get(t.Context(), key).Float64()
	if errors.Is(err, redis.Nil) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Set(t.Context(), key, tat-d.Seconds(), time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkAllowLocal(b *testing.B) {
	l := newLimiter(b, newClock(), nil, "", limitOf(1_000_000, time.Second))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = l.Allow(context.Background(), "test", "ip", "192.0.2.1")
		}
	})
}

func BenchmarkAllowShared(b *testing.B) {
	url, prefix := testbed.Redis(b)
	l := newLimiter(b, newClock(), dial(b, url), prefix, limitOf(1_000_000, time.Second))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = l.Allow(context.Background(), "test", "ip", "192.0.2.1")
		}
	})
}
