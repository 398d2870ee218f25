package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512"
	"math/big"
	"strings"
	"sync"
	"testing"
)

// handKeys are keys of another issuer, made and used by the standard library alone.
type handKeys struct {
	rsa  *rsa.PrivateKey
	p256 *ecdsa.PrivateKey
	p384 *ecdsa.PrivateKey
	p521 *ecdsa.PrivateKey
	ed   ed25519.PrivateKey
}

var sharedHandKeys = sync.OnceValue(func() handKeys {
	curve := func(c elliptic.Curve) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return handKeys{sharedRSA(), curve(elliptic.P256()), curve(elliptic.P384()), curve(elliptic.P521()), ed}
})

// of returns the key for an algorithm.
func (k handKeys) of(alg string) crypto.Signer {
	switch alg {
	case "ES256":
		return k.p256
	case "ES384":
		return k.p384
	case "ES512":
		return k.p521
	case "EdDSA":
		return k.ed
	}
	return k.rsa
}

func hashOf(alg string) crypto.Hash {
	switch alg[len(alg)-3:] {
	case "256":
		return crypto.SHA256
	case "384":
		return crypto.SHA384
	}
	return crypto.SHA512
}

// handSign makes a JWT without any of the code under test and without its library.
func handSign(t testing.TB, alg string, key any, header, payload string) string {
	t.Helper()
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(handSignature(t, alg, key, input))
}

func handSignature(t testing.TB, alg string, key any, input string) []byte {
	t.Helper()
	if ed, ok := key.(ed25519.PrivateKey); ok {
		return ed25519.Sign(ed, []byte(input))
	}
	if secret, ok := key.([]byte); ok {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
	h := hashOf(alg)
	d := h.New()
	d.Write([]byte(input))
	sum := d.Sum(nil)
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum)
		if err != nil {
			t.Fatal(err)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case *rsa.PrivateKey:
		var out []byte
		var err error
		if strings.HasPrefix(alg, "PS") {
			out, err = rsa.SignPSS(rand.Reader, k, h, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			out, err = rsa.SignPKCS1v15(nil, k, h, sum)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Fatalf("no signature with a %T", key)
	return nil
}

// handJWK describes a public key (RFC 7518 §6, RFC 8037 §2) with further members.
func handJWK(t testing.TB, public any, more map[string]any) map[string]any {
	t.Helper()
	out := map[string]any{}
	switch k := public.(type) {
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		out["kty"], out["crv"], out["x"], out["y"] = "EC", k.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		out["kty"], out["crv"], out["x"] = "OKP", "Ed25519", b64(k)
	default:
		t.Fatalf("no JWK of a %T", public)
	}
	for name, value := range more {
		out[name] = value
	}
	return out
}

func handSet(t testing.TB, keys ...map[string]any) []byte {
	t.Helper()
	return encode(t, map[string]any{"keys": keys})
}
