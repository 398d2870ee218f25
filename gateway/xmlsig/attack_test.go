package xmlsig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

const evil = "admin@idp.test"

// piece returns what is from first to last, both with it.
func piece(t testing.TB, doc, first, last string) string {
	t.Helper()
	from, to := strings.Index(doc, first), strings.LastIndex(doc, last)
	if from < 0 || to < from {
		t.Fatalf("the document has no %s...%s", first, last)
	}
	return doc[from : to+len(last)]
}

func certificates(signers ...signer) []*x509.Certificate {
	var list []*x509.Certificate
	for _, s := range signers {
		list = append(list, s.cert)
	}
	return list
}

// mustRefuse checks that neither of the two elements can be had.
func mustRefuse(t *testing.T, doc string, want error) {
	t.Helper()
	for _, name := range []Name{assertionName, responseName} {
		if got, err := verifyWith(doc, name, idpRSA()); !errors.Is(err, want) || got != "" {
			t.Errorf("Verify(%s) = %q, %v, want %v", name.Local, got, err, want)
		}
	}
}

// The eight forms of signature wrapping (Somorovsky and others, "On Breaking SAML", 2012), on
// what xmlsec1 signed. Each once with an identifier of its own for what is forged, and once
// with the identifier of what was signed.
func TestSignatureWrappingIsRefused(t *testing.T) {
	wholeResponse, _ := signedResponse(t)
	wholeAssertion, _ := signedAssertion(t)
	const sigEnd, assertionStart, assertionEnd = "</ds:Signature>", "<saml:Assertion", "</saml:Assertion>"
	responseSig := piece(t, wholeResponse, "<ds:Signature ", sigEnd)
	plainResponse := strings.Replace(piece(t, wholeResponse, "<samlp:Response", "</samlp:Response>"), responseSig, "", 1)
	sig := piece(t, wholeAssertion, "<ds:Signature ", sigEnd)
	signed := piece(t, wholeAssertion, assertionStart, assertionEnd)
	plain := strings.Replace(signed, sig, "", 1)
	within := func(s, end, more string) string {
		return s[:strings.LastIndex(s, end)] + more + s[strings.LastIndex(s, end):]
	}
	for _, id := range []string{"_evil", "same"} {
		responseID, assertionID := id, id
		if id == "same" {
			responseID, assertionID = "_r1", "_a1"
		}
		forged := assertion(assertionID, "", evil)
		object := func(s string) string { return "<ds:Object>" + s + "</ds:Object>" }
		for name, doc := range map[string]string{
			"XSW1":              response(responseID, within(responseSig, sigEnd, plainResponse), assertion("_e", "", evil)),
			"XSW1 in an Object": response(responseID, within(responseSig, sigEnd, object(plainResponse)), assertion("_e", "", evil)),
			"XSW2":              response(responseID, plainResponse+responseSig, assertion("_e", "", evil)),
			"XSW3":              response("_r1", "", forged, signed),
			"XSW3 after":        response("_r1", "", signed, forged),
			"XSW4":              response("_r1", "", within(forged, assertionEnd, signed)),
			"XSW5":              response("_r1", "", assertion(assertionID, sig, evil), plain),
			"XSW6":              response("_r1", "", assertion(assertionID, within(sig, sigEnd, plain), evil)),
			"XSW7":              response("_r1", "<samlp:Extensions>"+forged+"</samlp:Extensions>", signed),
			"XSW7 reversed":     response("_r1", "<samlp:Extensions>"+signed+"</samlp:Extensions>", forged),
			"XSW8":              response("_r1", "", assertion(assertionID, within(sig, sigEnd, object(plain)), evil)),
			"XSW8 in KeyInfo":   response("_r1", "", assertion(assertionID, strings.Replace(sig, "</ds:KeyInfo>", plain+"</ds:KeyInfo>", 1), evil)),
		} {
			t.Run(name+" "+id, func(t *testing.T) {
				for _, element := range []Name{assertionName, responseName} {
					if got, err := verifyWith(doc, element, idpRSA()); err == nil {
						t.Errorf("Verify(%s) = %s, want an error", element.Local, got)
					}
				}
			})
		}
	}
	if _, err := verifyWith(response("_r1", "", signed), assertionName, idpRSA()); err != nil {
		t.Errorf("the assertion that the forgeries were made from: %v", err)
	}
}

func TestChangesToWhatWasSignedAreRefused(t *testing.T) {
	doc, _ := signedAssertion(t)
	replace := func(old, by string) string {
		t.Helper()
		if !strings.Contains(doc, old) {
			t.Fatalf("the document has no %s", old)
		}
		return strings.Replace(doc, old, by, 1)
	}
	const transform = `<ds:Transform Algorithm="` + nsExc + `"/>`
	for name, c := range map[string]struct {
		doc  string
		want error
	}{
		"another person":               {replace("alice@idp.test", evil), ErrSignature},
		"a space":                      {replace("alice@idp.test", "alice@idp.test "), ErrSignature},
		"an attribute":                 {replace(`Version="2.0">`+"<saml:Issuer>", `Version="2.1"><saml:Issuer>`), ErrSignature},
		"an element more":              {replace("<saml:Subject>", "<saml:Subject><saml:X/>"), ErrSignature},
		"another namespace":            {replace(`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"`, `xmlns:xsi="urn:x"`), ErrSignature},
		"another ID":                   {replace(`ID="_a1"`, `ID="_a2"`), ErrSignature},
		"no ID":                        {replace(`ID="_a1"`, ``), ErrSignature},
		"ID in a namespace":            {replace(`ID="_a1"`, `saml:ID="_a1"`), ErrSignature},
		"Id for ID":                    {replace(`ID="_a1"`, `Id="_a1"`), ErrSignature},
		"signature stripped":           {cut(t, doc, "<ds:Signature ", "</ds:Signature>", ""), ErrUnsigned},
		"signature not in ds":          {replace(`xmlns:ds="`+nsSig+`"`, `xmlns:ds="urn:x"`), ErrUnsigned},
		"signature twice":              {replace("<saml:Subject>", piece(t, doc, "<ds:Signature ", "</ds:Signature>")+"<saml:Subject>"), ErrSignature},
		"SignatureValue emptied":       {cut(t, doc, "<ds:SignatureValue>", "</ds:SignatureValue>", "<ds:SignatureValue></ds:SignatureValue>"), ErrSignature},
		"SignatureValue not base64":    {replace("<ds:SignatureValue>", "<ds:SignatureValue>*"), ErrSignature},
		"SignatureValue of another":    {cut(t, doc, "<ds:SignatureValue>", "</ds:SignatureValue>", "<ds:SignatureValue>AAAA</ds:SignatureValue>"), ErrSignature},
		"SignatureValue has elements":  {replace("<ds:SignatureValue>", "<ds:SignatureValue><x/>"), ErrSignature},
		"DigestValue of another":       {cut(t, doc, "<ds:DigestValue>", "</ds:DigestValue>", "<ds:DigestValue>AAAA</ds:DigestValue>"), ErrSignature},
		"DigestValue twice":            {replace("<ds:DigestValue>", "<ds:DigestValue>AAAA</ds:DigestValue><ds:DigestValue>"), ErrSignature},
		"SignedInfo twice":             {replace("<ds:SignedInfo>", piece(t, doc, "<ds:SignedInfo>", "</ds:SignedInfo>")+"<ds:SignedInfo>"), ErrSignature},
		"text in SignedInfo":           {replace("<ds:SignedInfo>", "<ds:SignedInfo>x"), ErrSignature},
		"two references":               {replace("<ds:Reference ", piece(t, doc, "<ds:Reference ", "</ds:Reference>")+"<ds:Reference "), ErrSignature},
		"no reference":                 {cut(t, doc, "<ds:Reference ", "</ds:Reference>", ""), ErrSignature},
		"empty URI":                    {replace(`URI="#_a1"`, `URI=""`), ErrSignature},
		"no URI":                       {replace(`URI="#_a1"`, ``), ErrSignature},
		"URI of the response":          {replace(`URI="#_a1"`, `URI="#_r1"`), ErrSignature},
		"URI of nothing":               {replace(`URI="#_a1"`, `URI="#"`), ErrSignature},
		"URI elsewhere":                {replace(`URI="#_a1"`, `URI="https://evil.test/#_a1"`), ErrSignature},
		"URI an XPointer":              {replace(`URI="#_a1"`, `URI="#xpointer(id('_a1'))"`), ErrSignature},
		"URI with a space":             {replace(`URI="#_a1"`, `URI="#_a1 "`), ErrSignature},
		"Object":                       {replace("</ds:Signature>", "<ds:Object/></ds:Signature>"), ErrSignature},
		"no transforms":                {cut(t, doc, "<ds:Transforms>", "</ds:Transforms>", ""), ErrSignature},
		"XPath":                        {replace(transform, `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>true()</ds:XPath></ds:Transform>`), ErrAlgorithm},
		"XPath besides":                {replace(transform, transform+`<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>true()</ds:XPath></ds:Transform>`), ErrAlgorithm},
		"XPath filter 2":               {replace(transform, `<ds:Transform Algorithm="http://www.w3.org/2002/06/xmldsig-filter2"/>`), ErrAlgorithm},
		"XSLT":                         {replace(transform, `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>`), ErrAlgorithm},
		"base64":                       {replace(transform, `<ds:Transform Algorithm="`+nsSig+`base64"/>`), ErrAlgorithm},
		"inclusive transform":          {replace(transform, `<ds:Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/>`), ErrAlgorithm},
		"enveloped alone":              {replace(transform, ``), ErrAlgorithm},
		"exclusive alone":              {replace(`<ds:Transform Algorithm="`+algEnveloped+`"/>`, ``), ErrAlgorithm},
		"inclusive form of SignedInfo": {replace(`<ds:CanonicalizationMethod Algorithm="`+nsExc+`"/>`, `<ds:CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/>`), ErrAlgorithm},
		"prefixes changed":             {replace(transform, `<ds:Transform Algorithm="`+nsExc+`"><e:InclusiveNamespaces xmlns:e="`+nsExc+`" PrefixList="xs"/></ds:Transform>`), ErrSignature},
		"prefixes odd":                 {replace(transform, `<ds:Transform Algorithm="`+nsExc+`"><e:InclusiveNamespaces xmlns:e="`+nsExc+`" PrefixList="#default"/></ds:Transform>`), ErrAlgorithm},
		"prefixes twice":               {replace(transform, `<ds:Transform Algorithm="`+nsExc+`">`+strings.Repeat(`<e:InclusiveNamespaces xmlns:e="`+nsExc+`" PrefixList=""/>`, 2)+`</ds:Transform>`), ErrAlgorithm},
		"SHA-1 signature":              {replace(RSASHA256, nsSig+"rsa-sha1"), ErrAlgorithm},
		"MD5 signature":                {replace(RSASHA256, nsMore+"rsa-md5"), ErrAlgorithm},
		"DSA":                          {replace(RSASHA256, nsSig+"dsa-sha1"), ErrAlgorithm},
		"HMAC":                         {replace(RSASHA256, nsMore+"hmac-sha256"), ErrAlgorithm},
		"HMAC cut off":                 {replace(`<ds:SignatureMethod Algorithm="`+RSASHA256+`"/>`, `<ds:SignatureMethod Algorithm="`+RSASHA256+`"><ds:HMACOutputLength>0</ds:HMACOutputLength></ds:SignatureMethod>`), ErrAlgorithm},
		"no algorithm":                 {replace(RSASHA256, ""), ErrAlgorithm},
		"ECDSA with an RSA key":        {replace(RSASHA256, ECDSASHA256), ErrSignature},
		"another hash":                 {replace(RSASHA256, RSASHA512), ErrSignature},
		"SHA-1 digest":                 {replace(nsEnc+"sha256", nsSig+"sha1"), ErrAlgorithm},
		"MD5 digest":                   {replace(nsEnc+"sha256", nsMore+"md5"), ErrAlgorithm},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := verifyWith(c.doc, assertionName, idpRSA()); !errors.Is(err, c.want) || got != "" {
				t.Errorf("Verify() = %q, %v, want %v", got, err, c.want)
			}
		})
	}
	if _, err := verifyWith(doc, assertionName, idpRSA()); err != nil {
		t.Errorf("the document that the others were made from: %v", err)
	}
}

// Documents that two readers could understand in two ways, on a signature that is right.
func TestAmbiguousDocumentsAreRefused(t *testing.T) {
	doc, _ := signedAssertion(t)
	body := doc[strings.Index(doc, "<samlp:Response"):]
	replace := func(old, by string) string { return strings.Replace(doc, old, by, 1) }
	root := func(attributes string) string {
		return replace("<samlp:Response ", "<samlp:Response "+attributes+" ")
	}
	bomb := `<!DOCTYPE r [<!ENTITY a "` + strings.Repeat("x", 1000) + `"><!ENTITY b "` + strings.Repeat("&a;", 1000) + `">]>`
	for name, doc := range map[string]string{
		"comment in NameID":             replace("alice@idp.test", "alice@idp.test<!---->.evil.test"),
		"comment that splits NameID":    replace("alice@idp.test", "al<!-- -->ice@idp.test"),
		"comment elsewhere":             replace("<samlp:Status>", "<!-- x --><samlp:Status>"),
		"comment before the root":       "<!-- x -->" + body,
		"comment in DigestValue":        replace("<ds:DigestValue>", "<ds:DigestValue><!-- AAAA -->"),
		"processing instruction":        replace("alice@idp.test", "alice@idp.test<?x?>.evil.test"),
		"instruction before the root":   "<?xml version=\"1.0\"?><?xml-stylesheet href=\"x\"?>" + body,
		"instruction after the root":    doc + "<?x?>",
		"CDATA":                         replace("alice@idp.test", "alice@idp.test<![CDATA[.evil.test]]>"),
		"DTD":                           `<!DOCTYPE r SYSTEM "file:///etc/passwd">` + body,
		"entity bomb":                   bomb + strings.Replace(body, "alice@idp.test", "&b;", 1),
		"identifiers by DTD":            `<!DOCTYPE r [<!ATTLIST x y ID #IMPLIED>]>` + body,
		"unknown entity":                replace("alice@idp.test", "&alice;"),
		"entity of HTML":                replace("alice@idp.test", "&eacute;"),
		"reference to zero":             replace("alice@idp.test", "alice@idp.test&#0;"),
		"reference to a control":        replace("alice@idp.test", "alice@idp.test&#8;"),
		"zero":                          replace("alice@idp.test", "alice@idp.test\x00"),
		"not UTF-8":                     replace("alice@idp.test", "alice@idp.test\xff"),
		"UTF-16":                        "\xff\xfe<\x00r\x00",
		"said to be UTF-16":             replace(`encoding="UTF-8"`, `encoding="UTF-16"`),
		"said to be UTF-7":              replace(`encoding="UTF-8"`, `encoding="UTF-7"`),
		"said to be UTF-7, with space":  replace(`encoding="UTF-8"`, `encoding = "UTF-7"`),
		"said to be Latin 1":            replace(`encoding="UTF-8"`, `encoding="ISO-8859-1"`),
		"XML 1.1":                       replace(`version="1.0"`, `version="1.1"`),
		"declaration twice":             `<?xml version="1.0"?>` + doc,
		"declaration late":              " " + doc,
		"two roots":                     doc + "<x/>",
		"text after the root":           doc + "x",
		"text before the root":          "x" + body,
		"nothing":                       "",
		"no root":                       `<?xml version="1.0"?>`,
		"not closed":                    strings.TrimSuffix(strings.TrimSpace(doc), "</samlp:Response>"),
		"closed by another":             replace("</samlp:Status>", "</samlp:Statuz>"),
		"closed by another prefix":      replace("</samlp:Status>", "</saml:Status>"),
		"identifier twice":              replace("<samlp:Status>", `<samlp:Status ID="_a1">`),
		"identifier twice, Id":          replace("<samlp:Status>", `<samlp:Status Id="_a1">`),
		"identifier twice, id":          replace("<samlp:Status>", `<samlp:Status id="_a1">`),
		"identifier twice, xml:id":      replace("<samlp:Status>", `<samlp:Status xml:id="_a1">`),
		"identifier twice, AssertionID": replace("<samlp:Status>", `<samlp:Status AssertionID="_a1">`),
		"identifier twice, of others":   replace("<samlp:Status>", `<samlp:Status ID="_x"><samlp:X Id="_x"/>`),
		"attribute twice":               root(`Version="2.0"`),
		"attribute twice, by prefixes":  root(`xmlns:p="urn:x" xmlns:q="urn:x" p:a="1" q:a="2"`),
		"namespace twice":               root(`xmlns:p="urn:x" xmlns:p="urn:y"`),
		"prefix not declared":           replace("<samlp:Status>", "<samlp:Status><nobody:x/>"),
		"prefix of attribute, too":      root(`nobody:x="1"`),
		"prefix taken back":             root(`xmlns:p=""`),
		"xml declared anew":             root(`xmlns:xml="urn:x"`),
		"xml declared as it is":         root(`xmlns:xml="` + nsXML + `"`),
		"xmlns declared":                root(`xmlns:xmlns="urn:x"`),
		"prefix of xml":                 root(`xmlns:p="` + nsXML + `"`),
		"default is xml":                root(`xmlns="` + nsXML + `"`),
		"default is xmlns":              root(`xmlns="` + nsXMLNS + `"`),
		"two colons":                    replace("<samlp:Status>", "<samlp:Status><samlp:a:b/>"),
		"colon first":                   replace("<samlp:Status>", "<samlp:Status><:b/>"),
		"colon last":                    replace("<samlp:Status>", "<samlp:Status><samlp:/>"),
		"colon alone":                   root(`:="x"`),
		"attribute with two colons":     root(`xmlns:a:b="urn:x"`),
		"name of odd letters":           replace("<samlp:Status>", "<samlp:Status><samlp:ſtatus/>"),
		"too long":                      doc + strings.Repeat(" ", maxBytes),
		"too deep":                      replace("<samlp:Status>", "<samlp:Status>"+strings.Repeat("<samlp:a>", 70)+strings.Repeat("</samlp:a>", 70)),
		"far too deep":                  replace("<samlp:Status>", "<samlp:Status>"+strings.Repeat("<a>", 30000)+strings.Repeat("</a>", 30000)),
		"too many elements":             replace("<samlp:Status>", "<samlp:Status>"+strings.Repeat("<a/>", 10001)),
		"too many attributes":           root(numbered(65, `a%=""`)),
		"too many namespaces":           root(numbered(65, `xmlns:a%="u"`)),
		"too many namespaces in all":    replace("<samlp:Status>", "<samlp:Status><a"+numbered(40, `xmlns:a%="u"`)+"><b"+numbered(40, `xmlns:b%="u"`)+"/></a>"),
		"namespace too long":            root(`xmlns:a="` + strings.Repeat("u", 513) + `"`),
	} {
		t.Run(name, func(t *testing.T) { mustRefuse(t, doc, ErrDocument) })
	}
}

// A signature that is right, in a place where nobody would sign.
func TestSignaturesOutOfPlaceAreRefused(t *testing.T) {
	doc, _ := signedAssertion(t)
	signed := piece(t, doc, "<saml:Assertion", "</saml:Assertion>")
	for name, c := range map[string]struct {
		doc  string
		want error
	}{
		"assertion in Extensions":      {response("_r1", "", "<samlp:Extensions>"+signed+"</samlp:Extensions>"), ErrDocument},
		"assertion in a KeyInfo":       {response("_r1", "", `<ds:KeyInfo xmlns:ds="`+nsSig+`">`+signed+`</ds:KeyInfo>`), ErrDocument},
		"a copy of the signature":      {response("_r1", piece(t, doc, "<ds:Signature ", "</ds:Signature>"), signed), ErrSignature},
		"a broken signature elsewhere": {response("_r1", `<ds:Signature xmlns:ds="`+nsSig+`"/>`, signed), ErrSignature},
	} {
		if got, err := verifyWith(c.doc, assertionName, idpRSA()); !errors.Is(err, c.want) || got != "" {
			t.Errorf("%s: Verify() = %q, %v, want %v", name, got, err, c.want)
		}
	}
	if _, err := verifyWith(signed, assertionName, idpRSA()); err != nil {
		t.Errorf("the assertion alone: %v", err)
	}
}

func numbered(n int, pattern string) string {
	var out strings.Builder
	for i := range n {
		out.WriteString(" " + strings.ReplaceAll(pattern, "%", strings.Repeat("i", i+1)))
	}
	return out.String()
}

func TestVerifyTrustsConfiguredKeysAlone(t *testing.T) {
	sig := template("_a1", RSASHA256, nsEnc+"sha256")
	unsigned := response("_r1", "", assertion("_a1", sig, evil))
	// The attacker's certificate is in KeyInfo, put there by xmlsec1.
	doc, _ := peerSign(t, otherRSA(), unsigned)
	if !strings.Contains(doc, "<ds:X509Certificate>") {
		t.Fatal("the peer left the certificate out")
	}
	if got, err := verifyWith(doc, assertionName, idpRSA()); !errors.Is(err, ErrSignature) {
		t.Errorf("the attacker's certificate in KeyInfo: Verify() = %q, %v, want ErrSignature", got, err)
	}
	good, _ := signedAssertion(t)
	swapped := strings.Replace(doc, base64.StdEncoding.EncodeToString(otherRSA().cert.Raw)[:64], base64.StdEncoding.EncodeToString(idpRSA().cert.Raw)[:64], 1)
	if got, err := verifyWith(swapped, assertionName, idpRSA()); !errors.Is(err, ErrSignature) {
		t.Errorf("our certificate over the attacker's signature: Verify() = %q, %v, want ErrSignature", got, err)
	}
	if got, err := verifyWith(good, assertionName); !errors.Is(err, ErrUnsigned) {
		t.Errorf("without certificates: Verify() = %q, %v, want ErrUnsigned", got, err)
	}
	if got, err := verifyWith(good, Name{}, idpRSA()); !errors.Is(err, ErrUnsigned) {
		t.Errorf("without a name: Verify() = %q, %v, want ErrUnsigned", got, err)
	}
	if got, err := verifyWith(good, Name{"", "Assertion"}, idpRSA()); !errors.Is(err, ErrUnsigned) {
		t.Errorf("with a name of no namespace: Verify() = %q, %v, want ErrUnsigned", got, err)
	}
	short, _ := peerSign(t, shortRSA(), unsigned)
	if got, err := verifyWith(short, assertionName, shortRSA()); !errors.Is(err, ErrSignature) {
		t.Errorf("with 1024 bits: Verify() = %q, %v, want ErrSignature", got, err)
	}
	many := make([]signer, maxKeys+1)
	for i := range many {
		many[i] = idpRSA()
	}
	if got, err := verifyWith(good, assertionName, many...); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("with %d certificates: Verify() = %q, %v, want ErrAlgorithm", len(many), got, err)
	}
}

// The digest of a forged element is right; what signs it is an HMAC with the public key.
func TestHMACWithThePublicKeyIsRefused(t *testing.T) {
	for _, method := range []string{nsMore + "hmac-sha256", RSASHA256} {
		doc, _ := peerSign(t, otherRSA(), response("_r1", "", assertion("_a1", template("_a1", RSASHA256, nsEnc+"sha256"), evil)))
		doc = strings.Replace(doc, RSASHA256, method, 1)
		info := piece(t, doc, "<ds:SignedInfo>", "</ds:SignedInfo>")
		secret := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: idpRSA().cert.Raw})
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(strings.Replace(info, "<ds:SignedInfo>", `<ds:SignedInfo xmlns:ds="`+nsSig+`">`, 1)))
		doc = cut(t, doc, "<ds:SignatureValue>", "</ds:SignatureValue>",
			"<ds:SignatureValue>"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+"</ds:SignatureValue>")
		if got, err := verifyWith(doc, assertionName, idpRSA()); err == nil {
			t.Errorf("%s: Verify() = %q, want an error", method, got)
		}
	}
}

// What xmlsec1 signs with SHA-1 is right, and refused all the same.
func TestSHA1OfThePeerIsRefused(t *testing.T) {
	for name, c := range map[string][2]string{
		"signature": {nsSig + "rsa-sha1", nsEnc + "sha256"},
		"digest":    {RSASHA256, nsSig + "sha1"},
	} {
		doc, _ := peerSign(t, idpRSA(), response("_r1", "", assertion("_a1", template("_a1", c[0], c[1]), "alice@idp.test")))
		if got, err := verifyWith(doc, assertionName, idpRSA()); !errors.Is(err, ErrAlgorithm) {
			t.Errorf("%s: Verify() = %q, %v, want ErrAlgorithm", name, got, err)
		}
	}
}

// Errors end in logs, so they hold nothing of a document.
func TestErrorsHoldNothingOfTheDocument(t *testing.T) {
	doc, _ := signedAssertion(t)
	const canary = "canary4711"
	for _, old := range []string{"alice@idp.test", "_a1", RSASHA256, algEnveloped, "<samlp:Status>", "#_a1", "<ds:DigestValue>", "<ds:SignatureValue>", "UTF-8"} {
		for _, by := range []string{canary, "<" + canary + ">", "&" + canary + ";", "<x:" + canary + "/>", old + canary} {
			_, err := verifyWith(strings.Replace(doc, old, by, 1), assertionName, idpRSA())
			if err != nil && (strings.Contains(err.Error(), canary) || len(err.Error()) > 150) {
				t.Errorf("Verify() = %v", err)
			}
		}
	}
}

func TestVerifyBytesTellsKeysAndMethods(t *testing.T) {
	data := []byte("SAMLRequest=x&SigAlg=y")
	rsaSigner, ecSigner := idpRSA(), idpP256()
	digest := sha256.Sum256(data)
	good, err := rsa.SignPKCS1v15(nil, rsaSigner.key.(*rsa.PrivateKey), crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	pss, err := rsa.SignPSS(rand.Reader, rsaSigner.key.(*rsa.PrivateKey), crypto.SHA256, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	asn1, err := ecSigner.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	r, ss, err := ecdsa.Sign(rand.Reader, ecSigner.key.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	pair := append(r.FillBytes(make([]byte, 32)), ss.FillBytes(make([]byte, 32))...)
	for name, c := range map[string]struct {
		data      string
		signature []byte
		method    string
		signer    signer
		want      error
	}{
		"right":             {string(data), good, RSASHA256, rsaSigner, nil},
		"other bytes":       {string(data) + "&", good, RSASHA256, rsaSigner, ErrSignature},
		"other key":         {string(data), good, RSASHA256, otherRSA(), ErrSignature},
		"other kind of key": {string(data), good, RSASHA256, ecSigner, ErrSignature},
		"other hash":        {string(data), good, RSASHA512, rsaSigner, ErrSignature},
		"ECDSA said":        {string(data), good, ECDSASHA256, rsaSigner, ErrSignature},
		"PSS":               {string(data), pss, RSASHA256, rsaSigner, ErrSignature},
		"ECDSA as ASN.1":    {string(data), asn1, ECDSASHA256, ecSigner, ErrSignature},
		"RSA said of ECDSA": {string(data), pair, RSASHA256, ecSigner, ErrSignature},
		"ECDSA":             {string(data), pair, ECDSASHA256, ecSigner, nil},
		"ECDSA with more":   {string(data), append(bytes.Clone(pair), 0, 0), ECDSASHA256, ecSigner, ErrSignature},
		"ECDSA of zeros":    {string(data), make([]byte, 64), ECDSASHA256, ecSigner, ErrSignature},
		"nothing":           {string(data), nil, RSASHA256, rsaSigner, ErrSignature},
		"SHA-1":             {string(data), good, nsSig + "rsa-sha1", rsaSigner, ErrAlgorithm},
		"HMAC":              {string(data), good, nsMore + "hmac-sha256", rsaSigner, ErrAlgorithm},
		"no method":         {string(data), good, "", rsaSigner, ErrAlgorithm},
	} {
		if err := VerifyBytes([]byte(c.data), c.signature, c.method, certificates(c.signer)); !errors.Is(err, c.want) {
			t.Errorf("%s: VerifyBytes() = %v, want %v", name, err, c.want)
		}
	}
}
