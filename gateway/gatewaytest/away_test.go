package gatewaytest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// awayPlugins are testdata/away of each kind, built once.
var awayPlugins = sync.OnceValues(func() (map[string]string, error) {
	files := map[string]string{}
	for _, kind := range []string{"oauth", "saml"} {
		file, err := wasmtest.Build("./testdata/away", filepath.Join(filepath.Dir(compileCache), "away-"+kind), "-X main.kind="+kind)
		if err != nil {
			return nil, err
		}
		files[kind] = file
	}
	return files, nil
})

// warm is done by the first gateway with these plugins: it compiles them for those after it,
// which would else all do so at once.
var warm sync.Once

// Pages that may get one-time codes, and the site that there is not.
const (
	appPage = "https://app.example.com/signed-in?from=shield"
	appURI  = "com.example.app:/signed-in"
	site    = "https://idp.example"
)

// federated is a change of a configuration: beside e-mail there are two sites of the kind
// oauth, "corp" and "other", and one of the kind saml, "sso".
func federated(t testing.TB) func(*config.Config) {
	t.Helper()
	files, err := awayPlugins()
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		for name, kind := range map[string]string{"corp": "oauth", "other": "oauth", "sso": "saml"} {
			p := c.Providers[0]
			p.Name, p.Label, p.Plugin, p.Capabilities, p.Instances = name, name, files[kind], []string{"kv", "log"}, 8
			c.Providers = append(c.Providers, p)
		}
		c.Login.Provider = "email"
		c.Login.RedirectURIs = []string{appPage, appURI}
		c.Token.Algorithm = "EdDSA" // signing is not what is tried here
		limited("sso", 1_000_000)(c)
	}
}

// startFederated starts a gateway and waits until its providers are loaded.
func startFederated(t testing.TB, in *installation, change ...func(*config.Config)) *gate {
	t.Helper()
	warm.Do(func() { launchFederated(t, onSQLite(t)) })
	return launchFederated(t, in, change...)
}

func launchFederated(t testing.TB, in *installation, change ...func(*config.Config)) *gate {
	t.Helper()
	g := in.start(t, append([]func(*config.Config){federated(t)}, change...)...)
	eventually(t, "all providers are loaded", func() bool {
		list := string(g.get(t, "/auth/providers").body)
		return strings.Contains(list, `"corp"`) && strings.Contains(list, `"other"`) && strings.Contains(list, `"sso"`)
	})
	return g
}

// browser is a client that keeps cookies.
type browser struct{ *client }

func (g *gate) browser(t testing.TB) browser {
	t.Helper()
	b := browser{newClient(t, g.base, g.secrets)}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.http.Jar = jar
	return b
}

// page is a page of a client, which knows the verifier of its challenge.
type clientPage struct{ uri, verifier, challenge string }

func newPage(uri string) clientPage {
	p := clientPage{uri: uri, verifier: rand.Text() + rand.Text()}
	sum := sha256.Sum256([]byte(p.verifier))
	p.challenge = base64.RawURLEncoding.EncodeToString(sum[:])
	return p
}

// query asks for a login that ends at the page.
func (p clientPage) query() string {
	return url.Values{"redirect_uri": {p.uri}, "code_challenge": {p.challenge}}.Encode()
}

// leave goes where a login begins and returns what the browser takes to the other site.
func (b browser) leave(t testing.TB, path string) url.Values {
	t.Helper()
	a := b.get(t, path).ok(t, http.StatusFound)
	a.discreet(t)
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Scheme+"://"+u.Host != site {
		t.Fatalf("%s leads to %q, %v", a.what, a.header.Get("Location"), err)
	}
	q := u.Query()
	b.secrets.add("state", q.Get("state"))
	b.secrets.add("nonce", q.Get("nonce"))
	return q
}

// back brings what the other site gave. code is what testdata/away reads.
func (b browser) back(t testing.TB, provider, state, code string) answer {
	t.Helper()
	a, err := b.tryBack(provider, state, code)
	if err != nil {
		t.Fatal(err)
	}
	a.discreet(t)
	return a
}

func (b browser) tryBack(provider, state, code string) (answer, error) {
	b.secrets.add("code of the other site", code)
	q := url.Values{"state": {state}, "code": {code}, "iss": {site}}
	return b.try(http.MethodGet, "/auth/oauth/"+provider+"/callback?"+q.Encode(), nil)
}

// form sends a form, as a page of another site does.
func (b browser) form(t testing.TB, path string, values url.Values, options ...option) answer {
	t.Helper()
	a, err := b.tryForm(path, values, options...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (b browser) tryForm(path string, values url.Values, options ...option) (answer, error) {
	b.secrets.add("answer", values.Get("SAMLResponse"))
	return b.try(http.MethodPost, path, values.Encode(), append(options, field("Content-Type", "application/x-www-form-urlencoded"))...)
}

// somewhere is an answer of the other site about somebody of it.
func somewhere(what, subject string) string {
	return what + "|" + subject + "|" + subject + "@example.com|_session-of-" + subject
}

func newSubject() string { return "s" + strings.ToLower(rand.Text()) }

// discreet fails if an answer could be kept, or tell its URL to another site.
func (a answer) discreet(t testing.TB) {
	t.Helper()
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%s: Cache-Control %q, Referrer-Policy %q", a.what, a.header.Get("Cache-Control"), a.header.Get("Referrer-Policy"))
	}
}

// sentTo fails unless the answer leads to a page, and returns what it adds to the URI.
func (a answer) sentTo(t testing.TB, page string) url.Values {
	t.Helper()
	target := a.header.Get("Location")
	if a.status != http.StatusFound && a.status != http.StatusSeeOther || !strings.HasPrefix(target, page) {
		t.Fatalf("%s = %d to %q %.300s, want it to lead to %s", a.what, a.status, target, a.body, page)
	}
	added, err := url.ParseQuery(strings.TrimLeft(strings.TrimPrefix(target, page), "?&"))
	if err != nil {
		t.Fatal(err)
	}
	return added
}

// code fails unless the answer leads to a page with a one-time code alone.
func (b browser) code(t testing.TB, a answer, p clientPage) string {
	t.Helper()
	added := a.sentTo(t, p.uri)
	code := added.Get("code")
	if len(code) != 43 || len(added) != 1 {
		t.Fatalf("the page gets %v, want a code alone", added)
	}
	b.secrets.add("one-time code", code)
	return code
}

func (c *client) exchange(t testing.TB, code, verifier string, options ...option) answer {
	t.Helper()
	a := c.post(t, "/auth/exchange", object{"code": code, "code_verifier": verifier}, options...)
	a.discreet(t)
	return a
}

func TestALoginAtAnotherSite(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startFederated(t, in)
		subject := newSubject()

		b := g.browser(t)
		got := b.back(t, "corp", b.leave(t, "/auth/oauth/corp").Get("state"), somewhere("ok", subject)).tokens(t)
		if got.User.Email != subject+"@example.com" || got.User.Verified { // nobody said to trust corp
			t.Errorf("logged in %+v", got.User)
		}
		g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)

		// The same person by way of a page, on another device.
		b = g.browser(t)
		p := newPage(appPage)
		sent := b.leave(t, "/v1/auth/oauth/corp?login_hint=x&utm_source=y&"+p.query())
		if sent.Get("redirect_uri") != g.base+"/auth/oauth/corp/callback" || sent.Get("login_hint") != "x" || sent.Get("nonce") == "" {
			t.Errorf("the provider was told %v", sent)
		}
		a := b.back(t, "corp", sent.Get("state"), somewhere("ok", subject))
		code := b.code(t, a, p)
		if n := len(g.sessions(t, got.Access)); n != 1 {
			t.Errorf("%d sessions, want 1: a code that is not traded is none", n)
		}
		again := g.exchange(t, code, p.verifier).tokens(t)
		if again.User.ID != got.User.ID {
			t.Error("the second login is another user")
		}
		g.get(t, "/api/notes", bearer(again.Access)).ok(t, http.StatusOK)
		g.refresh(t, again.Refresh).tokens(t)
		if n := len(g.sessions(t, got.Access)); n != 2 {
			t.Errorf("%d sessions, want 2", n)
		}
		g.exchange(t, code, p.verifier).refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
	})
}

func TestWhatTheOtherSiteSaysReachesThePage(t *testing.T) {
	t.Parallel()
	g := startFederated(t, onSQLite(t))
	b := g.browser(t)
	for _, tt := range []struct {
		what, code string
		status     int
	}{
		{"unproven", "EMAIL_NOT_VERIFIED", http.StatusForbidden},
		{"denied", "OAUTH_CODE_INVALID", http.StatusBadRequest},
		{"broken", "OAUTH_PROVIDER_ERROR", http.StatusBadGateway},
	} {
		b.back(t, "corp", b.leave(t, "/auth/oauth/corp").Get("state"), somewhere(tt.what, newSubject())).refused(t, tt.status, tt.code)
		p := newPage(appURI)
		a := b.back(t, "corp", b.leave(t, "/auth/oauth/corp?"+p.query()).Get("state"), somewhere(tt.what, newSubject()))
		if added := a.sentTo(t, appURI); added.Get("error") != tt.code || added.Get("request_id") != a.header.Get("X-Request-Id") || len(added) != 2 {
			t.Errorf("%s: the page is told %v, want %s", tt.what, added, tt.code)
		}
	}
	// The person said no there.
	p := newPage(appURI)
	state := b.leave(t, "/auth/oauth/corp?"+p.query()).Get("state")
	a := b.get(t, "/auth/oauth/corp/callback?error=access_denied&error_description=x&state="+state)
	if added := a.sentTo(t, appURI); added.Get("error") != "OAUTH_CODE_INVALID" {
		t.Errorf("the page is told %v", added)
	}
	if list := string(g.get(t, "/auth/providers").body); strings.Contains(list, "unsolicited") || strings.Contains(list, "slo") {
		t.Errorf("login pages are offered what nobody begins: %s", list)
	}
	b.get(t, "/auth/oauth/corp?login_hint=broken").refused(t, http.StatusBadGateway, "OAUTH_PROVIDER_ERROR")
	for _, path := range []string{"/auth/oauth/nobody", "/auth/oauth/sso", "/auth/oauth/email", "/auth/oauth/nobody/callback?state=x&code=y", "/auth/providers/corp/redirect", "/auth/providers/sso/unsolicited", "/auth/providers/sso/slo"} {
		method := http.MethodGet
		if strings.HasPrefix(path, "/auth/providers") {
			method = http.MethodPost
		}
		g.do(t, method, path, object{}).refused(t, http.StatusNotFound, "NOT_FOUND")
	}
}

// Somebody who holds a state, a code or a browser that is not theirs gets nothing, and takes
// nothing away from its owner.
func TestForeignStatesAreUnknown(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startFederated(t, in)
		victim, attacker := g.browser(t), g.browser(t)
		unknown := func(what string, a answer) {
			t.Helper()
			if a.header.Get("Location") != "" {
				t.Errorf("%s leads to %q", what, a.header.Get("Location"))
			}
			a.refused(t, http.StatusBadRequest, "OAUTH_STATE_INVALID")
		}
		p := newPage(appPage)
		state := victim.leave(t, "/auth/oauth/corp?"+p.query()).Get("state")
		good := somewhere("ok", newSubject())

		attacker.leave(t, "/auth/oauth/corp")
		unknown("a state of another browser", attacker.back(t, "corp", state, good))
		unknown("a state without a cookie", g.browser(t).back(t, "corp", state, good))
		unknown("a state of another provider (mix-up)", victim.back(t, "other", state, good))
		for _, forged := range []string{"x", strings.Repeat("A", 43), state + "=", state[:42], " " + state, strings.ToUpper(state)} {
			unknown("a forged state", victim.back(t, "corp", forged, good))
		}
		unknown("no state", victim.get(t, "/auth/oauth/corp/callback?code=x"))
		unknown("an empty state", victim.get(t, "/auth/oauth/corp/callback?code=x&state="))
		victim.get(t, "/auth/oauth/corp/callback?state="+state).refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
		// A state is for coming back, and for nothing else.
		g.get(t, "/auth/magic-link/"+state).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		g.get(t, "/auth/verify/"+state).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		g.exchange(t, state, p.verifier).refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
		victim.get(t, "/auth/oauth/corp?link="+state).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		victim.form(t, "/auth/saml/acs", url.Values{"SAMLResponse": {good}, "RelayState": {state}}).refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")
		if a := victim.do(t, http.MethodHead, "/auth/oauth/corp/callback?state="+state+"&code=x", nil); a.status != http.StatusNoContent {
			t.Errorf("HEAD = %d", a.status)
		}

		// It was not spent by any of these, nor was the browser by another tab.
		victim.leave(t, "/auth/oauth/corp")
		code := victim.code(t, victim.back(t, "corp", state, good), p)
		unknown("a state that was used", victim.back(t, "corp", state, good))
		g.exchange(t, code, p.verifier).tokens(t)
	})
}

// An attacker who logs the victim in as the attacker would see what the victim does then.
func TestLoginCSRF(t *testing.T) {
	t.Parallel()
	g := startFederated(t, onSQLite(t))
	attacker, victim := g.browser(t), g.browser(t)
	p := newPage(appPage)
	state := attacker.leave(t, "/auth/oauth/corp?"+p.query()).Get("state")
	victim.leave(t, "/auth/oauth/corp") // has a cookie of its own
	victim.back(t, "corp", state, somewhere("ok", newSubject())).refused(t, http.StatusBadRequest, "OAUTH_STATE_INVALID")
	relay := g.samlState(t, attacker, "/auth/saml/login?"+p.query())
	g.samlState(t, victim, "/auth/saml/login")
	a := victim.form(t, "/auth/saml/acs", url.Values{"SAMLResponse": {somewhere("ok", newSubject())}, "RelayState": {relay}})
	a.refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")
	a.discreet(t)
}

func TestAStateIsSpentOnceUnder64ParallelTries(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startFederated(t, in)
		b := g.browser(t)
		p := newPage(appPage)
		state := b.leave(t, "/auth/oauth/corp?"+p.query()).Get("state")
		subject := newSubject()
		var codes []string
		for _, a := range crowd(t, func(int) (answer, error) { return b.tryBack("corp", state, somewhere("ok", subject)) }) {
			if a.status == http.StatusFound {
				codes = append(codes, b.code(t, a, p))
				continue
			}
			a.refused(t, http.StatusBadRequest, "OAUTH_STATE_INVALID")
		}
		if len(codes) != 1 {
			t.Fatalf("%d callbacks of one state went through, want 1", len(codes))
		}
		if n := strings.Count(in.logs.String(), "asked for what came back"); n != 1 {
			t.Errorf("the provider was asked %d times, want once", n)
		}

		var got []tokens
		body := object{"code": codes[0], "code_verifier": p.verifier}
		for _, a := range crowd(t, func(int) (answer, error) { return g.try(http.MethodPost, "/auth/exchange", body) }) {
			if a.status == http.StatusOK {
				got = append(got, a.tokens(t))
				continue
			}
			a.refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
		}
		if len(got) != 1 {
			t.Fatalf("%d exchanges of one code went through, want 1", len(got))
		}
		if n := len(g.sessions(t, got[0].Access)); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
	})
}

// Two tabs, or a double click, of somebody who was never here before.
func TestFirstLoginsOfOnePersonAtOnceAreOneUser(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startFederated(t, in)
		b := g.browser(t)
		states := make([]string, 64)
		for i := range states {
			states[i] = b.leave(t, "/auth/oauth/corp").Get("state")
		}
		subject, users := newSubject(), map[string]bool{}
		for _, a := range crowd(t, func(i int) (answer, error) { return b.tryBack("corp", states[i], somewhere("ok", subject)) }) {
			users[a.tokens(t).User.ID] = true
		}
		if len(users) != 1 {
			t.Errorf("%d users, want 1", len(users))
		}
	})
}

func TestRedirectURIsAreComparedLetterByLetter(t *testing.T) {
	t.Parallel()
	g := startFederated(t, onSQLite(t))
	b := g.browser(t)
	challenge := newPage("").challenge
	refused := func(a answer, status int, code, field string) {
		t.Helper()
		a.refused(t, status, code)
		if a.header.Get("Location") != "" || !strings.Contains(string(a.body), `"field":"`+field+`"`) {
			t.Errorf("%s: Location %q, %s, want the field %s named", a.what, a.header.Get("Location"), a.body, field)
		}
	}
	for _, path := range []string{"/auth/oauth/corp?", "/auth/saml/login?"} {
		for _, uri := range []string{
			appPage + "x", appPage + "&a=b", appPage[:len(appPage)-1], strings.TrimSuffix(appPage, "?from=shield"), appPage + "/", appPage + "#top",
			strings.ToUpper(appPage), "HTTPS" + appPage[5:], "https://APP.example.com/signed-in?from=shield", "http" + appPage[5:],
			"https://app.example.com@evil.example/signed-in?from=shield", "https://ann@app.example.com/signed-in?from=shield",
			"https://app.example.com.evil.example/signed-in?from=shield", "https://app.example.com:443/signed-in?from=shield",
			"https://app.example.com/./signed-in?from=shield", "https://app.example.com/x/../signed-in?from=shield",
			"//app.example.com/signed-in?from=shield", "/signed-in", " " + appPage, appPage + " ", appPage + "\n", "javascript:alert(1)",
			"com.example.app:/signed-in/", "com.example.app://signed-in", `https:\\app.example.com\signed-in`, "https://evil.example/",
		} {
			q := url.Values{"redirect_uri": {uri}, "code_challenge": {challenge}}
			refused(b.get(t, path+q.Encode()), http.StatusUnprocessableEntity, "VALIDATION_ERROR", "redirect_uri")
		}
		known := url.Values{"redirect_uri": {appPage}}
		refused(b.get(t, path+known.Encode()), http.StatusBadRequest, "MISSING_REQUIRED_FIELD", "code_challenge")
		refused(b.get(t, path+"code_challenge="+challenge), http.StatusBadRequest, "MISSING_REQUIRED_FIELD", "redirect_uri")
		for _, wrong := range []string{challenge + "=", challenge[:42], challenge + "A", strings.Repeat("+", 43), "plain"} {
			known.Set("code_challenge", wrong)
			refused(b.get(t, path+known.Encode()), http.StatusUnprocessableEntity, "VALIDATION_ERROR", "code_challenge")
		}
		known.Set("code_challenge", challenge)
		refused(b.get(t, path+known.Encode()+"&code_challenge_method=plain"), http.StatusUnprocessableEntity, "VALIDATION_ERROR", "code_challenge_method")
		refused(b.get(t, path+known.Encode()+"&workspace_id=x"), http.StatusUnprocessableEntity, "VALIDATION_ERROR", "workspace_id")
	}
	// A page cannot be smuggled in beside the one that was checked.
	p := newPage(appPage)
	for _, query := range []string{
		p.query() + "&redirect_uri=https%3A%2F%2Fevil.example", p.query() + "&redirect_uri=" + url.QueryEscape(appPage), "login_hint=a&login_hint=b",
		"%72edirect_uri=x&" + p.query(), "login_hint=%zz", "login_hint=%ff", "login_hint=a%00", "a;b", "=x",
	} {
		a := b.get(t, "/auth/oauth/corp?"+query)
		a.refused(t, http.StatusBadRequest, "BAD_REQUEST")
		a.discreet(t)
	}
}

func TestDoubledParametersAreRefusedAndSpendNothing(t *testing.T) {
	t.Parallel()
	g := startFederated(t, onSQLite(t))
	b := g.browser(t)
	state := b.leave(t, "/auth/oauth/corp").Get("state")
	good := url.QueryEscape(somewhere("ok", newSubject()))
	for _, query := range []string{
		"state=" + state + "&code=" + good + "&code=" + good,
		"state=" + state + "&state=" + state + "&code=" + good,
		"state=" + state + "&code=" + good + "&iss=a&iss=b",
		"state=" + state + "&code=" + good + "&%63ode=x",
		"state=" + state + "&code=%ff",
	} {
		b.get(t, "/auth/oauth/corp/callback?"+query).refused(t, http.StatusBadRequest, "BAD_REQUEST")
	}
	b.get(t, "/auth/oauth/corp/callback?state="+state+"&code="+good).tokens(t)

	relay := g.samlState(t, b, "/auth/saml/login")
	good = url.QueryEscape(somewhere("ok", newSubject()))
	body := "RelayState=" + relay + "&SAMLResponse=" + good
	for _, body := range []string{body + "&SAMLResponse=x", body + "&RelayState=" + relay, body + ";x=y", body + "%zz"} {
		a, err := b.try(http.MethodPost, "/auth/saml/acs", body, field("Content-Type", "application/x-www-form-urlencoded"))
		if err != nil {
			t.Fatal(err)
		}
		a.refused(t, http.StatusBadRequest, "INVALID_REQUEST_BODY")
	}
	for _, kind := range []string{"application/json", "text/plain", "application/x-www-form-urlencoded; charset=utf-7", "multipart/form-data; boundary=x"} {
		a, err := b.try(http.MethodPost, "/auth/saml/acs", body, field("Content-Type", kind))
		if err != nil {
			t.Fatal(err)
		}
		a.refused(t, http.StatusBadRequest, "INVALID_REQUEST_BODY")
	}
	huge := url.Values{"RelayState": {relay}, "SAMLResponse": {strings.Repeat("A", 384<<10+1)}}
	b.form(t, "/auth/saml/acs", huge).refused(t, http.StatusRequestEntityTooLarge, "REQUEST_TOO_LARGE")
	a, err := b.try(http.MethodPost, "/auth/saml/acs", body, field("Content-Type", "application/x-www-form-urlencoded"))
	if err != nil {
		t.Fatal(err)
	}
	a.tokens(t)
}

func TestACodeIsWorthNothingWithoutItsVerifier(t *testing.T) {
	t.Parallel()
	g := startFederated(t, onSQLite(t))
	b := g.browser(t)
	p := newPage(appPage)
	code := func() string {
		return b.code(t, b.back(t, "corp", b.leave(t, "/auth/oauth/corp?"+p.query()).Get("state"), somewhere("ok", newSubject())), p)
	}
	spare := code()
	g.post(t, "/auth/exchange", object{"code": spare}).refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
	g.post(t, "/auth/exchange", object{"code_verifier": p.verifier}).refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
	g.exchange(t, spare, p.verifier).tokens(t) // nothing was tried before
	for _, wrong := range []string{newPage("").verifier, p.challenge, p.verifier + "x", p.verifier[:42], p.verifier + " ", strings.Repeat("x", 129), "plain"} {
		c := code()
		g.exchange(t, c, wrong).refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
		g.exchange(t, c, p.verifier).refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID") // there is no second guess
	}
	for _, forged := range []string{"x", strings.Repeat("A", 43)} {
		g.exchange(t, forged, p.verifier).refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
	}
	// A code is for the exchange, and for nothing else.
	c := code()
	g.get(t, "/auth/magic-link/"+c).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
	b.back(t, "corp", c, "ok").refused(t, http.StatusBadRequest, "OAUTH_STATE_INVALID")
	g.refresh(t, c).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
	g.exchange(t, c, p.verifier).tokens(t)
}

func TestSuspensionBetweenCallbackAndExchange(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := startFederated(t, in)
	b := g.browser(t)
	subject := newSubject()
	got := b.back(t, "corp", b.leave(t, "/auth/oauth/corp").Get("state"), somewhere("ok", subject)).tokens(t)
	p := newPage(appPage)
	code := b.code(t, b.back(t, "corp", b.leave(t, "/auth/oauth/corp?"+p.query()).Get("state"), somewhere("ok", subject)), p)
	in.suspend(t, got.User.ID)
	g.exchange(t, code, p.verifier).refused(t, http.StatusForbidden, "ACCOUNT_SUSPENDED")
}

func TestALinkIsCommittedByTheSessionThatBeganIt(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startFederated(t, in)
		_, ann := g.member(t)
		p := newPage(appPage)
		begin := func(access, provider string) string {
			t.Helper()
			a := g.post(t, "/api/users/me/identities", object{"provider": provider, "redirect_uri": p.uri, "code_challenge": p.challenge}, bearer(access)).ok(t, http.StatusOK)
			a.discreet(t)
			target := a.json(t)["url"].(string)
			path, ok := strings.CutPrefix(target, g.base)
			if !ok {
				t.Fatalf("the link begins at %q", target)
			}
			_, token, _ := strings.Cut(path, "link=")
			g.secrets.add("token of a link", token)
			return path
		}
		subject := newSubject()
		b := g.browser(t)
		path := begin(ann.Access, "corp")
		sent := b.leave(t, path)
		if sent.Get("kind") != "link" {
			t.Errorf("the flow is a %q", sent.Get("kind"))
		}
		b.get(t, path).refused(t, http.StatusBadRequest, "INVALID_TOKEN") // it worked once
		code := b.code(t, b.back(t, "corp", sent.Get("state"), somewhere("unproven", subject)), p)
		a := g.exchange(t, code, p.verifier)
		a.refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
		linked := g.exchange(t, code, p.verifier, bearer(ann.Access)).ok(t, http.StatusOK).json(t)["linked"].(object)
		if linked["provider"] != "corp" || linked["id"] == "" || linked["email"] != subject+"@example.com" {
			t.Errorf("linked %v", linked)
		}
		got := b.back(t, "corp", b.leave(t, "/auth/oauth/corp").Get("state"), somewhere("unproven", subject)).tokens(t)
		if got.User.ID != ann.User.ID {
			t.Error("the linked login is another user")
		}

		// Again it changes nothing; and what is Ann's cannot become Bob's.
		link := func(who tokens, provider, subject string) answer {
			t.Helper()
			b := g.browser(t)
			code := b.code(t, b.back(t, provider, b.leave(t, begin(who.Access, provider)).Get("state"), somewhere("ok", subject)), p)
			return g.exchange(t, code, p.verifier, bearer(who.Access))
		}
		if again := link(ann, "corp", subject).ok(t, http.StatusOK).json(t)["linked"].(object); again["id"] != linked["id"] {
			t.Errorf("linked again as %v", again)
		}
		_, bob := g.member(t)
		link(bob, "corp", subject).refused(t, http.StatusConflict, "DUPLICATE_RESOURCE")

		// At SAML it is the same.
		state := g.samlState(t, b, begin(ann.Access, "sso"))
		saml := b.form(t, "/auth/saml/acs", url.Values{"SAMLResponse": {somewhere("ok", subject)}, "RelayState": {state}})
		if saml.status != http.StatusSeeOther {
			t.Errorf("after a POST the browser is sent on with %d, want 303", saml.status)
		}
		g.exchange(t, b.code(t, saml, p), p.verifier, bearer(ann.Access)).ok(t, http.StatusOK)

		for _, tt := range []struct {
			body   object
			status int
			code   string
		}{
			{object{"redirect_uri": p.uri, "code_challenge": p.challenge}, http.StatusBadRequest, "MISSING_REQUIRED_FIELD"},
			{object{"provider": "corp"}, http.StatusBadRequest, "MISSING_REQUIRED_FIELD"},
			{object{"provider": "corp", "redirect_uri": p.uri + "x", "code_challenge": p.challenge}, http.StatusUnprocessableEntity, "VALIDATION_ERROR"},
			{object{"provider": "email", "redirect_uri": p.uri, "code_challenge": p.challenge}, http.StatusNotFound, "NOT_FOUND"},
		} {
			g.post(t, "/api/users/me/identities", tt.body, bearer(ann.Access)).refused(t, tt.status, tt.code)
		}
		g.post(t, "/api/users/"+bob.User.ID+"/identities", object{}, bearer(ann.Access)).refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
		g.post(t, "/api/users/me/identities", object{}).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
	})
}

// The attacker begins a link, and gets the victim to open its URL. Were it committed at the
// callback, the victim's login at the other site would open the attacker's account, into
// which the victim then puts things; or worse, the other way around.
func TestALinkURLSentToSomebodyElseLinksNothing(t *testing.T) {
	t.Parallel()
	g := startFederated(t, onSQLite(t))
	_, attacker := g.member(t)
	_, victim := g.member(t)
	subject := newSubject()
	p := newPage(appPage) // of the attacker's own browser
	lure := func() (code string) {
		a := g.post(t, "/api/users/me/identities", object{"provider": "corp", "redirect_uri": p.uri, "code_challenge": p.challenge}, bearer(attacker.Access)).ok(t, http.StatusOK)
		b := g.browser(t) // the victim's
		sent := b.leave(t, strings.TrimPrefix(a.json(t)["url"].(string), g.base))
		return b.code(t, b.back(t, "corp", sent.Get("state"), somewhere("ok", subject)), p)
	}
	// The page in the victim's browser began nothing, so it has another verifier, if any.
	g.exchange(t, lure(), newPage("").verifier, bearer(victim.Access)).refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
	// And if it had the attacker's, it is logged in as somebody else, or as nobody.
	code := lure()
	g.exchange(t, code, p.verifier).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
	g.exchange(t, code, p.verifier, bearer(victim.Access)).refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
	g.exchange(t, code, p.verifier, bearer(attacker.Access)).refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID") // spent

	b := g.browser(t)
	got := b.back(t, "corp", b.leave(t, "/auth/oauth/corp").Get("state"), somewhere("ok", subject)).tokens(t)
	if got.User.ID == attacker.User.ID || got.User.ID == victim.User.ID {
		t.Error("the login was linked")
	}
}

// samlState begins at SAML and returns the state that goes to the other site.
func (g *gate) samlState(t testing.TB, b browser, path string) string {
	t.Helper()
	return b.leave(t, path).Get("state")
}

func TestSAML(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startFederated(t, in)
		b := g.browser(t)
		acs := func(response, relay string) answer {
			t.Helper()
			a := b.form(t, "/auth/saml/acs", url.Values{"SAMLResponse": {response}, "RelayState": {relay}})
			a.discreet(t)
			return a
		}
		subject := newSubject()
		got := acs(somewhere("ok", subject), g.samlState(t, b, "/auth/saml/login?idp=x")).tokens(t)
		g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)

		// A replay in another flow, which the provider finds out by an entry of its own.
		acs(somewhere("ok", subject), g.samlState(t, b, "/auth/saml/login")).refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")
		acs(somewhere("denied", subject), g.samlState(t, b, "/auth/saml/login")).refused(t, http.StatusBadRequest, "SAML_SIGNATURE_INVALID")
		acs("", g.samlState(t, b, "/auth/saml/login")).refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
		acs(somewhere("ok", newSubject()), strings.Repeat("A", 43)).refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")

		// One that nobody asked for, once.
		unasked := somewhere("ok", newSubject())
		acs(unasked, "").tokens(t)
		acs(unasked, "https://evil.example").refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")
		unasked = somewhere("ok", newSubject())
		won := 0
		for _, a := range crowd(t, func(int) (answer, error) {
			return b.tryForm("/auth/saml/acs", url.Values{"SAMLResponse": {unasked}})
		}) {
			switch {
			case a.status == http.StatusOK:
				won++
			case a.status == http.StatusServiceUnavailable:
				a.refused(t, a.status, "SERVICE_UNAVAILABLE") // lost every race
			default:
				a.refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")
			}
		}
		if won != 1 {
			t.Errorf("one answer logged in %d times", won)
		}

		// With a page, by the older name; begun by a form and by JSON.
		p := newPage(appPage)
		old := url.Values{"relay_state": {p.uri}, "code_challenge": {p.challenge}, "idp": {"x"}}
		for _, a := range []answer{
			b.form(t, "/auth/saml/login", old),
			b.post(t, "/auth/saml/login", object{"relay_state": p.uri, "code_challenge": p.challenge}),
		} {
			state := a.ok(t, http.StatusSeeOther).sentTo(t, site+"/authorize").Get("state")
			code := b.code(t, acs(somewhere("ok", newSubject()), state), p)
			g.exchange(t, code, p.verifier).tokens(t)
		}
		old.Set("redirect_uri", appURI)
		b.form(t, "/auth/saml/login", old).refused(t, http.StatusUnprocessableEntity, "VALIDATION_ERROR")

		for path, what := range map[string]string{
			"/auth/saml/metadata": "metadata", "/auth/saml/metadata/0198c0de-0000-7000-8000-000000000001": "metadata/0198c0de-0000-7000-8000-000000000001",
		} {
			a := g.get(t, path).ok(t, http.StatusOK)
			want := fmt.Sprintf("<%s acs='%[2]s/auth/saml/acs' slo='%[2]s/auth/saml/slo'/>", what, g.base)
			if string(a.body) != want || a.header.Get("Content-Type") != "application/samlmetadata+xml" || !strings.Contains(a.header.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("%s = %s %v", path, a.body, a.header)
			}
		}
		g.get(t, "/auth/saml/metadata/x").refused(t, http.StatusNotFound, "NOT_FOUND")
	})
}

func TestThePageThatPostsRunsNoOtherScript(t *testing.T) {
	t.Parallel()
	g := startFederated(t, onSQLite(t))
	a := g.get(t, "/auth/saml/login?idp=post").ok(t, http.StatusOK)
	a.discreet(t)
	sum := sha256.Sum256([]byte("document.forms[0].submit()"))
	policy := "default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action https:; frame-ancestors 'none'; base-uri 'none'"
	if got := a.header.Get("Content-Security-Policy"); got != policy {
		t.Errorf("Content-Security-Policy = %q, want %q", got, policy)
	}
	text := string(a.body)
	for _, want := range []string{
		`<form method="post" action="https://idp.example/sso">`, `name="SAMLRequest" value="&lt;a href=&#34;x&#34;&gt;&amp;"`,
		"<script>document.forms[0].submit()</script>", `<button type="submit">`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s:\n%s", want, text)
		}
	}
	if strings.Count(text, "<script") != 1 || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the page has more than its script, or no nosniff:\n%s", text)
	}
}

func TestBindingCookies(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := startFederated(t, in)
	secure := startFederated(t, in, func(c *config.Config) {
		c.Server.PublicURL = "https://shield.example"
		c.Server.AllowedHosts = []string{"*"}
	})
	for _, tt := range []struct {
		g    *gate
		path string
		want string
	}{
		{g, "/auth/oauth/corp", "shield_login=*; Max-Age=600; Path=/; HttpOnly; SameSite=Lax"},
		{g, "/auth/saml/login", "shield_saml=*; Max-Age=600; Path=/; HttpOnly; SameSite=Lax"},
		{secure, "/auth/oauth/corp", "__Host-shield_login=*; Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{secure, "/auth/saml/login", "__Host-shield_saml=*; Max-Age=600; Path=/; HttpOnly; Secure; SameSite=None"},
	} {
		set := tt.g.get(t, tt.path).ok(t, http.StatusFound).header.Values("Set-Cookie")
		parsed, err := http.ParseSetCookie(strings.Join(set, "|"))
		if err != nil || len(set) != 1 || len(parsed.Value) != 43 {
			t.Fatalf("%s sets %q, %v", tt.path, set, err)
		}
		g.secrets.add("cookie", parsed.Value)
		want, err := http.ParseSetCookie(strings.Replace(tt.want, "*", parsed.Value, 1))
		if err != nil {
			t.Fatal(err)
		}
		if parsed.String() != want.String() {
			t.Errorf("%s sets %s, want %s", tt.path, parsed, want)
		}
		// Another tab of the browser keeps it; what was not made here is replaced.
		again := tt.g.get(t, tt.path, cookie(parsed.Name, parsed.Value)).header.Get("Set-Cookie")
		if !strings.HasPrefix(again, parsed.Name+"="+parsed.Value+";") {
			t.Errorf("another tab gets %q", again)
		}
		if planted := tt.g.get(t, tt.path, cookie(parsed.Name, "planted")).header.Get("Set-Cookie"); strings.Contains(planted, "planted") {
			t.Errorf("a cookie of somebody's choice is kept: %q", planted)
		}
		tt.g.get(t, "/status", cookie(parsed.Name, parsed.Value), cookie("own", "1")).ok(t, http.StatusOK)
		seen := in.upstream.arrivals()
		if got := seen[len(seen)-1].header.Get("Cookie"); got != "own=1" {
			t.Errorf("an upstream gets the cookies %q", got)
		}
	}
}

func TestLogoutAtTheOtherSiteEndsWhatItNames(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startFederated(t, in)
		b := g.browser(t)
		subject := newSubject()
		login := func(upstream string) tokens {
			t.Helper()
			text := "ok|" + subject + "|" + subject + "@example.com|" + upstream
			return b.form(t, "/auth/saml/acs", url.Values{"SAMLResponse": {text}, "RelayState": {g.samlState(t, b, "/auth/saml/login")}}).tokens(t)
		}
		one, two, three := login("_1"), login("_2"), login("_3")
		alive := func(want ...bool) {
			t.Helper()
			for i, s := range []tokens{one, two, three} {
				if want[i] {
					g.get(t, "/api/notes", bearer(s.Access)).ok(t, http.StatusOK)
					continue
				}
				g.get(t, "/api/notes", bearer(s.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
				g.refresh(t, s.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
			}
		}
		slo := func(values url.Values) answer { return b.get(t, "/auth/saml/slo?"+values.Encode()) }
		slo(url.Values{"SAMLRequest": {"forged|x"}}).refused(t, http.StatusBadRequest, "SAML_SIGNATURE_INVALID")
		slo(url.Values{"SAMLRequest": {subject + "|_1"}, "SAMLResponse": {"ok"}}).refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")
		slo(url.Values{}).refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
		slo(url.Values{"SAMLRequest": {"nobody|_1"}}).sentTo(t, site+"/slo?SAMLResponse=done")
		alive(true, true, true)
		a := slo(url.Values{"SAMLRequest": {subject + "|_2|_9"}})
		a.discreet(t)
		a.sentTo(t, site+"/slo?SAMLResponse=done")
		alive(true, false, true)
		a = b.form(t, "/auth/saml/slo", url.Values{"SAMLRequest": {subject}}).ok(t, http.StatusOK)
		if !strings.Contains(string(a.body), `<form method="post" action="https://idp.example/slo">`) {
			t.Errorf("the answer is %s", a.body)
		}
		alive(false, false, false)
	})
}

func TestLogoutHereTellsTheOtherSite(t *testing.T) {
	t.Parallel()
	g := startFederated(t, onSQLite(t))
	b := g.browser(t)
	subject := newSubject()
	login := func(upstream string) tokens {
		t.Helper()
		text := "ok|" + subject + "|" + subject + "@example.com|" + upstream
		return b.form(t, "/auth/saml/acs", url.Values{"SAMLResponse": {text}, "RelayState": {g.samlState(t, b, "/auth/saml/login")}}).tokens(t)
	}
	one, other := login("_1"), login("_2")
	a := g.post(t, "/auth/saml/logout", object{}, bearer(one.Access)).ok(t, http.StatusOK)
	a.discreet(t)
	u, err := url.Parse(a.json(t)["url"].(string))
	if err != nil || !strings.HasPrefix(u.String(), site+"/slo?") {
		t.Fatalf("the browser goes to %q, %v", u, err)
	}
	q := u.Query()
	if q.Get("subject") != subject || q.Get("session") != "_1" || q.Get("issuer") != site {
		t.Errorf("the provider was told %v", q)
	}
	g.get(t, "/api/notes", bearer(one.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
	g.get(t, "/api/notes", bearer(other.Access)).ok(t, http.StatusOK)

	state := q.Get("RelayState")
	g.secrets.add("state", state)
	// It is a logout's, and for nothing else.
	b.form(t, "/auth/saml/acs", url.Values{"SAMLResponse": {somewhere("ok", newSubject())}, "RelayState": {state}}).refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")
	back := func(response string) answer {
		return b.get(t, "/auth/saml/slo?"+url.Values{"SAMLResponse": {response}, "RelayState": {state}}.Encode())
	}
	back("ok").ok(t, http.StatusOK).discreet(t)
	back("ok").refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")
	b.get(t, "/auth/saml/slo?SAMLResponse=ok").refused(t, http.StatusBadRequest, "SAML_ASSERTION_INVALID")

	// A site without logout, and a session that began elsewhere: it ends all the same.
	_, password := g.member(t)
	for _, s := range []tokens{login(""), password} {
		g.post(t, "/auth/saml/logout", object{}, bearer(s.Access)).ok(t, http.StatusNoContent)
		g.get(t, "/api/notes", bearer(s.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
	}
}
