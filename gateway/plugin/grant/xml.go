package grant

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/materi/shield/gateway/xmlsig"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// maxCertificates bounds how many keys a signature is tried with.
const maxCertificates = 16

func verifyXML(in []byte) ([]byte, error) {
	v, err := wire.DecodeXMLVerify(in)
	if err != nil {
		return nil, err
	}
	certificates, err := parseCertificates(v.Certificates)
	if err != nil {
		return nil, err
	}
	if v.Element == "" {
		return nil, fmt.Errorf("%w: the element that must be signed has no name", sdk.ErrInvalid)
	}
	signed, err := xmlsig.Verify(v.Document, xmlsig.VerifyOptions{
		Element: xmlsig.Name{Space: v.Namespace, Local: v.Element}, Certificates: certificates,
	})
	return judged(signed, err)
}

func verifyBytes(in []byte) ([]byte, error) {
	s, err := wire.DecodeSignature(in)
	if err != nil {
		return nil, err
	}
	certificates, err := parseCertificates(s.Certificates)
	if err != nil {
		return nil, err
	}
	return judged(nil, xmlsig.VerifyBytes(s.Data, s.Signature, s.Algorithm, certificates))
}

func parseCertificates(list [][]byte) ([]*x509.Certificate, error) {
	if len(list) == 0 || len(list) > maxCertificates {
		return nil, fmt.Errorf("%w: want 1 to %d certificates", sdk.ErrInvalid, maxCertificates)
	}
	var out []*x509.Certificate
	for _, der := range list {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: a certificate is not DER of X.509", sdk.ErrInvalid)
		}
		out = append(out, c)
	}
	return out, nil
}

// judged is the answer to a check: what holds, or in one word why it does not.
func judged(value []byte, err error) ([]byte, error) {
	if err == nil {
		return wire.EncodeResult(value, nil), nil
	}
	for _, r := range []struct {
		err    error
		reason string
	}{
		{xmlsig.ErrDocument, "malformed"},
		{xmlsig.ErrUnsigned, "unsigned"},
		{xmlsig.ErrAlgorithm, "algorithm"},
		{xmlsig.ErrSignature, "signature"},
		{xmlsig.ErrDecrypt, "decryption"},
	} {
		if errors.Is(err, r.err) {
			return wire.EncodeResult(nil, &sdk.Refused{Reason: r.reason}), nil
		}
	}
	return nil, err
}

func (c *Call) signXML(in []byte) ([]byte, error) {
	s, err := wire.DecodeSigning(in)
	if err != nil {
		return nil, err
	}
	key, err := c.g.secrets.key(s.Secret)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: the certificate is not DER of X.509", sdk.ErrInvalid)
	}
	signed, err := xmlsig.Sign(s.Data, xmlsig.SignOptions{
		Key: key.key, Certificate: certificate, After: xmlsig.Name{Space: s.Namespace, Local: s.After},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sdk.ErrInvalid, err)
	}
	return wire.EncodeResult(signed, nil), nil
}

// signBytes signs what SAML's redirect binding signs, and nothing else: the same key may sign
// tokens, whose bytes must not be had here (SAML V2.0 Bindings §3.4.4.1).
func (c *Call) signBytes(in []byte) ([]byte, error) {
	s, err := wire.DecodeSigning(in)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(s.Data, []byte("SAMLRequest=")) && !bytes.HasPrefix(s.Data, []byte("SAMLResponse=")) {
		return nil, fmt.Errorf("%w: only the query of SAML's redirect binding is signed", sdk.ErrInvalid)
	}
	key, err := c.g.secrets.key(s.Secret)
	if err != nil {
		return nil, err
	}
	method, err := xmlsig.SignatureMethod(key.key.Public())
	if err != nil || method != s.Algorithm {
		return nil, fmt.Errorf("%w: the key does not sign with this algorithm", sdk.ErrInvalid)
	}
	signature, err := xmlsig.SignBytes(s.Data, key.key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sdk.ErrInvalid, err)
	}
	return wire.EncodeResult(signature, nil), nil
}

// decryptXML hides every reason, also that of a malformed document: who can tell them apart
// can read what is encrypted.
func (c *Call) decryptXML(in []byte) ([]byte, error) {
	s, err := wire.DecodeSigning(in)
	if err != nil {
		return nil, err
	}
	key, err := c.g.secrets.rsaKey(s.Secret)
	if err != nil {
		return nil, err
	}
	plain, err := xmlsig.Decrypt(s.Data, key)
	if err != nil {
		return wire.EncodeResult(nil, &sdk.Refused{Reason: "decryption"}), nil
	}
	return judged(plain, nil)
}
