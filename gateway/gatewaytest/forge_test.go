package gatewaytest

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// forger makes tokens by hand, with the gateway's own key and without its code.
type forger struct {
	key    *rsa.PrivateKey
	header object
	claims object
}

// forger reads the key of a gateway. Its token, unchanged, is a good one.
func (g *gate) forger(t testing.TB) forger {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(g.in.data, "keys", "signing-keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	var keys struct {
		Keys []struct {
			ID      string `json:"kid"`
			Private string `json:"private_key"`
		}
	}
	if err := json.Unmarshal(data, &keys); err != nil || len(keys.Keys) != 1 {
		t.Fatalf("keys: %d, %v", len(keys.Keys), err)
	}
	block, _ := pem.Decode([]byte(keys.Keys[0].Private))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	return forger{
		key:    parsed.(*rsa.PrivateKey),
		header: object{"alg": "RS256", "typ": "at+jwt", "kid": keys.Keys[0].ID},
		claims: object{
			"iss": g.cfg.Token.Issuer, "aud": g.cfg.Token.Audience, "sub": "0198c0de-0000-7000-8000-000000000001",
			"sid": "0198c0de-0000-7000-8000-000000000002", "jti": rand.Text(), "gen": 1, "token_type": "access",
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "email": "forged@example.com",
		},
	}
}

// with returns a forger whose tokens differ in some claims; nil removes one.
func (f forger) with(claims object) forger {
	f.claims = changed(f.claims, claims)
	return f
}

func (f forger) head(header object) forger {
	f.header = changed(f.header, header)
	return f
}

func changed(all, some object) object {
	all = maps.Clone(all)
	for name, value := range some {
		if value == nil {
			delete(all, name)
			continue
		}
		all[name] = value
	}
	return all
}

func (f forger) input() string { return segment(f.header) + "." + segment(f.claims) }

// rs256 returns the token with an honest signature.
func (f forger) rs256(t testing.TB) string {
	t.Helper()
	sum := sha256.Sum256([]byte(f.input()))
	signature, err := rsa.SignPKCS1v15(rand.Reader, f.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return f.input() + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// hs256 returns the token with a MAC.
func (f forger) hs256(key []byte) string {
	f = f.head(object{"alg": "HS256"})
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(f.input()))
	return f.input() + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// unsigned returns the token without a signature.
func (f forger) unsigned(alg string) string { return f.head(object{"alg": alg}).input() + "." }

// publicForms are the bytes that somebody who confuses keys might take for a secret.
func (f forger) publicForms(t testing.TB) map[string][]byte {
	t.Helper()
	pkix, err := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	return map[string][]byte{
		"PEM": text, "PEM without its last line break": []byte(strings.TrimSpace(string(text))), "DER": pkix,
		"PKCS #1": x509.MarshalPKCS1PublicKey(&f.key.PublicKey), "modulus": f.key.N.Bytes(), "nothing": {},
	}
}

func segment(o object) string {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err) // only values that have a form in JSON are given
	}
	return base64.RawURLEncoding.EncodeToString(data)
}
