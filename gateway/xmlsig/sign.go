package xmlsig

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/beevik/etree"
)

// SignOptions says who signs and where the signature goes.
type SignOptions struct {
	Key crypto.Signer
	// Certificate is of the key. It goes into the signature, for those who look for it there.
	Certificate *x509.Certificate
	// After is the child of the element that the signature follows, as the schema of SAML
	// wants it to follow Issuer. Empty: the signature is the first child.
	After Name
}

// Sign puts an enveloped signature into an element, which is the root of a document and has
// an ID.
func Sign(element []byte, o SignOptions) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("sign XML: %w", err)
	}
	d, err := read(element, nil)
	if err != nil {
		return nil, err
	}
	id := attribute(d.root, "ID")
	if !plain(id) || len(d.all(nsSig, "Signature")) > 0 {
		return nil, fmt.Errorf("%w: it has no ID that can be referred to, or is signed already", ErrDocument)
	}
	at, err := d.after(o.After)
	if err != nil {
		return nil, err
	}
	covered, err := canonical(d.root, nil, "")
	if err != nil {
		return nil, err
	}
	sig, err := envelope(id, covered, o)
	if err != nil {
		return nil, fmt.Errorf("sign XML: %w", err)
	}
	d.root.InsertChildAt(at, sig)
	if err := complete(sig, o.Key); err != nil {
		return nil, fmt.Errorf("sign XML: %w", err)
	}
	out, err := write(d.root)
	if err != nil {
		return nil, err
	}
	// What nobody could verify must not leave, whatever the reason.
	got, err := Verify(out, VerifyOptions{Element: Name{d.space[d.root], d.root.Tag}, Certificates: []*x509.Certificate{o.Certificate}})
	if err != nil {
		return nil, fmt.Errorf("sign XML: verify: %w", err)
	}
	if !bytes.Equal(got, covered) {
		return nil, errors.New("sign XML: what was signed is not what would be read")
	}
	return out, nil
}

func (o SignOptions) check() error {
	if o.Key == nil || o.Certificate == nil {
		return errors.New("a key and its certificate are required")
	}
	public, ok := o.Certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(o.Key.Public()) {
		return errors.New("the certificate is of another key")
	}
	return nil
}

// after returns where to put the signature among the children of the root.
func (d *document) after(name Name) (int, error) {
	if name == (Name{}) {
		return 0, nil
	}
	for _, child := range d.root.ChildElements() {
		if d.is(child, name.Space, name.Local) {
			return child.Index() + 1, nil
		}
	}
	return 0, fmt.Errorf("%w: the element that the signature follows is missing", ErrDocument)
}

// envelope makes a signature that lacks its value.
func envelope(id string, covered []byte, o SignOptions) (*etree.Element, error) {
	method, err := SignatureMethod(o.Key.Public())
	if err != nil {
		return nil, err
	}
	h, _, err := signatureHash(method)
	if err != nil {
		return nil, err
	}
	sig := etree.NewElement("ds:Signature")
	sig.CreateAttr("xmlns:ds", nsSig)
	info := sig.CreateElement("ds:SignedInfo")
	info.CreateElement("ds:CanonicalizationMethod").CreateAttr("Algorithm", algExc)
	info.CreateElement("ds:SignatureMethod").CreateAttr("Algorithm", method)
	ref := info.CreateElement("ds:Reference")
	ref.CreateAttr("URI", "#"+id)
	transforms := ref.CreateElement("ds:Transforms")
	for _, alg := range []string{algEnveloped, algExc} {
		transforms.CreateElement("ds:Transform").CreateAttr("Algorithm", alg)
	}
	ref.CreateElement("ds:DigestMethod").CreateAttr("Algorithm", digestMethod(h))
	ref.CreateElement("ds:DigestValue").SetText(base64.StdEncoding.EncodeToString(sum(h, covered)))
	sig.CreateElement("ds:SignatureValue")
	sig.CreateElement("ds:KeyInfo").CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").
		SetText(base64.StdEncoding.EncodeToString(o.Certificate.Raw))
	return sig, nil
}

func digestMethod(h crypto.Hash) string {
	switch h {
	case crypto.SHA384:
		return nsMore + "sha384"
	case crypto.SHA512:
		return nsEnc + "sha512"
	}
	return nsEnc + "sha256"
}

// complete signs a signature that is in its place.
func complete(sig *etree.Element, key crypto.Signer) error {
	children := sig.ChildElements()
	signed, err := canonical(children[0], nil, "")
	if err != nil {
		return err
	}
	value, err := SignBytes(signed, key)
	if err != nil {
		return err
	}
	children[1].SetText(base64.StdEncoding.EncodeToString(value))
	return nil
}
