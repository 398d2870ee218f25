package token

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func nest(depth int) string {
	return strings.Repeat("[", depth) + strings.Repeat("]", depth)
}

func decodeB64(t testing.TB, s string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatalf("base64url: %v", err)
	}
	return data
}

func rsaFromJWK(t testing.TB, n, e string) *rsa.PublicKey {
	t.Helper()
	return &rsa.PublicKey{
		N: new(big.Int).SetBytes(decodeB64(t, n)),
		E: int(new(big.Int).SetBytes(decodeB64(t, e)).Int64()),
	}
}

func cutToken(t testing.TB, raw string) (header, payload map[string]any, signature []byte) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("token has %d segments", len(parts))
	}
	if err := json.Unmarshal(decodeB64(t, parts[0]), &header); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(decodeB64(t, parts[1]), &payload); err != nil {
		t.Fatal(err)
	}
	return header, payload, decodeB64(t, parts[2])
}

func pkix(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pkixPEM(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix(t, public)})
}

func privatePEM(t testing.TB, private crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
