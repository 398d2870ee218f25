package grant

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/circuit"
	"github.com/materi/shield/gateway/xmlsig"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func provider(change func(*config.Provider)) config.Provider {
	p := config.Provider{Name: "one", HTTP: config.Egress{Timeout: 5 * time.Second, MaxResponse: 64 * config.KiB, MaxRequests: 3}}
	if change != nil {
		change(&p)
	}
	return p
}

func options(t testing.TB, p config.Provider) Options {
	t.Helper()
	clock := func() time.Time { return now }
	circuits, err := circuit.NewSet(circuit.Rule{Failures: 1000, Within: time.Minute, Pause: time.Minute}, false, clock)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Provider: p, Circuits: circuits, Log: slog.New(slog.DiscardHandler), Now: clock}
}

func open(t testing.TB, change func(*config.Provider)) *Grant {
	t.Helper()
	g, err := New(options(t, provider(change)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func secretOf(name, value string) func(*config.Provider) {
	return func(p *config.Provider) {
		p.Secrets = append(p.Secrets, config.ProviderSecret{Name: name, Value: config.NewSecret(value)})
	}
}

func privatePEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// site is a server on loopback, whose clock is the real one.
func site(t *testing.T, handler http.HandlerFunc) (*httptest.Server, func(*config.Provider)) {
	t.Helper()
	s := httptest.NewTLSServer(handler)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return s, func(p *config.Provider) {
		p.HTTP.Allow, p.HTTP.Addresses, p.HTTP.CAFile = []string{s.URL}, []string{"127.0.0.1"}, file
	}
}

func header(r sdk.HTTPResponse, name string) string {
	for _, h := range r.Header {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func TestFetchReachesWhatIsListedAndNothingElse(t *testing.T) {
	s, listed := site(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Sent"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("body"))
	})
	c := open(t, listed).Call()
	out, err := c.Serve(t.Context(), wire.HTTPFetch, wire.EncodeFetch(sdk.HTTPRequest{
		Method: "POST", URL: s.URL + "/path", Header: []sdk.HTTPHeader{{Name: "X-Sent", Value: "sent"}}, Body: []byte("x"),
	}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.DecodeFetched(out)
	if err != nil || got.Status != 418 || string(got.Body) != "body" || got.URL != s.URL+"/path" {
		t.Errorf("fetched %+v, %v", got, err)
	}
	if seen := header(got, "X-Seen"); seen != "POST /path sent" {
		t.Errorf("the server saw %q", seen)
	}
	out, err = open(t, listed).Call().Serve(t.Context(), wire.HTTPFetch, wire.EncodeFetch(sdk.HTTPRequest{URL: s.URL + "/path"}))
	if got, _ = wire.DecodeFetched(out); err != nil || header(got, "X-Seen") != "GET /path" {
		t.Errorf("without a method: the server saw %q, %v", header(got, "X-Seen"), err)
	}
	for url, want := range map[string]error{
		"https://127.0.0.1:1/":    sdk.ErrDenied,
		"http://169.254.169.254/": sdk.ErrDenied,
		"file:///etc/passwd":      sdk.ErrInvalid,
	} {
		_, err := open(t, listed).Call().Serve(t.Context(), wire.HTTPFetch, wire.EncodeFetch(sdk.HTTPRequest{URL: url, Method: "GET"}))
		if !errors.Is(err, want) {
			t.Errorf("fetch of %s = %v, want %v", url, err, want)
		}
	}
	request := wire.EncodeFetch(sdk.HTTPRequest{Method: "GET", URL: s.URL})
	for range 2 {
		if _, err := c.Serve(t.Context(), wire.HTTPFetch, request); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Serve(t.Context(), wire.HTTPFetch, request); !errors.Is(err, sdk.ErrExhausted) {
		t.Errorf("the fourth request of a call = %v, want %v", err, sdk.ErrExhausted)
	}
}

func TestNothingListedIsNothingAllowed(t *testing.T) {
	_, err := open(t, nil).Call().Serve(t.Context(), wire.HTTPFetch, wire.EncodeFetch(sdk.HTTPRequest{Method: "GET", URL: "https://example.com/"}))
	if !errors.Is(err, sdk.ErrDenied) {
		t.Errorf("fetch = %v, want %v", err, sdk.ErrDenied)
	}
}

// idToken signs claims by hand.
func idToken(t testing.TB, key ed25519.PrivateKey, claims map[string]any) string {
	t.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"k"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

func claims(change map[string]any) map[string]any {
	c := map[string]any{
		"iss": "https://id.example", "sub": "s", "aud": "client", "nonce": "n", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	for k, v := range change {
		c[k] = v
	}
	return c
}

func TestTokensOfIssuersAreChecked(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwks := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"k","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	s, listed := site(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/keys" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(jwks))
	})
	g := open(t, listed)
	good := sdk.JWTVerification{
		Token: idToken(t, private, claims(nil)), Issuer: "https://id.example", Audience: "client", Nonce: "n",
		Algorithms: []string{"EdDSA"}, Keys: []byte(jwks),
	}
	ask := func(change func(*sdk.JWTVerification)) ([]byte, error) {
		v := good
		if change != nil {
			change(&v)
		}
		out, err := g.Call().Serve(t.Context(), wire.JWTVerify, wire.EncodeJWTVerify(v))
		if err != nil {
			return nil, err
		}
		return wire.DecodeResult(out)
	}
	byURL := func(v *sdk.JWTVerification) { v.Keys, v.KeysURL = nil, s.URL+"/keys" }
	for name, change := range map[string]func(*sdk.JWTVerification){"keys": nil, "keys by URL": byURL} {
		body, err := ask(change)
		var got map[string]any
		if err != nil || json.Unmarshal(body, &got) != nil || got["sub"] != "s" {
			t.Errorf("%s: claims = %s, %v", name, body, err)
		}
	}
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	for want, change := range map[string]func(*sdk.JWTVerification){
		"malformed": func(v *sdk.JWTVerification) { v.Token = "a.b" },
		"key":       func(v *sdk.JWTVerification) { v.Keys = []byte(`{"keys":[]}`) },
		"signature": func(v *sdk.JWTVerification) { v.Token = idToken(t, other, claims(nil)) },
		"expired": func(v *sdk.JWTVerification) {
			v.Token = idToken(t, private, claims(map[string]any{"exp": now.Add(-time.Hour).Unix()}))
		},
		"issuer":   func(v *sdk.JWTVerification) { v.Issuer = "https://id.example/" },
		"audience": func(v *sdk.JWTVerification) { v.Audience = "Client" },
		"nonce":    func(v *sdk.JWTVerification) { v.Nonce = "m" },
		"claims":   func(v *sdk.JWTVerification) { v.AccessToken = "token without at_hash" },
	} {
		_, err := ask(change)
		if refused, ok := errors.AsType[*sdk.Refused](err); !ok || refused.Reason != want {
			t.Errorf("%v, want it refused for %q", err, want)
		}
	}
	for name, change := range map[string]func(*sdk.JWTVerification){
		"no issuer":     func(v *sdk.JWTVerification) { v.Issuer = "" },
		"no audience":   func(v *sdk.JWTVerification) { v.Audience = "" },
		"no nonce":      func(v *sdk.JWTVerification) { v.Nonce = "" },
		"no algorithms": func(v *sdk.JWTVerification) { v.Algorithms = nil },
		"no keys":       func(v *sdk.JWTVerification) { v.Keys = nil },
		"two keys":      func(v *sdk.JWTVerification) { v.KeysURL = s.URL + "/keys" },
	} {
		if _, err := ask(change); !errors.Is(err, sdk.ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, sdk.ErrInvalid)
		}
	}
	for name, url := range map[string]string{"not listed": "https://127.0.0.1:1/keys", "not found": s.URL + "/nothing"} {
		if _, err := ask(func(v *sdk.JWTVerification) { v.Keys, v.KeysURL = nil, url }); !errors.Is(err, sdk.ErrUnreachable) {
			t.Errorf("keys %s: %v, want %v", name, err, sdk.ErrUnreachable)
		}
	}
}

func TestPrivateKeysAreUsedAndNeverHandedOut(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := privatePEM(t, key)
	g := open(t, func(p *config.Provider) {
		secretOf("key", strings.ReplaceAll(text, "\n", `\n`))(p)
		secretOf("password", "hush")(p)
	})
	c := g.Call()
	if out, err := c.Serve(t.Context(), wire.SecretGet, wire.EncodeSecretName("key")); !errors.Is(err, sdk.ErrDenied) || out != nil {
		t.Errorf("a private key was handed out: %v", err)
	}
	if _, err := c.Serve(t.Context(), wire.SecretMAC, wire.EncodeMAC("key", nil)); !errors.Is(err, sdk.ErrDenied) {
		t.Errorf("MAC with a private key = %v, want %v", err, sdk.ErrDenied)
	}
	out, err := c.Serve(t.Context(), wire.JWTSign, wire.EncodeJWTSign(sdk.JWTAssertion{
		Claims: []byte(`{"iss":"c","sub":"c","aud":"https://id.example"}`), Secret: "key", Algorithm: "ES256", KeyID: "1",
	}))
	if err != nil {
		t.Fatal(err)
	}
	signed, _ := wire.DecodeResult(out)
	parts := strings.Split(string(signed), ".")
	if len(parts) != 3 {
		t.Fatalf("signed %q", signed)
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if len(signature) != 64 || !ecdsa.Verify(&key.PublicKey, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		t.Error("the assertion's signature does not hold")
	}
	for _, a := range []sdk.JWTAssertion{
		{Claims: []byte(`{}`), Secret: "password", Algorithm: "ES256"},
		{Claims: []byte(`{}`), Secret: "nothing", Algorithm: "ES256"},
		{Claims: []byte(`{"iss":"c","sub":"c","aud":"x"}`), Secret: "key", Algorithm: "RS256"},
		{Claims: []byte(`[]`), Secret: "key", Algorithm: "ES256"},
	} {
		if _, err := c.Serve(t.Context(), wire.JWTSign, wire.EncodeJWTSign(a)); !errors.Is(err, sdk.ErrInvalid) {
			t.Errorf("sign %s with %s by %s = %v, want %v", a.Claims, a.Algorithm, a.Secret, err, sdk.ErrInvalid)
		}
	}
}

func TestSecretsByName(t *testing.T) {
	c := open(t, secretOf("password", "hush")).Call()
	out, err := c.Serve(t.Context(), wire.SecretGet, wire.EncodeSecretName("password"))
	if value, found, _ := wire.DecodeSecret(out); err != nil || value != "hush" || !found {
		t.Errorf("secret = %q %v, %v", value, found, err)
	}
	out, err = c.Serve(t.Context(), wire.SecretGet, wire.EncodeSecretName("nothing"))
	if value, found, _ := wire.DecodeSecret(out); err != nil || value != "" || found {
		t.Errorf("no secret = %q %v, %v", value, found, err)
	}
	out, err = c.Serve(t.Context(), wire.SecretMAC, wire.EncodeMAC("password", []byte("message")))
	mac := hmac.New(sha256.New, []byte("hush"))
	mac.Write([]byte("message"))
	if got, _ := wire.DecodeResult(out); err != nil || !hmac.Equal(got, mac.Sum(nil)) {
		t.Errorf("MAC = %x, %v", got, err)
	}
	if _, err := c.Serve(t.Context(), wire.SecretMAC, wire.EncodeMAC("nothing", nil)); !errors.Is(err, sdk.ErrInvalid) {
		t.Errorf("MAC without a secret = %v, want %v", err, sdk.ErrInvalid)
	}
}

func certificateOf(t testing.TB, key *rsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sp"}, NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestXMLSignatures(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der := certificateOf(t, key)
	c := open(t, secretOf("key", privatePEM(t, key))).Call()
	const document = `<r xmlns="urn:x" ID="a1"><i>me</i><v>1</v></r>`
	out, err := c.Serve(t.Context(), wire.XMLSign, wire.EncodeSigning(wire.Signing{
		Data: []byte(document), Secret: "key", Certificate: der, Namespace: "urn:x", After: "i",
	}))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := wire.DecodeResult(out)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(document []byte, name string) ([]byte, error) {
		out, err := c.Serve(t.Context(), wire.XMLVerify, wire.EncodeXMLVerify(sdk.XMLVerification{
			Document: document, Certificates: [][]byte{der}, Namespace: "urn:x", Element: name,
		}))
		if err != nil {
			return nil, err
		}
		return wire.DecodeResult(out)
	}
	if got, err := verify(signed, "r"); err != nil || string(got) != document {
		t.Errorf("signed bytes = %s, %v", got, err)
	}
	for reason, document := range map[string][]byte{
		"signature": []byte(strings.Replace(string(signed), "<v>1</v>", "<v>2</v>", 1)),
		"unsigned":  []byte(document),
		"malformed": []byte("<r>"),
	} {
		_, err := verify(document, "r")
		if refused, ok := errors.AsType[*sdk.Refused](err); !ok || refused.Reason != reason {
			t.Errorf("%v, want it refused for %q", err, reason)
		}
	}
	if _, err := verify(signed, ""); !errors.Is(err, sdk.ErrInvalid) {
		t.Errorf("no element named: %v, want %v", err, sdk.ErrInvalid)
	}

	out, err = c.Serve(t.Context(), wire.XMLSignBytes, wire.EncodeSigning(wire.Signing{Data: []byte("SAMLRequest=q"), Secret: "key", Algorithm: xmlsig.RSASHA256}))
	if err != nil {
		t.Fatal(err)
	}
	signature, _ := wire.DecodeResult(out)
	for data, reason := range map[string]string{"SAMLRequest=q": "", "SAMLRequest=p": "signature"} {
		out, err := c.Serve(t.Context(), wire.XMLVerifyBytes, wire.EncodeSignature(wire.Signature{
			Data: []byte(data), Signature: signature, Certificates: [][]byte{der}, Algorithm: xmlsig.RSASHA256,
		}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = wire.DecodeResult(out)
		refused, _ := errors.AsType[*sdk.Refused](err)
		if (refused == nil) != (reason == "") || refused != nil && refused.Reason != reason {
			t.Errorf("bytes %q: %v, want refused for %q", data, err, reason)
		}
	}
	token := wire.Signing{Data: []byte("eyJhbGciOiJSUzI1NiJ9.e30"), Secret: "key", Algorithm: xmlsig.RSASHA256}
	if _, err := c.Serve(t.Context(), wire.XMLSignBytes, wire.EncodeSigning(token)); !errors.Is(err, sdk.ErrInvalid) {
		t.Errorf("what would be a token: %v, want %v", err, sdk.ErrInvalid)
	}
	if _, err := c.Serve(t.Context(), wire.XMLSignBytes, wire.EncodeSigning(wire.Signing{Data: []byte("SAMLRequest=q"), Secret: "key", Algorithm: xmlsig.ECDSASHA256})); !errors.Is(err, sdk.ErrInvalid) {
		t.Errorf("RSA key for ECDSA: %v, want %v", err, sdk.ErrInvalid)
	}
	for _, garbage := range []string{"", "<x/>", "no XML"} {
		out, err := c.Serve(t.Context(), wire.XMLDecrypt, wire.EncodeSigning(wire.Signing{Data: []byte(garbage), Secret: "key"}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = wire.DecodeResult(out)
		if refused, ok := errors.AsType[*sdk.Refused](err); !ok || refused.Reason != "decryption" {
			t.Errorf("decrypting %q: %v, want one and the same refusal", garbage, err)
		}
	}
}

func TestChecksOfOneCallAreBounded(t *testing.T) {
	c := open(t, nil).Call()
	var err error
	for range maxChecks + 1 {
		_, err = c.Serve(t.Context(), wire.XMLVerify, nil)
	}
	if !errors.Is(err, sdk.ErrExhausted) {
		t.Errorf("check %d of a call = %v, want %v", maxChecks+1, err, sdk.ErrExhausted)
	}
}

func TestWhatCannotBeUsedIsSaidAtTheStart(t *testing.T) {
	for name, change := range map[string]func(*config.Provider){
		"ca_file that is missing":  func(p *config.Provider) { p.HTTP.CAFile = "/nowhere/ca.pem" },
		"private key that is none": secretOf("key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
		"key with more behind it":  secretOf("key", privatePEM(t, ed25519.NewKeyFromSeed(make([]byte, 32)))+"more"),
		"server that is none":      func(p *config.Provider) { p.HTTP.Allow = []string{"https://user@example.com"} },
	} {
		g, err := New(options(t, provider(change)))
		if err == nil {
			g.Close()
			t.Errorf("%s: no error", name)
		}
		if err != nil && strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: the error holds the key: %v", name, err)
		}
	}
}

func FuzzServe(f *testing.F) {
	g, err := New(options(f, provider(secretOf("s", "hush"))))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(g.Close)
	functions := wire.Functions()
	for i := range functions {
		f.Add(i, wire.EncodeFetch(sdk.HTTPRequest{Method: "GET", URL: "https://example.com/"}))
		f.Add(i, wire.EncodeSigning(wire.Signing{Data: []byte("<x/>"), Secret: "s"}))
		f.Add(i, wire.EncodeJWTVerify(sdk.JWTVerification{Token: "a.b.c", Issuer: "i", Audience: "a", Nonce: "n", Algorithms: []string{"RS256"}, Keys: []byte("{}")}))
	}
	f.Fuzz(func(t *testing.T, function int, in []byte) {
		if function < 0 {
			return
		}
		out, err := g.Call().Serve(context.Background(), functions[function%len(functions)], in)
		if err != nil && wire.Code(err) == wire.Code(wire.ErrHost) {
			t.Errorf("Serve() = %v, which is none of the contract's errors", err)
		}
		if strings.Contains(string(out), "hush") && functions[function%len(functions)] != wire.SecretGet {
			t.Error("the secret came out")
		}
	})
}

func TestServerThatSaysNothingLeavesItsCallTimeToAnswer(t *testing.T) {
	released := make(chan struct{})
	s, listed := site(t, func(_ http.ResponseWriter, r *http.Request) { <-released })
	defer close(released)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := open(t, listed).Call().Serve(ctx, wire.HTTPFetch, wire.EncodeFetch(sdk.HTTPRequest{URL: s.URL}))
	if !errors.Is(err, sdk.ErrUnreachable) || ctx.Err() != nil {
		t.Errorf("fetch = %v, and of the call %v; want %v, and time left", err, ctx.Err(), sdk.ErrUnreachable)
	}
}
