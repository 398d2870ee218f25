package ratelimit

import (
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"

	"github.com/materi/shield/gateway/testbed"
)

// wire stands between the limiter and Redis and can be cut or go silent.
type wire struct {
	target string
	addr   string

	mu     sync.Mutex
	ln     net.Listener
	conns  map[net.Conn]bool
	silent bool
	wg     sync.WaitGroup
}

// newWire returns a wire to Redis and the URL at its near end.
func newWire(t *testing.T, rawURL string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{target: u.Host, conns: map[net.Conn]bool{}}
	w.mend(t)
	t.Cleanup(func() { w.cut(); w.wg.Wait() })
	u.Host = w.addr
	return w, u.String()
}

// mend opens the wire, at the same address as before.
func (w *wire) mend(t *testing.T) {
	t.Helper()
	addr := w.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ln, w.addr, w.silent = ln, ln.Addr().String(), false
	w.wg.Go(func() { w.accept(ln) })
}

// cut closes the wire: connections break and new ones are refused.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.ln.Close()
	for conn := range w.conns {
		_ = conn.Close()
	}
}

// silence lets nothing through any more, without closing anything.
func (w *wire) silence() { w.mu.Lock(); defer w.mu.Unlock(); w.silent = true }

func (w *wire) accept(ln net.Listener) {
	for {
		near, err := ln.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		w.mu.Lock()
		w.conns[near], w.conns[far] = true, true
		w.mu.Unlock()
		w.wg.Go(func() { w.copy(far, near) })
		w.wg.Go(func() { w.copy(near, far) })
	}
}

func (w *wire) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		silent := w.silent
		w.mu.Unlock()
		if silent {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// run runs the limiter until the returned function is called, or the test ends.
func run(t *testing.T, l *Limiter) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, claim func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !claim() {
		select {
		case <-ctx.Done():
			t.Fatalf("timed out waiting: %s", what)
		case <-tick.C:
		}
	}
}

func valueOf(t testing.TB, gauge prometheus.Gauge) float64 {
	t.Helper()
	var m dto.Metric
	if err := gauge.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetGauge().GetValue()
}

func TestReplicasShareABudget(t *testing.T) {
	rawURL, prefix := testbed.Redis(t)
	client := dial(t, rawURL)
	a := newLimiter(t, newClock(), client, prefix, limitOf(4, time.Hour))
	b := newLimiter(t, newClock(), client, prefix, limitOf(4, time.Hour))
	for i := range 4 {
		if d := allow(t, []*Limiter{a, b}[i%2], "x"); !d.Allowed || d.Remaining > 3-i {
			t.Errorf("request %d: %+v", i, d)
		}
	}
	if d := allow(t, b, "x"); d.Allowed || d.RetryAfter <= 0 {
		t.Errorf("the fifth: %+v", d)
	}
}

func TestKeysInRedisBeginWithThePrefixAndTellNothing(t *testing.T) {
	rawURL, prefix := testbed.Redis(t)
	client := dial(t, rawURL)
	l := newLimiter(t, newClock(), client, prefix, limitOf(4, time.Hour))
	l.shared.probe(t.Context())
	allow(t, l, "ip", "192.0.2.1", "account", "ada@example.com")
	keys, err := client.Keys(t.Context(), "*"+strings.TrimSuffix(prefix, ":")+"*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys = %q, %v", keys, err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix+"ratelimit:") || strings.Contains(key, "ada") || strings.Contains(key, "192") {
			t.Errorf("key = %q", key)
		}
	}
}

func TestRedisCutAndBack(t *testing.T) {
	rawURL, prefix := testbed.Redis(t)
	w, near := newWire(t, rawURL)
	l := newLimiter(t, newClock(), dial(t, near), prefix, limitOf(8, time.Hour))
	// Another replica is alive, so half of the budget is this one's.
	other := newLimiter(t, newClock(), dial(t, rawURL), prefix, limitOf(8, time.Hour))
	stopOther := run(t, other)
	eventually(t, "the other replica to be known", func() bool { return valueOf(t, other.metrics.replicas) >= 1 && other.shared.replicas() == 1 })
	run(t, l)
	eventually(t, "both replicas to be known", func() bool { return l.shared.replicas() == 2 })
	if d := allow(t, l, "x"); d.Limit != 8 {
		t.Errorf("with Redis: %+v", d)
	}

	w.cut()
	began := time.Now()
	d := allow(t, l, "x")
	// The promise is 100 ms; callTimeout sees to it. The rest is patience with a busy machine.
	if took := time.Since(began); took > time.Second {
		t.Errorf("the first request without Redis took %v", took)
	}
	if !d.Allowed || d.Limit != 4 || d.Remaining != 3 {
		t.Errorf("the first request without Redis: %+v, want half of the budget", d)
	}
	if got := valueOf(t, l.metrics.degraded); got != 1 {
		t.Errorf("degraded = %v, want 1", got)
	}
	for range 3 {
		allow(t, l, "x")
	}
	if d := allow(t, l, "x"); d.Allowed {
		t.Errorf("the local budget does not end: %+v", d)
	}

	w.mend(t)
	eventually(t, "Redis to be used again", func() bool { return valueOf(t, l.metrics.degraded) == 0 })
	if d := allow(t, l, "x"); d.Limit != 8 || !d.Allowed {
		t.Errorf("with Redis again: %+v", d)
	}
	stopOther()
	eventually(t, "the other replica to be gone", func() bool { return l.shared.replicas() == 1 })
}

func TestSilentRedisHoldsNobodyUp(t *testing.T) {
	rawURL, prefix := testbed.Redis(t)
	w, near := newWire(t, rawURL)
	l := newLimiter(t, newClock(), dial(t, near), prefix, limitOf(1000, time.Hour))
	allow(t, l, "x")
	w.silence()
	began := time.Now()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if d, err := l.Allow(context.Background(), "test", "x"); err != nil || !d.Allowed {
				t.Errorf("Allow() = %+v, %v", d, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > time.Second {
		t.Errorf("requests under way took %v", took)
	}
	began = time.Now()
	for range 100 {
		allow(t, l, "x")
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("100 requests after that took %v: they still ask", took)
	}
}

func TestACallerThatGivesUpDoesNotCondemnRedis(t *testing.T) {
	rawURL, prefix := testbed.Redis(t)
	w, near := newWire(t, rawURL)
	l := newLimiter(t, newClock(), dial(t, near), prefix, limitOf(1000, time.Hour))
	allow(t, l, "x")
	w.silence()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, _ = l.Allow(ctx, "test", "x")
	if l.shared.down.Load() {
		t.Error("the limiter is degraded")
	}
}

func TestSharedSurvivesAScriptFlush(t *testing.T) {
	rawURL, prefix := testbed.Redis(t)
	client := dial(t, rawURL)
	l := newLimiter(t, newClock(), client, prefix, limitOf(1000, time.Hour))
	allow(t, l, "x")
	if err := client.(*redis.Client).ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if allow(t, l, "x"); l.shared.down.Load() {
		t.Error("the limiter is degraded")
	}
}
