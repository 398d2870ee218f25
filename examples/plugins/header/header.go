// Package header is a provider for programs and for people behind a corporate proxy: it
// knows them by a request header. Which headers it is shown, the operator says in the
// gateway's configuration.
//
// An API key is known by its digest alone: the HMAC under the secret "pepper", which the
// gateway keeps and computes, or for keys of full entropy their SHA-256. A corporate proxy
// signs what it says of a person, for one moment and for one use; see assertion.go.
package header

import (
	"context"
	"errors"

	"github.com/materi/shield/sdk"
)

// Version is the version of the provider.
const Version = "1.0.0"

// The names of the forms and of their field.
const (
	formKey   = "api_key"
	formProxy = "proxy"
	fieldKey  = "key"
)

var errOneStep = errors.New("header: this provider has one step")

// Provider is the provider. Make one with [New].
type Provider struct {
	settings settings
}

var _ sdk.Provider = (*Provider)(nil)

// New returns a provider that knows nobody until it is configured.
func New() *Provider { return &Provider{} }

// Describe returns the manifest.
func (p *Provider) Describe() sdk.Manifest {
	return sdk.Manifest{
		ID: "header", Version: Version, ABI: sdk.ABI, Kind: "header",
		Forms: []sdk.Form{
			// The field is for those who cannot set a header, such as a login page.
			{Flow: sdk.FlowLogin, Name: formKey, Label: "API key", Fields: []sdk.Field{{Name: fieldKey, Label: "API key", Type: "password"}}},
			{Flow: sdk.FlowLogin, Name: formProxy, Label: "Corporate account"},
		},
		Capabilities: []sdk.Capability{sdk.CapabilityKV, sdk.CapabilitySecret},
		ConfigSchema: []byte(schema),
	}
}

// Begin starts a flow, which is its end as well.
func (p *Provider) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	if flow.Kind != sdk.FlowLogin {
		return deny(sdk.CodeValidation), nil
	}
	switch flow.Form {
	case formKey:
		return p.byKey(ctx, host, req)
	case formProxy:
		return p.byProxy(ctx, host, req)
	}
	return deny(sdk.CodeValidation), nil
}

// Continue has nothing to go on with.
func (p *Provider) Continue(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
	return sdk.Step{}, &sdk.Error{Code: sdk.CodeInternal, Private: errOneStep.Error()}
}

func deny(code string) sdk.Step { return sdk.Step{Denied: &sdk.Denied{Code: code}} }

// trouble is what the host's error is for the person: a secret that is not there is the
// operator's mistake, anything else the host's own.
func trouble(err error) error {
	if errors.Is(err, sdk.ErrConflict) {
		return err // the gateway makes the call anew
	}
	e := &sdk.Error{Code: sdk.CodeInternal, Private: err.Error()}
	if errors.Is(err, sdk.ErrInvalid) || errors.Is(err, sdk.ErrNotGranted) {
		e.Code, e.Private = sdk.CodeUnavailable, "a secret of the provider's is not configured: "+err.Error()
	}
	return e
}
