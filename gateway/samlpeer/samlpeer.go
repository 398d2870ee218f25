// Package samlpeer gives tests identity providers of SAML that we did not write: the library
// samlp for Node.js, and SimpleSAMLphp. Each runs as a process on loopback, and ends with its
// test. What they need is installed by deploy/test/toolchains.sh.
package samlpeer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/sdk"
)

// SP is a service provider as an identity provider knows it.
type SP struct {
	EntityID    string
	ACS, SLO    string
	Certificate []byte // DER
}

// Person is who logs in, with what is said of them.
type Person struct {
	NameID     string
	Format     string // of the NameID
	Attributes map[string][]string
}

// Options are how an identity provider answers.
type Options struct {
	SignResponse  bool
	SignAssertion bool
	Encrypt       string // the URI of the algorithm; empty: not at all
	PostLogout    bool   // logouts by POST instead of by redirect
}

// Peer is a running identity provider.
type Peer struct {
	EntityID    string
	MetadataURL string
	Begin       string // URL of a logout that begins there
	Certificate []byte // DER, that it signs with

	portal string // begins a login there; with the entity ID behind it, if it ends in =
	key    string // PEM
	person Person
	write  func(sp SP, o Options) error
}

// Trust tells it of the service provider, and how to answer to it. It may be called anew.
func (p *Peer) Trust(t testing.TB, sp SP, o Options) {
	t.Helper()
	if err := p.write(sp, o); err != nil {
		t.Fatal(err)
	}
}

// Portal returns the URL of a login that begins there.
func (p *Peer) Portal(sp SP) string {
	if strings.HasSuffix(p.portal, "=") {
		return p.portal + url.QueryEscape(sp.EntityID)
	}
	return p.portal
}

func newPeer(t testing.TB, person Person) *Peer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return &Peer{Certificate: certificate, key: string(private), person: person}
}

func pemOf(certificate []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
}

// root is the directory of this module.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// missing fails a test for which something is not installed.
func missing(t testing.TB, what string) {
	t.Helper()
	t.Fatalf("%s is missing: deploy/test/toolchains.sh installs what the tests talk to", what)
}

// Samlp starts the library samlp.
func Samlp(t testing.TB, person Person) *Peer {
	t.Helper()
	home := filepath.Join(root(t), "deploy/test/peers/saml")
	if _, err := os.Stat(filepath.Join(home, "node_modules/samlp")); err != nil {
		missing(t, "samlp")
	}
	p := newPeer(t, person)
	file := filepath.Join(t.TempDir(), "idp.json")
	cmd := exec.Command("node", "--no-deprecation", filepath.Join(home, "idp.js"), file)
	input, err := cmd.StdinPipe() // its end tells the peer that we are gone, however that was
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start samlp: %v", err)
	}
	t.Cleanup(func() {
		_ = input.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("samlp: %s", stderr.String())
		}
	})
	port, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("samlp does not say where it listens: %v\n%s", err, stderr.String())
	}
	base := "http://127.0.0.1:" + strings.TrimSpace(port)
	p.EntityID, p.MetadataURL, p.Begin, p.portal = "urn:samlp.test", base+"/metadata", base+"/logout", base+"/sso"
	p.write = func(sp SP, o Options) error { return p.writeSamlp(file, sp, o) }
	p.Trust(t, SP{}, Options{})
	return p
}

func (p *Peer) writeSamlp(file string, sp SP, o Options) error {
	binding := "redirect"
	if o.PostLogout {
		binding = "post"
	}
	data, err := json.Marshal(map[string]any{
		"issuer": p.EntityID, "key": p.key, "cert": pemOf(p.Certificate),
		"name_id": p.person.NameID, "name_id_format": p.person.Format, "attributes": p.person.Attributes,
		"sp":            map[string]string{"entity_id": sp.EntityID, "acs": sp.ACS, "slo": sp.SLO, "cert": pemOf(sp.Certificate)},
		"sign_response": o.SignResponse, "sign_assertion": o.SignAssertion, "encrypt": o.Encrypt, "logout_binding": binding,
	})
	if err != nil {
		return err
	}
	return replace(file, data)
}

// replace puts a file in the place of another at once.
func replace(file string, data []byte) error {
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// simplesaml is where Debian has SimpleSAMLphp.
const simplesaml = "/usr/share/simplesamlphp"

// User and Password are what SimpleSAMLphp knows the person by.
const (
	User     = "alice"
	Password = "correct horse"
)

// SimpleSAMLphp starts SimpleSAMLphp in the server that PHP has itself.
func SimpleSAMLphp(t testing.TB, person Person) *Peer {
	t.Helper()
	if _, err := os.Stat(simplesaml + "/www/module.php"); err != nil {
		missing(t, "simplesamlphp")
	}
	if _, err := exec.LookPath("php"); err != nil {
		missing(t, "php")
	}
	p := newPeer(t, person)
	dir := t.TempDir()
	address := freeAddress(t)
	base := "http://" + address + "/"
	p.EntityID, p.MetadataURL = base+"saml2/idp/metadata.php", base+"saml2/idp/metadata.php"
	p.portal = base + "saml2/idp/SSOService.php?spentityid="
	p.Begin = base + "saml2/idp/initSLO.php?RelayState=" + base + "logout.php"
	for name, text := range map[string]string{
		"config/config.php":              fmt.Sprintf(phpConfig, php(base), php(dir+"/")),
		"config/authsources.php":         "<?php $config = ['people' => ['exampleauth:UserPass', " + php(User+":"+Password) + " => " + php(person.Attributes) + "]];",
		"config/acl.php":                 "<?php $config = [];",
		"cert/idp.key":                   p.key,
		"cert/idp.pem":                   pemOf(p.Certificate),
		"metadata/saml20-idp-hosted.php": "<?php",
		"metadata/saml20-sp-remote.php":  "<?php",
		"metadata/saml20-idp-remote.php": "<?php",
		"php/php.ini":                    "session.save_path = \"" + dir + "/sessions\"\nerror_log = \"" + dir + "/log/php.log\"\ndisplay_errors = Off\n",
		"sessions/.keep":                 "", "log/.keep": "", "tmp/.keep": "", "data/.keep": "",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("php", "-c", filepath.Join(dir, "php/php.ini"), "-S", address, "-t", simplesaml+"/www")
	cmd.Env = append(os.Environ(), "SIMPLESAMLPHP_CONFIG_DIR="+filepath.Join(dir, "config"), "PHP_CLI_SERVER_WORKERS=")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start PHP: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(filepath.Join(dir, "log/simplesamlphp.log"))
			more, _ := os.ReadFile(filepath.Join(dir, "log/php.log"))
			t.Logf("SimpleSAMLphp: %s\n%s\n%s", tail(log.Bytes()), tail(said), tail(more))
		}
	})
	p.write = func(sp SP, o Options) error { return p.writeSimpleSAML(dir, sp, o) }
	p.Trust(t, SP{EntityID: "urn:nobody", ACS: base, SLO: base, Certificate: p.Certificate}, Options{})
	awaitAnswer(t, p.MetadataURL)
	return p
}

func tail(text []byte) []byte { return text[max(0, len(text)-8000):] }

// phpConfig is the least that SimpleSAMLphp wants.
const phpConfig = `<?php
$config = [
	'baseurlpath' => %[1]s,
	'certdir' => %[2]s . 'cert/', 'loggingdir' => %[2]s . 'log/', 'datadir' => %[2]s . 'data/', 'tempdir' => %[2]s . 'tmp',
	'metadatadir' => %[2]s . 'metadata/',
	'metadata.sources' => [['type' => 'flatfile', 'directory' => %[2]s . 'metadata/']],
	'secretsalt' => 'not a secret of anybody, since this is a test', 'auth.adminpassword' => bin2hex(random_bytes(16)),
	'technicalcontact_email' => 'na@example.org', 'timezone' => 'UTC', 'language.default' => 'en',
	'logging.level' => 6, 'logging.handler' => 'file', 'logging.format' => '%%level %%msg', 'showerrors' => true, 'errorreporting' => false,
	'enable.saml20-idp' => true, 'store.type' => 'phpsession', 'session.cookie.secure' => false, 'session.phpsession.cookiename' => 'simplesamlphp',
	'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
];
`

func (p *Peer) writeSimpleSAML(dir string, sp SP, o Options) error {
	hosted := map[string]any{
		"host": "__DEFAULT__", "privatekey": "idp.key", "certificate": "idp.pem", "auth": "people",
		"signature.algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
		"sign.logout":         true, "validate.logout": true, "redirect.sign": true, "redirect.validate": true,
		"SingleSignOnServiceBinding": []string{uriRedirect, uriPost}, "SingleLogoutServiceBinding": []string{uriRedirect, uriPost},
	}
	logout := uriRedirect
	if o.PostLogout {
		logout = uriPost
	}
	remote := map[string]any{
		"AssertionConsumerService": []any{map[string]any{"Binding": uriPost, "Location": sp.ACS, "index": 0, "isDefault": true}},
		"SingleLogoutService":      []any{map[string]any{"Binding": logout, "Location": sp.SLO}},
		"certData":                 strings.Join(strings.Fields(strings.NewReplacer("-----BEGIN CERTIFICATE-----", "", "-----END CERTIFICATE-----", "").Replace(pemOf(sp.Certificate))), ""),
		"saml20.sign.response":     o.SignResponse, "saml20.sign.assertion": o.SignAssertion,
		"assertion.encryption": o.Encrypt != "", "validate.authnrequest": false, "validate.logout": true, "sign.logout": true,
		"signature.algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
		"NameIDFormat":        p.person.Format, "simplesaml.nameidattribute": "uid",
	}
	if o.Encrypt != "" {
		remote["sharedkey_algorithm"] = o.Encrypt
	}
	for name, text := range map[string]string{
		"saml20-idp-hosted.php": "<?php $metadata[" + php(p.EntityID) + "] = " + php(hosted) + ";",
		"saml20-sp-remote.php":  "<?php $metadata[" + php(sp.EntityID) + "] = " + php(remote) + ";",
	} {
		if err := replace(filepath.Join(dir, "metadata", name), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

const (
	uriRedirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	uriPost     = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
)

// php writes a value as PHP has it.
func php(value any) string {
	switch v := value.(type) {
	case string:
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
	case bool, int:
		return fmt.Sprint(v)
	case []string:
		var b strings.Builder
		for _, each := range v {
			b.WriteString(php(each) + ", ")
		}
		return "[" + b.String() + "]"
	case []any:
		var b strings.Builder
		for _, each := range v {
			b.WriteString(php(each) + ", ")
		}
		return "[" + b.String() + "]"
	case map[string]any:
		var b strings.Builder
		for key, each := range v {
			b.WriteString(php(key) + " => " + php(each) + ", ")
		}
		return "[" + b.String() + "]"
	case map[string][]string:
		var b strings.Builder
		for key, each := range v {
			b.WriteString(php(key) + " => " + php(each) + ", ")
		}
		return "[" + b.String() + "]"
	}
	panic(fmt.Sprintf("no PHP for %T", value))
}

// freeAddress is one that nobody listens on. PHP cannot choose one itself.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitAnswer waits until a server answers.
func awaitAnswer(t testing.TB, target string) {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := client.Get(target)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("%s answers %d", target, answer.StatusCode)
			}
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %v", target, err)
		}
	}
}

// Fetch gets a document.
func Fetch(target string) (sdk.HTTPResponse, error) {
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(target)
	if err != nil {
		return sdk.HTTPResponse{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return sdk.HTTPResponse{Status: answer.StatusCode, Body: body}, err
}
