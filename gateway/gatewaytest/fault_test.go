package gatewaytest

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/materi/shield/config"
)

// deadAddress is one on which nobody listens.
func deadAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func atoi(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%q is not a number", s)
	}
	return n
}

// wire stands between a gateway and a server that it needs. It can be cut.
type wire struct {
	address, to string

	mu    sync.Mutex
	ln    net.Listener // nil: cut
	conns map[net.Conn]bool
	work  sync.WaitGroup
}

// newWire returns a wire to a server, cut.
func newWire(t testing.TB, to string) *wire {
	w := &wire{address: deadAddress(t), to: to, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { w.cut(); w.work.Wait() })
	return w
}

// through returns a URL with the wire in front of its server.
func (w *wire) through(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = w.address
	return u.String()
}

func hostOf(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func (w *wire) mend(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.ln = ln
	w.mu.Unlock()
	w.work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			w.work.Go(func() { w.pass(conn) })
		}
	})
}

func (w *wire) pass(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	cut := w.ln == nil
	w.conns[near], w.conns[far] = true, true
	w.mu.Unlock()
	if cut {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	})
	_, _ = io.Copy(far, near)
	_ = far.Close()
	back.Wait()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ln != nil {
		_ = w.ln.Close()
		w.ln = nil
	}
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
}

// readiness is what /ready/ says.
type readiness struct {
	status int
	Status string
	Checks map[string]string
	Errors []string
	took   time.Duration
}

func (g *gate) readiness(t testing.TB) readiness {
	t.Helper()
	start := time.Now()
	a := g.get(t, "/ready/")
	r := readiness{status: a.status, took: time.Since(start)}
	a.into(t, &r)
	return r
}

// probed asks for readiness until it says what it should, and fails unless one such answer
// came within a second. One of several is enough, because the machine may be busy.
func (g *gate) probed(t testing.TB, status int, check, verdict string) readiness {
	t.Helper()
	var got readiness
	eventually(t, "/ready/ says "+strconv.Itoa(status)+" and "+check+" "+verdict, func() bool {
		got = g.readiness(t)
		return got.status == status && got.Checks[check] == verdict && got.took < time.Second
	})
	return got
}

// away fails unless an answer says to come back later.
func (a answer) away(t testing.TB) {
	t.Helper()
	a.refused(t, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE")
	if after := atoi(t, a.header.Get("Retry-After")); after < 1 {
		t.Errorf("%s: Retry-After: %d", a.what, after)
	}
}

func TestGatewayStartsWithoutItsDatabaseAndFindsIt(t *testing.T) {
	t.Parallel()
	in := onPostgres(t)
	real := in.database
	w := newWire(t, hostOf(t, real))
	in.database = w.through(t, real)
	g := in.launch(t)
	token := g.forger(t).rs256(t)

	not := g.probed(t, http.StatusServiceUnavailable, "database", "error")
	if not.Status != "not_ready" || len(not.Errors) == 0 || not.Checks["redis"] != "ok" || not.Checks["keys"] != "ok" {
		t.Errorf("readiness = %+v", not)
	}
	g.get(t, "/health/").ok(t, http.StatusOK)
	g.get(t, "/api/notes", bearer(token)).ok(t, http.StatusOK)
	eventually(t, "the plugin is loaded", func() bool { return g.readiness(t).Checks["plugins"] == "ok" })
	p := somebody()
	g.post(t, "/auth/login", p.credentials()).away(t)
	g.post(t, "/auth/register", p.registration()).away(t)
	g.post(t, "/auth/magic-link", object{"email": p.email}).away(t)
	g.refresh(t, forgedRefresh()).away(t)
	g.get(t, "/api/users/me", bearer(token)).away(t)
	g.get(t, "/auth/providers").ok(t, http.StatusOK)
	g.get(t, "/api/notes", bearer("nonsense")).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")

	w.mend(t)
	g.ready(t)
	p, got := g.member(t)

	w.cut() // and gone again, under way
	g.probed(t, http.StatusServiceUnavailable, "database", "error")
	g.post(t, "/auth/login", p.credentials()).away(t)
	g.refresh(t, got.Refresh).away(t)
	g.post(t, "/auth/logout", nil, bearer(got.Access)).away(t)
	for range 20 {
		g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
	}
	g.get(t, "/health/").ok(t, http.StatusOK)

	w.mend(t)
	g.ready(t)
	g.login(t, p)
	g.refresh(t, got.Refresh).tokens(t) // nobody was logged out
	in.database = real
}

// TestGatewayIsNotReadyUntilTheSchemaIsUpToDate lets the operator migrate beside a gateway
// that must not do it itself.
func TestGatewayIsNotReadyUntilTheSchemaIsUpToDate(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.launch(t, func(c *config.Config) { c.Database.Migrate = false })
		not := g.probed(t, http.StatusServiceUnavailable, "migrations", "pending")
		if not.Status != "not_ready" || len(not.Errors) == 0 || not.Checks["database"] != "ok" {
			t.Errorf("readiness = %+v", not)
		}
		g.get(t, "/health/").ok(t, http.StatusOK)
		if err := in.store(t).Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.ready(t)
		g.member(t)
	})
}

// forgedRefresh has the form of a refresh token, of generation 1.
func forgedRefresh() string {
	raw := make([]byte, 56)
	raw[23] = 1
	return base64.RawURLEncoding.EncodeToString(raw)
}

func TestEverythingGoesOnWithoutRedis(t *testing.T) {
	t.Parallel()
	in := onPostgres(t)
	w := newWire(t, hostOf(t, in.redis))
	in.redis = w.through(t, in.redis)
	w.mend(t)
	g := in.start(t, limited("login", 4))
	p, got := g.member(t)

	w.cut()
	got = g.refresh(t, got.Refresh).tokens(t)
	g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
	other := g.enrol(t)
	g.login(t, other)
	codes := map[int]int{}
	for range 6 {
		codes[g.get(t, "/limited", bearer(got.Access)).status]++
	}
	if codes[http.StatusOK] != 3 || codes[http.StatusTooManyRequests] != 3 {
		t.Errorf("a limit of 3 answered %v", codes)
	}
	g.probed(t, http.StatusOK, "redis", "error")
	if degraded := g.metric(t, "materi_ratelimit_degraded"); degraded != 1 {
		t.Errorf("materi_ratelimit_degraded = %v, want 1", degraded)
	}
	g.post(t, "/auth/logout", nil, bearer(got.Access)).ok(t, http.StatusNoContent)
	g.get(t, "/api/notes", bearer(got.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")

	w.mend(t)
	g.probed(t, http.StatusOK, "redis", "ok")
	eventually(t, "the limits are shared again", func() bool { return g.metric(t, "materi_ratelimit_degraded") == 0 })
	g.login(t, p)
}

func TestGatewayStartsWithoutItsPlugin(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := in.launch(t, func(c *config.Config) { c.Providers[0].Plugin = filepath.Join(in.data, "missing.wasm") })
	got := g.probed(t, http.StatusServiceUnavailable, "plugins", "error")
	if got.Checks["database"] != "ok" || got.Checks["redis"] != "disabled" {
		t.Errorf("readiness = %+v", got)
	}
	p := somebody()
	g.post(t, "/auth/login", p.credentials()).away(t)
	g.post(t, "/auth/register", p.registration()).away(t)
	g.get(t, "/health/").ok(t, http.StatusOK)
	g.get(t, "/api/notes", bearer(g.forger(t).rs256(t))).ok(t, http.StatusOK)
}

// A database that accepts connections and says nothing is worse than one that is gone.
func TestProbesAnswerWithinASecondWhateverTheDatabaseDoes(t *testing.T) {
	t.Parallel()
	in := onPostgres(t)
	real := in.database
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			held = append(held, c)
		}
	}()
	t.Cleanup(func() {
		_ = silent.Close()
		<-done
		for _, c := range held {
			_ = c.Close()
		}
	})
	in.database = (&wire{address: silent.Addr().String()}).through(t, real)
	g := in.launch(t)
	g.probed(t, http.StatusServiceUnavailable, "database", "error")
	g.get(t, "/health/").ok(t, http.StatusOK)
	g.get(t, "/api/notes", bearer(g.forger(t).rs256(t))).ok(t, http.StatusOK)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		t.Errorf("Stop() = %v", err)
	}
}
