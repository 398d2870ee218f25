package xmlsig

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	_ "crypto/sha1" // for OAEP, where it need not resist collisions
	"fmt"

	"github.com/beevik/etree"
)

// maxRecipients bounds how many encrypted keys are tried.
const maxRecipients = 8

// Decrypt decrypts the one EncryptedData of a document and returns the element that was
// encrypted as a document of its own, with the namespaces that are declared around it. The
// key of it is encrypted for one of the given keys, in its KeyInfo or beside it.
//
// That something could be decrypted says nothing about who wrote it: anybody can encrypt. The
// caller gives the same answer to a document that cannot be decrypted and to one whose
// signature is wrong, because with CBC the difference would give the contents away.
func Decrypt(doc []byte, keys ...*rsa.PrivateKey) ([]byte, error) {
	d, err := read(doc, nil)
	if err != nil {
		return nil, err
	}
	e, err := d.encrypted()
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if !goodRSA(&key.PublicKey) {
			return nil, fmt.Errorf("%w: size of the RSA key", ErrAlgorithm)
		}
	}
	for _, recipient := range e.recipients {
		for _, key := range keys {
			secret, err := key.Decrypt(nil, recipient.data, recipient.options)
			if err != nil || len(secret) != e.cipher.keyBytes {
				continue
			}
			return e.open(secret)
		}
	}
	return nil, ErrDecrypt
}

// encrypted is an EncryptedData whose structure was read.
type encrypted struct {
	cipher     blockCipher
	data       []byte
	scope      map[string]string // the namespaces around it
	recipients []recipient
}

// recipient is an EncryptedKey.
type recipient struct {
	options *rsa.OAEPOptions
	data    []byte
}

// blockCipher is an algorithm for the contents.
type blockCipher struct {
	keyBytes int
	gcm      bool
}

// contents returns the algorithm of a URI (XML Encryption 1.1 §5.2).
func contents(method string) (blockCipher, error) {
	switch method {
	case nsEnc11 + "aes128-gcm":
		return blockCipher{16, true}, nil
	case nsEnc11 + "aes256-gcm":
		return blockCipher{32, true}, nil
	case nsEnc + "aes128-cbc":
		return blockCipher{16, false}, nil
	case nsEnc + "aes256-cbc":
		return blockCipher{32, false}, nil
	}
	return blockCipher{}, fmt.Errorf("%w: encryption method", ErrAlgorithm)
}

// encrypted reads what is encrypted, before any key is used.
func (d *document) encrypted() (*encrypted, error) {
	found := d.all(nsEnc, "EncryptedData")
	if len(found) != 1 {
		return nil, fmt.Errorf("%w: not one EncryptedData", ErrDocument)
	}
	el := found[0]
	if typ := attribute(el, "Type"); typ != "" && typ != nsEnc+"Element" {
		return nil, fmt.Errorf("%w: what is encrypted is not an element", ErrDocument)
	}
	method, data, err := d.encryption(el)
	if err != nil {
		return nil, err
	}
	e := &encrypted{data: data, scope: around(el)}
	if e.cipher, err = contents(attribute(method, "Algorithm")); err != nil {
		return nil, err
	}
	for _, k := range d.all(nsEnc, "EncryptedKey") {
		if !belongs(k, el) {
			return nil, fmt.Errorf("%w: an EncryptedKey of something else", ErrDocument)
		}
		r, err := d.recipient(k)
		if err != nil {
			return nil, err
		}
		e.recipients = append(e.recipients, r)
	}
	if len(e.recipients) > maxRecipients {
		return nil, fmt.Errorf("%w: more than %d recipients", ErrDocument, maxRecipients)
	}
	return e, nil
}

// belongs reports whether a key is in the KeyInfo of what is encrypted, or beside it (SAML
// Core §6.2).
func belongs(key, data *etree.Element) bool {
	return key.Parent() == data.Parent() || key.Parent().Parent() == data
}

// encryption reads what EncryptedData and EncryptedKey have in common.
func (d *document) encryption(el *etree.Element) (method *etree.Element, data []byte, err error) {
	children, ok := parts(el)
	if !ok {
		return nil, nil, fmt.Errorf("%w: structure of the encryption", ErrDocument)
	}
	var value []*etree.Element
	var methods []*etree.Element
	for _, child := range children {
		if d.is(child, nsEnc, "EncryptionMethod") {
			methods = append(methods, child)
		}
		if d.is(child, nsEnc, "CipherData") {
			value = append(value, child)
		}
	}
	if len(methods) != 1 || len(value) != 1 {
		return nil, nil, fmt.Errorf("%w: structure of the encryption", ErrDocument)
	}
	inner, ok := parts(value[0])
	if !ok || len(inner) != 1 || !d.is(inner[0], nsEnc, "CipherValue") { // a CipherReference would have to be fetched
		return nil, nil, fmt.Errorf("%w: structure of the encryption", ErrDocument)
	}
	text, ok := content(inner[0])
	if !ok {
		return nil, nil, fmt.Errorf("%w: structure of the encryption", ErrDocument)
	}
	if data, ok = decodeBase64(text); !ok {
		return nil, nil, fmt.Errorf("%w: base64 of the encryption", ErrDocument)
	}
	return methods[0], data, nil
}

// recipient reads an EncryptedKey. RSA with PKCS #1 1.5 is refused: whoever can see whether
// its padding is right can decrypt with somebody else's key (XML Encryption §6.1.2).
func (d *document) recipient(el *etree.Element) (recipient, error) {
	method, data, err := d.encryption(el)
	if err != nil {
		return recipient{}, err
	}
	alg := attribute(method, "Algorithm")
	if alg != nsEnc+"rsa-oaep-mgf1p" && alg != nsEnc11+"rsa-oaep" {
		return recipient{}, fmt.Errorf("%w: encryption of the key", ErrAlgorithm)
	}
	options := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	children, ok := parts(method)
	if !ok {
		return recipient{}, fmt.Errorf("%w: structure of the encryption", ErrDocument)
	}
	for _, child := range children {
		value := attribute(child, "Algorithm")
		switch {
		case d.is(child, nsSig, "DigestMethod"):
			options.Hash, ok = oaepDigest(value)
		case d.is(child, nsEnc11, "MGF") && alg == nsEnc11+"rsa-oaep":
			options.MGFHash, ok = oaepMask(value)
		default: // OAEPparams, which nobody was seen to use, too
			ok = false
		}
		if !ok {
			return recipient{}, fmt.Errorf("%w: parameters of OAEP", ErrAlgorithm)
		}
	}
	return recipient{options, data}, nil
}

func oaepDigest(method string) (crypto.Hash, bool) {
	switch method {
	case nsSig + "sha1":
		return crypto.SHA1, true
	case nsEnc + "sha256":
		return crypto.SHA256, true
	case nsEnc + "sha512":
		return crypto.SHA512, true
	}
	return 0, false
}

func oaepMask(method string) (crypto.Hash, bool) {
	switch method {
	case nsEnc11 + "mgf1sha1":
		return crypto.SHA1, true
	case nsEnc11 + "mgf1sha256":
		return crypto.SHA256, true
	case nsEnc11 + "mgf1sha512":
		return crypto.SHA512, true
	}
	return 0, false
}

// open decrypts the contents. It does the same work whether or not the padding is right, and
// says the same of all that is wrong.
func (e *encrypted) open(secret []byte) ([]byte, error) {
	plain, ok := e.cipher.open(secret, e.data)
	d, err := read(plain, e.scope)
	if err != nil || !ok {
		return nil, ErrDecrypt
	}
	for prefix, space := range e.scope {
		inherit(d.root, prefix, space)
	}
	out, err := write(d.root)
	if err != nil {
		return nil, ErrDecrypt
	}
	return out, nil
}

func (c blockCipher) open(secret, data []byte) (plain []byte, ok bool) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, false
	}
	if c.gcm {
		return openGCM(block, data)
	}
	return openCBC(block, data)
}

func openGCM(block cipher.Block, data []byte) ([]byte, bool) {
	aead, err := cipher.NewGCM(block)
	if err != nil || len(data) < aead.NonceSize() {
		return nil, false
	}
	plain, err := aead.Open(nil, data[:aead.NonceSize()], data[aead.NonceSize():], nil)
	return plain, err == nil
}

// openCBC decrypts, and takes the padding away if it is one: the last byte says how long it
// is, the others may be anything (XML Encryption §5.2.2).
func openCBC(block cipher.Block, data []byte) ([]byte, bool) {
	size := block.BlockSize()
	if len(data) < 2*size || len(data)%size != 0 {
		return nil, false
	}
	plain := make([]byte, len(data)-size)
	cipher.NewCBCDecrypter(block, data[:size]).CryptBlocks(plain, data[size:])
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > size {
		return plain, false
	}
	return plain[:len(plain)-padding], true
}
