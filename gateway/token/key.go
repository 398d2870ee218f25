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
	"fmt"
	"time"
)

// ownKey is a key of the gateway itself. private is nil for a key that only verifies.
type ownKey struct {
	id        string
	alg       string
	private   crypto.Signer
	public    crypto.PublicKey
	created   time.Time
	activates time.Time // when it begins to sign
}

// generate makes a key for an algorithm.
func generate(alg string, now, activates time.Time) (ownKey, error) {
	private, err := generatePrivate(alg)
	if err != nil {
		return ownKey{}, fmt.Errorf("generate %s key: %w", alg, err)
	}
	return newOwnKey(alg, private, private.Public(), now, activates)
}

func generatePrivate(alg string) (crypto.Signer, error) {
	switch alg {
	case "RS256":
		return rsa.GenerateKey(rand.Reader, minRSABits)
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, errors.New("not RS256, ES256 or EdDSA")
}

func newOwnKey(alg string, private crypto.Signer, public crypto.PublicKey, created, activates time.Time) (ownKey, error) {
	if !suits(alg, public) {
		return ownKey{}, fmt.Errorf("a %s cannot be used with %s", describe(public), alg)
	}
	id, err := thumbprint(public)
	if err != nil {
		return ownKey{}, err
	}
	return ownKey{id: id, alg: alg, private: private, public: public, created: created, activates: activates}, nil
}

// ownAlgorithm is the algorithm that the gateway uses a key of its own with. Each kind of
// key has exactly one, so it is never a matter of choice.
func ownAlgorithm(key crypto.PublicKey) string {
	switch key.(type) {
	case *rsa.PublicKey:
		return "RS256"
	case *ecdsa.PublicKey:
		return "ES256"
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}

// describe names a kind of key for an error text.
func describe(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("%d bit RSA key", k.N.BitLen())
	case *ecdsa.PublicKey:
		return k.Curve.Params().Name + " key"
	case ed25519.PublicKey:
		return "Ed25519 key"
	}
	return fmt.Sprintf("%T", key)
}

// parsePrivate reads the one private key of a PEM text: PKCS #8, PKCS #1 or SEC 1. No error
// holds a part of the text.
func parsePrivate(text string) (crypto.Signer, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no PEM block found")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("more than one PEM block found, one private key is wanted")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, errors.New("the PEM block is not an unencrypted private key")
	}
	if err != nil {
		return nil, errors.New("the private key cannot be decoded")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private key cannot sign")
	}
	return signer, nil
}

// parsePublic reads all public keys of a PEM text: PKIX, PKCS #1 or certificates.
func parsePublic(text string) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	rest := []byte(text)
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		key, err := parsePublicBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(keys)+1, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no PEM block found")
	}
	return keys, nil
}

func parsePublicBlock(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	return nil, errors.New("not a public key")
}
