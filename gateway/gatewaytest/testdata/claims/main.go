// Claims is a provider that says of people whatever its login form "claim" is told: what an
// identity provider says that verifies nothing, or that an attacker runs.
package main

import (
	"context"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/serve"
)

var plugin = serve.Provider(claims{})

func main() { plugin.Main() }

type claims struct{}

func (claims) Describe() sdk.Manifest {
	return sdk.Manifest{
		ID: "claims", Version: "1.0.0", ABI: sdk.ABI, Kind: "claims",
		Forms: []sdk.Form{{Flow: sdk.FlowLogin, Name: "claim", Fields: []sdk.Field{
			text("issuer"), {Name: "subject", Type: "text", Required: true}, text("email"), text("verified"), text("name"), text("tokens"),
		}}},
	}
}

func text(name string) sdk.Field { return sdk.Field{Name: name, Type: "text"} }

func (claims) Configure([]byte) []sdk.Fault { return nil }

func (claims) Begin(_ context.Context, _ sdk.Host, _ sdk.Flow, req sdk.Request) (sdk.Step, error) {
	f := req.Fields
	if f["subject"] == "" {
		return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeMissingField}}, nil
	}
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{
		Issuer: f["issuer"], Subject: f["subject"], Email: f["email"], EmailVerified: f["verified"] == "yes", Name: f["name"], Tokens: []byte(f["tokens"]),
	}}}, nil
}

func (claims) Continue(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
	return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeInvalidToken}}, nil
}
