package gatewaytest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/gateway/samlpeer"
)

// samlPlugins are plugins/saml for each transport, built once.
var samlPlugins = sync.OnceValues(func() (map[string]string, error) {
	dir := filepath.Join(filepath.Dir(compileCache), "saml")
	module, err := wasmtest.Build("../../plugins/saml/cmd", dir)
	if err != nil {
		return nil, err
	}
	process, err := wasmtest.BuildProcess("../../plugins/saml/cmd", dir)
	return map[string]string{"wasm": module, "process": process}, err
})

// pair is a private key with its certificate, in PEM.
type pair struct{ key, certificate string }

var samlKeys = sync.OnceValue(func() pair {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shield.test"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	encode := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	return pair{encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), encode("CERTIFICATE", der)}
})

const samlWorkspace = "0190f3c2-0000-7000-8000-0000000000aa"

// asking is a change of a configuration: beside e-mail there is a provider of SAML, which
// believes an identity provider.
func asking(t testing.TB, p *samlpeer.Peer, transport string) func(*config.Config) {
	t.Helper()
	files, err := samlPlugins()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(p.MetadataURL)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		sso := c.Providers[0]
		sso.Name, sso.Label, sso.Plugin, sso.Transport = "sso", "Single sign-on", files[transport], transport
		sso.Capabilities = []string{"kv", "log", "http", "xmldsig"}
		sso.HTTP.Allow, sso.HTTP.Addresses = []string{u.Scheme + "://" + u.Host}, []string{"127.0.0.0/8"}
		sso.Secrets = []config.ProviderSecret{{Name: "sp_key", Value: config.NewSecret(samlKeys().key)}}
		sso.Config = config.Settings{
			"entity_id": c.Server.PublicURL + "/auth/saml/metadata", "certificate": samlKeys().certificate, "sign_requests": true,
			"idps": []any{map[string]any{
				"name": "corp", "entity_id": p.EntityID, "metadata_url": p.MetadataURL, "domains": []string{"peer.test"}, "workspaces": []string{samlWorkspace},
				"idp_initiated": true,
			}},
		}
		sso.TrustEmail = []string{"peer.test"}
		c.Providers = append(c.Providers, sso)
		c.Login.Provider = "email"
		c.Login.RedirectURIs = []string{appPage}
		limited("sso", 1_000_000)(c)
	}
}

// described is what the gateway's metadata says of it.
func (g *gate) described(t testing.TB, path string) samlpeer.SP {
	t.Helper()
	a := g.get(t, path).ok(t, http.StatusOK)
	var m struct {
		Entity string `xml:"entityID,attr"`
		Keys   []struct {
			Use  string `xml:"use,attr"`
			Text string `xml:"KeyInfo>X509Data>X509Certificate"`
		} `xml:"SPSSODescriptor>KeyDescriptor"`
		ACS struct {
			Location string `xml:",attr"`
		} `xml:"SPSSODescriptor>AssertionConsumerService"`
		SLO []struct {
			Location string `xml:",attr"`
		} `xml:"SPSSODescriptor>SingleLogoutService"`
	}
	if err := xml.Unmarshal(a.body, &m); err != nil || len(m.Keys) != 2 || len(m.SLO) != 2 {
		t.Fatalf("metadata: %v: %s", err, a.body)
	}
	der, err := base64.StdEncoding.DecodeString(m.Keys[0].Text)
	if err != nil {
		t.Fatal(err)
	}
	return samlpeer.SP{EntityID: m.Entity, ACS: m.ACS.Location, SLO: m.SLO[0].Location, Certificate: der}
}

// signedIn reads the answer to a login.
func (g *gate) signedIn(t testing.TB, p samlpeer.Page) tokens {
	t.Helper()
	g.secrets.add("assertion", p.Form.Get("SAMLResponse"))
	a := answer{"login by SAML", p.Status, p.Header, []byte(p.Body)}
	g.noteGot(a)
	return a.tokens(t)
}

// ended waits until an access token is worth nothing.
func (g *gate) ended(t testing.TB, access string) {
	t.Helper()
	eventually(t, "the session has ended", func() bool {
		return g.get(t, "/api/notes", bearer(access)).status == http.StatusUnauthorized
	})
}

// TestSingleSignOn is the whole of it, with identity providers that we did not write.
func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, samlpeer.Person) *samlpeer.Peer{"samlp": samlpeer.Samlp, "simplesamlphp": samlpeer.SimpleSAMLphp} {
		for _, transport := range []string{"wasm", "process"} {
			t.Run(name+" "+transport, func(t *testing.T) {
				t.Parallel()
				peer := start(t, samlpeer.Person{NameID: "ann@peer.test", Format: "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress", Attributes: map[string][]string{
					"uid": {"ann@peer.test"}, "email": {"ann@peer.test"}, "displayName": {`Änn "O'Neil" & <Söhne>`}, "groups": {"staff", "R&D"},
				}})
				in := onSQLite(t)
				if transport == "wasm" && name == "samlp" {
					in = onPostgres(t)
				}
				g := in.start(t, asking(t, peer, transport))
				eventually(t, "the provider is loaded", func() bool { return strings.Contains(string(g.get(t, "/auth/providers").body), `"sso"`) })
				g.singleSignOn(t, peer)
			})
		}
	}
}

func (g *gate) singleSignOn(t *testing.T, peer *samlpeer.Peer) {
	sp := g.described(t, "/auth/saml/metadata")
	if sp.EntityID != g.base+"/auth/saml/metadata" || sp.ACS != g.base+"/auth/saml/acs" || sp.SLO != g.base+"/auth/saml/slo" {
		t.Errorf("metadata says %+v", sp)
	}
	peer.Trust(t, sp, samlpeer.Options{SignAssertion: true, Encrypt: "http://www.w3.org/2009/xmlenc11#aes256-gcm"})
	b := samlpeer.NewBrowser(t, "")

	page := b.Get(g.base + "/auth/saml/login?workspace_id=" + samlWorkspace)
	first := g.signedIn(t, page)
	if first.User.Email != "ann@peer.test" || !first.User.Verified || first.User.Name != `Änn "O'Neil" & <Söhne>` {
		t.Errorf("logged in %+v", first.User)
	}
	g.get(t, "/api/notes", bearer(first.Access)).ok(t, http.StatusOK)

	// What came once does not come again, with the state or without.
	for _, relay := range []string{page.Form.Get("RelayState"), "", strings.Repeat("A", 43)} {
		again := b.Post(sp.ACS, map[string]string{"SAMLResponse": page.Form.Get("SAMLResponse"), "RelayState": relay})
		if again.Status != http.StatusBadRequest || strings.Contains(again.Body, "access_token") {
			t.Errorf("the answer was taken again with RelayState %q: %d %s", relay, again.Status, again.Body)
		}
	}

	// By way of a page, at an identity provider that encrypts nothing and signs all.
	peer.Trust(t, sp, samlpeer.Options{SignResponse: true, SignAssertion: true, PostLogout: true})
	b = samlpeer.NewBrowser(t, appPage)
	way := newPage(appPage)
	page = b.Get(g.base + "/auth/saml/login?email=Ann@peer.test&" + way.query())
	b.Home = ""
	code := page.Fields()["code"]
	g.secrets.add("one-time code", code)
	second := g.exchange(t, code, way.verifier).tokens(t)
	if second.User.ID != first.User.ID {
		t.Error("the second login is another user")
	}

	// Out by us.
	a := g.post(t, "/auth/saml/logout", object{}, bearer(second.Access)).ok(t, http.StatusOK)
	var leave struct {
		URL    string
		Fields map[string]string
	}
	if err := json.Unmarshal(a.body, &leave); err != nil {
		t.Fatal(err)
	}
	g.get(t, "/api/notes", bearer(second.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
	if leave.Fields == nil {
		page = b.Get(leave.URL)
	} else {
		page = b.Post(leave.URL, leave.Fields)
	}
	if page.Status != http.StatusOK || !strings.HasPrefix(page.URL, sp.SLO) {
		t.Errorf("our logout ended at %s with %d %.500s", page.URL, page.Status, page.Body)
	}

	// In again, and out by them, both ways in which a request to log out comes.
	for _, post := range []bool{false, true} {
		peer.Trust(t, sp, samlpeer.Options{SignAssertion: true, PostLogout: post})
		fresh := samlpeer.NewBrowser(t, "")
		third := g.signedIn(t, fresh.Get(g.base+"/auth/saml/login?idp=corp"))
		g.get(t, "/api/notes", bearer(third.Access)).ok(t, http.StatusOK)
		if page = fresh.Get(peer.Begin); page.Status != http.StatusOK {
			t.Errorf("their logout ended at %s with %d %.500s", page.URL, page.Status, page.Body)
		}
		g.ended(t, third.Access)
	}
	// A login that begins there, and what it brings once more.
	b = samlpeer.NewBrowser(t, "")
	page = b.Get(peer.Portal(sp))
	if got := g.signedIn(t, page); got.User.ID != first.User.ID {
		t.Error("who comes from the portal is another user")
	}
	if again := b.Post(sp.ACS, page.Fields()); again.Status != http.StatusBadRequest {
		t.Errorf("what came from the portal was taken again: %d", again.Status)
	}

	g.get(t, "/api/notes", bearer(first.Access)).ok(t, http.StatusOK) // another login, of which nobody spoke

	for path, status := range map[string]int{
		"/auth/saml/login?idp=nobody": 400, "/auth/saml/login?email=ann@else.test": 400,
		"/auth/saml/metadata/" + samlWorkspace: 200, "/auth/saml/metadata/0190f3c2-0000-7000-8000-0000000000bb": 400,
	} {
		if a := g.get(t, path); a.status != status {
			t.Errorf("%s = %d %s, want %d", path, a.status, a.body, status)
		}
	}
}
