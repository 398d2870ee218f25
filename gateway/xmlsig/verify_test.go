package xmlsig

import (
	"strings"
	"testing"
)

func TestVerifyGivesWhatThePeerDigested(t *testing.T) {
	for name, c := range map[string]struct {
		signer         signer
		method, digest string
	}{
		"RSA-SHA256":   {idpRSA(), RSASHA256, nsEnc + "sha256"},
		"RSA-SHA384":   {idpRSA(), RSASHA384, nsMore + "sha384"},
		"RSA-SHA512":   {idpRSA(), RSASHA512, nsEnc + "sha512"},
		"ECDSA-SHA256": {idpP256(), ECDSASHA256, nsEnc + "sha256"},
		"ECDSA-SHA384": {idpP384(), ECDSASHA384, nsMore + "sha384"},
		"ECDSA-SHA512": {idpP521(), ECDSASHA512, nsEnc + "sha512"},
		"P-256/SHA512": {idpP256(), ECDSASHA512, nsEnc + "sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			doc, want := peerSign(t, c.signer, response("_r1", "", assertion("_a1", template("_a1", c.method, c.digest), "alice@idp.test")))
			got, err := verifyWith(doc, assertionName, otherRSA(), c.signer)
			if err != nil || got != want {
				t.Errorf("assertion: Verify() = %v\ngot  %s\nwant %s", err, got, want)
			}
			if strings.Contains(got, "Signature") || !strings.Contains(got, "alice@idp.test") {
				t.Errorf("Verify() = %s", got)
			}
			doc, want = peerSign(t, c.signer, response("_r1", template("_r1", c.method, c.digest), assertion("_a1", "", "alice@idp.test")))
			got, err = verifyWith(doc, responseName, c.signer)
			if err != nil || got != want {
				t.Errorf("response: Verify() = %v\ngot  %s\nwant %s", err, got, want)
			}
		})
	}
}

// What a document may look like and still be signed: canonical form is what libraries get
// wrong.
func TestVerifyTakesTheFormsOfXML(t *testing.T) {
	sig := template("_x", RSASHA256, nsEnc+"sha256")
	inclusive := template("_x", RSASHA256, nsEnc+"sha256", "xs", "u", "gone")
	a := func(attributes, inside string) string {
		return `<a:Assertion xmlns:a="` + nsAssertion + `" ID="_x" ` + attributes + `>` + inside + `</a:Assertion>`
	}
	for name, doc := range map[string]string{
		"no prefix":              `<Assertion xmlns="` + nsAssertion + `" ID="_x">` + sig + `<Issuer/></Assertion>`,
		"default taken back":     `<a:Assertion xmlns="urn:d" xmlns:a="` + nsAssertion + `" ID="_x">` + sig + `<b xmlns=""/><b/></a:Assertion>`,
		"default used and taken": a(``, sig+`<d xmlns="urn:d"><e xmlns=""><f xmlns="urn:d"/></e></d>`),
		"nothing to take back":   a(``, sig+`<e xmlns=""><f xmlns=""/></e>`),
		"order of attributes": a(`xmlns:z="urn:1" xmlns:b="urn:2" xml:lang="en" z:q="1" b:q="2" z:a="3" b:z="4" B="5" a="6"`,
			sig+`<x z:b="1" b:a="2" z="3" xml:space="preserve"> </x>`),
		"declared far above":      a(`xmlns:z="urn:1" xmlns:y="urn:2"`, sig+`<z:x y:q="1"><z:x><y:x/></z:x></z:x>`),
		"declared anew":           a(`xmlns:z="urn:1"`, sig+`<z:x xmlns:z="urn:2"><z:x xmlns:z="urn:1"/></z:x><z:x/>`),
		"declared twice the same": a(`xmlns:z="urn:1"`, sig+`<z:x xmlns:z="urn:1"><z:x xmlns:z="urn:1"/></z:x>`),
		"declared and not used":   a(`xmlns:z="urn:1" xmlns:y="urn:2"`, sig+`<b xmlns:q="urn:3"/>`),
		"prefixes included":       a(`xmlns:xs="urn:xs"`, inclusive+`<b xmlns:u="urn:u" t="u:x"><u:c/><c xmlns:u="urn:v"/></b>`),
		"prefixes from outside":   `<r xmlns:xs="urn:xs" xmlns:q="urn:q" xmlns="urn:d">` + a(``, inclusive+`<b q:t="xs:x"/>`) + `</r>`,
		"escapes":                 a(`v="&quot;&apos;&lt;>&amp;&#9;&#10;&#13;&#x2713;"`, sig+`<b>&quot;'&lt;&gt;&amp;&#9;&#10;&#13;✓</b>`),
		"white space":             "\n" + a("\n  v='1'\n", "\r\n\t"+sig+"\r\n<b\n/>\r\n") + "\n\n",
		"a declaration":           `<?xml version='1.0' encoding="utf-8" standalone='yes' ?>` + a(``, sig),
		"a byte order mark":       "\xef\xbb\xbf" + a(``, sig),
		"at the end":              a(``, `<b/>text`+sig+`text`),
		"deep":                    a(``, sig+strings.Repeat("<b>", 60)+strings.Repeat("</b>", 60)),
		"letters beyond ASCII":    a(``, sig+`<b>日本語 &#x1F600;</b>`),
		"ids of their own":        a(``, sig+`<b Id="1"/><b id="2"/><b xml:id="c3"/>`),
	} {
		t.Run(name, func(t *testing.T) {
			signed, want := peerSign(t, idpRSA(), doc)
			got, err := verifyWith(signed, assertionName, idpRSA())
			if err != nil || got != want {
				t.Errorf("Verify() = %v\ngot  %q\nwant %q", err, got, want)
			}
		})
	}
}

func TestVerifyNeedsNoKeyInfo(t *testing.T) {
	doc, want := signedAssertion(t)
	doc = cut(t, doc, "<ds:KeyInfo>", "</ds:KeyInfo>", "")
	if got, err := verifyWith(doc, assertionName, idpRSA()); err != nil || got != want {
		t.Errorf("Verify() = %s, %v", got, err)
	}
}

// An assertion with a signature, in a response with another.
func TestVerifyTellsSignaturesApart(t *testing.T) {
	inner, wantAssertion := signedAssertion(t)
	outer := strings.Replace(inner, "<samlp:Status>", template("_r1", RSASHA256, nsEnc+"sha256")+"<samlp:Status>", 1)
	doc, wantResponse := peerSign(t, otherRSA(), outer)
	if got, err := verifyWith(doc, assertionName, idpRSA()); err != nil || got != wantAssertion {
		t.Errorf("the assertion: Verify() = %s, %v", got, err)
	}
	if got, err := verifyWith(doc, responseName, otherRSA()); err != nil || got != wantResponse {
		t.Errorf("the response: Verify() = %s, %v", got, err)
	}
	if got, err := verifyWith(doc, assertionName, otherRSA()); err == nil {
		t.Errorf("the assertion by the key of the response: Verify() = %s, want an error", got)
	}
}

// cut replaces what is from first to last, which must be there.
func cut(t testing.TB, doc, first, last, by string) string {
	t.Helper()
	before, rest, found := strings.Cut(doc, first)
	_, after, ended := strings.Cut(rest, last)
	if !found || !ended {
		t.Fatalf("the document has no %s...%s", first, last)
	}
	return before + by + after
}
