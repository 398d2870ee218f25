package access

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/token"
)

// Auth is what a route demands of the sender.
type Auth string

// What a route can demand. There is no default: a rule without one is refused.
const (
	Required Auth = "required" // a valid token
	Optional Auth = "optional" // a valid token or none; never a bad one
	Public   Auth = "public"   // tokens are not looked at
)

// Rule says who may pass a [Access.Guard].
type Rule struct {
	Auth   Auth
	Scopes []string // the token must hold all of them
	Roles  []string // the token must hold one of them, in any workspace
	Own    bool     // only tokens that this gateway issued
}

// Public codes of the refusals.
const (
	codeInvalid     = "INVALID_TOKEN"
	codeExpired     = "TOKEN_EXPIRED"
	codeRevoked     = "TOKEN_REVOKED"
	codeScope       = "INSUFFICIENT_SCOPE"
	codePermissions = "INSUFFICIENT_PERMISSIONS"
)

// Causes of refusals, for the log.
var (
	errNoToken   = errors.New("no token")
	errScheme    = errors.New("not the Bearer scheme")
	errMalformed = errors.New("malformed credentials")
	errRevoked   = errors.New("session revoked")
	errForeign   = errors.New("token of another issuer")
	errScopes    = errors.New("a scope is missing")
	errRoles     = errors.New("no role of those that are allowed")
)

// The error attributes of a challenge (RFC 6750 §3.1). A request that did not even try gets
// none.
const (
	noError           = ""
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// Guard returns next behind a rule. The sender is known to next by [PrincipalOf] and to
// the access log. It fails on a rule that contradicts itself or decides nothing.
func (a *Access) Guard(rule Rule, next edge.Handler) (edge.Handler, error) {
	demands := len(rule.Scopes) > 0 || len(rule.Roles) > 0
	switch {
	case next == nil:
		return nil, errors.New("access: no handler to guard")
	case rule.Auth == Public && (demands || rule.Own):
		return nil, errors.New("access: a public rule cannot demand anything of a token")
	case rule.Auth == Optional && demands:
		return nil, errors.New("access: scopes and roles need a rule that requires a token")
	case slices.ContainsFunc(rule.Scopes, badScope):
		return nil, errors.New("access: a scope is empty or has a character that scopes cannot have")
	case rule.Auth == Public:
		return next, nil
	case rule.Auth != Required && rule.Auth != Optional:
		return nil, fmt.Errorf("access: auth is %q, want required, optional or public", rule.Auth)
	}
	guarded := func(ctx *fasthttp.RequestCtx) error {
		p, err := a.admit(ctx, rule)
		if err != nil {
			return a.count(err)
		}
		if p == nil {
			return next(ctx)
		}
		record := edge.RecordOf(ctx)
		record.Subject, record.SessionID = p.Subject, p.SessionID
		ctx.SetUserValue(principalKey{}, p)
		return next(ctx)
	}
	return guarded, nil
}

// badScope reports whether a scope breaks RFC 6749 §3.3, and so the challenge that names it.
func badScope(scope string) bool {
	return scope == "" || strings.ContainsFunc(scope, func(c rune) bool {
		return c <= ' ' || c == '"' || c == '\\' || c > '~'
	})
}

// admit returns the sender, or nil if none is named and none is needed.
func (a *Access) admit(ctx *fasthttp.RequestCtx, rule Rule) (*Principal, error) {
	raw, err := bearer(&ctx.Request.Header)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		if rule.Auth == Optional {
			return nil, nil
		}
		return nil, challenge(edge.Unauthorized(codeInvalid, "Authentication is required.", errNoToken), noError)
	}
	p, err := a.authenticate(raw)
	if err != nil {
		return nil, err
	}
	if err := rule.check(p); err != nil {
		return nil, err
	}
	return p, nil
}

// bearer returns the token of the Authorization header (RFC 6750 §2.1), nil if there is no
// such header. Tokens in the query or the body are not looked for (RFC 9700 §4.3.2).
func bearer(h *fasthttp.RequestHeader) ([]byte, error) {
	values := h.PeekAll(fasthttp.HeaderAuthorization)
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) > 1 {
		return nil, edge.BadRequest(edge.CodeBadRequest, "Authorization was sent more than once.", errMalformed)
	}
	scheme, raw, _ := bytes.Cut(bytes.Trim(values[0], " \t"), []byte(" "))
	if !bytes.EqualFold(scheme, []byte("bearer")) {
		return nil, challenge(edge.Unauthorized(codeInvalid, "Authentication with a bearer token is required.", errScheme), noError)
	}
	raw = bytes.TrimLeft(raw, " ")
	if len(raw) == 0 || len(raw) > token.MaxBytes || !isToken(raw) {
		return nil, challenge(edge.Unauthorized(codeInvalid, "The access token is not valid.", errMalformed), invalidToken)
	}
	return raw, nil
}

// isToken reports whether raw can be a JWT in its compact form: base64url and dots.
func isToken(raw []byte) bool {
	for _, c := range raw {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// refusal translates an error of the verifier.
func refusal(err error) error {
	switch {
	case errors.Is(err, token.ErrExpired):
		return challenge(edge.Unauthorized(codeExpired, "The access token has expired.", err), invalidToken)
	case errors.Is(err, token.ErrInvalid):
		return challenge(edge.Unauthorized(codeInvalid, "The access token is not valid.", err), invalidToken)
	case errors.Is(err, token.ErrUnavailable):
		return edge.Unavailable("The access token cannot be checked right now.", retryAfter, err)
	}
	return fmt.Errorf("verify access token: %w", err)
}

// check decides whether a principal may pass.
func (r Rule) check(p *Principal) error {
	if r.Own && !p.Own {
		return challenge(edge.Unauthorized(codeInvalid, "The access token is not valid here.", errForeign), invalidToken)
	}
	for _, scope := range r.Scopes {
		if !slices.Contains(p.Scopes, scope) {
			e := edge.Forbidden(codeScope, "The access token lacks a scope.", errScopes)
			return challenge(e, insufficientScope, `scope="`+strings.Join(r.Scopes, " ")+`"`)
		}
	}
	if len(r.Roles) > 0 && !slices.ContainsFunc(r.Roles, p.holdsRole) {
		return edge.Forbidden(codePermissions, "You are not permitted to do this.", errRoles)
	}
	return nil
}

func (p *Principal) holdsRole(role string) bool {
	if slices.Contains(p.RoleNames, role) {
		return true
	}
	for _, held := range p.Roles {
		if held == role {
			return true
		}
	}
	return false
}

// challenge adds the WWW-Authenticate header of RFC 6750 §3.
func challenge(e *edge.Error, kind string, more ...string) *edge.Error {
	params := []string{`Bearer realm="shield"`}
	if kind != noError {
		params = append(params, `error="`+kind+`"`)
	}
	return e.With(fasthttp.HeaderWWWAuthenticate, strings.Join(append(params, more...), ", "))
}

// count counts a refusal and returns it.
func (a *Access) count(err error) error {
	if e, ok := errors.AsType[*edge.Error](err); ok {
		a.metrics.refused.WithLabelValues(e.Code).Inc()
	}
	return err
}
