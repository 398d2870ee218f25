package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sites = `
mail: {from: a@b.example, directory: mails}
providers:
  - name: google
    plugin: oauth.wasm
    capabilities: [http, secret]
    http: {allow: ["https://accounts.google.com"]}
    secrets:
      - {name: other, value: "${OTHER:-other}"}
      - {name: client_secret, value: "from the file"}
    config: {preset: google, client_id: from the file}
  - name: github
    plugin: oauth.wasm
    capabilities: [http, secret]
    http: {allow: ["https://github.com"]}
  - name: saml
    plugin: saml.wasm
    capabilities: [xmldsig]
    config: {entity_id: from the file}
`

func certificatePEM(t *testing.T) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// revealed is what the providers of sites are given.
func revealed(c Config) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, p := range c.Providers {
		all[p.Name] = map[string]string{}
		for key, value := range p.Config {
			all[p.Name][key] = value.(string)
		}
		for _, s := range p.Secrets {
			all[p.Name]["secret "+s.Name] = s.Value.Reveal()
		}
	}
	return all
}

func TestVariablesOfProvidersOverrideTheFile(t *testing.T) {
	cert := certificatePEM(t)
	files := map[string]string{
		"GOOGLE_CLIENT_ID": "google.id", "GOOGLE_CLIENT_SECRET": "g o\\no g", "GITHUB_CLIENT_ID": "github.id", "GITHUB_CLIENT_SECRET": "hub",
		"SAML_SP_ENTITY_ID": "https://api.materi.dev", "SAML_SP_X509_CERT": cert, "SAML_SP_PRIVATE_KEY": key,
	}
	want := map[string]map[string]string{
		"google": {"preset": "google", "client_id": "google.id", "secret other": "other", "secret client_secret": "g o\\no g"},
		"github": {"client_id": "github.id", "secret client_secret": "hub"},
		"saml":   {"entity_id": "https://api.materi.dev", "certificate": cert, "secret sp_key": key},
	}
	dir := t.TempDir()
	plain, escaped, mounted := variables{}, variables{}, variables{}
	for name, value := range files {
		plain[name], escaped[name] = value, value
		if strings.Contains(value, "-----") {
			escaped[name] = strings.ReplaceAll(value, "\n", `\n`)
		}
		mounted[name+"_FILE"], mounted[name] = filepath.Join(dir, name), ""
		if err := os.WriteFile(mounted[name+"_FILE"], []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, env := range map[string]variables{"plain": plain, "escaped": escaped, "mounted": mounted} {
		c, err := Parse("c.yaml", []byte(sites), env.lookup)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, revealed(c)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if unused := UnusedVariables(c, env.lookup); unused != nil {
			t.Errorf("%s: UnusedVariables() = %v", name, unused)
		}
	}
}

func TestEmptyVariablesOfProvidersLeaveTheFile(t *testing.T) {
	c, err := Parse("c.yaml", []byte(sites), variables{"GOOGLE_CLIENT_ID": "", "GOOGLE_CLIENT_SECRET": "", "SAML_SP_ENTITY_ID_FILE": ""}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	got := revealed(c)
	if got["google"]["client_id"] != "from the file" || got["google"]["secret client_secret"] != "from the file" || got["saml"]["entity_id"] != "from the file" {
		t.Errorf("Parse() = %v", got)
	}
}

func TestBadVariablesOfProvidersAreFaults(t *testing.T) {
	const wrong = "hunter2"
	for variable, want := range map[string]string{
		"GOOGLE_CLIENT_ID=hunter2\x00":               "$GOOGLE_CLIENT_ID: providers[0].config.client_id: the value holds a NUL byte",
		"GOOGLE_CLIENT_ID=hunter2\nx":                "$GOOGLE_CLIENT_ID: providers[0].config.client_id: the value holds a control character",
		"GOOGLE_CLIENT_ID= ":                         "$GOOGLE_CLIENT_ID: providers[0].config.client_id: the value is empty",
		"GOOGLE_CLIENT_SECRET=hunter2\x00":           "$GOOGLE_CLIENT_SECRET: providers[0].secrets[1].value: the value holds a NUL byte",
		"GITHUB_CLIENT_SECRET=hunter2\x00":           "$GITHUB_CLIENT_SECRET: providers[1].secrets[0].value: the value holds a NUL byte",
		"GITHUB_CLIENT_SECRET_FILE=/nowhere/hunter2": "$GITHUB_CLIENT_SECRET_FILE: providers[1].secrets[0].value: the file that GITHUB_CLIENT_SECRET_FILE names cannot be read",
		"SAML_SP_X509_CERT=MIIhunter2":               "$SAML_SP_X509_CERT: providers[2].config.certificate: the value is not one certificate",
		"SAML_SP_PRIVATE_KEY=hunter2":                "$SAML_SP_PRIVATE_KEY: providers[2].secrets[0].value: the value is not one private key",
	} {
		name, value, _ := strings.Cut(variable, "=")
		_, err := Parse("c.yaml", []byte(sites), variables{name: value}.lookup)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("Parse() with %q = %v, want %s", variable, err, want)
		}
		if err != nil && strings.Contains(err.Error(), wrong) {
			t.Errorf("Parse() with %q tells the value: %v", variable, err)
		}
	}
	// Granting nothing that uses it is said of a secret from the environment as of any other.
	text := strings.Replace(sites, "capabilities: [xmldsig]", "capabilities: [kv]", 1)
	_, err := Parse("c.yaml", []byte(text), variables{"SAML_SP_PRIVATE_KEY": key}.lookup)
	if err == nil || !strings.Contains(err.Error(), "providers[2].secrets: have no effect; grant the capability") {
		t.Errorf("Parse() = %v", err)
	}
}

func TestVariablesOfProvidersThatThereAreNotAreTold(t *testing.T) {
	env := variables{
		"GOOGLE_CLIENT_ID": "id", "MICROSOFT_CLIENT_ID": "id", "MICROSOFT_CLIENT_SECRET_FILE": "/nowhere", "SAML_SP_ENTITY_ID": "", "GITHUB_CLIENT_ID": "id",
	}
	c, err := Parse("c.yaml", []byte(sites), env.lookup)
	if err != nil {
		t.Fatal(err)
	}
	c.Providers = c.Providers[:1]
	want := []Unused{{"GITHUB_CLIENT_ID", "github"}, {"MICROSOFT_CLIENT_ID", "microsoft"}, {"MICROSOFT_CLIENT_SECRET_FILE", "microsoft"}}
	if diff := cmp.Diff(want, UnusedVariables(c, env.lookup)); diff != "" {
		t.Errorf("UnusedVariables() (-want +got):\n%s", diff)
	}
}
