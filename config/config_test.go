package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the golden files anew")

// forged is what the environment of the corpus holds: it must not be in any fault.
const forged = "hunter2-from-the-environment"

// corpusEnv is the environment of testdata.
func corpusEnv(name string) (string, bool) {
	value, ok := map[string]string{
		"SECRET":       "0123456789abcdef0123456789abcdef",
		"SMTP_PORT":    " 465",
		"HOSTS":        "a.example, b.example",
		"FORGED":       forged + "\x00",
		"NAME":         "hunter2",
		"OTHER":        "hunter2-other",
		"BOTH":         forged,
		"BOTH_FILE":    "/run/secrets/" + forged,
		"NO_FILE_FILE": "/nonexistent/" + forged,
	}[name]
	return value, ok
}

func files(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("Glob(%s) = %v, %v", pattern, names, err)
	}
	return names
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBadFilesGiveTheirFaults(t *testing.T) {
	for _, name := range files(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, err := Parse(filepath.Base(name), read(t, name), corpusEnv)
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("Parse() = %v, want Faults", err)
			}
			golden := strings.TrimSuffix(name, ".yaml") + ".faults"
			got := faults.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, golden)), got); diff != "" {
				t.Errorf("Parse() faults differ (-want +got):\n%s", diff)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("Parse() tells a secret:\n%s", got)
			}
		})
	}
}

// goodFiles are those of the corpus and the examples.
func goodFiles(t *testing.T) []string {
	return append(files(t, "testdata/good/*.yaml"), files(t, "../examples/*/*.yaml")...)
}

func TestGoodFilesLoad(t *testing.T) {
	for _, name := range goodFiles(t) {
		if _, err := Load(name, corpusEnv); err != nil {
			t.Errorf("Load(%s) = %v", name, err)
		}
	}
}

// beyondSchema are the bad files whose every fault only the loader can see, and why.
var beyondSchema = map[string]string{
	"between":                 "rules between values",
	"duplicates":              "rules between values",
	"mail":                    "rules between values",
	"mail_no_way_out":         "rules between values",
	"mail_password_alone":     "rules between values",
	"plugin_key":              "no pattern tells what a key is for",
	"public_url_in_clear":     "rules between values",
	"references":              "rules between values",
	"variables":               "a schema does not know the environment",
	"variables_in_references": "a schema does not know the environment",
	"weak_secret":             "no pattern tells a random string",
	"syntax":                  "it is not YAML",
	"alias_of_secret":         "it is not YAML",
	"duplicate_keys":          "the document cannot be had as JSON",
	"wrong_types":             "the document cannot be had as JSON",
	"anchors_and_tags":        "anchors and tags are gone in JSON",
	"two_documents":           "the second document is not looked at",
}

func TestSchemaAgreesWithTheLoader(t *testing.T) {
	schema := compileSchema(t)
	for _, name := range goodFiles(t) {
		if err := schema.Validate(asJSON(t, name)); err != nil {
			t.Errorf("the schema refuses %s: %v", name, err)
		}
	}
	seen := map[string]bool{}
	for _, name := range files(t, "testdata/bad/*.yaml") {
		key := strings.TrimSuffix(filepath.Base(name), ".yaml")
		seen[key] = true
		if beyondSchema[key] != "" {
			continue
		}
		if err := schema.Validate(asJSON(t, name)); err == nil {
			t.Errorf("the schema accepts %s, which the loader refuses", name)
		}
	}
	for key := range beyondSchema {
		if !seen[key] {
			t.Errorf("beyondSchema names %s, which is not in the corpus", key)
		}
	}
}

// TestSchemaAgreesOnEachValue holds both to one value at a time, so that a fault cannot
// hide behind another one of its file.
func TestSchemaAgreesOnEachValue(t *testing.T) {
	schema := compileSchema(t)
	for _, c := range []struct {
		text string
		good bool
	}{
		{"log: {level: WARNING}", true},
		{"log: {level: Warning}", false},
		{"log: {level: ''}", false},
		{"log: {access: false}", true},
		{"log: {access: 'false'}", false},
		{"log: {access: '${X:-no}'}", true},
		{"log: {acess: true}", false},
		{"log:", false},
		{"database: {pool_size: 1000}", true},
		{"database: {pool_size: 1001}", false},
		{"database: {pool_size: 0}", false},
		{"database: {pool_size: '5'}", false},
		{"token: {leeway: 0}", true},
		{"token: {leeway: 1m30s}", true},
		{"token: {leeway: 30s1m}", false},
		{"token: {leeway: ''}", false},
		{"token: {leeway: 5}", false},
		{"token: {leeway: 1.5s}", false},
		{"server: {limits: {body_bytes: 0}}", true},
		{"server: {limits: {body_bytes: 10MiB}}", true},
		{"server: {limits: {body_bytes: 10MB}}", false},
		{"server: {limits: {body_bytes: -1}}", false},
		{"server: {allowed_hosts: []}", true},
		{"server: {allowed_hosts: ['']}", false},
		{"server: {allowed_hosts: a}", false},
		{"server: {public_url: 'ftp://a'}", false},
		{"server: {public_url: ''}", true},
		{"redis: {key_prefix: 'a b'}", false},
		{"upstreams: [{name: a, url: 'http://a:1'}]", true},
		{"upstreams: [{name: a, url: 'http://a:1/b'}]", false},
		{"upstreams: [{name: '', url: 'http://a:1'}]", false},
		{"upstreams: [{name: a}]", false},
		{"upstreams: {}", false},
		{"rate_limits: [{name: login}]", true},
		{"rate_limits: [{limit: 1}]", false},
		{"rate_limits: [{name: Login}]", false},
	} {
		_, err := Parse("c.yaml", []byte(c.text), func(string) (string, bool) { return "", false })
		if (err == nil) != c.good {
			t.Errorf("Parse(%s) = %v, want good = %v", c.text, err, c.good)
		}
		var doc any
		if err := yaml.Unmarshal([]byte(c.text), &doc); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); (err == nil) != c.good {
			t.Errorf("schema of %s = %v, want good = %v", c.text, err, c.good)
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("shield.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("shield.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// asJSON returns what an editor's YAML support hands to a validator.
func asJSON(t *testing.T, name string) any {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal(read(t, name), &doc); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if doc == nil && strings.Contains(name, "good") {
		return map[string]any{} // comments alone
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDefaultIsWhatAnEmptyFileGives(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(filepath.Join(dir, "shield.yaml"), nil, corpusEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.DataDir = filepath.Join(dir, "data")
	want.Database.URL = NewSecret("sqlite:" + filepath.Join(dir, "data", "shield.db"))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Secret{})); diff != "" {
		t.Errorf("Parse of nothing differs from Default() (-want +got):\n%s", diff)
	}
}

func TestListsAreUnderstood(t *testing.T) {
	c, err := Load("testdata/good/lists_from_environment.yaml", corpusEnv)
	if err != nil {
		t.Fatal(err)
	}
	type lists struct{ Trusted, Allowed []string }
	var got []lists
	for _, p := range c.Providers {
		got = append(got, lists{p.TrustEmail, p.AllowedDomains})
	}
	want := []lists{
		{[]string{"example.com", "xn--bcher-kva.example"}, []string{"example.com"}},
		{[]string{"*"}, []string{"a.example", "b.example"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("domains of the providers (-want +got):\n%s", diff)
	}
	keys := c.PreviousSecretKeys
	if len(keys) != 2 || keys[1].Reveal() != "0123456789abcdef0123456789abcdef" {
		t.Errorf("%d previous secret keys, want the two of the variable", len(keys))
	}
}

func TestFullFileIsUnderstood(t *testing.T) {
	c, err := Load("testdata/good/full.yaml", corpusEnv)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := c.Providers[0].Config.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []struct {
		what      string
		got, want any
	}{
		{"body_bytes", c.Server.Limits.BodyBytes, 2 * GiB},
		{"write", c.Server.Timeouts.Write, 90 * time.Second},
		{"level", c.Log.Level, "warn"},
		{"metrics", c.Admin.Metrics, true},
		{"database", c.Database.URL.Reveal(), "postgres://shield:0123456789abcdef0123456789abcdef@db:5432/shield"},
		{"pool_size", c.Database.PoolSize, 20},
		{"leeway", c.Token.Leeway, time.Duration(0)},
		{"rotate_every", c.Token.RotateEvery, 30 * day},
		{"stale_for", c.Issuers[0].StaleFor, 36 * time.Hour},
		{"types", c.Issuers[0].Types, []string{"at+jwt", "JWT"}},
		{"port", c.Mail.SMTP.Port, 465},
		{"ca_file", c.Mail.SMTP.CAFile, filepath.Join(dir, "ca.pem")},
		{"data_dir", c.DataDir, filepath.Join(dir, "state")},
		{"plugin", c.Providers[0].Plugin, filepath.Join(dir, "plugins/email.wasm")},
		{"config", string(settings), `{"client_secret":"20","dollar":"${HOME} and $5","limit":20,"min_length":12,"nested":{"list":[1,2.5,true,null,"text","2026-11-21"]}}`},
		{"transport", c.Providers[0].Transport, "wasm"},
		{"transport of an executable", c.Providers[1].Transport, "process"},
		{"egress", c.Providers[1].HTTP.MaxRequests, 3},
		{"egress default", c.Providers[1].HTTP.MaxResponse, 512 * KiB},
		{"egress ca_file", c.Providers[1].HTTP.CAFile, filepath.Join(dir, "corp.pem")},
		{"secret", c.Providers[1].Secrets[0].Value.Reveal(), "0123456789abcdef0123456789abcdef"},
		{"login", c.RateLimits[0], RateLimit{Name: "login", Limit: 10, Period: 15 * time.Minute, Burst: 10, Key: []string{"ip"}}},
		{"reports", c.RateLimits[len(builtinLimits())].Burst, 20},
		{"upstream", c.Upstreams[1].URL, "https://reports.internal"},
		{"route body", c.Routes[0].BodyBytes, Size(0)},
		{"other route body", c.Routes[1].BodyBytes, 2 * GiB},
	} {
		if diff := cmp.Diff(check.want, check.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", check.what, diff)
		}
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	const secret = "hunter2"
	c := Default()
	c.SecretKey = NewSecret(secret)
	c.Providers = []Provider{{
		Name: "oauth", Config: Settings{"client_secret": secret},
		Secrets: []ProviderSecret{{Name: "key", Value: NewSecret(secret)}},
	}}
	values := []any{c, &c, c.SecretKey, &c.SecretKey, c.Providers, c.Providers[0].Config, map[string]any{"a": c}}

	var out bytes.Buffer
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("config", "value", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("config", "value", v)
		for _, encode := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
			b, err := encode(v)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(b)
		}
	}
	text := out.String()
	for _, leak := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), "client_secret"} {
		if strings.Contains(text, leak) {
			t.Errorf("the output holds %q", leak)
		}
	}
	if !strings.Contains(text, redacted) {
		t.Error("the output does not say that something was left out")
	}
}

// TestEverySecretFieldKeepsItsValue puts a broken value into each secret in turn, from the
// file and from its variable, and looks for it in the faults.
func TestEverySecretFieldKeepsItsValue(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	for _, path := range []string{"secret_key", "database: url", "redis: url", "token: private_key", "mail: smtp: password"} {
		keys := strings.Split(path, ": ")
		for _, bad := range []string{"hunter2", "[hunter2]", "{hunter2: 1}", "*hunter2", "&hunter2", "!hunter2 x", "hunter2: x", "'hunter2", "\"\\hunter2\"", "|\n hunter2\n\tx", "${hunter2", "%hunter2", "@hunter2"} {
			var doc strings.Builder
			for i, key := range keys {
				doc.WriteString(strings.Repeat("  ", i) + key + ":")
				if i < len(keys)-1 {
					doc.WriteString("\n")
				}
			}
			doc.WriteString(" " + bad + "\n")
			_, err := Parse("c.yaml", []byte(doc.String()), none)
			if err == nil && path != "mail: smtp: password" {
				t.Errorf("Parse(%q) found no fault", doc.String())
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Parse(%q) tells the secret: %v", doc.String(), err)
			}
		}
	}
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "JWT_PRIVATE_KEY", "JWT_PUBLIC_KEY", "DEBUG", "ALLOWED_HOSTS", "DATABASE_POOL_SIZE", "LOG_LEVEL", "ENABLE_METRICS", "ENABLE_TRACING"} {
		_, err := Parse("", nil, func(n string) (string, bool) { return "hunter2/%", n == name })
		var faults Faults
		if !errors.As(err, &faults) || len(faults) != 1 || faults[0].File != "$"+name {
			t.Errorf("%s: Parse() = %v, want one fault at its variable", name, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: Parse() tells the value: %v", name, err)
		}
	}
}
