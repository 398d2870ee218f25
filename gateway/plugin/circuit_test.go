package plugin

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/circuit"
	"github.com/materi/shield/sdk"
)

// peer is another site, which answers what it is told to.
type peer struct {
	url    string
	asked  atomic.Int64
	status atomic.Int64
}

func newPeer(t *testing.T, status int) *peer {
	t.Helper()
	p := &peer{}
	p.status.Store(int64(status))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		w.WriteHeader(int(p.status.Load()))
	}))
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

// asking is a stage whose provider may ask the peers.
func asking(t *testing.T, kind string, peers ...*peer) (*stage, config.Provider) {
	t.Helper()
	cfg := configured("one")
	cfg.Capabilities = []string{"kv", "http", "jwt"}
	cfg.HTTP = config.Egress{Addresses: []string{"127.0.0.1"}, Timeout: 10 * time.Second, MaxResponse: 64 * config.KiB, MaxRequests: 4}
	for _, p := range peers {
		cfg.HTTP.Allow = append(cfg.HTTP.Allow, p.url)
	}
	s := newStage(t, io.Discard, "1 "+kind, cfg)
	if err := s.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	cfg.Plugin = s.file
	return s, cfg
}

// ask lets the provider ask a peer when a person comes back.
func (s *stage) ask(p *peer) error {
	return s.asks(map[string]string{"url": p.url + "/token", "code": sdk.CodeProviderError})
}

func (s *stage) asks(fields map[string]string) error {
	fields["act"] = "ask"
	_, err := s.Continue(context.Background(), "one", login, sdk.Request{Fields: fields, Now: now})
	return err
}

// startLogin begins a login that asks nobody.
func (s *stage) startLogin(kind sdk.FlowKind) error {
	flow := login
	flow.Kind = kind
	_, err := s.Begin(context.Background(), "one", flow, sdk.Request{Now: now})
	return err
}

func (s *stage) pass(d time.Duration) { s.later.Add(int64(d)) }

func (s *stage) circuitIs(want circuit.State) {
	s.t.Helper()
	if got := s.metric(s.t, "materi_sso_circuit_state", "provider", "one"); got != float64(want) {
		s.t.Errorf("materi_sso_circuit_state = %v, want %v", got, want)
	}
}

func failedItself(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeProviderError {
		t.Errorf("error is %v, want the provider's own", err)
	}
}

func isOpen(t *testing.T, err error, after time.Duration) {
	t.Helper()
	open, ok := errors.AsType[*CircuitOpen](err)
	if !ok || open.Provider != "one" || open.RetryAfter != after {
		t.Errorf("error is %v, want an open circuit for %v", err, after)
	}
}

func TestServerThatKeepsFailingIsNotAsked(t *testing.T) {
	p := newPeer(t, 500)
	s, _ := asking(t, "oauth", p)
	s.circuitIs(circuit.Closed)
	for range 5 {
		if err := s.startLogin(sdk.FlowLogin); err != nil {
			t.Errorf("a login cannot begin: %v", err)
		}
		failedItself(t, s.ask(p))
	}
	s.circuitIs(circuit.Open)
	isOpen(t, s.ask(p), time.Minute)
	s.pass(10500 * time.Millisecond)
	isOpen(t, s.ask(p), 49500*time.Millisecond)
	for _, kind := range []sdk.FlowKind{sdk.FlowLogin, sdk.FlowLink} {
		isOpen(t, s.startLogin(kind), 49500*time.Millisecond)
	}
	if got := p.asked.Load(); got != 5 {
		t.Errorf("the server was asked %d times, want 5", got)
	}

	s.pass(49500 * time.Millisecond)
	s.circuitIs(circuit.HalfOpen)
	if err := s.startLogin(sdk.FlowLogin); err != nil {
		t.Errorf("a login cannot begin with the circuit half-open: %v", err)
	}
	failedItself(t, s.ask(p))
	s.circuitIs(circuit.Open)
	isOpen(t, s.ask(p), time.Minute)

	s.pass(time.Minute)
	p.status.Store(200)
	if err := s.ask(p); err != nil {
		t.Errorf("a server that is well again: %v", err)
	}
	s.circuitIs(circuit.Closed)
	if err := s.startLogin(sdk.FlowLogin); err != nil {
		t.Errorf("a login cannot begin after that: %v", err)
	}
}

func TestWhatIsNoFailureOfTheServerOpensNothing(t *testing.T) {
	p := newPeer(t, 400)
	s, _ := asking(t, "oauth", p)
	for range 10 {
		failedItself(t, s.ask(p)) // 400: the code was no good
		failedItself(t, s.asks(map[string]string{"url": "https://elsewhere.example/", "code": sdk.CodeProviderError}))
		failedItself(t, s.asks(map[string]string{"url": "ftp://x", "code": sdk.CodeProviderError}))
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for range 10 {
		_, err := s.Continue(gone, "one", login, sdk.Request{Fields: map[string]string{"act": "ask", "url": p.url}, Now: now})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that is gone: %v", err)
		}
	}
	s.circuitIs(circuit.Closed)
	if err := s.startLogin(sdk.FlowLogin); err != nil {
		t.Errorf("a login cannot begin: %v", err)
	}
}

// nobody is the address of no server.
func nobody(t *testing.T) *peer {
	p := newPeer(t, 200)
	s := httptest.NewServer(nil)
	p.url = s.URL
	s.Close()
	return p
}

func TestServerThatIsNotThereIsAFailure(t *testing.T) {
	p := nobody(t)
	s, _ := asking(t, "oauth", p)
	for range 5 {
		failedItself(t, s.ask(p))
	}
	isOpen(t, s.ask(p), time.Minute)
}

func TestServerThatIsTooSlowIsAFailure(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(release) })
	p := &peer{url: slow.URL}
	s, cfg := asking(t, "oauth", p)
	cfg.HTTP.Timeout, cfg.HTTP.Circuit.Failures = 20*time.Millisecond, 2
	if err := s.reload("2 oauth", cfg); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		failedItself(t, s.ask(p))
	}
	isOpen(t, s.ask(p), time.Minute)

	// With little time left of the call the server is not to blame.
	cfg.HTTP.Timeout = time.Hour
	cfg.HTTP.Circuit.Open = time.Hour // another rule, so nothing is remembered
	if err := s.reload("3 oauth", cfg); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		late, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		_, err := s.Continue(late, "one", login, sdk.Request{Fields: map[string]string{"act": "ask", "url": p.url}, Now: now})
		cancel()
		// A fetch leaves its call some time, in which a busy machine may or may not answer.
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that had no time left: %v", err)
		}
	}
	s.circuitIs(circuit.Closed)
}

func TestCircuitIsToldByWhateverTheProviderSays(t *testing.T) {
	p := newPeer(t, 503)
	s, _ := asking(t, "oauth", p)
	for range 5 {
		failedItself(t, s.ask(p))
	}
	ask := func(code string) error { return s.asks(map[string]string{"url": p.url, "code": code}) }
	for _, code := range []string{sdk.CodeProviderError, sdk.CodeUnavailable, sdk.CodeInternal} {
		isOpen(t, ask(code), time.Minute)
	}
	if e, ok := errors.AsType[*sdk.Error](ask(sdk.CodeOAuthCode)); !ok || e.Code != sdk.CodeOAuthCode {
		t.Errorf("a no that has nothing to do with it became %v", e)
	}
	if err := ask(""); err != nil {
		t.Errorf("a provider that helped itself: %v", err)
	}
	_, err := s.Document(context.Background(), "one", sdk.Request{Path: "ask", Fields: map[string]string{"url": p.url, "code": sdk.CodeUnavailable}})
	isOpen(t, err, time.Minute)
	if got := err.Error(); !strings.Contains(got, "SERVICE_UNAVAILABLE") || strings.Contains(got, p.url) {
		t.Errorf("the log is told %q", got)
	}
}

func TestKeysAreFetchedThroughTheSameCircuit(t *testing.T) {
	p := newPeer(t, 500)
	s, _ := asking(t, "oauth", p)
	part := base64.RawURLEncoding.EncodeToString
	token := part([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + part([]byte(`{"iss":"i"}`)) + "." + part(make([]byte, 256))
	verify := func() error {
		return s.asks(map[string]string{"url": p.url + "/keys", "token": token, "code": sdk.CodeProviderError})
	}
	failedItself(t, verify())
	for range 4 {
		failedItself(t, s.ask(p))
	}
	isOpen(t, verify(), time.Minute)
	s.pass(30 * time.Second)
	isOpen(t, verify(), 30*time.Second)
	s.pass(29 * time.Second)
	isOpen(t, verify(), time.Second)
	if got := p.asked.Load(); got != 5 {
		t.Errorf("the server was asked %d times, want 5", got)
	}
	// The pause is that of the circuit: what was not asked for does not count as failed.
	s.pass(time.Second)
	failedItself(t, verify())
	if got := p.asked.Load(); got != 6 {
		t.Errorf("the server was asked %d times, want 6", got)
	}
	s.circuitIs(circuit.Open)
}

func TestSitesOfASAMLProviderFailEachByItself(t *testing.T) {
	bad, good := newPeer(t, 502), newPeer(t, 200)
	s, _ := asking(t, "saml", bad, good)
	for range 2 {
		failedItself(t, s.ask(bad))
	}
	s.circuitIs(circuit.Closed)
	s.pass(59 * time.Second)
	failedItself(t, s.ask(bad))
	s.circuitIs(circuit.Open)
	isOpen(t, s.ask(bad), 2*time.Minute)
	if err := s.ask(good); err != nil {
		t.Errorf("another site of the provider: %v", err)
	}
	if err := s.startLogin(sdk.FlowLogin); err != nil {
		t.Errorf("a login at one of several sites cannot begin: %v", err)
	}
	s.pass(2 * time.Minute)
	s.circuitIs(circuit.HalfOpen)
	bad.status.Store(200)
	if err := s.ask(bad); err != nil {
		t.Error(err)
	}
	s.circuitIs(circuit.Closed)
}

func TestCircuitFollowsTheConfiguration(t *testing.T) {
	p := newPeer(t, 500)
	s, cfg := asking(t, "oauth", p)
	cfg.HTTP.Circuit = config.Circuit{Failures: 2, Open: 10 * time.Minute}
	if err := s.reload("2 oauth", cfg); err != nil {
		t.Fatal(err)
	}
	failedItself(t, s.ask(p))
	s.pass(29 * time.Second)
	failedItself(t, s.ask(p))
	isOpen(t, s.ask(p), 10*time.Minute)
}

func TestCircuitOutlivesASwapAndGoesWithTheProvider(t *testing.T) {
	p := newPeer(t, 500)
	s, cfg := asking(t, "oauth", p)
	for range 5 {
		failedItself(t, s.ask(p))
	}
	if err := s.reload("2 oauth", cfg); err != nil {
		t.Fatal(err)
	}
	s.circuitIs(circuit.Open)
	isOpen(t, s.ask(p), time.Minute)
	if err := s.reload("3", s.provider("other")); err != nil {
		t.Fatal(err)
	}
	if got := s.series("materi_sso_circuit_state"); len(got) != 0 {
		t.Errorf("series of a provider that is gone, or may not ask: %v", got)
	}
	if err := s.reload("4 oauth", cfg); err != nil {
		t.Fatal(err)
	}
	s.circuitIs(circuit.Closed)
	failedItself(t, s.ask(p))
}

// series returns the providers that a metric tells of.
func (s *stage) series(name string) []string {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	var list []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				list = append(list, m.GetLabel()[0].GetValue())
			}
		}
	}
	return list
}

func TestCircuitIsShownFromTheStart(t *testing.T) {
	web, mail := configured("web"), configured("mail")
	web.Capabilities = []string{"http"}
	b := newStage(t, io.Discard, "1", web, mail)
	if diff := cmp.Diff([]string{"web"}, b.series("materi_sso_circuit_state")); diff != "" {
		t.Errorf("series before the providers are loaded (-want +got):\n%s", diff)
	}
}

func TestOneOfManyFindsOutWhetherAServerIsWell(t *testing.T) {
	p := newPeer(t, 500)
	s, _ := asking(t, "oauth", p)
	for range 5 {
		failedItself(t, s.ask(p))
	}
	s.pass(time.Minute)
	arrived, release := make(chan struct{}, 64), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	t.Cleanup(slow.Close)
	cfg := s.provider("one")
	cfg.Capabilities, cfg.HTTP = []string{"kv", "http", "jwt"}, config.Egress{
		Allow: []string{slow.URL}, Addresses: []string{"127.0.0.1"}, Timeout: time.Minute, MaxResponse: 64 * config.KiB, MaxRequests: 4,
	}
	if err := s.reload("2 oauth", cfg); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var refused, served atomic.Int64
	done := make(chan struct{}, 64)
	for range 64 {
		all.Go(func() {
			err := s.asks(map[string]string{"url": slow.URL, "code": sdk.CodeProviderError})
			if _, ok := errors.AsType[*CircuitOpen](err); ok {
				refused.Add(1)
			} else if err == nil {
				served.Add(1)
			}
			done <- struct{}{}
		})
	}
	<-arrived
	for range 63 {
		<-done
	}
	close(release)
	all.Wait()
	if refused.Load() != 63 || served.Load() != 1 || len(arrived) != 0 {
		t.Errorf("%d refused, %d served, %d more arrived, want 63, 1 and 0", refused.Load(), served.Load(), len(arrived))
	}
	s.circuitIs(circuit.Closed)
}
