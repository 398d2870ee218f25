package gatewaytest

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// asks is a change of a configuration: logins at the provider other are decided by a server.
func asks(t testing.TB, server string, c config.Circuit) func(*config.Config) {
	t.Helper()
	file, err := wasmtest.Build("./testdata/asks", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return besides(t, func(p *config.Provider) {
		p.Plugin, p.Capabilities, p.Config = file, []string{"http"}, config.Settings{"url": server + "/decide"}
		p.HTTP.Allow, p.HTTP.Addresses, p.HTTP.Circuit = []string{server}, []string{"127.0.0.1"}, c
	})
}

func TestServerThatKeepsFailingIsNotAskedUntilItIsWell(t *testing.T) {
	t.Parallel()
	var status, asked atomic.Int64
	status.Store(http.StatusInternalServerError)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	const path = "/auth/providers/other/password"
	state := func(g *gate) float64 { return g.metric(t, "materi_sso_circuit_state", "provider=other") }

	g := onSQLite(t).start(t, asks(t, server.URL, config.Circuit{}))
	for range 5 {
		g.post(t, path, somebody().credentials()).refused(t, http.StatusBadGateway, "OAUTH_PROVIDER_ERROR")
	}
	for range 3 {
		a := g.post(t, path, somebody().credentials()).refused(t, http.StatusServiceUnavailable, "SSO_CIRCUIT_OPEN")
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
			t.Errorf("Retry-After is %q, want 1 to 60 seconds", a.header.Get("Retry-After"))
		}
	}
	if got := asked.Load(); got != 5 {
		t.Errorf("the server was asked %d times, want 5", got)
	}
	if got := state(g); got != 1 {
		t.Errorf("materi_sso_circuit_state = %v, want 1", got)
	}
	g.post(t, "/auth/providers/plain/password", somebody().credentials()).tokens(t)

	asked.Store(0)
	brief := onSQLite(t).start(t, asks(t, server.URL, config.Circuit{Failures: 2, Open: 100 * time.Millisecond}))
	if got := state(brief); got != 0 {
		t.Errorf("materi_sso_circuit_state = %v at the start, want 0", got)
	}
	for range 2 {
		brief.post(t, path, somebody().credentials()).refused(t, http.StatusBadGateway, "OAUTH_PROVIDER_ERROR")
	}
	status.Store(http.StatusOK)
	eventually(t, "the pause is over", func() bool { return state(brief) == 2 })
	brief.post(t, path, somebody().credentials()).tokens(t)
	if got := state(brief); got != 0 {
		t.Errorf("materi_sso_circuit_state = %v after a success, want 0", got)
	}
	if got := asked.Load(); got != 3 {
		t.Errorf("the server was asked %d times, want 3", got)
	}
}

// With the circuit half-open a crowd sends one request, not a flood, to a server that may just
// have come back.
func TestCrowdBehindAnOpenCircuitSendsOneRequest(t *testing.T) {
	t.Parallel()
	var fail atomic.Bool
	fail.Store(true)
	arrived, release := make(chan struct{}, 64), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fail.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		arrived <- struct{}{}
		<-release
	}))
	defer server.Close()
	const path = "/auth/providers/other/password"
	g := onSQLite(t).start(t, asks(t, server.URL, config.Circuit{Failures: 1, Open: time.Millisecond}), func(c *config.Config) {
		c.Providers[1].Instances, c.Providers[1].HTTP.Timeout, c.Providers[1].Timeout = 4, 30*time.Second, 30*time.Second
	})
	g.post(t, path, somebody().credentials()).refused(t, http.StatusBadGateway, "OAUTH_PROVIDER_ERROR")
	fail.Store(false)
	eventually(t, "the pause is over", func() bool { return g.metric(t, "materi_sso_circuit_state", "provider=other") == 2 })
	var crowd sync.WaitGroup
	var in, refused atomic.Int64
	for range 24 {
		crowd.Go(func() {
			a, err := g.try(http.MethodPost, path, somebody().credentials())
			switch {
			case err != nil:
				t.Error(err)
			case a.status == http.StatusOK:
				in.Add(1)
			case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "1":
				refused.Add(1)
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	<-arrived
	eventually(t, "all others are refused", func() bool { return refused.Load() == 23 })
	close(release)
	crowd.Wait()
	if in.Load() != 1 || len(arrived) != 0 {
		t.Errorf("%d logged in, %d more requests arrived, want 1 and 0", in.Load(), len(arrived))
	}
}
