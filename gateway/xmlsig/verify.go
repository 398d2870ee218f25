package xmlsig

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/beevik/etree"
)

// VerifyOptions says what must be signed, and by whom.
type VerifyOptions struct {
	// Element is the name of the element that must be signed. There must be one of that name
	// in the document: the root, or a child of the root.
	Element Name
	// Certificates hold the keys that may have signed. They are pins: only their keys count,
	// neither who issued them nor when they expire. Metadata hands them out as containers of
	// keys (SAML V2.0 Metadata Interoperability Profile §2.6.1); one that expired is withdrawn
	// by taking it away. A certificate inside a document is never looked at.
	Certificates []*x509.Certificate
}

// Verify returns the bytes that a signature of the element covered: the element in canonical
// form, without its signature. Nothing else of the document may be believed.
func Verify(doc []byte, o VerifyOptions) ([]byte, error) {
	if o.Element.Local == "" || len(o.Certificates) == 0 {
		return nil, fmt.Errorf("%w: a name and certificates are required", ErrUnsigned)
	}
	d, err := read(doc, nil)
	if err != nil {
		return nil, err
	}
	el, err := d.only(o.Element)
	if err != nil {
		return nil, err
	}
	sig, err := d.signatureOf(el)
	if err != nil {
		return nil, err
	}
	ref, err := sig.check(attribute(el, "ID"), o.Certificates)
	if err != nil {
		return nil, err
	}
	covered, err := canonical(el, sig.element, ref.prefixes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if !same(sum(ref.hash, covered), ref.digest) {
		return nil, fmt.Errorf("%w: digest of the element", ErrSignature)
	}
	if _, err := reread(covered, ref.prefixes); err != nil {
		return nil, err
	}
	return covered, nil
}

// only finds the one element of a name.
func (d *document) only(name Name) (*etree.Element, error) {
	found := d.all(name.Space, name.Local)
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: it is missing", ErrUnsigned)
	}
	if len(found) > 1 {
		return nil, fmt.Errorf("%w: more than one element of the name that is asked for", ErrDocument)
	}
	if el := found[0]; el == d.root || el.Parent() == d.root {
		return el, nil
	}
	return nil, fmt.Errorf("%w: the element is not where it belongs", ErrDocument)
}

// signature is a ds:Signature whose structure was read.
type signature struct {
	element *etree.Element
	info    *etree.Element // SignedInfo
	value   []byte
	signedInfo
}

// signedInfo is what a SignedInfo says.
type signedInfo struct {
	prefixes string // of its own canonical form
	method   string
	ref      reference
}

// reference is what a Reference says.
type reference struct {
	id       string
	prefixes string
	hash     crypto.Hash
	digest   []byte
}

// signatureOf returns the one signature of an element. All signatures of the document, of
// whatever element, must be of the element that holds them: one that was moved is a sign
// that somebody wrapped what it was made for.
func (d *document) signatureOf(el *etree.Element) (*signature, error) {
	var own *signature
	for _, s := range d.all(nsSig, "Signature") {
		sig, err := d.readSignature(s)
		if err != nil {
			return nil, err
		}
		parent := s.Parent()
		if s == d.root || attribute(parent, "ID") != sig.ref.id {
			return nil, fmt.Errorf("%w: a signature refers to another element than the one that holds it", ErrSignature)
		}
		if parent != el {
			continue
		}
		if own != nil {
			return nil, fmt.Errorf("%w: more than one of the element", ErrSignature)
		}
		own = sig
	}
	if own == nil {
		return nil, fmt.Errorf("%w: there is no signature in it", ErrUnsigned)
	}
	return own, nil
}

// check checks that one of the keys signed SignedInfo, and returns the reference to an
// element as it is in the bytes that were signed.
func (s *signature) check(id string, certificates []*x509.Certificate) (reference, error) {
	signed, err := canonical(s.info, nil, s.prefixes)
	if err != nil {
		return reference{}, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if err := VerifyBytes(signed, s.value, s.method, certificates); err != nil {
		return reference{}, err
	}
	d, err := reread(signed, s.prefixes)
	if err != nil {
		return reference{}, err
	}
	info, err := d.readSignedInfo(d.root)
	if err != nil {
		return reference{}, err
	}
	if info.ref.id != id || id == "" {
		return reference{}, fmt.Errorf("%w: it is of another element", ErrSignature)
	}
	return info.ref, nil
}

var errStructure = fmt.Errorf("%w: structure of the signature", ErrSignature)

// readSignature reads a ds:Signature. KeyInfo is not looked at, because who signs must not
// say with which key to check.
func (d *document) readSignature(el *etree.Element) (*signature, error) {
	children, ok := parts(el)
	if !ok || len(children) < 2 || len(children) > 3 || len(children) == 3 && !d.is(children[2], nsSig, "KeyInfo") {
		return nil, errStructure
	}
	info, err := d.readSignedInfo(children[0])
	if err != nil {
		return nil, err
	}
	value, err := d.base64(children[1], nsSig, "SignatureValue")
	if err != nil {
		return nil, err
	}
	return &signature{element: el, info: children[0], value: value, signedInfo: info}, nil
}

func (d *document) readSignedInfo(el *etree.Element) (signedInfo, error) {
	children, ok := parts(el)
	if !ok || !d.is(el, nsSig, "SignedInfo") || len(children) != 3 {
		return signedInfo{}, errStructure
	}
	prefixes, err := d.readExclusive(children[0], "CanonicalizationMethod")
	if err != nil {
		return signedInfo{}, err
	}
	method, err := d.readMethod(children[1], "SignatureMethod")
	if err != nil {
		return signedInfo{}, err
	}
	if _, _, err := signatureHash(method); err != nil {
		return signedInfo{}, err
	}
	ref, err := d.readReference(children[2])
	return signedInfo{prefixes: prefixes, method: method, ref: ref}, err
}

func (d *document) readReference(el *etree.Element) (reference, error) {
	children, ok := parts(el)
	if !ok || !d.is(el, nsSig, "Reference") || len(children) != 3 || !d.is(children[0], nsSig, "Transforms") {
		return reference{}, errStructure
	}
	// An empty URI is the whole document, whatever that has become by now.
	id, ok := strings.CutPrefix(attribute(el, "URI"), "#")
	if !ok || !plain(id) {
		return reference{}, fmt.Errorf("%w: URI of the reference", ErrSignature)
	}
	prefixes, err := d.readTransforms(children[0])
	if err != nil {
		return reference{}, err
	}
	method, err := d.readMethod(children[1], "DigestMethod")
	if err != nil {
		return reference{}, err
	}
	h, err := digestHash(method)
	if err != nil {
		return reference{}, err
	}
	digest, err := d.base64(children[2], nsSig, "DigestValue")
	return reference{id: id, prefixes: prefixes, hash: h, digest: digest}, err
}

// readTransforms takes the two transforms that SAML allows (Core §5.4.4), both of them: with
// the first alone, the form would be the inclusive one, which changes with what is around.
func (d *document) readTransforms(el *etree.Element) (prefixes string, err error) {
	children, ok := parts(el)
	if !ok || len(children) != 2 {
		return "", fmt.Errorf("%w: transforms", ErrAlgorithm)
	}
	first, err := d.readMethod(children[0], "Transform")
	if err != nil {
		return "", err
	}
	if first != algEnveloped {
		return "", fmt.Errorf("%w: transform", ErrAlgorithm)
	}
	return d.readExclusive(children[1], "Transform")
}

// readMethod returns the algorithm of an element that has no parameters.
func (d *document) readMethod(el *etree.Element, local string) (string, error) {
	children, ok := parts(el)
	if !ok || !d.is(el, nsSig, local) {
		return "", errStructure
	}
	if len(children) > 0 {
		return "", fmt.Errorf("%w: parameters", ErrAlgorithm)
	}
	return attribute(el, "Algorithm"), nil
}

// readExclusive returns the prefixes of an element that names exclusive canonical form.
func (d *document) readExclusive(el *etree.Element, local string) (prefixes string, err error) {
	children, ok := parts(el)
	if !ok || !d.is(el, nsSig, local) {
		return "", errStructure
	}
	if alg := attribute(el, "Algorithm"); alg != algExc && alg != algExcComments || len(children) > 1 {
		return "", fmt.Errorf("%w: canonical form", ErrAlgorithm)
	}
	if len(children) == 0 {
		return "", nil
	}
	inner, ok := content(children[0])
	if !ok || !blank(inner) || !d.is(children[0], nsExc, "InclusiveNamespaces") {
		return "", errStructure
	}
	list := strings.Fields(attribute(children[0], "PrefixList"))
	if len(list) > maxScope {
		return "", fmt.Errorf("%w: list of prefixes", ErrAlgorithm)
	}
	for _, prefix := range list {
		if !plain(prefix) || prefix == "xmlns" { // "#default", which nobody was seen to use, too
			return "", fmt.Errorf("%w: list of prefixes", ErrAlgorithm)
		}
	}
	return strings.Join(list, " "), nil
}

func (d *document) base64(el *etree.Element, space, local string) ([]byte, error) {
	text, ok := content(el)
	if !ok || !d.is(el, space, local) {
		return nil, errStructure
	}
	data, ok := decodeBase64(text)
	if !ok {
		return nil, errStructure
	}
	return data, nil
}
