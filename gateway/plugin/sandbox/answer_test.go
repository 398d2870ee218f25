package sandbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
	"github.com/materi/shield/sdk/wire"
)

// What a plugin in Go gets is tested with a real one, in package trial. Here are the answers
// that it cannot tell apart, and requests that none makes.

func TestGarbageIsMalformed(t *testing.T) {
	host := Answer(providertest.New().Call())
	for _, f := range wire.Functions() {
		for _, garbage := range [][]byte{{0xff}, {0x0a, 0x7f}, {0x0a, 0x02, 0xff, 0xfe, 0x10}} {
			if _, err := host.Serve(context.Background(), f, garbage); !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("%s.%s of %x: error %v, want %v", f.Capability, f.Name, garbage, err, wire.ErrMalformed)
			}
		}
	}
}

func TestUnknownFunctionIsNotGranted(t *testing.T) {
	host := Answer(providertest.New().Call())
	functions := []wire.Function{{}, {Capability: "exec", Name: "run"}}
	for _, c := range sdk.Capabilities() {
		functions = append(functions, wire.Function{Capability: c, Name: "scan"})
	}
	for _, f := range functions {
		if _, err := host.Serve(context.Background(), f, nil); !errors.Is(err, sdk.ErrNotGranted) {
			t.Errorf("%s.%s: error %v, want %v", f.Capability, f.Name, err, sdk.ErrNotGranted)
		}
	}
}

func TestRefusalIsAReplyAndAnyOtherFailureIsNone(t *testing.T) {
	h := providertest.New()
	host, ctx := Answer(h.Call()), context.Background()
	request := wire.EncodeJWTVerify(sdk.JWTVerification{
		Token: "a.b", Issuer: "i", Audience: "a", Nonce: "n", Algorithms: []string{"EdDSA"}, Keys: h.JWKS(),
	})
	out, err := host.Serve(ctx, wire.JWTVerify, request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.DecodeResult(out); err == nil || err.Error() != "refused: malformed" {
		t.Errorf("result = %v, want the refusal", err)
	}
	h.Fail(errors.New("away"))
	if out, err := host.Serve(ctx, wire.JWTVerify, request); err == nil || out != nil {
		t.Errorf("Serve() = %x, %v while the host fails", out, err)
	}
}

func TestRequestsReachTheHostWhole(t *testing.T) {
	var got []any
	host, ctx := Answer(noting{&got}), context.Background()
	fetch := sdk.HTTPRequest{Method: "POST", URL: "https://a.test/", Header: []sdk.HTTPHeader{{Name: "n", Value: "v"}}, Body: []byte("b")}
	sign := sdk.JWTAssertion{Claims: []byte("{}"), Secret: "s", Algorithm: "ES256", KeyID: "k"}
	xml := sdk.XMLVerification{Document: []byte("<x/>"), Certificates: [][]byte{{1}, {2}}, Namespace: "ns", Element: "e"}
	for _, c := range []struct {
		f  wire.Function
		in []byte
	}{
		{wire.KVSet, wire.EncodePut(wire.Put{Key: "k", Value: []byte("v"), TTL: time.Minute, Version: 9})},
		{wire.KVCompareAndSet, wire.EncodePut(wire.Put{Key: "k", Value: []byte("v"), TTL: time.Hour, Version: 7})},
		{wire.KVDelete, wire.EncodeKey("d")},
		{wire.HTTPFetch, wire.EncodeFetch(fetch)},
		{wire.JWTSign, wire.EncodeJWTSign(sign)},
		{wire.XMLVerify, wire.EncodeXMLVerify(xml)},
		{wire.XMLSign, wire.EncodeSigning(wire.Signing{Data: []byte("d"), Secret: "s", Certificate: []byte("c"), Namespace: "n", After: "i"})},
		{wire.XMLDecrypt, wire.EncodeSigning(wire.Signing{Data: []byte("e"), Secret: "t"})},
		{wire.XMLSignBytes, wire.EncodeSigning(wire.Signing{Data: []byte("f"), Secret: "u", Algorithm: "a"})},
		{wire.XMLVerifyBytes, wire.EncodeSignature(wire.Signature{Data: []byte("g"), Signature: []byte("h"), Algorithm: "b", Certificates: [][]byte{{3}}})},
		{wire.LogWrite, wire.EncodeRecord(wire.Record{Level: sdk.LevelWarn, Message: "m", Args: []string{"a", "b"}})},
	} {
		if _, err := host.Serve(ctx, c.f, c.in); err != nil {
			t.Errorf("%s.%s: %v", c.f.Capability, c.f.Name, err)
		}
	}
	want := []any{
		[]any{"set", "k", "v", time.Minute},
		[]any{"compare", "k", int64(7), "v", time.Hour},
		[]any{"delete", "d"},
		fetch, sign, xml,
		[]any{"sign", "d", "s", "c", "n", "i"},
		[]any{"decrypt", "e", "t"},
		[]any{"sign bytes", "a", "f", "u"},
		[]any{"verify bytes", "b", "g", "h", [][]byte{{3}}},
		[]any{"log", sdk.LevelWarn, "m", []string{"a", "b"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the host was asked (-want +got):\n%s", diff)
	}
}

// noting is a host that keeps what it is asked. What it does not have, nobody asks here.
type noting struct{ got *[]any }

func (n noting) note(v any)                             { *n.got = append(*n.got, v) }
func (n noting) KV() sdk.KV                             { return notingKV{nil, n} }
func (n noting) Passwords() sdk.Passwords               { return nil }
func (n noting) HTTP() sdk.HTTP                         { return n }
func (n noting) JWT() sdk.JWT                           { return notingJWT{nil, n} }
func (n noting) XMLDSig() sdk.XMLDSig                   { return notingXML{n} }
func (n noting) Secrets() sdk.Secrets                   { return nil }
func (n noting) Log(l sdk.Level, m string, a ...string) { n.note([]any{"log", l, m, a}) }

func (n noting) Fetch(_ context.Context, r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
	n.note(r)
	return sdk.HTTPResponse{}, nil
}

type notingKV struct {
	sdk.KV
	noting
}

func (n notingKV) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	n.note([]any{"set", key, string(value), ttl})
	return nil
}

func (n notingKV) CompareAndSet(_ context.Context, key string, version int64, value []byte, ttl time.Duration) error {
	n.note([]any{"compare", key, version, string(value), ttl})
	return nil
}

func (n notingKV) Delete(_ context.Context, key string) error {
	n.note([]any{"delete", key})
	return nil
}

type notingJWT struct {
	sdk.JWT
	noting
}

func (n notingJWT) Sign(_ context.Context, a sdk.JWTAssertion) (string, error) {
	n.note(a)
	return "", nil
}

type notingXML struct{ noting }

func (n notingXML) Verify(_ context.Context, v sdk.XMLVerification) ([]byte, error) {
	n.note(v)
	return nil, nil
}

func (n notingXML) Sign(_ context.Context, s sdk.XMLSigning) ([]byte, error) {
	n.note([]any{"sign", string(s.Document), s.Secret, string(s.Certificate), s.Namespace, s.After})
	return nil, nil
}

func (n notingXML) Decrypt(_ context.Context, encrypted []byte, secret string) ([]byte, error) {
	n.note([]any{"decrypt", string(encrypted), secret})
	return nil, nil
}

func (n notingXML) SignBytes(_ context.Context, algorithm string, data []byte, secret string) ([]byte, error) {
	n.note([]any{"sign bytes", algorithm, string(data), secret})
	return nil, nil
}

func (n notingXML) VerifyBytes(_ context.Context, algorithm string, data, signature []byte, certificates [][]byte) error {
	n.note([]any{"verify bytes", algorithm, string(data), string(signature), certificates})
	return nil
}
