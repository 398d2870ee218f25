package gatewaytest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/hostile"
	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// BenchmarkStart is a start with three plugins whose code is compiled already, up to the
// moment at which all of them serve.
func BenchmarkStart(b *testing.B) {
	in := onSQLite(b)
	header, err := wasmtest.Build("../../examples/plugins/header/cmd", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	three := func(c *config.Config) {
		besides(b, func(p *config.Provider) {})(c)
		c.Providers[1] = in.config(b, c.Server.Listen).Providers[0] // e-mail
		third := c.Providers[0]
		apiKeys(header)(&third)
		c.Providers = append(c.Providers, third)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	ready := func() {
		g := in.launch(b, three)
		for {
			a, err := g.try(http.MethodGet, "/auth/providers", nil)
			if err == nil && strings.Count(string(a.body), `"kind"`) == 3 {
				return
			}
			<-tick.C
		}
	}
	ready() // compiles
	for b.Loop() {
		ready()
	}
}

// BenchmarkLoginBesideAnAttack is a login at a provider that hashes nothing, alone and beside
// a plugin that loops, recurses and hoards as often as it is let. The figures to compare are
// the 99th percentiles.
func BenchmarkLoginBesideAnAttack(b *testing.B) {
	file, err := hostile.Acts(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	g := onSQLite(b).start(b, besides(b, func(p *config.Provider) {
		p.Plugin, p.Instances, p.Wait = file, 1, 0
		p.Capabilities = []string{"kv", "password", "log", "http", "jwt", "xmldsig", "secret"}
		p.MemoryBytes, p.Timeout, p.Fuel = 16*config.MiB, 500*time.Millisecond, 5_000
	}))
	login := func() time.Duration {
		start := time.Now()
		a, err := g.try(http.MethodPost, "/auth/providers/plain/password", somebody().credentials())
		if err != nil || a.status != http.StatusOK {
			b.Fatalf("login: %d %s, %v", a.status, a.body, err)
		}
		return time.Since(start)
	}
	percentile := func() time.Duration {
		var all []time.Duration
		for range 500 {
			all = append(all, login())
		}
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	for b.Loop() {
		alone := percentile()
		var over atomic.Bool
		var attackers sync.WaitGroup
		attackers.Go(func() {
			for i := 0; !over.Load(); i++ {
				act := []string{"loop", "deep", "hoard and loop", "insist", "million elements"}[i%5]
				_, _ = g.tryAct(act, "")
			}
		})
		beside := percentile()
		over.Store(true)
		attackers.Wait()
		b.ReportMetric(float64(alone.Microseconds())/1000, "alone-p99-ms")
		b.ReportMetric(float64(beside.Microseconds())/1000, "attacked-p99-ms")
		b.ReportMetric(float64(beside)/float64(alone), "x")
	}
}
