package shield_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// What watches the gateway is held to it: rules, dashboard and runbooks to the metrics that
// the code registers and to the messages that it logs. A real Prometheus is asked in
// monitoring_live_test.go.

const runbookURL = "https://github.com/materi/shield/blob/main/deploy/runbooks/"

// foreign are the metrics of others that are asked for, which no gateway has.
var foreign = map[string]string{
	"certmanager_certificate_expiration_timestamp_seconds": "cert-manager's: TLS ends at the ingress, not at the gateway",
}

// alertRule is one rule of a rule file: an alert, or a recording.
type alertRule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// rulesOf reads all rule files, in their order.
func rulesOf() ([]alertRule, error) {
	files, err := filepath.Glob("deploy/prometheus/rules/*.yml")
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errors.New("no rules"), err)
	}
	var all []alertRule
	for _, name := range files {
		var file struct {
			Groups []struct {
				Name  string      `yaml:"name"`
				Rules []alertRule `yaml:"rules"`
			} `yaml:"groups"`
		}
		if err := strictYAML(name, &file); err != nil {
			return nil, err
		}
		for _, g := range file.Groups {
			all = append(all, g.Rules...)
		}
	}
	return all, nil
}

// alerts returns the alerts among the rules.
func alerts(t *testing.T) []alertRule {
	t.Helper()
	all, err := rulesOf()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(r alertRule) bool { return r.Alert == "" })
}

// strictYAML reads a file into what knows all of its keys.
func strictYAML(name string, into any) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// pageOf names the runbook page of an alert: "shield-jwks-stale" for ShieldJWKSStale.
func pageOf(alert string) string {
	var b strings.Builder
	runes := []rune(alert)
	for i, r := range runes {
		begins := i > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if begins {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String() + ".md"
}

// alertTable lists the alerts for docs/monitoring.md.
func alertTable() (string, error) {
	all, err := rulesOf()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("\n| Alert | Severity | After | What it says |\n|---|---|---|---|\n")
	template := regexp.MustCompile(`\{\{ \$(value|labels\.(\w+))[^}]*\}\}`)
	for _, r := range all {
		if r.Alert == "" {
			continue
		}
		summary := template.ReplaceAllStringFunc(r.Annotations["summary"], func(s string) string {
			if label := template.FindStringSubmatch(s)[2]; label != "" {
				return strings.ToUpper(label)
			}
			return "N"
		})
		after := r.For
		if after == "" {
			after = "at once"
		}
		fmt.Fprintf(&b, "| [%s](../deploy/runbooks/%s) | %s | %s | %s |\n", r.Alert, pageOf(r.Alert), r.Labels["severity"], after, summary)
	}
	b.WriteString("\n")
	return b.String(), nil
}

func TestEveryAlertIsShownFiringAndSilent(t *testing.T) {
	files, err := filepath.Glob("deploy/prometheus/tests/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Tests []struct {
				Rules []struct {
					Alert string `yaml:"alertname"`
					Want  []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			} `yaml:"tests"`
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Tests {
			for _, r := range test.Rules {
				if len(r.Want) > 0 {
					fires[r.Alert] = true
				} else {
					silent[r.Alert] = true
				}
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !silent[a.Alert] {
			t.Errorf("%s: shown firing %v, shown silent %v; want both", a.Alert, fires[a.Alert], silent[a.Alert])
		}
		delete(fires, a.Alert)
		delete(silent, a.Alert)
	}
	for name := range silent { // promtool finds an alert silent that there is none of
		t.Errorf("a test is about %s, which is no alert", name)
	}
}

var sections = []string{"What it means", "First look", "Causes", "What to do", "When to wake whom"}

func TestEveryAlertHasItsRunbook(t *testing.T) {
	pages, err := filepath.Glob("deploy/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	logged, err := messages()
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, p := range pages {
		left[filepath.Base(p)] = true
	}
	for _, a := range alerts(t) {
		page := pageOf(a.Alert)
		if got, want := a.Annotations["runbook_url"], runbookURL+page; got != want {
			t.Errorf("%s: runbook_url is %q, want %q", a.Alert, got, want)
		}
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity is %q", a.Alert, s)
		}
		text, err := os.ReadFile(filepath.Join("deploy/runbooks", page))
		if err != nil {
			t.Errorf("%s has no runbook: %v", a.Alert, err)
			continue
		}
		delete(left, page)
		checkRunbook(t, page, a, string(text), logged)
	}
	for page := range left {
		t.Errorf("deploy/runbooks/%s is the page of no alert", page)
	}
}

func checkRunbook(t *testing.T, page string, a alertRule, text string, logged map[string]bool) {
	t.Helper()
	head := "# " + a.Alert + "\n\nSeverity: " + a.Labels["severity"] + ".\n"
	if !strings.HasPrefix(text, head) {
		t.Errorf("%s does not begin with %q", page, head)
	}
	at := 0
	for _, s := range sections {
		i := strings.Index(text[at:], "\n## "+s+"\n")
		if i < 0 {
			t.Errorf("%s has no section %q where it should be", page, s)
			return
		}
		at += i
	}
	if len(promql(text)) == 0 {
		t.Errorf("%s has no query for a first look", page)
	}
	_, causes, _ := strings.Cut(text, "\n## Causes\n")
	causes, _, _ = strings.Cut(causes, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| (.*) \| (.*) \|$`).FindAllStringSubmatch(causes, -1)
	if len(rows) < 2 || rows[0][1] != "In the log" {
		t.Errorf("%s: Causes has no table that begins with \"In the log\"", page)
		return
	}
	for _, row := range rows[1:] {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			if !logged[m[1]] && !strings.Contains(m[1], ".") { // "auth.login" names endpoints
				t.Errorf("%s: nothing logs %q", page, m[1])
			}
		}
	}
	calls, err := endpointTable()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`([A-Z]+)\\s+(/[^`]*)`").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(calls, "`"+m[1]+" "+m[2]+"`") {
			t.Errorf("%s: there is no call %s %s", page, m[1], m[2])
		}
	}
	checkLinks(t, "deploy/runbooks/"+page, text)
}

// promql returns the queries of a page: the lines of its blocks of that kind.
func promql(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile("(?ms)^```promql\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		all = append(all, strings.Split(strings.TrimSpace(m[1]), "\n")...)
	}
	return all
}

// messages are the texts that the program can log, and the names beside them: its string
// literals, and what the gateway makes of what it tries until it is done.
func messages() (map[string]bool, error) {
	all := map[string]bool{}
	for _, root := range []string{"gateway", "cmd", "sdk"} {
		err := eachFile(root, func(file *ast.File) error {
			ast.Inspect(file, func(n ast.Node) bool {
				if e, ok := n.(ast.Expr); ok && text(e) != "" {
					all[text(e)] = true
				}
				if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 {
					if fun, ok := call.Fun.(*ast.SelectorExpr); ok && fun.Sel.Name == "untilDone" {
						all["cannot "+text(call.Args[0])+", trying again"] = true
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// query is one that is asked of Prometheus, and where it stands.
type query struct{ from, expr string }

// dashboard is what is looked at of one; its form is the schema's business.
type dashboard struct {
	Panels []struct {
		ID      int    `json:"id"`
		Title   string `json:"title"`
		GridPos struct{ H, W, X, Y int }
		Targets []struct {
			Expr string `json:"expr"`
		} `json:"targets"`
	} `json:"panels"`
}

// queries returns every query of rules, dashboard and runbooks. Of an alert it returns what
// is compared, since an alert that is silent has no result.
func queries(t *testing.T) []query {
	t.Helper()
	rules, err := rulesOf()
	if err != nil {
		t.Fatal(err)
	}
	var all []query
	for _, r := range rules {
		if r.Record != "" {
			all = append(all, query{"rule " + r.Record, r.Record}, query{"rule " + r.Record, r.Expr})
			continue
		}
		for _, o := range operands(r.Expr) {
			all = append(all, query{"alert " + r.Alert, o})
		}
	}
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			all = append(all, query{"panel " + p.Title, target.Expr})
		}
	}
	pages, err := filepath.Glob("deploy/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, expr := range promql(string(text)) {
			all = append(all, query{page, expr})
		}
	}
	return all
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile("deploy/grafana/dashboards/shield.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// operands returns what an expression compares: the left sides of its comparisons, of both
// sides of and, or and unless, and what absent looks for. It knows as much of PromQL as the
// rules of this project need.
func operands(expr string) []string {
	expr = strings.TrimSpace(expr)
	if inner, ok := enclosed(expr, ""); ok {
		return operands(inner)
	}
	if inner, ok := enclosed(expr, "absent"); ok {
		return operands(inner)
	}
	for _, word := range []string{"or", "unless", "and"} {
		if i := topLevel(expr, func(rest string) bool {
			return strings.HasPrefix(rest, word) && len(rest) > len(word) && !isWord(rest[len(word)])
		}, true); i >= 0 {
			return append(operands(expr[:i]), operands(expr[i+len(word):])...)
		}
	}
	if i := topLevel(expr, func(rest string) bool { return strings.IndexAny(rest, "<>=!") == 0 }, false); i >= 0 {
		return operands(expr[:i])
	}
	return []string{expr}
}

func isWord(c byte) bool {
	return c == '_' || c == ':' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// enclosed reports whether an expression is one call of a function, or with no function one
// pair of parentheses, and returns what stands in it.
func enclosed(expr, function string) (string, bool) {
	rest, ok := strings.CutPrefix(expr, function+"(")
	if !ok || !strings.HasSuffix(rest, ")") {
		return "", false
	}
	rest = rest[:len(rest)-1]
	depth := 0
	for _, c := range rest {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth < 0 {
			return "", false
		}
	}
	return rest, depth == 0
}

// topLevel returns where something stands that is in no parentheses, braces, brackets or
// quotes, or -1. words: only at the beginning of one.
func topLevel(expr string, is func(rest string) bool, words bool) int {
	depth, quoted := 0, false
	for i := range len(expr) {
		c := expr[i]
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.IndexByte("({[", c) >= 0:
			depth++
		case strings.IndexByte(")}]", c) >= 0:
			depth--
		case depth == 0 && (!words || i > 0 && !isWord(expr[i-1])) && is(expr[i:]):
			return i
		}
	}
	return -1
}

func TestOperandsAreWhatIsCompared(t *testing.T) {
	for expr, want := range map[string][]string{
		"a > 1":                                 {"a"},
		"sum(rate(a{b=~\"x>1\"}[5m])) / c >= 2": {"sum(rate(a{b=~\"x>1\"}[5m])) / c"},
		"time() - min(a) > 91 * 86400":          {"time() - min(a)"},
		"(a > 1 and b > 1)\n  or (c == 0)":      {"a", "b", "c"},
		"up{job=\"s\"} == 0 or absent(up)":      {"up{job=\"s\"}", "up"},
		"a unless b":                            {"a", "b"},
		"(a) / (b) < 1":                         {"(a) / (b)"},
		"floor(a) > 1":                          {"floor(a)"},
		"candor > 0":                            {"candor"},
		"max by (or) (a) > 0":                   {"max by (or) (a)"},
	} {
		if got := operands(expr); !slices.Equal(got, want) {
			t.Errorf("operands(%q) = %q, want %q", expr, got, want)
		}
	}
}

var (
	metricName  = regexp.MustCompile(`\b(materi_\w+|certmanager_\w+)(\{[^}]*\})?`)
	labelName   = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping    = regexp.MustCompile(`\bby \(([^)]*)\)`)
	histogramOf = regexp.MustCompile(`_(bucket|count|sum)$`)
)

// metricsIn returns the metrics of an expression with the labels that it selects by.
func metricsIn(expr string) map[string][]string {
	all := map[string][]string{}
	for _, m := range metricName.FindAllStringSubmatch(expr, -1) {
		if all[m[1]] == nil {
			all[m[1]] = []string{}
		}
		for _, l := range labelName.FindAllStringSubmatch(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(m[2], `""`), -1) {
			all[m[1]] = append(all[m[1]], l[1])
		}
	}
	return all
}

func TestQueriesNameMetricsAndLabelsOfTheCode(t *testing.T) {
	known, err := metrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queries(t) {
		ofAll := []string{"le", "job", "instance"}
		for name, used := range metricsIn(q.expr) {
			m, ok := known[name]
			if !ok {
				if base := histogramOf.ReplaceAllString(name, ""); known[base].kind == "histogram" {
					m, ok = known[base], true
				}
			}
			switch {
			case ok && m.kind == "histogram" && !histogramOf.MatchString(name):
				t.Errorf("%s: %s is a histogram, which has no samples of that name", q.from, name)
				continue
			case !ok && foreign[name] == "":
				t.Errorf("%s: nothing registers %s", q.from, name)
				continue
			case !ok:
				ofAll = append(ofAll, "name", "namespace")
				continue
			}
			labels := append(strings.Split(strings.ReplaceAll(m.labels, "`", ""), ", "), "le", "job", "instance")
			ofAll = append(ofAll, labels...)
			for _, l := range used {
				if !slices.Contains(labels, l) {
					t.Errorf("%s: %s has no label %q", q.from, name, l)
				}
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(q.expr, -1) {
			for l := range strings.SplitSeq(by[1], ",") {
				if !slices.Contains(ofAll, strings.TrimSpace(l)) {
					t.Errorf("%s: %s groups by %s, which none of its metrics has", q.from, q.expr, l)
				}
			}
		}
	}
}

func TestEveryMetricIsOnTheDashboard(t *testing.T) {
	known, err := metrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			for name := range metricsIn(target.Expr) {
				delete(known, name)
				delete(known, histogramOf.ReplaceAllString(name, ""))
			}
		}
	}
	for name := range known {
		t.Errorf("no panel shows %s", name)
	}
}

func TestDashboardIsGrafanas(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("deploy/grafana/dashboard.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("deploy/grafana/dashboards/shield.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		return schema.Validate(v)
	}
	if err := validate(string(text)); err != nil {
		t.Errorf("the dashboard is none of Grafana's: %v", err)
	}
	for before, after := range map[string]string{
		`"type": "timeseries"`:     `"type": "graph"`,
		`"uid": "${datasource}"`:   `"uid": "prometheus-1"`,
		`"schemaVersion": 39`:      `"schemaVersion": "39"`,
		`"unit": "reqps"`:          `"unit": "furlongs"`,
		`"legendFormat": "errors"`: `"legend": "errors"`,
		`"w": 8`:                   `"w": 25`,
		`"title": "Request Rate"`:  `"title": ""`,
	} {
		if broken := strings.Replace(string(text), before, after, 1); broken == string(text) || validate(broken) == nil {
			t.Errorf("the schema does not mind %s", after)
		}
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	titles := map[string]bool{}
	for _, p := range readDashboard(t).Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %s stands over the edge", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[cell]; ok {
					t.Fatalf("panel %s covers %s", p.Title, other)
				}
				taken[cell] = p.Title
			}
		}
	}
	for _, want := range []string{"Request Rate", "Error Rate", "Auth Success Rate", "P95 Latency", "Active Tokens"} {
		if !titles[want] {
			t.Errorf("there is no panel %q", want)
		}
	}
}

func TestGrafanaIsProvisioned(t *testing.T) {
	var sources struct {
		Version int `yaml:"apiVersion"`
		Sources []struct {
			Name     string         `yaml:"name"`
			UID      string         `yaml:"uid"`
			Type     string         `yaml:"type"`
			Access   string         `yaml:"access"`
			URL      string         `yaml:"url"`
			Default  bool           `yaml:"isDefault"`
			Editable bool           `yaml:"editable"`
			Data     map[string]any `yaml:"jsonData"`
		} `yaml:"datasources"`
	}
	if err := strictYAML("deploy/grafana/provisioning/datasources/prometheus.yml", &sources); err != nil {
		t.Fatal(err)
	}
	if sources.Version != 1 || len(sources.Sources) != 1 || sources.Sources[0].Type != "prometheus" ||
		sources.Sources[0].Access != "proxy" || !sources.Sources[0].Default {
		t.Errorf("the data sources are %+v, want one Prometheus, by proxy and the default", sources)
	}
	var boards struct {
		Version   int `yaml:"apiVersion"`
		Providers []struct {
			Name            string            `yaml:"name"`
			Folder          string            `yaml:"folder"`
			Type            string            `yaml:"type"`
			DisableDeletion bool              `yaml:"disableDeletion"`
			AllowUIUpdates  bool              `yaml:"allowUiUpdates"`
			Options         map[string]string `yaml:"options"`
		} `yaml:"providers"`
	}
	if err := strictYAML("deploy/grafana/provisioning/dashboards/shield.yml", &boards); err != nil {
		t.Fatal(err)
	}
	if boards.Version != 1 || len(boards.Providers) != 1 || boards.Providers[0].Type != "file" ||
		!strings.HasPrefix(boards.Providers[0].Options["path"], "/") {
		t.Errorf("the dashboards are from %+v, want one directory", boards)
	}
}
