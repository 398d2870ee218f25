package identity

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/access"
	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/gateway/token"
)

// CookieName names the cookie that may carry the refresh token. Where clients come by https
// its prefix keeps it from being set by a page of another host of the domain (RFC 6265bis
// §4.1.3.2).
func CookieName(publicURL string) string {
	if isHTTPS(publicURL) {
		return "__Host-shield_refresh"
	}
	return "shield_refresh"
}

func isHTTPS(publicURL string) bool { return strings.HasPrefix(publicURL, "https://") }

// tokensJSON is the token answer of the API.
type tokensJSON struct {
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`
	TokenType    string    `json:"token_type"`
	ExpiresIn    int64     `json:"expires_in"`
	User         tokenUser `json:"user"`
}

type tokenUser struct {
	ID        string `json:"id"`
	Email     string `json:"email"`
	Name      string `json:"name"`
	AvatarURL string `json:"avatar_url"`
	Verified  bool   `json:"is_verified"`
}

// writeTokens answers with an access token of a session and its refresh token.
func (a *API) writeTokens(ctx *fasthttp.RequestCtx, u account.User, s session.Session, refresh string) error {
	c, cancel := deadline()
	defer cancel()
	claims := token.Claims{Subject: u.ID, SessionID: s.ID, Generation: s.Counter, Method: s.Method, Name: u.Name}
	proven := a.Proven(u)
	if proven {
		claims.Email = u.Email // upstreams are told of it, and may hold accounts by it
	}
	signed, _, err := a.Issuer.Issue(c, claims)
	a.Sessions.Issued(err)
	if err != nil {
		return err
	}
	record := edge.RecordOf(ctx)
	record.Subject, record.SessionID = u.ID, s.ID
	if a.Session.Cookie {
		a.setCookie(ctx, refresh, s.ExpiresAt)
	}
	ctx.Response.Header.Set("Pragma", "no-cache") // RFC 6749 §5.1; Cache-Control is WriteJSON's
	return edge.WriteJSON(ctx, fasthttp.StatusOK, tokensJSON{
		AccessToken:  signed,
		RefreshToken: refresh,
		TokenType:    "Bearer",
		ExpiresIn:    int64(a.Token.AccessTTL / time.Second),
		User:         tokenUser{u.ID, u.Email, u.Name, u.AvatarURL, proven},
	})
}

func (a *API) setCookie(ctx *fasthttp.RequestCtx, value string, expires time.Time) {
	var cookie fasthttp.Cookie
	cookie.SetKey(CookieName(a.PublicURL))
	cookie.SetValue(value)
	cookie.SetPath("/")
	cookie.SetHTTPOnly(true)
	cookie.SetSecure(isHTTPS(a.PublicURL))
	cookie.SetSameSite(fasthttp.CookieSameSiteStrictMode)
	cookie.SetExpire(expires)
	ctx.Response.Header.SetCookie(&cookie)
}

func (a *API) clearCookie(ctx *fasthttp.RequestCtx) {
	if a.Session.Cookie {
		a.setCookie(ctx, "", fasthttp.CookieExpireDelete)
	}
}

// refreshToken takes the refresh token of a request from the body, or from the cookie of
// the gateway's own origin.
func (a *API) refreshToken(ctx *fasthttp.RequestCtx) (string, error) {
	var body struct {
		RefreshToken string `json:"refresh_token"`
	}
	cookie := ""
	if a.Session.Cookie && a.ownOrigin(ctx) {
		cookie = string(ctx.Request.Header.Cookie(CookieName(a.PublicURL)))
	}
	if cookie == "" || ctx.Request.Header.ContentLength() != 0 {
		if err := edge.ReadJSON(ctx, a.BodyBytes, &body); err != nil {
			return "", err
		}
	}
	if body.RefreshToken != "" {
		return body.RefreshToken, nil
	}
	if cookie != "" {
		return cookie, nil
	}
	return "", edge.BadRequest("MISSING_REQUIRED_FIELD", "refresh_token is required.", nil)
}

// ownOrigin reports whether a browser's request comes from a page of the gateway's own
// origin, so that another site cannot spend the cookie.
func (a *API) ownOrigin(ctx *fasthttp.RequestCtx) bool {
	origin := string(ctx.Request.Header.Peek(fasthttp.HeaderOrigin))
	return origin == "" || origin == a.PublicURL
}

func (a *API) refresh(ctx *fasthttp.RequestCtx, _ Params) error {
	raw, err := a.refreshToken(ctx)
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	s, next, err := a.Sessions.RefreshIf(c, raw, func(sessionID string) error {
		return a.Limiter.Check(ctx, "refresh", sessionID)
	})
	if err != nil {
		return a.translate(err)
	}
	u, err := a.Users.User(c, s.UserID)
	if errors.Is(err, account.ErrNotFound) || err == nil && u.Status != account.Active {
		return a.endUser(c, s)
	}
	if err != nil {
		return a.translate(err)
	}
	return a.writeTokens(ctx, u, s, next)
}

// endUser ends the sessions of a user who may no longer have any.
func (a *API) endUser(c context.Context, s session.Session) error {
	if _, err := a.Sessions.RevokeAll(c, s.UserID, "", "user not active"); err != nil {
		return a.translate(err)
	}
	return a.translate(session.ErrRevoked)
}

// revoke ends the session of a refresh token. A token that is not ours is answered like
// one that is (RFC 7009 §2.2).
func (a *API) revoke(ctx *fasthttp.RequestCtx, _ Params) error {
	raw, err := a.refreshToken(ctx)
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	err = a.Sessions.RevokeToken(c, raw, session.ReasonLogout)
	if err != nil && !errors.Is(err, session.ErrInvalid) {
		return a.translate(err)
	}
	return a.noContent(ctx)
}

func (a *API) revokeAll(ctx *fasthttp.RequestCtx, _ Params) error {
	p, err := own(ctx)
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	if _, err := a.Sessions.RevokeAll(c, p.Subject, "", session.ReasonLogout); err != nil {
		return a.translate(err)
	}
	return a.noContent(ctx)
}

func (a *API) logout(ctx *fasthttp.RequestCtx, _ Params) error {
	p, err := own(ctx)
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	if err := a.Sessions.Revoke(c, p.Subject, p.SessionID, session.ReasonLogout); err != nil {
		return a.translate(err)
	}
	return a.noContent(ctx)
}

func (a *API) noContent(ctx *fasthttp.RequestCtx) error {
	a.clearCookie(ctx)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

type sessionJSON struct {
	ID         string `json:"id"`
	Device     string `json:"device"`
	IP         string `json:"ip"`
	Method     string `json:"method"`
	CreatedAt  string `json:"created_at"`
	LastUsedAt string `json:"last_used_at"`
	Current    bool   `json:"current"`
}

func (a *API) listSessions(ctx *fasthttp.RequestCtx, _ Params) error {
	p, err := own(ctx)
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	living, err := a.Sessions.List(c, p.Subject)
	if err != nil {
		return a.translate(err)
	}
	out := make([]sessionJSON, 0, len(living))
	for _, s := range living {
		out = append(out, sessionJSON{
			ID: s.ID, Device: s.UserAgent, IP: plainIP(s.IP), Method: s.Method,
			CreatedAt: stamp(s.CreatedAt), LastUsedAt: stamp(s.LastUsedAt), Current: s.ID == p.SessionID,
		})
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, map[string]any{"sessions": out})
}

func (a *API) revokeSession(ctx *fasthttp.RequestCtx, params Params) error {
	p, err := own(ctx)
	if err != nil {
		return err
	}
	id, err := uuid.Parse(params("id"))
	if err != nil {
		return edge.NotFound(edge.CodeNotFound, "There is no such session.", nil)
	}
	c, cancel := deadline()
	defer cancel()
	err = a.Sessions.Revoke(c, p.Subject, id.String(), session.ReasonLogout)
	if errors.Is(err, session.ErrInvalid) {
		return edge.NotFound(edge.CodeNotFound, "There is no such session.", err)
	}
	if err != nil {
		return a.translate(err)
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// own returns the principal of a request if it is a user of this gateway. Another issuer's
// subjects are nobody here, whatever their ids look like. The guard in front demands the
// same; that is no reason to believe it.
func own(ctx *fasthttp.RequestCtx) (*access.Principal, error) {
	p, ok := access.PrincipalOf(ctx)
	if !ok || !p.Own {
		return nil, edge.Forbidden("INSUFFICIENT_PERMISSIONS", "This needs a session of this gateway.", nil)
	}
	return p, nil
}

func plainIP(s string) string {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.String()
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
