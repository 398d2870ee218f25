//go:build !wasip1

// The gateway does not run on WASM, where go vet looks, too.

package oauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/circuit"
	"github.com/materi/shield/gateway/plugin/grant"
	"github.com/materi/shield/gateway/plugin/trial"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/plugins/oauth"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
	"github.com/materi/shield/sdk/providertest"
	"github.com/materi/shield/sdk/wire"
)

// workspace holds the plugin as a module and as a program.
var workspace string

func TestMain(m *testing.M) {
	os.Exit(wasmtest.Main(m, func(dir string) { workspace = dir }, "./cmd"))
}

// everyWay runs a test with the provider as source, as a module and as a process.
func everyWay(t *testing.T, test func(t *testing.T, p sdk.Provider)) {
	t.Run("source", func(t *testing.T) { test(t, oauth.New()) })
	program, err := wasmtest.BuildProcess("./cmd", workspace)
	if err != nil {
		t.Fatal(err)
	}
	for way, file := range map[trial.Way]string{trial.Compiler: filepath.Join(workspace, "cmd.wasm"), trial.Process: program} {
		t.Run(string(way), func(t *testing.T) {
			p, err := trial.Open(context.Background(), trial.Options{File: file, Way: way, CacheDir: filepath.Join(workspace, "cache")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := p.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test(t, p.Provider())
		})
	}
}

const (
	callback     = "https://id.example.test/auth/oauth/peer/callback"
	clientID     = "the client:1"
	clientSecret = "hush hush:%/+"
)

// world is a provider in a gateway whose requests, keys and secrets are the real gateway's,
// with a peer on the loopback. What the gateway's database would keep is in memory.
type world struct {
	t     *testing.T
	p     sdk.Provider
	peer  *peer
	host  *providertest.Host
	grant *grant.Grant
	flows int
}

// newWorld configures p for a peer. The settings are those beside client_id; nil: the peer's
// issuer alone. %s in them is the peer's address.
func newWorld(t *testing.T, p sdk.Provider, more map[string]any) *world {
	t.Helper()
	w := &world{t: t, p: p, host: providertest.New(sdk.CapabilityKV, sdk.CapabilityLog)}
	w.peer = newPeer(t, w.host.Now())
	circuits, err := circuit.NewSet(circuit.Rule{Failures: 5, Within: 30 * time.Second, Pause: time.Minute}, false, w.host.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.grant, err = grant.New(grant.Options{Circuits: circuits, Log: slog.New(slog.DiscardHandler), Now: w.host.Now, Provider: config.Provider{
		Name: "peer",
		HTTP: config.Egress{
			Allow: []string{w.peer.url("")}, Addresses: []string{"127.0.0.0/8"},
			Timeout: 2 * time.Second, MaxResponse: 512 * config.KiB, MaxRequests: 16,
		},
		Secrets: []config.ProviderSecret{
			{Name: "client_secret", Value: config.NewSecret(clientSecret)}, {Name: "client_key", Value: config.NewSecret(clientKey())},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.grant.Close)
	w.configure(more)
	return w
}

func (w *world) configure(more map[string]any) {
	w.t.Helper()
	settings := map[string]any{"client_id": clientID}
	if more == nil {
		more = map[string]any{"issuer": "%s"}
	}
	maps.Copy(settings, more)
	text, err := json.Marshal(settings)
	if err != nil {
		w.t.Fatal(err)
	}
	if faults := w.p.Configure([]byte(strings.ReplaceAll(string(text), "%s", w.peer.url("")))); len(faults) > 0 {
		w.t.Fatalf("Configure(%s) = %v", text, faults)
	}
}

// call is the host as one call sees it: real where it reaches outside.
type call struct {
	*providertest.Call
	outside *grant.Call
}

func (c call) HTTP() sdk.HTTP       { return c }
func (c call) JWT() sdk.JWT         { return c }
func (c call) Secrets() sdk.Secrets { return secrets{c} }

func (c call) Fetch(ctx context.Context, r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
	out, err := c.outside.Serve(ctx, wire.HTTPFetch, wire.EncodeFetch(r))
	if err != nil {
		return sdk.HTTPResponse{}, err
	}
	return wire.DecodeFetched(out)
}

func (c call) Verify(ctx context.Context, v sdk.JWTVerification) ([]byte, error) {
	out, err := c.outside.Serve(ctx, wire.JWTVerify, wire.EncodeJWTVerify(v))
	if err != nil {
		return nil, err
	}
	return wire.DecodeResult(out)
}

func (c call) Sign(ctx context.Context, a sdk.JWTAssertion) (string, error) {
	out, err := c.outside.Serve(ctx, wire.JWTSign, wire.EncodeJWTSign(a))
	if err != nil {
		return "", err
	}
	signed, err := wire.DecodeResult(out)
	return string(signed), err
}

type secrets struct{ call }

func (s secrets) Get(ctx context.Context, name string) (string, bool, error) {
	out, err := s.outside.Serve(ctx, wire.SecretGet, wire.EncodeSecretName(name))
	if err != nil {
		return "", false, err
	}
	return wire.DecodeSecret(out)
}

func (s secrets) MAC(context.Context, string, []byte) ([]byte, error) {
	return nil, sdk.ErrNotGranted
}

// flow returns a new one with what the gateway makes for it.
func (w *world) flow(kind sdk.FlowKind) sdk.Flow {
	w.flows++
	n := fmt.Sprint(w.flows)
	verifier := "verifier-of-flow-" + n + "-which-is-at-least-43-characters-long"
	sum := sha256.Sum256([]byte(verifier))
	return sdk.Flow{
		ID: "flow-" + n, Kind: kind, Form: "redirect", CallbackURL: callback, State: "state-" + n, Nonce: "nonce-" + n,
		PKCEVerifier: verifier, PKCEChallenge: encode(sum[:]), StartedAt: w.host.Now(),
	}
}

type method func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error)

// do makes one call as the gateway does, and holds its answer to the contract.
func (w *world) do(m method, f sdk.Flow, fields map[string]string) (sdk.Step, error) {
	w.t.Helper()
	c := call{w.host.Call(), w.grant.Call()}
	step, err := m(w.t.Context(), c, f, sdk.Request{Fields: fields, Now: w.host.Now()})
	if err != nil {
		if e, ok := errors.AsType[*sdk.Error](err); ok && contract.Error(*e) != nil {
			w.t.Errorf("the error is not valid: %v", contract.Error(*e))
		}
		return step, err
	}
	if err := contract.Step(f.Kind, step); err != nil {
		w.t.Errorf("the step is not valid: %v", err)
	}
	if err := c.Commit(); err != nil {
		w.t.Errorf("Commit() = %v", err)
	}
	return step, nil
}

// begin starts a login and returns the flow as it waits, and where the browser is sent.
func (w *world) begin(fields map[string]string) (sdk.Flow, string) {
	w.t.Helper()
	f := w.flow(sdk.FlowLogin)
	step, err := w.do(w.p.Begin, f, fields)
	if err != nil || step.Redirect == nil {
		w.t.Fatalf("Begin() = %+v, %v, want a redirect", step, err)
	}
	f.Saved = step.Save
	return f, step.Redirect.URL
}

// login goes through a whole login. change, if set, alters what the browser brings back.
func (w *world) login(change func(fields map[string]string)) (sdk.Step, error) {
	w.t.Helper()
	f, question := w.begin(nil)
	fields := w.peer.authorize(question)
	if change != nil {
		change(fields)
	}
	return w.do(w.p.Continue, f, fields)
}

// identity goes through a login that succeeds.
func (w *world) identity() sdk.Identity {
	w.t.Helper()
	step, err := w.login(nil)
	if err != nil || step.Done == nil {
		w.t.Fatalf("login = %+v, %v, log %v, want an identity", step, err, w.host.Records())
	}
	return step.Done.Identity
}

// What a login that fails ends in: a denial of a code, or an error that counts against the
// other side.
const (
	denied  = "denied "
	failure = "error "
)

func ending(step sdk.Step, err error) string {
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return failure + e.Code
	}
	switch {
	case err != nil:
		return "internal error: " + err.Error()
	case step.Denied != nil:
		return denied + step.Denied.Code
	}
	return step.Kind()
}

// quiet demands that nothing secret was logged or told.
func (w *world) quiet(err error) {
	w.t.Helper()
	said := fmt.Sprint(w.host.Records(), err)
	for _, secret := range append([]string{accessToken, "refresh-token", clientSecret, "code-state", "verifier-of", "nonce-", "eyJ", "ann@"}, clientKey()) {
		if strings.Contains(said, secret) {
			w.t.Errorf("%q is in the log or an error: %s", secret, said)
		}
	}
}

// refused demands that a login ends so.
func (w *world) refused(want string, change func(fields map[string]string)) {
	w.t.Helper()
	step, err := w.login(change)
	if got := ending(step, err); got != want {
		w.t.Errorf("login ends in %q, want %q (log %v, error %v)", got, want, w.host.Records(), err)
	}
	if strings.HasPrefix(want, denied) && !slices.ContainsFunc(w.host.Records(), func(r providertest.Record) bool { return r.Message == "login refused" }) {
		w.t.Error("the log does not say why")
	}
	w.quiet(err)
}
