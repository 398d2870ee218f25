package plugin

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

// BenchmarkEmailLogin is what a login by e-mail and password costs beside the hash of the
// password and the database: the guest and its border. The hash is the scripted host's, which
// takes no time.
func BenchmarkEmailLogin(b *testing.B) {
	file, err := wasmtest.Build("../../plugins/email/cmd", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	db := &database{entries: make(map[string]sdk.Entry)}
	h, err := New(Options{
		Providers: []config.Provider{{
			Name: "email", Plugin: file, Capabilities: []string{"kv", "password"}, MemoryBytes: 64 * config.MiB,
			Timeout: 10 * time.Second, Wait: 10 * time.Second, Instances: 1,
		}},
		KV: db, Passwords: providertest.New().Call().Passwords(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Registerer: prometheus.NewRegistry(), Now: func() time.Time { return now },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = h.Stop(context.Background()) }()
	if err := h.Load(context.Background()); err != nil {
		b.Fatal(err)
	}
	request := sdk.Request{Fields: map[string]string{"email": "ann@example.test", "password": "Correct-horse-1"}, Now: now}
	keep := func(a Answer, err error) []byte {
		if err != nil || a.Step.Denied != nil {
			b.Fatalf("%+v, %v", a.Step.Denied, err)
		}
		for _, w := range a.Writes {
			if !w.ReadOnly && !w.Delete {
				db.put("email", w.Key, string(w.Value), 1)
			}
		}
		return a.Step.Save
	}
	flow := sdk.Flow{ID: "f", Kind: sdk.FlowRegister, Form: "password", StartedAt: now}
	flow.Saved = keep(h.Begin(context.Background(), "email", flow, request))
	keep(h.Continue(context.Background(), "email", flow, sdk.Request{Now: now}))
	flow = sdk.Flow{ID: "f", Kind: sdk.FlowLogin, Form: "password", StartedAt: now}
	b.ReportAllocs()
	for b.Loop() {
		a, err := h.Begin(context.Background(), "email", flow, request)
		if err != nil || a.Step.Done == nil {
			b.Fatalf("%s, %v", a.Step.Kind(), err)
		}
	}
}
