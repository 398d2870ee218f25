package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

// tokens are what the token endpoint gave.
type tokens struct {
	access, refresh, id, scope string
	expires                    time.Time // zero: it did not say
}

// exchange trades the code (RFC 6749 §4.1.3, RFC 7636 §4.5).
func (c call) exchange(ctx context.Context, e endpoints, code string) (tokens, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.flow.CallbackURL}, "code_verifier": {c.flow.PKCEVerifier},
	}
	header := append(accept(), sdk.HTTPHeader{Name: "Content-Type", Value: "application/x-www-form-urlencoded"})
	header, err := c.authenticate(ctx, e, form, header)
	if err != nil {
		return tokens{}, err
	}
	answer, err := c.fetch(ctx, "token_endpoint", sdk.HTTPRequest{Method: "POST", URL: e.token, Header: header, Body: []byte(form.Encode())})
	if err != nil {
		return tokens{}, err
	}
	t, err := readTokens(answer.Status, answer.Body, c.now)
	if err == nil && c.settings.connect && t.id == "" {
		return tokens{}, failed("token_endpoint: there is no id_token; does the other side speak OpenID Connect?")
	}
	return t, err
}

// authenticate adds to a request what proves that it is the client's.
func (c call) authenticate(ctx context.Context, e endpoints, form url.Values, header []sdk.HTTPHeader) ([]sdk.HTTPHeader, error) {
	id := c.settings.clientID
	if c.settings.clientAuth == authKey {
		assertion, err := c.assertion(ctx, e)
		form.Set("client_id", id)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
		return header, err
	}
	secret, found, err := c.host.Secrets().Get(ctx, secretClient)
	if errors.Is(err, sdk.ErrDenied) {
		return nil, failed("the secret %s is a private key; name it %s and set client_auth: %s", secretClient, secretKey, authKey)
	}
	if err != nil {
		return nil, fmt.Errorf("read the client's secret: %w", err)
	}
	if !found {
		return nil, failed("there is no secret %s; write it under secrets", secretClient)
	}
	if c.settings.clientAuth == authPost {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
		return header, nil
	}
	// Each half is form-encoded first (RFC 6749 §2.3.1), so that a colon in it is none.
	both := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	return append(header, sdk.HTTPHeader{Name: "Authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte(both))}), nil
}

// assertion is the client's own token (RFC 7523 §2.2). The gateway adds times and an
// identifier.
func (c call) assertion(ctx context.Context, e endpoints) (string, error) {
	audience := c.settings.issuer
	if c.settings.keyAudience == audienceToken {
		audience = e.token
	}
	id := quoted(c.settings.clientID)
	signed, err := c.host.JWT().Sign(ctx, sdk.JWTAssertion{
		Claims: []byte(`{"iss":` + id + `,"sub":` + id + `,"aud":` + quoted(audience) + `}`), Secret: secretKey, Algorithm: c.settings.keyAlgorithm, KeyID: c.settings.keyID,
	})
	if errors.Is(err, sdk.ErrInvalid) || errors.Is(err, sdk.ErrDenied) {
		return "", failed("the client's assertion cannot be signed; is the secret %s a private key for %s?", secretKey, c.settings.keyAlgorithm)
	}
	if err != nil {
		return "", fmt.Errorf("sign the client's assertion: %w", err)
	}
	return signed, nil
}

// readTokens reads the answer of a token endpoint (RFC 6749 §5). Some say 200 and mean an
// error.
func readTokens(status int, body []byte, now time.Time) (tokens, error) {
	o, err := readObject(body)
	if err == nil && o.has("error") {
		return tokens{}, tokenError(o.text("error"))
	}
	if status != 200 {
		return tokens{}, unclear(fmt.Sprintf("token_endpoint: status %d", status))
	}
	if err != nil {
		return tokens{}, failed("token_endpoint: the answer is %v", err)
	}
	if !strings.EqualFold(o.text("token_type"), "bearer") {
		return tokens{}, failed("token_endpoint: the token is no bearer token")
	}
	t := tokens{access: o.text("access_token"), refresh: o.text("refresh_token"), id: o.text("id_token"), scope: o.text("scope")}
	if !isToken(t.access) {
		return tokens{}, failed("token_endpoint: there is no access_token")
	}
	// Some write the number as a text.
	if seconds, err := strconv.Atoi(nameOf(o["expires_in"])); err == nil && seconds > 0 && seconds < maxLifetime {
		t.expires = now.Add(time.Duration(seconds) * time.Second)
	}
	return t, nil
}

// maxLifetime is how many seconds a token may last; beyond, it is as if it were not said.
const maxLifetime = 10 * 366 * 24 * 3600

// tokenError is what an error of a token endpoint amounts to. Codes come from browsers, so
// what a wrong one may cause is not counted against the other side.
func tokenError(code string) error {
	switch code {
	case "invalid_grant", "bad_verification_code":
		return refuse("the code is not valid any more, or not for this login")
	case "invalid_client", "unauthorized_client", "incorrect_client_credentials":
		return failed("token_endpoint: the client is refused; look at client_id, client_auth and the client's secret or key")
	case "server_error", "temporarily_unavailable":
		return failed("token_endpoint: the other side answers: %s", code)
	case "redirect_uri_mismatch":
		return unclear("token_endpoint: redirect_uri_mismatch; register the callback URL there as it is here")
	case "invalid_request", "unsupported_grant_type", "invalid_scope":
		return unclear("token_endpoint: " + code)
	}
	return unclear("token_endpoint: the other side answers with an unknown error")
}

// isToken reports whether s can be sent as a bearer token (RFC 6750 §2.1, and what is sent
// in spite of it).
func isToken(s string) bool {
	const most = 12 << 10 // of a header there is not much more
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// keep writes the tokens for later use, as the members of a token answer with expires_at in
// seconds since 1970. Ones that are too long are not kept; the login is good without.
func (t tokens) keep(log func(sdk.Level, string, ...string)) []byte {
	out := `{"access_token":` + quoted(t.access)
	if t.refresh != "" {
		out += `,"refresh_token":` + quoted(t.refresh)
	}
	if !t.expires.IsZero() {
		out += `,"expires_at":` + strconv.FormatInt(t.expires.Unix(), 10)
	}
	if t.scope != "" {
		out += `,"scope":` + quoted(t.scope)
	}
	out += "}"
	if len(out) > sdk.MaxTokens {
		log(sdk.LevelWarn, "tokens are too long to be kept")
		return nil
	}
	return []byte(out)
}
