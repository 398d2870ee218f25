package oauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/materi/shield/sdk"
)

// Claims that OpenID Connect names; those that can have another name are in [mapping].
const (
	claimSubject      = "sub"
	claimTenant       = "tid"
	claimHostedDomain = "hd"
	claimTokenHash    = "at_hash"
	claimSession      = "sid"
	claimMethods      = "amr"
	claimContext      = "acr"
)

// connected says who an id_token is about (OpenID Connect Core §3.1.3.7). iss is what the
// callback named, or nothing.
func (c call) connected(ctx context.Context, e endpoints, t tokens, iss string) (sdk.Identity, error) {
	unverified, err := readPayload(t.id)
	if err != nil {
		return sdk.Identity{}, refuse("id_token: malformed")
	}
	issuer, err := c.issuerOf(unverified)
	if err != nil {
		return sdk.Identity{}, err
	}
	if iss != "" && iss != issuer {
		return sdk.Identity{}, refuse("iss is of another tenant than the id_token")
	}
	v := sdk.JWTVerification{
		Token: t.id, Issuer: issuer, Audience: c.settings.clientID, Nonce: c.flow.Nonce, Algorithms: c.settings.algorithms,
		KeysURL: e.jwks, MaxAge: c.settings.maxAge,
	}
	// at_hash may be left out in this flow (§3.1.3.6), and the host demands it if it is to look
	// at it. A token that had it and says that it has not is none that the issuer signed.
	if unverified.has(claimTokenHash) {
		v.AccessToken = t.access
	}
	claims, err := c.verify(ctx, v)
	if err != nil {
		return sdk.Identity{}, err
	}
	// What counts is what the host says was signed. It is what was read before, or else that
	// was another token.
	if claims.has(claimTokenHash) != unverified.has(claimTokenHash) || claims.text(claimTenant) != unverified.text(claimTenant) {
		return sdk.Identity{}, refuse("id_token: it has two readings")
	}
	if want := c.settings.hostedDomain; want != "" && !strings.EqualFold(claims.text(claimHostedDomain), want) {
		return sdk.Identity{}, refusal{sdk.CodeForbidden, "id_token: hd is not the hosted_domain"}
	}
	more, err := c.more(ctx, e, t, claims)
	if err != nil {
		return sdk.Identity{}, err
	}
	return c.identity(issuer, t, claims, more)
}

// issuerOf returns the issuer that a token has to be of. It follows from the settings; where
// those leave the tenant open, the token says which, and is then held to it.
func (c call) issuerOf(unverified object) (string, error) {
	if !strings.Contains(c.settings.issuer, tenantIDMark) {
		return c.settings.issuer, nil
	}
	tenant := unverified.text(claimTenant)
	if !isUUID(tenant) {
		return "", refuse("id_token: tid is no tenant")
	}
	if len(c.settings.tenants) > 0 && !slices.Contains(c.settings.tenants, tenant) {
		return "", refusal{sdk.CodeForbidden, "id_token: the tenant is not among allowed_tenants"}
	}
	return strings.Replace(c.settings.issuer, tenantIDMark, tenant, 1), nil
}

// verify has the host check a token and returns its claims.
func (c call) verify(ctx context.Context, v sdk.JWTVerification) (object, error) {
	claims, err := c.host.JWT().Verify(ctx, v)
	if refused, ok := errors.AsType[*sdk.Refused](err); ok {
		return nil, refuse("id_token: " + refused.Reason)
	}
	if errors.Is(err, sdk.ErrUnreachable) || errors.Is(err, sdk.ErrDenied) {
		return nil, failed("jwks_uri: there are no keys from %s; is it listed in http.allow?", hostOf(v.KeysURL))
	}
	if err != nil {
		return nil, fmt.Errorf("check the id_token: %w", err)
	}
	o, err := readObject(claims)
	if err != nil {
		return nil, refuse("id_token: malformed")
	}
	return o, nil
}

// readPayload reads what a JWT says, which nobody has checked.
func readPayload(token string) (object, error) {
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return nil, errNoObject
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(part[1])
	if err != nil {
		return nil, errNoObject
	}
	return readObject(payload)
}

// more returns what the userinfo endpoint says, if the token does not say all that is
// wanted.
func (c call) more(ctx context.Context, e endpoints, t tokens, claims object) (object, error) {
	m := c.settings.claims
	wanted := m.email != "" && claims.at(m.email) == nil || m.groups != "" && claims.at(m.groups) == nil
	if !wanted || e.userinfo == "" {
		return nil, nil
	}
	o, err := c.userinfo(ctx, e, t)
	if err != nil {
		return nil, err
	}
	// Else somebody else's access token would tell of somebody else (§5.3.2).
	if subject := claims.text(claimSubject); subject == "" || o.text(claimSubject) != subject {
		return nil, refuse("userinfo is about somebody else than the id_token")
	}
	return o, nil
}

// plain says who an access token is of. It was given for a code that only this client could
// trade, so whose it is, who logged in.
func (c call) plain(ctx context.Context, e endpoints, t tokens) (sdk.Identity, error) {
	claims, err := c.userinfo(ctx, e, t)
	if err != nil {
		return sdk.Identity{}, err
	}
	id, err := c.identity(c.settings.issuer, t, claims, nil)
	if err != nil || e.emails == "" {
		return id, err
	}
	id.Email, err = c.address(ctx, e, t)
	id.EmailVerified = id.Email != ""
	return id, err
}

func (c call) userinfo(ctx context.Context, e endpoints, t tokens) (object, error) {
	body, err := c.show(ctx, "userinfo_endpoint", e.userinfo, t)
	if err != nil {
		return nil, err
	}
	return readUserinfo(body)
}

func readUserinfo(body []byte) (object, error) {
	o, err := readObject(body)
	if err != nil {
		return nil, failed("userinfo_endpoint: the answer is %v", err)
	}
	return o, nil
}

// show asks an endpoint with the access token.
func (c call) show(ctx context.Context, what, address string, t tokens) ([]byte, error) {
	answer, err := c.fetch(ctx, what, sdk.HTTPRequest{
		Method: "GET", URL: address, Header: append(accept(), sdk.HTTPHeader{Name: "Authorization", Value: "Bearer " + t.access}),
	})
	if err != nil {
		return nil, err
	}
	// People can choose at some sites what the token is good for.
	if answer.Status != 200 {
		return nil, unclear(fmt.Sprintf("%s: status %d; look at scopes", what, answer.Status))
	}
	return answer.Body, nil
}

// address returns the person's primary address if the other side has verified it, else none.
// The one in the profile is what the person wrote there.
func (c call) address(ctx context.Context, e endpoints, t tokens) (string, error) {
	body, err := c.show(ctx, "emails_endpoint", e.emails, t)
	if err != nil {
		return "", err
	}
	return readEmails(body)
}

func readEmails(body []byte) (string, error) {
	list, ok := readList(body)
	if !ok {
		return "", failed("emails_endpoint: the answer is no list")
	}
	for _, raw := range list {
		o, err := readObject(raw)
		if err != nil {
			return "", failed("emails_endpoint: an element is %v", err)
		}
		if string(o["primary"]) == "true" && string(o["verified"]) == "true" {
			return addressOf(o["email"]), nil
		}
	}
	return "", nil
}

// identity is what claims say of a person, and what more says beside them. Who it is comes
// from the claims alone.
func (c call) identity(issuer string, t tokens, claims, more object) (sdk.Identity, error) {
	m := c.settings.claims
	subject, err := subjectOf(m.subject, claims)
	if err != nil {
		return sdk.Identity{}, err
	}
	first := func(name string) json.RawMessage {
		if name == "" {
			return nil
		}
		if value := claims.at(name); value != nil {
			return value
		}
		return more.at(name)
	}
	id := sdk.Identity{
		Issuer: issuer, Subject: subject,
		Name: lineOf(first(m.name)), AvatarURL: pictureOf(first(m.picture)),
		Groups: namesOf(first(m.groups), maxGroups, maxLine),
	}
	// An address and whether it is verified are said together.
	said := claims
	if m.email != "" && claims.at(m.email) == nil {
		said = more
	}
	if m.email != "" {
		id.Email = addressOf(said.at(m.email))
	}
	id.EmailVerified = id.Email != "" && m.emailVerified != "" && isTrue(said.at(m.emailVerified))
	if c.settings.connect {
		id.AMR = namesOf(claims[claimMethods], maxMethods, maxMethod)
		id.ACR = plainOf(claims[claimContext], maxLine)
		id.Session = plainOf(claims[claimSession], maxSession)
	}
	if c.settings.keepTokens {
		id.Tokens = t.keep(c.host.Log)
	}
	return id, nil
}
