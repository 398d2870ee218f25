package xmlsig

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
)

// fuzzSigner has the same key in each process of a fuzzer, so that its seeds mean something
// to all of them.
func fuzzSigner(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(key)
}

// Two elements were signed. Whatever is made of the documents, what verifies is one of them,
// byte for byte.
func FuzzVerify(f *testing.F) {
	s := fuzzSigner(f)
	o := VerifyOptions{Element: assertionName, Certificates: certificates(s)}
	var covered []string
	var docs []string
	for _, who := range []string{"alice@idp.test", "bob@idp.test"} {
		signed, err := Sign([]byte(assertion("_"+who[:3], "", who)), signOptions(s))
		if err != nil {
			f.Fatal(err)
		}
		bare, err := Verify(signed, o)
		if err != nil {
			f.Fatal(err)
		}
		docs, covered = append(docs, string(signed)), append(covered, string(bare))
		f.Add(signed)
		f.Add([]byte(response("_r1", "", string(signed))))
	}
	sig := piece(f, docs[0], "<ds:Signature ", "</ds:Signature>")
	plain := strings.Replace(docs[0], sig, "", 1)
	f.Add([]byte(response("_r1", "", docs[0], docs[1])))
	f.Add([]byte(response("_r1", "", assertion("_evil", sig, evil), plain)))
	f.Add([]byte(response("_r1", "", assertion("_ali", strings.Replace(sig, "</ds:KeyInfo>", plain+"</ds:KeyInfo>", 1), evil))))
	f.Add([]byte(strings.Replace(docs[0], "alice@", "alice<!-- -->@", 1)))
	f.Add([]byte(strings.Replace(docs[0], "alice@", "&alice;", 1)))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY alice "x">]>` + docs[0]))
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := Verify(doc, o)
		if err == nil && !slices.Contains(covered, string(got)) {
			t.Errorf("Verify(%q) = %q", doc, got)
		}
		known := errors.Is(err, ErrDocument) || errors.Is(err, ErrUnsigned) || errors.Is(err, ErrAlgorithm) || errors.Is(err, ErrSignature)
		if err != nil && (got != nil || !known) {
			t.Errorf("Verify(%q) = %q, %v", doc, got, err)
		}
	})
}

// What Sign takes, Verify takes, and it holds nothing that was not there.
func FuzzSign(f *testing.F) {
	s := fuzzSigner(f)
	f.Add([]byte(request))
	f.Add([]byte(`<a ID="x" xmlns:b="urn:b" b:c="1" c="2"><b:d xmlns="urn:d"><e xmlns=""/></b:d>&#13;</a>`))
	f.Add([]byte(`<?xml version="1.0"?><x:a ID="x" xmlns:x="urn:x">` + "\r\n" + `</x:a>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		signed, err := Sign(doc, SignOptions{Key: s.key, Certificate: s.cert})
		if err != nil {
			// What would come out wrong is an error as well, but is one of ours.
			if strings.Contains(err.Error(), "what was signed is not what would be read") {
				t.Errorf("Sign(%q) = %v", doc, err)
			}
			return
		}
		before, _, err := elements(doc)
		if err != nil {
			t.Fatal(err)
		}
		after, own, err := elements(signed)
		if err != nil || after != before || own != 1 {
			t.Errorf("Sign(%q) = %q: %d elements of %d, %d signatures, %v", doc, signed, after, before, own, err)
		}
	})
}

// elements counts the elements of a document outside of its signatures, and these, as
// encoding/xml sees them.
func elements(doc []byte) (others, signatures int, err error) {
	list, err := understood(bytes.TrimPrefix(cutDeclaration(doc), []byte("\xef\xbb\xbf")))
	depth := 0 // in a signature
	for i, item := range list {
		switch {
		case item == "<" && depth == 0 && list[i+1] == nsSig && list[i+2] == "Signature":
			signatures, depth = signatures+1, 1
		case item == "<" && depth > 0:
			depth++
		case item == ">" && depth > 0:
			depth--
		case item == "<":
			others++
		}
	}
	return others, signatures, err
}

func cutDeclaration(doc []byte) []byte {
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	if _, rest, found := bytes.Cut(doc, []byte("?>")); found && bytes.HasPrefix(doc, []byte("<?xml")) {
		return rest
	}
	return doc
}

// Decrypt never panics, whether the document or what is inside is garbage.
func FuzzDecrypt(f *testing.F) {
	s := newSealed(`<a xmlns="urn:x">text</a>`)
	key := s.key(f)
	f.Add(s.doc(f), []byte(`<a/>`))
	f.Add(`<a/>`, []byte(`<a><!-- --></a>`))
	f.Add(encryptedAssertion(encryptedData(s.method, "", "")+key), []byte{})
	f.Fuzz(func(t *testing.T, doc string, inside []byte) {
		if got, err := decryptWith(doc); err != nil && got != "" {
			t.Errorf("Decrypt() = %q, %v", got, err)
		}
		inner := s
		inner.plain = append(bytes.Clone(inside), 1) // a padding of one byte, if the length is right
		value := base64.StdEncoding.EncodeToString(inner.data(t))
		got, err := decryptWith(encryptedAssertion(encryptedData(s.method, key, value)))
		if err != nil && (got != "" || err != ErrDecrypt && len(value) < maxBytes/2) {
			t.Errorf("Decrypt() = %q, %v", got, err)
		}
		if err != nil {
			return
		}
		if _, err := read([]byte(got), nil); err != nil {
			t.Errorf("Decrypt() = %q, which is refused: %v", got, err)
		}
	})
}

// The assertion is of about 5 KB, as those with a certificate and some groups are.
func BenchmarkVerify(b *testing.B) {
	for name, s := range map[string]signer{"RSA": idpRSA(), "ECDSA": idpP256()} {
		b.Run(name, func(b *testing.B) {
			plain := assertion("_a1", "", "alice@idp.test")
			group := `<saml:AttributeValue>a group of some people or other</saml:AttributeValue>`
			plain = strings.Replace(plain, "</saml:Attribute>", strings.Repeat(group, 25)+"</saml:Attribute>", 1)
			signed, err := Sign([]byte(plain), signOptions(s))
			if err != nil {
				b.Fatal(err)
			}
			doc := []byte(response("_r1", "", string(signed)))
			o := VerifyOptions{Element: assertionName, Certificates: certificates(s)}
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Verify(doc, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What costs most within the bounds.
func BenchmarkVerifyHostile(b *testing.B) {
	var scope strings.Builder
	for i := range maxScope - 8 {
		scope.WriteString(` xmlns:p` + strings.Repeat("i", i) + `="urn:` + strings.Repeat("u", 400) + strings.Repeat("i", i) + `"`)
	}
	inside := strings.Repeat("<p:a/>", 9000)
	s := idpRSA()
	signed, err := Sign([]byte(assertion("_a1", "", "alice@idp.test")), signOptions(s))
	if err != nil {
		b.Fatal(err)
	}
	for name, doc := range map[string]string{
		"elements":   strings.Replace(string(signed), "<saml:Subject>", "<saml:X"+scope.String()+">"+inside+"</saml:X><saml:Subject>", 1),
		"depth":      strings.Replace(string(signed), "<saml:Subject>", strings.Repeat(strings.Repeat("<a>", 55)+strings.Repeat("</a>", 55), 160)+"<saml:Subject>", 1),
		"not closed": strings.Repeat("<a>", maxBytes/3),
	} {
		b.Run(name, func(b *testing.B) {
			o := VerifyOptions{Element: assertionName, Certificates: certificates(s)}
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Verify([]byte(doc), o); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}
