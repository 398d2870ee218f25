// Package identity is the HTTP face of the gateway's own endpoints: /auth, /api/users and
// /.well-known. It reads requests, calls the packages that decide (login, session, token)
// and words their answers. It decides nothing itself.
package identity

import (
	"context"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/access"
	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/ratelimit"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/gateway/token"
	"github.com/materi/shield/sdk"
)

// flows is what identity needs of package login.
type flows interface {
	Begin(ctx context.Context, a login.Attempt) (login.Outcome, error)
	Continue(ctx context.Context, token string, purposes []sdk.FlowKind, a login.Attempt) (login.Outcome, error)
	Arrive(ctx context.Context, state, browser string, kinds []sdk.FlowKind, a login.Attempt) (login.Outcome, error)
	Exchange(ctx context.Context, code, verifier string, a login.Attempt) (login.Outcome, error)
	StartLink(ctx context.Context, provider string, caller login.Caller, back login.Return) (string, error)
	Logout(ctx context.Context, a login.Attempt) (login.Outcome, error)
	Unlink(ctx context.Context, caller login.Caller, identityID string, from login.Client) error
}

// sessions is what identity needs of package session.
type sessions interface {
	RefreshIf(ctx context.Context, raw string, admit func(sessionID string) error) (session.Session, string, error)
	RevokeToken(ctx context.Context, raw, reason string) error
	Revoke(ctx context.Context, userID, sessionID, reason string) error
	RevokeAll(ctx context.Context, userID, except, reason string) ([]string, error)
	List(ctx context.Context, userID string) ([]session.Session, error)
	// Issued counts an access token that was issued, or that could not be.
	Issued(err error)
}

// users is what identity needs of the store.
type users interface {
	User(ctx context.Context, id string) (account.User, error)
	// IdentitiesOf returns the logins of a user, oldest first.
	IdentitiesOf(ctx context.Context, userID string) ([]account.Identity, error)
}

// issuer signs access tokens.
type issuer interface {
	Issue(ctx context.Context, c token.Claims) (string, time.Time, error)
}

// limiter counts attempts under a named limit.
type limiter interface {
	// Check takes one from the budget of parts, and returns the 429 when there is none.
	Check(ctx *fasthttp.RequestCtx, name string, parts ...string) error
}

// Options are the needs of [New]. All fields are required.
type Options struct {
	Flows     flows
	Sessions  sessions
	Users     users
	Issuer    issuer
	JWKS      func() []byte
	Providers func() []plugin.Info
	Loading   func() bool // whether a provider is still missing from Providers
	Document  func(ctx context.Context, provider string, req sdk.Request) (sdk.Response, error)
	Limiter   limiter
	// Proven reports whether a user's address may be told to others as theirs.
	Proven func(account.User) bool
	// Unavailable reports whether an error means that the store cannot be reached.
	Unavailable func(error) bool
	PublicURL   string
	Token       config.Token
	Session     config.Session
	Login       config.Login
	BodyBytes   int64
	Now         func() time.Time
}

// API serves the endpoints. It is safe for concurrent use.
type API struct{ Options }

// callTimeout bounds the work behind one request of the gateway's own endpoints.
const callTimeout = 20 * time.Second

// New returns the endpoints.
func New(o Options) (*API, error) {
	if o.Flows == nil || o.Sessions == nil || o.Users == nil || o.Issuer == nil || o.JWKS == nil || o.Providers == nil || o.Loading == nil || o.Document == nil ||
		o.Limiter == nil || o.Unavailable == nil || o.Proven == nil || o.Now == nil || o.BodyBytes <= 0 {
		return nil, errors.New("identity: every option is required")
	}
	return &API{o}, nil
}

// Endpoint is one call of the API.
type Endpoint struct {
	Name    string // for logs and metrics
	Method  string
	Pattern string      // as in route.Entry; every one also answers under /v1
	Auth    access.Auth // whether it needs a valid access token of this gateway
	Serve   func(ctx *fasthttp.RequestCtx, params Params) error
}

// Params are the open segments of a pattern.
type Params func(name string) string

// Endpoints lists the API in the order of its documentation.
func (a *API) Endpoints() []Endpoint {
	return []Endpoint{
		{"auth.register", "POST", "/auth/register", access.Public, a.register},
		{"auth.verify", "GET", "/auth/verify/{token}", access.Public, a.verify},
		{"auth.verify.resend", "POST", "/auth/verify/resend", access.Public, a.resend},
		{"auth.login", "POST", "/auth/login", access.Public, a.login},
		{"auth.password-reset", "POST", "/auth/password-reset", access.Public, a.resetPassword},
		{"auth.password-reset.confirm", "POST", "/auth/password-reset/confirm", access.Public, a.confirmReset},
		{"auth.magic-link", "POST", "/auth/magic-link", access.Public, a.magicLink},
		{"auth.magic-link.follow", "GET", "/auth/magic-link/{token}", access.Public, a.followMagicLink},
		{"auth.oauth", "GET", "/auth/oauth/{provider}", access.Public, discreet(a.oauthLogin)},
		{"auth.oauth.callback", "GET", "/auth/oauth/{provider}/callback", access.Public, discreet(a.oauthCallback)},
		{"auth.saml.login", "GET", "/auth/saml/login", access.Public, discreet(a.samlLogin)},
		{"auth.saml.login", "POST", "/auth/saml/login", access.Public, discreet(a.samlLogin)},
		{"auth.saml.acs", "POST", "/auth/saml/acs", access.Public, discreet(a.samlACS)},
		{"auth.saml.slo", "GET", "/auth/saml/slo", access.Public, discreet(a.samlSLO)},
		{"auth.saml.slo", "POST", "/auth/saml/slo", access.Public, discreet(a.samlSLO)},
		{"auth.saml.logout", "POST", "/auth/saml/logout", access.Required, discreet(a.samlLogout)},
		{"auth.saml.metadata", "GET", "/auth/saml/metadata", access.Public, discreet(a.samlMetadata)},
		{"auth.saml.metadata", "GET", "/auth/saml/metadata/{workspace_id}", access.Public, discreet(a.samlMetadata)},
		{"auth.exchange", "POST", "/auth/exchange", access.Optional, discreet(a.exchange)},
		{"auth.refresh", "POST", "/auth/refresh", access.Public, a.refresh},
		{"auth.revoke", "POST", "/auth/revoke", access.Public, a.revoke},
		{"auth.revoke-all", "POST", "/auth/revoke-all", access.Required, a.revokeAll},
		{"auth.logout", "POST", "/auth/logout", access.Required, a.logout},
		{"auth.sessions", "GET", "/auth/sessions", access.Required, a.listSessions},
		{"auth.sessions.revoke", "DELETE", "/auth/sessions/{id}", access.Required, a.revokeSession},
		{"auth.providers", "GET", "/auth/providers", access.Public, a.providers},
		{"auth.providers.login", "POST", "/auth/providers/{provider}/{form}", access.Public, a.loginAt},
		{"users.get", "GET", "/api/users/{id}", access.Required, a.getUser},
		{"users.password", "POST", "/api/users/{id}/password", access.Required, a.changePassword},
		{"users.identities", "GET", "/api/users/{id}/identities", access.Required, a.listIdentities},
		{"users.identities.link", "POST", "/api/users/{id}/identities", access.Required, discreet(a.startLink)},
		{"users.identities.unlink", "DELETE", "/api/users/{id}/identities/{identity_id}", access.Required, a.unlinkIdentity},
		{"well-known.jwks", "GET", "/.well-known/jwks.json", access.Public, a.jwks},
		{"well-known.openid-configuration", "GET", "/.well-known/openid-configuration", access.Public, a.metadata},
		{"well-known.oauth-authorization-server", "GET", "/.well-known/oauth-authorization-server", access.Public, a.metadata},
	}
}

// deadline returns the context of one call. The request's own ends with the connection
// only, and must not be used below the HTTP stages.
func deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callTimeout)
}

// address is the client's address as limits count it.
func address(ctx *fasthttp.RequestCtx) string { return ratelimit.IPKey(edge.ClientIP(ctx)) }

func client(ctx *fasthttp.RequestCtx) login.Client {
	return login.Client{
		IP:        edge.ClientIP(ctx).String(),
		UserAgent: string(ctx.UserAgent()),
		Locale:    string(ctx.Request.Header.Peek(fasthttp.HeaderAcceptLanguage)),
	}
}
