//go:build !wasip1

package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/token"
	"github.com/materi/shield/sdk"
)

func TestLoginByDiscovery(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		want := sdk.Identity{
			Issuer: w.peer.url(""), Subject: "ann-1", Email: "ann@example.com", EmailVerified: true, Name: "Ann",
			AMR: []string{"pwd"}, ACR: "1", Session: "session-1",
		}
		if diff := cmp.Diff(want, w.identity()); diff != "" {
			t.Errorf("identity (-want +got):\n%s", diff)
		}
		w.quiet(nil)
	})
}

func TestQuestionIsBoundToTheFlow(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, map[string]any{
			"issuer": "%s", "scopes": []string{"openid", "groups"}, "hosted_domain": "example.com", "prompt": "select_account", "max_age": 3600,
			"parameters": map[string]string{"access_type": "offline"},
		})
		w.peer.page("/.well-known/openid-configuration", func(rw http.ResponseWriter, _ *http.Request) {
			d := w.peer.document()
			d["authorization_endpoint"] = w.peer.url("/authorize?realm=one&state=theirs")
			answer(rw, d)
		})
		for _, kind := range []sdk.FlowKind{sdk.FlowLogin, sdk.FlowLink} {
			f := w.flow(kind)
			step, err := w.do(p.Begin, f, map[string]string{"login_hint": "ann@example.com"})
			if err != nil || step.Redirect == nil {
				t.Fatalf("Begin() = %+v, %v", step, err)
			}
			u, err := url.Parse(step.Redirect.URL)
			if err != nil {
				t.Fatal(err)
			}
			want := url.Values{
				"realm": {"one"}, "response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {callback}, "scope": {"openid groups"},
				"state": {f.State}, "nonce": {f.Nonce}, "code_challenge": {f.PKCEChallenge}, "code_challenge_method": {"S256"},
				"login_hint": {"ann@example.com"}, "hd": {"example.com"}, "prompt": {"select_account"}, "max_age": {"3600"}, "access_type": {"offline"},
			}
			if diff := cmp.Diff(want, u.Query()); diff != "" || u.Path != "/authorize" {
				t.Errorf("question %s (-want +got):\n%s", u.Path, diff)
			}
		}
	})
}

func TestClientProvesItself(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		settings := func(auth string) map[string]any { return map[string]any{"issuer": "%s", "client_auth": auth} }
		request := func(w *world) *http.Request {
			w.identity()
			r := w.peer.asked("/token")[0]
			if r.PostForm.Get("grant_type") != "authorization_code" || r.PostForm.Get("redirect_uri") != callback || r.Method != http.MethodPost {
				t.Errorf("%s with the form %v", r.Method, r.PostForm)
			}
			if r.Header.Get("Accept") != "application/json" || r.URL.RawQuery != "" {
				t.Errorf("Accept %q, query %q", r.Header.Get("Accept"), r.URL.RawQuery)
			}
			return r
		}
		t.Run("basic", func(t *testing.T) {
			r := request(newWorld(t, p, settings("client_secret_basic")))
			want := "Basic " + base64.StdEncoding.EncodeToString([]byte("the+client%3A1:hush+hush%3A%25%2F%2B"))
			if got := r.Header.Get("Authorization"); got != want {
				t.Errorf("Authorization %q, want %q", got, want)
			}
			if r.PostForm.Has("client_secret") || r.PostForm.Has("client_id") {
				t.Errorf("the form has the client, too: %v", r.PostForm)
			}
		})
		t.Run("post", func(t *testing.T) {
			r := request(newWorld(t, p, settings("client_secret_post")))
			if r.PostForm.Get("client_id") != clientID || r.PostForm.Get("client_secret") != clientSecret || r.Header.Get("Authorization") != "" {
				t.Errorf("form %v, Authorization %q", r.PostForm, r.Header.Get("Authorization"))
			}
		})
		t.Run("key", func(t *testing.T) {
			for audience, path := range map[string]string{"issuer": "", "token_endpoint": "/token"} {
				s := settings("private_key_jwt")
				s["client_assertion_audience"], s["client_key_id"] = audience, "key-1"
				w := newWorld(t, p, s)
				r := request(w)
				if r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || r.PostForm.Has("client_secret") {
					t.Errorf("form %v", r.PostForm)
				}
				part := strings.Split(r.PostForm.Get("client_assertion"), ".")
				if len(part) != 3 {
					t.Fatalf("assertion of %d parts", len(part))
				}
				var header, claims map[string]any
				for i, into := range []*map[string]any{&header, &claims} {
					b, err := base64.RawURLEncoding.DecodeString(part[i])
					if err := errors.Join(err, json.Unmarshal(b, into)); err != nil {
						t.Fatal(err)
					}
				}
				if header["kid"] != "key-1" || header["alg"] != "RS256" {
					t.Errorf("header %v", header)
				}
				if claims["iss"] != clientID || claims["sub"] != clientID || claims["aud"] != w.peer.url(path) || claims["jti"] == nil || claims["exp"] == nil {
					t.Errorf("claims %v", claims)
				}
			}
		})
	})
}

func TestClientWithoutItsSecretIsTold(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, map[string]any{"issuer": "%s", "client_auth": "private_key_jwt", "client_key_algorithm": "ES256"})
		step, err := w.login(nil)
		if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeProviderError || !strings.Contains(e.Private, "client_key") {
			t.Errorf("login = %+v, %v, want an error that names client_key", step, err)
		}
	})
}

func TestEllipticCurvesAreTaken(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		w.peer.sign = signES256
		w.identity()
	})
}

// at_hash may be left out where the token comes straight from its endpoint (OpenID Connect
// Core §3.1.3.6).
func TestTokenWithoutHashIsTaken(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		claim("at_hash", nil)(w.peer)
		w.identity()
	})
}

func TestUserinfoIsAskedForWhatIsMissing(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		w.identity()
		if n := len(w.peer.asked("/userinfo")); n != 0 {
			t.Errorf("userinfo was asked %d times although the token has the address", n)
		}
		// What the token says of the address does not count for another one.
		both(claim("email", nil), claim("name", "Ann of the token"))(w.peer)
		w.peer.userinfo = map[string]any{"sub": "ann-1", "email": "other@example.com", "email_verified": false, "name": "Ann of the userinfo", "picture": "https://a.example/p.png"}
		id := w.identity()
		want := sdk.Identity{
			Issuer: w.peer.url(""), Subject: "ann-1", Email: "other@example.com", Name: "Ann of the token", AvatarURL: "https://a.example/p.png",
			AMR: []string{"pwd"}, ACR: "1", Session: "session-1",
		}
		if diff := cmp.Diff(want, id); diff != "" {
			t.Errorf("identity (-want +got):\n%s", diff)
		}
	})
}

func TestPlainOAuthBySettingsAlone(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, map[string]any{
			"issuer": "%s", "authorization_endpoint": "%s/authorize", "token_endpoint": "%s/token", "userinfo_endpoint": "%s/userinfo",
			"scopes": []string{"read"}, "claims": map[string]string{
				"subject": "user.id", "email": "user.mail", "email_verified": "", "name": "https://claims.example/name", "picture": "", "groups": "user.teams",
			},
		})
		w.peer.userinfo = map[string]any{
			"user":                        map[string]any{"id": 12345678901234567, "mail": "ann@example.com", "teams": []string{"a", "b"}},
			"https://claims.example/name": "Ann", "email_verified": true, "picture": "https://a.example/p.png",
		}
		want := sdk.Identity{Issuer: w.peer.url(""), Subject: "12345678901234567", Email: "ann@example.com", Name: "Ann", Groups: []string{"a", "b"}}
		if diff := cmp.Diff(want, w.identity()); diff != "" {
			t.Errorf("identity (-want +got):\n%s", diff)
		}
		_, question := w.begin(nil)
		if strings.Contains(question, "nonce=") {
			t.Error("a nonce was sent, which nothing would come back with")
		}
	})
}

func TestGoogleHostedDomain(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, map[string]any{"preset": "google", "issuer": "%s", "hosted_domain": "example.com"})
		claim("hd", "example.com")(w.peer)
		w.identity()
	})
}

func TestMicrosoftTenants(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		for name, more := range map[string]map[string]any{
			"any": nil, "allowed": {"allowed_tenants": []string{otherTenant, tenant}}, "the one": {"tenant": tenant},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, p, microsoft(more))
				ofTenant(tenant)(w.peer)
				for _, iss := range []string{"", w.peer.url("/" + tenant + "/v2.0")} {
					step, err := w.login(func(f map[string]string) {
						delete(f, "iss")
						if iss != "" {
							f["iss"] = iss
						}
					})
					if err != nil || step.Done == nil || step.Done.Identity.Subject != tenant+"."+object {
						t.Errorf("iss %q: login = %+v, %v", iss, step, err)
					}
				}
			})
		}
	})
}

func TestTokensAreKeptOnDemandAlone(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		if kept := w.identity().Tokens; kept != nil {
			t.Errorf("%d bytes of tokens are kept unasked", len(kept))
		}
		w.configure(map[string]any{"issuer": "%s", "keep_tokens": true})
		var got map[string]any
		if err := json.Unmarshal(w.identity().Tokens, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"access_token": accessToken, "refresh_token": "refresh-token-1", "scope": "openid email profile",
			"expires_at": float64(w.host.Now().Add(time.Hour).Unix()),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("tokens (-want +got):\n%s", diff)
		}
		grants(func(_ *peer, a map[string]any) {
			a["refresh_token"], a["expires_in"] = strings.Repeat("r", sdk.MaxTokens), "soon"
		})(w.peer)
		if kept := w.identity().Tokens; kept != nil {
			t.Errorf("%d bytes of tokens are kept, more than there is room for", len(kept))
		}
		w.quiet(nil)
	})
}

func TestDiscoveryIsRemembered(t *testing.T) {
	const path = "/.well-known/openid-configuration"
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		asked := func(want int) {
			t.Helper()
			if got := len(w.peer.asked(path)); got != want {
				t.Errorf("discovery was asked %d times, want %d", got, want)
			}
		}
		w.begin(nil)
		w.begin(nil)
		asked(1)
		w.host.Advance(time.Hour)
		w.begin(nil)
		asked(2)

		// The issuer is away: its document of before serves for a day, and it is not asked
		// for each login.
		w.peer.says(path, 503, "")
		w.host.Advance(time.Hour)
		w.begin(nil)
		w.begin(nil)
		asked(3)
		w.host.Advance(time.Minute)
		w.begin(nil)
		asked(4)
		w.host.Advance(23 * time.Hour)
		w.cannotBegin()

		w.peer.page(path, nil)
		w.begin(nil)
		if keys := w.host.Keys(); len(keys) != 1 {
			t.Errorf("keys %q, want one", keys)
		}
	})
}

// What is remembered of an issuer is everybody's. Others renew it while a browser is away, and
// that must not cost whoever comes back their code, which serves once.
func TestALoginEndsWhereItBeganWhateverIsRemembered(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		f, question := w.begin(nil)
		fields := w.peer.authorize(question)
		w.host.Advance(2 * time.Hour) // to when it is due again
		w.peer.now = w.host.Now()
		w.peer.says("/.well-known/openid-configuration", 500, "")
		f.StartedAt = w.host.Now()
		step, err := w.do(p.Continue, f, fields)
		if err != nil || step.Done == nil {
			t.Fatalf("Continue() = %+v, %v, log %v", step, err, w.host.Records())
		}
		if got := len(w.peer.asked("/.well-known/openid-configuration")); got != 1 {
			t.Errorf("discovery was asked %d times, want once", got)
		}
	})
}

func TestRotationOfKeysIsFollowed(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		key := ecJWK()
		w.peer.page("/jwks", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, map[string]any{"keys": []any{key}}) })
		w.peer.sign = signES256
		w.identity()
		w.host.Advance(time.Minute) // the gateway asks at most twice a minute
		f, question := w.begin(nil)
		w.peer.now = w.host.Now()
		w.peer.page("/jwks", nil)
		w.peer.sign = signRS256
		if step, err := w.do(p.Continue, f, w.peer.authorize(question)); err != nil || step.Done == nil {
			t.Errorf("login = %+v, %v, log %v", step, err, w.host.Records())
		}
	})
}

func TestLinkEndsInAnIdentityToo(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		f := w.flow(sdk.FlowLink)
		step, err := w.do(p.Begin, f, nil)
		if err != nil || step.Redirect == nil {
			t.Fatalf("Begin() = %+v, %v", step, err)
		}
		f.Saved = step.Save
		step, err = w.do(p.Continue, f, w.peer.authorize(step.Redirect.URL))
		if err != nil || step.Done == nil || step.Done.Identity.Subject != "ann-1" {
			t.Errorf("Continue() = %+v, %v", step, err)
		}
	})
}

// The longest token that the gateway checks is one that this provider reads.
func TestLongTokensAreRead(t *testing.T) {
	everyWay(t, func(t *testing.T, p sdk.Provider) {
		w := newWorld(t, p, nil)
		claim("padding", strings.Repeat("p", token.MaxBytes/2))(w.peer)
		w.identity()
	})
}
