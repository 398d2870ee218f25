package gatewaytest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/hostile"
	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// besides is a change of a configuration: the provider plain serves logins, and another one
// stands beside it.
func besides(t testing.TB, change func(*config.Provider)) func(*config.Config) {
	t.Helper()
	versions, err := plainPlugins()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "plain.wasm")
	if err := os.WriteFile(file, versions[0], 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		onlyPlain(file)(c)
		limited("login-ip", 1_000_000)(c)
		other := c.Providers[0]
		other.Name, other.Instances = "other", 2
		change(&other)
		c.Providers = append(c.Providers, other)
	}
}

// steadily logs people in at the provider plain until it is told to stop. Each login that
// fails is an error.
func (g *gate) steadily(t testing.TB) (stop func()) {
	t.Helper()
	var over atomic.Bool
	var logins atomic.Int64
	var people sync.WaitGroup
	for range 2 {
		people.Go(func() {
			for !over.Load() {
				a, err := g.try(http.MethodPost, "/auth/providers/plain/password", somebody().credentials())
				if err != nil || a.status != http.StatusOK {
					t.Errorf("a login at another provider failed: %d %s, %v", a.status, a.body, err)
					return
				}
				logins.Add(1)
			}
		})
	}
	return func() {
		over.Store(true)
		people.Wait()
		if logins.Load() < 10 {
			t.Errorf("only %d people logged in meanwhile", logins.Load())
		}
	}
}

// tryAct tells the hostile plugin what to do. What it is told is no secret of anybody's.
func (g *gate) tryAct(act, arg string) (answer, error) {
	body := fmt.Sprintf(`{"act": %q, "arg": %q}`, act, arg)
	return g.try(http.MethodPost, "/auth/providers/other/act", body, field("Content-Type", "application/json"))
}

func (g *gate) act(t testing.TB, act, arg string) answer {
	t.Helper()
	a, err := g.tryAct(act, arg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// heap is how much memory is in use once the garbage is gone.
func heap() uint64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// attacks are what the hostile plugin is told to do, with what the attacker hears: a plugin
// that broke down is not available, and what it must not say makes nobody a user.
var attacks = []struct {
	act, arg string
	status   int
	code     string
}{
	{"loop", "", 503, "SERVICE_UNAVAILABLE"},
	{"recursion", "45", 503, "SERVICE_UNAVAILABLE"},
	{"deep", "", 503, "SERVICE_UNAVAILABLE"},
	{"hoard and loop", "", 503, "SERVICE_UNAVAILABLE"},
	{"trap", "", 503, "SERVICE_UNAVAILABLE"},
	{"exit", "0", 503, "SERVICE_UNAVAILABLE"},
	{"exit", "1", 503, "SERVICE_UNAVAILABLE"},
	{"sleep", "", 503, "SERVICE_UNAVAILABLE"},
	{"pointer", "", 503, "SERVICE_UNAVAILABLE"},
	{"length", "", 503, "SERVICE_UNAVAILABLE"},
	{"both", "", 503, "SERVICE_UNAVAILABLE"},
	{"garbage", "", 503, "SERVICE_UNAVAILABLE"},
	{"large garbage", "", 503, "SERVICE_UNAVAILABLE"},
	{"undecodable", "", 503, "SERVICE_UNAVAILABLE"},
	{"truncated", "", 503, "SERVICE_UNAVAILABLE"},
	{"silent", "", 503, "SERVICE_UNAVAILABLE"},
	{"status", "7", 503, "SERVICE_UNAVAILABLE"},
	{"million fields", "", 503, "SERVICE_UNAVAILABLE"},
	{"million elements", "", 503, "SERVICE_UNAVAILABLE"},
	{"large", "", 503, "SERVICE_UNAVAILABLE"},
	{"other flow", "another", 503, "SERVICE_UNAVAILABLE"},
	{"reserved claim", "roles", 503, "SERVICE_UNAVAILABLE"},
	{"reserved claim", "Workspace_IDs", 503, "SERVICE_UNAVAILABLE"},
	{"many attributes", "", 503, "SERVICE_UNAVAILABLE"},
	{"long subject", "", 503, "SERVICE_UNAVAILABLE"},
	{"other issuer", "plain", 403, "EMAIL_NOT_VERIFIED"}, // a namespace of its own all the same
}

// TestHostileModuleHarmsNobodyElse tells a plugin to attack in every way while people log in
// at another provider.
func TestHostileModuleHarmsNobodyElse(t *testing.T) {
	file, err := hostile.Acts(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// Servers that the plugin must not reach, and one that it may, which leads to the first.
	var reached atomic.Int64
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inner.Close()
	listed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, map[string]string{
			"/inner": inner.URL, "/metadata": "http://169.254.169.254/latest/meta-data/", "/file": "file:///etc/passwd",
		}[r.URL.Path], http.StatusFound)
	}))
	defer listed.Close()

	in := onSQLite(t)
	g := in.start(t, besides(t, func(p *config.Provider) {
		p.Plugin = file
		p.Capabilities = []string{"kv", "password", "log", "http", "jwt", "xmldsig", "secret"}
		p.HTTP = config.Egress{
			Allow: []string{listed.URL}, Addresses: []string{"127.0.0.1"}, Timeout: time.Second,
			MaxResponse: 64 * config.KiB, MaxRequests: 4,
		}
		p.Secrets = []config.ProviderSecret{{Name: "s", Value: config.NewSecret("a secret of the operator")}}
		p.MemoryBytes, p.Timeout, p.Fuel = 16*config.MiB, 500*time.Millisecond, 5_000
	}))
	victim := somebody()
	g.post(t, "/auth/providers/plain/password", victim.credentials()).tokens(t)
	act := func(what, arg string) answer { return g.act(t, what, arg) }
	act("echo", "alive").refused(t, http.StatusForbidden, "EMAIL_NOT_VERIFIED")
	before := heap()

	stop := g.steadily(t)
	for _, a := range attacks {
		act(a.act, a.arg).refused(t, a.status, a.code)
		// The instance is gone, and the next call has another one.
		act("echo", "alive").refused(t, http.StatusForbidden, "EMAIL_NOT_VERIFIED")
	}
	act("other email", victim.email).refused(t, http.StatusConflict, "EMAIL_ALREADY_EXISTS")
	for _, what := range []string{"flood log", "flood stderr", "insist", "fill kv", "hoard"} {
		if a := act(what, ""); a.status == http.StatusOK {
			t.Errorf("%s ended in a login: %s", what, a.body)
		}
	}
	for _, url := range []string{
		inner.URL, listed.URL + "/inner", listed.URL + "/metadata", listed.URL + "/file", "http://169.254.169.254/",
		"http://localhost:1/", "http://[::1]:1/", "http://0x7f000001/", strings.Replace(inner.URL, "127.0.0.1", "127.1", 1),
	} {
		act("fetch", url).refused(t, http.StatusForbidden, "EMAIL_NOT_VERIFIED")
	}
	// 64 at a time, of which all but two have to wait or are told to come again.
	var crowd sync.WaitGroup
	for i := range 64 {
		crowd.Go(func() {
			a := attacks[i%len(attacks)]
			got, err := g.tryAct(a.act, a.arg)
			if err != nil || got.status < 400 {
				t.Errorf("%s among many: %d, %v", a.act, got.status, err)
			}
		})
	}
	crowd.Wait()
	stop()

	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests reached a server that is not listed", n)
	}
	if after := heap(); after > before+48<<20 {
		t.Errorf("%d MiB are in use, before the attacks it were %d", after>>20, before>>20)
	}
	if text := in.logs.String(); strings.Contains(text, "a secret of the operator") || len(text) > 32<<20 {
		t.Errorf("the log has %d bytes, or holds the operator's secret", len(text))
	}
	g.get(t, "/ready/").ok(t, http.StatusOK)
}

// TestPluginThatAttacksWhileItIsLoadedStaysOutside reloads with each of the hostile plugins
// in the place of one that works.
func TestPluginThatAttacksWhileItIsLoadedStaysOutside(t *testing.T) {
	dir := t.TempDir()
	acts, err := hostile.Acts(dir)
	if err != nil {
		t.Fatal(err)
	}
	memory := filepath.Join(dir, "memory.wasm")
	if err := os.WriteFile(memory, hostile.Memory(), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []string{memory, "/dev/zero", "/dev/null", dir, filepath.Join(dir, "nothing.wasm")}
	for a := range hostile.Attacks {
		file, err := hostile.Load(dir, hostile.Attack(a+1))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	g := onSQLite(t).start(t, besides(t, func(p *config.Provider) {
		p.Plugin, p.MemoryBytes, p.Timeout, p.Fuel = acts, 16*config.MiB, 500*time.Millisecond, 500
		p.Capabilities = []string{"kv", "password", "log", "http", "jwt", "xmldsig", "secret"}
	}))
	stop := g.steadily(t)
	for _, file := range files {
		cfg := g.cfg
		cfg.Providers = append([]config.Provider{}, cfg.Providers...)
		cfg.Providers[1].Plugin = file
		if err := g.Reload(t.Context(), cfg); err == nil {
			t.Errorf("%s was loaded", filepath.Base(file))
		}
		g.act(t, "echo", "alive").refused(t, http.StatusForbidden, "EMAIL_NOT_VERIFIED") // of the one before
	}
	stop()
}

// TestHostileProcessHarmsNobodyElse kills and stops a provider's process while people log in
// at another provider.
func TestHostileProcessHarmsNobodyElse(t *testing.T) {
	program, err := wasmtest.BuildProcess("./testdata/plain", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := onSQLite(t)
	g := in.start(t, besides(t, func(p *config.Provider) {
		p.Plugin, p.Transport, p.Timeout = program, "process", time.Second
	}))
	login := func() answer {
		a, err := g.try(http.MethodPost, "/auth/providers/other/password", somebody().credentials())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	login().tokens(t)
	stop := g.steadily(t)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGABRT, syscall.SIGKILL} {
		pid := childOf(t)
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("a login at the provider that got %v", signal), func() bool {
			a := login()
			if a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
				t.Errorf("after %v: %d %s", signal, a.status, a.body)
			}
			return a.status == http.StatusOK && childOf(t) != pid
		})
	}
	stop()
	metrics := string(g.get(t, "/metrics/").body)
	if !strings.Contains(metrics, `materi_plugin_restarts{provider="other"} `) || strings.Contains(metrics, `materi_plugin_restarts{provider="other"} 0`) {
		t.Error("the metrics tell of no restart")
	}
}

// childOf returns the process of the one provider that is one.
func childOf(t testing.TB) int {
	t.Helper()
	found := 0
	eventually(t, "the provider's process runs", func() bool {
		files, err := filepath.Glob("/proc/[0-9]*/status")
		if err != nil {
			t.Fatal(err)
		}
		parent := fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())
		for _, file := range files {
			status, err := os.ReadFile(file)
			if err == nil && strings.HasPrefix(string(status), "Name:\tplugin\n") && strings.Contains(string(status), parent) {
				found, _ = strconv.Atoi(strings.Split(file, "/")[2])
				return true
			}
		}
		return false
	})
	return found
}
