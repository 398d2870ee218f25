package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/materi/shield/sdk"
)

// maxCode is the most bytes of a code.
const maxCode = 8 << 10

// refusal is an answer to a login that does not hold. It is told as one, with the reason in
// the log.
type refusal struct {
	code   string
	reason string
}

// Error returns the reason.
func (r refusal) Error() string { return r.reason }

// refuse says that the other side did not grant the login, or that what it gave does not
// hold.
func refuse(reason string) error { return refusal{sdk.CodeOAuthCode, reason} }

// unclear says that the other side failed, or that the settings do not fit to it, where that
// could also be a browser's doing. Unlike [failed] it is an answer and no failure: nobody shall
// be able to have the other side taken for broken by coming back with ?error=server_error.
func unclear(reason string) error { return refusal{sdk.CodeProviderError, reason} }

// returned answers the browser that is back from the other side.
func (c call) returned(ctx context.Context, fields map[string]string) (sdk.Step, error) {
	id, err := c.login(ctx, fields)
	if r, ok := errors.AsType[refusal](err); ok {
		c.host.Log(sdk.LevelWarn, "login refused", "reason", r.reason)
		return sdk.Step{Denied: &sdk.Denied{Code: r.code}}, nil
	}
	if err != nil {
		return sdk.Step{}, err
	}
	return sdk.Step{Done: &sdk.Done{Identity: id}}, nil
}

// login finds out who it is.
func (c call) login(ctx context.Context, fields map[string]string) (sdk.Identity, error) {
	e, err := c.endpointsOf(ctx, c.flow.Saved)
	if err != nil {
		return sdk.Identity{}, err
	}
	if err := c.callback(e, fields); err != nil {
		return sdk.Identity{}, err
	}
	t, err := c.exchange(ctx, e, fields["code"])
	if err != nil {
		return sdk.Identity{}, err
	}
	if c.settings.connect {
		return c.connected(ctx, e, t, fields["iss"])
	}
	return c.plain(ctx, e, t)
}

// callback checks what the browser brought, before anything of it is used.
func (c call) callback(e endpoints, fields map[string]string) error {
	// The gateway has looked at it already; it is the one thing that ties the answer to the
	// question.
	if fields["state"] != c.flow.State || c.flow.State == "" {
		return refuse("state")
	}
	// RFC 9207: an answer of another server, to which this browser was lured in between, is
	// not taken to this one. It counts for errors as well.
	iss, named := fields["iss"]
	if e.iss && !named {
		return refuse("iss is missing")
	}
	if named && !c.issued(iss) {
		return refuse("iss is of another issuer")
	}
	if code, failed := fields["error"]; failed {
		return answered(code)
	}
	code := fields["code"]
	if code == "" || len(code) > maxCode || strings.ContainsFunc(code, func(r rune) bool { return r < ' ' || r > '~' }) {
		return refuse("no code")
	}
	return nil
}

// issued reports whether an issuer is ours, whichever of its tenants is meant.
func (c call) issued(iss string) bool {
	before, after, tenanted := strings.Cut(c.settings.issuer, tenantIDMark)
	if !tenanted {
		return iss == c.settings.issuer
	}
	id, okBefore := strings.CutPrefix(iss, before)
	id, okAfter := strings.CutSuffix(id, after)
	return okBefore && okAfter && isUUID(id)
}

// declined are the errors that say no to this person, this time (RFC 6749 §4.1.2.1, OpenID
// Connect Core §3.1.2.6).
var declined = []string{
	"access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required",
}

// answered is what an error in the callback amounts to. It is the browser that says so, and
// what it says is not repeated.
func answered(code string) error {
	if slices.Contains(declined, code) {
		return refuse(code)
	}
	switch code {
	case "server_error", "temporarily_unavailable":
		return unclear("the other side answers: " + code)
	case "invalid_request", "invalid_scope", "unauthorized_client", "unsupported_response_type":
		return unclear("the other side answers: " + code + "; look at scopes, client_id and the callback URL that is registered there")
	}
	return unclear("the other side answers with an unknown error")
}
