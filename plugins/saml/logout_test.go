package saml

import (
	"encoding/base64"
	"encoding/xml"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
)

// logoutMessage is a message of logout as somebody else reads it.
type logoutMessage struct {
	XMLName     xml.Name
	ID          string `xml:"ID,attr"`
	Version     string `xml:"Version,attr"`
	Instant     string `xml:"IssueInstant,attr"`
	Destination string `xml:"Destination,attr"`
	Until       string `xml:"NotOnOrAfter,attr"`
	Answers     string `xml:"InResponseTo,attr"`
	Issuer      string `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	NameID      *struct {
		Format string `xml:"Format,attr"`
		By     string `xml:"NameQualifier,attr"`
		For    string `xml:"SPNameQualifier,attr"`
		Value  string `xml:",chardata"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion NameID"`
	Session string `xml:"urn:oasis:names:tc:SAML:2.0:protocol SessionIndex"`
	Status  struct {
		Value string `xml:"Value,attr"`
		Sub   struct {
			Value string `xml:"Value,attr"`
		} `xml:"StatusCode"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:protocol Status>StatusCode"`
}

func logoutParsed(t testing.TB, document []byte) logoutMessage {
	t.Helper()
	var m logoutMessage
	if err := xml.Unmarshal(document, &m); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	return m
}

// sentTo reads a message that we sent by redirect, whose signature has to hold.
func sentTo(t testing.TB, target, kind string) (logoutMessage, url.Values) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	signed, signature, _ := strings.Cut(u.RawQuery, "&Signature=")
	mustBeSignedBy(t, spKey(), signed, u.Query().Get("Signature"), signature)
	return logoutParsed(t, unpacked(t, u.Query(), kind)), u.Query()
}

func TestLogoutThatTheyAskFor(t *testing.T) {
	for _, binding := range []string{bindingRedirect, bindingPost} {
		w := newWorld(t, settingsOf(idpConfig("binding", binding, "slo_response_url", idpLogout+"/back")))
		var step sdk.Step
		if binding == bindingPost {
			step = w.byForm(fieldRequest, idpKey().sign(t, w.logoutRequest("_l1", template("_l1"))))
		} else {
			step = w.byQuery(fieldRequest, idpKey().query(t, fieldRequest, w.logoutRequest("_l1", ""), "back & forth"))
		}
		if step.Logout == nil {
			t.Fatalf("%s: step = %s %+v, log %v", binding, step.Kind(), step.Denied, w.host.Records())
		}
		var got logoutMessage
		relay := ""
		if binding == bindingPost {
			document, err := base64.StdEncoding.DecodeString(step.Logout.Fields[fieldResponse])
			if err != nil || !spKey().verifies(t, string(document)) {
				t.Errorf("the answer is not signed: %v, %s", err, document)
			}
			got, relay = logoutParsed(t, document), step.Logout.Fields["RelayState"]
			if relay != "back" || step.Logout.URL != idpLogout+"/back" {
				t.Errorf("answer to %s with RelayState %q", step.Logout.URL, relay)
			}
		} else {
			var query url.Values
			got, query = sentTo(t, step.Logout.URL, fieldResponse)
			if query.Get("RelayState") != "back & forth" || !strings.HasPrefix(step.Logout.URL, idpLogout+"/back?") {
				t.Errorf("answer to %s", step.Logout.URL)
			}
		}
		want := logoutMessage{
			XMLName: xml.Name{Space: nsProtocol, Local: "LogoutResponse"}, ID: got.ID, Version: "2.0", Instant: "2026-01-02T12:00:00Z",
			Destination: idpLogout + "/back", Answers: "_l1", Issuer: spEntity,
		}
		want.Status.Value = statusSuccess
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: answer (-want +got):\n%s", binding, diff)
		}
		step.Logout.URL, step.Logout.Fields = "", nil
		if diff := cmp.Diff(&sdk.Logout{Issuer: idpEntity, Subject: "persistent:alice-7", Sessions: []string{"corp:s1"}}, step.Logout); diff != "" {
			t.Errorf("%s: logout (-want +got):\n%s", binding, diff)
		}
	}
}

func TestLogoutOfAllSessionsAndOfNobody(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig("slo_url", nil)))
	step := w.byQuery(fieldRequest, idpKey().query(t, fieldRequest, w.logoutRequest("_l1", "", "<samlp:SessionIndex>s1</samlp:SessionIndex>", ""), ""))
	if diff := cmp.Diff(&sdk.Logout{Issuer: idpEntity, Subject: "persistent:alice-7"}, step.Logout); diff != "" {
		t.Errorf("logout (-want +got):\n%s", diff)
	}
	// The name is not the subject, and nobody with the name has logged in.
	w = newWorld(t, settingsOf(idpConfig("subject", "uid")))
	step = w.byQuery(fieldRequest, idpKey().query(t, fieldRequest, w.logoutRequest("_l1", ""), ""))
	if step.Logout == nil || step.Logout.Subject != "" || step.Logout.Sessions != nil {
		t.Fatalf("logout of nobody = %+v", step.Logout)
	}
	if got, _ := sentTo(t, step.Logout.URL, fieldResponse); got.Status.Value != statusRequester || got.Status.Sub.Value != statusUnknownPrincipal {
		t.Errorf("status = %+v", got.Status)
	}
}

func TestLogoutFindsTheSubjectBehindAName(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig("subject", "uid")))
	s := w.says()
	s.attributes = attributeStatement("uid", "u1")
	s.subject = w.subject(`<saml:NameID Format="` + formatTransient + `">_x1</saml:NameID>`)
	id := w.wantsDone(w.answer(s.signedAssertion(t, idpKey())))
	step := w.byQuery(fieldRequest, idpKey().query(t, fieldRequest, w.logoutRequest("_l1", "", formatPersistent+`">alice-7`, formatTransient+`">_x1`), ""))
	if step.Logout == nil || step.Logout.Subject != id.Subject {
		t.Errorf("logout = %+v, want that of %s", step.Logout, id.Subject)
	}
}

func TestLogoutThatWeAskFor(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig(), otherConfig()))
	s := w.says()
	s.subject = w.subject(`<saml:NameID Format="` + formatPersistent + `" NameQualifier="urn:q&quot;" SPNameQualifier="` + spEntity + `">alice &amp; 7</saml:NameID>`)
	id := w.wantsDone(w.answer(s.signedAssertion(t, idpKey())))
	flow := w.flow(sdk.FlowLogout, formRedirect)
	flow.Subject, flow.Session = id.Subject, id.Session
	step, err := w.call(w.p.Begin, flow, nil)
	if err != nil || step.Redirect == nil {
		t.Fatalf("Begin() = %+v, %v", step, err)
	}
	got, query := sentTo(t, step.Redirect.URL, fieldRequest)
	want := logoutMessage{
		XMLName: xml.Name{Space: nsProtocol, Local: "LogoutRequest"}, ID: got.ID, Version: "2.0", Instant: "2026-01-02T12:00:00Z",
		Destination: idpLogout, Until: "2026-01-02T12:05:00Z", Issuer: spEntity, Session: "s1", NameID: got.NameID,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if n := got.NameID; n == nil || n.Value != "alice & 7" || n.Format != formatPersistent || n.By != `urn:q"` || n.For != spEntity || query.Get("RelayState") != state {
		t.Errorf("NameID = %+v, RelayState = %q", n, query.Get("RelayState"))
	}
	if again, err := w.call(w.p.Begin, flow, nil); err != nil || again.Denied == nil || again.Denied.Code != sdk.CodeSAMLNotConfigured {
		t.Errorf("a second logout = %+v, %v", again, err)
	}

	flow.Saved = step.Save
	for name, c := range map[string]struct {
		code, document string
		by             signer
	}{
		"holds":           {"", w.logoutResponse(got.ID), idpKey()},
		"of another":      {codeSignature, w.logoutResponse(got.ID), evilKey()},
		"to another":      {codeAssertion, w.logoutResponse("_other"), idpKey()},
		"elsewhere":       {codeAssertion, w.logoutResponse(got.ID, slo, acs), idpKey()},
		"issuer":          {codeAssertion, w.logoutResponse(got.ID, idpEntity, "https://other.test/metadata"), idpKey()},
		"failed":          {codeAssertion, w.logoutResponse(got.ID, "status:Success", "status:Responder"), idpKey()},
		"late":            {codeAssertion, w.logoutResponse(got.ID, w.at(0), w.at(-time.Hour)), idpKey()},
		"another message": {codeAssertion, w.logoutResponse(got.ID, "LogoutResponse", "Response", "/samlp:LogoutResponse", "/samlp:Response"), idpKey()},
		"old version":     {codeAssertion, w.logoutResponse(got.ID, `"2.0"`, `"1.1"`), idpKey()},
		"a comment":       {codeAssertion, w.logoutResponse(got.ID, "<samlp:Status>", "<!-- --><samlp:Status>"), idpKey()},
	} {
		step, err := w.call(w.p.Continue, flow, queryFields(fieldResponse, c.by.query(t, fieldResponse, c.document, state)))
		if err != nil {
			t.Fatal(err)
		}
		if c.code != "" {
			w.wants(c.code, step)
			continue
		}
		if diff := cmp.Diff(&sdk.Logout{}, step.Logout); diff != "" {
			t.Errorf("%s: step = %s %+v, log %v", name, step.Kind(), step.Denied, w.host.Records())
		}
	}
	posted, err := w.call(w.p.Continue, flow, map[string]string{fieldResponse: b64([]byte(w.logoutResponse(got.ID))), "binding": bindingPost})
	if err != nil {
		t.Fatal(err)
	}
	w.wants(codeSignature, posted)
}

// logoutResponse is one that holds.
func (w world) logoutResponse(requestID string, more ...string) string {
	doc := `<samlp:LogoutResponse xmlns:samlp="` + nsProtocol + `" xmlns:saml="` + nsAssertion + `" ID="_lr1" Version="2.0" IssueInstant="` + w.at(0) +
		`" Destination="` + slo + `" InResponseTo="` + requestID + `"><saml:Issuer>` + idpEntity + `</saml:Issuer>` +
		`<samlp:Status><samlp:StatusCode Value="` + statusSuccess + `"/></samlp:Status></samlp:LogoutResponse>`
	for n := 0; n < len(more); n += 2 {
		doc = strings.Replace(doc, more[n], more[n+1], 1)
	}
	return doc
}

func TestLogoutNeedsALoginAndAPlace(t *testing.T) {
	for name, settings := range map[string]map[string]any{
		"no place":       settingsOf(idpConfig("slo_url", nil)),
		"no certificate": with(settingsOf(idpConfig()), "certificate", nil, "next_certificate", nil),
	} {
		w := newWorld(t, settings)
		id := w.wantsDone(w.answer(w.says().signedAssertion(t, idpKey())))
		flow := w.flow(sdk.FlowLogout, formRedirect)
		flow.Subject, flow.Session = id.Subject, id.Session
		step, err := w.call(w.p.Begin, flow, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		w.wants(sdk.CodeSAMLNotConfigured, step)
	}
	w := newWorld(t, with(settingsOf(idpConfig()), "certificate", nil, "next_certificate", nil))
	w.wants(sdk.CodeSAMLNotConfigured, w.byForm(fieldRequest, idpKey().sign(t, w.logoutRequest("_l1", template("_l1")))))
}

func TestALoginIsForgottenWithItsSession(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig()))
	s := w.says()
	s.authn = strings.Replace(s.authn, " SessionIndex", ` SessionNotOnOrAfter="`+w.at(time.Hour)+`" SessionIndex`, 1)
	id := w.wantsDone(w.answer(s.signedAssertion(t, idpKey())))
	flow := w.flow(sdk.FlowLogout, formRedirect)
	flow.Subject, flow.Session = id.Subject, id.Session
	w.host.Advance(time.Hour + skew)
	step, err := w.call(w.p.Begin, flow, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.wants(sdk.CodeSAMLNotConfigured, step)
	if keys := w.host.Keys(); len(keys) > 0 {
		t.Errorf("an hour later it still keeps %v", keys)
	}
}

func TestMetadataOfOurs(t *testing.T) {
	w := newWorld(t, with(settingsOf(idpConfig()), "entity_id", `https://sp.test/metadata?a="1"&b=<2>`))
	response, err := w.p.(sdk.Server).Serve(t.Context(), w.host.Call(), sdk.Request{Path: "metadata", Fields: map[string]string{"callback_url": acs + "?a=1&b=2", "logout_url": slo}})
	if err != nil || response.Status != 200 || response.ContentType != "application/samlmetadata+xml" {
		t.Fatalf("Serve() = %d %s, %v", response.Status, response.ContentType, err)
	}
	var got struct {
		XMLName xml.Name
		Entity  string `xml:"entityID,attr"`
		SP      struct {
			Wants string `xml:"WantAssertionsSigned,attr"`
			Signs string `xml:"AuthnRequestsSigned,attr"`
			Keys  []struct {
				Use         string `xml:"use,attr"`
				Certificate string `xml:"http://www.w3.org/2000/09/xmldsig# KeyInfo>X509Data>X509Certificate"`
			} `xml:"urn:oasis:names:tc:SAML:2.0:metadata KeyDescriptor"`
			SLO []struct {
				Binding, Location string `xml:",attr"`
			} `xml:"urn:oasis:names:tc:SAML:2.0:metadata SingleLogoutService"`
			ACS []struct {
				Binding, Location string `xml:",attr"`
			} `xml:"urn:oasis:names:tc:SAML:2.0:metadata AssertionConsumerService"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:metadata SPSSODescriptor"`
	}
	if err := xml.Unmarshal(response.Body, &got); err != nil {
		t.Fatalf("%v: %s", err, response.Body)
	}
	if got.XMLName != (xml.Name{Space: nsMetadata, Local: "EntityDescriptor"}) || got.Entity != `https://sp.test/metadata?a="1"&b=<2>` || got.SP.Wants != "true" || got.SP.Signs != "false" {
		t.Errorf("metadata = %s", response.Body)
	}
	var keys []string
	for _, k := range got.SP.Keys {
		keys = append(keys, k.Use+" "+k.Certificate)
	}
	if diff := cmp.Diff([]string{
		"signing " + b64(spKey().cert.Raw), "signing " + b64(nextKey().cert.Raw), "encryption " + b64(spKey().cert.Raw), "encryption " + b64(nextKey().cert.Raw),
	}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if len(got.SP.ACS) != 1 || got.SP.ACS[0].Location != acs+"?a=1&b=2" || len(got.SP.SLO) != 2 || got.SP.SLO[0].Location != slo {
		t.Errorf("places = %+v, %+v", got.SP.ACS, got.SP.SLO)
	}
	for path, want := range map[string]string{"metadata/" + workspace: "200", "metadata/0190f3c2-0000-7000-8000-0000000000bb": sdk.CodeSAMLNotConfigured, "metadata/": sdk.CodeSAMLNotConfigured, "": "404", "else": "404", "metadata2": "404"} {
		response, err := w.p.(sdk.Server).Serve(t.Context(), w.host.Call(), sdk.Request{Path: path, Fields: map[string]string{"callback_url": acs, "logout_url": slo}})
		got := map[int]string{200: "200", 404: "404"}[response.Status]
		if e, ok := err.(*sdk.Error); ok {
			got = e.Code
		}
		if got != want {
			t.Errorf("Serve(%q) = %s, want %s", path, got, want)
		}
	}
	// Without keys there is neither encryption nor logout.
	bare := New()
	if faults := bare.Configure(rawOf(t, with(settingsOf(idpConfig()), "certificate", nil, "next_certificate", nil))); faults != nil {
		t.Fatal(faults)
	}
	response, err = bare.Serve(t.Context(), w.host.Call(), sdk.Request{Path: "metadata", Fields: map[string]string{"callback_url": acs, "logout_url": slo}})
	if err != nil || strings.Contains(string(response.Body), "KeyDescriptor") || strings.Contains(string(response.Body), "SingleLogoutService") {
		t.Errorf("Serve() = %s, %v", response.Body, err)
	}
}
