package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newAdmin(t *testing.T, metrics bool, checks ...Check) *Admin {
	t.Helper()
	a, err := New(Options{
		Version: "1.2.3", Checks: checks, Metrics: metrics, Gatherer: prometheus.NewRegistry(),
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ready(t *testing.T, a *Admin) (int, readiness) {
	t.Helper()
	var ctx fasthttp.RequestCtx
	if err := a.Ready(&ctx); err != nil {
		t.Fatal(err)
	}
	var got readiness
	if err := json.Unmarshal(ctx.Response.Body(), &got); err != nil {
		t.Fatalf("readiness body: %v", err)
	}
	return ctx.Response.StatusCode(), got
}

func TestReadyTellsEachCheckAndHidesCauses(t *testing.T) {
	ok := func(context.Context) error { return nil }
	a := newAdmin(t, true,
		Check{Name: "database", Public: "Database", Needed: true, Ask: ok},
		Check{Name: "redis", Public: "Redis connection failed", Ask: nil},
		Check{Name: "migrations", Public: "Pending migrations", Needed: true, Ask: func(context.Context) error { return ErrPending }},
		Check{Name: "keys", Public: "Keys", Needed: true, Ask: func(context.Context) error { return errors.New("postgres://user:hunter2@db") }},
	)
	status, got := ready(t, a)
	want := readiness{
		Status: "not_ready",
		Checks: map[string]Verdict{"database": OK, "redis": Disabled, "migrations": Pending, "keys": Failed},
		Errors: []string{"Pending migrations", "Keys"},
	}
	if diff := cmp.Diff(want, got); diff != "" || status != 503 {
		t.Errorf("Ready() = %d, diff (-want +got):\n%s", status, diff)
	}
}

func TestACheckThatIsNotNeededIsToldButKeepsTheTraffic(t *testing.T) {
	a := newAdmin(t, true, Check{Name: "redis", Public: "Redis connection failed", Ask: func(context.Context) error { return errors.New("gone") }})
	status, got := ready(t, a)
	want := readiness{Status: "ready", Checks: map[string]Verdict{"redis": Failed}, Errors: []string{"Redis connection failed"}}
	if diff := cmp.Diff(want, got); diff != "" || status != 200 {
		t.Errorf("Ready() = %d, diff (-want +got):\n%s", status, diff)
	}
}

func TestWhatServesDegradedIsToldAndKeepsTheTrafficAlsoWhereItIsNeeded(t *testing.T) {
	degraded := fmt.Errorf("%w: provider okta: signature: hunter2", ErrDegraded)
	a := newAdmin(t, true,
		Check{Name: "plugins", Public: "A plugin is not loaded", Degraded: "A plugin is an old one", Needed: true, Ask: func(context.Context) error { return degraded }},
		Check{Name: "redis", Public: "Redis", Needed: true, Ask: func(context.Context) error { return ErrUnused }},
	)
	status, got := ready(t, a)
	want := readiness{Status: "ready", Checks: map[string]Verdict{"plugins": Failed, "redis": Disabled}, Errors: []string{"A plugin is an old one"}}
	if diff := cmp.Diff(want, got); diff != "" || status != 200 {
		t.Errorf("Ready() = %d, diff (-want +got):\n%s", status, diff)
	}
}

func TestReadyAnswersInTimeWhenADependencyHangs(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int32
	a := newAdmin(t, true, Check{Name: "database", Public: "Database", Needed: true, Ask: func(context.Context) error {
		asked.Add(1)
		<-release // a dependency that does not respect its context
		return nil
	}})
	for range 2 {
		start := time.Now()
		status, got := ready(t, a)
		if took := time.Since(start); took > time.Second {
			t.Errorf("Ready() took %s, want at most 1s", took)
		}
		if status != 503 || got.Checks["database"] != Failed {
			t.Errorf("Ready() = %d %v, want 503 and error", status, got.Checks)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("a hanging dependency was asked %d times at once, want 1", n)
	}
	close(release)
}

func TestManyProbesAskOnce(t *testing.T) {
	var asked atomic.Int32
	a := newAdmin(t, true, Check{Name: "database", Public: "Database", Needed: true, Ask: func(context.Context) error {
		asked.Add(1)
		return nil
	}})
	for range 50 {
		ready(t, a)
	}
	if n := asked.Load(); n > 10 {
		t.Errorf("50 probes asked %d times, want few", n)
	}
}

func TestDrainTurnsReadinessOff(t *testing.T) {
	a := newAdmin(t, true)
	if status, _ := ready(t, a); status != 200 {
		t.Fatalf("Ready() = %d before the drain, want 200", status)
	}
	a.Drain()
	if status, got := ready(t, a); status != 503 || got.Status != "not_ready" {
		t.Errorf("Ready() = %d %s after the drain, want 503 not_ready", status, got.Status)
	}
}

func TestHealthAsksNobody(t *testing.T) {
	a := newAdmin(t, true, Check{Name: "database", Ask: func(context.Context) error { t.Error("asked"); return nil }})
	var ctx fasthttp.RequestCtx
	if err := a.Health(&ctx); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(ctx.Response.Body(), &got); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.RFC3339, got["timestamp"]); err != nil || got["status"] != "healthy" || got["version"] != "1.2.3" {
		t.Errorf("Health() = %v", got)
	}
}

func TestMetricsSwitchedOffAre404(t *testing.T) {
	var ctx fasthttp.RequestCtx
	if err := newAdmin(t, false).Metrics(&ctx); err == nil {
		t.Error("Metrics() answered although switched off")
	}
	if err := newAdmin(t, true).Metrics(&ctx); err != nil || ctx.Response.StatusCode() != 200 {
		t.Errorf("Metrics() = %v, %d", err, ctx.Response.StatusCode())
	}
}

// endless is a body that nobody should read.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.read += len(p); e.read > 1<<20 {
		return 0, io.ErrUnexpectedEOF
	}
	return len(p), nil
}

func TestMetricsDoNotReadABody(t *testing.T) {
	var ctx fasthttp.RequestCtx
	body := &endless{}
	ctx.Request.SetBodyStream(body, -1)
	if err := newAdmin(t, true).Metrics(&ctx); err != nil || ctx.Response.StatusCode() != 200 {
		t.Errorf("Metrics() = %v, %d", err, ctx.Response.StatusCode())
	}
	if body.read > 0 {
		t.Errorf("Metrics() read %d bytes of the body", body.read)
	}
}
