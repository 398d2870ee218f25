package gatewaytest

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/config"
)

type sessionInfo struct {
	ID         string
	Device, IP string
	Method     string
	Created    time.Time `json:"created_at"`
	Used       time.Time `json:"last_used_at"`
	Current    bool
}

func (g *gate) sessions(t testing.TB, access string) []sessionInfo {
	t.Helper()
	var list struct{ Sessions []sessionInfo }
	g.get(t, "/auth/sessions", bearer(access)).ok(t, http.StatusOK).into(t, &list)
	return list.Sessions
}

func TestSessionsAreListedAndEndedOneByOne(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p, mine := g.member(t)
		phone := g.post(t, "/auth/login", p.credentials(), field("User-Agent", "Phone/1.0")).tokens(t)
		_, stranger := g.member(t)

		list := g.sessions(t, mine.Access)
		if len(list) != 2 {
			t.Fatalf("%d sessions, want 2: %+v", len(list), list)
		}
		other := list[slices.IndexFunc(list, func(s sessionInfo) bool { return !s.Current })]
		if other.Device != "Phone/1.0" || other.IP != "127.0.0.1" || other.Method != "email" || other.Created.IsZero() || other.Used.IsZero() {
			t.Errorf("session = %+v", other)
		}
		remove := func(id, access string) answer {
			return g.do(t, http.MethodDelete, "/auth/sessions/"+id, nil, bearer(access))
		}
		remove(other.ID, stranger.Access).refused(t, http.StatusNotFound, "NOT_FOUND")
		remove("0198c0de-0000-7000-8000-000000000001", mine.Access).refused(t, http.StatusNotFound, "NOT_FOUND")
		remove("x", mine.Access).refused(t, http.StatusNotFound, "NOT_FOUND")
		g.get(t, "/api/notes", bearer(phone.Access)).ok(t, http.StatusOK)

		remove(other.ID, mine.Access).ok(t, http.StatusNoContent)
		g.get(t, "/api/notes", bearer(phone.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		g.refresh(t, phone.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		g.get(t, "/api/notes", bearer(mine.Access)).ok(t, http.StatusOK)
		if list := g.sessions(t, mine.Access); len(list) != 1 || !list[0].Current {
			t.Errorf("sessions = %+v, want the own one", list)
		}
	})
}

func TestRevokeEndsTheSessionOfAToken(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p, mine := g.member(t)
		other := g.login(t, p)
		revoke := func(token string) answer { return g.post(t, "/auth/revoke", object{"refresh_token": token}) }
		revoke(strings.Repeat("A", len(mine.Refresh))).ok(t, http.StatusNoContent) // RFC 7009 §2.2
		revoke("nonsense").ok(t, http.StatusNoContent)
		revoke(other.Refresh).ok(t, http.StatusNoContent)
		revoke(other.Refresh).ok(t, http.StatusNoContent)
		g.get(t, "/api/notes", bearer(other.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		g.get(t, "/api/notes", bearer(mine.Access)).ok(t, http.StatusOK)
		g.post(t, "/auth/revoke", object{}).refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
	})
}

func TestRevokeAllEndsEverySessionOfTheCaller(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p, mine := g.member(t)
		other := g.login(t, p)
		_, stranger := g.member(t)
		g.post(t, "/auth/revoke-all", nil, bearer(mine.Access)).ok(t, http.StatusNoContent)
		for _, s := range []tokens{mine, other} {
			g.get(t, "/api/notes", bearer(s.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
			g.refresh(t, s.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		}
		g.get(t, "/api/notes", bearer(stranger.Access)).ok(t, http.StatusOK)
		g.login(t, p)
	})
}

func TestEverythingAlsoAnswersUnderV1(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	p := somebody()
	g.post(t, "/v1/auth/register", p.registration()).ok(t, http.StatusAccepted)
	g.get(t, "/v1"+g.in.letter(t, p.email).link).ok(t, http.StatusOK)
	got := g.post(t, "/v1/auth/login", p.credentials()).tokens(t)
	got = g.post(t, "/v1/auth/refresh", object{"refresh_token": got.Refresh}).tokens(t)
	g.get(t, "/v1/api/users/me", bearer(got.Access)).ok(t, http.StatusOK)
	g.get(t, "/v1/api/users/"+got.User.ID, bearer(got.Access)).ok(t, http.StatusOK)
	g.get(t, "/v1/auth/sessions", bearer(got.Access)).ok(t, http.StatusOK)
	g.get(t, "/v1/auth/providers").ok(t, http.StatusOK)
	g.get(t, "/v1/.well-known/jwks.json").ok(t, http.StatusOK)
	g.get(t, "/v1/.well-known/openid-configuration").ok(t, http.StatusOK)
	for _, path := range []string{"/v1/auth/password-reset", "/v1/auth/magic-link", "/v1/auth/verify/resend"} {
		g.post(t, path, object{"email": p.email}).ok(t, http.StatusAccepted)
	}
	g.post(t, "/v1/auth/revoke", object{"refresh_token": "nonsense"}).ok(t, http.StatusNoContent)
	g.post(t, "/v1/auth/logout", nil, bearer(got.Access)).ok(t, http.StatusNoContent)
	g.get(t, "/v1/api/users/me", bearer(got.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
}

func TestCookieCarriesTheRefreshTokenForOwnPagesOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t, func(c *config.Config) { c.Session.Cookie = true })
		p := g.enrol(t)
		login := g.post(t, "/auth/login", p.credentials())
		kept := login.cookie(t)
		if got := login.tokens(t); kept.Value != got.Refresh {
			t.Error("the cookie is not the refresh token")
		}
		if !kept.HttpOnly || kept.SameSite != http.SameSiteStrictMode || kept.Path != "/" || kept.Domain != "" || kept.Expires.Before(time.Now().Add(24*time.Hour)) {
			t.Errorf("cookie = %+v", kept)
		}
		with := func(origin string, value string) []option {
			o := []option{cookie(kept.Name, value)}
			if origin != "" {
				o = append(o, field("Origin", origin))
			}
			return o
		}
		for _, origin := range []string{"https://evil.example", "null", g.base + ".evil.example", strings.Replace(g.base, "http:", "https:", 1)} {
			g.post(t, "/auth/refresh", object{}, with(origin, kept.Value)...).refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
			if a := g.post(t, "/auth/revoke", object{}, with(origin, kept.Value)...); a.status == http.StatusNoContent {
				t.Errorf("a page of %s ended the session", origin)
			}
		}
		refreshed := g.post(t, "/auth/refresh", nil, with(g.base, kept.Value)...)
		second := refreshed.cookie(t)
		if second.Value != refreshed.tokens(t).Refresh || second.Value == kept.Value {
			t.Error("the cookie was not renewed")
		}
		third := g.post(t, "/auth/refresh", object{}, with("", second.Value)...).tokens(t)
		// A request without a body need not say so.
		raw := g.raw(t, "POST /auth/refresh HTTP/1.1\r\nHost: "+g.address+"\r\nConnection: close\r\nCookie: "+kept.Name+"="+third.Refresh+"\r\n\r\n")
		fourth := raw.tokens(t)

		g.get(t, "/api/notes", bearer(fourth.Access), cookie("theme", "dark"), cookie(kept.Name, fourth.Refresh), cookie("lang", "de")).ok(t, http.StatusOK)
		if got := in.upstream.last(t).header.Get("Cookie"); got != "theme=dark; lang=de" {
			t.Error("an upstream must get the client's cookies, and never the gateway's")
		}
		out := g.post(t, "/auth/logout", nil, bearer(fourth.Access)).ok(t, http.StatusNoContent)
		if gone := out.cookie(t); gone.Value != "" || gone.Expires.After(time.Now()) {
			t.Errorf("logout leaves the cookie %+v", gone)
		}
	})
}

func TestCookieIsNotLookedAtUnlessConfigured(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	_, got := g.member(t)
	a := g.post(t, "/auth/refresh", object{}, cookie("shield_refresh", got.Refresh))
	a.refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
	if a.header.Get("Set-Cookie") != "" {
		t.Error("a cookie was set")
	}
}

func (a answer) cookie(t testing.TB) *http.Cookie {
	t.Helper()
	all := (&http.Response{Header: a.header}).Cookies()
	if len(all) != 1 {
		t.Fatalf("%s: %d cookies, want 1", a.what, len(all))
	}
	return all[0]
}

func TestRefreshLimitIsSpentByTheOwnerOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t, limited("refresh", 3))
		_, got := g.member(t)
		raw, err := base64.RawURLEncoding.DecodeString(got.Refresh)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 { // who knows the session's id, which stands in every access token
			forged := append(append([]byte{}, raw[:24]...), make([]byte, len(raw)-24)...)
			if _, err := rand.Read(forged[24:]); err != nil {
				t.Fatal(err)
			}
			g.refresh(t, base64.RawURLEncoding.EncodeToString(forged)).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
		}
		for range 3 {
			got = g.refresh(t, got.Refresh).tokens(t)
		}
		g.refresh(t, got.Refresh).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
		_, other := g.member(t)
		g.refresh(t, other.Refresh).tokens(t) // a session of its own, a budget of its own
	})
}

// limited gives a limit another size.
func limited(name string, size int) func(*config.Config) {
	return func(c *config.Config) {
		for i := range c.RateLimits {
			if c.RateLimits[i].Name == name {
				c.RateLimits[i].Limit, c.RateLimits[i].Burst, c.RateLimits[i].Period = size, size, time.Hour
			}
		}
	}
}

func TestSuspendedUserIsLockedOut(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p, got := g.member(t)
		for _, path := range []string{"/auth/magic-link", "/auth/password-reset"} {
			g.post(t, path, object{"email": p.email}).ok(t, http.StatusAccepted)
		}
		magic, reset := in.letter(t, p.email), in.letter(t, p.email)
		if strings.Contains(reset.link, "magic-link") {
			magic, reset = reset, magic
		}
		in.suspend(t, p.id)

		g.post(t, "/auth/login", p.credentials()).refused(t, http.StatusForbidden, "ACCOUNT_SUSPENDED")
		wrong := object{"email": p.email, "password": "not the password"}
		g.post(t, "/auth/login", wrong).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS") // only the owner is told
		g.get(t, magic.link).refused(t, http.StatusForbidden, "ACCOUNT_SUSPENDED")
		for _, path := range []string{"/auth/magic-link", "/auth/password-reset"} {
			g.post(t, path, object{"email": p.email}).ok(t, http.StatusAccepted)
		}
		if n := len(in.letters(t, p.email)); n != 3 {
			t.Errorf("%d mails, want the 3 from before", n)
		}
		g.refresh(t, got.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		g.get(t, "/api/notes", bearer(got.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")

		// A new password is no way back in.
		a, err := g.try(http.MethodPost, "/auth/password-reset/confirm", object{"token": reset.token, "password": p.password + "!"})
		if err != nil {
			t.Fatal(err)
		}
		if a.status/100 == 5 {
			t.Errorf("confirm = %d %s", a.status, a.body)
		}
		for _, password := range []string{p.password, p.password + "!"} {
			if a := g.post(t, "/auth/login", object{"email": p.email, "password": password}); a.status == http.StatusOK {
				t.Error("a suspended user logged in after a reset")
			}
		}
	})
}

// sibling is a second gateway of the same installation, behind the same public URL.
func (g *gate) sibling(t testing.TB) *gate {
	t.Helper()
	return g.heir(t, g.in)
}

// heir is a gateway of another installation that takes the place of this one's.
func (g *gate) heir(t testing.TB, in *installation, change ...func(*config.Config)) *gate {
	t.Helper()
	return in.start(t, append(change, func(c *config.Config) {
		c.Server.PublicURL, c.Token.Issuer, c.Token.Audience = g.cfg.Server.PublicURL, g.cfg.Token.Issuer, g.cfg.Token.Audience
	})...)
}

func TestLogoutIsFeltByAnotherGatewayWithinASecond(t *testing.T) {
	in := onPostgres(t)
	a := in.start(t)
	b := a.sibling(t)
	p, _ := a.member(t)
	const tries = 3 // the promise is about the gateways, not about a machine that is busy with other tests
	for try := 1; ; try++ {
		got := a.login(t, p)
		b.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK) // remembered there from now on
		a.post(t, "/auth/logout", nil, bearer(got.Access)).ok(t, http.StatusNoContent)
		start := time.Now()
		a.get(t, "/api/notes", bearer(got.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		eventually(t, "the other gateway refuses the token", func() bool {
			return b.get(t, "/api/notes", bearer(got.Access)).status == http.StatusUnauthorized
		})
		took := time.Since(start)
		b.refresh(t, got.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		if took <= time.Second {
			return
		}
		if try == tries {
			t.Fatalf("it took %v, want at most 1 s", took)
		}
	}
}

func TestGatewaysOfOneInstallationShareSessionsAndLimits(t *testing.T) {
	in := onPostgres(t)
	a := in.start(t)
	b := a.sibling(t)
	p, got := a.member(t)
	got = b.refresh(t, got.Refresh).tokens(t)
	a.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
	for _, g := range []*gate{a, b, a} {
		g.get(t, "/limited", bearer(got.Access)).ok(t, http.StatusOK)
	}
	b.get(t, "/limited", bearer(got.Access)).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
	b.post(t, "/auth/magic-link", object{"email": p.email}).ok(t, http.StatusAccepted)
	a.get(t, in.letter(t, p.email).link).tokens(t)
}
