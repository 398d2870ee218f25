// Package oauth is the provider that knows people by another site that they log in at: by
// OpenID Connect, or by OAuth 2.0 with a document about the person. One instance is for one
// such site. It owns how that site is asked, and what of its answers is believed. The gateway
// does the rest: it makes state, nonce and PKCE, binds them to the browser and spends them,
// fetches, checks signatures, holds the client's secrets, and decides which user is meant.
//
// Google, GitHub and Microsoft are presets: values of the same settings that an operator can
// write for any other site. No code is about one of them alone.
package oauth

import (
	"context"
	"errors"

	"github.com/materi/shield/sdk"
)

// Version is the version of the provider.
const Version = "1.0.0"

// form is the name of the one form: the browser is sent to the other site.
const form = "redirect"

// fieldHint is what the person is likely to be called at the other site.
const fieldHint = "login_hint"

var errNoForm = errors.New("oauth: no such form")

// Provider is the provider. Make one with [New].
type Provider struct {
	settings settings
}

var _ sdk.Provider = (*Provider)(nil)

// New returns a provider, which can do nothing before it is configured.
func New() *Provider { return &Provider{} }

// Describe returns the manifest.
func (p *Provider) Describe() sdk.Manifest {
	hint := []sdk.Field{{Name: fieldHint, Label: "Name or e-mail there", Type: "text"}}
	return sdk.Manifest{
		ID:      "oauth",
		Version: Version,
		ABI:     sdk.ABI,
		Kind:    "oauth",
		Forms: []sdk.Form{
			{Flow: sdk.FlowLogin, Name: form, Label: "Log in", Fields: hint},
			{Flow: sdk.FlowLink, Name: form, Label: "Link", Fields: hint},
		},
		Capabilities: []sdk.Capability{
			sdk.CapabilityKV, sdk.CapabilityLog, sdk.CapabilityHTTP, sdk.CapabilityJWT, sdk.CapabilitySecret,
		},
		ConfigSchema: schema,
	}
}

// Begin sends the browser to the other site.
func (p *Provider) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	if !known(flow) {
		return sdk.Step{}, errNoForm
	}
	c := call{settings: p.settings, host: host, flow: flow, now: req.Now}
	return c.redirect(ctx, req.Fields[fieldHint])
}

// Continue takes what the other site sent the browser back with.
func (p *Provider) Continue(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	if !known(flow) {
		return sdk.Step{}, errNoForm
	}
	c := call{settings: p.settings, host: host, flow: flow, now: req.Now}
	return c.returned(ctx, req.Fields)
}

func known(flow sdk.Flow) bool {
	return flow.Form == form && (flow.Kind == sdk.FlowLogin || flow.Kind == sdk.FlowLink)
}
