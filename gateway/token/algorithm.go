package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"fmt"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
)

// Sizes of RSA moduli. Below the least, a signature can be forged (RFC 7518 §3.3); above the
// most, checking one becomes a way to keep a processor busy.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// keyName is how a key is found: by the identifier and the algorithm together, so that a
// token which names a right key and a wrong algorithm finds nothing.
type keyName struct{ kid, alg string }

// suits reports whether a public key may verify signatures of an algorithm. HMAC and "none"
// suit no key.
func suits(alg string, key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		if bits < minRSABits || bits > maxRSABits {
			return false
		}
		switch alg {
		case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
			return true
		}
	case *ecdsa.PublicKey:
		switch alg {
		case "ES256":
			return k.Curve == elliptic.P256()
		case "ES384":
			return k.Curve == elliptic.P384()
		case "ES512":
			return k.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return alg == "EdDSA" && len(k) == ed25519.PublicKeySize
	}
	return false
}

// allAlgorithms are those that suit some key.
var allAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// signatureAlgorithm translates the configured name.
func signatureAlgorithm(alg string) (jwa.SignatureAlgorithm, error) {
	a, ok := jwa.LookupSignatureAlgorithm(alg)
	if !ok || a.IsSymmetric() || a == jwa.NoSignature() {
		return jwa.SignatureAlgorithm{}, fmt.Errorf("algorithm %q is not known", alg)
	}
	return a, nil
}

// sign makes the compact serialisation of header and payload (RFC 7515 §7.1).
func sign(alg string, key crypto.Signer, header, payload []byte) (string, error) {
	a, err := signatureAlgorithm(alg)
	if err != nil {
		return "", err
	}
	signer, err := jws.SignerFor(a)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	input := make([]byte, 0, b64.EncodedLen(len(header))+1+b64.EncodedLen(len(payload)))
	input = b64.AppendEncode(input, header)
	input = append(input, '.')
	input = b64.AppendEncode(input, payload)
	signature, err := signer.Sign(key, input)
	if err != nil {
		return "", err
	}
	return string(input) + "." + b64.EncodeToString(signature), nil
}

// verify checks a signature over input. The caller has found key by its name, so alg is one
// that the configuration allows and that suits the key.
func verify(alg string, key crypto.PublicKey, input, signature []byte) error {
	a, err := signatureAlgorithm(alg)
	if err != nil {
		return err
	}
	verifier, err := jws.VerifierFor(a)
	if err != nil {
		return err
	}
	if err := verifier.Verify(key, input, signature); err != nil {
		return ErrSignature
	}
	return nil
}

// thumbprint is the identifier of a key: the RFC 7638 thumbprint with SHA-256.
func thumbprint(key crypto.PublicKey) (string, error) {
	k, err := jwk.Import(key)
	if err != nil {
		return "", fmt.Errorf("import public key: %w", err)
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
