package saml

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
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

	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// signer is a key with its certificate.
type signer struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newSigner[K crypto.Signer](key K, err error) signer {
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "saml.test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
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

// newRSA makes a key that is the same in each process of a fuzzer, so that the seeds of one
// mean something to all of them. It follows from its number, and is no secret.
func newRSA(number byte) signer {
	one := big.NewInt(1)
	p, q := prime(number, 1), prime(number, 2)
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, Primes: []*big.Int{p, q},
		D: new(big.Int).ModInverse(big.NewInt(65537), new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))),
	}
	key.Precompute()
	return newSigner(key, key.Validate())
}

// prime returns the first prime behind a number of 1024 bits that is made of others.
func prime(seed ...byte) *big.Int {
	var digits []byte
	for sum := sha256.Sum256(seed); len(digits) < 128; sum = sha256.Sum256(sum[:]) {
		digits = append(digits, sum[:]...)
	}
	digits[0] |= 0xc0
	digits[127] |= 1
	for n := new(big.Int).SetBytes(digits); ; n.Add(n, big.NewInt(2)) {
		if n.ProbablyPrime(0) && new(big.Int).Mod(n, big.NewInt(65537)).Cmp(big.NewInt(1)) != 0 {
			return n
		}
	}
}

func newEC() signer {
	return newSigner(ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32)))
}

func rsaKey(number byte) func() signer {
	return sync.OnceValue(func() signer { return newRSA(number) })
}

// The keys of all tests.
var (
	idpKey   = rsaKey(1)
	rollKey  = rsaKey(2) // of the same one, later
	otherKey = rsaKey(3) // of another one that is trusted
	evilKey  = rsaKey(4) // of nobody who is
	spKey    = rsaKey(5)
	nextKey  = rsaKey(6)
	ecKey    = sync.OnceValue(newEC)
)

// pem returns the private key.
func (s signer) pem() string {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// workspaceDir holds the keys of xmlsec1 and the plugins. Its path has no comma, which xmlsec1
// could not bear.
var workspaceDir string

func TestMain(m *testing.M) { os.Exit(wasmtest.Main(m, func(dir string) { workspaceDir = dir })) }

// files are where xmlsec1 finds a key and its certificate.
func (s signer) files(t testing.TB) (private, cert string) {
	t.Helper()
	base := filepath.Join(workspaceDir, digest(string(s.cert.Raw)))
	private, cert = base+".key", base+".pem"
	if _, err := os.Stat(cert); err == nil {
		return private, cert
	}
	save(t, private, s.pem())
	save(t, cert, pemOf(s))
	return private, cert
}

func save(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// xmlsec runs xmlsec1, an implementation that is not ours, on a document.
func xmlsec(t testing.TB, doc string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.xml")
	save(t, path, doc)
	cmd := exec.Command("xmlsec1", append(args, path)...)
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
	for _, name := range []string{
		nsAssertion + ":Assertion", nsProtocol + ":Response", nsProtocol + ":AuthnRequest", nsProtocol + ":LogoutRequest",
		nsProtocol + ":LogoutResponse", nsMetadata + ":EntityDescriptor",
	} {
		args = append(args, "--id-attr:ID", name)
	}
	return args
}

// signedBefore are documents that xmlsec1 signed, by what they were. The tests' clock stands
// still, so many of them sign the same.
var signedBefore sync.Map

// sign has xmlsec1 fill the signature template in a document.
func (s signer) sign(t testing.TB, doc string) string {
	t.Helper()
	key := digest(string(s.cert.Raw), doc)
	if signed, ok := signedBefore.Load(key); ok {
		return signed.(string)
	}
	private, cert := s.files(t)
	signed, err := xmlsec(t, doc, identified("--sign", "--privkey-pem", private+","+cert)...)
	if err != nil {
		t.Fatalf("xmlsec1 --sign: %v", err)
	}
	signedBefore.Store(key, signed)
	return signed
}

// verifies reports whether xmlsec1 finds a document signed by a key.
func (s signer) verifies(t testing.TB, doc string) bool {
	t.Helper()
	_, cert := s.files(t)
	_, err := xmlsec(t, doc, identified("--verify", "--pubkey-cert-pem", cert)...)
	return err == nil
}

const (
	nsEnc   = "http://www.w3.org/2001/04/xmlenc#"
	nsEnc11 = "http://www.w3.org/2009/xmlenc11#"
	nsExc   = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// encrypt has xmlsec1 encrypt an element for a key, as it stands in a response.
func (s signer) encrypt(t testing.TB, plain, method string) string {
	t.Helper()
	_, cert := s.files(t)
	path := filepath.Join(t.TempDir(), "plain.xml")
	save(t, path, plain)
	bits := "256"
	if strings.Contains(method, "128") {
		bits = "128"
	}
	template := `<xenc:EncryptedData xmlns:xenc="` + nsEnc + `" Type="` + nsEnc + `Element"><xenc:EncryptionMethod Algorithm="` + method + `"/>` +
		`<ds:KeyInfo xmlns:ds="` + nsSignature + `"><xenc:EncryptedKey><xenc:EncryptionMethod Algorithm="` + nsEnc + `rsa-oaep-mgf1p"/>` +
		`<xenc:CipherData><xenc:CipherValue/></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo>` +
		`<xenc:CipherData><xenc:CipherValue/></xenc:CipherData></xenc:EncryptedData>`
	data := "--xml-data"
	if !strings.HasPrefix(plain, "<") {
		data = "--binary-data"
	}
	out, err := xmlsec(t, template, "--encrypt", "--pubkey-cert-pem", cert, "--session-key", "aes-"+bits, data, path)
	if err != nil {
		t.Fatalf("xmlsec1 --encrypt: %v", err)
	}
	return `<saml:EncryptedAssertion xmlns:saml="` + nsAssertion + `">` + strings.TrimSpace(out[strings.Index(out, "<xenc:EncryptedData"):]) + `</saml:EncryptedAssertion>`
}

// template is a signature that xmlsec1 fills.
func template(id string) string {
	return templateWith(id, nsMore+"rsa-sha256", nsEnc+"sha256", `<ds:Transform Algorithm="`+nsExc+`"/>`)
}

func templateWith(id, method, digest, transform string) string {
	return `<ds:Signature xmlns:ds="` + nsSignature + `"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + nsExc + `"/>` +
		`<ds:SignatureMethod Algorithm="` + method + `"/><ds:Reference URI="#` + id + `"><ds:Transforms>` +
		`<ds:Transform Algorithm="` + nsSignature + `enveloped-signature"/>` + transform + `</ds:Transforms><ds:DigestMethod Algorithm="` + digest + `"/>` +
		`<ds:DigestValue></ds:DigestValue></ds:Reference></ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo><ds:X509Data/></ds:KeyInfo></ds:Signature>`
}

// said is an answer of an identity provider before it is signed, in parts that a test can
// replace.
type said struct {
	responseID, assertionID   string
	responseSig, assertionSig string
	issuer, responseIssuer    string
	destination, answers      string // attributes of the response
	instant                   string
	status                    string
	subject                   string // all of it
	conditions                string
	authn                     string
	attributes                string
	extensions                string
	raw                       string // in place of the assertion
}

// says returns an answer that holds, to requestID.
func (w world) says() said {
	return said{
		responseID: "_r1", assertionID: "_a1", issuer: idpEntity, responseIssuer: idpEntity,
		destination: ` Destination="` + acs + `"`, answers: ` InResponseTo="` + requestID + `"`,
		instant:    w.at(0),
		status:     `<samlp:Status><samlp:StatusCode Value="` + statusSuccess + `"/></samlp:Status>`,
		subject:    w.subject(`<saml:NameID Format="` + formatPersistent + `">alice-7</saml:NameID>`),
		conditions: w.conditions(-time.Minute, 5*time.Minute, spEntity),
		authn: `<saml:AuthnStatement AuthnInstant="` + w.at(-time.Minute) + `" SessionIndex="s1"><saml:AuthnContext>` +
			`<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`,
		attributes: attributeStatement("email", "alice@idp.test", "displayName", "Alice"),
	}
}

func (w world) subject(name string) string {
	return `<saml:Subject>` + name + w.confirmation(methodBearer, acs, 5*time.Minute, ` InResponseTo="`+requestID+`"`) + `</saml:Subject>`
}

func (w world) confirmation(method, recipient string, until time.Duration, answers string) string {
	return `<saml:SubjectConfirmation Method="` + method + `"><saml:SubjectConfirmationData Recipient="` + recipient +
		`" NotOnOrAfter="` + w.at(until) + `"` + answers + `/></saml:SubjectConfirmation>`
}

func (w world) conditions(from, until time.Duration, audience string) string {
	return `<saml:Conditions NotBefore="` + w.at(from) + `" NotOnOrAfter="` + w.at(until) + `"><saml:AudienceRestriction>` +
		`<saml:Audience>` + audience + `</saml:Audience></saml:AudienceRestriction></saml:Conditions>`
}

// attributeStatement has each name with its values, which are XML and separated by |.
func attributeStatement(pairs ...string) string {
	var b strings.Builder
	b.WriteString(`<saml:AttributeStatement>`)
	for n := 0; n < len(pairs); n += 2 {
		b.WriteString(`<saml:Attribute Name="` + pairs[n] + `">`)
		for value := range strings.SplitSeq(pairs[n+1], "|") {
			b.WriteString(`<saml:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">` + value + `</saml:AttributeValue>`)
		}
		b.WriteString(`</saml:Attribute>`)
	}
	return b.String() + `</saml:AttributeStatement>`
}

func (s said) assertion() string {
	return `<saml:Assertion xmlns:saml="` + nsAssertion + `" ID="` + s.assertionID + `" IssueInstant="` + s.instant + `" Version="2.0">` +
		`<saml:Issuer>` + s.issuer + `</saml:Issuer>` + s.assertionSig + s.subject + s.conditions + s.authn + s.attributes + `</saml:Assertion>`
}

func (s said) response() string {
	inside := s.raw
	if inside == "" {
		inside = s.assertion()
	}
	issuer := ""
	if s.responseIssuer != "" {
		issuer = `<saml:Issuer xmlns:saml="` + nsAssertion + `">` + s.responseIssuer + `</saml:Issuer>`
	}
	return `<samlp:Response xmlns:samlp="` + nsProtocol + `" ID="` + s.responseID + `" Version="2.0" IssueInstant="` + s.instant + `"` + s.destination + s.answers + `>` +
		issuer + s.responseSig + s.extensions + s.status + inside + `</samlp:Response>`
}

// signedAssertion has the assertion signed.
func (s said) signedAssertion(t testing.TB, by signer) string {
	t.Helper()
	s.assertionSig = template(s.assertionID)
	return by.sign(t, s.response())
}

// signedResponse has the response signed as a whole.
func (s said) signedResponse(t testing.TB, by signer) string {
	t.Helper()
	s.responseSig = template(s.responseID)
	return by.sign(t, s.response())
}

// encrypted has the assertion signed, if by is somebody, and encrypted for us.
func (s said) encrypted(t testing.TB, by *signer, to signer, method string) string {
	t.Helper()
	assertion := s.assertion()
	if by != nil {
		s.assertionSig = template(s.assertionID)
		assertion = by.sign(t, s.assertion())
		assertion = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(assertion), `<?xml version="1.0"?>`))
	}
	s.raw = to.encrypt(t, assertion, method)
	return s.response()
}
