// Plain is a provider that believes everybody: the login form "password" asks for an
// address and takes any password, without hashing it. The form "magic_link" mails a link.
// Who logs in by it is named after the versions of the plugin that began and ended the flow.
package main

import (
	"context"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/serve"
)

// version is set at build time.
var version = "0"

var plugin = serve.Provider(plain{})

func main() { plugin.Main() }

type plain struct{}

func (plain) Describe() sdk.Manifest {
	address := sdk.Field{Name: "email", Type: "email", Required: true}
	return sdk.Manifest{
		ID: "plain", Version: "1.0." + version, ABI: sdk.ABI, Kind: "plain",
		Forms: []sdk.Form{
			{Flow: sdk.FlowLogin, Name: "password", Fields: []sdk.Field{address, {Name: "password", Type: "password", Required: true}}},
			{Flow: sdk.FlowLogin, Name: "magic_link", Fields: []sdk.Field{address}},
		},
	}
}

func (plain) Configure(settings []byte) []sdk.Fault {
	if string(settings) != "{}" {
		return []sdk.Fault{{Message: "there are no settings"}}
	}
	return nil
}

func (plain) Begin(_ context.Context, _ sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	email := req.Fields["email"]
	switch {
	case email == "":
		return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeMissingField}}, nil
	case flow.Form == "magic_link":
		return sdk.Step{Mail: &sdk.Mail{Template: "magic_link", To: email}, Save: []byte(version + email)}, nil
	}
	return done(email, "version "+version), nil
}

func (plain) Continue(_ context.Context, _ sdk.Host, flow sdk.Flow, _ sdk.Request) (sdk.Step, error) {
	began, email := string(flow.Saved[:1]), string(flow.Saved[1:])
	return done(email, "from "+began+" to "+version), nil
}

func done(email, name string) sdk.Step {
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: email, Email: email, EmailVerified: true, Name: name}}}
}
