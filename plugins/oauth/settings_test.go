package oauth

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
)

var everything = cmp.AllowUnexported(settings{}, endpoints{}, mapping{})

func configured(t *testing.T, in string) settings {
	t.Helper()
	p := New()
	if faults := p.Configure([]byte(in)); faults != nil {
		t.Fatalf("Configure(%s) = %v", in, faults)
	}
	return p.settings
}

func TestPresets(t *testing.T) {
	base := settings{
		connect: true, clientID: "c", clientAuth: authBasic, keyAlgorithm: "RS256", keyAudience: audienceIssuer,
		scopes: []string{"openid", "email", "profile"}, algorithms: []string{"RS256", "ES256"},
		claims: mapping{subject: "sub", email: "email", emailVerified: "email_verified", name: "name", picture: "picture"},
	}
	google := base
	google.issuer, google.clientAuth = "https://accounts.google.com", authPost

	github := base
	github.connect, github.issuer = false, "https://github.com/login/oauth"
	github.clientAuth, github.scopes = authPost, []string{"read:user", "user:email"}
	github.claims.subject, github.claims.picture = "id", "avatar_url"
	github.endpoints = endpoints{
		authorization: "https://github.com/login/oauth/authorize", token: "https://github.com/login/oauth/access_token",
		userinfo: "https://api.github.com/user", emails: "https://api.github.com/user/emails?per_page=100",
	}

	microsoft := base
	microsoft.issuer = "https://login.microsoftonline.com/{tenantid}/v2.0"
	microsoft.clientAuth, microsoft.keyAudience = authPost, audienceToken
	microsoft.claims.subject, microsoft.claims.emailVerified = "{tid}.{oid}", "xms_edov"
	microsoft.endpoints = endpoints{
		authorization: "https://login.microsoftonline.com/common/oauth2/v2.0/authorize", token: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
		jwks: "https://login.microsoftonline.com/common/discovery/v2.0/keys",
	}
	for name, want := range map[string]settings{"google": google, "github": github, "microsoft": microsoft} {
		if diff := cmp.Diff(want, configured(t, `{"preset": "`+name+`", "client_id": "c"}`), everything); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A preset is data: an operator can write each of them out.
func TestPresetsAreSettingsOfAnOperator(t *testing.T) {
	known, err := readObject(presets)
	if err != nil {
		t.Fatal(err)
	}
	for name, preset := range known {
		var written map[string]any
		if err := json.Unmarshal(preset, &written); err != nil {
			t.Fatal(err)
		}
		written["client_id"] = "c"
		delete(written, "client_assertion_audience") // has no effect before private_key_jwt is chosen, which an operator is told
		text, err := json.Marshal(written)
		if err != nil {
			t.Fatal(err)
		}
		got, want := configured(t, string(text)), configured(t, `{"preset": "`+name+`", "client_id": "c"}`)
		got.keyAudience = want.keyAudience
		if diff := cmp.Diff(want, got, everything); diff != "" {
			t.Errorf("%s (-preset +written):\n%s", name, diff)
		}
		if !valid(t, string(text)) {
			t.Errorf("the schema refuses the preset %s", name)
		}
	}
}

func TestWhatIsWrittenCountsMoreThanThePreset(t *testing.T) {
	s := configured(t, `{"preset": "microsoft", "client_id": "c", "tenant": "8eaef023-2b34-4da1-9baa-8bc8c9d6a490",
		"scopes": ["openid"], "claims": {"groups": "groups", "name": ""}}`)
	if s.endpoints.token != "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/oauth2/v2.0/token" {
		t.Errorf("token_endpoint is %s", s.endpoints.token)
	}
	if want := (mapping{subject: "{tid}.{oid}", email: "email", emailVerified: "xms_edov", picture: "picture", groups: "groups"}); s.claims != want {
		t.Errorf("claims are %+v, want %+v", s.claims, want)
	}
	if !slices.Equal(s.scopes, []string{"openid"}) || !slices.Equal(s.tenants, []string{"8eaef023-2b34-4da1-9baa-8bc8c9d6a490"}) {
		t.Errorf("scopes %v, tenants %v", s.scopes, s.tenants)
	}
}

func TestConfigureTakesGoodSettings(t *testing.T) {
	for in, check := range map[string]func(s settings) bool{
		`{"issuer": "https://idp.example/realms/one", "client_id": "c"}`:                       func(s settings) bool { return s.connect && s.endpoints == endpoints{} },
		`{"issuer": "http://127.0.0.1:8080", "client_id": "c"}`:                                func(s settings) bool { return s.issuer == "http://127.0.0.1:8080" },
		`{"issuer": "http://[::1]:8080/", "client_id": "c"}`:                                   func(s settings) bool { return s.issuer == "http://[::1]:8080/" },
		`{"issuer": "http://localhost", "client_id": "c"}`:                                     func(s settings) bool { return s.issuer == "http://localhost" },
		`{"preset": "google", "client_id": "c", "max_age": 60}`:                                func(s settings) bool { return s.maxAge == time.Minute },
		`{"preset": "google", "client_id": "c", "require_iss": true, "keep_tokens": true}`:     func(s settings) bool { return s.requireIss && s.keepTokens },
		`{"preset": "google", "client_id": "c", "algorithms": ["EdDSA"], "prompt": "consent"}`: func(s settings) bool { return s.algorithms[0] == "EdDSA" && s.prompt == "consent" },
		`{"preset": "google", "client_id": "c", "parameters": {"access_type": "offline"}}`:     func(s settings) bool { return s.parameters["access_type"] == "offline" },
		`{"preset": "google", "client_id": "c", "client_auth": "private_key_jwt", "client_key_id": "k", "client_key_algorithm": "ES256", "client_assertion_audience": "token_endpoint"}`: func(s settings) bool {
			return s.keyID == "k" && s.keyAlgorithm == "ES256" && s.keyAudience == audienceToken
		},
		`{"issuer": "https://i.example", "client_id": "c", "authorization_endpoint": "https://i.example/a", "token_endpoint": "https://i.example/t", "userinfo_endpoint": "https://i.example/u", "claims": {"subject": "id"}}`: func(s settings) bool { return !s.connect },
	} {
		if s := configured(t, in); !check(s) {
			t.Errorf("Configure(%s) set %+v", in, s)
		}
		if !valid(t, in) {
			t.Errorf("the schema refuses %s", in)
		}
	}
}

func TestConfigureNamesEveryFault(t *testing.T) {
	for in, want := range map[string]map[string]string{
		`{}`: {"client_id": "is missing", "issuer": "is missing"},
		`{"preset": "yahoo", "client_id": "c", "issuer": "https://i.example"}`: {"preset": "must be one of github, google, microsoft"},
		`{"preset": "google", "client_id": "ü", "zeal": 1, "client_auth": "none", "keep_tokens": "yes", "max_age": 0, "prompt": "none", "scopes": ["email", "a b", "email"]}`: {
			"client_id": "must be a text", "zeal": "is unknown", "client_auth": "must be one of", "keep_tokens": "must be true or false", "max_age": "must be a whole number",
			"prompt": "must be one of", "scopes": "must hold openid", "scopes[1]": "must be a scope", "scopes[2]": "is there twice",
		},
		`{"preset": "google", "client_id": "c", "algorithms": ["none", "HS256", "RS256"]}`:                                                                                                  {"algorithms[0]": "must be one of", "algorithms[1]": "must be one of"},
		`{"preset": "google", "client_id": "c", "algorithms": []}`:                                                                                                                          {"algorithms": "is empty"},
		`{"issuer": "http://idp.example", "client_id": "c"}`:                                                                                                                                {"issuer": "https"},
		`{"issuer": "https://u@idp.example", "client_id": "c"}`:                                                                                                                             {"issuer": "without user"},
		`{"issuer": "https://idp.example/` + strings.Repeat("i", 500) + `", "client_id": "c"}`:                                                                                              {"issuer": "at most 502 bytes"},
		`{"issuer": "https://idp.example?x", "client_id": "c"}`:                                                                                                                             {"issuer": "no query"},
		`{"issuer": "https://idp.example#x", "client_id": "c"}`:                                                                                                                             {"issuer": "fragment"},
		`{"issuer": "https://{tenantid}.example", "client_id": "c"}`:                                                                                                                        {"issuer": "behind a slash"},
		`{"issuer": "https://i.example/{tenantid}", "client_id": "c"}`:                                                                                                                      {"issuer": "discovery"},
		`{"issuer": "https://i.example", "client_id": "c", "token_endpoint": "https://i.example/t"}`:                                                                                        {"authorization_endpoint": "is missing", "userinfo_endpoint": "is missing", "scopes": "holds openid"}, // see below
		`{"issuer": "https://i.example", "client_id": "c", "jwks_uri": "https://i.example/j", "userinfo_endpoint": "https://i.example/u"}`:                                                  {"jwks_uri": "no effect", "userinfo_endpoint": "no effect"},
		`{"preset": "github", "client_id": "c", "scopes": ["openid"], "hosted_domain": "Example.com", "max_age": 3, "algorithms": ["RS256"]}`:                                               {"scopes": "holds openid", "hosted_domain": "lower case", "max_age": "no effect", "algorithms": "no effect"},
		`{"preset": "google", "client_id": "c", "tenant": "contoso.com", "allowed_tenants": ["x"]}`:                                                                                         {"tenant": "identifier of a tenant", "allowed_tenants": "no effect", "allowed_tenants[0]": "must be the identifier"},
		`{"preset": "google", "client_id": "c", "client_key_id": "k", "client_key_algorithm": "HS256", "client_assertion_audience": "issuer"}`:                                              {"client_key_id": "no effect", "client_key_algorithm": "must be one of", "client_assertion_audience": "no effect"},
		`{"preset": "microsoft", "client_id": "c", "client_auth": "private_key_jwt", "client_assertion_audience": "issuer"}`:                                                                {"client_assertion_audience": "must be token_endpoint"},
		`{"preset": "google", "client_id": "c", "claims": {"subject": "", "mail": "x", "email": null, "name": "a\nb", "groups": 7}}`:                                                        {"claims.subject": "is missing", "claims.mail": "is unknown", "claims.email": "name of a claim", "claims.name": "name of a claim", "claims.groups": "name of a claim"},
		`{"preset": "google", "client_id": "c", "claims": {"subject": "{tid}.{oid"}}`:                                                                                                       {"claims.subject": "brace"},
		`{"preset": "google", "client_id": "c", "parameters": {"a": "` + strings.Repeat("/", 256) + `", "b": "` + strings.Repeat("/", 256) + `", "c": "` + strings.Repeat("/", 256) + `"}}`: {"scopes": "too long for a URL"},
		`{"preset": "google", "client_id": "c", "claims": {"email": "preferred_username"}}`:                                                                                                 {"claims.email_verified": "vouches for this address"},
		`{"preset": "google", "client_id": "c", "claims": []}`:                                                                                                                              {"claims": "must be an object"},
		`{"preset": "google", "client_id": "c", "parameters": {"state": "x", "a b": "x", "c": 7}}`:                                                                                          {"parameters.state": "not yours", "parameters.a b": "must have a name", "parameters.c": "must be a text"},
		`{"preset": "google", "client_id": "c", "parameters": 7, "require_iss": null, "scopes": null, "allowed_tenants": "x", "emails_endpoint": "ftp://x"}`:                                {"parameters": "must be an object", "require_iss": "true or false", "scopes": "must be a list", "allowed_tenants": "must be a list", "emails_endpoint": "must be a URL"},
	} {
		p := New()
		got := make(map[string]string)
		for _, f := range p.Configure([]byte(in)) {
			if _, twice := got[f.Path]; twice {
				t.Errorf("%s: %s is told twice", in, f.Path)
			}
			got[f.Path] = f.Message
		}
		if in == `{"issuer": "https://i.example", "client_id": "c", "token_endpoint": "https://i.example/t"}` {
			want = map[string]string{"authorization_endpoint": "is missing", "userinfo_endpoint": "is missing", "claims.subject": "is missing"}
		}
		for path, part := range want {
			if !strings.Contains(got[path], part) {
				t.Errorf("%s: fault of %s is %q, want %q in it", in, path, got[path], part)
			}
			delete(got, path)
		}
		if len(got) > 0 {
			t.Errorf("%s: further faults %v", in, got)
		}
		if diff := cmp.Diff(settings{}, p.settings, everything); diff != "" {
			t.Errorf("%s: settings with faults were taken", in)
		}
	}
}

func TestSchemaAndConfigureAgree(t *testing.T) {
	for _, in := range []string{
		`null`, `[]`, `"x"`, `{}`, `{"preset": "google"}`, `{"client_id": "c"}`, `{"preset": "yahoo", "client_id": "c"}`, `{"preset": "google", "client_id": ""}`,
		`{"preset": "google", "client_id": "c", "client_auth": "none"}`, `{"preset": "google", "client_id": "c", "max_age": 1.5}`,
		`{"preset": "google", "client_id": "c", "max_age": null}`, `{"preset": "google", "client_id": "c", "scopes": "openid"}`,
		`{"preset": "google", "client_id": "c", "scopes": ["openid", "openid"]}`, `{"preset": "google", "client_id": "c", "algorithms": ["HS256"]}`,
		`{"preset": "google", "client_id": "c", "claims": {"subject": ""}}`, `{"preset": "google", "client_id": "c", "claims": {"x": "y"}}`,
		`{"preset": "google", "client_id": "c", "hosted_domain": "com"}`, `{"preset": "google", "client_id": "c", "keep_tokens": 1}`,
		`{"preset": "google", "client_id": "c", "parameters": {"a b": "c"}}`, `{"preset": "microsoft", "client_id": "c", "tenant": "contoso.com"}`,
		`{"preset": "microsoft", "client_id": "c", "allowed_tenants": ["x"]}`, `{"preset": "google", "client_id": "c", "unknown": {}}`,
		`{"issuer": "ftp://x", "client_id": "c"}`,
	} {
		if faults := New().Configure([]byte(in)); faults == nil {
			t.Errorf("Configure(%s) finds no fault", in)
		}
		if valid(t, in) {
			t.Errorf("the schema allows %s", in)
		}
	}
}

func TestSchemaKnowsEverySetting(t *testing.T) {
	var s struct {
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(names)), slices.Sorted(maps.Keys(s.Properties))); diff != "" {
		t.Errorf("settings (-known +schema):\n%s", diff)
	}
}

func valid(t *testing.T, in string) bool {
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
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(in)))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(value) == nil
}

func FuzzConfigure(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"preset":"google","client_id":"c"}`, `{"preset":"microsoft","client_id":"c","claims":{"subject":"{a}{b}"}}`, `{"issuer":"https://a/{tenantid}","client_id":"c"}`,
		`{"preset":"github","client_id":"c","claims":[]}`, `{"preset":7}`, `{"scopes":[null]}`, `{`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := New()
		faults := p.Configure(raw)
		if faults != nil {
			if p.settings.issuer != "" {
				t.Errorf("Configure(%q) has faults and is taken", raw)
			}
			return
		}
		s := p.settings
		if s.issuer == "" || s.clientID == "" || s.claims.subject == "" || s.connect && len(s.algorithms) == 0 {
			t.Errorf("Configure(%q) set %+v", raw, s)
		}
		c := call{settings: s, flow: sdk.Flow{CallbackURL: "https://" + strings.Repeat("a", 500), State: "s", Nonce: "n"}}
		c.settings.endpoints.authorization, c.settings.endpoints.token = "https://"+strings.Repeat("a", maxAddress-10), "https://a"
		step, err := c.redirect(t.Context(), strings.Repeat("%", maxHint))
		if err == nil {
			err = contract.Step(sdk.FlowLogin, step)
		}
		if err != nil {
			t.Errorf("Configure(%q): nobody can be sent there: %v", raw, err)
		}
	})
}
