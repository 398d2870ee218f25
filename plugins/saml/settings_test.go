package saml

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
)

func TestConfigureTakesGoodSettings(t *testing.T) {
	for name, settings := range map[string]map[string]any{
		"least": {"entity_id": spEntity, "idps": []any{map[string]any{"name": "a", "entity_id": "urn:a", "metadata_url": "https://a.test/m"}}},
		"by hand": settingsOf(idpConfig("binding", "post", "slo_response_url", "https://idp.test/back", "authn_context", "urn:x", "force_authn", true,
			"allow_create", false, "name_id_format", "persistent", "subject", "uid", "idp_initiated", true, "preset", "okta",
			"attributes", map[string]any{"email": "mail", "groups": []string{"a", "b"}, "department": "urn:department"},
			"want", map[string]any{"signed_response": true, "signed_assertion": true, "encrypted_assertion": true})),
		"metadata": settingsOf(idpConfig("sso_url", nil, "slo_url", nil, "certificates", nil, "metadata", idpMetadata(idpKey()))),
		"rest": with(settingsOf(idpConfig("sso_url", nil, "slo_url", nil, "certificates", nil, "metadata_url", "http://127.0.0.1:8080/m",
			"metadata_certificate", pemOf(otherKey()))), "sign_requests", true, "metadata_grace", "2160h", "certificate", strings.ReplaceAll(pemOf(spKey()), "\n", `\n`)),
		"elliptic": with(settingsOf(idpConfig("certificates", []string{pemOf(ecKey()), b64(idpKey().cert.Raw)})), "certificate", pemOf(ecKey())),
	} {
		raw := rawOf(t, settings)
		if faults := New().Configure(raw); faults != nil {
			t.Errorf("%s: Configure(%s) = %v", name, raw, faults)
		}
		if err := valid(t, raw); err != nil {
			t.Errorf("%s: the schema refuses %s: %v", name, raw, err)
		}
	}
}

func rawOf(t testing.TB, settings map[string]any) []byte {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestConfigureNamesEveryFault(t *testing.T) {
	settings := map[string]any{
		"entity_id": "", "certificate": "AAAA", "metadata_grace": "yes", "zeal": 1,
		"idps": []any{
			idpConfig("name", "a b", "domains", []string{"idp.test", "no domain"}, "workspaces", []string{"1"}, "preset", "ping", "sign_requests", 1),
			idpConfig("metadata_url", "http://idp.test/m", "want", map[string]any{"signed": true}, "attributes", map[string]any{"iss": "x", "email": []string{}}),
			idpConfig("name", "b", "entity_id", "urn:b", "certificates", []string{"no", b64(idpKey().cert.Raw)}, "slo_url", "ftp://idp.test"),
			"text",
			idpConfig("name", "b", "entity_id", nil, "sso_url", nil, "metadata", "<a/>"),
		},
	}
	var got []string
	for _, f := range New().Configure(rawOf(t, settings)) {
		got = append(got, f.Path)
		if f.Message == "" {
			t.Errorf("%s: no message", f.Path)
		}
	}
	want := []string{
		"certificate", "entity_id", "idps[0].domains[1]", "idps[0].name", "idps[0].preset", "idps[0].sign_requests", "idps[0].workspaces[0]",
		"idps[1]", "idps[1].attributes.email", "idps[1].attributes.iss", "idps[1].entity_id", "idps[1].metadata_url", "idps[1].want.signed",
		"idps[2].certificates[0]", "idps[2].slo_url", "idps[3]",
		"idps[4].certificates", "idps[4].entity_id", "idps[4].metadata", "idps[4].name", "idps[4].slo_url", "metadata_grace", "zeal",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestSchemaAndConfigureAgree(t *testing.T) {
	for name, settings := range map[string]any{
		"null": nil, "list": []any{}, "nothing": map[string]any{}, "no providers": map[string]any{"entity_id": spEntity, "idps": []any{}},
		"unknown": with(settingsOf(idpConfig()), "unknown", 1), "unknown below": settingsOf(idpConfig("unknown", 1)),
		"no name": settingsOf(idpConfig("name", nil)), "no entity": settingsOf(idpConfig("entity_id", nil)), "no source": settingsOf(idpConfig("sso_url", nil)),
		"two sources": settingsOf(idpConfig("metadata_url", "https://idp.test")), "no certificates": settingsOf(idpConfig("certificates", nil)),
		"bad name": settingsOf(idpConfig("name", "a/b")), "bad preset": settingsOf(idpConfig("preset", "x")), "bad binding": settingsOf(idpConfig("binding", "soap")),
		"bad flag": settingsOf(idpConfig("force_authn", "yes")), "null flag": settingsOf(map[string]any{"name": "a", "entity_id": "urn:a", "metadata_url": "https://a.test", "force_authn": nil}),
		"no domains": settingsOf(idpConfig("domains", []string{})), "bad want": settingsOf(idpConfig("want", true)), "empty attribute": settingsOf(idpConfig("attributes", map[string]any{"a": ""})),
	} {
		raw, err := json.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		if faults := New().Configure(raw); faults == nil {
			t.Errorf("%s: Configure(%s) finds no fault", name, raw)
		}
		if valid(t, raw) == nil {
			t.Errorf("%s: the schema allows %s", name, raw)
		}
	}
}

func valid(t *testing.T, settings []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(New().Describe().ConfigSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("settings.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("settings.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(settings))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(value)
}

func TestFaultsNeverQuoteWhatIsSet(t *testing.T) {
	const secret = "hunter2-hunter2"
	for _, f := range New().Configure(rawOf(t, map[string]any{"entity_id": secret + " ", "certificate": secret, "idps": []any{map[string]any{"name": secret + "/", "metadata": secret}}})) {
		if strings.Contains(f.Message, secret) {
			t.Errorf("%s: %s", f.Path, f.Message)
		}
	}
}

func TestDirectoryFindsTheOneThatFits(t *testing.T) {
	p := New()
	if faults := p.Configure(rawOf(t, settingsOf(
		idpConfig(), otherConfig("workspaces", []string{workspace}), otherConfig("name", "third", "entity_id", "urn:third", "domains", []string{"third.test", "idp.test"}),
	))); faults != nil {
		t.Fatal(faults)
	}
	for _, c := range []struct {
		q    query
		want string
	}{
		{query{}, ""}, {query{name: "corp"}, "corp"}, {query{name: "CORP"}, ""}, {query{name: "nobody"}, ""},
		{query{email: "Ann@Other.test"}, "other"}, {query{email: "ann@third.test"}, "third"}, {query{email: "ann@sub.other.test"}, ""},
		{query{email: "ann@idp.test"}, ""}, {query{email: "ann@idp.test", workspace: workspace}, "corp"}, {query{email: "other.test"}, ""}, {query{email: "a@b@other.test"}, ""},
		{query{workspace: workspace}, ""}, {query{workspace: strings.ToUpper(workspace), name: "other"}, "other"}, {query{workspace: "x", name: "corp"}, ""},
		{query{name: "corp", email: "ann@other.test"}, ""},
	} {
		got := ""
		if i := p.directory.find(c.q); i != nil {
			got = i.name
		}
		if got != c.want {
			t.Errorf("find(%+v) = %q, want %q", c.q, got, c.want)
		}
	}
	alone := New()
	if faults := alone.Configure(rawOf(t, settingsOf(idpConfig()))); faults != nil {
		t.Fatal(faults)
	}
	if i := alone.directory.find(query{}); i == nil || i.name != "corp" {
		t.Errorf("find() of the only one = %v", i)
	}
}

// What the plugin holds names to is what the gateway does.
func TestReservedNamesAreThoseOfTheContract(t *testing.T) {
	for _, name := range reserved {
		if err := contract.Identity(sdk.Identity{Subject: "s", Attributes: map[string]string{name: "x"}}); err == nil {
			t.Errorf("%q is reserved here alone", name)
		}
	}
}
