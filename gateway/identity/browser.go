package identity

import (
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/login"
)

// binding is the cookie by which a browser shows that it began a flow. One serves all tabs.
type binding struct {
	name  string
	cross bool // the answer comes as a POST of another site
}

var (
	bindOAuth = binding{"shield_login", false}
	bindSAML  = binding{"shield_saml", true}
)

// bindingSeconds is at least how long a flow may be away.
const bindingSeconds = 600

// cookie is the name that a binding goes by. Where clients come by https its prefix keeps
// pages of other hosts from setting it, and with it from giving a browser the answer of
// somebody else's flow.
func (b binding) cookie(publicURL string) string {
	if isHTTPS(publicURL) {
		return "__Host-" + b.name
	}
	return b.name
}

// Cookies names the cookies that are between browsers and the gateway alone.
func Cookies(publicURL string) []string {
	return []string{CookieName(publicURL), bindOAuth.cookie(publicURL), bindSAML.cookie(publicURL)}
}

// shows returns what the browser of a request shows, or nothing.
func (a *API) shows(ctx *fasthttp.RequestCtx, b binding) string {
	value := string(ctx.Request.Header.Cookie(b.cookie(a.PublicURL)))
	if !login.IsToken(value) {
		return ""
	}
	return value
}

// bind gives the browser of a request what it has to show when it is back, for as long as
// that may take, and returns it.
func (a *API) bind(ctx *fasthttp.RequestCtx, b binding) string {
	value := a.shows(ctx, b)
	if value == "" {
		value = login.NewBrowser()
	}
	var cookie fasthttp.Cookie
	cookie.SetKey(b.cookie(a.PublicURL))
	cookie.SetValue(value)
	cookie.SetPath("/")
	cookie.SetHTTPOnly(true)
	cookie.SetSecure(isHTTPS(a.PublicURL))
	cookie.SetMaxAge(bindingSeconds)
	cookie.SetSameSite(fasthttp.CookieSameSiteLaxMode)
	if b.cross && isHTTPS(a.PublicURL) {
		cookie.SetSameSite(fasthttp.CookieSameSiteNoneMode) // browsers take it of secure cookies alone
	}
	ctx.Response.Header.SetCookie(&cookie)
	return value
}
