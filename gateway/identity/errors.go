package identity

import (
	"context"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/sdk"
)

// Codes that only this package answers with.
const (
	codeTokenRevoked   = "TOKEN_REVOKED"
	codeRefreshExpired = "REFRESH_TOKEN_EXPIRED"
	codeCircuitOpen    = "SSO_CIRCUIT_OPEN"
)

// bearer is the WWW-Authenticate of a 401 without a token: RFC 6750 §3.
const bearer = `Bearer realm="shield"`

// answer is how a public code is told.
type answer struct {
	status  int
	message string
}

// answers are the codes that a provider or the account rules may end a flow with. A code
// that is not here is a provider's fault.
var answers = map[string]answer{
	sdk.CodeInvalidCredentials: {401, "The credentials are not right."},
	sdk.CodeEmailNotVerified:   {403, "The e-mail address is not verified yet."},
	login.CodeSuspended:        {403, "The account is suspended."},
	sdk.CodeEmailExists:        {409, "An account with this e-mail address exists."},
	sdk.CodeInvalidEmail:       {422, "This is not an e-mail address."},
	sdk.CodeWeakPassword:       {400, "The password is too weak."},
	sdk.CodeValidation:         {422, "Some fields are not right."},
	sdk.CodeMissingField:       {400, "A required field is missing."},
	sdk.CodeInvalidToken:       {400, "The link is not valid any more."},
	sdk.CodeUserNotFound:       {404, "There is no such user."},
	sdk.CodeProviderError:      {502, "The identity provider failed."},
	sdk.CodeOAuthCode:          {400, "The login at the other site was not granted, or its code is not valid any more."},
	codeState:                  {400, "This login is unknown here, or not of this browser, or over. Begin again."},
	sdk.CodeSAMLNotConfigured:  {400, "There is no identity provider for this."},
	sdk.CodeSAMLAssertion:      {400, "The answer of the identity provider is not valid, or not any more."},
	sdk.CodeSAMLSignature:      {400, "The answer of the identity provider has no valid signature."},
	sdk.CodeForbidden:          {403, "This account may not sign in here."},
	login.CodeDuplicate:        {409, "This login is linked to another account."},
	sdk.CodeUnavailable:        {503, "The service is not available now."},
}

// translate words an error of the packages below.
func (a *API) translate(err error) error {
	if _, ok := errors.AsType[*edge.Error](err); ok {
		return err
	}
	if denied, ok := errors.AsType[*login.Denied](err); ok {
		return a.denied(denied, err)
	}
	if open, ok := errors.AsType[*plugin.CircuitOpen](err); ok {
		e := edge.Unavailable("The identity provider does not answer. Try again later.", open.RetryAfter, err)
		e.Code = codeCircuitOpen
		return e
	}
	if failed, ok := errors.AsType[*sdk.Error](err); ok {
		return coded(failed.Code, nil, err)
	}
	if _, ok := errors.AsType[*plugin.Fault](err); ok {
		return edge.Unavailable("The identity provider is not available now.", 2*time.Second, err)
	}
	switch {
	case errors.Is(err, login.ErrSpent):
		return coded(sdk.CodeInvalidToken, nil, err)
	case errors.Is(err, plugin.ErrUnknown):
		return edge.NotFound(edge.CodeNotFound, "There is no such identity provider.", err)
	case errors.Is(err, account.ErrNotFound):
		return coded(sdk.CodeUserNotFound, nil, err)
	case errors.Is(err, account.ErrConflict):
		return coded(sdk.CodeEmailExists, nil, err)
	case errors.Is(err, session.ErrInvalid):
		return unauthorized("INVALID_TOKEN", "The refresh token is not valid.", err)
	case errors.Is(err, session.ErrExpired):
		return unauthorized(codeRefreshExpired, "The refresh token has expired. Sign in again.", err)
	case errors.Is(err, session.ErrRevoked), errors.Is(err, session.ErrReused):
		return unauthorized(codeTokenRevoked, "The session has ended. Sign in again.", err)
	case errors.Is(err, login.ErrChanged):
		return edge.Unavailable("Too many attempts at once. Try again.", time.Second, err)
	case a.Unavailable(err), errors.Is(err, context.DeadlineExceeded):
		return edge.Unavailable("The service is not available now.", 5*time.Second, err)
	}
	return err
}

// denied words a no of a provider or of the account rules.
func (a *API) denied(d *login.Denied, cause error) error {
	err := coded(d.Code, d.Fields, cause)
	if e, ok := errors.AsType[*edge.Error](err); ok && d.Link {
		e.Message = "An account with this e-mail address exists. Sign in as before, and link this login from the account."
		e.Details = map[string]bool{"link": true}
	}
	return err
}

func coded(code string, fields []sdk.FieldError, cause error) error {
	known, ok := answers[code]
	if !ok {
		return edge.Internal(cause)
	}
	e := edge.NewError(known.status, code, known.message, cause)
	if known.status == fasthttp.StatusUnauthorized {
		e.With(fasthttp.HeaderWWWAuthenticate, bearer)
	}
	if known.status == fasthttp.StatusServiceUnavailable {
		e.With(fasthttp.HeaderRetryAfter, "5")
	}
	if len(fields) > 0 {
		e.Details = fieldDetails(fields)
	}
	return e
}

func unauthorized(code, message string, cause error) error {
	return edge.Unauthorized(code, message, cause).With(fasthttp.HeaderWWWAuthenticate, bearer)
}

type fieldFault struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func fieldDetails(faults []sdk.FieldError) any {
	out := struct {
		Fields []fieldFault `json:"fields"`
	}{Fields: make([]fieldFault, 0, len(faults))}
	for _, f := range faults {
		out.Fields = append(out.Fields, fieldFault(f))
	}
	return out
}
