package token

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/materi/shield/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const (
	testIssuer   = "https://api.materi.test"
	testAudience = "https://api.materi.test"
)

func testConfig(algorithm string) config.Token {
	return config.Token{
		Issuer: testIssuer, Audience: testAudience, Algorithm: algorithm,
		AccessTTL: 15 * time.Minute, Leeway: 30 * time.Second,
		RotateEvery: 90 * 24 * time.Hour, Overlap: 7 * 24 * time.Hour, Publish: 10 * time.Minute,
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openKeyring(t testing.TB, cfg config.Token, dir string, c *clock) *Keyring {
	t.Helper()
	k, err := OpenKeyring(KeyringOptions{Config: cfg, Dir: dir, Now: c.Now, Log: quiet()})
	if err != nil {
		t.Fatalf("OpenKeyring: %v", err)
	}
	return k
}

// bench is a keyring with an issuer and a verifier on it.
type bench struct {
	clock    *clock
	keys     *Keyring
	issuer   *Issuer
	verifier *Verifier
}

func newBench(t testing.TB, algorithm string, issuers ...config.Issuer) *bench {
	t.Helper()
	b := &bench{clock: newClock()}
	cfg := testConfig(algorithm)
	b.keys = openKeyring(t, cfg, t.TempDir(), b.clock)
	var err error
	if b.issuer, err = NewIssuer(b.keys, cfg, b.clock.Now); err != nil {
		t.Fatalf("NewIssuer: %v", err)
	}
	b.verifier, err = NewVerifier(VerifierOptions{
		Keyring: b.keys, Config: cfg, Issuers: issuers, Now: b.clock.Now, Log: quiet(), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatalf("NewVerifier: %v", err)
	}
	return b
}

func sampleClaims() Claims {
	return Claims{
		Subject: "0193b0a0-0000-7000-8000-000000000001", SessionID: "0193b0a0-0000-7000-8000-000000000002",
		Generation: 3, Method: "email", Email: "ada@example.com", Name: "Ada <b>",
		WorkspaceIDs: []string{"w1", "w2"}, Roles: map[string]string{"w1": "owner", "w2": "viewer"},
		Permissions: map[string][]string{"documents": {"read"}, "workspaces": {}}, Scopes: []string{"a", "b"},
	}
}

func (b *bench) issue(t testing.TB, c Claims) string {
	t.Helper()
	raw, _, err := b.issuer.Issue(t.Context(), c)
	if err != nil {
		t.Fatalf("Issue: %v", err)
	}
	return raw
}

func (b *bench) header() map[string]any {
	key := b.keys.active()
	return map[string]any{"alg": key.alg, "kid": key.id, "typ": "at+jwt"}
}

func (b *bench) payload() map[string]any {
	now := b.clock.Now().Unix()
	return map[string]any{
		"iss": testIssuer, "aud": testAudience, "sub": "user", "jti": "token", "sid": "session",
		"exp": now + 900, "nbf": now, "iat": now, "token_type": "access",
	}
}

// mint signs whatever it is given with the active key.
func (b *bench) mint(t testing.TB, header, payload any) string {
	t.Helper()
	key := b.keys.active()
	raw, err := sign(key.alg, key.private, encode(t, header), encode(t, payload))
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	return raw
}

// encode turns v into JSON; a string is taken as it is.
func encode(t testing.TB, v any) []byte {
	t.Helper()
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func with(m map[string]any, name string, value any) map[string]any {
	m = maps.Clone(m)
	if value == nil {
		delete(m, name)
	} else {
		m[name] = value
	}
	return m
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func TestVerifyAcceptsWhatIssueMade(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			b := newBench(t, algorithm)
			raw, expires, err := b.issuer.Issue(t.Context(), sampleClaims())
			if err != nil {
				t.Fatal(err)
			}
			got, err := b.verifier.Verify(t.Context(), raw)
			if err != nil {
				t.Fatalf("Verify: %v", err)
			}
			want := sampleClaims()
			want.Own, want.Issuer, want.ID = true, testIssuer, got.ID
			want.IssuedAt, want.ExpiresAt = b.clock.Now(), expires
			if diff := cmp.Diff(want, got); diff != "" || got.ID == "" {
				t.Errorf("Verify(Issue(c)) (-want +got):\n%s", diff)
			}
			if want := b.clock.Now().Add(15 * time.Minute); !expires.Equal(want) {
				t.Errorf("expires = %v, want %v", expires, want)
			}
		})
	}
}

// A token that we issue is read here without any of the code that made it.
func TestIssuedTokenIsReadByASecondImplementation(t *testing.T) {
	b := newBench(t, "RS256")
	raw := b.issue(t, sampleClaims())
	var jwks struct {
		Keys []struct{ Kty, Kid, Alg, Use, N, E string }
	}
	if err := json.Unmarshal(b.keys.JWKS(), &jwks); err != nil || len(jwks.Keys) != 1 {
		t.Fatalf("JWKS = %s", b.keys.JWKS())
	}
	key := jwks.Keys[0]
	// RFC 7638 §3: the members in lexical order, without white space.
	sum := sha256.Sum256([]byte(`{"e":"` + key.E + `","kty":"RSA","n":"` + key.N + `"}`))
	if key.Kid != b64(sum[:]) || key.Kty != "RSA" || key.Alg != "RS256" || key.Use != "sig" {
		t.Errorf("JWK = %+v, want kid %s", key, b64(sum[:]))
	}
	public := rsaFromJWK(t, key.N, key.E)
	header, payload, signature := cutToken(t, raw)
	digest := sha256.Sum256([]byte(raw[:len(raw)-len(b64(signature))-1]))
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature); err != nil {
		t.Errorf("signature: %v", err)
	}
	wantHeader := map[string]any{"alg": "RS256", "kid": key.Kid, "typ": "at+jwt"}
	if diff := cmp.Diff(wantHeader, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	now := float64(b.clock.Now().Unix())
	c := sampleClaims()
	want := map[string]any{
		"iss": testIssuer, "sub": c.Subject, "user_id": c.Subject, "aud": testAudience, "exp": now + 900, "iat": now, "nbf": now,
		"jti": payload["jti"], "sid": c.SessionID, "gen": 3.0, "auth_method": "email", "email": c.Email, "name": c.Name,
		"workspace_ids": []any{"w1", "w2"}, "roles": map[string]any{"w1": "owner", "w2": "viewer"},
		"permissions": map[string]any{"documents": []any{"read"}, "workspaces": []any{}}, "scope": "a b", "token_type": "access",
	}
	if diff := cmp.Diff(want, payload); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}

func TestIssueGivesEmptyCollectionsNotNull(t *testing.T) {
	b := newBench(t, "EdDSA")
	_, payload, _ := cutToken(t, b.issue(t, Claims{Subject: "u", SessionID: "s"}))
	want := map[string]any{
		"workspace_ids": []any{}, "roles": map[string]any{},
		"permissions": map[string]any{"documents": []any{}, "workspaces": []any{}},
	}
	for name, value := range want {
		if diff := cmp.Diff(value, payload[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestIssueRefusesWhatCouldNotBeUsed(t *testing.T) {
	b := newBench(t, "EdDSA")
	huge := sampleClaims()
	huge.Name = string(make([]byte, MaxBytes))
	for name, c := range map[string]Claims{"no subject": {SessionID: "s"}, "no session": {Subject: "u"}, "too long": huge} {
		if raw, _, err := b.issuer.Issue(t.Context(), c); err == nil {
			t.Errorf("%s: Issue() = %d bytes, want an error", name, len(raw))
		}
	}
}

func TestVerifyRefusesForgeries(t *testing.T) {
	b := newBench(t, "RS256")
	good := b.issue(t, sampleClaims())
	header, payload := b.header(), b.payload()
	active := b.keys.active()
	public := active.public.(*rsa.PublicKey)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signedBy := func(alg string, key crypto.Signer, header any) string {
		raw, err := sign(alg, key, encode(t, header), encode(t, payload))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	unsigned := func(header map[string]any) string {
		return b64(encode(t, header)) + "." + b64(encode(t, payload)) + "."
	}
	hmacWith := func(secret []byte, alg string) string {
		input := b64(encode(t, with(header, "alg", alg))) + "." + b64(encode(t, payload))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return input + "." + b64(mac.Sum(nil))
	}
	embedded := map[string]any{
		"kty": "RSA", "n": b64(stranger.N.Bytes()), "e": "AQAB", "kid": active.id, "alg": "RS256",
	}
	flipped := []byte(good)
	flipped[len(flipped)-10] ^= 1
	cases := map[string]string{
		"empty":                          "",
		"one segment":                    "abc",
		"four segments":                  good + ".x",
		"JWE shape":                      good + ".x.y",
		"JSON serialisation":             `{"payload":"e30","signatures":[]}`,
		"too long":                       good + string(make([]byte, MaxBytes)),
		"none":                           unsigned(with(header, "alg", "none")),
		"None":                           unsigned(with(header, "alg", "None")),
		"no alg":                         unsigned(with(header, "alg", nil)),
		"alg is null":                    b.mint(t, `{"alg":null,"kid":"`+active.id+`","typ":"at+jwt"}`, payload),
		"alg is a list":                  b.mint(t, with(header, "alg", []string{"RS256"}), payload),
		"none with our signature":        b.mint(t, with(header, "alg", "none"), payload),
		"signature removed":              unsigned(header),
		"signature flipped":              string(flipped),
		"HS256 with the public key DER":  hmacWith(pkix(t, public), "HS256"),
		"HS256 with the public key PEM":  hmacWith(pkixPEM(t, public), "HS256"),
		"HS256 with the modulus":         hmacWith(public.N.Bytes(), "HS256"),
		"HMAC called RS256":              hmacWith(pkixPEM(t, public), "RS256"),
		"key of a stranger, our kid":     signedBy("RS256", stranger, header),
		"other alg of our key":           signedBy("RS512", active.private, with(header, "alg", "RS512")),
		"PS256 of our key":               signedBy("PS256", active.private, with(header, "alg", "PS256")),
		"PS256 called RS256":             signedBy("PS256", active.private, header),
		"EdDSA of a stranger":            signedBy("EdDSA", edPrivate, with(header, "alg", "EdDSA")),
		"embedded jwk":                   signedBy("RS256", stranger, with(header, "jwk", embedded)),
		"jku":                            signedBy("RS256", stranger, with(header, "jku", "https://evil.test/jwks")),
		"x5u":                            signedBy("RS256", stranger, with(header, "x5u", "https://evil.test/cert")),
		"no kid":                         b.mint(t, with(header, "kid", nil), payload),
		"unknown kid":                    b.mint(t, with(header, "kid", "../../etc/passwd"), payload),
		"kid is a number":                b.mint(t, with(header, "kid", 1), payload),
		"crit":                           b.mint(t, with(header, "crit", []string{"exp"}), payload),
		"crit, empty":                    b.mint(t, with(header, "crit", []string{}), payload),
		"b64 false":                      b.mint(t, with(header, "b64", false), payload),
		"zip":                            b.mint(t, with(header, "zip", "DEF"), payload),
		"no typ":                         b.mint(t, with(header, "typ", nil), payload),
		"typ JWT":                        b.mint(t, with(header, "typ", "JWT"), payload),
		"typ of an id_token":             b.mint(t, with(header, "typ", "id_token+jwt"), payload),
		"alg twice":                      b.mint(t, `{"alg":"none","alg":"RS256","kid":"`+active.id+`","typ":"at+jwt"}`, payload),
		"alg twice, once escaped":        b.mint(t, `{"\u0061lg":"none","alg":"RS256","kid":"`+active.id+`","typ":"at+jwt"}`, payload),
		"ALG for alg":                    b.mint(t, `{"ALG":"RS256","kid":"`+active.id+`","typ":"at+jwt"}`, payload),
		"header is a list":               b.mint(t, `[]`, payload),
		"header is null":                 b.mint(t, `null`, payload),
		"payload is null":                b.mint(t, header, `null`),
		"payload is text":                b.mint(t, header, `"x"`),
		"payload with more behind it":    b.mint(t, header, string(encode(t, payload))+"{}"),
		"payload not UTF-8":              b.mint(t, header, "{\"iss\":\"\xff\"}"),
		"iss twice":                      b.mint(t, header, `{"iss":"x",`+string(encode(t, payload))[1:]),
		"nested member twice":            b.mint(t, header, `{"roles":{"w":"owner","w":"viewer"},`+string(encode(t, payload))[1:]),
		"no iss":                         b.mint(t, header, with(payload, "iss", nil)),
		"other iss":                      b.mint(t, header, with(payload, "iss", testIssuer+"/")),
		"iss is a list":                  b.mint(t, header, with(payload, "iss", []string{testIssuer})),
		"no aud":                         b.mint(t, header, with(payload, "aud", nil)),
		"other aud":                      b.mint(t, header, with(payload, "aud", "https://other.test")),
		"aud is a prefix":                b.mint(t, header, with(payload, "aud", testAudience[:5])),
		"aud empty list":                 b.mint(t, header, with(payload, "aud", []string{})),
		"aud is an object":               b.mint(t, header, with(payload, "aud", map[string]string{testAudience: ""})),
		"no exp":                         b.mint(t, header, with(payload, "exp", nil)),
		"exp is text":                    b.mint(t, header, with(payload, "exp", "99999999999")),
		"exp is null":                    b.mint(t, header, `{"exp":null,`+string(encode(t, with(payload, "exp", nil)))[1:]),
		"exp overflows":                  b.mint(t, header, `{"exp":1e400,`+string(encode(t, with(payload, "exp", nil)))[1:]),
		"exp beyond the year 9999":       b.mint(t, header, with(payload, "exp", 1e15)),
		"exp negative":                   b.mint(t, header, with(payload, "exp", -1)),
		"Exp for exp":                    b.mint(t, header, with(with(payload, "exp", nil), "Exp", payload["exp"])),
		"not valid yet":                  b.mint(t, header, with(payload, "nbf", b.clock.Now().Unix()+31)),
		"nbf is text":                    b.mint(t, header, with(payload, "nbf", "0")),
		"issued in the future":           b.mint(t, header, with(payload, "iat", b.clock.Now().Unix()+31)),
		"no sub":                         b.mint(t, header, with(payload, "sub", nil)),
		"empty sub":                      b.mint(t, header, with(payload, "sub", "")),
		"sub is a number":                b.mint(t, header, with(payload, "sub", 1)),
		"no sid":                         b.mint(t, header, with(payload, "sid", nil)),
		"no jti":                         b.mint(t, header, with(payload, "jti", nil)),
		"no token_type":                  b.mint(t, header, with(payload, "token_type", nil)),
		"token_type refresh":             b.mint(t, header, with(payload, "token_type", "refresh")),
		"gen is a fraction":              b.mint(t, header, with(payload, "gen", 1.5)),
		"padding":                        good + "=",
		"line break in the signature":    good[:len(good)-4] + "\n" + good[len(good)-4:],
		"line break in the header":       good[:4] + "\r\n" + good[4:],
		"space before":                   " " + good,
		"standard alphabet":              b64(encode(t, header)) + ".+/+/." + b64([]byte("x")),
		"nested too deep":                b.mint(t, header, `{"x":`+nest(maxDepth+1)+`,`+string(encode(t, payload))[1:]),
		"deep enough to exhaust a stack": b.mint(t, header, `{"x":`+nest(4000)+`,`+string(encode(t, payload))[1:]),
	}
	for name, raw := range cases {
		t.Run(name, func(t *testing.T) {
			claims, err := b.verifier.Verify(t.Context(), raw)
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("Verify() = %+v, %v, want ErrInvalid", claims, err)
			}
		})
	}
	if _, err := b.verifier.Verify(t.Context(), b.mint(t, header, payload)); err != nil {
		t.Errorf("the token that the forgeries were made from: %v", err)
	}
}

func TestVerifyHasOneSpellingOfAToken(t *testing.T) {
	// 2048 bits leave two unused bits in the last character of the signature.
	b := newBench(t, "RS256")
	good := b.issue(t, sampleClaims())
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	accepted := 0
	for _, last := range alphabet {
		if _, err := b.verifier.Verify(t.Context(), good[:len(good)-1]+string(last)); err == nil {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("%d spellings of one token were accepted, want 1", accepted)
	}
}

func TestVerifyToleratesWhatStandardsAllow(t *testing.T) {
	b := newBench(t, "ES256")
	header, payload := b.header(), b.payload()
	now := b.clock.Now().Unix()
	cases := map[string]string{
		"typ in full":               b.mint(t, with(header, "typ", "application/AT+JWT"), payload),
		"aud in a list":             b.mint(t, header, with(payload, "aud", []string{"x", testAudience})),
		"exp a fraction":            b.mint(t, header, with(payload, "exp", float64(now)+0.5)),
		"exp within the leeway":     b.mint(t, header, with(payload, "exp", now-29)),
		"nbf within the leeway":     b.mint(t, header, with(payload, "nbf", now+30)),
		"no nbf, no iat":            b.mint(t, header, with(with(payload, "nbf", nil), "iat", nil)),
		"claims nobody knows":       b.mint(t, header, with(payload, "x", map[string]any{"y": []any{1, nil}})),
		"header with an unused jku": b.mint(t, with(header, "jku", "https://evil.test"), payload),
	}
	for name, raw := range cases {
		if _, err := b.verifier.Verify(t.Context(), raw); err != nil {
			t.Errorf("%s: Verify() = %v", name, err)
		}
	}
}

func TestVerifyTellsExpiredFromForged(t *testing.T) {
	b := newBench(t, "RS256")
	raw := b.issue(t, sampleClaims())
	b.clock.Move(15*time.Minute + 30*time.Second - 1)
	if _, err := b.verifier.Verify(t.Context(), raw); err != nil {
		t.Errorf("just before the end of the leeway: %v", err)
	}
	b.clock.Move(1)
	if _, err := b.verifier.Verify(t.Context(), raw); !errors.Is(err, ErrExpired) || errors.Is(err, ErrInvalid) {
		t.Errorf("after the leeway: %v, want ErrExpired", err)
	}
	if _, err := b.verifier.Verify(t.Context(), raw[:len(raw)-4]+"AAAA"); !errors.Is(err, ErrInvalid) {
		t.Errorf("expired and forged: %v, want ErrInvalid", err)
	}
}

func TestVerifyErrorsHoldNothingOfTheToken(t *testing.T) {
	b := newBench(t, "RS256")
	const canary = "canary-4711"
	header := with(with(b.header(), "kid", canary), "x", canary)
	payload := with(with(b.payload(), "iss", canary), "email", canary)
	for _, raw := range []string{
		canary, b.mint(t, header, payload), b.mint(t, b.header(), payload), b.mint(t, header, b.payload()),
		b.mint(t, with(b.header(), "alg", canary), b.payload()), b.mint(t, with(b.header(), "typ", canary), b.payload()),
		b.mint(t, b.header(), with(b.payload(), "aud", canary)), b.mint(t, b.header(), with(b.payload(), "exp", canary)),
		b.mint(t, b.header(), `{"`+canary+`":1,"`+canary+`":2}`),
	} {
		_, err := b.verifier.Verify(t.Context(), raw)
		if err == nil || contains(err.Error(), canary) || len(err.Error()) > 120 {
			t.Errorf("Verify() = %v", err)
		}
	}
}
