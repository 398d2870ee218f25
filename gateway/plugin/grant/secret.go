package grant

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/materi/shield/config"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// secret is one that the operator gave a name. A private key has its PEM in text like any
// other, and is never handed out.
type secret struct {
	text string
	key  crypto.Signer // nil: it is no private key
}

type secrets map[string]secret

// newSecrets reads the secrets of a provider. What looks like a private key must be one.
func newSecrets(list []config.ProviderSecret) (secrets, error) {
	all := make(secrets, len(list))
	for _, s := range list {
		text := s.Value.Reveal()
		if !strings.Contains(text, "PRIVATE KEY-----") {
			all[s.Name] = secret{text: text}
			continue
		}
		text = strings.ReplaceAll(text, `\n`, "\n") // as variables have it
		key, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("secrets: %s: %w", s.Name, err)
		}
		all[s.Name] = secret{text, key}
	}
	return all, nil
}

// parseKey reads one private key: PKCS #8, PKCS #1 or SEC 1. The errors of the parsers may
// quote the key, so none is passed on.
func parseKey(text string) (crypto.Signer, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("it is not one PEM block")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	return nil, errors.New("it is not a private key that can sign (PKCS #8, PKCS #1 or SEC 1, not encrypted)")
}

// key returns the private key of a name.
func (s secrets) key(name string) (secret, error) {
	found, ok := s[name]
	if !ok || found.key == nil {
		return secret{}, fmt.Errorf("%w: there is no private key of this name among the secrets", sdk.ErrInvalid)
	}
	return found, nil
}

func (s secrets) rsaKey(name string) (*rsa.PrivateKey, error) {
	found, err := s.key(name)
	if err != nil {
		return nil, err
	}
	key, ok := found.key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: the private key is not RSA", sdk.ErrInvalid)
	}
	return key, nil
}

func (s secrets) values() []string {
	var all []string
	for _, one := range s {
		all = append(all, one.text)
	}
	return all
}

func (c *Call) secret(in []byte) ([]byte, error) {
	name, err := wire.DecodeSecretName(in)
	if err != nil {
		return nil, err
	}
	found, ok := c.g.secrets[name]
	if found.key != nil {
		return nil, sdk.ErrDenied
	}
	return wire.EncodeSecret(found.text, ok), nil
}

func (c *Call) mac(in []byte) ([]byte, error) {
	name, message, err := wire.DecodeMAC(in)
	if err != nil {
		return nil, err
	}
	found, ok := c.g.secrets[name]
	if !ok {
		return nil, fmt.Errorf("%w: there is no secret of this name", sdk.ErrInvalid)
	}
	if found.key != nil {
		return nil, sdk.ErrDenied
	}
	mac := hmac.New(sha256.New, []byte(found.text))
	mac.Write(message)
	return wire.EncodeResult(mac.Sum(nil), nil), nil
}
