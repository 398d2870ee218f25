// Package ldap is a provider that asks a directory: it finds the person's entry with an
// account of its own, and then binds as that entry with the person's password. It needs a
// socket, so it runs as a process.
//
// What a person typed reaches the directory escaped, in a filter (RFC 4515) or in a name
// (RFC 4514), and an empty password never does: a bind without one succeeds for anybody
// (RFC 4513 §5.1.2). Passwords travel over TLS, or on this machine alone.
package ldap

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
)

// Version is the version of the provider.
const Version = "1.0.0"

// The names of the form and of its fields.
const (
	formPassword  = "password"
	fieldLogin    = "login"
	fieldPassword = "password"
)

// secretPassword is the name of the secret with the password of the provider's own account.
const secretPassword = "bind_password"

// Bounds of what is sent to the directory.
const (
	maxLogin    = 256
	maxPassword = 1024
)

// Errors of a login that a person is not at fault for, or that are kept apart from a no.
var (
	errRefused   = errors.New("the directory refused the password")
	errNobody    = errors.New("not exactly one entry")
	errEntry     = errors.New("the entry lacks what the settings name")
	errNoSecret  = errors.New("the secret bind_password is missing or empty")
	errDirectory = errors.New("the directory cannot be asked")
)

// Provider is the provider. Make one with [New]. After Configure it is safe for concurrent
// use: each call has a connection of its own.
type Provider struct {
	settings settings
}

var _ sdk.Provider = (*Provider)(nil)

// New returns a provider that knows no directory until it is configured.
func New() *Provider { return &Provider{} }

// Describe returns the manifest.
func (p *Provider) Describe() sdk.Manifest {
	return sdk.Manifest{
		ID: "ldap", Version: Version, ABI: sdk.ABI, Kind: "ldap", Concurrent: true,
		Forms: []sdk.Form{{
			Flow: sdk.FlowLogin, Name: formPassword, Label: "Log in",
			Fields: []sdk.Field{
				{Name: fieldLogin, Label: "Name", Type: "text", Required: true},
				{Name: fieldPassword, Label: "Password", Type: "password", Required: true},
			},
		}},
		Capabilities: []sdk.Capability{sdk.CapabilitySecret},
		ConfigSchema: []byte(schema),
	}
}

// Begin logs a person in.
func (p *Provider) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	if flow.Kind != sdk.FlowLogin || flow.Form != formPassword {
		return deny(sdk.CodeValidation), nil
	}
	login, password := req.Fields[fieldLogin], req.Fields[fieldPassword]
	if login == "" || password == "" {
		return deny(sdk.CodeMissingField), nil
	}
	if !sendable(login, maxLogin) || !sendable(password, maxPassword) {
		return deny(sdk.CodeInvalidCredentials), nil
	}
	identity, err := p.identify(ctx, host, login, password)
	if errors.Is(err, errRefused) || errors.Is(err, errNobody) {
		return deny(sdk.CodeInvalidCredentials), nil
	}
	if err != nil {
		return sdk.Step{}, &sdk.Error{Code: sdk.CodeUnavailable, Private: err.Error()}
	}
	return sdk.Step{Done: &sdk.Done{Identity: identity}}, nil
}

// Continue has nothing to go on with.
func (p *Provider) Continue(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
	return sdk.Step{}, &sdk.Error{Code: sdk.CodeInternal, Private: "ldap: this provider has one step"}
}

func deny(code string) sdk.Step { return sdk.Step{Denied: &sdk.Denied{Code: code}} }

// sendable keeps out what no directory has, and what some end a string at.
func sendable(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}
