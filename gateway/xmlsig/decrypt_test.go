package xmlsig

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func privateKey(s signer) *rsa.PrivateKey { return s.key.(*rsa.PrivateKey) }

var ciphers = map[string]string{
	"AES-128-GCM": "http://www.w3.org/2009/xmlenc11#aes128-gcm",
	"AES-256-GCM": "http://www.w3.org/2009/xmlenc11#aes256-gcm",
	"AES-128-CBC": "http://www.w3.org/2001/04/xmlenc#aes128-cbc",
	"AES-256-CBC": "http://www.w3.org/2001/04/xmlenc#aes256-cbc",
}

func TestDecryptReadsWhatThePeerEncrypted(t *testing.T) {
	signed, want := peerSign(t, idpRSA(), assertion("_a1", template("_a1", RSASHA256, nsEnc+"sha256"), "alice@idp.test"))
	sp := otherRSA()
	for name, method := range ciphers {
		t.Run(name, func(t *testing.T) {
			doc := response("_r1", "", encryptedAssertion(peerEncrypt(t, sp, signed, method)))
			if strings.Contains(doc, "alice") {
				t.Fatal("the peer did not encrypt")
			}
			plain, err := Decrypt([]byte(doc), privateKey(idpRSA()), privateKey(sp))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := verifyWith(string(plain), assertionName, idpRSA()); err != nil || got != want {
				t.Errorf("Verify(Decrypt()) = %s, %v, want %s", got, err, want)
			}
			if _, err := Decrypt([]byte(doc), privateKey(idpRSA())); err != ErrDecrypt {
				t.Errorf("Decrypt() with another key = %v, want ErrDecrypt", err)
			}
			if _, err := Decrypt([]byte(doc)); err != ErrDecrypt {
				t.Errorf("Decrypt() without a key = %v, want ErrDecrypt", err)
			}
			if _, err := Decrypt([]byte(doc), privateKey(shortRSA())); !errors.Is(err, ErrAlgorithm) {
				t.Errorf("Decrypt() with 1024 bits = %v, want ErrAlgorithm", err)
			}
		})
	}
}

// sealed is what another party encrypted, made with the standard library.
type sealed struct {
	method, keyMethod, parameters string
	options                       rsa.OAEPOptions
	secret                        []byte
	plain                         []byte
}

func newSealed(plain string) sealed {
	return sealed{
		method: ciphers["AES-256-CBC"], keyMethod: nsEnc + "rsa-oaep-mgf1p",
		options: rsa.OAEPOptions{Hash: crypto.SHA1}, secret: bytes.Repeat([]byte{7}, 32), plain: []byte(plain),
	}
}

func (s sealed) key(t testing.TB) string {
	t.Helper()
	data, err := rsa.EncryptOAEPWithOptions(rand.Reader, &privateKey(otherRSA()).PublicKey, s.secret, &s.options)
	if err != nil {
		t.Fatal(err)
	}
	return encryptedKey(s.keyMethod, s.parameters, base64.StdEncoding.EncodeToString(data))
}

// data encrypts, with the IV in front. With CBC, plain is padded if it has no full block.
func (s sealed) data(t testing.TB) []byte {
	t.Helper()
	block, err := aes.NewCipher(s.secret)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(s.method, "gcm") {
		aead, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		nonce := make([]byte, aead.NonceSize())
		return aead.Seal(nonce, nonce, s.plain, nil)
	}
	plain := bytes.Clone(s.plain)
	if n := len(plain) % 16; n > 0 {
		plain = append(plain, make([]byte, 16-n)...)
		plain[len(plain)-1] = byte(16 - n)
	}
	out := make([]byte, 16+len(plain))
	cipher.NewCBCEncrypter(block, out[:16]).CryptBlocks(out[16:], plain)
	return out
}

func (s sealed) doc(t testing.TB) string {
	return encryptedAssertion(encryptedData(s.method, s.key(t), base64.StdEncoding.EncodeToString(s.data(t))))
}

func decryptWith(doc string) (string, error) {
	plain, err := Decrypt([]byte(doc), privateKey(otherRSA()))
	return string(plain), err
}

func TestDecryptTakesTheFormsOfOAEP(t *testing.T) {
	digest := func(uri string) string { return `<ds:DigestMethod xmlns:ds="` + nsSig + `" Algorithm="` + uri + `"/>` }
	mask := func(uri string) string {
		return `<x:MGF xmlns:x="http://www.w3.org/2009/xmlenc11#" Algorithm="http://www.w3.org/2009/xmlenc11#` + uri + `"/>`
	}
	const older, newer = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p", "http://www.w3.org/2009/xmlenc11#rsa-oaep"
	const sha1, sha256 = "http://www.w3.org/2000/09/xmldsig#sha1", "http://www.w3.org/2001/04/xmlenc#sha256"
	for _, c := range []struct {
		method, parameters string
		digest, mask       crypto.Hash
		want               error
	}{
		{older, "", crypto.SHA1, crypto.SHA1, nil},
		{older, digest(sha1), crypto.SHA1, crypto.SHA1, nil},
		{older, digest(sha256), crypto.SHA256, crypto.SHA1, nil},
		{newer, "", crypto.SHA1, crypto.SHA1, nil},
		{newer, digest(sha256), crypto.SHA256, crypto.SHA1, nil},
		{newer, digest(sha256) + mask("mgf1sha256"), crypto.SHA256, crypto.SHA256, nil},
		{newer, mask("mgf1sha256"), crypto.SHA1, crypto.SHA256, nil},
		{newer, digest("http://www.w3.org/2001/04/xmlenc#sha512") + mask("mgf1sha512"), crypto.SHA512, crypto.SHA512, nil},
		{newer, digest(sha256) + mask("mgf1sha1"), crypto.SHA256, crypto.SHA256, ErrDecrypt},
		{older, mask("mgf1sha1"), crypto.SHA1, crypto.SHA1, ErrAlgorithm},
		{older, digest("http://www.w3.org/2001/04/xmldsig-more#md5"), crypto.SHA1, crypto.SHA1, ErrAlgorithm},
		{newer, mask("mgf1md5"), crypto.SHA1, crypto.SHA1, ErrAlgorithm},
		{older, "<xenc:OAEPparams>AAAA</xenc:OAEPparams>", crypto.SHA1, crypto.SHA1, ErrAlgorithm},
		{nsEnc + "rsa-1_5", "", crypto.SHA1, crypto.SHA1, ErrAlgorithm},
		{nsEnc + "kw-aes256", "", crypto.SHA1, crypto.SHA1, ErrAlgorithm},
		{"", "", crypto.SHA1, crypto.SHA1, ErrAlgorithm},
	} {
		s := newSealed(`<a xmlns="urn:x">text</a>`)
		s.keyMethod, s.parameters, s.options = c.method, c.parameters, rsa.OAEPOptions{Hash: c.digest, MGFHash: c.mask}
		if got, err := decryptWith(s.doc(t)); !errors.Is(err, c.want) || (got == "") == (c.want == nil) {
			t.Errorf("%s %s: Decrypt() = %q, %v, want %v", c.method, c.parameters, got, err, c.want)
		}
	}
}

func TestDecryptGivesADocumentOfItsOwn(t *testing.T) {
	for plain, want := range map[string]string{
		`<a xmlns="urn:x">t</a>`:                         `<a xmlns="urn:x" xmlns:saml="` + nsAssertion + `">t</a>`,
		`<saml:a/>`:                                      `<saml:a xmlns:saml="` + nsAssertion + `"></saml:a>`,
		`<saml:a xmlns:saml="urn:own"/>`:                 `<saml:a xmlns:saml="urn:own"></saml:a>`,
		"\n<?xml version=\"1.0\"?>":                      "",
		`<?xml version="1.0"?><b/>`:                      `<b xmlns:saml="` + nsAssertion + `"></b>`,
		"  <c xmlns:saml=\"urn:own\">&#13;&lt;</c>\r\n ": `<c xmlns:saml="urn:own">&#xD;&lt;</c>`,
	} {
		got, err := decryptWith(newSealed(plain).doc(t))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Decrypt(%q) = %q, %v, want %q", plain, got, err, want)
		}
	}
}

func TestDecryptFindsTheKeyBesideTheData(t *testing.T) {
	s := newSealed(`<a/>`)
	data := base64.StdEncoding.EncodeToString(s.data(t))
	beside := encryptedAssertion(encryptedData(s.method, `<ds:RetrievalMethod URI="#k"/>`, data) + s.key(t))
	if got, err := decryptWith(beside); err != nil || !strings.HasPrefix(got, "<a ") {
		t.Errorf("beside: Decrypt() = %q, %v", got, err)
	}
	other := s
	other.secret = bytes.Repeat([]byte{9}, 16) // of another length, so not for this cipher
	several := encryptedAssertion(encryptedData(s.method, other.key(t)+s.key(t), data))
	if got, err := decryptWith(several); err != nil || !strings.HasPrefix(got, "<a ") {
		t.Errorf("several: Decrypt() = %q, %v", got, err)
	}
}

func TestDecryptRefusesOtherStructures(t *testing.T) {
	s := newSealed(`<a/>`)
	good := s.doc(t)
	if _, err := decryptWith(good); err != nil {
		t.Fatal(err)
	}
	key := s.key(t)
	replace := func(old, by string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("the document has no %s", old)
		}
		return strings.Replace(good, old, by, 1)
	}
	data := piece(t, good, "<xenc:EncryptedData", "</xenc:EncryptedData>")
	for name, c := range map[string]struct {
		doc  string
		want error
	}{
		"two of them":         {encryptedAssertion(data + data), ErrDocument},
		"none":                {encryptedAssertion(""), ErrDocument},
		"content":             {replace(`Type="`+nsEnc+`Element"`, `Type="`+nsEnc+`Content"`), ErrDocument},
		"3DES":                {replace(s.method, nsEnc+"tripledes-cbc"), ErrAlgorithm},
		"AES-192":             {replace(s.method, nsEnc+"aes192-cbc"), ErrAlgorithm},
		"no method":           {replace(`<xenc:EncryptionMethod Algorithm="`+s.method+`"/>`, ""), ErrDocument},
		"two methods":         {replace("<ds:KeyInfo", `<xenc:EncryptionMethod Algorithm="`+s.method+`"/><ds:KeyInfo`), ErrDocument},
		"a reference":         {cut(t, good, "<xenc:CipherValue>", "</xenc:CipherValue>", `<xenc:CipherReference URI="https://evil.test"/>`), ErrDocument},
		"two values":          {replace("<xenc:CipherValue>", "<xenc:CipherValue>AAAA</xenc:CipherValue><xenc:CipherValue>"), ErrDocument},
		"not base64":          {replace("<xenc:CipherValue>", "<xenc:CipherValue>*"), ErrDocument},
		"elements in base64":  {replace("<xenc:CipherValue>", "<xenc:CipherValue><x/>"), ErrDocument},
		"text":                {replace("<xenc:CipherData>", "x<xenc:CipherData>"), ErrDocument},
		"a comment":           {replace("<xenc:CipherValue>", "<xenc:CipherValue><!-- x -->"), ErrDocument},
		"key far away":        {"<r>" + good + key + "</r>", ErrDocument},
		"key in a key":        {replace("<xenc:EncryptedKey ", "<ds:X>"+key+"</ds:X><xenc:EncryptedKey "), ErrDocument},
		"many keys":           {replace("<xenc:EncryptedKey ", strings.Repeat(key, maxRecipients)+"<xenc:EncryptedKey "), ErrDocument},
		"no key":              {cut(t, good, "<xenc:EncryptedKey ", "</xenc:EncryptedKey>", ""), ErrDecrypt},
		"key too short":       {cut(t, good, "<xenc:EncryptedKey ", "</xenc:EncryptedKey>", encryptedKey(s.keyMethod, "", "AAAA")), ErrDecrypt},
		"key for another AES": {replace("aes256-cbc", "aes128-cbc"), ErrDecrypt},
		"too long":            {good + strings.Repeat(" ", maxBytes), ErrDocument},
	} {
		if got, err := decryptWith(c.doc); !errors.Is(err, c.want) || got != "" {
			t.Errorf("%s: Decrypt() = %q, %v, want %v", name, got, err, c.want)
		}
	}
}

// Whatever is changed in what is encrypted, the answer is the same, or, with CBC, which does
// not notice, an element that no signature covers.
func TestDecryptIsNoOracle(t *testing.T) {
	for name, method := range ciphers {
		s := newSealed(`<a xmlns="urn:x"><b>some text that is longer than one block</b></a>`)
		s.method, s.secret = method, s.secret[:16]
		if strings.Contains(method, "256") {
			s.secret = bytes.Repeat([]byte{7}, 32)
		}
		key, data := s.key(t), s.data(t)
		for i := range data {
			for _, bit := range []byte{1, 0x80} {
				data[i] ^= bit
				got, err := decryptWith(encryptedAssertion(encryptedData(method, key, base64.StdEncoding.EncodeToString(data))))
				data[i] ^= bit
				if err != nil && err != ErrDecrypt {
					t.Fatalf("%s, byte %d: Decrypt() = %v, want ErrDecrypt itself", name, i, err)
				}
				if err == nil && strings.HasSuffix(method, "gcm") {
					t.Fatalf("%s, byte %d: Decrypt() = %q", name, i, got)
				}
			}
		}
		for _, n := range []int{0, 1, 11, 12, 15, 16, 17, 28, 31, 33, len(data) - 16, len(data) - 1} {
			value := base64.StdEncoding.EncodeToString(data[:n])
			if got, err := decryptWith(encryptedAssertion(encryptedData(method, key, value))); err == nil || n > 0 && err != ErrDecrypt {
				t.Errorf("%s cut to %d bytes: Decrypt() = %q, %v", name, n, got, err)
			}
		}
	}
}

// Bad padding and a good one in front of something that is not XML: no difference.
func TestDecryptSaysTheSameOfPaddingAndContents(t *testing.T) {
	xml := []byte("<a>0123456789</a>")
	block := func(last ...byte) []byte {
		padded := append(bytes.Clone(xml), make([]byte, 32-len(xml))...)
		return append(padded[:32-len(last)], last...)
	}
	for name, c := range map[string]struct {
		plain []byte
		ok    bool
	}{
		"right":                   {block(15), true},
		"right, filled with junk": {block(0xff, 0xfe, 15), true},
		"zero":                    {block(0), false},
		"longer than a block":     {block(17), false},
		"255":                     {block(255), false},
		"one too long":            {block(16), false},
		"one too short":           {block(14), false},
		"none, but XML":           {[]byte("<a>0123456789012345678901234</a>"), false},
		"a whole block":           {append([]byte("<a>012345678</a>"), append(make([]byte, 15), 16)...), true},
		"not XML":                 {append([]byte("0123456789abcdef"), append(make([]byte, 15), 16)...), false},
		"nothing but padding":     {append(make([]byte, 15), 16), false},
		"an entity":               {append([]byte("<a>&xxxxxxxx;</a"), append([]byte(">"), block(15)[17:]...)...), false},
	} {
		s := newSealed(string(c.plain))
		if got, err := decryptWith(s.doc(t)); c.ok && err != nil || !c.ok && err != ErrDecrypt {
			t.Errorf("%s: Decrypt() = %q, %v, accepted wanted: %t", name, got, err, c.ok)
		}
	}
}
