package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const tokenEndpoint = "https://login.test/token"

func clientClaims() map[string]any {
	return map[string]any{"iss": loginClient, "sub": loginClient, "aud": tokenEndpoint}
}

// handVerify checks a signature with the standard library alone.
func handVerify(t testing.TB, alg string, public any, raw string) bool {
	t.Helper()
	dot := strings.LastIndexByte(raw, '.')
	input, signature := raw[:dot], decodeB64(t, raw[dot+1:])
	if k, ok := public.(ed25519.PublicKey); ok {
		return ed25519.Verify(k, []byte(input), signature)
	}
	h := hashOf(alg)
	d := h.New()
	d.Write([]byte(input))
	sum := d.Sum(nil)
	switch k := public.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(alg, "PS") {
			return rsa.VerifyPSS(k, h, sum, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, h, sum, signature) == nil
	case *ecdsa.PublicKey:
		half := len(signature) / 2
		return ecdsa.Verify(k, sum, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	}
	return false
}

func TestClientAssertionIsVerifiedByASecondImplementation(t *testing.T) {
	for _, alg := range allAlgorithms {
		t.Run(alg, func(t *testing.T) {
			key := sharedHandKeys().of(alg)
			raw, err := ClientAssertion{
				Claims: encode(t, with(clientClaims(), "jti", "j1")), Key: privatePEM(t, key), Algorithm: alg, KeyID: "c1", Now: loginNow,
			}.Sign()
			if err != nil {
				t.Fatal(err)
			}
			if !handVerify(t, alg, key.Public(), raw) {
				t.Error("the signature does not match")
			}
			header, payload, _ := cutToken(t, raw)
			if diff := cmp.Diff(map[string]any{"alg": alg, "kid": "c1", "typ": "JWT"}, header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			now := float64(loginNow.Unix())
			want := map[string]any{
				"iss": loginClient, "sub": loginClient, "aud": tokenEndpoint, "iat": now, "exp": now + 300, "jti": "j1",
			}
			if diff := cmp.Diff(want, payload); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClientAssertionsHaveEachTheirOwnID(t *testing.T) {
	seen := map[any]bool{}
	for range 100 {
		raw, err := ClientAssertion{Claims: encode(t, clientClaims()), Key: privatePEM(t, sharedHandKeys().ed), Algorithm: "EdDSA", Now: loginNow}.Sign()
		if err != nil {
			t.Fatal(err)
		}
		header, payload, _ := cutToken(t, raw)
		id, _ := payload["jti"].(string)
		if len(id) < 20 || seen[id] {
			t.Errorf("jti = %q", id)
		}
		seen[id] = true
		if _, ok := header["kid"]; ok {
			t.Error("a kid that was not given")
		}
	}
}

func TestClientAssertionTakesEachFormOfKey(t *testing.T) {
	keys := sharedHandKeys()
	sec1, err := x509.MarshalECPrivateKey(keys.p256)
	if err != nil {
		t.Fatal(err)
	}
	for alg, block := range map[string]*pem.Block{
		"RS256": {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(keys.rsa)},
		"ES256": {Type: "EC PRIVATE KEY", Bytes: sec1},
	} {
		raw, err := ClientAssertion{Claims: encode(t, clientClaims()), Key: string(pem.EncodeToMemory(block)), Algorithm: alg, Now: loginNow}.Sign()
		if err != nil || !handVerify(t, alg, keys.of(alg).Public(), raw) {
			t.Errorf("%s: Sign() = %q, %v", block.Type, raw, err)
		}
	}
}

func TestClientAssertionRefusesKeysThatDoNotSuit(t *testing.T) {
	keys := sharedHandKeys()
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		alg string
		key crypto.Signer
	}{
		{"RS256", short}, {"ES256", p224}, {"RS256", keys.p256}, {"ES256", keys.rsa}, {"ES256", keys.p384}, {"EdDSA", keys.rsa},
		{"HS256", keys.rsa}, {"none", keys.rsa}, {"", keys.rsa}, {"rs256", keys.rsa},
	} {
		raw, err := ClientAssertion{Claims: encode(t, clientClaims()), Key: privatePEM(t, c.key), Algorithm: c.alg, Now: loginNow}.Sign()
		if err == nil {
			t.Errorf("%s with a %T: Sign() = %q, want an error", c.alg, c.key, raw)
		}
	}
	const canary = "canary-4711"
	for _, text := range []string{"", canary, "-----BEGIN PRIVATE KEY-----\n" + canary + "\n-----END PRIVATE KEY-----\n", string(pkixPEM(t, keys.rsa.Public()))} {
		_, err := ClientAssertion{Claims: encode(t, clientClaims()), Key: text, Algorithm: "RS256", Now: loginNow}.Sign()
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("Sign() with a key that is none = %v", err)
		}
	}
}

// The key must not sign anything but who the client is, and not for long.
func TestClientAssertionSignsNothingElse(t *testing.T) {
	base, now := clientClaims(), loginNow.Unix()
	key := privatePEM(t, sharedHandKeys().ed)
	cases := map[string]struct {
		claims any
		want   error
	}{
		"as it should be":     {base, nil},
		"a shorter life":      {with(base, "exp", now+1), nil},
		"the longest life":    {with(base, "exp", now+300), nil},
		"aud a list":          {with(base, "aud", []string{"https://login.test", tokenEndpoint}), nil},
		"a longer life":       {with(base, "exp", now+301), ErrClaims},
		"no life":             {with(base, "exp", now), ErrClaims},
		"exp text":            {with(base, "exp", "x"), ErrClaims},
		"exp null":            {`{"iss":"c","sub":"c","aud":"a","exp":null}`, ErrClaims},
		"iss missing":         {with(base, "iss", nil), ErrClaims},
		"sub missing":         {with(base, "sub", nil), ErrClaims},
		"somebody else's sub": {with(base, "sub", "admin"), ErrClaims},
		"both empty":          {with(with(base, "sub", ""), "iss", ""), ErrClaims},
		"aud missing":         {with(base, "aud", nil), ErrClaims},
		"aud empty":           {with(base, "aud", ""), ErrClaims},
		"aud a number":        {with(base, "aud", 1), ErrClaims},
		"jti a number":        {with(base, "jti", 1), ErrClaims},
		"jti empty":           {with(base, "jti", ""), ErrClaims},
		"a list":              {`[]`, ErrClaims},
		"a text":              {`"x"`, ErrClaims},
		"nothing":             {``, ErrClaims},
		"no JSON":             {`{`, ErrClaims},
		"sub twice":           {`{"iss":"c","sub":"c","sub":"c","aud":"a"}`, ErrClaims},
		"two objects":         {`{"iss":"c","sub":"c","aud":"a"}{}`, ErrClaims},
		"huge":                {with(base, "x", strings.Repeat("x", MaxBytes)), ErrClaims},
	}
	for name, c := range cases {
		raw, err := ClientAssertion{Claims: encode(t, c.claims), Key: key, Algorithm: "EdDSA", Now: loginNow}.Sign()
		if !errors.Is(err, c.want) || (raw == "") != (c.want != nil) {
			t.Errorf("%s: Sign() = %q, %v, want %v", name, raw, err, c.want)
		}
	}
}

func TestClientAssertionSaysWhenItWasMade(t *testing.T) {
	raw, err := ClientAssertion{
		Claims: encode(t, with(clientClaims(), "iat", 1)), Key: privatePEM(t, sharedHandKeys().ed), Algorithm: "EdDSA", Now: loginNow.Add(time.Hour),
	}.Sign()
	if err != nil {
		t.Fatal(err)
	}
	if _, payload, _ := cutToken(t, raw); payload["iat"] != float64(loginNow.Add(time.Hour).Unix()) {
		t.Errorf("iat = %v", payload["iat"])
	}
}
