package saml

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

// The two kinds of message, as the bindings name them.
const (
	fieldRequest  = "SAMLRequest"
	fieldResponse = "SAMLResponse"
)

// The names of the secrets with our private keys.
const (
	secretKey     = "sp_key"
	secretNextKey = "sp_next_key"
)

// tag makes an element with attributes, given as pairs. An attribute without a value is left
// out.
func tag(raw string, attributes ...string) *element {
	el := &element{raw: raw}
	for n := 0; n+1 < len(attributes); n += 2 {
		if attributes[n+1] != "" {
			el.attributes = append(el.attributes, attribute{raw: attributes[n], value: attributes[n+1]})
		}
	}
	return el
}

// with adds children and returns the element.
func (el *element) with(children ...*element) *element {
	for _, c := range children {
		el.nodes = append(el.nodes, node{child: c})
	}
	return el
}

// saying adds text and returns the element.
func (el *element) saying(text string) *element {
	el.nodes = append(el.nodes, node{text: text})
	return el
}

// newID returns an identifier that nobody can guess (Core §1.3.4).
func newID() string {
	var b [20]byte
	_, _ = rand.Read(b[:])
	return "_" + hex.EncodeToString(b[:])
}

// message begins a message to another side.
func (p *Provider) message(local, id, destination string, now time.Time, more ...string) *element {
	return tag("samlp:"+local, append([]string{
		"xmlns:samlp", nsProtocol, "xmlns:saml", nsAssertion,
		"ID", id, "Version", "2.0", "IssueInstant", now.UTC().Format("2006-01-02T15:04:05Z"), "Destination", destination,
	}, more...)...).with(tag("saml:Issuer").saying(p.settings.entityID))
}

// outgoing is a message on its way through the browser: a URL, and fields for a form where
// there are some.
type outgoing struct {
	url    string
	fields map[string]string
}

// step is the step that sends it.
func (o outgoing) step() sdk.Step {
	if o.fields == nil {
		return sdk.Step{Redirect: &sdk.Redirect{URL: o.url}}
	}
	return sdk.Step{Post: &sdk.Post{URL: o.url, Fields: o.fields}}
}

// send packs a message for a binding.
func (p *Provider) send(ctx context.Context, host sdk.Host, binding, to, kind string, message *element, relay string, signed bool) (outgoing, error) {
	if binding == bindingPost {
		return p.post(ctx, host, to, kind, message, relay, signed)
	}
	return p.redirect(ctx, host, to, kind, message, relay, signed)
}

// redirect packs a message into a URL (Bindings §3.4.4).
func (p *Provider) redirect(ctx context.Context, host sdk.Host, to, kind string, message *element, relay string, signed bool) (outgoing, error) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return outgoing{}, err
	}
	if _, err := w.Write(message.append(nil)); err != nil {
		return outgoing{}, err
	}
	if err := w.Close(); err != nil {
		return outgoing{}, err
	}
	data := kind + "=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packed.Bytes()))
	if relay != "" {
		data += "&RelayState=" + url.QueryEscape(relay)
	}
	if signed {
		algorithm := p.settings.certificate.algorithm()
		data += "&SigAlg=" + url.QueryEscape(algorithm)
		signature, err := host.XMLDSig().SignBytes(ctx, algorithm, []byte(data), secretKey)
		if err != nil {
			return outgoing{}, fmt.Errorf("sign the query with %s: %w", secretKey, err)
		}
		data += "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature))
	}
	separator := "?"
	if strings.Contains(to, "?") {
		separator = "&"
	}
	return outgoing{url: to + separator + data}, nil
}

// post packs a message into a form (Bindings §3.5.4).
func (p *Provider) post(ctx context.Context, host sdk.Host, to, kind string, message *element, relay string, signed bool) (outgoing, error) {
	document := message.append(nil)
	if signed {
		var err error
		document, err = host.XMLDSig().Sign(ctx, sdk.XMLSigning{
			Document: document, Secret: secretKey, Certificate: p.settings.certificate, Namespace: nsAssertion, After: "Issuer",
		})
		if err != nil {
			return outgoing{}, fmt.Errorf("sign the message with %s: %w", secretKey, err)
		}
	}
	fields := map[string]string{kind: base64.StdEncoding.EncodeToString(document)}
	if relay != "" {
		fields["RelayState"] = relay
	}
	return outgoing{url: to, fields: fields}, nil
}

// incoming is a message that came through the browser.
type incoming struct {
	document []byte
	root     *element
	relay    string
	// Of the redirect binding, which signs the query as it was sent.
	redirect  bool
	signed    []byte
	algorithm string
	signature []byte
}

// receive unpacks a message of logout.
func receive(req sdk.Request, kind string) (incoming, error) {
	if raw := req.Fields["raw_query"]; req.Fields["binding"] == bindingRedirect || req.Fields["binding"] == "" && raw != "" {
		return fromQuery(raw, kind)
	}
	in := incoming{relay: req.Fields["RelayState"]}
	var err error
	if in.document, err = decodeMessage(req.Fields[kind]); err != nil {
		return incoming{}, err
	}
	in.root, err = read(in.document, strict)
	return in, err
}

// decodeMessage decodes a message of the POST binding.
func decodeMessage(text string) ([]byte, error) {
	if len(text) > base64.StdEncoding.EncodedLen(maxDocument)+maxDocument/32 { // with line breaks
		return nil, refuse("too long")
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text) // which passes line breaks over
	if err != nil || len(data) == 0 {
		return nil, refuse("base64")
	}
	return data, nil
}

// fromQuery unpacks a message of the redirect binding. Whatever is believed comes from the
// query as it was sent, because that is what the signature covers.
func fromQuery(raw, kind string) (incoming, error) {
	in := incoming{redirect: true}
	parts := map[string]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case kind, "RelayState", "SigAlg", "Signature":
			if _, twice := parts[name]; twice {
				return incoming{}, refuse("a parameter twice")
			}
			parts[name] = value
		case "SAMLEncoding":
			return incoming{}, refuse("encoding")
		}
	}
	plain := map[string]string{}
	for name, value := range parts {
		decoded, err := url.QueryUnescape(value)
		if err != nil {
			return incoming{}, refuse("query")
		}
		plain[name] = decoded
	}
	in.relay, in.algorithm = plain["RelayState"], plain["SigAlg"]
	signed := kind + "=" + parts[kind]
	if relay, ok := parts["RelayState"]; ok {
		signed += "&RelayState=" + relay
	}
	in.signed = []byte(signed + "&SigAlg=" + parts["SigAlg"])
	var err error
	if text, ok := plain["Signature"]; ok {
		if in.signature, err = decodeMessage(text); err != nil {
			return incoming{}, unsigned("signature")
		}
	}
	packed, err := decodeMessage(plain[kind])
	if err != nil {
		return incoming{}, err
	}
	if in.document, err = inflate(packed); err != nil {
		return incoming{}, err
	}
	in.root, err = read(in.document, strict)
	return in, err
}

// inflate unpacks DEFLATE, which can hold a thousand times of what it seems to.
func inflate(packed []byte) ([]byte, error) {
	from := bytes.NewReader(packed)
	r := flate.NewReader(from)
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil || len(data) > maxDocument || from.Len() > 0 {
		return nil, refuse("DEFLATE")
	}
	return data, nil
}

// verified returns a message of logout as its signature covered it. There has to be one.
func (p *Provider) verified(ctx context.Context, host sdk.Host, i *idp, in incoming, local string, now time.Time) (*element, error) {
	known, err := p.partyOf(ctx, host, i, now)
	if err != nil {
		return nil, err
	}
	if !in.redirect {
		return p.signedElement(ctx, host, i, known, in.document, local, nsProtocol, now)
	}
	if in.signature == nil || in.algorithm == "" {
		return nil, unsigned("unsigned")
	}
	check := func(known party) error {
		return eachKey(known.certificates, func(certificates [][]byte) error {
			return host.XMLDSig().VerifyBytes(ctx, in.algorithm, in.signed, in.signature, certificates)
		})
	}
	if err := p.withKeys(ctx, host, i, known, now, check); err != nil {
		return nil, err
	}
	return in.root, nil
}

// signedElement returns the one element of a name as its signature covered it.
func (p *Provider) signedElement(ctx context.Context, host sdk.Host, i *idp, known party, document []byte, local, space string, now time.Time) (*element, error) {
	var signed []byte
	check := func(known party) error {
		return eachKey(known.certificates, func(certificates [][]byte) (err error) {
			signed, err = host.XMLDSig().Verify(ctx, sdk.XMLVerification{
				Document: document, Certificates: certificates, Namespace: space, Element: local,
			})
			return err
		})
	}
	if err := p.withKeys(ctx, host, i, known, now, check); err != nil {
		return nil, err
	}
	el, err := readSigned(signed)
	if err != nil {
		return nil, err
	}
	if !el.is(space, local) {
		return nil, refuse("another element than was asked for")
	}
	return el, nil
}

// withKeys makes a check of a signature and, if it is by no key that is known, once more with
// metadata that is fetched for it: keys change.
func (p *Provider) withKeys(ctx context.Context, host sdk.Host, i *idp, known party, now time.Time, check func(party) error) error {
	err := check(known)
	if refused, ok := errors.AsType[*sdk.Refused](err); ok && refused.Reason == "signature" {
		if fresh, ok := p.renewed(ctx, host, i, now); ok {
			err = check(fresh)
		}
	}
	return signatureError(err)
}

// eachKey makes a check with all certificates. If the host cannot read one of them, it is made
// with each, so that one that is broken does not take the others with it.
func eachKey(certificates []certificate, check func([][]byte) error) error {
	var all [][]byte
	for _, c := range certificates {
		all = append(all, c)
	}
	err := check(all)
	if !errors.Is(err, sdk.ErrInvalid) || len(all) < 2 {
		return err
	}
	for _, c := range all {
		each := check([][]byte{c})
		if each == nil {
			return nil
		}
		if !errors.Is(each, sdk.ErrInvalid) {
			err = each
		}
	}
	return err
}

// signatureError tells what the host refuses in our words.
func signatureError(err error) error {
	if errors.Is(err, sdk.ErrInvalid) {
		return unsigned("key") // of ours none is a key that the host can read
	}
	refused, ok := errors.AsType[*sdk.Refused](err)
	if !ok {
		return err
	}
	if refused.Reason == "malformed" {
		return refuse("malformed")
	}
	return unsigned(refused.Reason)
}
