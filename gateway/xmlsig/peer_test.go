package xmlsig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// signer is a key with its certificate, of an identity provider that is not ours.
type signer struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newSigner(key crypto.Signer) signer {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp.test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0), // expired: it is a pin
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return signer{key, cert}
}

func newRSA(bits int) signer {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return newSigner(key)
}

func newEC(c elliptic.Curve) signer {
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		panic(err)
	}
	return newSigner(key)
}

// The keys of all tests: making them takes longer than most tests.
var (
	idpRSA   = sync.OnceValue(func() signer { return newRSA(2048) })
	otherRSA = sync.OnceValue(func() signer { return newRSA(2048) })
	shortRSA = sync.OnceValue(func() signer { return newRSA(1024) })
	idpP256  = sync.OnceValue(func() signer { return newEC(elliptic.P256()) })
	idpP384  = sync.OnceValue(func() signer { return newEC(elliptic.P384()) })
	idpP521  = sync.OnceValue(func() signer { return newEC(elliptic.P521()) })
)

func pems(t testing.TB, s signer) (private, cert string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	private, cert = filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	save(t, private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	save(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}))
	return private, cert
}

func save(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// xmlsec runs xmlsec1, a second implementation, on a document.
func xmlsec(t testing.TB, doc string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.xml")
	save(t, path, []byte(doc))
	cmd := exec.CommandContext(t.Context(), "xmlsec1", append(args, path)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && stderr.Len() == 0 {
		t.Fatalf("xmlsec1 did not run: %v (Debian: apt-get install xmlsec1)", err)
	}
	if err != nil {
		t.Logf("xmlsec1: %s", stderr.String())
	}
	return stdout.String(), err
}

// identified tells xmlsec1 which attributes are identifiers.
func identified(args ...string) []string {
	for _, name := range []string{nsAssertion + ":Assertion", nsProtocol + ":Response", nsProtocol + ":AuthnRequest"} {
		args = append(args, "--id-attr:ID", name)
	}
	return args
}

// peerSign fills the signature template in a document, and returns it with the bytes that
// xmlsec1 digested.
func peerSign(t testing.TB, s signer, doc string) (signed, covered string) {
	t.Helper()
	private, cert := pems(t, s)
	signed, err := xmlsec(t, doc, identified("--sign", "--privkey-pem", private+","+cert)...)
	if err != nil {
		t.Fatalf("xmlsec1 --sign: %v", err)
	}
	report, err := xmlsec(t, signed, identified("--verify", "--pubkey-cert-pem", cert, "--store-references", "--print-debug")...)
	if err != nil {
		t.Fatalf("xmlsec1 --verify of its own signature: %v", err)
	}
	_, covered, found := strings.Cut(report, "== PreDigest data - start buffer:\n")
	covered, _, ended := strings.Cut(covered, "\n== PreDigest data - end buffer")
	if !found || !ended {
		t.Fatalf("xmlsec1 did not show what it digested:\n%s", report)
	}
	return signed, covered
}

func peerVerifies(t testing.TB, s signer, doc string) bool {
	t.Helper()
	_, cert := pems(t, s)
	_, err := xmlsec(t, doc, identified("--verify", "--pubkey-cert-pem", cert)...)
	return err == nil
}

// peerEncrypt has xmlsec1 encrypt an element for a key.
func peerEncrypt(t testing.TB, s signer, plain, method string) string {
	t.Helper()
	_, cert := pems(t, s)
	path := filepath.Join(t.TempDir(), "plain.xml")
	save(t, path, []byte(plain))
	bits := "256"
	if strings.Contains(method, "128") {
		bits = "128"
	}
	template := encryptedData(method, encryptedKey(nsEnc+"rsa-oaep-mgf1p", "", ""), "")
	out, err := xmlsec(t, template, "--encrypt", "--pubkey-cert-pem", cert, "--session-key", "aes-"+bits, "--xml-data", path)
	if err != nil {
		t.Fatalf("xmlsec1 --encrypt: %v", err)
	}
	return out[strings.Index(out, "<xenc:EncryptedData"):]
}

func encryptedData(method, keys, value string) string {
	return `<xenc:EncryptedData xmlns:xenc="` + nsEnc + `" Type="` + nsEnc + `Element"><xenc:EncryptionMethod Algorithm="` + method + `"/>` +
		`<ds:KeyInfo xmlns:ds="` + nsSig + `">` + keys + `</ds:KeyInfo>` +
		`<xenc:CipherData><xenc:CipherValue>` + value + `</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>`
}

func encryptedKey(method, parameters, value string) string {
	return `<xenc:EncryptedKey xmlns:xenc="` + nsEnc + `"><xenc:EncryptionMethod Algorithm="` + method + `">` + parameters + `</xenc:EncryptionMethod>` +
		`<xenc:CipherData><xenc:CipherValue>` + value + `</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey>`
}

// encryptedAssertion is what holds an encrypted assertion in a response.
func encryptedAssertion(inside string) string {
	return `<saml:EncryptedAssertion xmlns:saml="` + nsAssertion + `">` + inside + `</saml:EncryptedAssertion>`
}

const (
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
)

var (
	assertionName = Name{nsAssertion, "Assertion"}
	responseName  = Name{nsProtocol, "Response"}
)

// template is a signature that xmlsec1 fills.
func template(id, method, digest string, inclusive ...string) string {
	exc := `<ds:Transform Algorithm="` + nsExc + `"/>`
	if len(inclusive) > 0 {
		exc = `<ds:Transform Algorithm="` + nsExc + `"><ec:InclusiveNamespaces xmlns:ec="` + nsExc + `" PrefixList="` + strings.Join(inclusive, " ") + `"/></ds:Transform>`
	}
	return `<ds:Signature xmlns:ds="` + nsSig + `"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + nsExc + `"/>` +
		`<ds:SignatureMethod Algorithm="` + method + `"/><ds:Reference URI="#` + id + `"><ds:Transforms>` +
		`<ds:Transform Algorithm="` + algEnveloped + `"/>` + exc + `</ds:Transforms><ds:DigestMethod Algorithm="` + digest + `"/>` +
		`<ds:DigestValue></ds:DigestValue></ds:Reference></ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo><ds:X509Data/></ds:KeyInfo></ds:Signature>`
}

// assertion is an assertion about somebody, with a signature or a template for one.
func assertion(id, sig, who string) string {
	return `<saml:Assertion xmlns:saml="` + nsAssertion + `" xmlns:xs="http://www.w3.org/2001/XMLSchema" ID="` + id + `" IssueInstant="2026-11-21T12:00:00Z" Version="2.0">` +
		`<saml:Issuer>https://idp.test/metadata</saml:Issuer>` + sig +
		`<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress">` + who + `</saml:NameID></saml:Subject>` +
		`<saml:AttributeStatement><saml:Attribute Name="quote&quot;d &amp; &lt;b> ümläut">` +
		`<saml:AttributeValue xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">a "quote", an &amp;, a &lt; and a ✓&#13;
end</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion>`
}

func response(id, sig string, inside ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<samlp:Response xmlns:samlp="` + nsProtocol + `" ID="` + id + `" Version="2.0" Destination="https://sp.test/acs">` +
		`<saml:Issuer xmlns:saml="` + nsAssertion + `">https://idp.test/metadata</saml:Issuer>` + sig +
		`<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>` +
		strings.Join(inside, "") + `</samlp:Response>
`
}

// signedAssertion is a response whose assertion xmlsec1 signed.
func signedAssertion(t testing.TB) (doc, covered string) {
	t.Helper()
	return peerSign(t, idpRSA(), response("_r1", "", assertion("_a1", template("_a1", RSASHA256, nsEnc+"sha256"), "alice@idp.test")))
}

// signedResponse is a response that xmlsec1 signed.
func signedResponse(t testing.TB) (doc, covered string) {
	t.Helper()
	return peerSign(t, idpRSA(), response("_r1", template("_r1", RSASHA256, nsEnc+"sha256"), assertion("_a1", "", "alice@idp.test")))
}

func verifyWith(doc string, name Name, signers ...signer) (string, error) {
	covered, err := Verify([]byte(doc), VerifyOptions{Element: name, Certificates: certificates(signers...)})
	return string(covered), err
}
