package gatewaytest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/materi/shield/config"
)

// otherIssuer publishes a key and signs with it.
type otherIssuer struct {
	forger
	config config.Issuer
}

func newIssuer(t testing.TB) otherIssuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(object{"keys": []object{{
			"kty": "RSA", "kid": "other-1", "use": "sig", "alg": "RS256",
			"n": number(key.N), "e": number(big.NewInt(int64(key.E))),
		}}})
	}))
	t.Cleanup(server.Close)
	now := time.Now()
	return otherIssuer{
		forger{
			key:    key,
			header: object{"alg": "RS256", "typ": "at+jwt", "kid": "other-1"},
			claims: object{
				"iss": "https://idp.example", "aud": "notes-api", "sub": "robot", "jti": rand.Text(),
				"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
			},
		},
		config.Issuer{
			Name: "other", Issuer: "https://idp.example", JWKSURL: server.URL + "/jwks.json", Audience: "notes-api",
			Algorithms: []string{"RS256"}, Types: []string{"at+jwt"}, ScopeClaim: "scope", RolesClaim: "realm.roles",
			Refresh: 15 * time.Minute, StaleFor: time.Hour,
		},
	}
}

func TestTokensOfAnotherIssuerOpenRoutesButNoSession(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		other := newIssuer(t)
		g := in.start(t, func(c *config.Config) { c.Issuers = []config.Issuer{other.config} })
		p, who := g.member(t)
		// It claims to be one of our users, in one of our sessions.
		session := g.sessions(t, who.Access)[0].ID
		token := other.with(object{
			"sub": p.id, "sid": session, "email": p.email, "auth_method": "email", "token_type": "access", "gen": 1,
			"scope": "notes.read notes.write", "realm": object{"roles": []string{"admin"}},
		}).rs256(t)
		eventually(t, "the keys of the issuer are fetched", func() bool {
			return g.get(t, "/api/notes", bearer(token)).status == http.StatusOK
		})
		got := in.upstream.last(t)
		if id := got.header.Get("X-User-Id"); id == p.id || id == "" {
			t.Errorf("X-User-ID = %q, which must be somebody, and not our user", id)
		}
		for _, name := range []string{"X-Session-Id", "X-User-Email", "X-Auth-Method"} {
			if value := got.header.Get(name); value != "" {
				t.Errorf("%s = %q on another issuer's word", name, value)
			}
		}
		g.get(t, "/scoped", bearer(token)).ok(t, http.StatusOK)
		g.get(t, "/staff", bearer(token)).ok(t, http.StatusOK)
		g.get(t, "/scoped", bearer(other.rs256(t))).refused(t, http.StatusForbidden, "INSUFFICIENT_SCOPE")
		reached := len(in.upstream.arrivals())

		for _, c := range []struct{ method, path string }{
			{"POST", "/auth/logout"}, {"POST", "/auth/revoke-all"}, {"GET", "/auth/sessions"}, {"DELETE", "/auth/sessions/" + session},
			{"GET", "/api/users/me"}, {"GET", "/api/users/" + p.id}, {"POST", "/api/users/me/password"}, {"GET", "/v1/api/users/me"},
		} {
			g.do(t, c.method, c.path, nil, bearer(token)).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
		}
		g.get(t, "/api/notes", bearer(who.Access)).ok(t, http.StatusOK) // the session is as it was

		ours := g.forger(t)
		for name, bad := range map[string]string{
			"its audience is ours":        other.with(object{"aud": g.cfg.Token.Audience}).rs256(t),
			"it says that it is us":       other.with(object{"iss": g.cfg.Token.Issuer, "aud": g.cfg.Token.Audience, "sid": session, "token_type": "access"}).rs256(t),
			"our key, its name":           forger{ours.key, other.header, other.claims}.rs256(t),
			"our key id, its key":         forger{other.key, ours.header, ours.claims}.rs256(t),
			"an id_token":                 other.head(object{"typ": "JWT"}).rs256(t),
			"expired beyond the leeway":   other.with(object{"exp": time.Now().Add(-time.Minute).Unix()}).rs256(t),
			"unsigned":                    other.unsigned("none"),
			"HS256 by its public key":     other.hs256(other.publicForms(t)["PEM"]),
			"an algorithm it may not use": other.head(object{"alg": "RS384"}).rs256(t),
		} {
			if a := g.get(t, "/api/notes", bearer(bad)); a.status != http.StatusUnauthorized {
				t.Errorf("%s: %d %s, want 401", name, a.status, a.body)
			}
		}
		in.upstream.untouched(t, reached+1)
	})
}
