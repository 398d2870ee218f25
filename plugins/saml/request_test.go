package saml

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
)

// authnRequest is a request as somebody else reads it.
type authnRequest struct {
	XMLName     xml.Name
	ID          string `xml:"ID,attr"`
	Version     string `xml:"Version,attr"`
	Instant     string `xml:"IssueInstant,attr"`
	Destination string `xml:"Destination,attr"`
	Binding     string `xml:"ProtocolBinding,attr"`
	ACS         string `xml:"AssertionConsumerServiceURL,attr"`
	Force       string `xml:"ForceAuthn,attr"`
	Issuer      string `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Policy      *struct {
		Format string `xml:"Format,attr"`
		Create string `xml:"AllowCreate,attr"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:protocol NameIDPolicy"`
	Context string `xml:"RequestedAuthnContext>AuthnContextClassRef"`
}

// unpacked is the document of a query of the redirect binding.
func unpacked(t testing.TB, query url.Values, kind string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(query.Get(kind))
	if err != nil {
		t.Fatal(err)
	}
	document, err := io.ReadAll(flate.NewReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func parsed(t testing.TB, document []byte) authnRequest {
	t.Helper()
	var r authnRequest
	if err := xml.Unmarshal(document, &r); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	return r
}

func TestRequestByRedirect(t *testing.T) {
	w := newWorld(t, with(settingsOf(idpConfig("sso_url", "https://idp.test/sso?tenant=a&b=c", "name_id_format", "persistent", "force_authn", true,
		"authn_context", "urn:oasis:names:tc:SAML:2.0:ac:classes:X509")), "sign_requests", true))
	step := w.begin(sdk.FlowLogin, formRedirect, nil)
	if step.Redirect == nil || step.Party != "corp" {
		t.Fatalf("step = %+v", step)
	}
	u, err := url.Parse(step.Redirect.URL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	if u.Host != "idp.test" || query.Get("tenant") != "a" || query.Get("RelayState") != state || query.Get("SigAlg") != nsMore+"rsa-sha256" {
		t.Errorf("URL = %s", u)
	}
	got := parsed(t, unpacked(t, query, fieldRequest))
	saved, err := openAsked(step.Save)
	if err != nil || saved.name != "corp" || saved.requestID != got.ID || len(got.ID) != 41 {
		t.Errorf("saved %+v, %v, of the request %s", saved, err, got.ID)
	}
	want := authnRequest{
		XMLName: xml.Name{Space: nsProtocol, Local: "AuthnRequest"}, ID: got.ID, Version: "2.0", Instant: "2026-01-02T12:00:00Z",
		Destination: "https://idp.test/sso?tenant=a&b=c", Binding: uriPost, ACS: acs, Force: "true", Issuer: spEntity,
		Policy: &struct {
			Format string `xml:"Format,attr"`
			Create string `xml:"AllowCreate,attr"`
		}{formatPersistent, "true"},
		Context: "urn:oasis:names:tc:SAML:2.0:ac:classes:X509",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	_, signed, _ := strings.Cut(u.RawQuery, "&b=c&")
	signed, signature, _ := strings.Cut(signed, "&Signature=")
	mustBeSignedBy(t, spKey(), signed, query.Get("Signature"), signature)
	if second := w.begin(sdk.FlowLogin, formRedirect, nil); bytes.Equal(second.Save, step.Save) {
		t.Error("two requests have one ID")
	}
}

// mustBeSignedBy checks a signature of the redirect binding with the standard library alone.
func mustBeSignedBy(t testing.TB, s signer, signed, signature, raw string) {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || strings.Contains(raw, "&") {
		t.Fatalf("signature %q: %v", raw, err)
	}
	sum := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(s.cert.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], data); err != nil {
		t.Errorf("the signature over %q: %v", signed, err)
	}
}

func TestRequestByPost(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig("binding", "post", "sign_requests", true, "allow_create", false)))
	step := w.begin(sdk.FlowLink, formRedirect, map[string]string{fieldWorkspace: workspace})
	if step.Post == nil || step.Post.URL != idpPlace || step.Post.Fields["RelayState"] != state || len(step.Post.Fields) != 2 {
		t.Fatalf("step = %+v", step.Post)
	}
	document, err := base64.StdEncoding.DecodeString(step.Post.Fields[fieldRequest])
	if err != nil {
		t.Fatal(err)
	}
	if !spKey().verifies(t, string(document)) {
		t.Errorf("xmlsec1 does not find it signed: %s", document)
	}
	if got := parsed(t, document); got.Issuer != spEntity || got.Policy != nil || got.Force != "" || got.Context != "" {
		t.Errorf("request = %+v", got)
	}
}

func TestRequestsThatNeedNotBeSigned(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig()))
	if step := w.begin(sdk.FlowLogin, formRedirect, nil); strings.Contains(step.Redirect.URL, "Signature") {
		t.Errorf("URL = %s", step.Redirect.URL)
	}
	w = newWorld(t, settingsOf(idpConfig("binding", "post")))
	document, _ := base64.StdEncoding.DecodeString(w.begin(sdk.FlowLogin, formRedirect, nil).Post.Fields[fieldRequest])
	if bytes.Contains(document, []byte("Signature")) {
		t.Errorf("request = %s", document)
	}
	// What the metadata asks for is done without being told to.
	text := strings.Replace(idpMetadata(idpKey()), "<md:IDPSSODescriptor ", `<md:IDPSSODescriptor WantAuthnRequestsSigned="true" `, 1)
	w = newWorld(t, settingsOf(idpConfig("sso_url", nil, "slo_url", nil, "certificates", nil, "metadata", text)))
	if step := w.begin(sdk.FlowLogin, formRedirect, nil); !strings.Contains(step.Redirect.URL, "&Signature=") {
		t.Errorf("URL = %s", step.Redirect.URL)
	}
}

func TestNobodyToAsk(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig(), otherConfig()))
	for _, fields := range []map[string]string{
		nil, {fieldIdP: "nobody"}, {fieldEmail: "ann@nowhere.test"}, {fieldWorkspace: "0190f3c2-0000-7000-8000-0000000000bb"}, {fieldIdP: "corp", fieldEmail: "ann@other.test"},
	} {
		w.wants(sdk.CodeSAMLNotConfigured, w.begin(sdk.FlowLogin, formRedirect, fields))
	}
	w = newWorld(t, settingsOf(idpConfig()))
	flow := w.flow(sdk.FlowLogin, formRedirect)
	flow.Saved = asked{"gone", requestID}.save()
	step, err := w.call(w.p.Continue, flow, map[string]string{fieldResponse: b64([]byte(w.says().signedAssertion(t, idpKey())))})
	if err != nil {
		t.Fatal(err)
	}
	w.wants(sdk.CodeSAMLNotConfigured, step)
}
