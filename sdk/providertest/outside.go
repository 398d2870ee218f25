package providertest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/materi/shield/sdk"
)

// Site answers the requests of a provider; see [Host.Site].
type Site func(sdk.HTTPRequest) (sdk.HTTPResponse, error)

// Site makes everything below a URL answer as site says. What no site is for is not
// listed: [sdk.ErrDenied].
func (h *Host) Site(below string, site Site) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sites[below] = site
}

// Secret gives the provider a secret. One that is given by [Host.PrivateKey] can only be
// used.
func (h *Host) Secret(name, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secrets[name] = value
}

// PrivateKey gives the provider a private key: the one of [Host.JWKS].
func (h *Host) PrivateKey(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.private[name] = true
}

// JWKS returns the JWK Set of the host's own key, with which [Host.Token] signs.
func (h *Host) JWKS() []byte {
	x := base64.RawURLEncoding.EncodeToString(h.key.Public().(ed25519.PublicKey))
	return []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"test","x":"` + x + `"}]}`)
}

// Token signs claims as an issuer does, with EdDSA.
func (h *Host) Token(claims map[string]any) string {
	body, err := json.Marshal(claims)
	if err != nil {
		panic("providertest: the claims are no JSON: " + err.Error())
	}
	return h.sign(body)
}

func (h *Host) sign(claims []byte) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"test","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(h.key, []byte(text)))
}

// SignedXML makes the host say of a document that these bytes of it are signed. The real
// checks are the gateway's and need its libraries.
func (h *Host) SignedXML(document, signed []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signed[string(document)] = slices.Clone(signed)
}

// HTTP returns the sites.
func (c *Call) HTTP() sdk.HTTP { return (*web)(c) }

// JWT checks what [Host.Token] signed.
func (c *Call) JWT() sdk.JWT { return (*jwt)(c) }

// XMLDSig says what [Host.SignedXML] told it to.
func (c *Call) XMLDSig() sdk.XMLDSig { return (*xmldsig)(c) }

// Secrets returns the secrets.
func (c *Call) Secrets() sdk.Secrets { return (*secrets)(c) }

// allowed reports whether a call may use a capability now.
func (c *Call) allowed(ctx context.Context, capability sdk.Capability) error {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if err := c.host.grants(capability); err != nil {
		return err
	}
	return ctx.Err()
}

// maxFetches is how many requests one call makes.
const maxFetches = 16

type web Call

func (w *web) Fetch(ctx context.Context, r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
	if err := (*Call)(w).allowed(ctx, sdk.CapabilityHTTP); err != nil {
		return sdk.HTTPResponse{}, err
	}
	w.fetches++
	if w.fetches > maxFetches {
		return sdk.HTTPResponse{}, sdk.ErrExhausted
	}
	if r.Method == "" {
		r.Method = "GET"
	}
	site := w.host.site(r.URL)
	if site == nil {
		return sdk.HTTPResponse{}, sdk.ErrDenied
	}
	answer, err := site(r)
	if answer.URL == "" {
		answer.URL = r.URL
	}
	return answer, err
}

// site returns the one with the longest URL that address is below.
func (h *Host) site(address string) Site {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, below := range slices.Backward(slices.Sorted(maps.Keys(h.sites))) {
		rest, ok := strings.CutPrefix(address, below)
		if ok && (rest == "" || strings.HasSuffix(below, "/") || strings.ContainsAny(rest[:1], "/?")) {
			return h.sites[below]
		}
	}
	return nil
}

type jwt Call

func (j *jwt) Verify(ctx context.Context, v sdk.JWTVerification) ([]byte, error) {
	if err := (*Call)(j).allowed(ctx, sdk.CapabilityJWT); err != nil {
		return nil, err
	}
	if v.Issuer == "" || v.Audience == "" || v.Nonce == "" || len(v.Algorithms) == 0 || (len(v.Keys) == 0) == (v.KeysURL == "") {
		return nil, sdk.ErrInvalid
	}
	parts := strings.Split(v.Token, ".")
	if len(parts) != 3 {
		return nil, &sdk.Refused{Reason: "malformed"}
	}
	claims, errClaims := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	signature, errSignature := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if errClaims != nil || errSignature != nil {
		return nil, &sdk.Refused{Reason: "malformed"}
	}
	if !slices.Contains(v.Algorithms, "EdDSA") || v.KeysURL == "" && !bytes.Equal(v.Keys, j.host.JWKS()) {
		return nil, &sdk.Refused{Reason: "key"}
	}
	if !ed25519.Verify(j.host.key.Public().(ed25519.PublicKey), []byte(parts[0]+"."+parts[1]), signature) {
		return nil, &sdk.Refused{Reason: "signature"}
	}
	return claims, j.hold(claims, v)
}

// hold compares claims with what they must say.
func (j *jwt) hold(claims []byte, v sdk.JWTVerification) error {
	var c struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Nonce    string `json:"nonce"`
		Expires  int64  `json:"exp"`
	}
	if err := json.Unmarshal(claims, &c); err != nil {
		return &sdk.Refused{Reason: "malformed"}
	}
	for _, check := range []struct {
		reason string
		holds  bool
	}{
		{"issuer", c.Issuer == v.Issuer},
		{"audience", c.Audience == v.Audience},
		{"nonce", hmac.Equal([]byte(c.Nonce), []byte(v.Nonce))},
		{"expired", j.host.Now().Unix() < c.Expires},
	} {
		if !check.holds {
			return &sdk.Refused{Reason: check.reason}
		}
	}
	return nil
}

func (j *jwt) Sign(ctx context.Context, a sdk.JWTAssertion) (string, error) {
	if err := (*Call)(j).allowed(ctx, sdk.CapabilityJWT); err != nil {
		return "", err
	}
	if err := (*Call)(j).uses(a.Secret); err != nil {
		return "", err
	}
	if !json.Valid(a.Claims) || !bytes.HasPrefix(bytes.TrimSpace(a.Claims), []byte("{")) {
		return "", sdk.ErrInvalid
	}
	return j.host.sign(a.Claims), nil
}

// uses reports whether a name is that of a private key.
func (c *Call) uses(secret string) error {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if !c.host.private[secret] {
		return sdk.ErrInvalid
	}
	return nil
}

type xmldsig Call

func (x *xmldsig) Verify(ctx context.Context, v sdk.XMLVerification) ([]byte, error) {
	if err := (*Call)(x).allowed(ctx, sdk.CapabilityXMLDSig); err != nil {
		return nil, err
	}
	if len(v.Certificates) == 0 || v.Element == "" {
		return nil, sdk.ErrInvalid
	}
	x.host.mu.Lock()
	defer x.host.mu.Unlock()
	signed, ok := x.host.signed[string(v.Document)]
	if !ok {
		return nil, &sdk.Refused{Reason: "signature"}
	}
	return slices.Clone(signed), nil
}

// Sign appends a comment that stands for the signature.
func (x *xmldsig) Sign(ctx context.Context, s sdk.XMLSigning) ([]byte, error) {
	if err := x.key(ctx, s.Secret); err != nil {
		return nil, err
	}
	return append(slices.Clone(s.Document), "<!-- signed -->"...), nil
}

func (x *xmldsig) Decrypt(ctx context.Context, encrypted []byte, secret string) ([]byte, error) {
	if err := x.key(ctx, secret); err != nil {
		return nil, err
	}
	x.host.mu.Lock()
	defer x.host.mu.Unlock()
	plain, ok := x.host.signed[string(encrypted)]
	if !ok {
		return nil, &sdk.Refused{Reason: "decryption"}
	}
	return slices.Clone(plain), nil
}

func (x *xmldsig) SignBytes(ctx context.Context, algorithm string, data []byte, secret string) ([]byte, error) {
	if err := x.key(ctx, secret); err != nil {
		return nil, err
	}
	return ed25519.Sign(x.host.key, append([]byte(algorithm+"\x00"), data...)), nil
}

func (x *xmldsig) VerifyBytes(ctx context.Context, algorithm string, data, signature []byte, certificates [][]byte) error {
	if err := (*Call)(x).allowed(ctx, sdk.CapabilityXMLDSig); err != nil {
		return err
	}
	if len(certificates) == 0 {
		return sdk.ErrInvalid
	}
	if !ed25519.Verify(x.host.key.Public().(ed25519.PublicKey), append([]byte(algorithm+"\x00"), data...), signature) {
		return &sdk.Refused{Reason: "signature"}
	}
	return nil
}

func (x *xmldsig) key(ctx context.Context, secret string) error {
	if err := (*Call)(x).allowed(ctx, sdk.CapabilityXMLDSig); err != nil {
		return err
	}
	return (*Call)(x).uses(secret)
}

type secrets Call

func (s *secrets) Get(ctx context.Context, name string) (string, bool, error) {
	if err := (*Call)(s).allowed(ctx, sdk.CapabilitySecret); err != nil {
		return "", false, err
	}
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	if s.host.private[name] {
		return "", false, sdk.ErrDenied
	}
	value, ok := s.host.secrets[name]
	return value, ok, nil
}

func (s *secrets) MAC(ctx context.Context, name string, message []byte) ([]byte, error) {
	value, ok, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, sdk.ErrInvalid
	}
	mac := hmac.New(sha256.New, []byte(value))
	mac.Write(message)
	return mac.Sum(nil), nil
}
