package xmlsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Sizes of RSA moduli: below, signatures can be forged; above, checking one keeps a processor
// busy.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// maxKeys bounds how many keys are tried for one signature.
const maxKeys = 16

// The methods of RFC 9231 §2.3 that are accepted.
const (
	nsMore      = "http://www.w3.org/2001/04/xmldsig-more#"
	RSASHA256   = nsMore + "rsa-sha256"
	RSASHA384   = nsMore + "rsa-sha384"
	RSASHA512   = nsMore + "rsa-sha512"
	ECDSASHA256 = nsMore + "ecdsa-sha256"
	ECDSASHA384 = nsMore + "ecdsa-sha384"
	ECDSASHA512 = nsMore + "ecdsa-sha512"
)

// signatureHash returns the hash of a signature method, and whether the method is RSA's.
func signatureHash(method string) (h crypto.Hash, isRSA bool, err error) {
	switch method {
	case RSASHA256:
		return crypto.SHA256, true, nil
	case RSASHA384:
		return crypto.SHA384, true, nil
	case RSASHA512:
		return crypto.SHA512, true, nil
	case ECDSASHA256:
		return crypto.SHA256, false, nil
	case ECDSASHA384:
		return crypto.SHA384, false, nil
	case ECDSASHA512:
		return crypto.SHA512, false, nil
	}
	return 0, false, fmt.Errorf("%w: signature method", ErrAlgorithm)
}

// digestHash returns the hash of a digest method (RFC 9231 §2.1, XML Encryption §5.7).
func digestHash(method string) (crypto.Hash, error) {
	switch method {
	case nsEnc + "sha256":
		return crypto.SHA256, nil
	case nsMore + "sha384":
		return crypto.SHA384, nil
	case nsEnc + "sha512":
		return crypto.SHA512, nil
	}
	return 0, fmt.Errorf("%w: digest method", ErrAlgorithm)
}

func sum(h crypto.Hash, data []byte) []byte {
	d := h.New()
	d.Write(data)
	return d.Sum(nil)
}

// SignatureMethod is the method that [Sign] and [SignBytes] use a key with. The redirect
// binding has to name it in what is signed.
func SignatureMethod(public crypto.PublicKey) (string, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if goodRSA(k) {
			return RSASHA256, nil
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return ECDSASHA256, nil
		case elliptic.P384():
			return ECDSASHA384, nil
		case elliptic.P521():
			return ECDSASHA512, nil
		}
	}
	return "", fmt.Errorf("%w: kind or size of key", ErrAlgorithm)
}

func goodRSA(k *rsa.PublicKey) bool {
	bits := k.N.BitLen()
	return bits >= minRSABits && bits <= maxRSABits && k.E >= 3 && k.E%2 == 1
}

func goodCurve(c elliptic.Curve) bool {
	return c == elliptic.P256() || c == elliptic.P384() || c == elliptic.P521()
}

// SignBytes signs bytes that are not XML, as the redirect binding of SAML does, with the
// [SignatureMethod] of the key.
func SignBytes(data []byte, key crypto.Signer) ([]byte, error) {
	method, err := SignatureMethod(key.Public())
	if err != nil {
		return nil, err
	}
	h, isRSA, err := signatureHash(method)
	if err != nil {
		return nil, err
	}
	signature, err := key.Sign(rand.Reader, sum(h, data), h)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if isRSA {
		return signature, nil
	}
	return joined(signature, key.Public().(*ecdsa.PublicKey))
}

// joined brings an ECDSA signature into the form of XML signatures: r and s, each as long as
// the order of the curve (RFC 9231 §2.3.6). SignatureMethod has seen the key.
func joined(signature []byte, public *ecdsa.PublicKey) ([]byte, error) {
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &pair); err != nil || len(rest) > 0 {
		return nil, errors.New("sign: the key gives no ECDSA signature")
	}
	size := (public.Curve.Params().N.BitLen() + 7) / 8
	out := make([]byte, 2*size)
	pair.R.FillBytes(out[:size])
	pair.S.FillBytes(out[size:])
	return out, nil
}

// VerifyBytes checks a signature over bytes that are not XML. The method is the one that the
// sender names; the keys are those of the certificates, which are pins: see [VerifyOptions].
func VerifyBytes(data, signature []byte, method string, certificates []*x509.Certificate) error {
	h, isRSA, err := signatureHash(method)
	if err != nil {
		return err
	}
	if len(certificates) > maxKeys {
		return fmt.Errorf("%w: more than %d keys", ErrAlgorithm, maxKeys)
	}
	digest := sum(h, data)
	for _, c := range certificates {
		switch k := c.PublicKey.(type) {
		case *rsa.PublicKey:
			if isRSA && goodRSA(k) && rsa.VerifyPKCS1v15(k, h, digest, signature) == nil {
				return nil
			}
		case *ecdsa.PublicKey:
			if !isRSA && goodCurve(k.Curve) && verifyECDSA(k, digest, signature) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: by none of the keys", ErrSignature)
}

func verifyECDSA(k *ecdsa.PublicKey, digest, signature []byte) bool {
	size := (k.Curve.Params().N.BitLen() + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	return ecdsa.Verify(k, digest, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
}

// decodeBase64 reads what may be broken into lines, and nothing else that is not base64.
func decodeBase64(text string) ([]byte, bool) {
	text = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(text)
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	return data, err == nil && len(data) > 0
}

func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
