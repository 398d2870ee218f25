package saml

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/samlpeer"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

// person is awkward: what is said of her breaks whoever does not quote.
var person = samlpeer.Person{
	NameID: "alice@peer.test", Format: formatEmail,
	Attributes: map[string][]string{
		"uid":         {"alice@peer.test"},
		"email":       {"alice@peer.test"},
		"displayName": {`Älice "Quote" O'Brien & <Söhne> 漢字`},
		"groups":      {"staff", `"quoted"`, "R&D", "a<b>c", "Zürich", "a,b", "x=y;z"},
		"department":  {`Q&A "Tëst"`},
	},
}

func alicesIdentity(p *samlpeer.Peer) sdk.Identity {
	return sdk.Identity{
		Issuer: p.EntityID, Subject: "emailAddress:alice@peer.test", Email: "alice@peer.test", EmailVerified: true,
		Name: `Älice "Quote" O'Brien & <Söhne> 漢字`, Groups: person.Attributes["groups"],
		Attributes: map[string]string{"department": `Q&A "Tëst"`},
	}
}

// peers are the identity providers that we did not write.
var peers = map[string]func(testing.TB, samlpeer.Person) *samlpeer.Peer{
	"samlp": samlpeer.Samlp, "simplesamlphp": samlpeer.SimpleSAMLphp,
}

// answers are the ways in which they answer.
var answers = map[string]samlpeer.Options{
	"signed assertion":            {SignAssertion: true},
	"signed response":             {SignResponse: true},
	"both signed, logout by POST": {SignResponse: true, SignAssertion: true, PostLogout: true},
	"signed assertion, encrypted": {SignAssertion: true, Encrypt: nsEnc11 + "aes256-gcm"},
	"signed assertion, CBC":       {SignAssertion: true, Encrypt: nsEnc + "aes256-cbc"},
	"both signed, encrypted too":  {SignResponse: true, SignAssertion: true, Encrypt: nsEnc11 + "aes128-gcm"},
}

// TestRealIdentityProviders logs in and out at each of them, in each way in which they answer
// and in which the plugin runs.
func TestRealIdentityProviders(t *testing.T) {
	ways := providers(t)
	for name, start := range peers {
		t.Run(name, func(t *testing.T) {
			p := start(t, person)
			n := 0
			for answer, o := range answers {
				for _, binding := range []string{bindingRedirect, bindingPost} {
					way := ways[n%len(ways)] // each of them has its turn; together they see all
					n++
					t.Run(answer+" to "+binding+", "+way.name, func(t *testing.T) {
						story(t, p, o, way.p, binding)
					})
				}
			}
		})
	}
}

func story(t *testing.T, p *samlpeer.Peer, o samlpeer.Options, provider sdk.Provider, binding string) {
	p.Trust(t, samlpeer.SP{EntityID: spEntity, ACS: acs, SLO: slo, Certificate: spKey().cert.Raw}, o)
	w := worldOf(t, provider, with(settingsOf(map[string]any{
		"name": "peer", "entity_id": p.EntityID, "metadata_url": p.MetadataURL, "binding": binding, "domains": []string{"peer.test"},
		"attributes": map[string]any{"department": "department"}, "name_id_format": "emailAddress",
	}), "sign_requests", true))
	w.host.Advance(time.Since(w.host.Now())) // theirs is the real time
	w.host.Site(p.MetadataURL, fetch)
	browser := samlpeer.NewBrowser(t, "https://sp.test/")

	// In.
	flow := w.flow(sdk.FlowLogin, formRedirect)
	step, err := w.call(w.p.Begin, flow, nil)
	if err != nil {
		t.Fatal(err)
	}
	page := follow(t, browser, step)
	if page.URL != acs || page.Fields()["RelayState"] != state {
		t.Fatalf("came back to %s %.300s with RelayState %q", page.URL, page.Body, page.Fields()["RelayState"])
	}
	flow.Saved = step.Save
	step, err = w.call(w.p.Continue, flow, page.Fields())
	if err != nil {
		t.Fatal(err)
	}
	id := w.wantsDone(step)
	session := id.Session
	if len(session) < len("peer:_") || id.ACR == "" {
		t.Errorf("session = %q, acr = %q", session, id.ACR)
	}
	want := alicesIdentity(p)
	want.Session, want.ACR = id.Session, id.ACR
	if diff := cmp.Diff(want, id); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	again, err := w.call(w.p.Continue, flow, page.Fields())
	if err != nil {
		t.Fatal(err)
	}
	w.wants(codeAssertion, again)

	// Out, by us.
	flow = w.flow(sdk.FlowLogout, formRedirect)
	flow.Subject, flow.Session = id.Subject, id.Session
	if step, err = w.call(w.p.Begin, flow, nil); err != nil {
		t.Fatal(err)
	}
	page = follow(t, browser, step)
	flow.Saved = step.Save
	if step, err = w.call(w.p.Continue, flow, logoutFields(page)); err != nil {
		t.Fatal(err)
	}
	if step.Logout == nil || step.Logout.Subject != "" {
		t.Fatalf("after our logout: %s %+v; log %v; page %s %s", step.Kind(), step.Denied, w.host.Records(), page.URL, page.Body)
	}

	// In again, and out by them.
	flow = w.flow(sdk.FlowLogin, formRedirect)
	if step, err = w.call(w.p.Begin, flow, nil); err != nil {
		t.Fatal(err)
	}
	page = follow(t, browser, step)
	flow.Saved = step.Save
	if step, err = w.call(w.p.Continue, flow, page.Fields()); err != nil {
		t.Fatal(err)
	}
	id = w.wantsDone(step)
	if id.Session == session {
		t.Error("the session there did not end by our logout")
	}
	page = browser.Get(p.Begin)
	if page.Fields()[fieldRequest] == "" {
		t.Fatalf("a logout there came to %s %.500s", page.URL, page.Body)
	}
	if step, err = w.call(w.p.Begin, w.flow(sdk.FlowLogout, formSLO), logoutFields(page)); err != nil {
		t.Fatal(err)
	}
	if step.Logout == nil || step.Logout.Subject != id.Subject || step.Logout.Issuer != p.EntityID || !slices.Equal(step.Logout.Sessions, []string{id.Session}) {
		t.Fatalf("after their logout: %s %+v %+v; log %v", step.Kind(), step.Logout, step.Denied, w.host.Records())
	}
	out := sdk.Step{Redirect: &sdk.Redirect{URL: step.Logout.URL}}
	if len(step.Logout.Fields) > 0 {
		out = sdk.Step{Post: &sdk.Post{URL: step.Logout.URL, Fields: step.Logout.Fields}}
	}
	if page = follow(t, browser, out); page.Status != 200 {
		t.Errorf("our answer to their logout got %d %.500s", page.Status, page.Body)
	}
}

// follow goes where a step sends a browser.
func follow(t *testing.T, b *samlpeer.Browser, step sdk.Step) samlpeer.Page {
	t.Helper()
	switch {
	case step.Redirect != nil:
		return b.Get(step.Redirect.URL)
	case step.Post != nil:
		return b.Post(step.Post.URL, step.Post.Fields)
	}
	t.Fatalf("the browser is sent nowhere: %s %+v", step.Kind(), step.Denied)
	return samlpeer.Page{}
}

// logoutFields are what the gateway makes of a message of logout.
func logoutFields(p samlpeer.Page) map[string]string {
	fields := p.Fields()
	fields["binding"] = bindingPost
	if p.Method == "GET" {
		fields["binding"], fields["raw_query"] = bindingRedirect, p.Query()
	}
	return fields
}

// fetch asks a server on loopback, as the gateway would where its operator allows it.
var fetch providertest.Site = func(r sdk.HTTPRequest) (sdk.HTTPResponse, error) { return samlpeer.Fetch(r.URL) }
