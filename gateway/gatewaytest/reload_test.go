package gatewaytest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
	"github.com/materi/shield/gateway/plugin/signature"
	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// plainPlugins are two versions of testdata/plain, built once.
var plainPlugins = sync.OnceValues(func() ([2][]byte, error) {
	var all [2][]byte
	var errs [2]error
	var builds sync.WaitGroup
	for i := range all {
		builds.Go(func() {
			file, err := wasmtest.Build("./testdata/plain", filepath.Join(filepath.Dir(compileCache), fmt.Sprintf("plain%d", i+1)), fmt.Sprintf("-X main.version=%d", i+1))
			if err == nil {
				all[i], err = os.ReadFile(file)
			}
			errs[i] = err
		})
	}
	builds.Wait()
	return all, errors.Join(errs[:]...)
})

// swapping is a gateway whose only provider is one of the two versions.
type swapping struct {
	*gate
	versions [2][]byte
	file     string
}

// onlyPlain is a change of a configuration: its only provider is the plugin at file.
func onlyPlain(file string) func(*config.Config) {
	return func(c *config.Config) {
		p := c.Providers[0]
		p.Name, p.Label, p.Plugin, p.Capabilities = "plain", "Plain", file, nil
		c.Providers = []config.Provider{p}
		c.Token.Algorithm = "EdDSA" // signing is not what is tried here
	}
}

func startSwapping(t testing.TB, in *installation, change ...func(*config.Config)) *swapping {
	t.Helper()
	versions, err := plainPlugins()
	if err != nil {
		t.Fatal(err)
	}
	s := &swapping{versions: versions, file: filepath.Join(t.TempDir(), "plain.wasm")}
	s.write(t, versions[0])
	s.gate = in.start(t, append([]func(*config.Config){onlyPlain(s.file)}, change...)...)
	return s
}

// write puts a plugin in its place, whole, as an operator should.
func (s *swapping) write(t testing.TB, code []byte) {
	t.Helper()
	next := s.file + ".next"
	if err := os.WriteFile(next, code, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, s.file); err != nil {
		t.Fatal(err)
	}
}

// version logs somebody new in and returns which version of the plugin did it.
func (s *swapping) version() (string, error) {
	p := somebody()
	a, err := s.try(http.MethodPost, "/auth/login", p.credentials())
	if err != nil {
		return "", err
	}
	if a.status != http.StatusOK {
		return "", fmt.Errorf("login: %d %s", a.status, a.body)
	}
	_, name, _ := strings.Cut(string(a.body), `"name":"version `)
	return name[:min(len(name), 1)], nil
}

func (s *swapping) mustBe(t testing.TB, version string) {
	t.Helper()
	if got, err := s.version(); got != version {
		t.Errorf("version %q logs in, %v, want %s", got, err, version)
	}
}

// reload applies the configuration of the start with changes.
func (s *swapping) reload(change ...func(*config.Config)) error {
	cfg := s.cfg
	cfg.Providers = slices.Clone(cfg.Providers)
	for _, c := range change {
		c(&cfg)
	}
	return s.Reload(context.Background(), cfg)
}

// TestFiftySwapsUnderLogins swaps the plugin back and forth as fast as it goes while a
// hundred people a second log in.
func TestFiftySwapsUnderLogins(t *testing.T) {
	s := startSwapping(t, onSQLite(t), limited("login-ip", 1_000_000))
	s.mustBe(t, "1")
	s.write(t, s.versions[1])
	if err := s.reload(); err != nil { // compiles the second one
		t.Fatal(err)
	}

	people := make(chan struct{})
	var logins, failed atomic.Int64
	var seen [3]atomic.Int64
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for range people {
				v, err := s.version()
				logins.Add(1)
				if err != nil && failed.Add(1) < 5 {
					t.Errorf("during a swap: %v", err)
				}
				seen[strings.Index(" 12", v)].Add(1)
			}
		})
	}
	stop := make(chan struct{})
	workers.Go(func() {
		defer close(people)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			select {
			case people <- struct{}{}:
			case <-stop:
				return
			}
		}
	})

	var early memory
	for i := range 50 {
		s.write(t, s.versions[i%2])
		if err := s.reload(); err != nil {
			t.Errorf("swap %d: %v", i, err)
		}
		if i == 9 {
			early = held()
		}
	}
	late := held()
	close(stop)
	workers.Wait()

	if failed.Load() > 0 || logins.Load() < 50 || seen[1].Load() == 0 || seen[2].Load() == 0 {
		t.Errorf("%d logins, %d failed; version 1 answered %d and version 2 %d", logins.Load(), failed.Load(), seen[1].Load(), seen[2].Load())
	}
	// 40 modules that were not freed would be over 100 MiB of heap, and three times that with
	// their machine code.
	if late.heap-early.heap > 32<<20 || late.resident-early.resident > 96<<20 || late.goroutines-early.goroutines > 64 {
		t.Errorf("after 50 swaps %+v, after 10 %+v", late, early)
	}
	if n := s.metric(t, "materi_plugin_generation", "provider=plain"); n != 52 {
		t.Errorf("materi_plugin_generation = %v, want 52", n)
	}
	eventually(t, "the last but one is closed", func() bool { return s.metric(t, "materi_plugin_draining", "provider=plain") == 0 })
	if n := s.metric(t, "materi_plugin_loads_total", "provider=plain", "status=failure"); n != 0 {
		t.Errorf("%v loads failed", n)
	}
	t.Logf("%d logins; after 10 swaps %+v, after 50 %+v", logins.Load(), early, late)
}

// memory is what a process holds.
type memory struct{ heap, resident, goroutines int64 }

func held() memory {
	debug.FreeOSMemory()
	m := memory{heap: live(), goroutines: int64(runtime.NumGoroutine())}
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return m // not Linux: the heap alone must do
	}
	var size int64
	_, _ = fmt.Sscan(string(status), &size, &m.resident)
	m.resident *= int64(os.Getpagesize())
	return m
}

// named returns the name of whoever follows a magic link.
func (g *gate) named(t testing.TB, mail letter) string {
	t.Helper()
	return g.get(t, mail.link).tokens(t).User.Name
}

func TestMailedLinksAreFollowedAcrossSwaps(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		s := startSwapping(t, in)
		begin := func() letter {
			p := somebody()
			s.post(t, "/auth/magic-link", object{"email": p.email}).ok(t, http.StatusAccepted)
			return in.letter(t, p.email)
		}
		first, second := begin(), begin()
		s.write(t, s.versions[1])
		if err := s.reload(); err != nil {
			t.Fatal(err)
		}
		third := begin()
		if got := s.named(t, first); got != "from 1 to 1" {
			t.Errorf("the flow that began before the swap was ended %q", got)
		}
		if got := s.named(t, third); got != "from 2 to 2" {
			t.Errorf("the flow that began after the swap was ended %q", got)
		}
		// A replica that never ran the first version makes of the flow what it can.
		other := in.start(t, onlyPlain(s.file))
		if got := other.named(t, second); got != "from 1 to 2" {
			t.Errorf("at another replica the flow was ended %q", got)
		}
	})
}

func TestFailedReloadsKeepServingAndSaySo(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(c *config.Config) {
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		c.Plugins = config.Plugins{RequireSigned: true, Keys: []config.PluginKey{{Name: "release", PublicKey: text}}}
	}
	sign := func(file string, code []byte) {
		if err := os.WriteFile(file+signature.Suffix, signature.Sign(sha256.Sum256(code), key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := startSwapping(t, in)
	sign(s.file, s.versions[0])
	if err := s.reload(signed); err != nil {
		t.Fatalf("a signature that is good: %v", err)
	}
	email, err := os.ReadFile(emailPlugin)
	if err != nil {
		t.Fatal(err)
	}
	half := s.versions[1][:len(s.versions[1])/2]
	partial := 0.0
	for _, c := range []struct {
		name   string
		code   []byte
		change func(*config.Config)
		reason string
	}{
		{"half a file", half, nil, "not a WASM module"},
		{"nothing", nil, nil, "not a WASM module"},
		{"not signed anew", s.versions[1], signed, "signature: the signature is that of another file (key release); sign it with: shield plugin sign"},
		{"another file than the pin's", s.versions[1], func(c *config.Config) { c.Providers[0].SHA256 = strings.Repeat("0", 64) }, "pin: the file's digest is "},
		{"settings with a fault", s.versions[1], func(c *config.Config) { c.Providers[0].Config = config.Settings{"hunter2": "hunter2"} }, "config: there are no settings"},
		{"an import that is not granted", email, nil, "module imports shield_"},
	} {
		s.write(t, c.code)
		var changes []func(*config.Config)
		if c.change != nil {
			changes = append(changes, c.change)
		}
		if err := s.reload(changes...); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: Reload() = %v, want %q", c.name, err, c.reason)
		}
		partial++
		s.mustBe(t, "1")
		got := s.probed(t, http.StatusOK, "plugins", "error")
		if got.Status != "ready" || len(got.Errors) != 1 || !strings.Contains(got.Errors[0], "A plugin could not be loaded") {
			t.Errorf("%s: readiness = %+v", c.name, got)
		}
		for metric, want := range map[string]float64{
			`materi_plugin_stale provider=plain`:                      1,
			`materi_plugin_up provider=plain`:                         1,
			`materi_plugin_loads_total provider=plain status=failure`: partial,
			`materi_config_reloads_total status=partial`:              partial,
			`materi_config_last_reload_success`:                       0,
		} {
			words := strings.Fields(metric)
			if got := s.metric(t, words[0], words[1:]...); got != want {
				t.Errorf("%s: %s = %v, want %v", c.name, metric, got, want)
			}
		}
		if !logged(in, `"msg":"provider cannot be loaded","provider":"plain","serving_generation":1`, c.reason) {
			t.Errorf("%s: the log does not say %q", c.name, c.reason)
		}
	}
	if strings.Contains(in.logs.String(), "hunter2") {
		t.Error("the log holds a setting")
	}

	s.write(t, s.versions[1])
	sign(s.file, s.versions[1])
	if err := s.reload(signed); err != nil {
		t.Fatalf("mended: %v", err)
	}
	s.mustBe(t, "2")
	s.probed(t, http.StatusOK, "plugins", "ok")
	if n := s.metric(t, "materi_config_last_reload_success"); n != 1 {
		t.Errorf("materi_config_last_reload_success = %v, want 1", n)
	}
}

// logged reports whether one record of the log holds all of parts.
func logged(in *installation, parts ...string) bool {
	for line := range strings.Lines(in.logs.String()) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			return true
		}
	}
	return false
}

func TestProvidersAreAddedAndRemovedByAReload(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	versions, err := plainPlugins()
	if err != nil {
		t.Fatal(err)
	}
	s := &swapping{versions: versions, file: filepath.Join(t.TempDir(), "plain.wasm")}
	s.write(t, versions[0])
	s.gate = in.launch(t, func(c *config.Config) { c.Providers = nil })
	s.probed(t, http.StatusOK, "plugins", "disabled")
	s.post(t, "/auth/login", somebody().credentials()).refused(t, http.StatusNotFound, "NOT_FOUND")

	full := in.config(t, s.address, onlyPlain(s.file))
	if err := s.Reload(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	s.mustBe(t, "1")
	s.probed(t, http.StatusOK, "plugins", "ok")

	// One more that is broken is told, and takes nothing from the one that is there.
	broken := full.Providers[0]
	broken.Name, broken.Plugin = "broken", filepath.Join(in.data, "missing.wasm")
	both := full
	both.Providers = []config.Provider{broken, full.Providers[0]}
	if err := s.Reload(t.Context(), both); err == nil {
		t.Error("Reload() with a file that is missing = nil")
	}
	s.mustBe(t, "1")
	s.probed(t, http.StatusOK, "plugins", "error")
	if up := s.metric(t, "materi_plugin_up", "provider=broken"); up != 0 {
		t.Errorf("materi_plugin_up = %v, want 0", up)
	}

	p := somebody()
	s.post(t, "/auth/magic-link", object{"email": p.email}).ok(t, http.StatusAccepted)
	mail := in.letter(t, p.email)
	none := full
	none.Providers = nil
	if err := s.Reload(t.Context(), none); err != nil {
		t.Fatal(err)
	}
	s.probed(t, http.StatusOK, "plugins", "disabled")
	s.post(t, "/auth/login", somebody().credentials()).refused(t, http.StatusNotFound, "NOT_FOUND")
	s.get(t, mail.link).refused(t, http.StatusNotFound, "NOT_FOUND")
	if body := s.get(t, "/metrics/").ok(t, http.StatusOK).body; bytes.Contains(body, []byte(`provider="plain"`)) {
		t.Error("the metrics still tell of a provider that is gone")
	}
}

func TestReloadMendsAGatewayThatStartedWithoutItsPlugin(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := in.launch(t, func(c *config.Config) { c.Providers[0].Plugin = filepath.Join(in.data, "missing.wasm") })
	g.probed(t, http.StatusServiceUnavailable, "plugins", "error")
	if err := g.Reload(t.Context(), in.config(t, g.address)); err != nil {
		t.Fatal(err)
	}
	g.ready(t)
	g.member(t)
}

func TestReloadOfFaultsChangesNothing(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := in.start(t)
	read := func() (config.Config, error) {
		return config.Parse("shield.yaml", []byte("data_dir: [hunter2]\nnonsense: 1\n"), func(string) (string, bool) { return "", false })
	}
	if _, ok := errors.AsType[config.Faults](g.ReloadFrom(t.Context(), read)); !ok {
		t.Error("ReloadFrom() does not return the faults")
	}
	taken := in.config(t, g.address, func(c *config.Config) {
		c.Providers = nil
		c.Routes = append(slices.Clone(c.Routes), config.Route{Name: "mine", Path: "/auth/login", Upstream: "demo", Auth: "public"})
	})
	if err := g.Reload(t.Context(), taken); err == nil {
		t.Error("Reload() of a route that is the gateway's own = nil")
	}
	g.member(t)
	if !logged(in, "configuration refused, nothing has changed", "shield.yaml:2:1: nonsense") {
		t.Error("the log does not say where the fault is")
	}
	if n := g.metric(t, "materi_config_reloads_total", "status=refused"); n != 2 {
		t.Errorf("materi_config_reloads_total = %v, want 2", n)
	}
}

func TestReloadOfAGatewayThatStopsIsHarmless(t *testing.T) {
	in := onSQLite(t)
	g := in.start(t)
	stopped := make(chan error)
	go func() { stopped <- g.Stop(context.Background()) }()
	for range 3 { // before, while or after
		cfg := in.config(t, g.address, func(c *config.Config) { c.Providers[0].Timeout = 7 * time.Second })
		if err := g.Reload(context.Background(), cfg); err != nil && !errors.Is(err, gateway.ErrStopping) {
			t.Errorf("Reload() = %v", err)
		}
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop() = %v", err)
	}
	if err := g.Reload(context.Background(), g.cfg); !errors.Is(err, gateway.ErrStopping) {
		t.Errorf("Reload() after the end = %v, want %v", err, gateway.ErrStopping)
	}
}
