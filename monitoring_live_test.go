//go:build prometheus

package shield_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What monitoring_test.go reads is run here by Debian's Prometheus, with the build tag
// prometheus: the rules by promtool, and every query beside a gateway that was used.
// deploy/verify/observability.sh installs what is needed.

// debian returns the path of a program of Debian's package prometheus.
func debian(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v: install the Debian package prometheus", err)
	}
	return path
}

func TestRulesPassPromtool(t *testing.T) {
	promtool := debian(t, "promtool")
	rules, err := filepath.Glob("deploy/prometheus/rules/*.yml")
	if err != nil || len(rules) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	tests, err := filepath.Glob("deploy/prometheus/tests/*.yml")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests of rules: %v", err)
	}
	for _, args := range [][]string{
		{"check", "config", "deploy/prometheus/prometheus.yml"},
		append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, rules...),
		append([]string{"test", "rules"}, tests...),
	} {
		began := time.Now()
		out, err := exec.Command(promtool, args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("promtool %s %s: %v", args[0], args[1], time.Since(began).Round(time.Millisecond))
	}
}

// prometheus is a real one that scrapes a gateway.
type prometheus struct{ address string }

// watched runs a gateway with whatever has metrics, and a Prometheus with the project's own
// configuration that asks it twice a second.
func watched(t *testing.T) (*quickstart, prometheus) {
	t.Helper()
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"oauth", "saml"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w",
			"-o", filepath.Join(built, "plugins", name+".wasm"), "./plugins/"+name+"/cmd")
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	q := newQuickstart(t)
	q.env = append(q.env, "BASE=http://"+q.address, "MAIL="+filepath.Join(q.dir, "data/mail"))
	if err := os.WriteFile(filepath.Join(q.dir, "shield.yaml"), []byte(configured(t, q.address)), 0o600); err != nil {
		t.Fatal(err)
	}
	q.service = q.run(t, "build/upstream", "-listen", q.upstream)
	q.gateway = q.run(t, "build/shield", "serve", "-config", "shield.yaml")
	q.gateway.waitFor(t, "http://"+q.upstream+"/")
	q.gateway.waitFor(t, "http://"+q.address+"/ready/")

	section, err := os.ReadFile("deploy/prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs("deploy/prometheus/rules")
	if err != nil {
		t.Fatal(err)
	}
	asked := strings.NewReplacer("15s", "500ms", "gateway:8000", q.address, "rules/*.yml", filepath.Join(rules, "*.yml")).Replace(string(section))
	if err := os.WriteFile(filepath.Join(q.dir, "prometheus.yml"), []byte(asked), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(debian(t, "prometheus"), filepath.Join(q.dir, "prometheus")); err != nil {
		t.Fatal(err)
	}
	p := prometheus{freeAddress(t)}
	server := q.run(t, "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path="+filepath.Join(q.dir, "tsdb"),
		"--web.listen-address="+p.address, "--log.level=warn")
	server.waitFor(t, "http://"+p.address+"/-/ready")
	return q, p
}

// configured is the quickstart's configuration with what else has metrics: another issuer,
// and providers for logins at other sites, one of them with a certificate.
func configured(t *testing.T, address string) string {
	t.Helper()
	text, err := os.ReadFile("examples/quickstart/shield.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const key, plugins = "providers:\n", "${SHIELD_PLUGINS:-../../build/plugins}"
	certificate := strconv.Quote(certificateOf(t, time.Now().Add(60*24*time.Hour)))
	providers := key + `
  - name: github
    plugin: ` + plugins + `/oauth.wasm
    capabilities: [kv, log, http, jwt, secret]
    http:
      allow: [https://github.com, https://api.github.com]
    secrets: [{ name: client_secret, value: not a real one }]
    config: { preset: github, client_id: shield }
  - name: saml
    plugin: ` + plugins + `/saml.wasm
    capabilities: [kv, log, http, xmldsig]
    http:
      allow: [https://idp.example.com]
    config:
      entity_id: http://` + address + `/auth/saml/metadata
      idps:
        - name: corp
          entity_id: https://idp.example.com
          sso_url: https://idp.example.com/sso
          certificates: [` + certificate + `]
          idp_initiated: true
`
	with := strings.Replace(string(text), key, providers, 1)
	if with == string(text) {
		t.Fatal("the quickstart has no section of providers")
	}
	return with + `
login:
  provider: email
issuers:
  - name: partner
    issuer: https://login.partner.example
    jwks_url: http://` + address + `/.well-known/jwks.json
    audience: https://api.example.com
    algorithms: [RS256]
`
}

// certificateOf returns the PEM of a certificate that expires then.
func certificateOf(t *testing.T, until time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// use does what has metrics: the walkthrough, and logins that end at other sites.
func (q *quickstart) use(t *testing.T) {
	t.Helper()
	walk := q.run(t, "examples/quickstart/walkthrough.sh")
	<-walk.done
	if walk.err != nil {
		t.Fatalf("the walkthrough: %v", walk.err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	do := func(status int, answer *http.Response, err error) *http.Response {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != status {
			t.Fatalf("%s: %v, %v: %s; want %d", answer.Request.URL.Path, answer.Status, err, body, status)
		}
		return answer
	}
	base := "http://" + q.address
	answer, err := browser.Get(base + "/auth/oauth/github")
	away, err := do(http.StatusFound, answer, err).Location()
	if err != nil {
		t.Fatal(err)
	}
	back := url.Values{"error": {"access_denied"}, "state": {away.Query().Get("state")}}
	answer, err = browser.Get(base + "/auth/oauth/github/callback?" + back.Encode())
	do(http.StatusBadRequest, answer, err)
	answer, err = browser.PostForm(base+"/auth/saml/acs", url.Values{"SAMLResponse": {"PHg+"}})
	do(http.StatusBadRequest, answer, err)
}

// ask returns how many samples with a number a query has.
func (p prometheus) ask(ctx context.Context, expr string) (int, error) {
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := p.get(ctx, "/api/v1/query?query="+url.QueryEscape(expr), &answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, errors.New(answer.Error)
	}
	n := 0
	for _, r := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			return 0, err
		}
		if !math.IsNaN(value) {
			n++
		}
	}
	return n, nil
}

func (p prometheus) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// ofOthers reports whether a query asks for a metric that no gateway has.
func ofOthers(expr string) bool {
	for name := range metricsIn(expr) {
		if foreign[name] != "" {
			return true
		}
	}
	return false
}

func TestEveryQueryHasDataAfterTheWalkthrough(t *testing.T) {
	q, p := watched(t)
	for range 2 { // what is there since the first has grown by the second
		q.use(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	all := queries(t)
	left := slices.DeleteFunc(slices.Clone(all), func(q query) bool { return ofOthers(q.expr) })
	if len(left) < 100 {
		t.Fatalf("there are only %d queries", len(left))
	}
	t.Logf("%d queries, and %d for what no gateway has", len(left), len(all)-len(left))
	for {
		left = slices.DeleteFunc(left, func(q query) bool {
			n, err := p.ask(ctx, q.expr)
			if err != nil && ctx.Err() == nil {
				t.Fatalf("%s: %s: %v", q.from, q.expr, err)
			}
			return n > 0
		})
		if len(left) == 0 {
			break
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			for _, q := range left {
				t.Errorf("%s: no data for %s", q.from, q.expr)
			}
			return
		}
	}
	p.rulesAreWell(t)
}

// rulesAreWell asks whether Prometheus itself could evaluate every rule, and whether an
// alert fires although nothing is wrong.
func (p prometheus) rulesAreWell(t *testing.T) {
	t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Name      string `json:"name"`
					Health    string `json:"health"`
					LastError string `json:"lastError"`
					State     string `json:"state"`
				} `json:"rules"`
			} `json:"groups"`
		} `json:"data"`
	}
	if err := p.get(t.Context(), "/api/v1/rules", &answer); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
			if r.State == "firing" {
				t.Errorf("%s fires at a gateway that is well", r.Name)
			}
		}
	}
	all, err := rulesOf()
	if err != nil {
		t.Fatal(err)
	}
	if n != len(all) {
		t.Errorf("Prometheus has %d rules, want %d", n, len(all))
	}
}
