// Package saml is the provider that believes SAML 2.0 identity providers: a service provider
// of the Web Browser SSO and the Single Logout profile, for several identity providers at a
// time. It owns who they are, what they must say for somebody to be logged in, and what of it
// becomes an identity. The gateway does the rest: it keeps and spends flows, checks and makes
// signatures, decrypts, fetches, and ends sessions.
//
// Nothing of an answer is believed that a signature did not cover, by a key of the metadata
// or the settings: what the host's check hands back is read, and the document that came is
// not looked at again. Before that, a document that could be understood in two ways is refused.
// Nobody is told why something was refused; the log says it in a word.
package saml

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

// Version is the version of the provider.
const Version = "1.0.0"

// The names of the forms.
const (
	formRedirect    = "redirect"
	formUnsolicited = "unsolicited"
	formSLO         = "slo"
)

// The forms by flow and name.
const (
	loginRedirect    = string(sdk.FlowLogin) + "/" + formRedirect
	loginUnsolicited = string(sdk.FlowLogin) + "/" + formUnsolicited
	linkRedirect     = string(sdk.FlowLink) + "/" + formRedirect
	logoutRedirect   = string(sdk.FlowLogout) + "/" + formRedirect
	logoutSLO        = string(sdk.FlowLogout) + "/" + formSLO
)

// The names of the fields.
const (
	fieldIdP       = "idp"
	fieldEmail     = "email"
	fieldWorkspace = "workspace_id"
)

// skew is how far the clocks of two sides may be apart.
const skew = 3 * time.Minute

var errNoForm = errors.New("saml: no such form")

// Provider is the provider. Make one with [New].
type Provider struct {
	settings  settings
	directory directory
	renewals  map[string]time.Time // when metadata was asked for out of turn, by name
}

var (
	_ sdk.Provider = (*Provider)(nil)
	_ sdk.Server   = (*Provider)(nil)
)

// New returns a provider, which knows nobody before it is configured.
func New() *Provider { return &Provider{directory: list(nil)} }

// Describe returns the manifest.
func (p *Provider) Describe() sdk.Manifest {
	where := []sdk.Field{
		{Name: fieldIdP, Label: "Identity provider", Type: "text"},
		{Name: fieldEmail, Label: "E-mail", Type: "email"},
		{Name: fieldWorkspace, Label: "Workspace", Type: "text"},
	}
	return sdk.Manifest{
		ID:      "saml",
		Version: Version,
		ABI:     sdk.ABI,
		Kind:    "saml",
		Forms: []sdk.Form{
			{Flow: sdk.FlowLogin, Name: formRedirect, Label: "Single sign-on", Fields: where},
			{Flow: sdk.FlowLink, Name: formRedirect, Label: "Link single sign-on", Fields: where},
			{Flow: sdk.FlowLogin, Name: formUnsolicited, Label: "From the identity provider", Fields: []sdk.Field{
				{Name: fieldResponse, Label: "Response", Type: "text", Required: true},
			}},
			{Flow: sdk.FlowLogout, Name: formRedirect, Label: "Log out at the identity provider"},
			{Flow: sdk.FlowLogout, Name: formSLO, Label: "Logged out by the identity provider", Fields: []sdk.Field{
				{Name: fieldRequest, Label: "Request", Type: "text"},
			}},
		},
		Capabilities: []sdk.Capability{sdk.CapabilityKV, sdk.CapabilityLog, sdk.CapabilityHTTP, sdk.CapabilityXMLDSig},
		ConfigSchema: []byte(schema),
	}
}

// Begin starts a flow: it sends a person to an identity provider, or takes what one sent by
// itself.
func (p *Provider) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	switch string(flow.Kind) + "/" + flow.Form {
	case loginRedirect, linkRedirect:
		return p.ask(ctx, host, flow, req)
	case loginUnsolicited:
		return p.unsolicited(ctx, host, flow, req)
	case logoutRedirect:
		return p.askLogout(ctx, host, flow, req)
	case logoutSLO:
		return p.logout(ctx, host, flow, req)
	}
	return sdk.Step{}, errNoForm
}

// Continue takes the answer of an identity provider.
func (p *Provider) Continue(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	switch string(flow.Kind) + "/" + flow.Form {
	case loginRedirect, linkRedirect:
		return p.answer(ctx, host, flow, req)
	case logoutRedirect:
		return p.loggedOut(ctx, host, flow, req)
	}
	return sdk.Step{}, errNoForm
}

// asked is what a flow remembers: whom it asked, and by what request.
type asked struct{ name, requestID string }

func (a asked) save() []byte { return join(a.name, a.requestID) }

func openAsked(saved []byte) (asked, error) {
	part, err := split(saved, 2)
	if err != nil || part[0] == "" || part[1] == "" {
		return asked{}, errMalformed
	}
	return asked{part[0], part[1]}, nil
}

var errMalformed = errors.New("saml: stored text is malformed")

// join writes what is stored: the form's version and the parts, a line each. None of the
// parts can hold a line break.
func join(part ...string) []byte { return []byte("1\n" + strings.Join(part, "\n")) }

// split reads what join wrote.
func split(b []byte, n int) ([]string, error) {
	part := strings.Split(string(b), "\n")
	if len(part) != n+1 || part[0] != "1" {
		return nil, errMalformed
	}
	return part[1:], nil
}
