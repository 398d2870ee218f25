package shield_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/materi/shield"

// imports are the packages that each package of the module imports outside of its tests. A
// package of the module is named by its path below the module: "gateway/edge".
type imports map[string][]string

// rule says which imports are allowed, and why.
type rule struct {
	why string
	// breaks reports whether a package may not import another. A package of the module has
	// no dot in the first part of its path, as in the standard library; see own.
	breaks func(from, to string) bool
}

// rules are the directions of the design: what a reader may rely on without reading on.
var rules = []rule{
	{
		"sdk is what authors of plugins build on; whatever it imported, each of them would import, and every guest would carry",
		func(from, to string) bool {
			return below(from, "sdk") && !standard(to) && !below(to, "sdk") && !(below(to, rpc...) && (from == "sdk/serve" || from == "sdk/wire/rpc"))
		},
	},
	{
		"a plugin that is a process speaks gRPC; whoever else did would have an entrance beside the one that is guarded",
		func(from, to string) bool {
			return below(to, rpc...) && from != "sdk/serve" && from != "sdk/wire/rpc" && !below(from, "gateway/plugin/process")
		},
	},
	{
		"sdk itself is plain data: the wire, the rules and the entry points depend on it, never the reverse",
		func(from, to string) bool { return from == "sdk" && !standard(to) },
	},
	{
		"config is given to every package in sections; if it imported one of ours, that one could not have its section",
		func(from, to string) bool { return below(from, "config") && own(to) && !below(to, "config") },
	},
	{
		"a plugin runs in a sandbox, or elsewhere: what it needs comes through sdk, or it could not be written outside this repository",
		func(from, to string) bool { return below(from, "plugins") && own(to) && !below(to, "sdk", "plugins") },
	},
	{
		"a plugin's library imports sdk alone; its transport is the shell's choice",
		func(from, to string) bool {
			return below(from, "plugins") && !strings.HasSuffix(from, "/cmd") && below(to, "sdk") && to != "sdk"
		},
	},
	{
		"an example shows what can be written outside this repository, where there is nothing but sdk",
		func(from, to string) bool {
			return below(from, "examples/plugins") && own(to) && !below(to, "sdk", "examples/plugins")
		},
	},
	{
		"the gateway knows no directory; the one plugin that asks some is no part of it",
		only("github.com/go-ldap/ldap", "examples/plugins/ldap"),
	},
	{
		"the gateway reaches plugins through files alone: a provider that is linked in is not sandboxed",
		func(from, to string) bool { return below(to, "plugins") && !below(from, "plugins") },
	},
	{
		"stores know the domains' types; a domain that knew its store could not be tested or kept without that one",
		func(from, to string) bool {
			return below(to, "gateway/store") && !below(from, "gateway/store", "cmd") && from != "gateway"
		},
	},
	{
		"nobody imports the assembly but the program",
		func(from, to string) bool { return to == "gateway" && !below(from, "cmd", "gateway/gatewaytest") },
	},
	{
		"fakes, suites and servers for tests have no place in the program, but for the suite of providers in the tools for their authors",
		func(from, to string) bool {
			suite := to == "sdk/providertest" && below(from, "gateway/plugin/trial", "cmd")
			return below(to, forTests...) && !below(from, forTests...) && !suite
		},
	},
	{
		"HTTP ends at the HTTP stages: a request's memory dies with it, so nothing below them may see a fasthttp type",
		only("github.com/valyala/fasthttp", "gateway/edge", "gateway/ratelimit", "gateway/access", "gateway/proxy",
			"gateway/identity", "gateway/admin", "gateway"),
	},
	{
		"tokens are signed and checked in one place, so that a fix to how is a fix to all",
		only("github.com/lestrrat-go/jwx", "gateway/token"),
	},
	{
		"signatures of XML are checked in one place: whoever parsed a document beside it would read what was not signed",
		only("github.com/russellhaering/goxmldsig", "gateway/xmlsig"),
	},
	{
		"XML as a tree is for canonical form alone, which is made in one place",
		only("github.com/beevik/etree", "gateway/xmlsig"),
	},
	{
		"Postgres is one of two engines; what only one of them can do must not leak out",
		only("github.com/jackc/pgx", "gateway/store/postgres", "gateway/testbed"),
	},
	{
		"SQLite is one of two engines; what only one of them can do must not leak out",
		only("modernc.org/sqlite", "gateway/store/sqlite"),
	},
	{
		"nothing is lost with Redis: only what may be lost is allowed to use it",
		only("github.com/redis/go-redis", "gateway/ratelimit", "gateway", "gateway/testbed"),
	},
	{
		"limits are counted in one place",
		only("github.com/go-redis/redis_rate", "gateway/ratelimit"),
	},
	{
		"the sandbox is one package, so that what a guest can reach is read in one place",
		only("github.com/tetratelabs/wazero", "gateway/plugin/wasm"),
	},
	{
		"mail leaves through one package",
		only("github.com/wneessen/go-mail", "gateway/mail"),
	},
	{
		"a configuration is read in one place, strictly; a second reader would be a second opinion. What compares manifests reads no configuration",
		only("go.yaml.in/yaml", "config", "deploy/verify/kubernetes"),
	},
	{
		"net/http is another HTTP, with other opinions on what a request is; it is for asking other issuers and what plugins may ask, not for serving",
		// edge takes names and formats from it; the program asks for its health; testbed and samlpeer are of tests
		only("net/http", "gateway/token", "gateway/plugin/egress", "gateway/edge", "gateway/testbed", "gateway/samlpeer", "cmd/shield", "examples", "deploy"),
	},
	{
		"secrets and tokens are drawn from crypto/rand alone",
		func(from, to string) bool {
			return (to == "math/rand" || to == "math/rand/v2") && !below(from, forTests...)
		},
	},
	{
		"the one logger is the injected slog.Logger",
		func(from, to string) bool { return to == "log" && below(from, "gateway", "config", "sdk", "plugins") },
	},
}

// rpc is what a plugin needs to be a process, on both sides.
var rpc = []string{"google.golang.org/grpc", "github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog"}

// forTests are the packages that exist for tests alone. They may know what they test; what
// imports them in tests is not looked at.
var forTests = []string{
	"gateway/testbed", "gateway/gatewaytest", "gateway/samlpeer", "gateway/store/storetest", "gateway/plugin/wasmtest", "gateway/plugin/hostile",
	"sdk/providertest",
}

// domains are the packages of the gateway with what each may know of the others. They are
// listed from the ones that know nobody to those that know many; an entry may name only
// earlier ones, so there is no circle. A new name in it is a new dependency: think twice.
var domains = []struct {
	name  string
	knows []string
}{
	{"gateway/seal", nil},
	{"gateway/route", nil},
	{"gateway/account", nil},
	{"gateway/audit", nil},
	{"gateway/password", nil},
	{"gateway/token", nil},
	{"gateway/xmlsig", nil},
	{"gateway/edge", []string{"gateway/route"}},
	{"gateway/admin", []string{"gateway/edge"}},
	{"gateway/access", []string{"gateway/edge", "gateway/token"}},
	{"gateway/proxy", []string{"gateway/edge"}},
	{"gateway/ratelimit", []string{"gateway/edge"}},
	{"gateway/session", []string{"gateway/seal"}},
	{"gateway/mail", []string{"gateway/seal"}},
	{"gateway/plugin/sandbox", nil},
	{"gateway/circuit", nil},
	{"gateway/plugin/egress", nil},
	{"gateway/plugin/wasm/meter", nil},
	{"gateway/plugin/wasm", []string{"gateway/plugin/sandbox", "gateway/plugin/wasm/meter"}},
	{"gateway/plugin/grant", []string{"gateway/circuit", "gateway/plugin/egress", "gateway/token", "gateway/xmlsig"}},
	{"gateway/plugin/process", []string{"gateway/plugin/sandbox"}},
	{"gateway/plugin/signature", nil},
	{"gateway/plugin/anatomy", nil},
	{"gateway/plugin/trial", []string{"gateway/plugin/anatomy", "gateway/plugin/process", "gateway/plugin/sandbox", "gateway/plugin/wasm"}},
	{"gateway/plugin", []string{"gateway/circuit", "gateway/plugin/egress", "gateway/plugin/grant", "gateway/plugin/process", "gateway/plugin/sandbox", "gateway/plugin/signature", "gateway/plugin/wasm"}},
	{"gateway/login", []string{"gateway/account", "gateway/audit", "gateway/mail", "gateway/plugin", "gateway/seal", "gateway/session"}},
	{"gateway/identity", []string{
		"gateway/access", "gateway/account", "gateway/edge", "gateway/login", "gateway/plugin", "gateway/ratelimit", "gateway/session", "gateway/token",
	}},
	{"gateway/store", []string{"gateway/account", "gateway/audit", "gateway/login", "gateway/mail", "gateway/plugin", "gateway/seal", "gateway/session"}},
	{"gateway/store/postgres", []string{"gateway/store"}},
	{"gateway/store/sqlite", []string{"gateway/store"}},
}

// own reports whether a package is of this module.
func own(p string) bool {
	return below(p, "gateway", "config", "sdk", "plugins", "cmd", "examples", "deploy")
}

func standard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !own(p) && !strings.Contains(first, ".")
}

// below reports whether a package is one of roots or lies below one.
func below(p string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return p == root || strings.HasPrefix(p, root+"/") })
}

// only breaks for packages that import dependency, or anything below it, without being one
// of those that may. "gateway" stands for the assembly alone; "cmd", "examples" and "deploy" for all
// below them.
func only(dependency string, may ...string) func(from, to string) bool {
	return func(from, to string) bool {
		if !below(to, dependency) {
			return false
		}
		return !slices.ContainsFunc(may, func(m string) bool {
			return from == m || (m == "cmd" || m == "examples" || m == "deploy") && below(from, m)
		})
	}
}

// faults holds imports to the rules and to domains.
func faults(all imports) []string {
	var out []string
	for from, list := range all {
		for _, to := range list {
			for _, r := range rules {
				if r.breaks(from, to) {
					out = append(out, fmt.Sprintf("%s imports %s: %s", from, to, r.why))
				}
			}
		}
		out = append(out, strangers(from, list)...)
	}
	slices.Sort(out)
	return out
}

// strangers are the packages of the gateway that one of them imports and that domains does
// not allow it to know.
func strangers(from string, list []string) []string {
	if !below(from, "gateway") || from == "gateway" || below(from, forTests...) {
		return nil
	}
	var out []string
	for _, d := range domains {
		if d.name != from {
			continue
		}
		for _, to := range list {
			if below(to, "gateway") && !slices.Contains(d.knows, to) {
				out = append(out, fmt.Sprintf("%s imports %s: it does not know that package yet; if it has to, say so in domains (imports_test.go)", from, to))
			}
		}
		return out
	}
	return []string{from + " is not among domains (imports_test.go): say what it may know"}
}

func TestImportsGoTheDesignedWay(t *testing.T) {
	all, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < len(domains) || len(all["gateway"]) == 0 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	for _, fault := range faults(all) {
		t.Error(fault)
	}
	for _, d := range domains {
		if _, ok := all[d.name]; !ok {
			t.Errorf("domains names %s, which is gone", d.name)
		}
	}
}

func TestDomainsHaveNoCircle(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range domains {
		for _, known := range d.knows {
			if !seen[known] {
				t.Errorf("%s knows %s, which stands after it", d.name, known)
			}
		}
		seen[d.name] = true
	}
}

// TestFaultsAreFound shows that each rule can fail.
func TestFaultsAreFound(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     string // part of the fault; empty: allowed
	}{
		{"sdk", "context", ""},
		{"sdk", "github.com/google/uuid", "authors of plugins"},
		{"sdk", "sdk/wire", "plain data"},
		{"sdk/wire", "sdk", ""},
		{"sdk/wire", "google.golang.org/protobuf/encoding/protowire", "authors of plugins"},
		{"sdk/serve", "config", "authors of plugins"},
		{"sdk/serve", "google.golang.org/grpc/status", ""},
		{"sdk/serve", "google.golang.org/protobuf/proto", "authors of plugins"},
		{"sdk/wire/rpc", "github.com/hashicorp/go-plugin", ""},
		{"sdk/wire", "google.golang.org/grpc", "authors of plugins"},
		{"gateway/plugin", "github.com/hashicorp/go-plugin", "speaks gRPC"},
		{"gateway/plugin/process", "google.golang.org/grpc/codes", ""},
		{"plugins/email", "google.golang.org/grpc", "speaks gRPC"},
		{"config", "gateway/route", "its section"},
		{"config", "go.yaml.in/yaml/v3", ""},
		{"gateway/route", "go.yaml.in/yaml/v3", "second opinion"},
		{"plugins/email", "sdk", ""},
		{"plugins/email", "sdk/serve", "shell's choice"},
		{"plugins/email/cmd", "sdk/serve", ""},
		{"plugins/email", "gateway/account", "through sdk"},
		{"plugins/email", "config", "through sdk"},
		{"examples/plugins/header", "gateway/account", "outside this repository"},
		{"examples/plugins/header/cmd", "sdk/serve", ""},
		{"examples/plugins/header", "github.com/go-ldap/ldap/v3", "no directory"},
		{"gateway/login", "github.com/go-ldap/ldap/v3", "no directory"},
		{"examples/plugins/ldap", "github.com/go-ldap/ldap/v3", ""},
		{"gateway", "plugins/email", "not sandboxed"},
		{"cmd/shield", "plugins/email", "not sandboxed"},
		{"gateway/session", "gateway/store", "without that one"},
		{"gateway/login", "gateway/store/postgres", "without that one"},
		{"gateway", "gateway/store/postgres", ""},
		{"cmd/shield", "gateway/store", ""},
		{"cmd/shield", "gateway", ""},
		{"gateway/admin", "gateway", "but the program"},
		{"gateway", "gateway/testbed", "no place in the program"},
		{"cmd/shield", "gateway/store/storetest", "no place in the program"},
		{"gateway/plugin", "sdk/providertest", "no place in the program"},
		{"gateway/plugin/trial", "sdk/providertest", ""},
		{"cmd/shield", "sdk/providertest", ""},
		{"gateway/session", "github.com/valyala/fasthttp", "fasthttp type"},
		{"gateway/login", "github.com/valyala/fasthttp/fasthttputil", "fasthttp type"},
		{"gateway/edge", "github.com/valyala/fasthttp", ""},
		{"cmd/shield", "github.com/valyala/fasthttp", "fasthttp type"},
		{"gateway/access", "github.com/lestrrat-go/jwx/v3/jwt", "a fix to all"},
		{"gateway/token", "github.com/lestrrat-go/jwx/v3/jws", ""},
		{"gateway/plugin", "github.com/russellhaering/goxmldsig/etreeutils", "what was not signed"},
		{"gateway/xmlsig", "github.com/russellhaering/goxmldsig/etreeutils", ""},
		{"gateway/token", "github.com/beevik/etree", "canonical form alone"},
		{"gateway/store", "github.com/jackc/pgx/v5", "one of two engines"},
		{"gateway/store/sqlite", "github.com/jackc/pgx/v5/pgconn", "one of two engines"},
		{"gateway/store/postgres", "modernc.org/sqlite", "one of two engines"},
		{"gateway/session", "github.com/redis/go-redis/v9", "lost with Redis"},
		{"gateway/identity", "github.com/go-redis/redis_rate/v10", "one place"},
		{"gateway/plugin", "github.com/tetratelabs/wazero", "the sandbox"},
		{"gateway/login", "github.com/wneessen/go-mail", "one package"},
		{"gateway/proxy", "net/http", "another HTTP"},
		{"gateway/plugin", "net/http", "another HTTP"},
		{"gateway/plugin/egress", "net/http", ""},
		{"gateway/plugin/egress", "gateway/plugin", "does not know"},
		{"examples/quickstart/upstream", "net/http", ""},
		{"gateway/session", "math/rand/v2", "crypto/rand"},
		{"gateway/store/storetest", "math/rand/v2", ""},
		{"gateway/mail", "log", "slog.Logger"},
		{"gateway/mail", "log/slog", ""},
		{"gateway/session", "gateway/mail", "does not know"},
		{"gateway/brand-new", "context", "not among domains"},
	} {
		got := faults(imports{c.from: {c.to}})
		if c.want == "" && len(got) > 0 {
			t.Errorf("%s imports %s: found %q, want nothing", c.from, c.to, got)
		}
		if c.want != "" && !slices.ContainsFunc(got, func(f string) bool { return strings.Contains(f, c.want) }) {
			t.Errorf("%s imports %s: found %q, want a fault with %q", c.from, c.to, got, c.want)
		}
	}
}

// TestGuestsLinkTheStandardLibraryAlone is about what a WASM module carries: package serve
// speaks gRPC as a process, and must not as a guest.
func TestGuestsLinkTheStandardLibraryAlone(t *testing.T) {
	for _, p := range []string{"./sdk/serve", "./plugins/email/cmd", "./plugins/saml/cmd"} {
		cmd := exec.Command("go", "list", "-deps", p)
		cmd.Env = append(cmd.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for dependency := range strings.FieldsSeq(string(out)) {
			dependency, ours := strings.CutPrefix(dependency, module+"/")
			if !ours && !standard(dependency) && !strings.HasPrefix(dependency, "vendor/") {
				t.Errorf("%s links %s into a guest", p, dependency)
			}
		}
	}
}

func TestListReadsPackages(t *testing.T) {
	got, err := read(strings.NewReader(`{"ImportPath":"` + module + `/a","Imports":["fmt","` + module + `/b"]} {"ImportPath":"` + module + `"}`))
	want := imports{"a": {"fmt", "b"}, "": nil}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("read() = %v, %v", diff, err)
	}
	if _, err := read(strings.NewReader(`{"ImportPath":`)); err == nil {
		t.Error("read() of half an object = nil, want an error")
	}
}

// list asks the go command, for the machine that it runs on and for the guests', since
// files that are built for one alone import, too.
func list() (imports, error) {
	all := imports{}
	for _, target := range [][]string{nil, {"GOOS=wasip1", "GOARCH=wasm"}} {
		patterns := []string{"./..."}
		if target != nil {
			patterns = []string{"./sdk/...", "./plugins/..."}
		}
		cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports"}, patterns...)...)
		cmd.Env = append(cmd.Environ(), target...)
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%v: %w", cmd, err)
		}
		found, err := read(strings.NewReader(string(out)))
		if err != nil {
			return nil, err
		}
		for p, list := range found {
			all[p] = append(all[p], list...)
		}
	}
	return all, nil
}

func read(r io.Reader) (imports, error) {
	all := imports{}
	decoder := json.NewDecoder(r)
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("output of go list: %w", err)
		}
		var list []string
		for _, to := range p.Imports {
			list = append(list, strings.TrimPrefix(to, module+"/"))
		}
		all[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")] = list
	}
}
