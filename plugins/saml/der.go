package saml

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// certificate is the DER of X.509. The gateway parses it whenever it counts; here it is read
// as far as a provider must know its kind of key, because the library for the rest would be
// half of the module.
type certificate []byte

// Object identifiers, in DER.
var (
	oidRSA  = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01} // 1.2.840.113549.1.1.1
	oidP256 = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}       // 1.2.840.10045.3.1.7
	oidP384 = []byte{0x2b, 0x81, 0x04, 0x00, 0x22}                         // 1.3.132.0.34
	oidP521 = []byte{0x2b, 0x81, 0x04, 0x00, 0x23}                         // 1.3.132.0.35
)

// algorithms are the methods that the gateway signs with, by the key's identifier (RFC 9231
// §2.3).
var algorithms = []struct {
	oid []byte
	uri string
}{
	{oidRSA, nsMore + "rsa-sha256"},
	{oidP256, nsMore + "ecdsa-sha256"},
	{oidP384, nsMore + "ecdsa-sha384"},
	{oidP521, nsMore + "ecdsa-sha512"},
}

const nsMore = "http://www.w3.org/2001/04/xmldsig-more#"

// algorithm returns the method that the key of a certificate signs with, empty if there is
// none or the bytes are no certificate.
func (c certificate) algorithm() string {
	id := c.keyKind()
	for _, a := range algorithms {
		if id != nil && bytes.Equal(a.oid, id) {
			return a.uri
		}
	}
	return ""
}

// encrypts reports whether something can be encrypted for the key.
func (c certificate) encrypts() bool { return bytes.Equal(c.keyKind(), oidRSA) }

// keyKind returns the object identifier of the kind of key or, for elliptic curves, of the
// curve (RFC 5280 §4.1), nil if the bytes are no certificate.
func (c certificate) keyKind() []byte {
	whole, rest, ok := der(c, 0x30)
	if !ok || len(rest) > 0 {
		return nil
	}
	tbs, rest, ok := der(whole, 0x30)
	if !ok {
		return nil
	}
	if _, rest, ok = der(rest, 0x30); !ok { // the algorithm of the signature
		return nil
	}
	if _, rest, ok = der(rest, 0x03); !ok || len(rest) > 0 { // the signature
		return nil
	}
	if _, after, ok := der(tbs, 0xa0); ok { // the version, which may be missing
		tbs = after
	}
	for _, tag := range []byte{0x02, 0x30, 0x30, 0x30, 0x30} { // serial, signature, issuer, validity, subject
		if _, tbs, ok = der(tbs, tag); !ok {
			return nil
		}
	}
	info, _, ok := der(tbs, 0x30)
	if !ok {
		return nil
	}
	alg, _, ok := der(info, 0x30)
	if !ok {
		return nil
	}
	id, parameters, ok := der(alg, 0x06)
	if !ok {
		return nil
	}
	if curve, _, ok := der(parameters, 0x06); ok {
		return curve
	}
	return id
}

// der takes one value with a tag from the front of data (X.690 §8.1).
func der(data []byte, tag byte) (content, rest []byte, ok bool) {
	if len(data) < 2 || data[0] != tag {
		return nil, nil, false
	}
	n, data := int(data[1]), data[2:]
	if n >= 0x80 {
		size := n - 0x80
		if size < 1 || size > 3 || len(data) < size {
			return nil, nil, false
		}
		n = 0
		for _, b := range data[:size] {
			n = n<<8 | int(b)
		}
		data = data[size:]
	}
	if n > len(data) {
		return nil, nil, false
	}
	return data[:n], data[n:], true
}

// parseCertificate reads a certificate as PEM, also on one line with \n in it as environment
// variables have it, or as base64 of DER.
func parseCertificate(text string) (certificate, bool) {
	text = strings.TrimSpace(strings.ReplaceAll(text, `\n`, "\n"))
	if body, ok := strings.CutPrefix(text, "-----BEGIN CERTIFICATE-----"); ok {
		if text, ok = strings.CutSuffix(body, "-----END CERTIFICATE-----"); !ok {
			return nil, false
		}
	}
	data, ok := decodeBase64(text)
	if !ok || certificate(data).algorithm() == "" {
		return nil, false
	}
	return data, true
}

// decodeBase64 reads what may be broken into lines, and nothing else that is not base64.
func decodeBase64(text string) ([]byte, bool) {
	text = spaceless.Replace(text)
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	return data, err == nil && len(data) > 0
}

var spaceless = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "")
