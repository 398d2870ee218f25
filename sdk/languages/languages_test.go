// Package languages_test holds the SDKs of all languages to one contract: the same provider,
// a mirror, is written with each of them, and what it shows and answers is compared with the
// codec of package wire and with the golden messages. The modules run in the gateway's
// sandbox.
package languages_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/plugin/wasm"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// languages are those that there is an SDK for, with what compiles their mirror.
var languages = []struct {
	name    string
	compile func(file string) error
}{
	{"c", func(file string) error { return wasmtest.C(file, "testdata/mirror.c") }},
	{"assemblyscript", func(file string) error { return wasmtest.AssemblyScript(file, "testdata/mirror.ts") }},
	{"rust", func(file string) error { return wasmtest.Rust(file, "testdata/mirror.rs") }},
}

// built is where the modules are.
var built string

// shared tells the processes of a fuzzing run where the first one has built the modules.
const shared = "SHIELD_TEST_MIRRORS"

func TestMain(m *testing.M) {
	os.Exit(wasmtest.Main(m, func(dir string) {
		built = cmp.Or(os.Getenv(shared), dir)
		_ = os.Setenv(shared, built)
	}))
}

// each runs a test for every language.
func each(t *testing.T, test func(t *testing.T, m *mirror)) {
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) { test(t, open(t, l.name, l.compile)) })
	}
}

// mirror is the module that runs, with the host that it asks.
type mirror struct {
	t      *testing.T
	module *wasm.Module
	asked  []question
	answer func(wire.Function) ([]byte, error)
}

type question struct {
	function wire.Function
	request  []byte
}

func (m *mirror) Serve(_ context.Context, f wire.Function, request []byte) ([]byte, error) {
	m.asked = append(m.asked, question{f, request})
	return m.answer(f)
}

func open(t *testing.T, name string, compile func(string) error) *mirror {
	t.Helper()
	return &mirror{t: t, module: load(t, name, compile)}
}

func load(t testing.TB, name string, compile func(string) error) *wasm.Module {
	t.Helper()
	file := filepath.Join(built, name+".wasm")
	if _, err := os.Stat(file); err != nil {
		if err := compile(file); err != nil {
			t.Fatal(err)
		}
	}
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	module, err := wasm.Open(context.Background(), wasm.Options{
		Name: name, Code: code, Granted: sdk.Capabilities(), Memory: 64 << 20, Timeout: time.Minute, Wait: time.Minute,
		Instances: 1, CacheDir: filepath.Join(built, "cache"), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := module.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return module
}

func (m *mirror) call(method wire.Method, in []byte) []byte {
	m.t.Helper()
	out, err := m.module.Call(m.t.Context(), method, in, m)
	if err != nil {
		m.t.Fatalf("%v(%.60x) = %v", method, in, err)
	}
	return out
}

// begin makes a call with a form of the mirror's and returns the reply.
func (m *mirror) begin(form string, pairs ...string) []byte {
	m.t.Helper()
	fields := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i]] = pairs[i+1]
	}
	return m.call(wire.Begin, wire.EncodeCall(wire.Call{
		Flow: sdk.Flow{ID: "f", Form: form}, Request: sdk.Request{Fields: fields},
	}))
}

// subject returns what the mirror said in a reply.
func (m *mirror) subject(reply []byte) string {
	m.t.Helper()
	r, err := wire.DecodeReply(reply)
	if err != nil || r.Step == nil || r.Step.Done == nil {
		m.t.Fatalf("reply %.60x = %+v, %v, want Done", reply, r, err)
	}
	return r.Step.Done.Identity.Subject
}

func golden(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "wire", "testdata", "golden", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestModulesImportShieldAlone(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		want := []sdk.Capability{"http", "jwt", "kv", "log", "password", "secret"}
		got := m.module.Capabilities()
		sort.Slice(got, func(i, j int) bool { return got[i] < got[j] })
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("capabilities (-want +got):\n%s", diff)
		}
		code, err := os.ReadFile(filepath.Join(built, filepath.Base(t.Name())+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		for _, foreign := range []string{"wasi_snapshot_preview1", "\x03env"} {
			if strings.Contains(string(code), foreign) {
				t.Errorf("the module imports %q, which no SDK needs", foreign)
			}
		}
		t.Logf("%d bytes", len(code))
	})
}

func TestManifestReachesTheGateway(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		want, err := wire.DecodeManifest(golden(t, "1/Manifest"))
		if err != nil {
			t.Fatal(err)
		}
		want.ID, want.Kind, want.ABI = "mirror", "mirror", sdk.ABI
		want.Capabilities = []sdk.Capability{"kv", "password", "log", "http", "jwt", "secret"}
		got, err := wire.DecodeManifest(m.call(wire.Describe, nil))
		if diff := gocmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("manifest (-want +got), %v:\n%s", err, diff)
		}
	})
}

func TestSettingsReachTheProviderAndFaultsTheGateway(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		got, err := wire.DecodeFaults(m.call(wire.Configure, golden(t, "1/ConfigureRequest")))
		want := []sdk.Fault{{Path: "a.b", Message: `{"a":1}`}, {}}
		if diff := gocmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("faults (-want +got), %v:\n%s", err, diff)
		}
	})
}

// The values are written down, not taken from the codec.
func TestCallsReachTheProvider(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		want := "id=f\nkind=register\ncallback_url=https://g/cb\nstate=s\nnonce=n\npkce_verifier=v\npkce_challenge=c\n" +
			"subject=u\nsaved=0001ff\nstarted_at=1767355200123456789\n" +
			"field:=email\n=a@example.test\nfield:=password\n=\nfield:=z\n=z\n" +
			"path=/m\nip=192.0.2.1\nuser_agent=ua\nlocale=de\nnow=1767355200123456788\n"
		if got := m.subject(m.call(wire.Begin, golden(t, "1/CallRequest"))); got != want {
			t.Errorf("shown (-want +got):\n%s", gocmp.Diff(want, got))
		}
		got := m.subject(m.call(wire.Begin, golden(t, "2/CallRequest.headers")))
		if !strings.HasSuffix(got, "now=0\nheader:=\n=\nheader:=X-Api-Key\n=k\n") {
			t.Errorf("shown %q, want the headers", got)
		}
		if got := m.subject(m.call(wire.Continue, golden(t, "1/CallRequest"))); got != "0001ff" {
			t.Errorf("Continue shows %q, want what was saved", got)
		}
	})
}

func TestStepsAreTheGoldenMessages(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		for _, kind := range []string{"redirect", "post", "prompt", "mail", "done", "done_empty", "changed", "denied", "error"} {
			want := golden(t, "1/CallReply."+kind)
			if got := m.begin(kind); string(got) != string(want) {
				t.Errorf("%s = %x, want %x", kind, got, want)
			}
		}
		request := wire.EncodeServe(sdk.Request{Path: "<x/>"})
		if got, want := m.call(wire.Serve, request), golden(t, "1/ServeReply"); string(got) != string(want) {
			t.Errorf("document = %x, want %x", got, want)
		}
	})
}

func TestNoAnswerAndOneTooLargeAreErrors(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		for _, form := range []string{"nothing", "large"} {
			r, err := wire.DecodeReply(m.begin(form))
			if err != nil || r.FlowID != "f" || r.Error == nil || r.Error.Code != sdk.CodeInternal || r.Error.Private == "" {
				t.Errorf("%s = %+v, %v, want an internal error", form, r.Error, err)
			}
		}
	})
}

// question and answer of each function of the host, with what the mirror must make of it.
var questions = []struct {
	call    string
	request string // golden message
	reply   string // golden message
	want    string
}{
	{"kv.get", "1/Key", "1/Entry", "true 76 1099511627776"},
	{"kv.set", "", "", ""},
	{"kv.compare_and_set", "1/Put", "", ""},
	{"kv.delete", "1/Key", "", ""},
	{"password.hash", "1/HashRequest", "1/HashReply", "$argon2id$"},
	{"password.verify", "1/VerifyRequest", "1/VerifyReply", "true true "},
	{"password.common", "1/HashRequest", "1/CommonReply", "true "},
	{"log.write", "", "", ""},
	{"http.fetch", "2/FetchRequest", "2/FetchReply", "404 url=https://x/z\nbody=b\nheader:=Accept\n=application/json\nheader:=\n=\n"},
	{"jwt.verify", "2/JWTVerifyRequest", "2/Result", "76616c7565"},
	{"jwt.verify", "2/JWTVerifyRequest", "2/Result.refused", "refused=expired\n"},
	{"secret.get", "2/SecretRequest", "2/SecretReply", "true hush"},
	{"secret.mac", "2/MACRequest", "2/Result", "76616c7565"},
}

// requests are those that no golden message is like, because the samples have what an SDK
// cannot or need not say.
var requests = map[string][]byte{
	"kv.set":    wire.EncodePut(wire.Put{Key: "k", Value: []byte("v"), TTL: time.Minute}),
	"log.write": wire.EncodeRecord(wire.Record{Level: sdk.LevelDebug, Message: "m", Args: []string{"k", "", "v", "w"}}),
}

func TestHostIsAskedAndUnderstood(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		for _, q := range questions {
			m.asked = nil
			m.answer = func(wire.Function) ([]byte, error) {
				if q.reply == "" {
					return nil, nil
				}
				return golden(t, q.reply), nil
			}
			if got := m.subject(m.begin("host", "call", q.call)); got != q.want {
				t.Errorf("%s: the provider got %q, want %q", q.call, got, q.want)
			}
			want, ok := requests[q.call]
			if !ok {
				want = golden(t, q.request)
			}
			capability, name, _ := strings.Cut(q.call, ".")
			if len(m.asked) != 1 || m.asked[0].function != (wire.Function{Capability: sdk.Capability(capability), Name: name}) {
				t.Errorf("%s: asked %v", q.call, m.asked)
				continue
			}
			if got := m.asked[0].request; string(got) != string(want) {
				t.Errorf("%s: request %x, want %x", q.call, got, want)
			}
		}
	})
}

func TestErrorsOfTheHostReachTheProvider(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		for code, err := range map[int]error{
			-1: sdk.ErrNotGranted, -2: sdk.ErrConflict, -3: sdk.ErrTooLarge, -5: errors.New("away"),
			-6: sdk.ErrInvalid, -7: sdk.ErrDenied, -8: sdk.ErrUnreachable, -9: sdk.ErrExhausted,
		} {
			m.answer = func(wire.Function) ([]byte, error) { return nil, err }
			for _, q := range questions {
				want := fmt.Sprintf("error %d", code)
				if q.call == "log.write" {
					want = "" // what is not taken is dropped
				}
				if got := m.subject(m.begin("host", "call", q.call)); got != want {
					t.Errorf("%s with %v: the provider got %q, want %q", q.call, err, got, want)
				}
			}
		}
	})
}

// A host that answers garbage is one that failed: nothing is granted, verified or found.
func TestGarbageOfTheHostProvesNothing(t *testing.T) {
	each(t, func(t *testing.T, m *mirror) {
		for _, garbage := range []string{"\xff", "\x08", "\x0a\x05ab", "\x0a\x01\x80\x0b", strings.Repeat("\x0a\x00", 2)} {
			m.answer = func(wire.Function) ([]byte, error) { return []byte(garbage), nil }
			for _, q := range questions {
				got := m.subject(m.begin("host", "call", q.call))
				if strings.Contains(got, "true") {
					t.Errorf("%s with the reply %q: the provider got %q", q.call, garbage, got)
				}
			}
		}
	})
}
