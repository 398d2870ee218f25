// Package email is the provider that knows people by an e-mail address and a password:
// register, verify, log in, recover, change, and log in by a mailed link. It owns the
// rules of addresses and passwords and one record for each address. The gateway does the
// rest: it mints and spends the links, keeps what a link is about, hashes, writes and
// sends the mails, counts attempts, and ends sessions.
//
// No answer tells whether an address is known. Where it could, an unknown address takes
// the same steps and the same hashes as a known one, and the answers that differ are ones
// that the gateway makes equal (see [sdk.Mail] and [sdk.CodeUserNotFound]).
package email

import (
	"context"
	"errors"

	"github.com/materi/shield/sdk"
)

// Version is the version of the provider.
const Version = "1.0.0"

// The names of the forms.
const (
	formPassword  = "password"
	formMagicLink = "magic_link"
	formResend    = "resend"
	formForget    = "forget"
)

// The forms by flow and name.
const (
	loginPassword    = string(sdk.FlowLogin) + "/" + formPassword
	loginMagicLink   = string(sdk.FlowLogin) + "/" + formMagicLink
	registerPassword = string(sdk.FlowRegister) + "/" + formPassword
	verifyResend     = string(sdk.FlowVerify) + "/" + formResend
	recoverPassword  = string(sdk.FlowRecover) + "/" + formPassword
	changePassword   = string(sdk.FlowChange) + "/" + formPassword
	forgetSubject    = string(sdk.FlowForget) + "/" + formForget
)

// The names of the fields.
const (
	fieldEmail    = "email"
	fieldPassword = "password"
	fieldName     = "name"
	fieldCurrent  = "current_password"
	fieldNew      = "new_password"
)

// The mails that the gateway has words for.
const (
	mailVerify        = "verify"
	mailReset         = "reset"
	mailMagicLink     = "magic_link"
	mailAccountExists = "account_exists"
)

// Authentication methods, RFC 8176: a mailed link is a password that works once.
const (
	amrPassword = "pwd"
	amrOnce     = "otp"
)

var errNoForm = errors.New("email: no such form")

// Provider is the provider. Make one with [New].
type Provider struct {
	settings settings
}

var _ sdk.Provider = (*Provider)(nil)

// New returns a provider with the default settings.
func New() *Provider { return &Provider{settings: defaults()} }

// Describe returns the manifest.
func (p *Provider) Describe() sdk.Manifest {
	email := sdk.Field{Name: fieldEmail, Label: "E-mail", Type: "email", Required: true}
	password := sdk.Field{Name: fieldPassword, Label: "Password", Type: "password", Required: true}
	name := sdk.Field{Name: fieldName, Label: "Name", Type: "text"}
	current := sdk.Field{Name: fieldCurrent, Label: "Current password", Type: "password", Required: true}
	next := sdk.Field{Name: fieldNew, Label: "New password", Type: "password", Required: true}
	return sdk.Manifest{
		ID:      "email",
		Version: Version,
		ABI:     sdk.ABI,
		Kind:    "email",
		Forms: []sdk.Form{
			{Flow: sdk.FlowLogin, Name: formPassword, Label: "Log in", Fields: []sdk.Field{email, password}},
			{Flow: sdk.FlowLogin, Name: formMagicLink, Label: "Mail me a link", Fields: []sdk.Field{email}},
			{Flow: sdk.FlowRegister, Name: formPassword, Label: "Register", Fields: []sdk.Field{email, password, name}},
			{Flow: sdk.FlowVerify, Name: formResend, Label: "Send the link again", Fields: []sdk.Field{email}},
			{Flow: sdk.FlowRecover, Name: formPassword, Label: "Forgot password", Fields: []sdk.Field{email}},
			{Flow: sdk.FlowChange, Name: formPassword, Label: "Change password", Fields: []sdk.Field{current, next}},
			{Flow: sdk.FlowForget, Name: formForget},
		},
		Capabilities: []sdk.Capability{sdk.CapabilityKV, sdk.CapabilityPassword},
		ConfigSchema: []byte(schema),
	}
}

// Begin starts a flow with the fields of one of the forms.
func (p *Provider) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	switch string(flow.Kind) + "/" + flow.Form {
	case loginPassword:
		return p.login(ctx, host, req)
	case loginMagicLink:
		return p.mailMagicLink(ctx, host, req)
	case registerPassword:
		return p.register(ctx, host, req)
	case verifyResend:
		return p.resend(ctx, host, req)
	case recoverPassword:
		return p.mailReset(ctx, host, req)
	case changePassword:
		return p.change(ctx, host, flow, req)
	case forgetSubject:
		return p.forget(ctx, host, flow)
	}
	return sdk.Step{}, errNoForm
}

// Continue goes on with a flow whose mailed link was followed.
func (p *Provider) Continue(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	link, err := openLink(flow.Saved)
	if err != nil {
		return sdk.Step{}, err
	}
	switch string(flow.Kind) + "/" + flow.Form {
	case registerPassword, verifyResend:
		return p.verify(ctx, host, link)
	case loginMagicLink:
		return p.followMagicLink(ctx, host, link)
	case recoverPassword:
		return p.reset(ctx, host, link, req)
	}
	return sdk.Step{}, errNoForm
}

// deny is the step that says no.
func deny(code string, fields ...sdk.FieldError) sdk.Step {
	return sdk.Step{Denied: &sdk.Denied{Code: code, Fields: fields}}
}

// missing returns a fault for each of the fields that is empty.
func missing(req sdk.Request, names ...string) []sdk.FieldError {
	var faults []sdk.FieldError
	for _, name := range names {
		if req.Fields[name] == "" {
			faults = append(faults, sdk.FieldError{Field: name, Code: "required", Message: "This field is needed."})
		}
	}
	return faults
}
