package shield_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/materi/shield/config"
	"github.com/materi/shield/plugins/email"
	"github.com/materi/shield/plugins/oauth"
	"github.com/materi/shield/plugins/saml"
	"github.com/materi/shield/sdk"
)

// The pages of the documentation are run. A fenced block is one of
//
//	sh    commands. The blocks of a page run in order in one shell, in a directory that looks
//	      like a checkout after make build, against a quickstart gateway of the page's own;
//	      127.0.0.1:8000 stands for its address and data for its data directory;
//	      127.0.0.1:8002 is for a gateway that the page starts itself. Every command must
//	      succeed, and curl must not be answered with 400 or more unless the block's json
//	      says that an error is expected. make only shows what it would do, but for make -C,
//	      which is for projects that the page makes.
//	json  what the sh block before it prints: the same members with the same values. "..."
//	      in a string stands for any text, and "..." alone for any value.
//	yaml  a configuration. What it has no section for is taken from the quickstart's (but for
//	      routes beside other limits or upstreams), and the whole must be valid.
//	text  pictures, and output that no test can compare.
//
// There are no others.

// pages returns every page of the documentation.
func pages(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(found, "README.md", "CONTRIBUTING.md", "RATIONALE.md")
}

// block is one fenced block of a page.
type block struct {
	page string
	line int // of its first line
	kind string
	text string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// blocksOf reads the fenced blocks of a page. Fences stand at the beginning of a line.
func blocksOf(page, text string) ([]block, error) {
	var out []block
	var open *block
	n := 0
	for line := range strings.Lines(text) {
		n++
		fence, isFence := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "```")
		switch {
		case !isFence && open != nil:
			open.text += line
		case !isFence:
		case open == nil:
			open = &block{page: page, line: n + 1, kind: strings.TrimSpace(fence)}
			if !slices.Contains([]string{"sh", "json", "yaml", "text"}, open.kind) {
				return nil, fmt.Errorf("%s:%d: a block of kind %q; there are sh, json, yaml and text", page, n, open.kind)
			}
		default:
			out = append(out, *open)
			open = nil
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%v: the block has no end", open)
	}
	for i, b := range out {
		if b.kind == "json" && (i == 0 || out[i-1].kind != "sh") {
			return nil, fmt.Errorf("%v: a json block is what a sh block prints; there is none before it", b)
		}
	}
	return out, nil
}

func TestPagesDoWhatTheySay(t *testing.T) {
	for _, page := range pages(t) {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			blocks, err := blocksOf(page, string(text))
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range blocks {
				if b.kind == "yaml" {
					checkYAML(t, b)
				}
			}
			runShell(t, blocks)
			checkLinks(t, page, string(text))
		})
	}
}

// checkYAML loads a configuration, completed by the sections of the quickstart.
func checkYAML(t *testing.T, b block) {
	t.Helper()
	whole, err := os.ReadFile("examples/quickstart/shield.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var sections, given map[string]yaml.Node
	if err := yaml.Unmarshal(whole, &sections); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(b.text), &given); err != nil {
		t.Errorf("%v: %v", b, err)
		return
	}
	for key, section := range given {
		sections[key] = section
		if key == "rate_limits" || key == "upstreams" {
			delete(sections, "routes") // they refer to the quickstart's
		}
	}
	if routes, ok := given["routes"]; ok {
		sections["routes"] = routes
	}
	merged, err := yaml.Marshal(sections)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("shield.yaml", merged, docsEnvironment)
	if err != nil {
		t.Errorf("%v: with the rest of the quickstart's file:\n%v\n%s", b, err, merged)
	}
	for _, p := range c.Providers {
		checkSettings(t, b, p)
	}
}

// checkSettings hands the settings of a provider to the plugin that they are for, if it is one
// of ours.
func checkSettings(t *testing.T, b block, p config.Provider) {
	t.Helper()
	plugin, ours := map[string]sdk.Provider{
		"build/plugins/email.wasm": email.New(), "build/plugins/oauth.wasm": oauth.New(),
		"build/plugins/saml.wasm": saml.New(),
	}[p.Plugin]
	if !ours {
		return
	}
	settings, err := p.Config.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if faults := plugin.Configure(settings); len(faults) > 0 {
		t.Errorf("%v: provider %s: %v", b, p.Name, faults)
	}
	for _, c := range plugin.Describe().Capabilities {
		if !p.Grants(string(c)) {
			t.Errorf("%v: provider %s is not granted %s", b, p.Name, c)
		}
	}
}

// docsEnvironment has the variables that the pages refer to.
func docsEnvironment(name string) (string, bool) {
	if value, ok := samlEnvironment()[name]; ok {
		return value, true
	}
	value, ok := map[string]string{
		"SMTP_PASSWORD": "not a real one",
		"PORTAL_SECRET": "not a real one, too",

		"GOOGLE_CLIENT_SECRET":    "not a real one",
		"GITHUB_CLIENT_SECRET":    "not a real one",
		"MICROSOFT_CLIENT_SECRET": "not a real one",
		"OKTA_CLIENT_SECRET":      "not a real one",
		"GITLAB_CLIENT_SECRET":    "not a real one",
		"STAFF_CLIENT_KEY":        "not a real one",
		"FORGE_CLIENT_SECRET":     "not a real one",

		"SHIELD_SECRET":   "0123456789abcdefghijklmnopqrstuvwxyz",
		"SHIELD_POSTGRES": "postgres://shield@db.internal/shield",
	}[name]
	return value, ok
}

// samlEnvironment has the variables of docs/saml.md, whose values have to be real.
var samlEnvironment = sync.OnceValue(func() map[string]string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return map[string]string{
		"SAML_SP_PRIVATE_KEY":     string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		"SAML_SP_X509_CERT":       certificate,
		"EXAMPLE_IDP_CERTIFICATE": certificate,
		"GOOGLE_SAML_METADATA": `<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://accounts.google.com/o/saml2?idpid=C01abcdef">` +
			`<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><md:KeyDescriptor use="signing">` +
			`<ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>` + base64.StdEncoding.EncodeToString(der) +
			`</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService ` +
			`Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://accounts.google.com/o/saml2/idp?idpid=C01abcdef"/>` +
			`</md:IDPSSODescriptor></md:EntityDescriptor>`,
	}
})

// TestSAMLSettingsOfThePagesAreGood hands the settings of the pages to the plugin.
func TestSAMLSettingsOfThePagesAreGood(t *testing.T) {
	n := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := blocksOf(page, string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			var c struct {
				Providers []struct {
					Plugin       string
					Capabilities []string
					Config       map[string]any
				}
			}
			if b.kind != "yaml" || !strings.Contains(b.text, "saml.wasm") {
				continue
			}
			expanded := os.Expand(b.text, func(name string) string {
				value, _ := docsEnvironment(name)
				return strconv.Quote(value)
			})
			if err := yaml.Unmarshal([]byte(expanded), &c); err != nil {
				t.Fatalf("%v: %v", b, err)
			}
			for _, p := range c.Providers {
				raw, err := json.Marshal(p.Config)
				if err != nil {
					t.Fatal(err)
				}
				plugin := saml.New()
				if faults := plugin.Configure(raw); faults != nil {
					t.Errorf("%v: %v", b, faults)
				}
				for _, needed := range plugin.Describe().Capabilities {
					if !slices.Contains(p.Capabilities, string(needed)) {
						t.Errorf("%v: the capability %s is missing", b, needed)
					}
				}
				n++
			}
		}
	}
	if n == 0 {
		t.Error("no page shows the provider")
	}
}

// runShell runs the sh blocks of a page, and compares what they print with the json blocks
// behind them.
func runShell(t *testing.T, blocks []block) {
	t.Helper()
	if !slices.ContainsFunc(blocks, func(b block) bool { return b.kind == "sh" }) {
		return
	}
	q := newQuickstart(t)
	q.start(t)
	second := freeAddress(t)
	real := strings.NewReplacer("127.0.0.1:8000", q.address, "127.0.0.1:8001", q.upstream, "127.0.0.1:8002", second)
	told := strings.NewReplacer(q.address, "127.0.0.1:8000", q.upstream, "127.0.0.1:8001", second, "127.0.0.1:8002", q.dir+"/", "")
	out := t.TempDir()
	script := prelude
	for i, b := range blocks {
		if b.kind == "sh" {
			script += step(b, answerOf(blocks, i), real.Replace(b.text), filepath.Join(out, fmt.Sprint(i)))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), pageTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with all that it started
	cmd.Dir = q.dir
	cmd.Env = append(append(q.env, goVariables(t)...), "PLACE="+filepath.Join(out, "place"), "XDG_CACHE_HOME="+filepath.Join(q.dir, "build/tools"))
	diagnosis, err := cmd.CombinedOutput()
	if err != nil {
		place, _ := os.ReadFile(filepath.Join(out, "place"))
		printed, _ := os.ReadFile(filepath.Join(out, lastWritten(t, out)))
		t.Errorf("%s: %v\n%s%s", place, err, diagnosis, printed)
		return
	}
	for i, b := range blocks {
		want := answerOf(blocks, i)
		if b.kind != "sh" || want == nil {
			continue
		}
		got, err := os.ReadFile(filepath.Join(out, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := sameJSON(want.text, told.Replace(string(got))); err != nil {
			t.Errorf("%v: %v\nprinted: %s", want, err, told.Replace(string(got)))
		}
	}
	if t.Failed() {
		return
	}
	checkLog(t, q.gateway.output())
	checkLogFields(t, q.gateway.output())
}

// pageTime is the most that the commands of a page may take, in case one waits for what never
// comes.
const pageTime = 5 * time.Minute

// goVariables are those that the go command needs to find here what it finds in this test: what
// is built and downloaded already.
func goVariables(t *testing.T) []string {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return !strings.HasPrefix(v, "GO")
	}), "GOCACHE="+strings.TrimSpace(string(cache)))
}

// answerOf returns the json block that says what blocks[i] prints, if there is one.
func answerOf(blocks []block, i int) *block {
	if i+1 < len(blocks) && blocks[i+1].kind == "json" {
		return &blocks[i+1]
	}
	return nil
}

// lastWritten returns the name of the file that was written by the block that failed.
func lastWritten(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, e := range entries {
		var n int
		if _, err := fmt.Sscan(e.Name(), &n); err == nil {
			last = max(last, n)
		}
	}
	return fmt.Sprint(last)
}

// prelude is what stands before the commands of a page. What the page leaves running ends
// with it. new_mail waits for a mail that was not there when it was last called: mails are
// sent beside the request that causes them.
const prelude = `
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
make() {
	if [ "${1:-}" = -C ]; then command make --no-print-directory "$@"; else command make --dry-run "$@" >/dev/null; fi
}
curl() { command curl -sS $fail "$@"; }
seen=0
new_mail() {
	local i now
	for ((i = 0; i < 200; i++)); do
		now=$(find data/mail -name '*.eml' 2>/dev/null | wc -l)
		[ "$now" -le "$seen" ] || { seen=$now; return; }
		sleep 0.05
	done
	echo "no new mail" >&2
	exit 1
}
`

// step is the commands of one block. They run in the shell of the page, so that what one
// block sets the next one has.
func step(b block, answer *block, commands, out string) string {
	fail := "--fail-with-body"
	if answer != nil && strings.Contains(answer.text, `"error":`) {
		fail = ""
	}
	wait := ""
	if strings.Contains(commands, "data/mail") {
		wait = "new_mail\n"
	}
	return fmt.Sprintf("\necho '%s' >\"$PLACE\"\nfail=%s\n%s{\n%s} >'%s'\n", b, fail, wait, commands, out)
}

// sameJSON compares a document with what a page says of it.
func sameJSON(want, got string) error {
	var w, g any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		return fmt.Errorf("the page's JSON: %w", err)
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		return fmt.Errorf("what was printed is no JSON: %w", err)
	}
	return sameValue("", w, g)
}

func sameValue(path string, want, got any) error {
	if want == "..." {
		return nil
	}
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is no object", path)
		}
		for name := range g {
			if _, ok := w[name]; !ok {
				return fmt.Errorf("%s.%s is not on the page", path, name)
			}
		}
		for name, member := range w {
			value, ok := g[name]
			if !ok {
				return fmt.Errorf("%s.%s is only on the page", path, name)
			}
			if err := sameValue(path+"."+name, member, value); err != nil {
				return err
			}
		}
		return nil
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Errorf("%s is no list of %d", path, len(w))
		}
		for i := range w {
			if err := sameValue(fmt.Sprintf("%s[%d]", path, i), w[i], g[i]); err != nil {
				return err
			}
		}
		return nil
	case string:
		pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(w), `\.\.\.`, ".*") + "$"
		if g, ok := got.(string); ok && regexp.MustCompile(pattern).MatchString(g) {
			return nil
		}
	default:
		if want == got {
			return nil
		}
	}
	return fmt.Errorf("%s is %v, and on the page %v", path, got, want)
}

var link = regexp.MustCompile(`\]\(([^)]+)\)`)

// checkLinks looks whether what a page links to in this repository is there.
func checkLinks(t *testing.T, page, text string) {
	t.Helper()
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		target, _, _ := strings.Cut(m[1], "#")
		if target == "" || strings.Contains(target, "://") {
			continue
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil {
			t.Errorf("%s links to %s: %v", page, m[1], err)
		}
	}
}

func TestBlocksOfUnknownKindsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"```go\nx\n```\n":                    "kind \"go\"",
		"```\nx\n```\n":                      "kind \"\"",
		"```bash\nx\n```\n":                  "kind \"bash\"",
		"```sh\nx\n":                         "no end",
		"```json\n{}\n```\n":                 "none before it",
		"```yaml\nx\n```\n```json\n{}\n```":  "none before it",
		"```sh\nx\n```\nprints\n```json\n{}": "no end",
	} {
		if _, err := blocksOf("page", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("blocksOf(%q) = %v, want an error with %q", text, err, want)
		}
	}
	got, err := blocksOf("page", "a\n```sh\ntrue\n```\nb\n```json\n{}\n```\n")
	if err != nil || len(got) != 2 || got[0].text != "true\n" || got[1].line != 7 || answerOf(got, 0) == nil || answerOf(got, 1) != nil {
		t.Errorf("blocksOf() = %+v, %v", got, err)
	}
}

func TestJSONOfPagesIsCompared(t *testing.T) {
	const page = `{"id": "0...", "n": 900, "any": "...", "list": [{"a": "b"}], "ok": true}`
	if err := sameJSON(page, `{"id":"019","n":900,"any":[1],"list":[{"a":"b"}],"ok":true}`); err != nil {
		t.Error(err)
	}
	for _, other := range []string{
		`{"id":"119","n":900,"any":[1],"list":[{"a":"b"}],"ok":true}`,
		`{"id":"019","n":901,"any":[1],"list":[{"a":"b"}],"ok":true}`,
		`{"id":"019","n":900,"any":[1],"list":[{"a":"c"}],"ok":true}`,
		`{"id":"019","n":900,"any":[1],"list":[],"ok":true}`,
		`{"id":"019","n":900,"any":[1],"list":[{"a":"b"}],"ok":false}`,
		`{"id":"019","n":900,"any":[1],"list":[{"a":"b"}]}`,
		`{"id":"019","n":900,"any":[1],"list":[{"a":"b"}],"ok":true,"more":1}`,
		`not JSON`,
	} {
		if err := sameJSON(page, other); err == nil {
			t.Errorf("%s passes for %s", other, page)
		}
	}
}
