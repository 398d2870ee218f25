package gatewaytest

import (
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
)

// running is a gateway as the program runs it: Run, until SIGTERM.
type running struct {
	*gate
	ended chan error
}

func (in *installation) run(t testing.TB, change ...func(*config.Config)) *running {
	t.Helper()
	address := deadAddress(t)
	cfg := in.config(t, address, change...)
	g, err := gateway.New(gateway.Options{Config: cfg, Version: "test", Log: in.log()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	r := &running{&gate{g, newClient(t, "http://"+address, in.secrets), in, cfg, address}, make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- g.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-done })
	eventually(t, "it is ready", func() bool {
		a, err := r.try(http.MethodGet, "/ready/", nil)
		return err == nil && a.status == http.StatusOK
	})
	return r
}

// terminate sends what a supervisor sends.
func terminate(t testing.TB) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// slow sends a request that the upstream has begun to answer when slow returns.
func (g *gate) slow(t testing.TB, path string) (release func(), result chan answer) {
	t.Helper()
	release = g.in.upstream.hold(t, path)
	result = make(chan answer, 1)
	go func() {
		a, _ := g.try(http.MethodGet, path, nil) // an error leaves the status 0
		result <- a
	}()
	<-g.in.upstream.late
	return release, result
}

func (g *gate) accepts() bool {
	conn, err := net.DialTimeout("tcp", g.address, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

func TestTermDrainsBeforeTheEnd(t *testing.T) {
	in := onSQLite(t)
	g := in.run(t, func(c *config.Config) { c.Server.Timeouts.Grace = time.Second })
	release, result := g.slow(t, "/status")

	terminate(t)
	eventually(t, "readiness says no", func() bool {
		a, err := g.try(http.MethodGet, "/ready/", nil)
		return err == nil && a.status == http.StatusServiceUnavailable && strings.Contains(string(a.body), "shutting down")
	})
	late, err := g.http.Get(g.base + "/stripped/late") // by whoever has not heard yet
	if err != nil {
		t.Fatal(err)
	}
	_ = late.Body.Close()
	if late.StatusCode != http.StatusOK || !late.Close {
		t.Errorf("late request = %d, closes %v; want 200 and to be told to leave", late.StatusCode, late.Close)
	}
	eventually(t, "it stops accepting", func() bool { return !g.accepts() })
	select {
	case err := <-g.ended:
		t.Fatalf("Run() = %v with a request under way", err)
	default:
	}
	release()
	if a := <-result; a.status != http.StatusOK {
		t.Errorf("the running request ended with %d %s", a.status, a.body)
	}
	if err := <-g.ended; err != nil {
		t.Errorf("Run() = %v", err)
	}
}

func TestDrainDoesNotWaitForever(t *testing.T) {
	in := onSQLite(t)
	g := in.run(t, func(c *config.Config) { c.Server.Timeouts.Drain = 200 * time.Millisecond })
	release, result := g.slow(t, "/status")
	terminate(t)
	if err := <-g.ended; err == nil {
		t.Error("Run() = nil though a request was cut off")
	}
	release()
	if a := <-result; a.status == http.StatusOK {
		t.Error("the request was answered after the end")
	}
}

func TestRunFailsWhereItCannotListen(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	in := onSQLite(t)
	g, err := gateway.New(gateway.Options{Config: in.config(t, ln.Addr().String()), Version: "test", Log: in.log()})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil {
		t.Error("Run() = nil")
	}
}

func TestProbesHaveAListenerOfTheirOwnWhereConfigured(t *testing.T) {
	in := onSQLite(t)
	admin := deadAddress(t)
	g := in.run(t, func(c *config.Config) { c.Admin.Listen = admin })
	private := newClient(t, "http://"+admin, in.secrets)
	for _, path := range []string{"/health/", "/health", "/ready/", "/ready", "/metrics/", "/metrics"} {
		private.get(t, path).ok(t, http.StatusOK)
	}
	g.get(t, "/health/").ok(t, http.StatusOK)
	g.get(t, "/metrics/").refused(t, http.StatusNotFound, "NOT_FOUND")
	private.get(t, "/status").refused(t, http.StatusNotFound, "NOT_FOUND")
	private.post(t, "/auth/login", object{}).refused(t, http.StatusNotFound, "NOT_FOUND")
	private.http.CloseIdleConnections()
	g.http.CloseIdleConnections()
	terminate(t)
	if err := <-g.ended; err != nil {
		t.Errorf("Run() = %v", err)
	}
}
