package gatewaytest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/hostile"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/gateway/testbed"
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

// BenchmarkOIDCLogin is a login at a real OpenID provider, which runs in a process of its own.
// The figure to look at is gateway-cpu-ms: the time of the processor that the gateway takes for
// one, with its plugin and the requests to the other site, and with SQLite also the database.
// It is what this process takes, less what the browser takes for as many pages as a login has.
func BenchmarkOIDCLogin(b *testing.B) {
	idp := testbed.StartOpenIDProvider(b)
	for name, installed := range map[string]func(testing.TB) *installation{"postgres": onPostgres, "sqlite": onSQLite} {
		b.Run(name, func(b *testing.B) {
			g, issuer := issuerOf(b, idp, installed(b), "wasm")
			v := g.visitor(b)
			v.logIn(b, "/auth/oauth/post", "ann").tokens(b) // makes the user, and a session there
			const pages, rounds = 3, 200
			before := processorTime(b)
			for range pages * rounds {
				v.visit(b, issuer.URL+"/nowhere", nil)
			}
			browser := (processorTime(b) - before) / rounds
			before = processorTime(b)
			for b.Loop() {
				v.logIn(b, "/auth/oauth/post", "ann").tokens(b)
			}
			whole := (processorTime(b) - before) / time.Duration(b.N)
			b.ReportMetric(float64((whole-browser).Microseconds())/1000, "gateway-cpu-ms/op")
			b.ReportMetric(float64(browser.Microseconds())/1000, "browser-cpu-ms/op")
		})
	}
}

// processorTime is what this process has taken of the processor.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
