package saml

import (
	"context"
	"errors"

	"github.com/materi/shield/sdk"
)

// response is an answer whose signature held. What its assertion says is signed; what the
// response around it says is so only if signed is true, and else can do no more than be
// contradicted by.
type response struct {
	around    *element
	signed    bool // the response as a whole
	encrypted bool
	assertion *element
}

// openResponse reads a response, and refuses one whose form alone is wrong.
func openResponse(req sdk.Request) ([]byte, *element, error) {
	document, err := decodeMessage(req.Fields[fieldResponse])
	if err != nil {
		return nil, nil, err
	}
	root, err := read(document, strict)
	if err != nil {
		return nil, nil, err
	}
	if !root.is(nsProtocol, "Response") || root.get("Version") != "2.0" {
		return nil, nil, refuse("not a response")
	}
	// One that stands anywhere else, or is there twice, is how signatures are wrapped.
	if root.count("Assertion", "EncryptedAssertion") > 1 || root.count("Response") > 1 {
		return nil, nil, invalid("assertions")
	}
	return document, root, nil
}

// open returns what of a response is signed.
func (p *Provider) open(ctx context.Context, host sdk.Host, i *idp, known party, req sdk.Request) (response, error) {
	document, root, err := openResponse(req)
	if err != nil {
		return response{}, err
	}
	if err := succeeded(root); err != nil {
		return response{}, err
	}
	r := response{around: root}
	if len(root.all(nsSignature, "Signature")) > 0 {
		if r.around, err = p.signedElement(ctx, host, i, known, document, "Response", nsProtocol, req.Now); err != nil {
			return response{}, err
		}
		r.signed = true
	}
	if i.want.signedResponse && !r.signed {
		return response{}, unsigned("unsigned")
	}
	encrypted, err := r.around.only(nsAssertion, "EncryptedAssertion")
	if err != nil {
		return response{}, err
	}
	if encrypted != nil {
		return p.decrypted(ctx, host, i, known, r, document, req)
	}
	if i.want.encryptedAssertion {
		return response{}, invalid("unencrypted")
	}
	return p.plain(ctx, host, i, known, r, document, req)
}

// plain takes the assertion of a response that has one in the open.
func (p *Provider) plain(ctx context.Context, host sdk.Host, i *idp, known party, r response, document []byte, req sdk.Request) (response, error) {
	assertion, err := r.around.only(nsAssertion, "Assertion")
	if err != nil {
		return response{}, err
	}
	if assertion == nil {
		return response{}, invalid("assertions")
	}
	r.assertion = assertion
	if r.signed && !i.want.signedAssertion {
		return r, nil
	}
	r.assertion, err = p.signedElement(ctx, host, i, known, document, "Assertion", nsAssertion, req.Now)
	return r, err
}

// decrypted takes the assertion of a response that has one encrypted. Anybody can encrypt, so
// that it could be decrypted proves nothing; and as long as nothing is proven, whatever is
// wrong with what is inside gets the same answer, or the differences would tell what it says
// (XML Encryption §6.1.1).
func (p *Provider) decrypted(ctx context.Context, host sdk.Host, i *idp, known party, r response, document []byte, req sdk.Request) (response, error) {
	if r.signed {
		document = r.around.append(nil) // what the signature covered, byte for byte
	}
	plain, err := p.decrypt(ctx, host, document)
	if err != nil {
		return response{}, err
	}
	r.encrypted = true
	inner, err := read(plain, strict)
	if err != nil || !inner.is(nsAssertion, "Assertion") || inner.count("Assertion", "EncryptedAssertion", "Response") > 1 {
		return response{}, unsigned("decryption")
	}
	// A signature over the response covers what is encrypted, not what it says.
	r.assertion, err = p.signedElement(ctx, host, i, known, plain, "Assertion", nsAssertion, req.Now)
	if errors.Is(err, errXML) {
		return response{}, unsigned("decryption")
	}
	return r, err
}

// decrypt tries our key, and the one that will follow it.
func (p *Provider) decrypt(ctx context.Context, host sdk.Host, document []byte) ([]byte, error) {
	keys := []struct {
		name string
		of   certificate
	}{{secretKey, p.settings.certificate}, {secretNextKey, p.settings.next}}
	for _, key := range keys {
		if !key.of.encrypts() {
			continue
		}
		plain, err := host.XMLDSig().Decrypt(ctx, document, key.name)
		if _, refused := errors.AsType[*sdk.Refused](err); !refused {
			return plain, err
		}
	}
	return nil, unsigned("decryption")
}

// succeeded refuses a response that says that nobody logged in, or not what came of it.
func succeeded(message *element) error {
	status, err := statusOf(message)
	if err != nil {
		return err
	}
	if status != statusSuccess {
		return invalid("status")
	}
	return nil
}

// statusOf returns the top-level status of a response (Core §3.2.2.2).
func statusOf(message *element) (string, error) {
	status, err := message.only(nsProtocol, "Status")
	if err != nil || status == nil {
		return "", invalid("status")
	}
	code, err := status.only(nsProtocol, "StatusCode")
	if err != nil || code == nil {
		return "", invalid("status")
	}
	return code.get("Value"), nil
}

// issuerOf returns the issuer of a message or an assertion, empty if it names none.
func issuerOf(el *element) (string, error) {
	issuer, err := el.only(nsAssertion, "Issuer")
	if err != nil || issuer == nil {
		return "", err
	}
	text, ok := issuer.text()
	if format := issuer.get("Format"); !ok || format != "" && format != formatEntity {
		return "", invalid("issuer")
	}
	return text, nil
}
