package providertest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

// twisted is the provider pin with parts that are replaced.
type twisted struct {
	pin
	describe  func() sdk.Manifest
	configure func([]byte) []sdk.Fault
	begin     func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error)
	proceed   func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error)
}

func (w twisted) Describe() sdk.Manifest {
	if w.describe != nil {
		return w.describe()
	}
	return w.pin.Describe()
}

func (w twisted) Configure(settings []byte) []sdk.Fault {
	if w.configure != nil {
		return w.configure(settings)
	}
	return w.pin.Configure(settings)
}

func (w twisted) Begin(ctx context.Context, h sdk.Host, f sdk.Flow, r sdk.Request) (sdk.Step, error) {
	if w.begin != nil {
		return w.begin(ctx, h, f, r)
	}
	return w.pin.Begin(ctx, h, f, r)
}

func (w twisted) Continue(ctx context.Context, h sdk.Host, f sdk.Flow, r sdk.Request) (sdk.Step, error) {
	if w.proceed != nil {
		return w.proceed(ctx, h, f, r)
	}
	return w.pin.Continue(ctx, h, f, r)
}

// library is a provider that serves documents.
type library struct {
	pin
	response sdk.Response
	err      error
}

func (l library) Serve(context.Context, sdk.Host, sdk.Request) (sdk.Response, error) {
	return l.response, l.err
}

// broken is a provider behind a transport that broke down.
type broken struct{ pin }

func (broken) Fault() error { return errors.New("begin: plugin trapped") }

func done(subject string) sdk.Step {
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: subject}}}
}

func denied(code string) sdk.Step { return sdk.Step{Denied: &sdk.Denied{Code: code}} }

// knows makes the provider pin know somebody.
func knows(name, secret string) func(*providertest.Host) {
	return func(h *providertest.Host) {
		c := h.Call()
		_ = c.KV().Set(context.Background(), "pin/"+name, []byte(h.Hash(secret)), 0)
		_ = c.Commit()
		h.Secret("key", "hunter2")
	}
}

func suiteOf(p sdk.Provider) providertest.Suite {
	return providertest.Suite{
		New:     func() sdk.Provider { return p },
		Fields:  map[string]map[string]string{"pin": {"name": "ada", "pin": "1815-12-10"}},
		Headers: map[string]string{"x-user": "ada"},
		Prepare: knows("ada", "1815-12-10"),
		Expect: []providertest.Expectation{
			{Form: "pin", Fields: map[string]string{"name": "ada", "pin": "1815-12-10"}, Step: "done", Subject: "ada"},
			{Form: "pin", Fields: map[string]string{"name": "ada", "pin": "x"}, Step: "denied", Code: sdk.CodeInvalidCredentials},
			{Continue: true, Step: "denied", Code: sdk.CodeInvalidToken},
		},
	}
}

func TestGoodProvidersPass(t *testing.T) {
	providertest.Run(t, suiteOf(pin{}))
	document := library{response: sdk.Response{Status: 200, ContentType: "text/xml", Body: []byte("<x/>")}}
	providertest.Run(t, suiteOf(document))
	for _, c := range suiteOf(document).Checks() {
		if f := c.Failures(); len(f) > 0 {
			t.Errorf("%s: %q outside of a test, want nothing", c.Name, f)
		}
	}
}

func TestBrokenProvidersFailTheCheckThatIsForThem(t *testing.T) {
	manifest := func(change func(*sdk.Manifest)) func() sdk.Manifest {
		return func() sdk.Manifest {
			m := pin{}.Describe()
			change(&m)
			return m
		}
	}
	calls := 0
	for _, c := range []struct {
		check string
		p     sdk.Provider
		want  string
	}{
		{"manifest", twisted{describe: manifest(func(m *sdk.Manifest) { m.ID = "a b" })}, "not valid"},
		{"manifest", twisted{describe: manifest(func(m *sdk.Manifest) {
			calls++
			m.Version = "1.0." + strings.Repeat("1", calls)
		})}, "then"},
		{"settings", twisted{configure: func([]byte) []sdk.Fault { return nil }}, "found no fault"},
		{"settings", twisted{configure: func(b []byte) []sdk.Fault {
			if string(b) == "{}" {
				return nil
			}
			return []sdk.Fault{{}}
		}}, "without a message"},
		{"hostile fields", twisted{begin: func(_ context.Context, _ sdk.Host, _ sdk.Flow, r sdk.Request) (sdk.Step, error) {
			return done("x" + r.Fields["name"]), nil
		}}, "want no identity"},
		{"hostile fields", twisted{begin: func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
			return sdk.Step{}, errors.New("boom")
		}}, "no *sdk.Error"},
		{"hostile fields", twisted{begin: func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
			return sdk.Step{}, &sdk.Error{Code: sdk.CodeInternal, Private: "boom"}
		}}, "internal one: boom"},
		{"hostile fields", twisted{begin: func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
			return denied("NO"), nil
		}}, "step is not valid"},
		{"hostile fields", twisted{begin: func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
			panic("boom")
		}}, "the provider panicked: boom"},
		{"hostile headers", twisted{begin: func(_ context.Context, _ sdk.Host, _ sdk.Flow, r sdk.Request) (sdk.Step, error) {
			if r.Headers["x-user"] != "" {
				return done("x"), nil
			}
			return denied(sdk.CodeInvalidCredentials), nil
		}}, "Done, want no identity"},
		{"unknown flows", twisted{begin: func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
			return sdk.Step{Redirect: &sdk.Redirect{URL: "https://a.test/"}}, nil
		}}, "want a denial or an error"},
		{"garbage proves", twisted{proceed: func(_ context.Context, _ sdk.Host, f sdk.Flow, _ sdk.Request) (sdk.Step, error) {
			return done("x" + string(f.Saved[:min(1, len(f.Saved))])), nil
		}}, "want no proof"},
		{"failing host", twisted{begin: func(ctx context.Context, h sdk.Host, _ sdk.Flow, r sdk.Request) (sdk.Step, error) {
			_, _, _ = h.KV().Get(ctx, "pin/ada")
			return done("ada"), nil
		}}, "while the host fails"},
		{"refusals", twisted{begin: func(ctx context.Context, h sdk.Host, _ sdk.Flow, r sdk.Request) (sdk.Step, error) {
			if ok, _, err := h.Passwords().Verify(ctx, "", "x"); err == nil && !ok {
				return denied(sdk.CodeInvalidCredentials), nil
			}
			return done("ada"), nil
		}}, "although password says"},
		{"refusals", twisted{
			describe: manifest(func(m *sdk.Manifest) { m.Capabilities = []sdk.Capability{sdk.CapabilityHTTP} }),
			begin: func(ctx context.Context, h sdk.Host, _ sdk.Flow, _ sdk.Request) (sdk.Step, error) {
				_, err := h.HTTP().Fetch(ctx, sdk.HTTPRequest{URL: "https://a.test/"})
				return denied(sdk.CodeInvalidCredentials), err
			}}, "when another server is away"},
		{"remembered", &counting{}, "a used one"},
		{"only declared", twisted{describe: manifest(func(m *sdk.Manifest) { m.Capabilities = nil })}, `asked for "kv"`},
		{"documents", library{response: sdk.Response{Status: 99}}, "not valid: status 99"},
		{"documents", library{err: errors.New("boom")}, "not valid: boom"},
		{"documents", library{err: &sdk.Error{Code: "NO"}}, "not valid: code"},
		{"log holds", twisted{
			describe: manifest(func(m *sdk.Manifest) { m.Capabilities = append(m.Capabilities, sdk.CapabilityLog) }),
			begin: func(ctx context.Context, h sdk.Host, f sdk.Flow, r sdk.Request) (sdk.Step, error) {
				h.Log(sdk.LevelInfo, "login", "pin", r.Fields["pin"])
				return pin{}.Begin(ctx, h, f, r)
			}}, `holds the value of "pin"`},
		{"log holds", twisted{
			describe: manifest(func(m *sdk.Manifest) { m.Capabilities = sdk.Capabilities() }),
			begin: func(ctx context.Context, h sdk.Host, _ sdk.Flow, r sdk.Request) (sdk.Step, error) {
				key, _, _ := h.Secrets().Get(ctx, "key")
				h.Log(sdk.LevelInfo, "the key is "+key)
				return denied(sdk.CodeInvalidCredentials), nil
			}}, `holds the value of "key"`},
		{"manifest", broken{}, "the plugin broke down: begin: plugin trapped"},
		{"expect 1", twisted{begin: func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
			return denied(sdk.CodeInvalidCredentials), nil
		}}, "the answer is denied with code INVALID_CREDENTIALS, want done"},
		{"expect 1", twisted{begin: func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
			return done("eve"), nil
		}}, `subject = "eve", want "ada"`},
		{"expect 2", twisted{begin: func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
			return sdk.Step{}, &sdk.Error{Code: sdk.CodeUnavailable, Private: "away"}
		}}, "want denied"},
		{"expect 3", twisted{proceed: func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
			return denied(sdk.CodeUserNotFound), nil
		}}, `code = "USER_NOT_FOUND", want "INVALID_TOKEN"`},
	} {
		failures := failuresOf(t, suiteOf(c.p), c.check)
		if !strings.Contains(strings.Join(failures, "\n"), c.want) {
			t.Errorf("%s: failures %q, want %q", c.check, failures, c.want)
		}
	}
}

// counting denies its first call and no other.
type counting struct {
	pin
	calls int
}

func (c *counting) Begin(ctx context.Context, h sdk.Host, f sdk.Flow, r sdk.Request) (sdk.Step, error) {
	c.calls++
	if c.calls%2 == 1 {
		return denied(sdk.CodeInvalidCredentials), nil
	}
	return sdk.Step{Redirect: &sdk.Redirect{URL: "https://a.test/"}}, nil
}

func failuresOf(t *testing.T, s providertest.Suite, name string) []string {
	t.Helper()
	for _, c := range s.Checks() {
		if strings.Contains(c.Name, name) {
			if c.Hint == "" {
				t.Errorf("check %q has no hint", c.Name)
			}
			return c.Failures()
		}
	}
	t.Fatalf("no check %q", name)
	return nil
}

func TestProviderThatAsksNobodyMayProveWhileTheHostFails(t *testing.T) {
	keys := twisted{begin: func(_ context.Context, h sdk.Host, _ sdk.Flow, r sdk.Request) (sdk.Step, error) {
		h.Log(sdk.LevelInfo, "asked")
		if r.Headers["x-user"] == "ada" {
			return done("ada"), nil
		}
		return denied(sdk.CodeInvalidCredentials), nil
	}}
	if f := failuresOf(t, suiteOf(keys), "failing host"); len(f) > 0 {
		t.Errorf("failures %q, want none", f)
	}
}

func TestSeededHostsDrawTheSame(t *testing.T) {
	a, b, other := providertest.NewSeeded("s"), providertest.NewSeeded("s"), providertest.NewSeeded("other")
	if string(a.JWKS()) != string(b.JWKS()) || string(a.JWKS()) == string(other.JWKS()) {
		t.Errorf("keys %s, %s and %s: want two the same, and another", a.JWKS(), b.JWKS(), other.JWKS())
	}
	first, again := a.Hash("p"), a.Hash("p")
	if first == again {
		t.Error("two hashes of one password have one salt")
	}
	if got := b.Hash("p"); got != first {
		t.Errorf("Hash() = %s on one host, %s on the other", first, got)
	}
	if x, y := providertest.New(), providertest.New(); string(x.JWKS()) == string(y.JWKS()) || x.Hash("p") == y.Hash("p") {
		t.Error("hosts without a seed draw the same")
	}
}

func TestHostForAManifestGrantsWhatItDeclares(t *testing.T) {
	ctx := context.Background()
	c := providertest.NewFor("s", sdk.Manifest{}).Call()
	if _, _, err := c.KV().Get(ctx, "k"); !errors.Is(err, sdk.ErrNotGranted) {
		t.Errorf("Get() = %v, want %v", err, sdk.ErrNotGranted)
	}
	h := providertest.NewFor("s", sdk.Manifest{Capabilities: []sdk.Capability{sdk.CapabilityKV}})
	if _, _, err := h.Call().KV().Get(ctx, "k"); err != nil {
		t.Errorf("Get() = %v", err)
	}
	h.FailOnly(sdk.CapabilityKV, sdk.ErrExhausted)
	if _, _, err := h.Call().KV().Get(ctx, "k"); !errors.Is(err, sdk.ErrExhausted) {
		t.Errorf("Get() = %v, want %v", err, sdk.ErrExhausted)
	}
	if times, inVain := h.Asked(sdk.CapabilityKV); times != 2 || inVain != 1 {
		t.Errorf("Asked() = %d, %d, want 2, 1", times, inVain)
	}
}

func TestOddInputInAFieldThatIsNotRequiredMayBeALogin(t *testing.T) {
	for _, required := range []bool{true, false} {
		p := twisted{
			describe: func() sdk.Manifest {
				m := pin{}.Describe()
				m.Forms[0].Fields = append(m.Forms[0].Fields, sdk.Field{Name: "note", Type: "text", Required: required})
				return m
			},
		}
		failed := len(failuresOf(t, suiteOf(p), "hostile fields")) > 0
		if failed != required {
			t.Errorf("required %v: failed %v", required, failed)
		}
	}
}
