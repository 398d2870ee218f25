package gatewaytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/gateway/testbed"
)

// oauthPlugin is the plugin as a module and as a program, built once.
var oauthPlugin = map[string]func() (string, error){
	"wasm": sync.OnceValues(func() (string, error) {
		return wasmtest.Build("../../plugins/oauth/cmd", filepath.Join(filepath.Dir(compileCache), "oauth"))
	}),
	"process": sync.OnceValues(func() (string, error) {
		return wasmtest.BuildProcess("../../plugins/oauth/cmd", filepath.Join(filepath.Dir(compileCache), "oauth"))
	}),
}

// otherSite is a provider of the configuration that logs in at another site.
type otherSite struct {
	name     string
	allow    []string // servers
	secrets  map[string]string
	settings config.Settings
	timeout  time.Duration // of a request; 0: the default
}

const upstreamSecret = "hush: a secret/of+the client"

// at adds providers to a configuration, each for another site.
func at(t testing.TB, transport string, sites ...otherSite) func(*config.Config) {
	t.Helper()
	file, err := oauthPlugin[transport]()
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		for _, s := range sites {
			p := c.Providers[0]
			p.Name, p.Label, p.Plugin, p.Transport = s.name, s.name, file, transport
			p.Capabilities = []string{"kv", "log", "http", "jwt", "secret"}
			p.HTTP.Allow, p.HTTP.Addresses = s.allow, []string{"127.0.0.0/8"}
			if s.timeout > 0 {
				p.HTTP.Timeout = s.timeout
			}
			if s.secrets == nil {
				s.secrets = map[string]string{"client_secret": upstreamSecret}
			}
			p.Secrets = nil
			for name, value := range s.secrets {
				p.Secrets = append(p.Secrets, config.ProviderSecret{Name: name, Value: config.NewSecret(value)})
			}
			p.Config = s.settings
			p.TrustEmail = []string{"example.com"}
			c.Providers = append(c.Providers, p)
		}
		c.Login.Provider = "email"
		c.Login.RedirectURIs = []string{landingPage}
		c.Token.Algorithm = "EdDSA" // signing is not what is tried here
		limited("sso", 1_000_000)(c)
	}
}

const landingPage = "https://app.example.com/signed-in"

// startAt starts a gateway and waits until its providers are
// loaded.
func (in *installation) startAt(t testing.TB, change ...func(*config.Config)) *gate {
	t.Helper()
	g := in.start(t, change...)
	eventually(t, "all providers are loaded", func() bool {
		list := string(g.get(t, "/auth/providers").body)
		return strings.Count(list, `"kind"`) == len(g.cfg.Providers)
	})
	return g
}

// clientKey is a private key as PEM, and its public half as a JWK Set.
func clientKey(t testing.TB) (private string, public map[string]any) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	jwk := map[string]any{"kty": "EC", "crv": "P-256", "kid": "client-1", "alg": "ES256", "use": "sig", "x": encode(point[1:33]), "y": encode(point[33:])}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), map[string]any{"keys": []any{jwk}}
}

// compiled compiles the module before many gateways want it at once.
var compiled sync.Once

// everyTransport runs a story with the plugin as a module and as a process.
func everyTransport(t *testing.T, story func(t *testing.T, transport string)) {
	compiled.Do(func() {
		onSQLite(t).startAt(t, at(t, "wasm", otherSite{
			name: "compiled", allow: []string{"https://accounts.google.com"}, settings: config.Settings{"preset": "google", "client_id": "nobody"},
		}))
	})
	for _, transport := range []string{"wasm", "process"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			story(t, transport)
		})
	}
}

// ann is somebody that the other site vouches for; carl's address it does not.
var people = map[string]any{
	"ann":  map[string]any{"email": "ann@example.com", "email_verified": true, "name": "Ann \u202e<b>", "picture": "https://pictures.example/ann.png"},
	"bob":  map[string]any{"email": "bob@example.com", "email_verified": true, "name": "Bob"},
	"dan":  map[string]any{"email": "dan@example.com", "email_verified": true, "name": "Dan"},
	"carl": map[string]any{"email": "carl@example.com", "email_verified": false, "name": "Carl"},
}

// issuerOf makes an issuer of a real OpenID provider and a gateway that knows it. The
// providers of the gateway are called like the clients of the issuer.
func issuerOf(t testing.TB, idp *testbed.OpenIDProvider, in *installation, transport string, more ...func(*otherSite)) (*gate, *testbed.Issuer) {
	t.Helper()
	private, public := clientKey(t)
	var issuer *testbed.Issuer
	// The issuer has to know the gateway's address, and the gateway the issuer's.
	g := in.startAt(t, func(c *config.Config) {
		callbacks := []string{}
		for _, client := range []string{"basic", "post", "key"} {
			callbacks = append(callbacks, c.Server.PublicURL+"/auth/oauth/"+client+"/callback")
		}
		name := strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-")
		issuer = idp.Issuer(t, name, map[string]any{
			"client_secret": upstreamSecret, "redirect_uris": callbacks, "client_jwks": public, "accounts": people,
		})
		base := issuer.URL[:strings.LastIndexByte(issuer.URL, '/')]
		sites := []otherSite{
			{name: "basic", settings: config.Settings{"client_id": "basic"}},
			{name: "post", settings: config.Settings{"client_id": "post", "client_auth": "client_secret_post"}},
			{name: "key", secrets: map[string]string{"client_key": private}, settings: config.Settings{
				"client_id": "key", "client_auth": "private_key_jwt", "client_key_id": "client-1", "client_key_algorithm": "ES256",
			}},
		}
		for i := range sites {
			sites[i].allow, sites[i].settings["issuer"] = []string{base}, issuer.URL
			for _, m := range more {
				m(&sites[i])
			}
		}
		at(t, transport, sites...)(c)
	})
	in.secrets.add("client secret", upstreamSecret)
	return g, issuer
}

func TestLoginAtAnOpenIDProvider(t *testing.T) {
	t.Parallel()
	idp := testbed.StartOpenIDProvider(t)
	everyTransport(t, func(t *testing.T, transport string) {
		g, _ := issuerOf(t, idp, onSQLite(t), transport)

		var first string
		for _, client := range []string{"basic", "post", "key"} {
			who := map[string]string{"basic": "ann", "post": "bob", "key": "dan"}[client]
			got := g.visitor(t).logIn(t, "/auth/oauth/"+client, who).tokens(t)
			if got.User.Email != who+"@example.com" || !got.User.Verified {
				t.Errorf("%s: logged in %+v", client, got.User)
			}
			g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
			if client == "basic" {
				first = got.User.ID
				if got.User.Name != "Ann <b>" {
					t.Errorf("the name is %q", got.User.Name)
				}
			}
		}

		// Again, by way of a page, in a browser that is logged in there.
		v := g.visitor(t)
		v.logIn(t, "/auth/oauth/basic", "ann").tokens(t)
		page := newLanding(landingPage)
		a := v.logIn(t, "/auth/oauth/basic?login_hint=ann&"+page.query(), "ann")
		got := g.post(t, "/auth/exchange", object{"code": v.codeFor(t, a, page), "code_verifier": page.verifier}).tokens(t)
		if got.User.ID != first {
			t.Error("the second login is another user")
		}

		g.visitor(t).logIn(t, "/auth/oauth/key", "carl").refused(t, http.StatusForbidden, "EMAIL_NOT_VERIFIED")
		g.visitor(t).logIn(t, "/auth/oauth/basic", "nobody").refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
	})
}

// What one browser got is of no use in another, nor twice in one.
func TestAnswersOfAnOpenIDProviderServeOnce(t *testing.T) {
	t.Parallel()
	idp := testbed.StartOpenIDProvider(t)
	everyTransport(t, func(t *testing.T, transport string) {
		g, _ := issuerOf(t, idp, onSQLite(t), transport)
		v, other := g.visitor(t), g.visitor(t)

		back := v.signIn(t, g.base+"/auth/oauth/basic", "ann")
		other.visit(t, back, nil).refused(t, http.StatusBadRequest, "OAUTH_STATE_INVALID")
		v.visit(t, strings.Replace(back, "/basic/", "/post/", 1), nil).refused(t, http.StatusBadRequest, "OAUTH_STATE_INVALID")
		v.visit(t, back, nil).tokens(t)
		v.visit(t, back, nil).refused(t, http.StatusBadRequest, "OAUTH_STATE_INVALID")

		// The code again, with a state that is good.
		spent, err := url.Parse(back)
		if err != nil {
			t.Fatal(err)
		}
		next, err := url.Parse(v.signIn(t, g.base+"/auth/oauth/basic", "ann"))
		if err != nil {
			t.Fatal(err)
		}
		replay := func(name string, change func(q url.Values)) {
			q := next.Query()
			change(q)
			again := *next
			again.RawQuery = q.Encode()
			if a := v.visit(t, again.String(), nil); a.status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			} else {
				a.refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
			}
			if next, err = url.Parse(v.signIn(t, g.base+"/auth/oauth/basic", "ann")); err != nil {
				t.Fatal(err)
			}
		}
		replay("spent code", func(q url.Values) { q.Set("code", spent.Query().Get("code")) })
		stolen, err := url.Parse(other.signIn(t, g.base+"/auth/oauth/basic", "bob"))
		if err != nil {
			t.Fatal(err)
		}
		replay("code of another browser's flow", func(q url.Values) { q.Set("code", stolen.Query().Get("code")) })
		replay("iss of another issuer", func(q url.Values) { q.Set("iss", "https://evil.example") })
		replay("no iss", func(q url.Values) { q.Del("iss") })
		v.visit(t, next.String(), nil).tokens(t)
	})
}

// Tokens with the right signature that say something else.
func TestForgedTokensOfAnOpenIDProviderAreRefused(t *testing.T) {
	t.Parallel()
	idp := testbed.StartOpenIDProvider(t)
	everyTransport(t, func(t *testing.T, transport string) {
		g, issuer := issuerOf(t, idp, onSQLite(t), transport)
		past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
		v := g.visitor(t)
		for name, claims := range map[string]map[string]any{
			"nonce":    {"nonce": "another"},
			"audience": {"aud": "post"},
			"several":  {"aud": []string{"basic", "post"}},
			"azp":      {"azp": "post"},
			"issuer":   {"iss": "https://evil.example"},
			"expired":  {"exp": past},
			"future":   {"iat": future},
			"at_hash":  {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
			// The userinfo, which has the address, is about somebody else then.
			"subject": {"sub": "bob"},
		} {
			issuer.Change(t, map[string]any{"tamper": claims})
			if a := v.logIn(t, "/auth/oauth/basic", "ann"); a.status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			} else {
				a.refused(t, http.StatusBadRequest, "OAUTH_CODE_INVALID")
			}
		}
		issuer.Change(t, map[string]any{"tamper": map[string]any{}})
		v.logIn(t, "/auth/oauth/basic", "ann").tokens(t)
	})
}

// The issuer replaces its key while somebody is there.
func TestKeysOfAnOpenIDProviderRotateInMidFlow(t *testing.T) {
	t.Parallel()
	idp := testbed.StartOpenIDProvider(t)
	everyTransport(t, func(t *testing.T, transport string) {
		in := onSQLite(t)
		var ahead atomic.Int64
		in.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		g, issuer := issuerOf(t, idp, in, transport)
		v := g.visitor(t)
		v.logIn(t, "/auth/oauth/basic", "ann").tokens(t) // now the gateway has the keys
		ahead.Store(int64(time.Minute))                  // it asks for them twice a minute at most
		back := v.signIn(t, g.base+"/auth/oauth/basic", "ann")
		issuer.Change(t, map[string]any{"rotate": true})
		v.visit(t, back, nil).tokens(t)
	})
}

func TestSlowOpenIDProviderIsGivenUp(t *testing.T) {
	t.Parallel()
	idp := testbed.StartOpenIDProvider(t)
	everyTransport(t, func(t *testing.T, transport string) {
		g, issuer := issuerOf(t, idp, onSQLite(t), transport, func(s *otherSite) { s.timeout = 500 * time.Millisecond })
		v := g.visitor(t)
		v.logIn(t, "/auth/oauth/basic", "ann").tokens(t)
		for _, path := range []string{"/token", "/me"} {
			issuer.Change(t, map[string]any{"delay": map[string]any{path: 3000}})
			started := time.Now()
			v.logIn(t, "/auth/oauth/basic", "ann").refused(t, http.StatusBadGateway, "OAUTH_PROVIDER_ERROR")
			if took := time.Since(started); took > 2500*time.Millisecond {
				t.Errorf("%s: it took %v to give up", path, took)
			}
		}
		// It still has what it knew before: only who needs the other side waits for it.
		issuer.Change(t, map[string]any{"delay": map[string]any{"/.well-known/openid-configuration": 3000}})
		v.logIn(t, "/auth/oauth/basic", "ann").tokens(t)
	})
}
