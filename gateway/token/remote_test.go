package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
)

// sharedRSA is the key of every idp: making one takes longer than the rest of a test.
var sharedRSA = sync.OnceValue(func() *rsa.PrivateKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return private
})

// idp is another issuer with a JWKS that the test changes.
type idp struct {
	server  *httptest.Server
	fetches atomic.Int64
	mu      sync.Mutex
	handler http.HandlerFunc
	private *rsa.PrivateKey
}

func newIDP(t testing.TB) *idp {
	t.Helper()
	private := sharedRSA()
	p := &idp{private: private}
	p.serve(jwksOf(t, map[string]any{"kid": "k1", "alg": "RS256"}, private.Public()))
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.fetches.Add(1)
		p.mu.Lock()
		handler := p.handler
		p.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(p.server.Close)
	return p
}

func (p *idp) handle(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = h
}

func (p *idp) serve(jwks string) {
	p.handle(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(jwks)) })
}

func (p *idp) config() config.Issuer {
	return config.Issuer{
		Name: "idp", Issuer: "https://idp.test", JWKSURL: p.server.URL + "/jwks", Audience: "api", Algorithms: []string{"RS256"},
		ScopeClaim: "scp", RolesClaim: "realm_access.roles", Refresh: 5 * time.Minute, StaleFor: time.Hour,
	}
}

func jwkOf(t testing.TB, members map[string]any, public any) map[string]any {
	t.Helper()
	key, err := jwk.Import(public)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	maps.Copy(out, members)
	return out
}

func jwksOf(t testing.TB, members map[string]any, public any) string {
	t.Helper()
	return string(encode(t, map[string]any{"keys": []any{jwkOf(t, members, public)}}))
}

func (b *bench) idpPayload() map[string]any {
	now := b.clock.Now().Unix()
	return map[string]any{
		"iss": "https://idp.test", "aud": "api", "sub": "u1", "exp": now + 900, "iat": now,
		"email": "u1@idp.test", "email_verified": true, "name": "U", "scp": []string{"read", "write"},
		"realm_access": map[string]any{"roles": []string{"admin"}}, "sid": "a session of ours",
	}
}

func (p *idp) mint(t testing.TB, kid string, payload map[string]any) string {
	t.Helper()
	raw, err := sign("RS256", p.private, encode(t, map[string]any{"alg": "RS256", "kid": kid, "typ": "at+jwt"}), encode(t, payload))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// start runs the verifier until the test ends.
func (b *bench) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.verifier.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// eventually waits for a claim to become true.
func eventually(t testing.TB, what string, claim func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !claim() {
		select {
		case <-ctx.Done():
			t.Fatalf("timed out waiting: %s", what)
		case <-tick.C:
		}
	}
}

func TestRemoteTokenIsAccepted(t *testing.T) {
	p := newIDP(t)
	b := newBench(t, "EdDSA", p.config())
	b.start(t)
	got, err := b.verifier.Verify(t.Context(), p.mint(t, "k1", b.idpPayload()))
	if err != nil {
		t.Fatal(err)
	}
	now := b.clock.Now()
	want := Claims{
		Issuer: "https://idp.test", Subject: "u1", Email: "u1@idp.test", Name: "U", Scopes: []string{"read", "write"},
		RoleNames: []string{"admin"}, IssuedAt: now, ExpiresAt: now.Add(15 * time.Minute),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestRemoteClaimsAreTakenWithCare(t *testing.T) {
	p := newIDP(t)
	b := newBench(t, "EdDSA", p.config())
	b.start(t)
	base := b.idpPayload()
	read := func(payload map[string]any) Claims {
		t.Helper()
		c, err := b.verifier.Verify(t.Context(), p.mint(t, "k1", payload))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := read(with(base, "email_verified", nil)); c.Email != "" {
		t.Error("an address that the issuer did not verify was taken")
	}
	if c := read(base); c.SessionID != "" || c.Own {
		t.Error("another issuer named a session of ours")
	}
	if c := read(with(base, "scp", "a b")); !cmp.Equal(c.Scopes, []string{"a", "b"}) {
		t.Errorf("scopes = %q", c.Scopes)
	}
	if c := read(with(base, "realm_access.roles", map[string]string{"w": "viewer"})); !cmp.Equal(c.Roles, map[string]string{"w": "viewer"}) {
		t.Errorf("roles = %q", c.Roles)
	}
	if c := read(with(base, "realm_access", "admin")); c.RoleNames != nil {
		t.Errorf("role names = %q", c.RoleNames)
	}
}

func TestIssuersCannotSpeakForEachOther(t *testing.T) {
	p := newIDP(t)
	b := newBench(t, "EdDSA", p.config())
	b.start(t)
	own := b.payload()
	for name, raw := range map[string]string{
		"the other's key, our iss":  p.mint(t, "k1", own),
		"our key, the other's iss":  b.mint(t, b.header(), b.idpPayload()),
		"the other's, our audience": p.mint(t, "k1", with(b.idpPayload(), "aud", testAudience)),
	} {
		if c, err := b.verifier.Verify(t.Context(), raw); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Verify() = %+v, %v, want ErrInvalid", name, c, err)
		}
	}
}

func TestDeadIssuerDelaysNothingAndRecovers(t *testing.T) {
	p := newIDP(t)
	p.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	b := newBench(t, "EdDSA", p.config())
	b.start(t)
	eventually(t, "the first fetch", func() bool { return p.fetches.Load() == 1 })
	raw := p.mint(t, "k1", b.idpPayload())
	if _, err := b.verifier.Verify(t.Context(), raw); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Verify() while the issuer is down = %v, want ErrUnavailable", err)
	}
	if _, err := b.verifier.Verify(t.Context(), b.issue(t, sampleClaims())); err != nil {
		t.Errorf("our own token meanwhile: %v", err)
	}
	p.serve(jwksOf(t, map[string]any{"kid": "k1"}, p.private.Public()))
	b.clock.Move(fetchGap)
	if _, err := b.verifier.Verify(t.Context(), raw); err != nil {
		t.Errorf("Verify() after recovery = %v", err)
	}
}

func TestUnknownKeyCausesFewFetches(t *testing.T) {
	p := newIDP(t)
	b := newBench(t, "EdDSA", p.config())
	b.start(t)
	if _, err := b.verifier.Verify(t.Context(), p.mint(t, "k1", b.idpPayload())); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			_, err := b.verifier.Verify(t.Context(), p.mint(t, rand.Text(), b.idpPayload()))
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("Verify(unknown kid) = %v, want ErrInvalid", err)
			}
		})
	}
	wg.Wait()
	if got := p.fetches.Load(); got != 1 {
		t.Errorf("%d fetches right after the first one, want 1", got)
	}
	b.clock.Move(fetchGap)
	for range 64 {
		wg.Go(func() { _, _ = b.verifier.Verify(t.Context(), p.mint(t, rand.Text(), b.idpPayload())) })
	}
	wg.Wait()
	if got := p.fetches.Load(); got != 2 {
		t.Errorf("%d fetches after the gap, want 2", got)
	}
}

func TestRotatedKeyIsFoundAndTheOldOneForgotten(t *testing.T) {
	p := newIDP(t)
	b := newBench(t, "EdDSA", p.config())
	b.start(t)
	old := p.mint(t, "k1", b.idpPayload())
	if _, err := b.verifier.Verify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	version := b.verifier.Version()
	next, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.serve(jwksOf(t, map[string]any{"kid": "k2"}, next.Public()))
	p.private = next
	b.clock.Move(fetchGap)
	if _, err := b.verifier.Verify(t.Context(), p.mint(t, "k2", b.idpPayload())); err != nil {
		t.Errorf("token of the new key: %v", err)
	}
	if _, err := b.verifier.Verify(t.Context(), old); !errors.Is(err, ErrInvalid) {
		t.Errorf("token of a key that was withdrawn: %v, want ErrInvalid", err)
	}
	if b.verifier.Version() == version {
		t.Error("Version did not change")
	}
}

func TestLastGoodKeysServeForAWhile(t *testing.T) {
	p := newIDP(t)
	b := newBench(t, "EdDSA", p.config())
	b.start(t)
	payload := b.idpPayload()
	payload["exp"] = b.clock.Now().Add(24 * time.Hour).Unix()
	raw := p.mint(t, "k1", payload)
	if _, err := b.verifier.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]string{"not JSON": "<html>", "no keys": `{"keys":[]}`, "too long": strings.Repeat(" ", maxJWKSBytes+1)} {
		p.serve(answer)
		b.clock.Move(5 * time.Minute)
		<-b.verifier.remotes[0].request()
		if _, err := b.verifier.Verify(t.Context(), raw); err != nil {
			t.Errorf("%s: the last good keys no longer serve: %v", name, err)
		}
	}
	version := b.verifier.Version()
	b.clock.Move(time.Hour)
	if _, err := b.verifier.Verify(t.Context(), raw); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after stale_for: %v, want ErrUnavailable", err)
	}
	eventually(t, "a new version", func() bool { return b.verifier.Version() != version })
}

func TestFetchDoesNotFollowToAnotherHost(t *testing.T) {
	p := newIDP(t)
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the other host was asked")
	}))
	t.Cleanup(evil.Close)
	p.handle(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, evil.URL, http.StatusFound) })
	if _, _, err := fetchKeys(t.Context(), fetcher(newJWKSClient()), p.server.URL, []string{"RS256"}); err == nil {
		t.Error("fetchKeys() = nil, want an error")
	}
	good := jwksOf(t, map[string]any{"kid": "k1"}, p.private.Public())
	p.handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			_, _ = w.Write([]byte(good))
			return
		}
		http.Redirect(w, r, "/moved", http.StatusFound)
	})
	if _, _, err := fetchKeys(t.Context(), fetcher(newJWKSClient()), p.server.URL, []string{"RS256"}); err != nil {
		t.Errorf("redirect on the same host: %v", err)
	}
	p.handle(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) })
	if _, _, err := fetchKeys(t.Context(), fetcher(newJWKSClient()), p.server.URL, []string{"RS256"}); err == nil {
		t.Error("a redirect loop came to an end without an error")
	}
}

func TestFetchIgnoresTheProxyOfTheEnvironment(t *testing.T) {
	if newJWKSClient().Transport.(*http.Transport).Proxy != nil {
		t.Error("the client follows a proxy")
	}
}

func TestJWKSTakesOnlyWhatMayVerify(t *testing.T) {
	good := sharedRSA()
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := good.Public()
	kid := map[string]any{"kid": "k"}
	offCurve := jwkOf(t, kid, p384.Public())
	offCurve["x"] = offCurve["y"]
	cases := map[string]struct {
		key  map[string]any
		want []keyName
	}{
		"RSA without alg":       {jwkOf(t, kid, public), []keyName{{"k", "RS256"}, {"k", "PS256"}}},
		"RSA with alg":          {jwkOf(t, with(kid, "alg", "PS256"), public), []keyName{{"k", "PS256"}}},
		"alg not configured":    {jwkOf(t, with(kid, "alg", "RS512"), public), nil},
		"alg of another kind":   {jwkOf(t, with(kid, "alg", "ES384"), public), nil},
		"alg of an encryption":  {jwkOf(t, with(kid, "alg", "RSA-OAEP"), public), nil},
		"alg HS256":             {jwkOf(t, with(kid, "alg", "HS256"), public), nil},
		"for signatures":        {jwkOf(t, with(kid, "use", "sig"), p384.Public()), []keyName{{"k", "ES384"}}},
		"for encryption":        {jwkOf(t, with(kid, "use", "enc"), public), nil},
		"ops verify":            {jwkOf(t, with(kid, "key_ops", []string{"verify"}), p384.Public()), []keyName{{"k", "ES384"}}},
		"ops sign":              {jwkOf(t, with(kid, "key_ops", []string{"sign"}), public), nil},
		"no kid":                {jwkOf(t, nil, public), nil},
		"kid too long":          {jwkOf(t, map[string]any{"kid": strings.Repeat("k", 257)}, public), nil},
		"private":               {jwkOf(t, kid, good), nil},
		"private half left out": {jwkOf(t, with(kid, "d", "AQAB"), public), nil},
		"symmetric":             {map[string]any{"kty": "oct", "kid": "k", "k": "AAAA", "alg": "HS256"}, nil},
		"RSA too short":         {jwkOf(t, with(kid, "n", b64(short.N.Bytes())), public), nil},
		"RSA e=1":               {jwkOf(t, with(kid, "e", "AQ"), public), nil},
		"RSA e even":            {jwkOf(t, with(kid, "e", "BA"), public), nil},
		"RSA huge":              {jwkOf(t, with(kid, "n", strings.Repeat("_", 4000)), public), nil},
		"not on the curve":      {offCurve, nil},
		"unknown kty":           {map[string]any{"kty": "XYZ", "kid": "k"}, nil},
		"no kty":                {map[string]any{"kid": "k"}, nil},
	}
	fallback := jwkOf(t, map[string]any{"kid": "fallback", "alg": "RS256"}, public)
	algorithms := []string{"RS256", "PS256", "ES384"}
	for name, c := range cases {
		keys, _, err := parseJWKS(encode(t, map[string]any{"keys": []any{c.key, fallback}}), algorithms)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		delete(keys, keyName{"fallback", "RS256"})
		for _, want := range c.want {
			if keys[want] == nil {
				t.Errorf("%s: %v is missing", name, want)
			}
		}
		if len(keys) != len(c.want) {
			t.Errorf("%s: %d keys, want %d", name, len(keys), len(c.want))
		}
		if _, _, err := parseJWKS(encode(t, map[string]any{"keys": []any{c.key}}), algorithms); (err == nil) != (c.want != nil) {
			t.Errorf("%s alone: %v", name, err)
		}
	}
}

func TestVerifierRefusesIssuersThatCannotBeTrusted(t *testing.T) {
	good := config.Issuer{Name: "x", Issuer: "https://x.test", JWKSURL: "https://x.test/jwks", Audience: "a", Algorithms: []string{"RS256"}}
	for name, change := range map[string]func(*config.Issuer){
		"http":           func(i *config.Issuer) { i.JWKSURL = "http://x.test/jwks" },
		"http lookalike": func(i *config.Issuer) { i.JWKSURL = "http://127.0.0.1.x.test/jwks" },
		"userinfo":       func(i *config.Issuer) { i.JWKSURL = "https://u:p@x.test/jwks" },
		"file":           func(i *config.Issuer) { i.JWKSURL = "file:///etc/passwd" },
		"no audience":    func(i *config.Issuer) { i.Audience = "" },
		"no algorithm":   func(i *config.Issuer) { i.Algorithms = nil },
		"HS256":          func(i *config.Issuer) { i.Algorithms = []string{"HS256"} },
		"none":           func(i *config.Issuer) { i.Algorithms = []string{"none"} },
		"ours":           func(i *config.Issuer) { i.Issuer = testIssuer },
	} {
		cfg := good
		change(&cfg)
		c := newClock()
		_, err := NewVerifier(VerifierOptions{
			Keyring: openKeyring(t, testConfig("EdDSA"), t.TempDir(), c), Config: testConfig("EdDSA"),
			Issuers: []config.Issuer{cfg}, Now: c.Now, Log: quiet(), Registerer: prometheus.NewRegistry(),
		})
		if err == nil {
			t.Errorf("%s: NewVerifier() = nil, want an error", name)
		}
	}
}
