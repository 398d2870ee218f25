package saml

import (
	"errors"

	"github.com/materi/shield/sdk"
)

// refusal says no, with a word for the log that nobody else sees: who forges an answer learns
// nothing from how it was found.
type refusal struct{ code, reason string }

func (r *refusal) Error() string { return r.code + ": " + r.reason }

// invalid is about what a message says.
func invalid(reason string) error { return &refusal{sdk.CodeSAMLAssertion, reason} }

// unsigned is about who said it.
func unsigned(reason string) error { return &refusal{sdk.CodeSAMLSignature, reason} }

// unknown is about whom to ask.
func unknown(reason string) error { return &refusal{sdk.CodeSAMLNotConfigured, reason} }

// answered turns a refusal into the step that says no. Any other error stays one.
func answered(host sdk.Host, i *idp, step sdk.Step, err error) (sdk.Step, error) {
	if i != nil {
		step.Party = i.name
	}
	if err == nil {
		return step, nil
	}
	r, ok := errors.AsType[*refusal](err)
	if !ok && errors.Is(err, errXML) {
		r, ok = &refusal{sdk.CodeSAMLAssertion, "malformed"}, true
	}
	if !ok {
		return sdk.Step{}, err
	}
	host.Log(sdk.LevelWarn, "message refused", "idp", step.Party, "reason", r.reason)
	return sdk.Step{Denied: &sdk.Denied{Code: r.code}, Party: step.Party}, nil
}
