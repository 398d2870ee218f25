package plugin

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/signature"
	"github.com/materi/shield/sdk"
)

// says returns which version answers a new flow.
func (s *stage) says() string {
	s.t.Helper()
	got, _, err := s.begin("one", "echo", "")
	if err != nil {
		s.t.Errorf("Begin: %v", err)
	}
	return got
}

// mailed begins a flow that waits for its person.
func (s *stage) mailed() sdk.Flow {
	s.t.Helper()
	a, err := s.Begin(context.Background(), "one", login, act("mail", ""))
	if err != nil {
		s.t.Errorf("Begin: %v", err)
	}
	flow := login
	flow.Saved = a.Step.Save
	return flow
}

// follow continues a flow and returns who answered what.
func (s *stage) follow(flow sdk.Flow) string {
	s.t.Helper()
	a, err := s.Continue(context.Background(), "one", flow, sdk.Request{})
	if err != nil || a.Step.Done == nil {
		s.t.Errorf("Continue() = %+v, %v", a, err)
		return ""
	}
	return a.Step.Done.Identity.Subject
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestReloadServesNewFlowsFromTheNewFile(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	if got := s.says(); got != "v1" {
		t.Fatalf("before: %q", got)
	}
	s.must(s.reload("v2"))
	if got := s.says(); got != "v2" {
		t.Errorf("after: %q", got)
	}
	s.aliveAre("v2")
	if n := s.metric(t, "materi_plugin_generation", "provider", "one"); n != 2 {
		t.Errorf("materi_plugin_generation = %v, want 2", n)
	}
	if n := s.metric(t, "materi_plugin_loads_total", "provider", "one", "status", "success"); n != 2 {
		t.Errorf("materi_plugin_loads_total = %v, want 2", n)
	}
	if n := s.metric(t, "materi_plugin_up", "provider", "one"); n != 1 {
		t.Errorf("materi_plugin_up = %v, want 1", n)
	}
}

func TestCallsThatRunEndOnTheirGeneration(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	answers := make(chan string)
	go func() {
		got, _, err := s.begin("one", "hold", "")
		answers <- fmt.Sprint(got, " ", err)
	}()
	if v := <-s.held; v != "v1" {
		t.Fatalf("%s is held", v)
	}
	for i := range 5 { // more than would linger
		s.must(s.reload(fmt.Sprintf("v%d", i+2)))
	}
	s.aliveAre("v1", "v6")
	if n := s.metric(t, "materi_plugin_draining", "provider", "one"); n != 1 {
		t.Errorf("materi_plugin_draining = %v, want 1", n)
	}
	close(s.hold)
	if got := <-answers; got != "v1 <nil>" {
		t.Errorf("the call that ran = %s", got)
	}
	s.aliveAre("v6")
	s.noneWasCut()
}

func TestWaitingFlowsGoOnWhereTheyBegan(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	first := s.mailed()
	s.must(s.reload("v2"))
	second := s.mailed()
	if got := s.follow(first); got != "v1 goes on with state of v1" {
		t.Errorf("the first flow: %q", got)
	}
	if got := s.follow(second); got != "v2 goes on with state of v2" {
		t.Errorf("the second flow: %q", got)
	}
	s.must(s.reload("v3"))
	s.mailed()
	s.aliveAre("v1", "v2", "v3")

	s.must(s.reload("v4")) // v1 has to go: only so many finish flows at a time
	s.aliveAre("v2", "v3", "v4")
	if got := s.follow(first); got != "v4 goes on with state of v1" {
		t.Errorf("a flow whose generation is gone: %q", got)
	}
	if got := s.follow(second); got != "v2 goes on with state of v2" {
		t.Errorf("a flow whose generation is there: %q", got)
	}
	// The tag is of code and settings: a return to what was is no new world for the flow.
	s.must(s.reload("v1"))
	if got := s.follow(first); got != "v1 goes on with state of v1" {
		t.Errorf("after the return of v1: %q", got)
	}
}

func TestLingeringEnds(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.linger = time.Millisecond
	s.must(s.Load(context.Background()))
	flow := s.mailed()
	s.must(s.reload("v2"))
	s.aliveAre("v2")
	if got := s.follow(flow); got != "v2 goes on with state of v1" {
		t.Errorf("the flow goes on: %q", got)
	}
}

func TestSavedOfAnotherTimeReachesTheProviderAsItIs(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	for _, saved := range []string{"", "from before there were tags", "\x01short"} {
		flow := login
		flow.Saved = []byte(saved)
		if got := s.follow(flow); got != "v1 goes on with "+strings.ReplaceAll(saved, "\x01", "^A") {
			t.Errorf("saved %q: %q", saved, got)
		}
	}
}

func TestSwapsInARowLeaveOneModule(t *testing.T) {
	s := newStage(t, io.Discard, "v0")
	s.must(s.Load(context.Background()))
	for i := range 50 {
		s.must(s.reload(fmt.Sprintf("v%d", i+1)))
	}
	s.aliveAre("v50")
	for i := range 50 { // with flows that wait
		s.mailed()
		s.must(s.reload(fmt.Sprintf("w%d", i)))
	}
	s.aliveAre("w47", "w48", "w49")
}

func TestUnchangedProviderRunsOn(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	before := s.list()[0].state().current
	cfg := s.provider("one")
	cfg.Label = "another label"
	s.must(s.reload("v1", cfg))
	if s.list()[0].state().current != before || s.Providers()[0].Label != "another label" {
		t.Errorf("Providers() = %+v, want the same generation under another label", s.Providers())
	}
	if n := s.metric(t, "materi_plugin_generation", "provider", "one"); n != 1 {
		t.Errorf("materi_plugin_generation = %v, want 1", n)
	}
}

// TestEachSettingIsSeenByAReload goes through the section, so that a key which is added to
// it cannot be forgotten.
func TestEachSettingIsSeenByAReload(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, authority(t), 0o600); err != nil {
		t.Fatal(err)
	}
	other := map[string]any{
		"Transport": "wasm", "SHA256": fmt.Sprintf("%x", sha256.Sum256([]byte("v1"))), "Capabilities": []string{"kv", "log"},
		"Headers": []string{"X-Corp-User"}, "HTTP": config.Egress{Allow: []string{"https://a.example"}},
		"Secrets": []config.ProviderSecret{{Name: "a", Value: config.NewSecret("s3cret")}}, "MemoryBytes": config.Size(config.MiB),
		"Timeout": time.Minute, "Fuel": 7, "Interruption": "deadline", "Isolation": "per_call", "Instances": 9,
		"Wait": time.Minute, "MaxCalls": 9, "MaxAge": time.Minute, "Config": config.Settings{"a": "b"},
	}
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	number := 1
	reload := func(what string, cfg config.Provider) {
		t.Helper()
		s.must(s.reload("v1", cfg))
		number++
		if got := s.list()[0].state().current.number; got != number {
			t.Errorf("%s is changed: generation %d, want %d", what, got, number)
			number = got
		}
	}
	kind := reflect.TypeFor[config.Provider]()
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		switch name {
		case "Name", "Label", "Plugin":
			continue
		case "TrustEmail", "AllowedDomains": // not the plugin's; see TestTrustIsSeenWithoutAStart
			continue
		}
		value, ok := other[name]
		if !ok {
			t.Errorf("no other value for %s", name)
			continue
		}
		cfg := s.provider("one")
		reflect.ValueOf(&cfg).Elem().Field(i).Set(reflect.ValueOf(value))
		reload(name, cfg)
	}
	secret := s.provider("one")
	secret.Secrets = []config.ProviderSecret{{Name: "a", Value: config.NewSecret("one")}}
	reload("a secret", secret)
	secret.Secrets = []config.ProviderSecret{{Name: "a", Value: config.NewSecret("two")}}
	reload("a secret's value", secret)
	secret.HTTP.CAFile = ca
	reload("ca_file", secret)
	if err := os.WriteFile(ca, authority(t), 0o600); err != nil {
		t.Fatal(err)
	}
	reload("what stands in ca_file", secret)
}

// What the account rules go by is what the configuration says now, also while the plugin that
// is configured now cannot be loaded.
func TestTrustIsSeenWithoutAStart(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	cfg := s.provider("one")
	cfg.TrustEmail, cfg.AllowedDomains = []string{"example.com"}, []string{"example.org"}
	s.must(s.reload("v1", cfg))
	info, ok := s.Info("one")
	if !ok || !slices.Equal(info.TrustEmail, cfg.TrustEmail) || !slices.Equal(info.AllowedDomains, cfg.AllowedDomains) || info.Manifest.ID == "" {
		t.Errorf("Info() = %+v, %t, want what is configured now", info, ok)
	}
	if n := s.list()[0].state().current.number; n != 1 {
		t.Errorf("generation %d, want 1: the plugin knows nothing of it", n)
	}
	p := s.list()[0]
	if p.distrusts(p.current) {
		t.Error("trust that was changed alone does not count")
	}
	cfg.TrustEmail, cfg.SHA256 = []string{"example.com", "example.net"}, strings.Repeat("0", 64)
	if err := s.reload("v1", cfg); err == nil {
		t.Fatal("a plugin with another digest was loaded")
	}
	if !p.distrusts(p.current) {
		t.Error("what runs is trusted as what was to replace it")
	}
	cfg.TrustEmail = nil
	if err := s.reload("v1", cfg); err == nil {
		t.Fatal("a plugin with another digest was loaded")
	}
	if info, ok := s.Info("one"); !ok || info.TrustEmail != nil {
		t.Errorf("Info() = %+v, %t: trust that was taken back is still there", info, ok)
	}
	if info, ok := s.Info("another"); ok {
		t.Errorf("Info() of a provider that is not configured = %+v", info)
	}
}

// authority returns the certificate of a new authority.
func authority(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: now.Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// signer returns a configuration with one key, and its private half.
func signer(t *testing.T, name string, required bool) (config.Plugins, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return config.Plugins{RequireSigned: required, Keys: []config.PluginKey{{Name: name, PublicKey: text}}}, private
}

func (s *stage) sign(key ed25519.PrivateKey, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.file+signature.Suffix, signature.Sign(sha256.Sum256([]byte(text)), key), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func TestFailedLoadKeepsWhatRanAndSaysSo(t *testing.T) {
	pinned := func(p *config.Provider) { p.SHA256 = strings.Repeat("0", 64) }
	authority := func(p *config.Provider) { p.HTTP.CAFile = "/no/such/ca.pem" }
	for _, c := range []struct {
		name, text string
		change     func(*config.Provider)
		want       string
	}{
		{"no module", "v2 module", nil, "compile: invalid magic number"},
		{"a pin of another file", "v2", pinned, "pin: the file's digest is "},
		{"no authorities", "v2", authority, "http.ca_file: "},
		{"authorities without end", "v2", func(p *config.Provider) { p.HTTP.CAFile = os.DevNull }, "http.ca_file: " + os.DevNull + " is not a regular file"},
		{"a manifest that is none", "v2 manifest", nil, "start: manifest: id "},
		{"a manifest that needs more", "v2 needs", nil, `start: manifest: plugin puppet needs capability "secret", which is not granted`},
		{"an import that is not declared", "v2 declares", nil, `manifest: plugin puppet imports capability "kv" and does not declare it`},
		{"another version of the contract than its manifest's", "v2 abi", nil, "manifest: it names version 2 of the contract, and the module speaks version 1"},
		{"settings that it refuses", "v2 settings", nil, "start: config.a: must be b"},
		{"a trap", "v2 traps", nil, "self-test: plugin trapped"},
		{"an answer that is none", "v2 babbles", nil, "self-test: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log lockedBuilder
			s := newStage(t, &log, "v1")
			s.must(s.Load(context.Background()))
			cfg := s.provider("one")
			if c.change != nil {
				c.change(&cfg)
			}
			err := s.reload(c.text, cfg)
			if want := "load provider one: plugin " + s.file + ": " + c.want; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Reload() = %v, want %q", err, want)
			}
			s.servedByTheOldOne(&log, c.want)
			s.must(s.reload("v3"))
			if got := s.says(); got != "v3" || len(s.Stale()) > 0 || s.metric(t, "materi_plugin_stale", "provider", "one") != 0 {
				t.Errorf("after it was mended: %q, stale %v", got, s.Stale())
			}
			s.aliveAre("v3")
		})
	}
}

// servedByTheOldOne fails unless v1 serves and everybody can see why.
func (s *stage) servedByTheOldOne(log *lockedBuilder, reason string) {
	t := s.t
	t.Helper()
	if got := s.says(); got != "v1" {
		t.Errorf("it is served by %q, want v1", got)
	}
	s.aliveAre("v1")
	if err := s.Ready()["one"]; err != nil {
		t.Errorf("Ready() = %v, want nil: it serves", err)
	}
	if err := s.Stale()["one"]; err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("Stale() = %v, want %q", err, reason)
	}
	if n := s.metric(t, "materi_plugin_stale", "provider", "one"); n != 1 {
		t.Errorf("materi_plugin_stale = %v, want 1", n)
	}
	if n := s.metric(t, "materi_plugin_up", "provider", "one"); n != 1 {
		t.Errorf("materi_plugin_up = %v, want 1", n)
	}
	if n := s.metric(t, "materi_plugin_loads_total", "provider", "one", "status", "failure"); n != 1 {
		t.Errorf("failures of materi_plugin_loads_total = %v, want 1", n)
	}
	text := log.String()
	if !strings.Contains(text, `level=ERROR msg="provider cannot be loaded" provider=one serving_generation=1 error=`) {
		t.Errorf("the log says %s", text)
	}
}

func TestSignaturesAreAskedFor(t *testing.T) {
	section, key := signer(t, "release", true)
	_, strange := signer(t, "stranger", true)
	optional := section
	optional.RequireSigned = false
	const missing = "signature: there is none beside the file, and plugins.require_signed wants one; sign it with: shield plugin sign"
	for _, c := range []struct {
		name    string
		section config.Plugins
		by      ed25519.PrivateKey // nil: nobody
		over    string
		want    string // part of the error; empty: it is loaded
	}{
		{"signed", section, key, "v1", ""},
		{"not signed", section, nil, "", missing},
		{"signed by a stranger", section, strange, "v1", "signature: no signature by a configured key"},
		{"of another file", section, key, "v0", "signature: the signature is that of another file (key release)"},
		{"not required, not signed", optional, nil, "", ""},
		{"not required, signed by a stranger", optional, strange, "v1", "signature: no signature by a configured key"},
		{"no keys, signed by a stranger", config.Plugins{}, strange, "v1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log lockedBuilder
			s := newStageWith(t, &log, c.section, "v1")
			if c.by != nil {
				s.sign(c.by, c.over)
			}
			err := s.Load(context.Background())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Load() = %v, want %q", err, c.want)
			}
			if c.want != "" && len(s.puppets) > 0 {
				t.Error("code of it has run")
			}
			if c.name == "signed" && !strings.Contains(log.String(), "signed_by=release") {
				t.Errorf("the log does not say who signed: %s", log.String())
			}
		})
	}
}

func TestReloadAsksForSignaturesAnew(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	section, key := signer(t, "release", true)
	if err := s.Reload(context.Background(), []config.Provider{s.provider("one")}, section); err == nil {
		t.Error("a file that is not signed is unchanged, and loaded although it has to be signed now")
	}
	s.sign(key, "v1")
	s.must(s.Reload(context.Background(), []config.Provider{s.provider("one")}, section))
	if len(s.Stale()) > 0 {
		t.Errorf("Stale() = %v", s.Stale())
	}
}

func TestProvidersComeGoAndChangePlaces(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Reload(context.Background(), []config.Provider{s.provider("one"), s.provider("two")}, config.Plugins{}))
	flow := s.mailed()
	two := s.list()[1].state().current
	s.must(s.reload("v1", s.provider("three"), s.provider("two")))
	var names []string
	for _, p := range s.Providers() {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"three", "two"}, names); diff != "" {
		t.Errorf("Providers() (-want +got):\n%s", diff)
	}
	if s.list()[1].state().current != two {
		t.Error("a provider that only changed places was started anew")
	}
	if _, err := s.Continue(context.Background(), "one", flow, sdk.Request{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("Continue() at a provider that was removed = %v, want %v", err, ErrUnknown)
	}
	s.aliveAre("v1", "v1")
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if has(m, []string{"provider", "one"}) {
				t.Errorf("%s still tells of provider one", f.GetName())
			}
		}
	}
}

func TestNewProviderThatFailsIsNotReadyAndHarmsNobody(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	broken := s.provider("two")
	broken.SHA256 = strings.Repeat("0", 64)
	if err := s.reload("v1", s.provider("one"), broken); err == nil {
		t.Error("Reload() = nil")
	}
	if got := s.says(); got != "v1" {
		t.Errorf("provider one: %q", got)
	}
	_, _, err := s.begin("two", "echo", "")
	if f, ok := errors.AsType[*Fault](err); !ok || f.Kind != NotLoaded || !strings.Contains(err.Error(), "pin: ") {
		t.Errorf("Begin() = %v, want a fault that says why", err)
	}
	if s.Ready()["two"] == nil || len(s.Stale()) > 0 {
		t.Errorf("Ready() = %v, Stale() = %v", s.Ready(), s.Stale())
	}
	if s.metric(t, "materi_plugin_up", "provider", "two") != 0 || s.metric(t, "materi_plugin_generation", "provider", "two") != 0 {
		t.Error("the metrics say that provider two is up")
	}
}

func TestRemovedProviderFinishesItsCalls(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	answers := make(chan error)
	go func() {
		_, _, err := s.begin("one", "hold", "")
		answers <- err
	}()
	<-s.held
	s.must(s.Reload(context.Background(), nil, config.Plugins{}))
	s.aliveAre("v1")
	close(s.hold)
	if err := <-answers; err != nil {
		t.Errorf("the call that ran = %v", err)
	}
	s.aliveAre()
	if n := s.metric(t, "materi_plugin_call_seconds", "provider", "one"); n != 0 {
		t.Error("its metrics are back")
	}
}

func TestStopEndsCallsOfEveryGeneration(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Reload(context.Background(), []config.Provider{s.provider("one"), s.provider("two")}, config.Plugins{}))
	errs := make(chan error)
	hold := func(name string) {
		go func() {
			_, _, err := s.begin(name, "hold", "")
			errs <- err
		}()
		<-s.held
	}
	hold("one")
	hold("two")
	s.must(s.reload("v2", s.provider("one"))) // two is removed, one is replaced
	hold("one")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan error)
	go func() { done <- s.Stop(ctx) }()
	for range 3 {
		if err := <-errs; err == nil {
			t.Error("a call was answered after the end")
		}
	}
	if err := <-done; err != nil {
		t.Errorf("Stop() = %v", err)
	}
	s.aliveAre()
}

func TestReloadThatMeetsAStopChangesNothing(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	s.onOpen = func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	}
	if err := s.reload("v2"); !errors.Is(err, errStopped) {
		t.Errorf("Reload() = %v, want %v", err, errStopped)
	}
	s.aliveAre()
	if err := s.reload("v3"); !errors.Is(err, errStopped) || len(s.Providers()) > 0 {
		t.Errorf("Reload() after Stop = %v with %v", err, s.Providers())
	}
	s.aliveAre()
}

func TestLoadTriesAgainWhatWasNeverLoaded(t *testing.T) {
	s := newStage(t, io.Discard, "v1 module")
	if err := s.Load(context.Background()); err == nil {
		t.Fatal("Load() = nil")
	}
	s.write("v2")
	s.must(s.Load(context.Background()))
	if got := s.says(); got != "v2" {
		t.Errorf("it is served by %q", got)
	}
	s.write("v3")
	s.must(s.Load(context.Background())) // not a reload
	if got := s.says(); got != "v2" {
		t.Errorf("after another Load it is served by %q", got)
	}
}

func TestNoCallFailsDuringSwaps(t *testing.T) {
	s := newStage(t, io.Discard, "v0")
	s.must(s.Load(context.Background()))
	var over atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !over.Load() {
				if _, _, err := s.begin("one", "echo", ""); err != nil {
					t.Errorf("Begin() = %v", err)
					return
				}
				s.follow(s.mailed())
			}
		})
	}
	for i := range 200 {
		s.must(s.reload(fmt.Sprintf("v%d", i+1)))
	}
	over.Store(true)
	wg.Wait()
	s.noneWasCut()
	s.eventually("what was replaced is closed", func() bool { return len(s.alive()) <= maxOld+1 })
}

func TestSelfTestTakesAnErrorForAnAnswerAndGrantsNothing(t *testing.T) {
	for _, text := range []string{"v1 fails", "v1 asks"} {
		s := newStage(t, io.Discard, text)
		if err := s.Load(context.Background()); err != nil {
			t.Errorf("%s: Load() = %v", text, err)
		}
	}
}

func TestModuleThatIsGoneIsNotReady(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	gone := errors.New("it was killed")
	s.puppets[0].sick = gone
	if err := s.Ready()["one"]; !errors.Is(err, gone) || s.metric(t, "materi_plugin_up", "provider", "one") != 0 {
		t.Errorf("Ready() = %v, want %v", err, gone)
	}
}

func TestDocuments(t *testing.T) {
	s := newStage(t, io.Discard, "v1")
	s.must(s.Load(context.Background()))
	get := func(path string) (sdk.Response, error) {
		return s.Document(context.Background(), "one", sdk.Request{Path: path})
	}
	for _, path := range []string{"", "read"} {
		got, err := get(path)
		if diff := cmp.Diff(sdk.Response{Status: 200, ContentType: "text/plain", Body: []byte("v1")}, got); diff != "" || err != nil {
			t.Errorf("Document(%q) = %v (-want +got):\n%s", path, err, diff)
		}
	}
	for _, path := range []string{"large", "status", "header", "nonsense", "nothing", "strange", "write"} {
		got, err := get(path)
		if f, ok := errors.AsType[*Fault](err); !ok || f.Kind != Undecodable || got.Body != nil {
			t.Errorf("Document(%q) = %v, %v, want a fault", path, got.Status, err)
		}
	}
	_, err := get("error")
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeUserNotFound {
		t.Errorf("Document(error) = %v", err)
	}
	if _, err := s.Document(context.Background(), "nobody", sdk.Request{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("Document() of nobody = %v", err)
	}
	away := errors.New("database is away")
	s.db.err = away
	if _, err := get("read"); !errors.Is(err, away) {
		t.Errorf("Document() without a database = %v", err)
	}
}

func TestPluginFileIsRegularAndBounded(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, large, os.DevNull, filepath.Join(dir, "none")} {
		if b, err := ReadFile(path); err == nil {
			t.Errorf("ReadFile(%s) = %d bytes", path, len(b))
		}
	}
}

// TestRealModuleIsSwapped does it with a module in its sandbox.
func TestRealModuleIsSwapped(t *testing.T) {
	code, err := os.ReadFile(filepath.Join(workspace, "guest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := configured("one")
	cfg.Plugin = filepath.Join(t.TempDir(), "guest.wasm")
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(cfg.Plugin, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(code)
	b := loaded(t, cfg)
	reload := func() error { return b.Reload(context.Background(), []config.Provider{cfg}, config.Plugins{}) }
	for i := range 3 {
		cfg.Config = config.Settings{"round": i}
		if err := reload(); err != nil {
			t.Fatalf("Reload() = %v", err)
		}
		if got, _, err := b.begin("one", "settings", ""); got != fmt.Sprintf(`{"round":%d}`, i) {
			t.Errorf("Begin() = %q, %v", got, err)
		}
	}
	if n := b.metric(t, "materi_plugin_generation", "provider", "one"); n != 4 {
		t.Errorf("materi_plugin_generation = %v, want 4", n)
	}
	write(code[:len(code)/2])
	if err := reload(); err == nil || len(b.Stale()) != 1 {
		t.Errorf("Reload() of half a module = %v, stale %v", err, b.Stale())
	}
	if got, _, err := b.begin("one", "settings", ""); got != `{"round":2}` {
		t.Errorf("Begin() = %q, %v", got, err)
	}
}
