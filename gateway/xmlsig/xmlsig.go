// Package xmlsig owns XML signatures and XML encryption, as SAML needs them and no further.
// It does not know SAML: what an assertion must say is for others to decide, and they have
// only the bytes that a signature covered to decide on.
//
// What it takes is a small part of the standards, because the rest is where the bypasses of
// twenty years were found: one signature, one reference, to the element that holds it, two
// transforms, keys that the caller gives. A document that two readers could understand in two
// ways is refused before a signature is looked at.
//
// The library below canonicalises. Structure, keys and signatures are judged here.
package xmlsig

import "errors"

// Errors of this package. They wrap a reason for the log, which holds nothing of a document.
var (
	// ErrDocument says that a document is not XML in the narrow sense of this package.
	ErrDocument = errors.New("XML document refused")
	// ErrUnsigned says that the element is missing, or is there and not signed.
	ErrUnsigned = errors.New("element is not signed")
	// ErrAlgorithm says that an algorithm, a transform or a kind of key is not accepted.
	ErrAlgorithm = errors.New("algorithm refused")
	// ErrSignature says that a signature is not of this element, not by one of the keys, or not
	// of these bytes.
	ErrSignature = errors.New("signature does not match")
	// ErrDecrypt says that something cannot be decrypted, and never why: whoever can tell the
	// reasons apart can read what is encrypted (with CBC) or ask for the key bit by bit.
	ErrDecrypt = errors.New("cannot be decrypted")
)

// Name is the name of an element: its namespace, and its name in it.
type Name struct{ Space, Local string }

// Bounds of a document.
const (
	maxBytes      = 256 << 10
	maxDepth      = 64
	maxElements   = 10_000
	maxAttributes = 64  // of one element
	maxScope      = 64  // namespaces that are declared at one place
	maxNamespace  = 512 // bytes of a namespace; canonical form may repeat it for each element
)

// Namespaces.
const (
	nsXML   = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS = "http://www.w3.org/2000/xmlns/"
	nsSig   = "http://www.w3.org/2000/09/xmldsig#"
	nsEnc   = "http://www.w3.org/2001/04/xmlenc#"
	nsEnc11 = "http://www.w3.org/2009/xmlenc11#"
	nsExc   = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// Methods that are neither of signing nor of encrypting.
const (
	algEnveloped   = nsSig + "enveloped-signature"
	algExc         = nsExc
	algExcComments = nsExc + "WithComments" // the same here, where there are no comments
)
