//go:build !wasip1

package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// peer is another site on the loopback that does as it is told, and what it should not do. A
// page of it is replaced by an entry in pages; the claims of its tokens are changed by claims.
type peer struct {
	t      *testing.T
	server *httptest.Server
	now    time.Time

	mu        sync.Mutex
	pages     map[string]http.HandlerFunc
	claims    func(map[string]any)
	sign      func(claims []byte) string // nil: RS256 with the key of the JWKS
	userinfo  map[string]any
	emails    any
	requests  map[string][]*http.Request // by path, with their forms read
	questions map[string]url.Values      // authorization requests by code
}

// The keys are made once: they take longer than all else.
var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return key
	})
	ecKey = sync.OnceValue(func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	})
)

func newPeer(t *testing.T, now time.Time) *peer {
	t.Helper()
	p := &peer{t: t, now: now, pages: map[string]http.HandlerFunc{}, requests: map[string][]*http.Request{}, questions: map[string]url.Values{}}
	p.userinfo = map[string]any{"sub": "ann-1", "email": "ann@example.com", "email_verified": true, "name": "Ann"}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.server.Close)
	return p
}

func (p *peer) url(path string) string { return p.server.URL + path }

// page replaces what is served at a path.
func (p *peer) page(path string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pages[path] = h
}

// says replaces what is served at a path by a text.
func (p *peer) says(path string, status int, body string) {
	p.page(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// asked returns the requests for a path so far.
func (p *peer) asked(path string) []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

func (p *peer) serve(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	p.requests[r.URL.Path] = append(p.requests[r.URL.Path], r)
	h := p.pages[r.URL.Path]
	p.mu.Unlock()
	if h == nil {
		h = map[string]http.HandlerFunc{
			"/.well-known/openid-configuration": p.discovery, "/token": p.token, "/userinfo": p.info, "/emails": p.list, "/jwks": p.jwks,
		}[r.URL.Path]
	}
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

// document is what the peer says of itself.
func (p *peer) document() map[string]any {
	return map[string]any{
		"issuer": p.url(""), "authorization_endpoint": p.url("/authorize"), "token_endpoint": p.url("/token"),
		"userinfo_endpoint": p.url("/userinfo"), "jwks_uri": p.url("/jwks"), "authorization_response_iss_parameter_supported": true,
	}
}

func (p *peer) discovery(w http.ResponseWriter, _ *http.Request) { answer(w, p.document()) }

// authorize is what the person does there: it takes the question and returns the answer that
// the browser brings back.
func (p *peer) authorize(question string) map[string]string {
	u, err := url.Parse(question)
	if err != nil {
		p.t.Fatal(err)
	}
	q := u.Query()
	code := "code-" + q.Get("state")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.questions[code] = q
	return map[string]string{"code": code, "state": q.Get("state"), "iss": p.url("")}
}

// token trades a code, once, for who knows the verifier.
func (p *peer) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	q, known := p.questions[r.PostForm.Get("code")]
	delete(p.questions, r.PostForm.Get("code"))
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if !known || q.Get("code_challenge") != encode(sum[:]) || q.Get("redirect_uri") != r.PostForm.Get("redirect_uri") {
		w.WriteHeader(http.StatusBadRequest)
		answer(w, map[string]any{"error": "invalid_grant"})
		return
	}
	answer(w, p.grant(q))
}

const accessToken = "access-token-1"

// grant is a good answer to a code.
func (p *peer) grant(q url.Values) map[string]any {
	return map[string]any{
		"access_token": accessToken, "token_type": "Bearer", "expires_in": 3600, "refresh_token": "refresh-token-1",
		"scope": q.Get("scope"), "id_token": p.idToken(q),
	}
}

func (p *peer) idToken(q url.Values) string {
	sum := sha256.Sum256([]byte(accessToken))
	claims := map[string]any{
		"iss": p.url(""), "sub": "ann-1", "aud": q.Get("client_id"), "nonce": q.Get("nonce"),
		"iat": p.now.Unix(), "exp": p.now.Add(5 * time.Minute).Unix(), "auth_time": p.now.Unix(), "at_hash": encode(sum[:16]),
		"email": "ann@example.com", "email_verified": true, "name": "Ann", "sid": "session-1", "amr": []string{"pwd"}, "acr": "1",
	}
	if p.claims != nil {
		p.claims(claims)
	}
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	body, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	if p.sign != nil {
		return p.sign(body)
	}
	return signRS256(body)
}

func (p *peer) info(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+accessToken {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	answer(w, p.userinfo)
}

func (p *peer) list(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+accessToken {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	answer(w, p.emails)
}

func (p *peer) jwks(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"keys": []any{
		map[string]any{
			"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig",
			"n": encode(rsaKey().N.Bytes()), "e": encode(big.NewInt(int64(rsaKey().E)).Bytes()),
		},
		ecJWK(),
	}})
}

func ecJWK() map[string]any {
	point, err := ecKey().PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err)
	}
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig", "x": encode(point[1:33]), "y": encode(point[33:])}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// compact writes a JWT whose signature sign makes.
func compact(header string, claims []byte, sign func([]byte) []byte) string {
	input := encode([]byte(header)) + "." + encode(claims)
	return input + "." + encode(sign([]byte(input)))
}

func signRS256(claims []byte) string {
	return compact(`{"alg":"RS256","kid":"rsa","typ":"JWT"}`, claims, func(in []byte) []byte { return rsaSignature(rsaKey(), in) })
}

func rsaSignature(key *rsa.PrivateKey, in []byte) []byte {
	sum := sha256.Sum256(in)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signature
}

func signES256(claims []byte) string {
	return compact(`{"alg":"ES256","kid":"ec"}`, claims, func(in []byte) []byte {
		sum := sha256.Sum256(in)
		r, s, err := ecdsa.Sign(rand.Reader, ecKey(), sum[:])
		if err != nil {
			panic(err)
		}
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out
	})
}

func signNone(claims []byte) string {
	return compact(`{"alg":"none"}`, claims, func([]byte) []byte { return nil })
}

// signWithPublicKey is the old confusion: the public key as the secret of an HMAC.
func signWithPublicKey(claims []byte) string {
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		panic(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return compact(`{"alg":"HS256","kid":"rsa"}`, claims, func(in []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(in)
		return mac.Sum(nil)
	})
}

// signByStranger signs with a key of its own, under the kid of the real one.
func signByStranger(claims []byte) string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return compact(`{"alg":"RS256","kid":"rsa"}`, claims, func(in []byte) []byte { return rsaSignature(key, in) })
}

// clientKey is the client's private key.
var clientKey = sync.OnceValue(func() string {
	der, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
})
