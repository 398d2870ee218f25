// Package everything is a provider that asks the host for everything, or misbehaves: the
// login form "act" does what its field "act" says.
package everything

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

// Provider is the provider.
type Provider struct{ settings string }

// Describe declares every capability.
func (p *Provider) Describe() sdk.Manifest {
	return sdk.Manifest{
		ID: "everything", Version: "1.0.0", ABI: sdk.ABI, Kind: "test",
		Forms: []sdk.Form{{Flow: sdk.FlowLogin, Name: "act", Fields: []sdk.Field{
			{Name: "act", Type: "text", Required: true}, {Name: "password", Type: "password"},
		}}},
		Capabilities: sdk.Capabilities(),
	}
}

// Configure takes any object.
func (p *Provider) Configure(settings []byte) []sdk.Fault {
	p.settings = string(settings)
	switch {
	case p.settings == `{"panic":true}`:
		panic("asked to by the settings")
	case !strings.HasPrefix(p.settings, "{") || !strings.HasSuffix(p.settings, "}") || strings.Contains(p.settings, "} {"):
		return []sdk.Fault{{Path: "all", Message: "want an object"}}
	}
	return nil
}

// Begin does what it is told.
func (p *Provider) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	if flow.Form != "act" || flow.Kind != sdk.FlowLogin {
		return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeValidation}}, nil
	}
	switch req.Fields["act"] {
	case "panic":
		panic("asked to")
	case "exit":
		os.Exit(3)
	case "settings":
		return say(p.settings), nil
	case "random":
		b := make([]byte, 16)
		_, _ = rand.Read(b)
		return sdk.Step{Redirect: &sdk.Redirect{URL: "https://a.test/?state=" + hex.EncodeToString(b)}, Save: b}, nil
	case "count":
		return count(ctx, host)
	case "everything in short":
		sum := sha256.Sum256([]byte(strings.Join(ask(ctx, host, req), "\n")))
		return say(string(sum[:])), nil
	case "everything":
		return say(strings.Join(ask(ctx, host, req), "\n")), nil
	}
	return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeInvalidCredentials}}, nil
}

// Continue refuses.
func (p *Provider) Continue(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
	return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeInvalidToken}}, nil
}

// Serve returns the path that was asked for.
func (p *Provider) Serve(_ context.Context, _ sdk.Host, req sdk.Request) (sdk.Response, error) {
	if req.Path == "missing" {
		return sdk.Response{}, &sdk.Error{Code: sdk.CodeUserNotFound, Public: "There is none."}
	}
	return sdk.Response{Status: 200, ContentType: "text/plain", Body: []byte("you asked for " + req.Path)}, nil
}

func say(s string) sdk.Step {
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: "s", Attributes: map[string]string{"said": hex.EncodeToString([]byte(s))}}}}
}

func count(ctx context.Context, host sdk.Host) (sdk.Step, error) {
	e, _, err := host.KV().Get(ctx, "count")
	if err != nil {
		return sdk.Step{}, err
	}
	err = host.KV().CompareAndSet(ctx, "count", e.Version, append(e.Value, '+'), 0)
	return say(string(e.Value) + "+"), err
}

// ask calls every function of the host and says what came of it.
func ask(ctx context.Context, h sdk.Host, req sdk.Request) []string {
	var out []string
	note := func(what string, err error, values ...any) {
		var refused *sdk.Refused
		if errors.As(err, &refused) {
			err = refused
		}
		out = append(out, fmt.Sprint(what, " ", values, " ", err))
	}
	kv, key := h.KV(), "everything/key"
	note("set", kv.Set(ctx, key, []byte("value"), time.Minute))
	e, found, err := kv.Get(ctx, key)
	note("get", err, string(e.Value), e.Version, found)
	note("compare", kv.CompareAndSet(ctx, key, e.Version, []byte("other"), 0))
	note("compare with a wrong version", kv.CompareAndSet(ctx, key, 999, nil, 0))
	note("delete", kv.Delete(ctx, "nothing"))
	note("empty key", kv.Set(ctx, "", nil, 0))
	hash, err := h.Passwords().Hash(ctx, req.Fields["password"])
	note("hash", err, hash)
	ok, stale, err := h.Passwords().Verify(ctx, hash, req.Fields["password"])
	note("verify", err, ok, stale)
	common, err := h.Passwords().Common(ctx, "password1")
	note("common", err, common)
	h.Log(sdk.LevelWarn, "asked", "what", "everything")
	r, err := h.HTTP().Fetch(ctx, sdk.HTTPRequest{URL: "https://a.test/x", Header: []sdk.HTTPHeader{{Name: "Authorization", Value: "Bearer bearer-of-secrets"}}, Body: []byte("b")})
	note("fetch", err, r.Status, r.Header, string(r.Body), r.URL)
	_, err = h.HTTP().Fetch(ctx, sdk.HTTPRequest{URL: "https://other.test/"})
	note("fetch of what is not listed", err)
	claims, err := h.JWT().Verify(ctx, sdk.JWTVerification{
		Token: req.Headers["token"], Issuer: "i", Audience: "a", Nonce: "n", Algorithms: []string{"EdDSA"}, KeysURL: "https://a.test/keys",
	})
	note("jwt", err, string(claims))
	token, err := h.JWT().Sign(ctx, sdk.JWTAssertion{Claims: []byte(`{"sub":"x"}`), Secret: "signing", Algorithm: "EdDSA"})
	note("jwt sign", err, len(token))
	signed, err := h.XMLDSig().Verify(ctx, sdk.XMLVerification{Document: []byte("<a/>"), Certificates: [][]byte{{1}}, Namespace: "n", Element: "a"})
	note("xml", err, string(signed))
	signed, err = h.XMLDSig().Sign(ctx, sdk.XMLSigning{Document: []byte("<a/>"), Secret: "signing"})
	note("xml sign", err, string(signed))
	_, err = h.XMLDSig().Decrypt(ctx, []byte("x"), "signing")
	note("xml decrypt", err)
	sig, err := h.XMLDSig().SignBytes(ctx, "alg", []byte("data"), "signing")
	note("sign bytes", err, len(sig))
	note("verify bytes", h.XMLDSig().VerifyBytes(ctx, "alg", []byte("data"), sig, [][]byte{{1}}))
	note("verify other bytes", h.XMLDSig().VerifyBytes(ctx, "alg", []byte("date"), sig, [][]byte{{1}}))
	secret, found, err := h.Secrets().Get(ctx, "key")
	note("secret", err, secret, found)
	_, _, err = h.Secrets().Get(ctx, "signing")
	note("private key", err)
	mac, err := h.Secrets().MAC(ctx, "key", []byte("m"))
	note("mac", err, bytes.Count(mac, nil))
	return out
}
