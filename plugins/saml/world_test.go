package saml

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/circuit"
	"github.com/materi/shield/gateway/plugin/grant"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
	"github.com/materi/shield/sdk/wire"
)

const (
	spEntity  = "https://sp.test/metadata"
	acs       = "https://sp.test/auth/saml/acs"
	slo       = "https://sp.test/auth/saml/slo"
	idpEntity = "https://idp.test/metadata"
	idpPlace  = "https://idp.test/sso"
	idpLogout = "https://idp.test/slo"
	workspace = "0190f3c2-0000-7000-8000-0000000000aa"
	requestID = "_0123456789abcdef"
	state     = "c3RhdGUtc3RhdGUtc3RhdGUtc3RhdGUtc3RhdGUtc3Q"
)

// world is a provider before a gateway that remembers what it must, and that has the real
// gateway's way with signatures, keys and encryption.
type world struct {
	t     testing.TB
	host  *providertest.Host
	grant *grant.Grant
	p     sdk.Provider
}

// idpConfig is the identity provider of the tests, as settings have it.
func idpConfig(more ...any) map[string]any {
	c := map[string]any{
		"name": "corp", "entity_id": idpEntity, "sso_url": idpPlace, "slo_url": idpLogout,
		"certificates": []string{b64(idpKey().cert.Raw)}, "domains": []string{"idp.test"}, "workspaces": []string{workspace},
	}
	return with(c, more...)
}

// otherConfig is another one that is trusted, for other people.
func otherConfig(more ...any) map[string]any {
	return with(map[string]any{
		"name": "other", "entity_id": "https://other.test/metadata", "sso_url": "https://other.test/sso",
		"certificates": []string{b64(otherKey().cert.Raw)}, "domains": []string{"other.test"},
	}, more...)
}

func with(c map[string]any, more ...any) map[string]any {
	for n := 0; n < len(more); n += 2 {
		if c[more[n].(string)] = more[n+1]; more[n+1] == nil {
			delete(c, more[n].(string))
		}
	}
	return c
}

// settingsOf are settings with these identity providers.
func settingsOf(idps ...map[string]any) map[string]any {
	return map[string]any{
		"entity_id": spEntity, "certificate": pemOf(spKey()), "next_certificate": b64(nextKey().cert.Raw), "idps": idps,
	}
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func pemOf(s signer) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}))
}

func newWorld(t testing.TB, settings map[string]any) world {
	t.Helper()
	return worldOf(t, New(), settings)
}

// worldOf puts a provider, which may be behind a transport, into a world.
func worldOf(t testing.TB, p sdk.Provider, settings map[string]any) world {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	if faults := p.Configure(raw); len(faults) > 0 {
		t.Fatalf("Configure(%s) = %v", raw, faults)
	}
	host := providertest.New(p.Describe().Capabilities...)
	circuits, err := circuit.NewSet(circuit.Rule{Failures: 3, Within: time.Minute, Pause: time.Minute}, true, host.Now)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := grant.New(grant.Options{
		Circuits: circuits, Log: slog.New(slog.DiscardHandler), Now: host.Now,
		Provider: config.Provider{Secrets: []config.ProviderSecret{
			{Name: secretKey, Value: config.NewSecret(spKey().pem())}, {Name: secretNextKey, Value: config.NewSecret(nextKey().pem())},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	return world{t: t, host: host, grant: keys, p: p}
}

// call makes one call as the gateway does: what was written counts unless the answer is no.
func (w world) call(f func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error), flow sdk.Flow, fields map[string]string) (sdk.Step, error) {
	for range 4 {
		c := w.host.Call()
		step, err := f(context.Background(), real{c, w.grant.Call()}, flow, sdk.Request{Fields: fields, Now: w.host.Now()})
		if errors.Is(err, sdk.ErrConflict) {
			continue
		}
		if err != nil || step.Denied != nil {
			return step, err
		}
		if err := c.Commit(); !errors.Is(err, sdk.ErrConflict) {
			return step, err
		}
	}
	return sdk.Step{}, sdk.ErrConflict
}

func (w world) flow(kind sdk.FlowKind, form string) sdk.Flow {
	place := acs
	if kind == sdk.FlowLogout {
		place = slo
	}
	return sdk.Flow{ID: "flow", Kind: kind, Form: form, CallbackURL: place, State: state, Nonce: "nonce", StartedAt: w.host.Now()}
}

func (w world) begin(kind sdk.FlowKind, form string, fields map[string]string) sdk.Step {
	w.t.Helper()
	step, err := w.call(w.p.Begin, w.flow(kind, form), fields)
	if err != nil {
		w.t.Fatalf("Begin(%s/%s) = %v", kind, form, err)
	}
	return step
}

// answer goes on with a login whose request was requestID, to the identity provider "corp".
func (w world) answer(document string) sdk.Step {
	w.t.Helper()
	return w.answerAs("corp", map[string]string{fieldResponse: b64([]byte(document)), "RelayState": state})
}

func (w world) answerAs(name string, fields map[string]string) sdk.Step {
	w.t.Helper()
	flow := w.flow(sdk.FlowLogin, formRedirect)
	flow.Saved = asked{name, requestID}.save()
	step, err := w.call(w.p.Continue, flow, fields)
	if err != nil {
		w.t.Fatalf("Continue() = %v", err)
	}
	return step
}

func (w world) unsolicited(document string) sdk.Step {
	w.t.Helper()
	return w.begin(sdk.FlowLogin, formUnsolicited, map[string]string{fieldResponse: b64([]byte(document))})
}

// wants demands a denial with a code.
func (w world) wants(code string, step sdk.Step) {
	w.t.Helper()
	if step.Denied == nil || step.Denied.Code != code {
		w.t.Errorf("step = %s %+v %+v, want %s; log %v", step.Kind(), step.Denied, step.Done, code, w.host.Records())
	}
}

// wantsDone demands a login.
func (w world) wantsDone(step sdk.Step) sdk.Identity {
	w.t.Helper()
	if step.Done == nil {
		w.t.Fatalf("step = %s %+v, want done; log %v", step.Kind(), step.Denied, w.host.Records())
	}
	return step.Done.Identity
}

// reason returns the word of the last refusal.
func (w world) reason() string {
	records := w.host.Records()
	if len(records) == 0 {
		return ""
	}
	args := records[len(records)-1].Args
	for n := 0; n+1 < len(args); n += 2 {
		if args[n] == "reason" {
			return args[n+1]
		}
	}
	return ""
}

// real is the host of a call with the real way of the gateway with XML signatures.
type real struct {
	*providertest.Call
	keys *grant.Call
}

func (r real) XMLDSig() sdk.XMLDSig { return signatures{r.keys} }

type signatures struct{ keys *grant.Call }

func (s signatures) ask(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	out, err := s.keys.Serve(ctx, f, in)
	if err != nil {
		return nil, err
	}
	return wire.DecodeResult(out)
}

func (s signatures) Verify(ctx context.Context, v sdk.XMLVerification) ([]byte, error) {
	return s.ask(ctx, wire.XMLVerify, wire.EncodeXMLVerify(v))
}

func (s signatures) Sign(ctx context.Context, x sdk.XMLSigning) ([]byte, error) {
	return s.ask(ctx, wire.XMLSign, wire.EncodeSigning(wire.Signing{
		Data: x.Document, Secret: x.Secret, Certificate: x.Certificate, Namespace: x.Namespace, After: x.After,
	}))
}

func (s signatures) Decrypt(ctx context.Context, encrypted []byte, secret string) ([]byte, error) {
	return s.ask(ctx, wire.XMLDecrypt, wire.EncodeSigning(wire.Signing{Data: encrypted, Secret: secret}))
}

func (s signatures) SignBytes(ctx context.Context, algorithm string, data []byte, secret string) ([]byte, error) {
	return s.ask(ctx, wire.XMLSignBytes, wire.EncodeSigning(wire.Signing{Data: data, Secret: secret, Algorithm: algorithm}))
}

func (s signatures) VerifyBytes(ctx context.Context, algorithm string, data, signature []byte, certificates [][]byte) error {
	_, err := s.ask(ctx, wire.XMLVerifyBytes, wire.EncodeSignature(wire.Signature{
		Data: data, Signature: signature, Certificates: certificates, Algorithm: algorithm,
	}))
	return err
}

// at returns a time of the host's clock as messages have it.
func (w world) at(d time.Duration) string {
	return w.host.Now().Add(d).UTC().Format("2006-01-02T15:04:05.000Z")
}

func lines(text string) string { return strings.ReplaceAll(text, "\n", "") }

// newHostClock is a host of which only the clock counts.
func newHostClock() *providertest.Host { return providertest.New() }
