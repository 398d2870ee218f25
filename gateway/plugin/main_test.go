package plugin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

// workspace holds the guest and the compile cache of the whole run.
var workspace string

func TestMain(m *testing.M) {
	os.Exit(wasmtest.Main(m, func(dir string) { workspace = dir }, "./wasm/testdata/guest", "./wasm/testdata/quiet"))
}

// database is a Reader with what tests put into it.
type database struct {
	mu      sync.Mutex
	entries map[string]sdk.Entry
	err     error
	onRead  func() // runs after a read, before its answer
}

func (d *database) KV(_ context.Context, provider, key string, _ time.Time) (sdk.Entry, bool, error) {
	d.mu.Lock()
	e, ok := d.entries[provider+"/"+key]
	err, onRead := d.err, d.onRead
	d.mu.Unlock()
	if onRead != nil {
		onRead()
	}
	return e, ok, err
}

func (d *database) put(provider, key, value string, version int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries[provider+"/"+key] = sdk.Entry{Value: []byte(value), Version: version}
}

// bed is a host for tests.
type bed struct {
	later atomic.Int64 // by how much its clock was moved
	*Host
	db       *database
	registry *prometheus.Registry
}

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func configured(name string) config.Provider {
	return config.Provider{
		Name: name, Label: "Label of " + name, Plugin: filepath.Join(workspace, "guest.wasm"),
		Capabilities: []string{"kv", "password", "log"}, MemoryBytes: 32 * config.MiB,
		Timeout: 10 * time.Second, Wait: 10 * time.Second, Instances: 4,
	}
}

func newBed(t *testing.T, log io.Writer, providers ...config.Provider) *bed {
	t.Helper()
	return newBedWith(t, log, config.Plugins{}, providers...)
}

func newBedWith(t *testing.T, log io.Writer, plugins config.Plugins, providers ...config.Provider) *bed {
	t.Helper()
	b := &bed{
		db:       &database{entries: make(map[string]sdk.Entry)},
		registry: prometheus.NewRegistry(),
	}
	h, err := New(Options{
		Providers: providers, Plugins: plugins, CacheDir: filepath.Join(workspace, "cache"), KV: b.db,
		Passwords: providertest.New().Call().Passwords(), Log: slog.New(slog.NewTextHandler(log, nil)),
		Registerer: b.registry, Now: func() time.Time { return now.Add(time.Duration(b.later.Load())) },
	})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	b.Host = h
	t.Cleanup(func() {
		if err := h.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return b
}

func loaded(t *testing.T, providers ...config.Provider) *bed {
	t.Helper()
	b := newBed(t, io.Discard, providers...)
	if err := b.Load(context.Background()); err != nil {
		t.Fatalf("Load: %v", err)
	}
	return b
}

func act(what, arg string) sdk.Request {
	return sdk.Request{Fields: map[string]string{"act": what, "arg": arg}, Now: now}
}

var login = sdk.Flow{ID: "flow-1", Kind: sdk.FlowLogin, Form: "act"}

// begin lets the guest do something and returns the subject that it answers with.
func (b *bed) begin(provider, what, arg string) (string, []Write, error) {
	a, err := b.Begin(context.Background(), provider, login, act(what, arg))
	if err != nil {
		return "", nil, err
	}
	if a.Step.Done == nil {
		return "", a.Writes, fmt.Errorf("step is %q", a.Step.Kind())
	}
	return a.Step.Done.Identity.Subject, a.Writes, nil
}

// faults returns the value of the fault counter.
func (b *bed) faults(t *testing.T, provider string, kind Kind) float64 {
	t.Helper()
	return b.metric(t, "materi_plugin_faults_total", "provider", provider, "kind", string(kind))
}

// metric returns the value of a counter or gauge with these labels, pairs of name and
// value, and 0 if there is none.
func (b *bed) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if has(m, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func has(m *dto.Metric, labels []string) bool {
	held := make(map[string]string)
	for _, l := range m.GetLabel() {
		held[l.GetName()] = l.GetValue()
	}
	for i := 0; i < len(labels); i += 2 {
		if held[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}
