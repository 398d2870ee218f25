// Package plugins_test builds the example plugins of this folder with their own Makefiles,
// runs them in the gateway's sandbox, and holds them to the suite for providers and to their
// test data. Those in Go have tests beside them as well.
package plugins_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/wasm"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
	"github.com/materi/shield/sdk/wire"
)

// built is where the modules are.
var built string

func TestMain(m *testing.M) {
	os.Exit(wasmtest.Main(m, func(dir string) { built = dir }))
}

// build returns the module of an example, which is made once.
func build(t *testing.T, name string, arguments ...string) []byte {
	t.Helper()
	file := filepath.Join(built, name+".wasm")
	out, err := exec.Command("make", append([]string{"-C", name, "OUT=" + file}, arguments...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("make -C %s: %v; deploy/test/toolchains.sh installs compilers\n%s", name, err, out)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// example is a module that runs, as a provider.
type example struct {
	t      *testing.T
	module *wasm.Module
}

func open(t *testing.T, name string, granted ...sdk.Capability) *example {
	t.Helper()
	module, err := wasm.Open(context.Background(), wasm.Options{
		Name: name, Code: build(t, name), Granted: granted, Memory: 32 << 20, Timeout: time.Minute, Wait: time.Minute,
		Instances: 4, CacheDir: filepath.Join(built, "cache"), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	t.Cleanup(func() {
		if err := module.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &example{t, module}
}

func (e *example) call(ctx context.Context, method wire.Method, in []byte, host *asked) []byte {
	out, err := e.module.Call(ctx, method, in, host)
	if err != nil {
		e.t.Errorf("%v(%.80x): the module broke down: %v", method, in, err)
	}
	return out
}

// Describe returns the manifest.
func (e *example) Describe() sdk.Manifest {
	m, err := wire.DecodeManifest(e.call(context.Background(), wire.Describe, nil, &asked{}))
	if err != nil {
		e.t.Error(err)
	}
	return m
}

// Configure hands over the settings.
func (e *example) Configure(settings []byte) []sdk.Fault {
	faults, err := wire.DecodeFaults(e.call(context.Background(), wire.Configure, wire.EncodeSettings(settings), &asked{}))
	if err != nil {
		e.t.Error(err)
	}
	return faults
}

// Begin starts a flow.
func (e *example) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	return e.step(ctx, wire.Begin, host, flow, req)
}

// Continue goes on with a flow.
func (e *example) Continue(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	return e.step(ctx, wire.Continue, host, flow, req)
}

func (e *example) step(ctx context.Context, method wire.Method, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	h := &asked{host: host}
	reply, err := wire.DecodeReply(e.call(ctx, method, wire.EncodeCall(wire.Call{Flow: flow, Request: req}), h))
	switch {
	case err != nil:
		return sdk.Step{}, err
	case reply.Error != nil && h.err != nil:
		return sdk.Step{}, errors.Join(reply.Error, h.err)
	case reply.Error != nil:
		return sdk.Step{}, reply.Error
	case reply.Step == nil:
		return sdk.Step{}, errors.New("the reply has no step")
	}
	return *reply.Step, nil
}

// asked hands what a module asks on to a host, and remembers the last error.
type asked struct {
	host sdk.Host
	err  error
}

func (a *asked) Serve(ctx context.Context, f wire.Function, request []byte) ([]byte, error) {
	reply, err := a.serve(ctx, f, request)
	if err != nil {
		a.err = err
	}
	return reply, err
}

func (a *asked) serve(ctx context.Context, f wire.Function, request []byte) ([]byte, error) {
	if a.host == nil {
		return nil, sdk.ErrNotGranted
	}
	switch f {
	case wire.KVGet:
		key, err := wire.DecodeKey(request)
		if err != nil {
			return nil, err
		}
		entry, found, err := a.host.KV().Get(ctx, key)
		return wire.EncodeEntry(entry, found), err
	case wire.KVCompareAndSet:
		p, err := wire.DecodePut(request)
		if err != nil {
			return nil, err
		}
		return nil, a.host.KV().CompareAndSet(ctx, p.Key, p.Version, p.Value, p.TTL)
	case wire.SecretMAC:
		name, message, err := wire.DecodeMAC(request)
		if err != nil {
			return nil, err
		}
		mac, err := a.host.Secrets().MAC(ctx, name, message)
		return wire.EncodeResult(mac, nil), err
	}
	return nil, sdk.ErrNotGranted
}

// script is plugin.test.json.
type script struct {
	Settings    json.RawMessage              `json:"settings"`
	BadSettings []json.RawMessage            `json:"bad_settings"`
	Secrets     map[string]string            `json:"secrets"`
	Fields      map[string]map[string]string `json:"fields"`
	Expect      []struct {
		Form    string            `json:"form"`
		Fields  map[string]string `json:"fields"`
		Step    string            `json:"step"`
		Subject string            `json:"subject"`
	} `json:"expect"`
}

func read(t *testing.T, name string) script {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(name, "plugin.test.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s script
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func (s script) host() *providertest.Host {
	h := providertest.New()
	for name, value := range s.Secrets {
		h.Secret(name, value)
	}
	return h
}

func login(form string) sdk.Flow { return sdk.Flow{ID: "f", Kind: sdk.FlowLogin, Form: form} }

// sandboxed are the examples that are not in Go, with what they need of the host.
var sandboxed = map[string][]sdk.Capability{
	"c":              {sdk.CapabilityKV, sdk.CapabilitySecret},
	"assemblyscript": {sdk.CapabilityKV, sdk.CapabilitySecret},
}

func TestExamplesConform(t *testing.T) {
	for name, granted := range sandboxed {
		t.Run(name, func(t *testing.T) {
			s := read(t, name)
			suite := providertest.Suite{
				New:      func() sdk.Provider { return open(t, name, granted...) },
				Settings: string(s.Settings), Fields: s.Fields,
			}
			for _, bad := range s.BadSettings {
				suite.BadSettings = append(suite.BadSettings, string(bad))
			}
			providertest.Run(t, suite)
		})
	}
}

func TestExamplesDoWhatTheirTestDataSays(t *testing.T) {
	for name, granted := range sandboxed {
		t.Run(name, func(t *testing.T) {
			s := read(t, name)
			p, h := open(t, name, granted...), s.host()
			if faults := p.Configure(s.Settings); len(faults) > 0 {
				t.Fatalf("Configure() = %v", faults)
			}
			for _, e := range s.Expect {
				step, err := h.Begin(t.Context(), p, login(e.Form), sdk.Request{Fields: e.Fields})
				if err != nil || step.Kind() != e.Step {
					t.Errorf("%v: %+v, %v, want %s", e.Fields, step, err, e.Step)
				}
				if err == nil && step.Done != nil && step.Done.Identity.Subject != e.Subject {
					t.Errorf("%v: subject %q, want %q", e.Fields, step.Done.Identity.Subject, e.Subject)
				}
			}
		})
	}
}

// What is not granted is refused before any code of the module runs.
func TestExamplesAreRefusedWithoutTheirGrants(t *testing.T) {
	for name := range sandboxed {
		code := build(t, name)
		_, err := wasm.Open(t.Context(), wasm.Options{
			Name: name, Code: code, Granted: []sdk.Capability{sdk.CapabilityKV}, Memory: 32 << 20, Timeout: time.Minute, Wait: time.Minute,
			Instances: 1, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err == nil {
			t.Errorf("%s imports secret, and was opened without the grant", name)
		}
	}
}

// The last appendix of RFC 6238 has these, for SHA-256.
func TestOneTimeCodesAreThoseOfTheRFC(t *testing.T) {
	p := open(t, "c", sandboxed["c"]...)
	if faults := p.Configure([]byte(`{"digits": 8, "people": [{"login": "ann", "secret": "key", "email": "ann@example.com"}]}`)); len(faults) > 0 {
		t.Fatal(faults)
	}
	for at, code := range map[int64]string{
		59: "46119246", 1111111109: "68084774", 1111111111: "67062674",
		1234567890: "91819424", 2000000000: "90698825",
	} {
		host := providertest.New()
		host.Secret("key", "12345678901234567890123456789012")
		for _, c := range []struct {
			after time.Duration
			want  string
		}{{-61 * time.Second, "denied"}, {61 * time.Second, "denied"}, {0, "done"}} {
			now := time.Unix(at, 0).UTC().Add(c.after)
			if now.Unix() < 0 {
				continue
			}
			step, err := host.Begin(t.Context(), p, login("totp"), sdk.Request{
				Fields: map[string]string{"login": "ann", "code": code}, Now: now,
			})
			if err != nil || step.Kind() != c.want {
				t.Errorf("code of %d, %v later: %+v, %v, want %s", at, c.after, step, err, c.want)
			}
		}
	}
}

// A code that was seen must not work again, nor one before it.
func TestOneTimeCodesWorkOnceAndInOrder(t *testing.T) {
	s := read(t, "c")
	p, h := open(t, "c", sandboxed["c"]...), s.host()
	if faults := p.Configure(s.Settings); len(faults) > 0 {
		t.Fatal(faults)
	}
	// The codes of 11:59:30, 12:00:00 and 12:00:30, from another implementation.
	codes := []string{"808264", "888943", "170160"}
	for _, c := range []struct {
		code int
		want string
	}{{1, "done"}, {1, "denied"}, {0, "denied"}, {2, "done"}, {2, "denied"}, {1, "denied"}} {
		step, err := h.Begin(t.Context(), p, login("totp"), sdk.Request{Fields: map[string]string{"login": "ann", "code": codes[c.code]}})
		if err != nil || step.Kind() != c.want {
			t.Errorf("code %d: %+v, %v, want %s", c.code, step, err, c.want)
		}
	}
}

// Two that send one code at the same time have both read that it is fresh.
func TestOneCodeLetsOneOfTwoIn(t *testing.T) {
	for name, fields := range map[string]struct {
		form  string
		input map[string]string
	}{
		"c":              {"totp", map[string]string{"login": "ann", "code": "888943"}},
		"assemblyscript": {"invitation", map[string]string{"code": "spring-4711"}},
	} {
		s := read(t, name)
		p, h := open(t, name, sandboxed[name]...), s.host()
		if faults := p.Configure(s.Settings); len(faults) > 0 {
			t.Fatal(faults)
		}
		first, second := h.Call(), h.Call()
		for _, c := range []*providertest.Call{first, second} {
			step, err := p.Begin(t.Context(), c, login(fields.form), sdk.Request{Fields: fields.input, Now: h.Now()})
			if err != nil || step.Done == nil {
				t.Fatalf("%s: %+v, %v, want Done", name, step, err)
			}
		}
		if err := first.Commit(); err != nil {
			t.Errorf("%s: the first = %v", name, err)
		}
		if err := second.Commit(); !errors.Is(err, sdk.ErrConflict) {
			t.Errorf("%s: the second = %v, want a conflict", name, err)
		}
	}
}

// A secret that is not there is the operator's mistake, and nobody gets in by it.
func TestMissingSecretsLetNobodyIn(t *testing.T) {
	for name, granted := range sandboxed {
		s := read(t, name)
		p := open(t, name, granted...)
		if faults := p.Configure(s.Settings); len(faults) > 0 {
			t.Fatal(faults)
		}
		for form, fields := range s.Fields {
			step, err := p.Begin(t.Context(), providertest.New().Call(), login(form), sdk.Request{Fields: fields})
			if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeUnavailable {
				t.Errorf("%s: %+v, %v, want %s", name, step, err, sdk.CodeUnavailable)
			}
		}
	}
}
