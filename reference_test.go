package shield_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/access"
	"github.com/materi/shield/gateway/identity"
)

var update = flag.Bool("update", false, "write the generated parts of the documentation anew")

// TestReferenceIsCurrent compares the parts of pages that are made from the code with the
// code. go test . -run Reference -update writes them anew.
func TestReferenceIsCurrent(t *testing.T) {
	for _, r := range []struct {
		page, name string
		make       func() (string, error)
	}{
		{"docs/configuration.md", "configuration", configurationTables},
		{"docs/clients.md", "endpoints", endpointTable},
		{"docs/operations.md", "metrics", metricTable},
		{"docs/operations.md", "commands", commandList},
		{"docs/monitoring.md", "alerts", alertTable},
		{"docs/configuration.md", "limits", limitTable},
		{"README.md", "quickstart", quickstartFile},
	} {
		t.Run(r.name, func(t *testing.T) {
			want, err := r.make()
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(r.page)
			if err != nil {
				t.Fatal(err)
			}
			begin, end := "<!-- made from the code: "+r.name+" -->\n", "<!-- end of "+r.name+" -->\n"
			before, rest, ok := strings.Cut(string(text), begin)
			got, after, ok2 := strings.Cut(rest, end)
			if !ok || !ok2 {
				t.Fatalf("%s has no part between %q and %q", r.page, begin, end)
			}
			if *update && got != want {
				if err := os.WriteFile(r.page, []byte(before+begin+want+end+after), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s is not current: run go test . -run Reference -update\n%s", r.page, diff)
			}
		})
	}
}

// property is what the JSON Schema of the configuration says of a key.
type property struct {
	Default    any                 `json:"default"`
	Properties map[string]property `json:"properties"`
	Items      *property           `json:"items"`
}

// configurationTables has one table for each section, in the order of the structs. Words
// come from their tags, defaults from the schema.
func configurationTables() (string, error) {
	var schema property
	if err := json.Unmarshal(config.Schema(), &schema); err != nil {
		return "", err
	}
	var b strings.Builder
	section(&b, "", "Keys at the top", "", reflect.TypeFor[config.Config](), schema)
	return b.String(), nil
}

func section(b *strings.Builder, path, title, about string, t reflect.Type, schema property) {
	type child struct {
		path, about string
		t           reflect.Type
		schema      property
	}
	var rows []string
	var children []child
	for i := range t.NumField() {
		field := t.Field(i)
		key := field.Tag.Get("yaml")
		p := schema.Properties[key]
		name := strings.TrimPrefix(path+"."+key, ".")
		switch {
		case len(p.Properties) > 0:
			children = append(children, child{name, field.Tag.Get("doc"), field.Type, p})
		case p.Items != nil && len(p.Items.Properties) > 0:
			children = append(children, child{name + "[]", field.Tag.Get("doc"), field.Type.Elem(), *p.Items})
		default:
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", key, defaultOf(p, field), meaning(field.Tag)))
		}
	}
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n### %s\n\n", title)
		if about != "" {
			fmt.Fprintf(b, "%s\n\n", about)
		}
		b.WriteString("| Key | Default | Meaning |\n|---|---|---|\n" + strings.Join(rows, ""))
	}
	for _, c := range children {
		section(b, c.path, "`"+c.path+"`", c.about, c.t, c.schema)
	}
	if path == "" {
		b.WriteString("\n")
	}
}

// defaultOf is empty for text that has none, or whose default follows from other keys.
func defaultOf(p property, field reflect.StructField) string {
	if field.Tag.Get("required") == "true" {
		return "**required**"
	}
	switch d := p.Default.(type) {
	case nil:
		switch field.Type.Kind() { // the schema leaves out what is zero
		case reflect.Bool:
			return "`false`"
		case reflect.Int, reflect.Int64:
			return "`0`"
		}
		return ""
	case []any:
		var words []string
		for _, item := range d {
			words = append(words, fmt.Sprint(item))
		}
		return "`[" + strings.Join(words, ", ") + "]`"
	case float64:
		return "`" + strconv.FormatFloat(d, 'f', -1, 64) + "`"
	default:
		return fmt.Sprintf("`%v`", d)
	}
}

func meaning(tag reflect.StructTag) string {
	text := strings.ReplaceAll(tag.Get("doc"), "|", `\|`)
	if enum := tag.Get("enum"); enum != "" {
		text += " One of `" + strings.ReplaceAll(enum, ",", "`, `") + "`."
	}
	least, most := tag.Get("min"), tag.Get("max")
	switch {
	case least != "" && most != "":
		text += fmt.Sprintf(" From %s to %s.", least, most)
	case least != "" && least != "0":
		text += fmt.Sprintf(" At least %s.", least)
	}
	if env := tag.Get("env"); env != "" {
		text += " Environment: `" + env + "`."
	}
	return text
}

// quickstartFile is the configuration of the quickstart.
func quickstartFile() (string, error) {
	text, err := os.ReadFile("examples/quickstart/shield.yaml")
	return "```yaml\n" + string(text) + "```\n", err
}

// commandList is what the program says of itself.
func commandList() (string, error) {
	built, err := programs()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	cmd := exec.Command(filepath.Join(built, "shield"))
	cmd.Stderr = &out
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 2 {
		return "", fmt.Errorf("shield without a command: %w", err)
	}
	return "```text\n" + out.String() + "```\n", nil
}

// limitTable lists the built-in limits. What they count by is the endpoints' choice.
func limitTable() (string, error) {
	by := map[string]string{
		"login": "address and account together", "login-ip": "address", "login-account": "account", "register": "address", "password-reset": "address",
		"magic-link": "address", "verify-resend": "address", "refresh": "session", "sso": "address",
	}
	var b strings.Builder
	b.WriteString("\n| Name | Limit | Counted by |\n|---|---|---|\n")
	for _, l := range config.Default().RateLimits {
		if by[l.Name] == "" {
			return "", fmt.Errorf("nobody says what the limit %s counts by", l.Name)
		}
		period := strings.TrimSuffix(strings.TrimSuffix(l.Period.String(), "0s"), "0m")
		fmt.Fprintf(&b, "| `%s` | %d in %s | %s |\n", l.Name, l.Limit, period, by[l.Name])
	}
	b.WriteString("\n")
	return b.String(), nil
}

// endpointTable lists the gateway's own endpoints.
func endpointTable() (string, error) {
	var b strings.Builder
	b.WriteString("\n| Call | Access token | Name in metrics |\n|---|---|---|\n")
	for _, e := range new(identity.API).Endpoints() {
		token := map[access.Auth]string{access.Required: "needed", access.Optional: "of a link"}[e.Auth]
		fmt.Fprintf(&b, "| `%s %s` | %s | `%s` |\n", e.Method, e.Pattern, token, e.Name)
	}
	b.WriteString("\n")
	return b.String(), nil
}

// metric is one that the code registers.
type metric struct{ name, kind, help, labels string }

// metrics returns the metrics that the code makes, by their names.
func metrics() (map[string]metric, error) {
	all := map[string]metric{}
	err := eachFile("gateway", func(file *ast.File) error {
		var failed error
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && failed == nil {
				var m metric
				if m, failed = metricOf(call); m.name != "" {
					if before, ok := all[m.name]; ok && before.labels != m.labels {
						failed = fmt.Errorf("%s is made twice, with other labels", m.name)
					}
					if all[m.name].help == "" {
						all[m.name] = m
					}
				}
			}
			return failed == nil
		})
		return failed
	})
	return all, err
}

// metricTable lists the metrics with their labels.
func metricTable() (string, error) {
	all, err := metrics()
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("\n| Metric | Kind | Labels | What it says |\n|---|---|---|---|\n")
	for _, name := range names {
		m := all[name]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, m.labels, m.help)
	}
	b.WriteString("\n")
	return b.String(), nil
}

// metricOf reads a call such as prometheus.NewCounterVec(prometheus.CounterOpts{Name: ...},
// []string{...}). It fails on a metric whose name or labels it cannot read.
func metricOf(call *ast.CallExpr) (metric, error) {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || fmt.Sprint(fun.X) != "prometheus" || !strings.HasPrefix(fun.Sel.Name, "New") || len(call.Args) == 0 {
		return metric{}, nil
	}
	opts, ok := call.Args[0].(*ast.CompositeLit)
	if !ok {
		return metric{}, nil // NewRegistry and the like
	}
	kind := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(fun.Sel.Name, "New"), "Vec"), "Func")
	m := metric{kind: strings.ToLower(kind)}
	for _, element := range opts.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch fmt.Sprint(pair.Key) {
		case "Name":
			m.name = text(pair.Value)
		case "Help":
			m.help = text(pair.Value)
		}
	}
	if m.name == "" || m.help == "" {
		return metric{}, fmt.Errorf("a metric has no name or no help that can be read: %v", opts.Type)
	}
	if !strings.HasSuffix(fun.Sel.Name, "Vec") {
		return m, nil
	}
	labels, ok := call.Args[1].(*ast.CompositeLit)
	if !ok {
		return metric{}, fmt.Errorf("%s: its labels cannot be read", m.name)
	}
	var names []string
	for _, element := range labels.Elts {
		names = append(names, "`"+text(element)+"`")
	}
	m.labels = strings.Join(names, ", ")
	return m, nil
}

// text returns the value of a string literal.
func text(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return s
}

// eachFile parses the Go files below a directory that are not tests.
func eachFile(root string, do func(*ast.File) error) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "storetest") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		return do(file)
	})
}

var publicCode = regexp.MustCompile(`^[A-Z]{2,}(_[A-Z]+)+$`)

// TestEveryCodeIsDocumented compares the codes of docs/clients.md with those that the code
// of the request path can answer.
func TestEveryCodeIsDocumented(t *testing.T) {
	made := map[string]bool{}
	for _, root := range []string{
		"gateway/edge", "gateway/access", "gateway/account", "gateway/identity", "gateway/login", "gateway/proxy", "gateway/ratelimit", "sdk/host.go",
	} {
		err := eachFile(root, func(file *ast.File) error {
			ast.Inspect(file, func(n ast.Node) bool {
				if e, ok := n.(ast.Expr); ok && publicCode.MatchString(text(e)) {
					made[text(e)] = true
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile("docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		told[m[1]] = true
	}
	if diff := cmp.Diff(made, told); diff != "" {
		t.Errorf("the codes of docs/clients.md (+) are not those of the code (-):\n%s", diff)
	}
}

// checkLogFields holds the access records of a log to the list of docs/operations.md.
func checkLogFields(t *testing.T, log string) {
	t.Helper()
	page, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(page), "<!-- fields of the access record -->")
	list, _, _ = strings.Cut(list, "<!-- end of fields -->")
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(list, -1) {
		told[m[1]] = true
	}
	for line := range strings.Lines(log) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil || record["msg"] != "request" {
			continue
		}
		for field := range record {
			if !told[field] {
				t.Errorf("docs/operations.md does not tell the field %q of the access record", field)
				told[field] = true // once
			}
		}
	}
}
