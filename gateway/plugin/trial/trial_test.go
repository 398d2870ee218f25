package trial

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/plugin/anatomy"
	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/gateway/plugin/trial/testdata/everything"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

func TestEveryFunctionAnswersAsOnSource(t *testing.T) {
	ctx := context.Background()
	h := scene()
	want, err := h.Begin(ctx, &everything.Provider{}, login, act(h, "everything"))
	if err != nil || want.Done == nil {
		t.Fatalf("on source: %+v, %v", want, err)
	}
	for _, way := range []Way{Compiler, Interpreter} {
		h := scene()
		p := open(t, Options{File: everythingFile(t), Way: way}).Provider()
		if faults := p.Configure([]byte("{}")); faults != nil {
			t.Fatalf("Configure() = %v", faults)
		}
		got, err := h.Begin(ctx, p, login, act(h, "everything"))
		if err != nil || got.Done == nil {
			t.Fatalf("%s: %+v, %v", way, got, err)
		}
		if diff := cmp.Diff(said(t, want), said(t, got)); diff != "" {
			t.Errorf("%s (-source +file):\n%s", way, diff)
		}
		if strings.Contains(said(t, got), "not granted") {
			t.Errorf("%s: something is not granted:\n%s", way, said(t, got))
		}
		if r := h.Records(); len(r) != 1 || r[0].Message != "asked" {
			t.Errorf("%s: log records %v", way, r)
		}
	}
}

func said(t *testing.T, s sdk.Step) string {
	t.Helper()
	b, err := hex.DecodeString(s.Done.Identity.Attributes["said"])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhatTheHostDoesNotGrantIsNotGranted(t *testing.T) {
	ctx := context.Background()
	bare := func() *providertest.Host { return providertest.NewFor("scene", sdk.Manifest{}) }
	h := bare()
	want, err := h.Begin(ctx, &everything.Provider{}, login, act(h, "everything"))
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, Options{File: everythingFile(t)}).Provider()
	p.Configure([]byte("{}"))
	h = bare()
	got, err := h.Begin(ctx, p, login, act(h, "everything"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(said(t, want), said(t, got)); diff != "" || !strings.Contains(said(t, got), "capability not granted") {
		t.Errorf("(-source +file):\n%s\n%s", diff, said(t, got))
	}
}

func TestSuitePassesOnEveryWayWithTheSameAnswers(t *testing.T) {
	script := readScript(t, `{
		"fields": {"act": {"act": "count"}},
		"secrets": {"key": "hunter2-is-the-secret"}, "private_keys": ["signing"],
		"sites": [{"url": "https://a.test/", "body": "body"}],
		"expect": [
			{"form": "act", "fields": {"act": "everything in short"}, "step": "done", "subject": "s"},
			{"form": "act", "fields": {"act": "random"}, "step": "redirect", "url": "https://a.test/?state="},
			{"continue": true, "step": "denied", "code": "INVALID_TOKEN"},
			{"document": "missing", "step": "error", "code": "USER_NOT_FOUND"},
			{"document": "metadata", "step": "document", "status": 200, "contains": "for metadata"}
		]}`)
	var transcripts []*Transcript
	for _, way := range []Way{Compiler, Compiler, Interpreter} {
		transcripts = append(transcripts, pass(t, everythingFile(t), way, script))
	}
	if n := transcripts[0].Len(); n < 100 {
		t.Errorf("the transcript has %d calls, want those of the suite", n)
	}
	// The provider draws a state, so that there is something that differs by itself.
	if len(Compare(transcripts[0], transcripts[0], transcripts[1])) == 0 {
		t.Error("two runs are the same to the last byte, which they cannot be")
	}
	for _, d := range Compare(transcripts[0], transcripts[1], transcripts[2]) {
		t.Error(d)
	}
}

func TestSuitePassesOnTheFirstProvider(t *testing.T) {
	pass(t, emailFile(t), Compiler, readScript(t, `{
		"settings": {"min_length": 10, "composition": true},
		"bad_settings": [{"min_length": 7}, {"min_lenght": 8}],
		"fields": {
			"password": {"email": "ann@example.test", "password": "Correct-horse-1", "current_password": "Correct-horse-1", "new_password": "Battery-staple-2"},
			"magic_link": {"email": "ann@example.test"}, "resend": {"email": "ann@example.test"}
		},
		"expect": [
			{"flow": "login", "form": "password", "fields": {"email": "ann@example.test", "password": "x"}, "step": "denied", "code": "INVALID_CREDENTIALS"},
			{"flow": "register", "form": "password", "fields": {"email": "ann@example.test", "password": "Correct-horse-1"}, "step": "mail", "template": "verify"},
			{"continue": true, "step": "done"},
			{"flow": "login", "form": "password", "fields": {"email": "ann@example.test", "password": "Correct-horse-1"}, "step": "done"}
		]}`))
}

func readScript(t *testing.T, text string) providertest.Script {
	t.Helper()
	script, err := providertest.ReadScript([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return script
}

// pass runs the suite on a file and returns what the plugin did.
func pass(t *testing.T, file string, way Way, script providertest.Script) *Transcript {
	t.Helper()
	made := &Transcript{}
	p := open(t, Options{File: file, Way: way, Watch: made.Add})
	suite := script.Suite(p.Provider)
	suite.After = p.Release
	t.Run(string(way), func(t *testing.T) { providertest.Run(t, suite) })
	return made
}

func TestBreakdownIsToldWithWhatThePluginWroteAndLeavesANewInstance(t *testing.T) {
	ctx := context.Background()
	p := open(t, Options{File: everythingFile(t)}).Provider()
	p.Configure([]byte(`{"kept":1}`))
	for what, want := range map[string]struct {
		err  error
		text string
	}{
		"panic": {sandbox.ErrTrap, "panic: asked to"},
		"exit":  {sandbox.ErrExit, "exit_code(3)"},
	} {
		h := scene()
		_, err := h.Begin(ctx, p, login, act(h, what))
		if !errors.Is(err, want.err) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: error %v, want %v with %q", what, err, want.err, want.text)
		}
		f := p.(interface{ Fault() error }).Fault()
		if f == nil || !strings.Contains(f.Error(), "begin: ") || !strings.Contains(f.Error(), want.text) {
			t.Errorf("%s: Fault() = %v", what, f)
		}
		s, err := h.Begin(ctx, p, login, act(h, "settings"))
		if err != nil || said(t, s) != `{"kept":1}` {
			t.Errorf("%s: after it %v, %v, want the settings that it had", what, s, err)
		}
	}
}

func TestBreakdownInConfigureIsNoFaultOfTheSettings(t *testing.T) {
	p := open(t, Options{File: everythingFile(t)}).Provider()
	if faults := p.Configure([]byte(`{"panic":true}`)); faults != nil {
		t.Errorf("Configure() = %v", faults)
	}
	if f := p.(interface{ Fault() error }).Fault(); f == nil || !strings.Contains(f.Error(), "configure: ") {
		t.Errorf("Fault() = %v, want the breakdown", f)
	}
}

func TestSuiteFindsABreakdown(t *testing.T) {
	p := open(t, Options{File: everythingFile(t)})
	s := providertest.Suite{New: p.Provider, Settings: `{"panic":true}`, After: p.Release}
	for _, c := range s.Checks() {
		if f := c.Failures(); !strings.Contains(strings.Join(f, "\n"), "the plugin broke down: configure: ") {
			t.Errorf("%s: failures %q, want the breakdown", c.Name, f)
		}
	}
}

func TestConflictIsMadeAnew(t *testing.T) {
	ctx := context.Background()
	p := open(t, Options{File: everythingFile(t)}).Provider()
	p.Configure([]byte("{}"))
	h := scene()
	other := h.Call()
	if err := other.KV().Set(ctx, "count", []byte("+"), 0); err != nil {
		t.Fatal(err)
	}
	mine := h.Call()
	if _, err := p.Begin(ctx, mine, login, act(h, "count")); err != nil {
		t.Fatal(err)
	}
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := mine.Commit(); !errors.Is(err, sdk.ErrConflict) {
		t.Errorf("Commit() = %v, want %v", err, sdk.ErrConflict)
	}
	s, err := h.Begin(ctx, p, login, act(h, "count"))
	if err != nil || said(t, s) != "++" {
		t.Errorf("Begin() = %v, %v, want a second count", s, err)
	}
	// A version that does not hold is told as the conflict that it is.
	raced := racing{h.Call()}
	if _, err := p.Begin(ctx, raced, login, act(h, "count")); !errors.Is(err, sdk.ErrConflict) {
		t.Errorf("Begin() = %v, want %v", err, sdk.ErrConflict)
	}
}

// racing is a host on which others are always faster.
type racing struct{ *providertest.Call }

func (r racing) KV() sdk.KV { return lost{r.Call.KV()} }

type lost struct{ sdk.KV }

func (l lost) Get(ctx context.Context, key string) (sdk.Entry, bool, error) {
	e, ok, err := l.KV.Get(ctx, key)
	e.Version += 100
	return e, ok, err
}

func TestDocumentsAreServedByWhoKnowsThem(t *testing.T) {
	if _, ok := open(t, Options{File: emailFile(t)}).Provider().(sdk.Server); ok {
		t.Error("the e-mail provider is said to serve documents")
	}
	p := open(t, Options{File: everythingFile(t)}).Provider()
	server, ok := p.(sdk.Server)
	if !ok {
		t.Fatal("the provider does not serve documents")
	}
	r, err := server.Serve(context.Background(), scene().Call(), sdk.Request{Path: "metadata"})
	if err != nil || r.Status != 200 || string(r.Body) != "you asked for metadata" {
		t.Errorf("Serve() = %+v, %v", r, err)
	}
	_, err = server.Serve(context.Background(), scene().Call(), sdk.Request{Path: "missing"})
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeUserNotFound {
		t.Errorf("Serve() = %v", err)
	}
}

func TestFilesThatAreNoPlugin(t *testing.T) {
	ctx := context.Background()
	if _, err := Open(ctx, Options{File: filepath.Join(workspace, "nothing")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open() of nothing = %v", err)
	}
	text := filepath.Join(t.TempDir(), "text.wasm")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, Options{File: text}); !errors.Is(err, anatomy.ErrNoPlugin) {
		t.Errorf("Open() of text = %v", err)
	}
	if _, err := Open(ctx, Options{File: everythingFile(t), Way: "hope"}); err == nil || !strings.Contains(err.Error(), `"hope"`) {
		t.Errorf("Open() in no way = %v", err)
	}
}

func TestAskedIsReadableAndHidesWhatIsSecret(t *testing.T) {
	var asked []Asked
	p := open(t, Options{File: everythingFile(t), Watch: func(e Exchange) { asked = append(asked, e.Asked...) }}).Provider()
	p.Configure([]byte("{}"))
	h := scene()
	if _, err := h.Begin(context.Background(), p, login, act(h, "everything")); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, a := range asked {
		lines = append(lines, a.String())
	}
	text := strings.Join(lines, "\n")
	for _, secret := range []string{"correct-horse", "hunter2", "bearer-of-secrets", "$test$", act(h, "").Headers["token"]} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is shown:\n%s", secret, text)
		}
	}
	for _, want := range []string{
		`kv.set "everything/key" = "value" for 1m0s: done`,
		`kv.get "everything/key": "value", version -1`,
		`kv.compare_and_set "everything/key" = "" if version is 999: entry changed`,
		`password.verify [redacted] against a hash: true`,
		`log.write level 4 "asked" "what" "everything"`,
		`http.fetch GET "https://a.test/x" Authorization=[redacted] body "b": status 200, body "body"`,
		`http.fetch GET "https://other.test/": not allowed`,
		`by "i" for "a", algorithms EdDSA, keys of "https://a.test/keys": claims "{`,
		`jwt.sign "{\"sub\":\"x\"}" with key "signing" by EdDSA: a token`,
		`xmldsig.verify a document of 4 bytes, element "a" of "n", 1 certificates: 4 bytes`,
		`xmldsig.verify_bytes 4 bytes by alg, 1 certificates: refused: signature`,
		`secret.get "key": [redacted]`,
		`secret.mac "key" over 1 bytes: a code`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
}
