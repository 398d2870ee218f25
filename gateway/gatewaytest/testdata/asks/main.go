// Asks is a provider that believes whom another server believes: the login form "password"
// asks for an address, and the server that its settings name, by url, answers 200 for yes.
package main

import (
	"context"
	"encoding/json"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/serve"
)

var plugin = serve.Provider(&asks{})

func main() { plugin.Main() }

type asks struct{ url string }

func (*asks) Describe() sdk.Manifest {
	return sdk.Manifest{
		ID: "asks", Version: "1.0.0", ABI: sdk.ABI, Kind: "asks", Capabilities: []sdk.Capability{sdk.CapabilityHTTP},
		Forms: []sdk.Form{{Flow: sdk.FlowLogin, Name: "password", Fields: []sdk.Field{
			{Name: "email", Type: "email", Required: true}, {Name: "password", Type: "password", Required: true},
		}}},
	}
}

func (a *asks) Configure(settings []byte) []sdk.Fault {
	var s struct{ URL string }
	if err := json.Unmarshal(settings, &s); err != nil || s.URL == "" {
		return []sdk.Fault{{Path: "url", Message: "is missing"}}
	}
	a.url = s.URL
	return nil
}

func (a *asks) Begin(ctx context.Context, host sdk.Host, _ sdk.Flow, req sdk.Request) (sdk.Step, error) {
	r, err := host.HTTP().Fetch(ctx, sdk.HTTPRequest{URL: a.url})
	if err != nil || r.Status >= 500 {
		return sdk.Step{}, &sdk.Error{Code: sdk.CodeProviderError, Private: "the server does not answer"}
	}
	if r.Status != 200 {
		return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeInvalidCredentials}}, nil
	}
	email := req.Fields["email"]
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: email, Email: email, EmailVerified: true}}}, nil
}

func (a *asks) Continue(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	return a.Begin(ctx, host, flow, req)
}
