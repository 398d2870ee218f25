package saml

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/trial"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
)

const evil = "admin@idp.test"

// attack is a message that must not get anybody in, with the code that it gets and the word
// that the log says.
type attack struct {
	name   string
	code   string
	reason string
	// make returns a document, from one that xmlsec1 signed wherever it can.
	make func(t testing.TB, w world) string
	// send presents it; nil: as the answer to a login.
	send func(w world, document string) sdk.Step
	// settings are those of the identity provider "corp" that are not the usual.
	settings []any
}

const (
	codeSignature = sdk.CodeSAMLSignature
	codeAssertion = sdk.CodeSAMLAssertion
)

// TestAttacksAreRefused holds the plugin to the corpus in each way in which it runs, with the
// real checks of the gateway behind it.
func TestAttacksAreRefused(t *testing.T) {
	ways := providers(t)
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			var document string
			for n, way := range ways {
				w := worldOf(t, way.p, settingsOf(idpConfig(a.settings...), otherConfig()))
				if n == 0 {
					document = a.make(t, w)
				}
				step := sdk.Step{}
				if a.send != nil {
					step = a.send(w, document)
				} else {
					step = w.answer(document)
				}
				w.wants(a.code, step)
				if got := w.reason(); got != a.reason {
					t.Errorf("%s: the log says %q, want %q", way.name, got, a.reason)
				}
			}
		})
	}
}

// provider is the plugin in one of the ways in which it runs.
type provider struct {
	name string
	p    sdk.Provider
}

// built builds the plugin, once for all tests.
func built(t testing.TB) (module, executable string) {
	t.Helper()
	module, err := moduleFile()
	if err != nil {
		t.Fatal(err)
	}
	if executable, err = executableFile(); err != nil {
		t.Fatal(err)
	}
	return module, executable
}

var (
	moduleFile     = sync.OnceValues(func() (string, error) { return wasmtest.Build("./cmd", workspaceDir) })
	executableFile = sync.OnceValues(func() (string, error) { return wasmtest.BuildProcess("./cmd", workspaceDir) })
)

// providers returns it from source, as a module in the sandbox, and as a process.
func providers(t testing.TB) []provider {
	t.Helper()
	module, executable := built(t)
	list := []provider{{"source", New()}}
	for _, file := range []string{module, executable} {
		opened, err := trial.Open(t.Context(), trial.Options{File: file, CacheDir: workspaceDir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := opened.Close(); err != nil {
				t.Error(err)
			}
		})
		list = append(list, provider{string(opened.Way()), opened.Provider()})
	}
	return list
}

func attacks() []attack {
	var all []attack
	for _, part := range [][]attack{wrappings(), forgedSignatures(), documents(), contents(), unsolicitedOnes(), logouts()} {
		all = append(all, part...)
	}
	return all
}

// piece returns what is from first to last, both with it.
func piece(t testing.TB, doc, first, last string) string {
	t.Helper()
	from, to := strings.Index(doc, first), strings.LastIndex(doc, last)
	if from < 0 || to < from {
		t.Fatalf("the document has no %s...%s", first, last)
	}
	return doc[from : to+len(last)]
}

// replaced returns a document with something else in place of old, which has to be there.
func replaced(t testing.TB, doc, old, by string) string {
	t.Helper()
	if !strings.Contains(doc, old) {
		t.Fatalf("the document has no %s", old)
	}
	return strings.Replace(doc, old, by, 1)
}

// forgery is the answer with another person in it.
func (w world) forgery(id string) said {
	s := w.says()
	s.assertionID = id
	s.subject = w.subject(`<saml:NameID Format="` + formatPersistent + `">admin-1</saml:NameID>`)
	s.attributes = attributeStatement("email", evil)
	return s
}

// wrapping is the stuff that signatures are wrapped with.
type wrapping struct {
	w                          world
	responseSig, plainResponse string // of a response that is signed, and without its signature
	sig, signed, plain         string // of an assertion
}

const (
	sigStart, sigEnd             = "<ds:Signature ", "</ds:Signature>"
	assertionStart, assertionEnd = "<saml:Assertion", "</saml:Assertion>"
)

func newWrapping(t testing.TB, w world) wrapping {
	t.Helper()
	whole := w.says().signedResponse(t, idpKey())
	part := w.says().signedAssertion(t, idpKey())
	x := wrapping{w: w, responseSig: piece(t, whole, sigStart, sigEnd)}
	x.plainResponse = strings.Replace(piece(t, whole, "<samlp:Response", "</samlp:Response>"), x.responseSig, "", 1)
	x.sig, x.signed = piece(t, part, sigStart, sigEnd), piece(t, part, assertionStart, assertionEnd)
	x.plain = strings.Replace(x.signed, x.sig, "", 1)
	return x
}

// around is a response around something.
func (x wrapping) around(id, sig, extensions string, inside ...string) string {
	s := x.w.says()
	s.responseID, s.responseSig, s.extensions, s.raw = id, sig, extensions, strings.Join(inside, "")
	return s.response()
}

// inserted returns a text with more in it before its last end.
func inserted(s, end, more string) string {
	return s[:strings.LastIndex(s, end)] + more + s[strings.LastIndex(s, end):]
}

func inObject(s string) string { return "<ds:Object>" + s + "</ds:Object>" }

// wrappings are the eight of Somorovsky and others ("On Breaking SAML", 2012) and variants,
// each once with an identifier of its own for what is forged, and once with that of what was
// signed.
func wrappings() []attack {
	var all []attack
	for _, same := range []bool{false, true} {
		for _, c := range []struct {
			name         string
			reason       string
			reasonOfSame string
			make         func(x wrapping, r, a string) string // identifiers of the forged ones
		}{
			{"XSW1", "assertions", "malformed", func(x wrapping, r, a string) string {
				return x.around(r, inserted(x.responseSig, sigEnd, x.plainResponse), "", x.w.forgery(a).assertion())
			}},
			{"XSW1 in an Object", "assertions", "malformed", func(x wrapping, r, a string) string {
				return x.around(r, inserted(x.responseSig, sigEnd, inObject(x.plainResponse)), "", x.w.forgery(a).assertion())
			}},
			{"XSW2", "assertions", "malformed", func(x wrapping, r, a string) string {
				return x.around(r, x.plainResponse+x.responseSig, "", x.w.forgery(a).assertion())
			}},
			{"XSW3", "assertions", "malformed", func(x wrapping, r, a string) string {
				return x.around("_r9", "", "", x.w.forgery(a).assertion(), x.signed)
			}},
			{"XSW3 after", "assertions", "malformed", func(x wrapping, r, a string) string {
				return x.around("_r9", "", "", x.signed, x.w.forgery(a).assertion())
			}},
			{"XSW4", "assertions", "malformed", func(x wrapping, r, a string) string {
				return x.around("_r9", "", "", inserted(x.w.forgery(a).assertion(), assertionEnd, x.signed))
			}},
			{"XSW5", "assertions", "malformed", func(x wrapping, r, a string) string {
				s := x.w.forgery(a)
				s.assertionSig = x.sig
				return x.around("_r9", "", "", s.assertion(), x.plain)
			}},
			{"XSW6", "assertions", "malformed", func(x wrapping, r, a string) string {
				s := x.w.forgery(a)
				s.assertionSig = inserted(x.sig, sigEnd, x.plain)
				return x.around("_r9", "", "", s.assertion())
			}},
			{"XSW7", "assertions", "malformed", func(x wrapping, r, a string) string {
				return x.around("_r9", "", "<samlp:Extensions>"+x.w.forgery(a).assertion()+"</samlp:Extensions>", x.signed)
			}},
			{"XSW7 reversed", "assertions", "malformed", func(x wrapping, r, a string) string {
				return x.around("_r9", "", "<samlp:Extensions>"+x.signed+"</samlp:Extensions>", x.w.forgery(a).assertion())
			}},
			{"XSW7 with the signed one in Extensions alone", "assertions", "assertions", func(x wrapping, _, _ string) string {
				return x.around("_r9", "", "<samlp:Extensions>"+x.signed+"</samlp:Extensions>", "<x/>")
			}},
			{"XSW8", "assertions", "malformed", func(x wrapping, r, a string) string {
				s := x.w.forgery(a)
				s.assertionSig = inserted(x.sig, sigEnd, inObject(x.plain))
				return x.around("_r9", "", "", s.assertion())
			}},
			{"XSW8 in KeyInfo", "assertions", "malformed", func(x wrapping, r, a string) string {
				s := x.w.forgery(a)
				s.assertionSig = strings.Replace(x.sig, "</ds:KeyInfo>", x.plain+"</ds:KeyInfo>", 1)
				return x.around("_r9", "", "", s.assertion())
			}},
			{"wrapped under another name", "signature", "signature", func(x wrapping, r, a string) string {
				return x.around("_r9", "", `<samlp:Extensions><Proof xmlns="urn:x">`+x.sig+`</Proof></samlp:Extensions>`, x.w.forgery(a).assertion())
			}},
			{"wrapped in another namespace", "assertions", "malformed", func(x wrapping, r, a string) string {
				return x.around("_r9", "", "", strings.ReplaceAll(x.signed, nsAssertion, "urn:x"), x.w.forgery(a).assertion())
			}},
		} {
			name, reason, responseID, assertionID := c.name, c.reason, "_r8", "_a8"
			if same {
				name, reason, responseID, assertionID = c.name+", same ID", c.reasonOfSame, "_r1", "_a1"
			}
			code := codeAssertion
			if reason == "signature" {
				code = codeSignature
			}
			all = append(all, attack{name: name, code: code, reason: reason, make: func(t testing.TB, w world) string {
				return c.make(newWrapping(t, w), responseID, assertionID)
			}})
		}
	}
	return all
}

// forgedSignatures are about who signed, and how.
func forgedSignatures() []attack {
	edited := func(old, by string) func(testing.TB, world) string {
		return func(t testing.TB, w world) string { return replaced(t, w.says().signedAssertion(t, idpKey()), old, by) }
	}
	signedWith := func(method, digest, transform string) func(testing.TB, world) string {
		return func(t testing.TB, w world) string {
			s := w.says()
			s.assertionSig = templateWith("_a1", method, digest, transform)
			return idpKey().sign(t, s.response())
		}
	}
	const exc = `<ds:Transform Algorithm="` + nsExc + `"/>`
	extra := func(transform string) func(testing.TB, world) string { return edited(exc, exc+transform) }
	return []attack{
		{name: "unsigned", code: codeSignature, reason: "unsigned", make: func(_ testing.TB, w world) string { return w.says().response() }},
		{name: "signature of the assertion stripped", code: codeSignature, reason: "unsigned", make: func(t testing.TB, w world) string {
			doc := w.says().signedAssertion(t, idpKey())
			return strings.Replace(doc, piece(t, doc, sigStart, sigEnd), "", 1)
		}},
		{name: "signature of the response stripped", code: codeSignature, reason: "unsigned", make: func(t testing.TB, w world) string {
			doc := w.says().signedResponse(t, idpKey())
			return strings.Replace(doc, piece(t, doc, sigStart, sigEnd), "", 1)
		}},
		{name: "signature emptied", code: codeSignature, reason: "signature", make: func(t testing.TB, w world) string {
			doc := w.says().signedAssertion(t, idpKey())
			return strings.Replace(doc, piece(t, doc, sigStart, sigEnd), `<ds:Signature xmlns:ds="`+nsSignature+`"/>`, 1)
		}},
		{name: "SignatureValue emptied", code: codeSignature, reason: "signature", make: func(t testing.TB, w world) string {
			doc := w.says().signedAssertion(t, idpKey())
			return strings.Replace(doc, piece(t, doc, "<ds:SignatureValue>", "</ds:SignatureValue>"), "<ds:SignatureValue/>", 1)
		}},
		{name: "signed by another certificate, which KeyInfo has", code: codeSignature, reason: "signature", make: func(t testing.TB, w world) string {
			return w.forgery("_a1").signedAssertion(t, evilKey())
		}},
		{name: "signed by another certificate, and KeyInfo has the configured one", code: codeSignature, reason: "signature", make: func(t testing.TB, w world) string {
			return replaced(t, lines(w.forgery("_a1").signedAssertion(t, evilKey())), lines(keyInfoOf(t, w, evilKey())), "<ds:X509Certificate>"+b64(idpKey().cert.Raw)+"</ds:X509Certificate>")
		}},
		{name: "HMAC with the public key", code: codeSignature, reason: "algorithm", make: hmacSigned},
		{name: "a person changed", code: codeSignature, reason: "signature", make: edited("alice-7", "admin-1")},
		{name: "an attribute changed", code: codeSignature, reason: "signature", make: edited("alice@idp.test", evil)},
		{name: "an audience changed", code: codeSignature, reason: "signature", make: edited(spEntity, "https://evil.test")},
		{name: "SHA-1 signature", code: codeSignature, reason: "algorithm", make: signedWith(nsSignature+"rsa-sha1", nsEnc+"sha256", exc)},
		{name: "SHA-1 digest", code: codeSignature, reason: "algorithm", make: signedWith(nsMore+"rsa-sha256", nsSignature+"sha1", exc)},
		{name: "inclusive canonical form", code: codeSignature, reason: "algorithm", make: signedWith(nsMore+"rsa-sha256", nsEnc+"sha256", `<ds:Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/>`)},
		{name: "XSLT transform", code: codeSignature, reason: "algorithm", make: extra(`<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>`)},
		{name: "XPath transform", code: codeSignature, reason: "algorithm", make: signedWith(nsMore+"rsa-sha256", nsEnc+"sha256",
			`<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>not(ancestor-or-self::*[local-name()='Subject'])</ds:XPath></ds:Transform>`)},
		{name: "XPath filter", code: codeSignature, reason: "algorithm", make: extra(`<ds:Transform Algorithm="http://www.w3.org/2002/06/xmldsig-filter2"/>`)},
		{name: "base64 transform", code: codeSignature, reason: "algorithm", make: extra(`<ds:Transform Algorithm="` + nsSignature + `base64"/>`)},
		{name: "reference to the whole document", code: codeSignature, reason: "signature", make: edited(`URI="#_a1"`, `URI=""`)},
		{name: "reference elsewhere", code: codeSignature, reason: "signature", make: edited(`URI="#_a1"`, `URI="https://evil.test/a"`)},
		{name: "reference by XPointer", code: codeSignature, reason: "signature", make: edited(`URI="#_a1"`, `URI="#xpointer(/)"`)},
		{name: "signed response, and the signature is of the assertion", code: codeSignature, reason: "signature", make: func(t testing.TB, w world) string {
			x := newWrapping(t, w)
			return x.around("_r9", x.sig, "", x.w.forgery("_a8").assertion())
		}},
		{name: "response signed by another, around a good assertion", code: codeSignature, reason: "signature", make: func(t testing.TB, w world) string {
			x := newWrapping(t, w)
			return evilKey().sign(t, x.around("_r9", template("_r9"), "", x.signed))
		}},
		{name: "unsigned assertion beside a signed one", code: codeAssertion, reason: "assertions", make: func(t testing.TB, w world) string {
			x := newWrapping(t, w)
			return x.around("_r9", "", "", x.signed, w.forgery("_a8").assertion())
		}},
		{name: "encrypted assertion that is not signed", code: codeSignature, reason: "unsigned", make: func(t testing.TB, w world) string {
			return w.forgery("_a1").encrypted(t, nil, spKey(), nsEnc11+"aes256-gcm")
		}},
		{name: "encrypted assertion signed by another", code: codeSignature, reason: "signature", make: func(t testing.TB, w world) string {
			by := evilKey()
			return w.forgery("_a1").encrypted(t, &by, spKey(), nsEnc11+"aes256-gcm")
		}},
		{name: "encrypted assertion beside a signed one", code: codeAssertion, reason: "assertions", make: func(t testing.TB, w world) string {
			x := newWrapping(t, w)
			return x.around("_r9", "", "", x.signed, spKey().encrypt(t, w.forgery("_a8").assertion(), nsEnc11+"aes256-gcm"))
		}},
		{name: "encrypted for somebody else", code: codeSignature, reason: "decryption", make: func(t testing.TB, w world) string {
			by := idpKey()
			return w.says().encrypted(t, &by, evilKey(), nsEnc11+"aes256-gcm")
		}},
		{name: "encrypted, and what is inside is a response", code: codeSignature, reason: "decryption", make: func(t testing.TB, w world) string {
			s := w.says()
			s.raw = spKey().encrypt(t, w.forgery("_a8").response(), nsEnc11+"aes256-gcm")
			return s.response()
		}},
		{name: "encrypted, and what is inside is two assertions", code: codeSignature, reason: "decryption", make: func(t testing.TB, w world) string {
			x, s := newWrapping(t, w), w.says()
			s.raw = spKey().encrypt(t, inserted(x.w.forgery("_a8").assertion(), assertionEnd, x.signed), nsEnc11+"aes256-gcm")
			return s.response()
		}},
		{name: "encrypted, and what is inside is no XML", code: codeSignature, reason: "decryption", make: func(t testing.TB, w world) string {
			s := w.says()
			s.raw = spKey().encrypt(t, "no XML", nsEnc11+"aes256-gcm")
			return s.response()
		}},
		{name: "encrypted, a bit of CBC flipped", code: codeSignature, reason: "decryption", make: func(t testing.TB, w world) string {
			by := idpKey()
			doc := lines(w.says().encrypted(t, &by, spKey(), nsEnc+"aes256-cbc"))
			from := strings.LastIndex(doc, "<xenc:CipherValue>") + len("<xenc:CipherValue>")
			to := strings.LastIndex(doc, "</xenc:CipherValue>")
			data, err := base64.StdEncoding.DecodeString(doc[from:to])
			if err != nil {
				t.Fatal(err)
			}
			data[16] ^= 1
			return doc[:from] + b64(data) + doc[to:]
		}},
		{name: "response unsigned where a signed one is wanted", code: codeSignature, reason: "unsigned",
			settings: []any{"want", map[string]any{"signed_response": true}},
			make:     func(t testing.TB, w world) string { return w.says().signedAssertion(t, idpKey()) }},
		{name: "assertion unsigned where a signed one is wanted", code: codeSignature, reason: "unsigned",
			settings: []any{"want", map[string]any{"signed_assertion": true}},
			make:     func(t testing.TB, w world) string { return w.says().signedResponse(t, idpKey()) }},
		{name: "assertion in the open where an encrypted one is wanted", code: codeAssertion, reason: "unencrypted",
			settings: []any{"want", map[string]any{"encrypted_assertion": true}},
			make:     func(t testing.TB, w world) string { return w.says().signedAssertion(t, idpKey()) }},
		{name: "encrypted, unsigned inside, in a signed response", code: codeSignature, reason: "unsigned",
			make: func(t testing.TB, w world) string { return encryptedInSigned(t, w.says()) }},
	}
}

// keyInfoOf returns the certificate as xmlsec1 writes it for a key.
func keyInfoOf(t testing.TB, w world, s signer) string {
	return piece(t, w.says().signedAssertion(t, s), "<ds:X509Certificate>", "</ds:X509Certificate>")
}

// hmacSigned is signed with what everybody has: the public key, as the secret of an HMAC.
func hmacSigned(t testing.TB, w world) string {
	doc := w.forgery("_a1").signedAssertion(t, evilKey())
	doc = replaced(t, doc, nsMore+"rsa-sha256", nsMore+"hmac-sha256")
	info := piece(t, doc, "<ds:SignedInfo>", "</ds:SignedInfo>")
	public, err := x509.MarshalPKIXPublicKey(idpKey().key.Public())
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(strings.Replace(info, "<ds:SignedInfo>", `<ds:SignedInfo xmlns:ds="`+nsSignature+`">`, 1)))
	value := piece(t, doc, "<ds:SignatureValue>", "</ds:SignatureValue>")
	return strings.Replace(doc, value, "<ds:SignatureValue>"+b64(mac.Sum(nil))+"</ds:SignatureValue>", 1)
}

// documents are about the XML itself.
func documents() []attack {
	edited := func(old, by string) func(testing.TB, world) string {
		return func(t testing.TB, w world) string { return replaced(t, w.says().signedAssertion(t, idpKey()), old, by) }
	}
	signed := func(change func(*said)) func(testing.TB, world) string {
		return func(t testing.TB, w world) string {
			s := w.says()
			change(&s)
			return s.signedAssertion(t, idpKey())
		}
	}
	raw := func(text string) func(testing.TB, world) string {
		return func(testing.TB, world) string { return text }
	}
	asFields := func(value string) func(world, string) sdk.Step {
		return func(w world, _ string) sdk.Step { return w.answerAs("corp", map[string]string{fieldResponse: value}) }
	}
	fields := func(change func(string) string) func(world, string) sdk.Step {
		return func(w world, document string) sdk.Step {
			return w.answerAs("corp", map[string]string{fieldResponse: change(b64([]byte(document)))})
		}
	}
	good := func(t testing.TB, w world) string { return w.says().signedAssertion(t, idpKey()) }
	const prolog = `<?xml version="1.0"?>`
	bomb := `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">` + func() string {
		var b strings.Builder
		for c := 'b'; c < 'k'; c++ {
			fmt.Fprintf(&b, `<!ENTITY %c "%s">`, c, strings.Repeat("&"+string(c-1)+";", 10))
		}
		return b.String()
	}() + `]>`
	list := []attack{
		{name: "comment in the NameID", make: edited("alice-7", "admin-1<!-- -->alice-7")},
		{name: "comment in the NameID, signed with it", make: signed(func(s *said) { s.subject = strings.Replace(s.subject, "alice-7", "admin-1<!-- -->.evil.test", 1) })},
		{name: "comment elsewhere", make: edited("<saml:Subject>", "<!-- --><saml:Subject>")},
		{name: "processing instruction in the NameID", make: signed(func(s *said) { s.subject = strings.Replace(s.subject, "alice-7", "admin-1<?x?>.evil.test", 1) })},
		{name: "processing instruction before the root", make: edited("<samlp:Response", `<?xml-stylesheet href="https://evil.test/"?><samlp:Response`)},
		{name: "CDATA in the NameID", make: edited("alice-7", "<![CDATA[admin-1]]>")},
		{name: "DTD", make: edited("<samlp:Response", "<!DOCTYPE samlp:Response><samlp:Response")},
		{name: "DTD with a default attribute", make: edited("<samlp:Response", `<!DOCTYPE r [<!ATTLIST saml:Assertion ID ID "_a9">]><samlp:Response`)},
		{name: "external entity", make: edited("<samlp:Response", `<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><samlp:Response`)},
		{name: "entity bomb", make: edited("<samlp:Response", bomb+"<samlp:Response")},
		{name: "entity that nobody declared", make: edited("alice-7", "&admin;")},
		{name: "ID twice", make: edited("<samlp:Status>", `<samlp:Status ID="_a1">`)},
		{name: "ID twice, in other letters", make: edited("<samlp:Status>", `<samlp:Status id="_a1">`)},
		{name: "ID twice, in another namespace", make: edited("<samlp:Status>", `<samlp:Status xmlns:x="urn:x" x:Id="_a1">`)},
		{name: "two assertions", reason: "assertions", make: func(t testing.TB, w world) string {
			x := newWrapping(t, w)
			s := w.says()
			s.assertionID, s.assertionSig = "_a2", template("_a2")
			second := piece(t, idpKey().sign(t, s.response()), assertionStart, assertionEnd)
			return x.around("_r9", "", "", x.signed, second)
		}},
		{name: "no assertion", reason: "assertions", make: func(_ testing.TB, w world) string { return newSaid(w, "<x/>").response() }},
		{name: "assertion as the root", make: func(t testing.TB, w world) string {
			return piece(t, w.says().signedAssertion(t, idpKey()), assertionStart, assertionEnd)
		}},
		{name: "response of SAML 1", make: edited(`Version="2.0" IssueInstant`, `Version="1.1" IssueInstant`)},
		{name: "response of another namespace", make: func(_ testing.TB, w world) string {
			return strings.ReplaceAll(w.says().response(), nsProtocol, "urn:x")
		}},
		{name: "prefix that nobody declared", make: edited("<samlp:Status>", "<x:Status>")},
		{name: "attribute twice", make: edited(`Version="2.0" IssueInstant`, `Version="2.0" Version="2.0" IssueInstant`)},
		{name: "UTF-16", make: func(t testing.TB, w world) string {
			var b strings.Builder
			b.WriteString("\xfe\xff")
			for _, c := range []byte(good(t, w)) {
				b.WriteString("\x00" + string(rune(c)))
			}
			return b.String()
		}},
		{name: "UTF-16 by declaration", make: edited(prolog, `<?xml version="1.0" encoding="UTF-16"?>`)},
		{name: "UTF-7 by declaration", make: edited(prolog, `<?xml version="1.0" encoding="UTF-7"?>`)},
		{name: "XML 1.1", make: edited(prolog, `<?xml version="1.1"?>`)},
		{name: "bytes that are not UTF-8", make: edited("alice-7", "alice\xff7")},
		{name: "NUL", make: edited("alice-7", "admin-1\x00alice-7")},
		{name: "NUL by reference", make: edited("alice-7", "admin-1&#0;alice-7")},
		{name: "two roots", make: func(t testing.TB, w world) string {
			return strings.TrimSpace(good(t, w)) + strings.TrimPrefix(w.says().response(), prolog)
		}},
		{name: "too deep", make: edited("<samlp:Status>", strings.Repeat("<a>", 100)+strings.Repeat("</a>", 100)+"<samlp:Status>")},
		{name: "too many elements", make: edited("<samlp:Status>", strings.Repeat("<a/>", 11_000)+"<samlp:Status>")},
		{name: "longer than 256 KiB", make: edited("<samlp:Status>", "<samlp:Status>"+strings.Repeat(" ", 256<<10))},
		{name: "empty", make: raw("")},
		{name: "no XML", make: raw("SAMLResponse")},
		{name: "no field", make: raw(""), send: func(w world, _ string) sdk.Step { return w.answerAs("corp", nil) }},
		{name: "bad base64", make: raw(""), send: asFields("%%%")},
		{name: "base64 of the URL", make: good, send: fields(func(s string) string { return strings.NewReplacer("+", "-", "/", "_").Replace(s) + "-_" })},
		{name: "base64 with spaces", make: good, send: fields(func(s string) string { return s[:40] + " " + s[40:] })},
		{name: "base64 with bits left over", make: raw(""), send: asFields("PHg+PC94PR==")},
		{name: "base64 with more behind it", make: good, send: fields(func(s string) string { return strings.TrimRight(s, "=") + "==AAAA" })},
		{name: "a million line breaks", make: good, send: fields(func(s string) string { return s + strings.Repeat("\n", 500_000) })},
	}
	for n := range list {
		list[n].code = codeAssertion
		if list[n].reason == "" {
			list[n].reason = "malformed"
		}
	}
	return list
}

func newSaid(w world, raw string) said {
	s := w.says()
	s.raw = raw
	return s
}

// contents are about what is said, and signed.
func contents() []attack {
	signed := func(change func(w world, s *said)) func(testing.TB, world) string {
		return func(t testing.TB, w world) string {
			s := w.says()
			change(w, &s)
			return s.signedAssertion(t, idpKey())
		}
	}
	whole := func(change func(w world, s *said)) func(testing.TB, world) string {
		return func(t testing.TB, w world) string {
			s := w.says()
			change(w, &s)
			return s.signedResponse(t, idpKey())
		}
	}
	named := func(name string) func(w world, s *said) {
		return func(w world, s *said) { s.subject = w.subject(name) }
	}
	confirmed := func(c string) func(w world, s *said) {
		return func(w world, s *said) {
			s.subject = `<saml:Subject><saml:NameID Format="` + formatPersistent + `">alice-7</saml:NameID>` + c + `</saml:Subject>`
		}
	}
	answering := ` InResponseTo="` + requestID + `"`
	w0 := newClock()
	list := []attack{
		{name: "expired", reason: "expired", make: signed(func(w world, s *said) { s.conditions = w.conditions(-time.Hour, -3*time.Minute, spEntity) })},
		{name: "future", reason: "future", make: signed(func(w world, s *said) { s.conditions = w.conditions(3*time.Minute+time.Second, time.Hour, spEntity) })},
		{name: "issued in the future", reason: "future", make: signed(func(w world, s *said) { s.instant = w.at(4 * time.Minute) })},
		{name: "time in words", reason: "expired", make: signed(func(_ world, s *said) {
			s.conditions = strings.Replace(s.conditions, "NotOnOrAfter=\"", "NotOnOrAfter=\"never ", 1)
		})},
		{name: "replayed", reason: "replayed", make: signed(func(world, *said) {}), send: func(w world, document string) sdk.Step {
			w.wantsDone(w.answer(document))
			return w.answer(document)
		}},
		{name: "assertion replayed in another response", reason: "replayed", make: signed(func(world, *said) {}), send: func(w world, document string) sdk.Step {
			w.wantsDone(w.answer(document))
			return w.answer(strings.Replace(document, `ID="_r1"`, `ID="_r2"`, 1))
		}},
		{name: "wrong audience", reason: "audience", make: signed(func(w world, s *said) { s.conditions = w.conditions(-time.Minute, time.Minute, "https://else.test") })},
		{name: "audience that begins like ours", reason: "audience", make: signed(func(w world, s *said) { s.conditions = w.conditions(-time.Minute, time.Minute, spEntity+".evil.test") })},
		{name: "no audience", reason: "audience", make: signed(func(w world, s *said) {
			s.conditions = `<saml:Conditions NotOnOrAfter="` + w.at(time.Minute) + `"/>`
		})},
		{name: "one of two audience restrictions is not ours", reason: "audience", make: signed(func(_ world, s *said) {
			s.conditions = strings.Replace(s.conditions, "</saml:Conditions>", "<saml:AudienceRestriction><saml:Audience>https://else.test</saml:Audience></saml:AudienceRestriction></saml:Conditions>", 1)
		})},
		{name: "no conditions", reason: "conditions", make: signed(func(_ world, s *said) { s.conditions = "" })},
		{name: "conditions twice", reason: "malformed", make: signed(func(_ world, s *said) { s.conditions += s.conditions })},
		{name: "condition that nobody knows", reason: "condition", make: signed(func(_ world, s *said) {
			s.conditions = strings.Replace(s.conditions, "</saml:Conditions>", "<saml:Condition/></saml:Conditions>", 1)
		})},
		{name: "condition of another namespace", reason: "condition", make: signed(func(_ world, s *said) {
			s.conditions = strings.Replace(s.conditions, "</saml:Conditions>", `<x:OneTimeUse xmlns:x="urn:x"/></saml:Conditions>`, 1)
		})},
		{name: "wrong recipient", reason: "recipient", make: signed(confirmed(w0.confirmation(methodBearer, "https://else.test/acs", time.Minute, answering)))},
		{name: "no recipient", reason: "recipient", make: signed(confirmed(strings.Replace(w0.confirmation(methodBearer, acs, time.Minute, answering), "Recipient=", "Receiver=", 1)))},
		{name: "wrong destination, signed", reason: "destination", make: whole(func(_ world, s *said) { s.destination = ` Destination="https://else.test/acs"` })},
		{name: "wrong destination, not signed", reason: "destination", make: signed(func(_ world, s *said) { s.destination = ` Destination="https://else.test/acs"` })},
		{name: "no destination in a signed response", reason: "destination", make: whole(func(_ world, s *said) { s.destination = "" })},
		{name: "wrong InResponseTo of the response", reason: "request", make: signed(func(_ world, s *said) { s.answers = ` InResponseTo="_other"` })},
		{name: "wrong InResponseTo of the subject", reason: "request", make: signed(confirmed(w0.confirmation(methodBearer, acs, time.Minute, ` InResponseTo="_other"`)))},
		{name: "no InResponseTo of the subject", reason: "request", make: signed(confirmed(w0.confirmation(methodBearer, acs, time.Minute, "")))},
		{name: "confirmation expired", reason: "expired", make: signed(confirmed(w0.confirmation(methodBearer, acs, -3*time.Minute, answering)))},
		{name: "confirmation without an end", reason: "confirmation", make: signed(confirmed(strings.Replace(w0.confirmation(methodBearer, acs, time.Minute, answering), "NotOnOrAfter=", "Until=", 1)))},
		{name: "confirmation not bearer", reason: "confirmation", make: signed(confirmed(w0.confirmation("urn:oasis:names:tc:SAML:2.0:cm:holder-of-key", acs, time.Minute, answering)))},
		{name: "no confirmation", reason: "confirmation", make: signed(confirmed(""))},
		{name: "no confirmation data", reason: "confirmation", make: signed(confirmed(`<saml:SubjectConfirmation Method="` + methodBearer + `"/>`))},
		{name: "no subject", reason: "subject", make: signed(func(_ world, s *said) { s.subject = "" })},
		{name: "wrong issuer of the assertion", reason: "issuer", make: signed(func(_ world, s *said) { s.issuer = "https://evil.test" })},
		{name: "wrong issuer of the response", reason: "issuer", make: signed(func(_ world, s *said) { s.responseIssuer = "https://evil.test" })},
		{name: "no issuer of a signed response", reason: "issuer", make: whole(func(_ world, s *said) { s.responseIssuer = "" })},
		{name: "no issuer of the assertion", reason: "issuer", make: signed(func(_ world, s *said) { s.issuer = "" })},
		{name: "issuer of another format", reason: "issuer", make: whole(func(_ world, s *said) { s.issuer = idpEntity + `</saml:Issuer><saml:Issuer Format="urn:x">` })},
		{name: "mix-up: signed by one that is trusted, for another", reason: "issuer", make: func(t testing.TB, w world) string {
			return w.says().signedAssertion(t, idpKey()) // "corp" says so
		}, send: func(w world, document string) sdk.Step {
			// The flow asked "other", whose keys are not these: neither its name nor its keys help.
			return w.answerAs("corp", map[string]string{fieldResponse: b64([]byte(strings.Replace(document, ">"+idpEntity+"<", ">https://other.test/metadata<", 1)))})
		}},
		{name: "mix-up: the answer of one to the question of another", code: codeSignature, reason: "signature", make: signed(func(world, *said) {}), send: func(w world, document string) sdk.Step {
			return w.answerAs("other", map[string]string{fieldResponse: b64([]byte(document))})
		}},
		{name: "mix-up: says to be the one that was asked", code: codeSignature, reason: "signature", make: func(t testing.TB, w world) string {
			s := w.says()
			s.issuer, s.responseIssuer = "https://other.test/metadata", "https://other.test/metadata"
			return s.signedAssertion(t, idpKey())
		}, send: func(w world, document string) sdk.Step {
			return w.answerAs("other", map[string]string{fieldResponse: b64([]byte(document))})
		}},
		{name: "NameID of another namespace", reason: "subject", make: signed(named(`<x:NameID xmlns:x="urn:x" Format="` + formatPersistent + `">admin-1</x:NameID>`))},
		{name: "NameID twice", reason: "malformed", make: signed(named(`<saml:NameID>alice-7</saml:NameID><saml:NameID>admin-1</saml:NameID>`))},
		{name: "NameID with an element inside", reason: "name", make: signed(named(`<saml:NameID>admin-1<x/></saml:NameID>`))},
		{name: "NameID empty", reason: "name", make: signed(named(`<saml:NameID/>`))},
		{name: "NameID with a line break", reason: "name", make: signed(named("<saml:NameID>alice-7\nadmin-1</saml:NameID>"))},
		{name: "NameID that reads backwards", reason: "name", make: signed(named("<saml:NameID>\u202ealice-7</saml:NameID>"))},
		{name: "NameID that is transient", reason: "subject", make: signed(named(`<saml:NameID Format="` + formatTransient + `">_x</saml:NameID>`))},
		{name: "NameID of another format than is set", reason: "format", settings: []any{"name_id_format", "persistent"},
			make: signed(named(`<saml:NameID Format="` + formatEmail + `">admin@idp.test</saml:NameID>`))},
		{name: "NameID encrypted", reason: "encrypted", make: signed(named(`<saml:EncryptedID/>`))},
		{name: "subject attribute missing", reason: "subject", settings: []any{"subject", "uid"}, make: signed(func(world, *said) {})},
		{name: "subject attribute with two values", reason: "subject", settings: []any{"subject", "uid"},
			make: signed(func(_ world, s *said) { s.attributes = attributeStatement("uid", "alice|admin") })},
		{name: "subject attribute twice", reason: "subject", settings: []any{"subject", "uid"},
			make: signed(func(_ world, s *said) { s.attributes = attributeStatement("uid", "alice", "uid", "admin") })},
		{name: "no AuthnStatement", reason: "authentication", make: signed(func(_ world, s *said) { s.authn = "" })},
		{name: "AuthnStatement without a context", reason: "authentication", make: signed(func(w world, s *said) { s.authn = `<saml:AuthnStatement AuthnInstant="` + w.at(0) + `"/>` })},
		{name: "authenticated in the future", reason: "future", make: signed(func(w world, s *said) { s.authn = strings.Replace(s.authn, w.at(-time.Minute), w.at(4*time.Minute), 1) })},
		{name: "session there has ended", reason: "expired", make: signed(func(w world, s *said) {
			s.authn = strings.Replace(s.authn, " SessionIndex", ` SessionNotOnOrAfter="`+w.at(-3*time.Minute)+`" SessionIndex`, 1)
		})},
		{name: "stale login where a new one is forced", reason: "stale", settings: []any{"force_authn", true},
			make: signed(func(w world, s *said) { s.authn = strings.Replace(s.authn, w.at(-time.Minute), w.at(-time.Hour), 1) })},
		{name: "another context than was asked for", reason: "context", settings: []any{"authn_context", "urn:oasis:names:tc:SAML:2.0:ac:classes:X509"}, make: signed(func(world, *said) {})},
		{name: "status failed", reason: "status", make: signed(func(_ world, s *said) { s.status = strings.Replace(s.status, "Success", "Responder", 1) })},
		{name: "status failed, in a signed response", reason: "status", make: whole(func(_ world, s *said) { s.status = strings.Replace(s.status, "Success", "Responder", 1) })},
		{name: "status missing", reason: "status", make: whole(func(_ world, s *said) { s.status = "" })},
		{name: "status twice", reason: "status", make: whole(func(_ world, s *said) { s.status += s.status })},
		{name: "assertion of SAML 1", reason: "malformed", make: func(t testing.TB, w world) string {
			s := w.says()
			s.assertionSig = template("_a1")
			return idpKey().sign(t, strings.Replace(s.response(), `Version="2.0"><saml:Issuer>`, `Version="1.1"><saml:Issuer>`, 1))
		}},
	}
	for n := range list {
		if list[n].code == "" {
			list[n].code = codeAssertion
		}
	}
	return list
}

// newClock is a world of which only the clock counts, which is the same for all.
func newClock() world { return world{host: newHostClock()} }

// unsolicitedOnes come without a request.
func unsolicitedOnes() []attack {
	bare := func(t testing.TB, w world) string {
		s := w.says()
		s.answers = ""
		s.subject = strings.Replace(s.subject, ` InResponseTo="`+requestID+`"`, "", 1)
		return s.signedAssertion(t, idpKey())
	}
	send := func(w world, document string) sdk.Step { return w.unsolicited(document) }
	on := []any{"idp_initiated", true}
	return []attack{
		{name: "unsolicited when it is off", code: codeAssertion, reason: "unsolicited", make: bare, send: send},
		{name: "unsolicited as the answer to a request", code: codeAssertion, reason: "request", settings: on, make: bare},
		{name: "unsolicited, and it answers a request", code: codeAssertion, reason: "request", settings: on, send: send,
			make: func(t testing.TB, w world) string { return w.says().signedAssertion(t, idpKey()) }},
		{name: "unsolicited, and the subject alone answers a request", code: codeAssertion, reason: "request", settings: on, send: send,
			make: func(t testing.TB, w world) string {
				s := w.says()
				s.answers = ""
				return s.signedAssertion(t, idpKey())
			}},
		{name: "unsolicited, replayed", code: codeAssertion, reason: "replayed", settings: on, make: bare, send: func(w world, document string) sdk.Step {
			w.wantsDone(w.unsolicited(document))
			return w.unsolicited(document)
		}},
		{name: "unsolicited, from nobody who is known", code: codeAssertion, reason: "issuer", settings: on, send: send, make: func(t testing.TB, w world) string {
			s := w.says()
			s.responseIssuer = "https://evil.test"
			return s.signedAssertion(t, evilKey())
		}},
		{name: "unsolicited, one that is trusted for another", code: codeSignature, reason: "signature", settings: on, send: send, make: func(t testing.TB, w world) string {
			s := w.says()
			s.answers = ""
			return s.signedAssertion(t, otherKey())
		}},
		{name: "unsolicited and unsigned", code: codeSignature, reason: "unsigned", settings: on, send: send,
			make: func(_ testing.TB, w world) string { return w.says().response() }},
	}
}

// logoutRequest is one that holds.
func (w world) logoutRequest(id, sig string, more ...string) string {
	doc := `<samlp:LogoutRequest xmlns:samlp="` + nsProtocol + `" xmlns:saml="` + nsAssertion + `" ID="` + id + `" Version="2.0" IssueInstant="` + w.at(0) +
		`" Destination="` + slo + `" NotOnOrAfter="` + w.at(time.Minute) + `"><saml:Issuer>` + idpEntity + `</saml:Issuer>` + sig +
		`<saml:NameID Format="` + formatPersistent + `">alice-7</saml:NameID><samlp:SessionIndex>s1</samlp:SessionIndex></samlp:LogoutRequest>`
	for n := 0; n < len(more); n += 2 {
		doc = strings.Replace(doc, more[n], more[n+1], 1)
	}
	return doc
}

// packed packs a message as the redirect binding has it.
func packed(document string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	_, _ = w.Write([]byte(document))
	_ = w.Close()
	return b64(b.Bytes())
}

// query signs a message for the redirect binding, as another side would.
func (s signer) query(t testing.TB, kind, document, relay string) string {
	t.Helper()
	query := kind + "=" + url.QueryEscape(packed(document))
	if relay != "" {
		query += "&RelayState=" + url.QueryEscape(relay)
	}
	query += "&SigAlg=" + url.QueryEscape(nsMore+"rsa-sha256")
	sum := sha256.Sum256([]byte(query))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key.(*rsa.PrivateKey), crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return query + "&Signature=" + url.QueryEscape(b64(signature))
}

// byQuery presents a query of the redirect binding.
func (w world) byQuery(kind, raw string) sdk.Step {
	w.t.Helper()
	return w.begin(sdk.FlowLogout, formSLO, queryFields(kind, raw))
}

func queryFields(kind, raw string) map[string]string {
	values, _ := url.ParseQuery(raw)
	return map[string]string{
		kind: values.Get(kind), "RelayState": values.Get("RelayState"), "SigAlg": values.Get("SigAlg"), "Signature": values.Get("Signature"),
		"raw_query": raw, "binding": bindingRedirect,
	}
}

// byForm presents a message of the POST binding.
func (w world) byForm(kind, document string) sdk.Step {
	w.t.Helper()
	return w.begin(sdk.FlowLogout, formSLO, map[string]string{kind: b64([]byte(document)), "RelayState": "back", "binding": bindingPost})
}

func logouts() []attack {
	post := func(w world, document string) sdk.Step { return w.byForm(fieldRequest, document) }
	redirect := func(w world, query string) sdk.Step { return w.byQuery(fieldRequest, query) }
	posted := func(more ...string) func(testing.TB, world) string {
		return func(t testing.TB, w world) string {
			return idpKey().sign(t, w.logoutRequest("_l1", template("_l1"), more...))
		}
	}
	queried := func(change func(string) string, more ...func(w world) []string) func(testing.TB, world) string {
		return func(t testing.TB, w world) string {
			var list []string
			for _, m := range more {
				list = append(list, m(w)...)
			}
			return change(idpKey().query(t, fieldRequest, w.logoutRequest("_l1", "", list...), "back"))
		}
	}
	same := func(s string) string { return s }
	when := func(old, by time.Duration) func(world) []string {
		return func(w world) []string { return []string{w.at(old), w.at(by)} }
	}
	return []attack{
		{name: "logout by POST, unsigned", code: codeSignature, reason: "unsigned", send: post, make: func(_ testing.TB, w world) string { return w.logoutRequest("_l1", "") }},
		{name: "logout by POST, signed by another", code: codeSignature, reason: "signature", send: post,
			make: func(t testing.TB, w world) string {
				return evilKey().sign(t, w.logoutRequest("_l1", template("_l1")))
			}},
		{name: "logout by POST, changed", code: codeSignature, reason: "signature", send: func(w world, document string) sdk.Step {
			return w.byForm(fieldRequest, strings.Replace(document, "alice-7", "admin-1", 1))
		}, make: posted()},
		{name: "logout by POST, replayed", code: codeAssertion, reason: "replayed", make: posted(), send: func(w world, document string) sdk.Step {
			if step := post(w, document); step.Logout == nil {
				w.t.Fatalf("step = %+v, want logout", step)
			}
			return post(w, document)
		}},
		{name: "logout by POST, a signed query in the form", code: codeSignature, reason: "unsigned",
			make: func(_ testing.TB, w world) string { return w.logoutRequest("_l1", "") },
			send: func(w world, document string) sdk.Step {
				fields := queryFields(fieldRequest, idpKey().query(w.t, fieldRequest, w.logoutRequest("_l2", ""), ""))
				fields[fieldRequest], fields["binding"] = b64([]byte(document)), bindingPost
				return w.begin(sdk.FlowLogout, formSLO, fields)
			}},
		{name: "logout by redirect, unsigned", code: codeSignature, reason: "unsigned", send: redirect, make: queried(func(q string) string { return q[:strings.Index(q, "&SigAlg")] })},
		{name: "logout by redirect, signature empty", code: codeSignature, reason: "signature", send: redirect, make: queried(func(q string) string { return q[:strings.Index(q, "&Signature=")] + "&Signature=" })},
		{name: "logout by redirect, signed by another", code: codeSignature, reason: "signature", send: redirect,
			make: func(t testing.TB, w world) string {
				return evilKey().query(t, fieldRequest, w.logoutRequest("_l1", ""), "back")
			}},
		{name: "logout by redirect, RelayState changed", code: codeSignature, reason: "signature", send: redirect, make: queried(func(q string) string { return strings.Replace(q, "=back", "=elsewhere", 1) })},
		{name: "logout by redirect, RelayState taken away", code: codeSignature, reason: "signature", send: redirect, make: queried(func(q string) string { return strings.Replace(q, "&RelayState=back", "", 1) })},
		{name: "logout by redirect, SHA-1", code: codeSignature, reason: "algorithm", send: redirect,
			make: queried(func(q string) string {
				return strings.Replace(q, url.QueryEscape(nsMore+"rsa-sha256"), url.QueryEscape(nsSignature+"rsa-sha1"), 1)
			})},
		{name: "logout by redirect, two requests", code: codeAssertion, reason: "malformed", send: redirect, make: queried(func(q string) string { return q + "&" + q[:strings.Index(q, "&")] })},
		{name: "logout by redirect, the fields say something else", code: codeSignature, reason: "signature",
			make: func(t testing.TB, w world) string {
				return evilKey().query(t, fieldRequest, w.logoutRequest("_l1", ""), "")
			},
			send: func(w world, query string) sdk.Step {
				fields := queryFields(fieldRequest, idpKey().query(w.t, fieldRequest, w.logoutRequest("_l2", ""), ""))
				fields["raw_query"] = query
				return w.begin(sdk.FlowLogout, formSLO, fields)
			}},
		{name: "logout by redirect, replayed", code: codeAssertion, reason: "replayed", make: queried(same), send: func(w world, query string) sdk.Step {
			if step := redirect(w, query); step.Logout == nil {
				w.t.Fatalf("step = %+v, want logout", step)
			}
			return redirect(w, query)
		}},
		{name: "logout by redirect, expired", code: codeAssertion, reason: "expired", send: redirect, make: queried(same, when(time.Minute, -3*time.Minute))},
		{name: "logout by redirect, issued long ago", code: codeAssertion, reason: "expired", send: redirect, make: queried(same, when(0, -time.Hour))},
		{name: "logout by redirect, issued in the future", code: codeAssertion, reason: "future", send: redirect, make: queried(same, when(0, 4*time.Minute))},
		{name: "logout for another place", code: codeAssertion, reason: "destination", send: redirect, make: queried(same, func(world) []string { return []string{slo, "https://else.test/slo"} })},
		{name: "logout from nobody who is known", code: codeAssertion, reason: "issuer", send: redirect, make: queried(same, func(world) []string { return []string{idpEntity, "https://evil.test"} })},
		{name: "logout from one that is trusted for another", code: codeSignature, reason: "signature", send: redirect,
			make: func(t testing.TB, w world) string {
				return otherKey().query(t, fieldRequest, w.logoutRequest("_l1", ""), "")
			}},
		{name: "logout of nobody", code: codeAssertion, reason: "name", send: redirect, make: queried(same, func(world) []string {
			return []string{"<saml:NameID", "<saml:BaseID", "</saml:NameID", "</saml:BaseID"}
		})},
		{name: "logout that is a response", code: codeAssertion, reason: "message", send: redirect, make: queried(same, func(world) []string {
			return []string{"<samlp:LogoutRequest", "<samlp:LogoutResponse", "</samlp:LogoutRequest", "</samlp:LogoutResponse"}
		})},
		{name: "logout that unpacks to a thousand times its size", code: codeAssertion, reason: "malformed", send: redirect, make: func(testing.TB, world) string {
			return fieldRequest + "=" + url.QueryEscape(packed(strings.Repeat(" ", 8<<20)))
		}},
		{name: "logout that is not DEFLATE", code: codeAssertion, reason: "malformed", send: redirect, make: func(testing.TB, world) string { return fieldRequest + "=AAAA" }},
		{name: "logout with more behind it", code: codeAssertion, reason: "malformed", send: redirect, make: func(_ testing.TB, w world) string {
			data, _ := base64.StdEncoding.DecodeString(packed(w.logoutRequest("_l1", "")))
			return fieldRequest + "=" + url.QueryEscape(b64(append(data, "more"...)))
		}},
		{name: "logout with a comment in the name", code: codeAssertion, reason: "malformed", send: redirect, make: queried(same, func(world) []string { return []string{"alice-7", "admin-1<!-- -->"} })},
		{name: "logout that is a login", code: codeAssertion, reason: "malformed", send: post, make: func(testing.TB, world) string { return "<x/><y/>" }},
	}
}

// What nobody could send through the gateway must not hurt here either.
func TestHugeResponsesAreRefusedBeforeTheyAreRead(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig()))
	huge := strings.Repeat("A", 100<<20)
	started := testing.AllocsPerRun(1, func() {
		w.wants(codeAssertion, w.answerAs("corp", map[string]string{fieldResponse: huge}))
	})
	if started > 1000 {
		t.Errorf("100 MiB cost %v allocations", started)
	}
}
