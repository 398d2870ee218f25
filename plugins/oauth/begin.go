package oauth

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

// call is one call of the provider with all that it hangs on.
type call struct {
	settings settings
	host     sdk.Host
	flow     sdk.Flow
	now      time.Time
}

// redirect sends the browser to the authorization endpoint.
func (c call) redirect(ctx context.Context, hint string) (sdk.Step, error) {
	e, at, err := c.endpoints(ctx)
	if err != nil {
		return sdk.Step{}, err
	}
	u, err := url.Parse(e.authorization)
	if err != nil {
		return sdk.Step{}, failed("authorization_endpoint is no URL")
	}
	q := c.question(hint)
	// What the endpoint has in its query stays there (RFC 6749 §3.1), but for what is ours.
	for name, values := range u.Query() {
		if !q.Has(name) {
			q[name] = values
		}
	}
	u.RawQuery = q.Encode()
	return sdk.Step{Redirect: &sdk.Redirect{URL: u.String()}, Save: []byte(c.began() + at)}, nil
}

// question is the authorization request: a code, bound to this flow by PKCE.
func (c call) question(hint string) url.Values {
	s := c.settings
	q := s.values()
	q.Set("response_type", "code")
	q.Set("client_id", s.clientID)
	q.Set("redirect_uri", c.flow.CallbackURL)
	q.Set("state", c.flow.State)
	q.Set("code_challenge", c.flow.PKCEChallenge)
	q.Set("code_challenge_method", "S256")
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("scope", strings.Join(s.scopes, " "))
	set("hd", s.hostedDomain)
	set("prompt", s.prompt)
	if s.connect {
		q.Set("nonce", c.flow.Nonce)
	}
	if s.maxAge > 0 {
		q.Set("max_age", strconv.Itoa(int(s.maxAge/time.Second)))
	}
	if isText(hint) && len(hint) <= maxHint {
		set(fieldHint, hint)
	}
	return q
}

// maxHint is the most of a login_hint that is handed on, in bytes: an address. A longer one
// is none.
const maxHint = 254

// began is what a flow keeps of how it began: which issuer it was sent to. If the settings
// name another one by the time that the browser is back, what it brings is not for that one.
// Behind it stands what the issuer said of itself, if it was asked: the second half goes to
// the same places, and does not depend on what is remembered, which others renew meanwhile.
func (c call) began() string { return "1\n" + c.settings.issuer + "\n" }
