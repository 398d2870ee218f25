//go:build !wasip1

package oauth_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/sdk"
)

// Where a login ends that is attacked.
const (
	notGranted = denied + sdk.CodeOAuthCode
	forbidden  = denied + sdk.CodeForbidden
	unclear    = denied + sdk.CodeProviderError // not counted against the other side
	broken     = failure + sdk.CodeProviderError
)

// attack is a login in which somebody, or the other side itself, does what it should not.
type attack struct {
	name     string
	settings map[string]any // nil: the peer's issuer
	peer     func(p *peer)
	fields   func(fields map[string]string)
	want     string
}

func claim(name string, value any) func(*peer) {
	return func(p *peer) {
		before := p.claims
		p.claims = func(c map[string]any) {
			if before != nil {
				before(c)
			}
			c[name] = value
		}
	}
}

func after(d time.Duration) func(*peer) int64 {
	return func(p *peer) int64 { return p.now.Add(d).Unix() }
}

func timed(name string, d time.Duration) func(*peer) {
	return func(p *peer) { claim(name, after(d)(p))(p) }
}

func signed(sign func([]byte) string) func(*peer) { return func(p *peer) { p.sign = sign } }

func says(path string, status int, body string) func(*peer) {
	return func(p *peer) { p.says(path, status, body) }
}

// grants answers a code with tokens that are changed.
func grants(change func(p *peer, answer map[string]any)) func(*peer) {
	return func(p *peer) {
		p.page("/token", func(w http.ResponseWriter, r *http.Request) {
			a := p.grant(p.questions[r.PostForm.Get("code")])
			change(p, a)
			answer(w, a)
		})
	}
}

func without(name string) func(*peer, map[string]any) {
	return func(_ *peer, a map[string]any) { delete(a, name) }
}

func with(name string, value any) func(*peer, map[string]any) {
	return func(_ *peer, a map[string]any) { a[name] = value }
}

func set(name, value string) func(map[string]string) {
	return func(f map[string]string) { f[name] = value }
}

func both(list ...func(*peer)) func(*peer) {
	return func(p *peer) {
		for _, f := range list {
			f(p)
		}
	}
}

const (
	tenant      = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
	otherTenant = "11111111-2b34-4da1-9baa-8bc8c9d6a490"
	object      = "99999999-2b34-4da1-9baa-8bc8c9d6a490"
)

// microsoft are settings of the preset with the peer's addresses.
func microsoft(more map[string]any) map[string]any {
	s := map[string]any{
		"preset": "microsoft", "issuer": "%s/{tenantid}/v2.0",
		"authorization_endpoint": "%s/authorize?of={tenant}",
		"token_endpoint":         "%s/token", "jwks_uri": "%s/jwks",
	}
	maps.Copy(s, more)
	return s
}

// ofTenant makes tokens as Microsoft does.
func ofTenant(id string) func(*peer) {
	return func(p *peer) {
		both(claim("tid", id), claim("oid", object), claim("iss", p.url("/"+id+"/v2.0")), claim("sub", "pairwise"), claim("email_verified", nil))(p)
	}
}

// github are settings of the preset with the peer's addresses.
func github(more map[string]any) map[string]any {
	s := map[string]any{
		"preset": "github", "issuer": "%s", "authorization_endpoint": "%s/authorize", "token_endpoint": "%s/token",
		"userinfo_endpoint": "%s/userinfo", "emails_endpoint": "%s/emails",
	}
	maps.Copy(s, more)
	return s
}

func noIss(f map[string]string) { delete(f, "iss") }

var attacks = []attack{
	// The callback.
	{name: "no state", fields: func(f map[string]string) { delete(f, "state") }, want: notGranted},
	{name: "state of another flow", fields: set("state", "state-0"), want: notGranted},
	{name: "mix-up: iss of another issuer", fields: set("iss", "https://evil.example"), want: notGranted},
	{name: "mix-up: iss is a longer one", fields: func(f map[string]string) { f["iss"] += "/" }, want: notGranted},
	{name: "mix-up: iss is taken away", fields: noIss, want: notGranted},
	{name: "mix-up: iss is empty", fields: set("iss", ""), want: notGranted},
	{name: "mix-up: an error of another issuer", fields: func(f map[string]string) { f["iss"], f["error"] = "https://evil.example", "access_denied" }, want: notGranted},
	{name: "no code", fields: func(f map[string]string) { delete(f, "code") }, want: notGranted},
	{name: "made-up code", fields: set("code", "made-up"), want: notGranted},
	{name: "code with a line break", fields: func(f map[string]string) { f["code"] += "\r\nx" }, want: notGranted},
	{name: "endless code", fields: set("code", strings.Repeat("a", 100_000)), want: notGranted},
	{name: "code that tries to add a parameter", fields: func(f map[string]string) { f["code"] = "x&code_verifier=y&code=" + f["code"] }, want: notGranted},
	{name: "access denied", fields: set("error", "access_denied"), want: notGranted},
	{name: "error beside a good code", fields: set("error", "login_required"), want: notGranted},
	{name: "error that a browser makes up to have the other side taken for broken", fields: set("error", "server_error"), want: unclear},
	{name: "temporarily unavailable", fields: set("error", "temporarily_unavailable"), want: unclear},
	{name: "bad scope", fields: set("error", "invalid_scope"), want: unclear},
	{name: "error of garbage", fields: set("error", "\x00<script>"), want: unclear},
	{name: "empty error", fields: set("error", ""), want: unclear},

	// The id_token.
	{name: "wrong nonce", peer: claim("nonce", "nonce-0"), want: notGranted},
	{name: "no nonce", peer: claim("nonce", nil), want: notGranted},
	{name: "wrong audience", peer: claim("aud", "another client"), want: notGranted},
	{name: "no audience", peer: claim("aud", nil), want: notGranted},
	{name: "several audiences and no azp", peer: claim("aud", []string{clientID, "another client"}), want: notGranted},
	{name: "wrong azp", peer: claim("azp", "another client"), want: notGranted},
	{name: "wrong issuer", peer: claim("iss", "https://evil.example"), want: notGranted},
	{name: "no issuer", peer: claim("iss", nil), want: notGranted},
	{name: "issuer in another type", peer: func(p *peer) { claim("iss", []string{p.url("")})(p) }, want: notGranted},
	{name: "expired", peer: timed("exp", -time.Minute), want: notGranted},
	{name: "no expiry", peer: claim("exp", nil), want: notGranted},
	{name: "issued in the future", peer: timed("iat", time.Hour), want: notGranted},
	{name: "no time of issue", peer: claim("iat", nil), want: notGranted},
	{name: "not valid yet", peer: timed("nbf", time.Hour), want: notGranted},
	{name: "no subject", peer: claim("sub", nil), want: notGranted},
	{name: "subject is a number", peer: claim("sub", 7), want: notGranted},
	{name: "endless subject", peer: claim("sub", strings.Repeat("s", 256)), want: notGranted},
	{name: "subject with a line break", peer: claim("sub", "a\nb"), want: notGranted},
	{name: "at_hash of another access token", peer: grants(with("access_token", "stolen")), want: notGranted},
	{name: "at_hash is nothing", peer: claim("at_hash", ""), want: notGranted},
	{name: "at_hash in another type", peer: claim("at_hash", 1), want: notGranted},
	{name: "alg none", peer: signed(signNone), want: notGranted},
	{name: "HS256 with the public key", peer: signed(signWithPublicKey), want: notGranted},
	{name: "signed by a stranger with the kid of the key", peer: signed(signByStranger), want: notGranted},
	{name: "algorithm that is not configured", settings: map[string]any{"issuer": "%s", "algorithms": []string{"RS256"}}, peer: signed(signES256), want: notGranted},
	{name: "signature is cut off", peer: signed(func(c []byte) string { s := signRS256(c); return s[:strings.LastIndexByte(s, '.')+1] }), want: notGranted},
	{name: "payload of another token", peer: signed(func(c []byte) string {
		good, other := strings.Split(signRS256(c), "."), encode([]byte(strings.Replace(string(c), "ann-1", "bob-1", 1)))
		return good[0] + "." + other + "." + good[2]
	}), want: notGranted},
	{name: "member twice", peer: signed(func(c []byte) string { return signRS256([]byte(`{"sub":"bob-1",` + string(c[1:]))) }), want: notGranted},
	{name: "token is garbage", peer: grants(with("id_token", "a.b.c")), want: notGranted},
	{name: "token is in two parts", peer: grants(with("id_token", "a.b")), want: notGranted},
	{name: "logged in too long ago", settings: map[string]any{"issuer": "%s", "max_age": 60}, peer: timed("auth_time", -time.Hour), want: notGranted},
	{name: "does not say when it was logged in", settings: map[string]any{"issuer": "%s", "max_age": 60}, peer: claim("auth_time", nil), want: notGranted},
	{name: "another hosted domain", settings: map[string]any{"issuer": "%s", "hosted_domain": "example.com"}, peer: claim("hd", "evil.example"), want: forbidden},
	{name: "no hosted domain, but an address of it", settings: map[string]any{"issuer": "%s", "hosted_domain": "example.com"}, want: forbidden},

	// The token endpoint.
	{name: "no id_token", peer: grants(without("id_token")), want: broken},
	{name: "no access_token", peer: grants(without("access_token")), want: broken},
	{name: "access_token with a line break", peer: grants(with("access_token", "a\r\nX: y")), want: broken},
	{name: "token of another type", peer: grants(with("token_type", "mac")), want: broken},
	{name: "token of no type", peer: grants(without("token_type")), want: broken},
	{name: "token answer is a list", peer: says("/token", 200, `[]`), want: broken},
	{name: "token answer is no JSON", peer: says("/token", 200, `access_token=a&token_type=bearer`), want: broken},
	{name: "token answer has a member twice", peer: says("/token", 200, `{"access_token":"a","access_token":"b","token_type":"bearer"}`), want: broken},
	{name: "token answer is followed by another", peer: says("/token", 200, `{"access_token":"a","token_type":"bearer"}{}`), want: broken},
	{name: "token answer of 1 MiB", peer: says("/token", 200, `{"access_token":"`+strings.Repeat("a", 1<<20)+`","token_type":"bearer"}`), want: broken},
	{name: "token answer of 400 KiB", peer: says("/token", 200, `{"access_token":"`+strings.Repeat("a", 400<<10)+`","token_type":"bearer"}`), want: broken},
	{name: "token answer that is nested deep", peer: says("/token", 200, strings.Repeat(`{"a":`, 50_000)), want: broken},
	{name: "error in an answer that says 200", peer: says("/token", 200, `{"error":"bad_verification_code"}`), want: notGranted},
	{name: "error beside a token", peer: grants(with("error", "invalid_grant")), want: notGranted},
	{name: "wrong client", peer: says("/token", 401, `{"error":"invalid_client"}`), want: broken},
	{name: "wrong client in an answer that says 200", peer: says("/token", 200, `{"error":"incorrect_client_credentials"}`), want: broken},
	{name: "wrong callback URL", peer: says("/token", 200, `{"error":"redirect_uri_mismatch"}`), want: unclear},
	{name: "bad request", peer: says("/token", 400, `{"error":"invalid_request"}`), want: unclear},
	{name: "unknown error", peer: says("/token", 400, `{"error":"<script>"}`), want: unclear},
	{name: "error that is no text", peer: says("/token", 400, `{"error":{"error":"invalid_grant"}}`), want: unclear},
	{name: "page of a firewall", peer: says("/token", 403, `<html>`), want: unclear},
	{name: "token endpoint fails", peer: says("/token", 500, `{}`), want: broken},
	{name: "token endpoint fails with an error", peer: says("/token", 503, `{"error":"invalid_grant"}`), want: broken},
	{name: "token endpoint is tired", peer: says("/token", 429, ``), want: broken},
	{name: "token endpoint hangs up", peer: func(p *peer) {
		p.page("/token", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}, want: broken},
	{name: "token endpoint sends elsewhere", peer: func(p *peer) {
		p.page("/token", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/token2", http.StatusTemporaryRedirect)
		})
		p.page("/token2", func(w http.ResponseWriter, r *http.Request) { answer(w, p.grant(p.questions[r.PostForm.Get("code")])) })
	}, want: broken},
	{name: "token endpoint sends to a stranger", peer: func(p *peer) {
		p.page("/token", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/", http.StatusTemporaryRedirect)
		})
	}, want: broken},
	{name: "keys are gone", peer: says("/jwks", 500, ``), want: broken},
	{name: "keys are garbage", peer: says("/jwks", 200, `<html>`), want: broken},
	{name: "keys are of somebody else", peer: says("/jwks", 200, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"rsa","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`), want: notGranted},

	// Userinfo.
	{name: "userinfo of somebody else", peer: both(claim("email", nil), func(p *peer) { p.userinfo["sub"] = "bob-1" }), want: notGranted},
	{name: "userinfo of nobody", peer: both(claim("email", nil), func(p *peer) { delete(p.userinfo, "sub") }), want: notGranted},
	{name: "userinfo has a member twice", peer: both(claim("email", nil), says("/userinfo", 200, `{"sub":"ann-1","email":"a@example.com","email":"b@example.com"}`)), want: broken},
	{name: "userinfo is a JWT", peer: both(claim("email", nil), says("/userinfo", 200, `eyJhbGciOiJub25lIn0.e30.`)), want: broken},
	{name: "userinfo is closed", peer: both(claim("email", nil), says("/userinfo", 403, `{}`)), want: unclear},
	{name: "userinfo fails", peer: both(claim("email", nil), says("/userinfo", 502, ``)), want: broken},
	{name: "userinfo sends elsewhere", peer: both(claim("email", nil), func(p *peer) {
		p.page("/userinfo", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/userinfo2", http.StatusFound) })
		p.says("/userinfo2", 200, `{"sub":"ann-1","email":"ann@example.com","email_verified":true}`)
	}), want: broken},

	// Microsoft.
	{name: "token of a tenant that names another", settings: microsoft(nil), peer: both(ofTenant(tenant), claim("tid", otherTenant)), fields: noIss, want: notGranted},
	{name: "no tenant", settings: microsoft(nil), peer: both(ofTenant(tenant), claim("tid", nil)), fields: noIss, want: notGranted},
	{name: "tenant is a path", settings: microsoft(nil), peer: func(p *peer) { ofTenant("../" + tenant)(p) }, fields: noIss, want: notGranted},
	{name: "tenant is the template", settings: microsoft(nil), peer: func(p *peer) { ofTenant("{tenantid}")(p) }, fields: noIss, want: notGranted},
	{name: "tenant in capitals", settings: microsoft(nil), peer: func(p *peer) { ofTenant(strings.ToUpper(tenant))(p) }, fields: noIss, want: notGranted},
	{name: "tenant that is not allowed", settings: microsoft(map[string]any{"allowed_tenants": []string{otherTenant}}), peer: ofTenant(tenant), fields: noIss, want: forbidden},
	{name: "tenant that is not the one", settings: microsoft(map[string]any{"tenant": otherTenant}), peer: ofTenant(tenant), fields: noIss, want: forbidden},
	{name: "issuer of no tenant", settings: microsoft(nil), peer: func(p *peer) {
		both(ofTenant(tenant), claim("iss", p.url("/{tenantid}/v2.0")))(p)
	}, fields: noIss, want: notGranted},
	{name: "iss of another tenant than the token", settings: microsoft(nil), peer: ofTenant(tenant), fields: func(f map[string]string) { f["iss"] += "/" + otherTenant + "/v2.0" }, want: notGranted},
	{name: "iss of the template", settings: microsoft(nil), peer: ofTenant(tenant), fields: func(f map[string]string) { f["iss"] += "/{tenantid}/v2.0" }, want: notGranted},
	{name: "no oid", settings: microsoft(nil), peer: both(ofTenant(tenant), claim("oid", nil)), fields: noIss, want: broken},
	{name: "oid with a dot", settings: microsoft(nil), peer: both(ofTenant(tenant), claim("oid", "a.b")), fields: noIss, want: notGranted},

	// GitHub.
	{name: "user without an id", settings: github(nil), peer: says("/userinfo", 200, `{"login":"ann"}`), want: broken},
	{name: "user with an id of another type", settings: github(nil), peer: says("/userinfo", 200, `{"id":1.5e3}`), want: broken},
	{name: "user is an error", settings: github(nil), peer: says("/userinfo", 401, `{"message":"Bad credentials"}`), want: unclear},
	{name: "emails are closed", settings: github(nil), peer: both(says("/userinfo", 200, `{"id":7}`), says("/emails", 404, `{}`)), want: unclear},
	{name: "emails are an object", settings: github(nil), peer: both(says("/userinfo", 200, `{"id":7}`), says("/emails", 200, `{"email":"a@example.com","primary":true,"verified":true}`)), want: broken},
	{name: "email has a member twice", settings: github(nil), peer: both(says("/userinfo", 200, `{"id":7}`),
		says("/emails", 200, `[{"email":"a@example.com","primary":true,"verified":false,"verified":true}]`)), want: broken},
}

func TestAttacksAreRefused(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		for _, a := range attacks {
			t.Run(a.name, func(t *testing.T) {
				w := newWorld(t, p, a.settings)
				if a.peer != nil {
					a.peer(w.peer)
				}
				w.refused(a.want, a.fields)
			})
		}
	})
}

// A discovery document that does not hold keeps everybody out before a browser is sent
// anywhere.
func TestDiscoveryIsHeldToTheIssuer(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		for name, change := range map[string]func(d map[string]any){
			"another issuer":             func(d map[string]any) { d["issuer"] = "https://evil.example" },
			"the issuer with a slash":    func(d map[string]any) { d["issuer"] = fmt.Sprint(d["issuer"], "/") },
			"no issuer":                  func(d map[string]any) { delete(d, "issuer") },
			"issuer in a list":           func(d map[string]any) { d["issuer"] = []any{d["issuer"]} },
			"token endpoint without TLS": func(d map[string]any) { d["token_endpoint"] = "http://evil.example/token" },
			"keys without TLS":           func(d map[string]any) { d["jwks_uri"] = "http://evil.example/jwks" },
			"no keys":                    func(d map[string]any) { delete(d, "jwks_uri") },
			"authorization by a script":  func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
			"authorization with a user":  func(d map[string]any) { d["authorization_endpoint"] = "https://a@evil.example/" },
			"authorization with a break": func(d map[string]any) { d["authorization_endpoint"] = "https://evil.example/\n" },
			"authorization without an end": func(d map[string]any) {
				d["authorization_endpoint"] = "https://evil.example/" + strings.Repeat("a", 9000)
			},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, p, nil)
				w.peer.page("/.well-known/openid-configuration", func(rw http.ResponseWriter, _ *http.Request) {
					d := w.peer.document()
					change(d)
					answer(rw, d)
				})
				w.cannotBegin()
			})
		}
		for name, page := range map[string]func(*peer){
			"no JSON":   says("/.well-known/openid-configuration", 200, `<html>`),
			"a list":    says("/.well-known/openid-configuration", 200, `[]`),
			"not there": says("/.well-known/openid-configuration", 404, `{}`),
			"fails":     says("/.well-known/openid-configuration", 500, `{}`),
			"1 MiB":     says("/.well-known/openid-configuration", 200, strings.Repeat(" ", 1<<20)),
			"issuer twice": func(p *peer) {
				p.says("/.well-known/openid-configuration", 200, `{"issuer":"https://evil.example","issuer":"`+p.url("")+`"}`)
			},
			"elsewhere": func(p *peer) {
				p.page("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/d", http.StatusFound) })
				p.page("/d", p.discovery)
			},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, p, nil)
				page(w.peer)
				w.cannotBegin()
			})
		}
	})
}

// cannotBegin demands that no login begins.
func (w *world) cannotBegin() {
	w.t.Helper()
	step, err := w.do(w.p.Begin, w.flow(sdk.FlowLogin), nil)
	if got := ending(step, err); got != broken {
		w.t.Errorf("Begin() ends in %q, want %q", got, broken)
	}
}

// A code is good once: the other side says so, and its answer is believed.
func TestCodeIsGoodOnce(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		f, question := w.begin(nil)
		fields := w.peer.authorize(question)
		if step, err := w.do(w.p.Continue, f, fields); err != nil || step.Done == nil {
			t.Fatalf("first: %+v, %v", step, err)
		}
		if got := ending(w.do(w.p.Continue, f, fields)); got != notGranted {
			t.Errorf("again: %q, want %q", got, notGranted)
		}
	})
}

// The code of another flow is bound to that one's verifier: who slips it in gets nothing.
func TestCodeOfAnotherFlowIsRefused(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		_, theirs := w.begin(nil)
		stolen := w.peer.authorize(theirs)["code"]
		w.refused(notGranted, set("code", stolen))
	})
}

// What the browser was sent out with is for the issuer that it was sent to.
func TestSettingsThatChangeInBetweenEndTheLogin(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		f, question := w.begin(nil)
		fields := w.peer.authorize(question)
		w.configure(map[string]any{"issuer": "https://another.example"})
		if got := ending(w.do(w.p.Continue, f, fields)); got != notGranted {
			t.Errorf("ends in %q, want %q", got, notGranted)
		}
		if n := len(w.peer.asked("/token")); n != 0 {
			t.Errorf("the code was sent %d times", n)
		}
	})
}

// Whoever answers for another issuer must not even learn the code, nor be asked for keys.
func TestNothingIsSentAfterAMixUp(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		w.refused(notGranted, set("iss", "https://evil.example"))
		for _, path := range []string{"/token", "/jwks", "/userinfo"} {
			if n := len(w.peer.asked(path)); n != 0 {
				t.Errorf("%s was asked %d times", path, n)
			}
		}
	})
}

// A token of the wrong issuer or tenant is refused before its keys are looked up.
func TestIssuerIsSettledBeforeKeysAreFetched(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		for name, a := range map[string]attack{
			"issuer": {peer: claim("iss", "https://evil.example")},
			"tenant": {settings: microsoft(map[string]any{"allowed_tenants": []string{otherTenant}}), peer: ofTenant(tenant), fields: noIss},
			"none":   {peer: signed(signNone)},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, p, a.settings)
				a.peer(w.peer)
				step, err := w.login(a.fields)
				if !strings.HasPrefix(ending(step, err), denied) {
					t.Errorf("login = %+v, %v, want a denial", step, err)
				}
				if n := len(w.peer.asked("/jwks")); n != 0 {
					t.Errorf("the keys were fetched %d times", n)
				}
			})
		}
	})
}

// nOAuth: whoever runs a tenant writes any address into it. It is that person's claim, and
// never the person's name.
func TestMicrosoftAddressProvesNothingByItself(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		for name, c := range map[string]struct {
			edov any
			want bool
		}{
			"nothing":    {nil, false},
			"false":      {false, false},
			"text false": {"false", false},
			"zero":       {"0", false},
			"list":       {[]bool{true}, false},
			"capital":    {"True", false},
			"true":       {true, true},
			"one":        {"1", true},
			"number one": {1, true},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, p, microsoft(nil))
				both(ofTenant(tenant), claim("email", "victim@example.com"), claim("email_verified", true), claim("xms_edov", c.edov))(w.peer)
				step, err := w.login(noIss)
				if err != nil || step.Done == nil {
					t.Fatalf("login = %+v, %v", step, err)
				}
				id := step.Done.Identity
				if id.EmailVerified != c.want || id.Email != "victim@example.com" {
					t.Errorf("address %q is verified: %v, want %v", id.Email, id.EmailVerified, c.want)
				}
				if want := tenant + "." + object; id.Subject != want || id.Issuer != w.peer.url("/"+tenant+"/v2.0") {
					t.Errorf("identity is %q of %q, want %q", id.Subject, id.Issuer, want)
				}
			})
		}
	})
}

// The address in the public profile is what the person wrote there.
func TestGitHubTakesTheVerifiedPrimaryAddressAlone(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		for name, c := range map[string]struct{ emails, want string }{
			"verified primary":   {`[{"email":"old@example.com","primary":false,"verified":true},{"email":"ann@example.com","primary":true,"verified":true}]`, "ann@example.com"},
			"unverified primary": {`[{"email":"old@example.com","primary":false,"verified":true},{"email":"ann@example.com","primary":true,"verified":false}]`, ""},
			"no primary":         {`[{"email":"old@example.com","primary":false,"verified":true}]`, ""},
			"none":               {`[]`, ""},
			"flags are texts":    {`[{"email":"ann@example.com","primary":"true","verified":"true"}]`, ""},
			"no address":         {`[{"email":"a@b@c","primary":true,"verified":true}]`, ""},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, p, github(nil))
				w.peer.says("/userinfo", 200, `{"id":583231,"login":"ann","name":"Ann","email":"victim@example.com","email_verified":true,"avatar_url":"https://avatars.example/u/1"}`)
				w.peer.says("/emails", 200, c.emails)
				id := w.identity()
				if id.Email != c.want || id.EmailVerified != (c.want != "") {
					t.Errorf("address is %q, verified %v, want %q", id.Email, id.EmailVerified, c.want)
				}
				if id.Subject != "583231" || id.Issuer != w.peer.url("") || id.AvatarURL != "https://avatars.example/u/1" {
					t.Errorf("identity is %+v", id)
				}
				if got := w.peer.asked("/emails"); len(got) != 1 || got[0].Header.Get("Authorization") != "Bearer "+accessToken {
					t.Error("emails were not asked for with the token")
				}
			})
		}
	})
}

// A person must not be kept out by an odd name, nor change a page, a log or a group by one.
func TestOddTextsAreCleaned(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, map[string]any{"issuer": "%s", "claims": map[string]any{"groups": "groups"}})
		many := make([]string, 3000)
		for i := range many {
			many[i] = fmt.Sprint("group-", i)
		}
		both(
			claim("name", "\u202eAnn\x00\r\n  "+strings.Repeat("ü", 400)), claim("email", "Ann <ann@example.com>"), claim("picture", "javascript:alert(1)"),
			claim("acr", strings.Repeat("a", 300)), claim("amr", []any{"pwd", 7, "a\nb", strings.Repeat("a", 65)}), claim("sid", "a\nb"),
			func(p *peer) {
				p.userinfo = map[string]any{"sub": "ann-1", "groups": append([]string{"a\u202eb", strings.Repeat("g", 300)}, many...)}
			},
		)(w.peer)
		id := w.identity()
		if !strings.HasPrefix(id.Name, "Ann ü") || len(id.Name) > 256 || id.Email != "" || id.EmailVerified || id.AvatarURL != "" {
			t.Errorf("identity is %.400v", id)
		}
		if id.ACR != "" || !slices.Equal(id.AMR, []string{"pwd"}) || id.Session != "" || len(id.Groups) != 1000 || id.Groups[0] != "group-0" {
			t.Errorf("acr %q, amr %q, session %q, %d groups", id.ACR, id.AMR, id.Session, len(id.Groups))
		}
	})
}

// A hint is a person's guess at a name, and the rest of a question is not.
func TestHintChangesNothingElse(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		for hint, want := range map[string]string{
			"ann@example.com": "ann@example.com", "": "", "x&client_id=evil&redirect_uri=https://evil.example": "x&client_id=evil&redirect_uri=https://evil.example",
			"a\r\nb": "", strings.Repeat("a", 255): "",
		} {
			_, question := w.begin(map[string]string{"login_hint": hint, "client_id": "evil", "state": "evil"})
			u, err := url.Parse(question)
			if err != nil {
				t.Fatal(err)
			}
			if q := u.Query(); q.Get("login_hint") != want || q.Get("client_id") != clientID || len(q["state"]) != 1 || q.Get("state") == "evil" {
				t.Errorf("hint %.40q: the question is %v", hint, q)
			}
		}
	})
}
