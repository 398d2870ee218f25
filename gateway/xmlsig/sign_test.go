package xmlsig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

const request = `<samlp:AuthnRequest xmlns:samlp="` + nsProtocol + `" xmlns:saml="` + nsAssertion + `" ID="_q1" Version="2.0"
	Destination="https://idp.test/sso?a=1&amp;b=&quot;2&quot;"><saml:Issuer>https://sp.test/ümläut</saml:Issuer><samlp:NameIDPolicy AllowCreate="true"/></samlp:AuthnRequest>`

var issuerName = Name{nsAssertion, "Issuer"}

func signOptions(s signer) SignOptions {
	return SignOptions{Key: s.key, Certificate: s.cert, After: issuerName}
}

func TestSignedRequestIsVerifiedByThePeer(t *testing.T) {
	for name, s := range map[string]signer{"RSA": idpRSA(), "P-256": idpP256(), "P-384": idpP384(), "P-521": idpP521()} {
		t.Run(name, func(t *testing.T) {
			signed, err := Sign([]byte(request), signOptions(s))
			if err != nil {
				t.Fatal(err)
			}
			if !peerVerifies(t, s, string(signed)) {
				t.Errorf("the peer refuses %s", signed)
			}
			if changed := bytes.Replace(signed, []byte("AllowCreate=\"true\""), []byte("AllowCreate=\"false\""), 1); peerVerifies(t, s, string(changed)) {
				t.Error("the peer takes a request that was changed")
			}
			if !bytes.Contains(signed, []byte("</saml:Issuer><ds:Signature ")) {
				t.Errorf("the signature does not follow Issuer: %s", signed)
			}
		})
	}
}

func TestSignedRequestIsVerifiedByALibrary(t *testing.T) {
	signed, err := Sign([]byte(request), signOptions(idpRSA()))
	if err != nil {
		t.Fatal(err)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(signed); err != nil {
		t.Fatal(err)
	}
	context := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: certificates(idpRSA())})
	context.Clock = dsig.NewFakeClockAt(idpRSA().cert.NotBefore)
	if _, err := context.Validate(doc.Root()); err != nil {
		t.Errorf("goxmldsig: %v", err)
	}
}

// Sign must leave the rest as it is, also what exclusive canonical form would leave out.
func TestSignChangesNothingElse(t *testing.T) {
	in := `<r ID="_x" xmlns:xs="urn:xs" a="1&#10;2&#9;3&#13;4">` + "\r\n" + `<t xmlns:y="urn:y" y:type="xs:string">&lt;&gt;&amp;"' &#13;</t>  text</r>`
	signed, err := Sign([]byte(in), SignOptions{Key: idpRSA().key, Certificate: idpRSA().cert})
	if err != nil {
		t.Fatal(err)
	}
	want := `<r ID="_x" xmlns:xs="urn:xs" a="1&#xA;2&#x9;3&#xD;4">` + "\n" + `<t xmlns:y="urn:y" y:type="xs:string">&lt;&gt;&amp;"' &#xD;</t>  text</r>`
	if got := cut(t, string(signed), "<ds:Signature ", "</ds:Signature>", ""); got != want {
		t.Errorf("Sign() left\n%q, want\n%q", got, want)
	}
	if !strings.HasPrefix(string(signed), `<r ID="_x" xmlns:xs="urn:xs" a="1&#xA;2&#x9;3&#xD;4"><ds:Signature `) {
		t.Errorf("the signature is not the first child: %s", signed)
	}
}

func TestSignRefusesWhatCouldNotBeVerified(t *testing.T) {
	good := signOptions(idpRSA())
	signed, err := Sign([]byte(request), good)
	if err != nil {
		t.Fatal(err)
	}
	without := func(old, by string) string { return strings.Replace(request, old, by, 1) }
	for name, c := range map[string]struct {
		doc     string
		options SignOptions
	}{
		"no key":               {request, SignOptions{Certificate: idpRSA().cert}},
		"no certificate":       {request, SignOptions{Key: idpRSA().key}},
		"another certificate":  {request, SignOptions{Key: idpRSA().key, Certificate: otherRSA().cert}},
		"another kind":         {request, SignOptions{Key: idpRSA().key, Certificate: idpP256().cert}},
		"1024 bits":            {request, signOptions(shortRSA())},
		"no ID":                {without(`ID="_q1"`, ``), good},
		"empty ID":             {without(`ID="_q1"`, `ID=""`), good},
		"odd ID":               {without(`ID="_q1"`, `ID="a b"`), good},
		"no Issuer":            {without("saml:Issuer>https", "saml:Issuer2>https"), good},
		"Issuer deeper":        {without("<saml:Issuer>https://sp.test/ümläut</saml:Issuer>", "<x><saml:Issuer/></x>"), good},
		"signed already":       {string(signed), good},
		"a comment":            {without("<saml:Issuer>", "<!-- x --><saml:Issuer>"), good},
		"not XML":              {"x", good},
		"nothing":              {"", good},
		"prefix not declared":  {without(`xmlns:saml="`+nsAssertion+`"`, ``), good},
		"an identifier twice":  {without("<samlp:NameIDPolicy ", `<samlp:NameIDPolicy Id="_q1" `), good},
		"longer than we read":  {without("true", strings.Repeat("x", maxBytes)), good},
		"longer once signed":   {without("true", strings.Repeat("x", maxBytes-800)), good},
		"the name of the root": {request, SignOptions{Key: idpRSA().key, Certificate: idpRSA().cert, After: Name{nsProtocol, "AuthnRequest"}}},
	} {
		if out, err := Sign([]byte(c.doc), c.options); err == nil || out != nil {
			t.Errorf("%s: Sign() = %s, %v, want an error", name, out, err)
		}
	}
}

func TestSignBytesIsVerifiedByTheStandardLibrary(t *testing.T) {
	data := []byte("SAMLRequest=fZ&RelayState=r&SigAlg=" + RSASHA256)
	d256, d384, d512 := sha256.Sum256(data), sha512.Sum384(data), sha512.Sum512(data)
	for _, c := range []struct {
		signer signer
		method string
		digest []byte
		hash   crypto.Hash
		length int
	}{
		{idpRSA(), "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", d256[:], crypto.SHA256, 256},
		{idpP256(), "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", d256[:], crypto.SHA256, 64},
		{idpP384(), "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384", d384[:], crypto.SHA384, 96},
		{idpP521(), "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512", d512[:], crypto.SHA512, 132},
	} {
		for range 20 { // r and s are shorter now and then
			signature, err := SignBytes(data, c.signer.key)
			if err != nil || len(signature) != c.length {
				t.Fatalf("%s: SignBytes() = %d bytes, %v", c.method, len(signature), err)
			}
			var ok bool
			switch k := c.signer.key.Public().(type) {
			case *rsa.PublicKey:
				ok = rsa.VerifyPKCS1v15(k, c.hash, c.digest, signature) == nil
			case *ecdsa.PublicKey:
				half := len(signature) / 2
				ok = ecdsa.Verify(k, c.digest, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
			}
			if !ok {
				t.Errorf("%s: the signature does not match", c.method)
			}
			if err := VerifyBytes(data, signature, c.method, certificates(otherRSA(), c.signer)); err != nil {
				t.Errorf("%s: VerifyBytes() = %v", c.method, err)
			}
		}
		if got, err := SignatureMethod(c.signer.key.Public()); got != c.method || err != nil {
			t.Errorf("SignatureMethod() = %s, %v, want %s", got, err, c.method)
		}
	}
	if out, err := SignBytes(data, shortRSA().key); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("SignBytes() with 1024 bits = %x, %v, want ErrAlgorithm", out, err)
	}
}
