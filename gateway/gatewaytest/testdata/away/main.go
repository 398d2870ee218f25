// Away is a provider that sends people to a site which there is not. What they come back with
// says how the flow ends, so that a test plays the other side. It is of the kind "oauth" or
// "saml", as it is built.
//
// An answer is a text of parts between bars: what is to happen, the subject, the address, the
// name of the session there. It is "ok", "unproven" (an address that is not verified),
// "denied" or "broken". A good answer of the kind "saml" is good once.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/serve"
)

// kind is set at build time.
var kind = "oauth"

var plugin = serve.Provider(away{})

func main() { plugin.Main() }

type away struct{}

func (away) Describe() sdk.Manifest {
	m := sdk.Manifest{
		ID: "away", Version: "1.0.0", ABI: sdk.ABI, Kind: kind,
		Capabilities: []sdk.Capability{sdk.CapabilityKV, sdk.CapabilityLog},
		Forms: []sdk.Form{{Flow: sdk.FlowLogin, Name: "redirect", Label: "Away", Fields: []sdk.Field{
			{Name: "login_hint", Type: "text"}, {Name: "idp", Type: "text"},
		}}},
	}
	if kind == "saml" {
		m.Forms = append(m.Forms, sdk.Form{Flow: sdk.FlowLogin, Name: "unsolicited"}, sdk.Form{Flow: sdk.FlowLogout, Name: "slo"})
	}
	return m
}

func (away) Configure([]byte) []sdk.Fault { return nil }

const site = "https://idp.example"

func (away) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	switch {
	case flow.Kind == sdk.FlowLogout && flow.Form == "slo":
		return signedOut(req)
	case flow.Kind == sdk.FlowLogout && flow.Session == "":
		return denied(sdk.CodeSAMLNotConfigured), nil
	case flow.Kind == sdk.FlowLogout:
		return sdk.Step{Redirect: &sdk.Redirect{URL: site + "/slo?" + url.Values{
			"RelayState": {flow.State}, "subject": {flow.Subject}, "session": {flow.Session}, "issuer": {req.Fields["issuer"]},
		}.Encode()}}, nil
	case flow.Form == "unsolicited":
		return answer(ctx, host, req.Fields["SAMLResponse"])
	}
	if flow.Nonce == "" || flow.CallbackURL == "" || !holds(flow) {
		return sdk.Step{}, &sdk.Error{Code: sdk.CodeInternal, Private: "the flow is not whole"}
	}
	if req.Fields["login_hint"] == "broken" {
		return sdk.Step{}, &sdk.Error{Code: sdk.CodeProviderError, Private: "it was told to break"}
	}
	save := []byte(flow.ID + flow.Nonce)
	if req.Fields["idp"] == "post" {
		return sdk.Step{Save: save, Post: &sdk.Post{URL: site + "/sso", Fields: map[string]string{
			"SAMLRequest": `<a href="x">&`, "RelayState": flow.State,
		}}}, nil
	}
	return sdk.Step{Save: save, Redirect: &sdk.Redirect{URL: site + "/authorize?" + url.Values{
		"state": {flow.State}, "redirect_uri": {flow.CallbackURL}, "nonce": {flow.Nonce},
		"code_challenge": {flow.PKCEChallenge}, "login_hint": {req.Fields["login_hint"]}, "kind": {string(flow.Kind)},
	}.Encode()}}, nil
}

func holds(flow sdk.Flow) bool {
	sum := sha256.Sum256([]byte(flow.PKCEVerifier))
	return flow.PKCEChallenge == base64.RawURLEncoding.EncodeToString(sum[:])
}

func (away) Continue(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	host.Log(sdk.LevelInfo, "asked for what came back")
	if flow.Kind == sdk.FlowLogout {
		if req.Fields["SAMLResponse"] != "ok" || req.Fields["binding"] == "" {
			return denied(sdk.CodeSAMLAssertion), nil
		}
		return sdk.Step{Logout: &sdk.Logout{}}, nil
	}
	state, text := req.Fields["state"], req.Fields["code"]
	if kind == "saml" {
		state, text = req.Fields["RelayState"], req.Fields["SAMLResponse"]
	}
	if state != flow.State || string(flow.Saved) != flow.ID+flow.Nonce || !holds(flow) {
		return sdk.Step{}, &sdk.Error{Code: sdk.CodeInternal, Private: "the flow is not what it was"}
	}
	if req.Fields["error"] != "" {
		return denied(sdk.CodeOAuthCode), nil
	}
	return answer(ctx, host, text)
}

func answer(ctx context.Context, host sdk.Host, text string) (sdk.Step, error) {
	parts := append(strings.Split(text, "|"), "", "", "")
	if kind == "saml" {
		if _, used, err := host.KV().Get(ctx, "answer/"+text); err != nil || used {
			return denied(sdk.CodeSAMLAssertion), err
		}
		if err := host.KV().CompareAndSet(ctx, "answer/"+text, 0, []byte("used"), time.Hour); err != nil {
			return sdk.Step{}, err
		}
	}
	switch parts[0] {
	case "ok", "unproven":
		return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{
			Issuer: site, Subject: parts[1], Email: parts[2], EmailVerified: parts[0] == "ok", Session: parts[3],
		}}}, nil
	case "broken":
		return sdk.Step{}, &sdk.Error{Code: sdk.CodeProviderError, Private: "it was told to break"}
	}
	if kind == "saml" {
		return denied(sdk.CodeSAMLSignature), nil
	}
	return denied(sdk.CodeOAuthCode), nil
}

// signedOut believes that somebody signed out at the other site: a subject, and sessions.
func signedOut(req sdk.Request) (sdk.Step, error) {
	parts := strings.Split(req.Fields["SAMLRequest"], "|")
	if parts[0] == "forged" {
		return denied(sdk.CodeSAMLSignature), nil
	}
	out := &sdk.Logout{Issuer: site, Subject: parts[0], Sessions: parts[1:], URL: site + "/slo?SAMLResponse=done"}
	if req.Fields["binding"] == "post" {
		out.URL, out.Fields = site+"/slo", map[string]string{"SAMLResponse": "done"}
	} else if !strings.Contains(req.Fields["raw_query"], "SAMLRequest=") {
		return denied(sdk.CodeSAMLSignature), nil
	}
	return sdk.Step{Logout: out}, nil
}

func (away) Serve(_ context.Context, _ sdk.Host, req sdk.Request) (sdk.Response, error) {
	text := "<" + req.Path + " acs='" + req.Fields["callback_url"] + "' slo='" + req.Fields["logout_url"] + "'/>"
	return sdk.Response{Status: 200, ContentType: "application/samlmetadata+xml", Body: []byte(text)}, nil
}

func denied(code string) sdk.Step { return sdk.Step{Denied: &sdk.Denied{Code: code}} }
