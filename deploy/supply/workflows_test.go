package supply

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const root = "../.."

// writes are the rights beyond reading the source that jobs have, and what for. A job that has
// them is given to nobody's pull request.
var writes = map[string][]string{
	"release.yml publish": {"contents", "packages", "id-token", "attestations"},
}

var (
	// pinned is an action by the digest of its commit, which nobody can move, and beside it the
	// version that the commit was released as.
	pinned  = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	version = regexp.MustCompile(`^# v\d+\.\d+\.\d+$`)
	// image is one by its digest.
	image = regexp.MustCompile(`^[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$`)
	// command is all that a step may run.
	command = regexp.MustCompile(`^(?:make ([a-z-]+)|(deploy/supply/[a-z-]+\.sh))$`)
	runner  = regexp.MustCompile(`^[a-z]+-\d[\d.]*$`)
)

// triggers are what may start a workflow. The others run what a stranger wrote with rights and
// secrets of the repository (pull_request_target, workflow_run, issue_comment).
var triggers = []string{"push", "pull_request", "schedule", "workflow_dispatch", "workflow_call"}

func TestWorkflowsAreAsNarrowAsCanBe(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github/workflows/*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	versions := map[string]string{} // of each action
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults(filepath.Base(file), text) {
			t.Error(fault)
		}
		for _, use := range regexp.MustCompile(`uses: ([^@\s]+)@(.*)`).FindAllStringSubmatch(string(text), -1) {
			if known, ok := versions[use[1]]; ok && known != use[2] {
				t.Errorf("%s: %s is %s here and %s elsewhere", file, use[1], use[2], known)
			}
			versions[use[1]] = use[2]
		}
	}
}

// TestBadWorkflowsAreRefused shows that each rule can fail.
func TestBadWorkflowsAreRefused(t *testing.T) {
	const good = `
on:
  pull_request:
permissions:
  contents: read
concurrency:
  group: ci
jobs:
  lint:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2
        with:
          persist-credentials: false
      - run: make lint
`
	if got := faults("ci.yml", []byte(good)); len(got) > 0 {
		t.Fatalf("a good workflow has faults: %q", got)
	}
	checkout := "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"
	for _, c := range []struct{ instead, of, want string }{
		{"actions/checkout@v6 # v6.0.2", checkout, "commit"},
		{"actions/checkout@de0fac2 # v6.0.2", checkout, "commit"},
		{"docker://alpine:3", checkout, "commit"},
		{"actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd", checkout, "version"},
		{"actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # main", checkout, "version"},
		{"true", "persist-credentials: false", "persist-credentials"},
		{"fetch-depth: 0", "persist-credentials: false", "persist-credentials"},
		{"permissions: write-all", "permissions:\n  contents: read", "permissions"},
		{"permissions: read-all", "permissions:\n  contents: read", "permissions"},
		{"permissions:\n  contents: write", "permissions:\n  contents: read", "permissions"},
		{"permissions:\n  contents: read\n  packages: read", "permissions:\n  contents: read", "permissions"},
		{"env: {}", "permissions:\n  contents: read", "permissions"},
		{"runs-on: ubuntu-24.04\n    permissions: write-all", "runs-on: ubuntu-24.04", "lint: permissions"},
		{"runs-on: ubuntu-24.04\n    permissions: {id-token: write}", "runs-on: ubuntu-24.04", "id-token"},
		{"pull_request_target:", "pull_request:", "pull_request_target"},
		{"workflow_run:", "pull_request:", "workflow_run"},
		{"on: [push, issue_comment]\n", "on:\n  pull_request:\n", "issue_comment"},
		{"on: pull_request_target\n", "on:\n  pull_request:\n", "pull_request_target"},
		{"- run: make lint TITLE='${{ github.event.pull_request.title }}'", "- run: make lint", "make lint TITLE"},
		{"- run: |\n          make lint\n          echo ${{ github.head_ref }}", "- run: make lint", "echo"},
		{"- run: curl -sSf https://example.com/install.sh | sh", "- run: make lint", "curl"},
		{"- run: make no-such-target", "- run: make lint", "no-such-target"},
		{"- run: deploy/supply/no-such.sh", "- run: make lint", "no-such.sh"},
		{"- run: make lint\n        env: {T: '${{ secrets.TOKEN }}'}", "- run: make lint", "secrets"},
		{"- run: make lint\n        shell: bash -c '${{ github.head_ref }}' {0}", "- run: make lint", "shell"},
		{"", "timeout-minutes: 5", "timeout"},
		{"", "concurrency:\n  group: ci\n", "concurrency"},
		{"runs-on: ubuntu-latest", "runs-on: ubuntu-24.04", "runs-on"},
		{"runs-on: self-hosted", "runs-on: ubuntu-24.04", "runs-on"},
		{"runs-on: ubuntu-24.04\n    container: debian:12", "runs-on: ubuntu-24.04", "container"},
		{"runs-on: ubuntu-24.04\n    container:\n      image: debian:12", "runs-on: ubuntu-24.04", "container"},
		{"runs-on: ubuntu-24.04\n    services:\n      db:\n        image: postgres:15", "runs-on: ubuntu-24.04", "services"},
		{"  lint:\n    uses: other/repository/.github/workflows/x.yml@main\n  more:", "  lint:", "commit"},
		{"  lint:\n    uses: ./.github/workflows/x.yml\n    secrets: inherit\n  more:", "  lint:", "secrets"},
		{"jobs: [", "jobs:", "line"},
	} {
		bad := strings.Replace(good, c.of, c.instead, 1)
		if bad == good {
			t.Errorf("%q is not in the good workflow", c.of)
			continue
		}
		got := faults("ci.yml", []byte(bad))
		if !slices.ContainsFunc(got, func(f string) bool { return strings.Contains(f, c.want) }) {
			t.Errorf("with %q: found %q, want a fault with %q", c.instead, got, c.want)
		}
	}
	publish := strings.NewReplacer("  lint:", "  publish:", "runs-on", "permissions: {contents: write}\n    runs-on").Replace(good)
	if got := faults("release.yml", []byte(publish)); len(got) != 1 || !strings.Contains(got[0], "pull request") {
		t.Errorf("a job that writes and is started by a pull request: found %q", got)
	}
	if got := faults("release.yml", []byte(strings.Replace(publish, "pull_request:", "push:", 1))); len(got) > 0 {
		t.Errorf("a job that may write: found %q", got)
	}
}

// faults tells what is wrong with a workflow.
func faults(file string, text []byte) (found []string) {
	fault := func(format string, args ...any) {
		found = append(found, file+": "+fmt.Sprintf(format, args...))
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		fault("%v", err)
		return found
	}
	if len(document.Content) == 0 {
		fault("is empty")
		return found
	}
	workflow := document.Content[0]

	started := names(at(workflow, "on"))
	for _, on := range started {
		if !slices.Contains(triggers, on) {
			fault("is started by %s, which runs what others wrote with our rights", on)
		}
	}
	for scope, right := range rights(at(workflow, "permissions")) {
		if scope != "contents" || right != "read" {
			fault("permissions: %s: %s for every job; give it to the one that needs it", scope, right)
		}
	}
	if at(workflow, "permissions") == nil {
		fault("permissions are not said, so they are what the repository's settings give")
	}
	if at(workflow, "concurrency", "group") == nil {
		fault("has no concurrency group")
	}
	if strings.Contains(string(text), "secrets.") || strings.Contains(string(text), "secrets:") {
		fault("uses secrets; there is github.token, which ends with the job")
	}
	for name, job := range pairs(at(workflow, "jobs")) {
		for _, f := range jobFaults(file+" "+name, job, started) {
			fault("%s: %s", name, f)
		}
	}
	return found
}

func jobFaults(name string, job *yaml.Node, started []string) (found []string) {
	fault := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for scope, right := range rights(at(job, "permissions")) {
		if right != "read" && !slices.Contains(writes[name], scope) || scope == "all" {
			fault("permissions: %s: %s is nowhere said to be needed", scope, right)
		}
		if right != "read" && slices.Contains(started, "pull_request") {
			fault("permissions: %s: %s for anybody's pull request", scope, right)
		}
	}
	if called := at(job, "uses"); called != nil {
		if !strings.HasPrefix(called.Value, "./") {
			found = append(found, actionFaults(called)...)
		}
		return found
	}
	if at(job, "timeout-minutes") == nil {
		fault("has no timeout-minutes")
	}
	if on := at(job, "runs-on"); on == nil || !runner.MatchString(on.Value) {
		fault("runs-on is not one version of one system")
	}
	if c := at(job, "container"); c != nil && (at(c, "image") == nil || !image.MatchString(at(c, "image").Value)) {
		fault("the container's image is not pinned by its digest")
	}
	if at(job, "services") != nil {
		fault("services are started by deploy/test/servers.sh, there as here")
	}
	steps := at(job, "steps")
	if steps == nil {
		fault("has no steps")
		return found
	}
	for _, step := range steps.Content {
		found = append(found, stepFaults(step)...)
	}
	return found
}

func stepFaults(step *yaml.Node) (found []string) {
	if action := at(step, "uses"); action != nil {
		found = actionFaults(action)
		persist := at(step, "with", "persist-credentials")
		if strings.HasPrefix(action.Value, "actions/checkout@") && (persist == nil || persist.Value != "false") {
			found = append(found, "checkout leaves its token to the other steps; set persist-credentials: false")
		}
		return found
	}
	if at(step, "shell") != nil {
		found = append(found, "a step has a shell of its own")
	}
	run := at(step, "run")
	if run == nil {
		return append(found, "a step neither uses nor runs anything")
	}
	// What comes from outside reaches a script as a variable, if at all: an expression would be
	// pasted into the text of the script.
	for line := range strings.Lines(run.Value) {
		said := command.FindStringSubmatch(strings.TrimSpace(line))
		switch {
		case said == nil:
			found = append(found, fmt.Sprintf("runs %q; a step calls make TARGET or a script of deploy/supply", strings.TrimSpace(line)))
		case said[1] != "" && !hasTarget(said[1]):
			found = append(found, "the Makefile has no target "+said[1])
		case said[2] != "":
			if _, err := os.Stat(filepath.Join(root, said[2])); err != nil {
				found = append(found, err.Error())
			}
		}
	}
	return found
}

func actionFaults(uses *yaml.Node) (found []string) {
	if !pinned.MatchString(uses.Value) {
		found = append(found, fmt.Sprintf("%s is not pinned by the 40 digits of a commit", uses.Value))
	}
	if !version.MatchString(uses.LineComment) {
		found = append(found, fmt.Sprintf("%s has no comment with its version, like # v1.2.3", uses.Value))
	}
	return found
}

func hasTarget(name string) bool {
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	return err == nil && regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+`:`).Match(text)
}

// at is what a node has at a path of keys, or nil.
func at(node *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		node = pairs(node)[key]
	}
	return node
}

func pairs(node *yaml.Node) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	if node == nil || node.Kind != yaml.MappingNode {
		return out
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		out[node.Content[i].Value] = node.Content[i+1]
	}
	return out
}

// names are the triggers of a workflow, which can be written in three ways.
func names(node *yaml.Node) (out []string) {
	switch {
	case node == nil:
	case node.Kind == yaml.ScalarNode:
		out = append(out, node.Value)
	case node.Kind == yaml.SequenceNode:
		for _, each := range node.Content {
			out = append(out, each.Value)
		}
	default:
		for name := range pairs(node) {
			out = append(out, name)
		}
	}
	return out
}

// rights are the permissions that a node gives; read-all and write-all stand for every one.
func rights(node *yaml.Node) map[string]string {
	out := map[string]string{}
	if node != nil && node.Kind == yaml.ScalarNode {
		out["all"] = node.Value
	}
	for scope, right := range pairs(node) {
		if right.Value != "none" {
			out[scope] = right.Value
		}
	}
	return out
}

// TestGoIsTheSameEverywhere: the binary of a release is made by one version, which has the
// mended standard library that the vulnerabilities were looked up for.
func TestGoIsTheSameEverywhere(t *testing.T) {
	read := func(file string) string {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := strings.TrimSpace(read(".go-version"))
	builder := strings.TrimSpace(read("deploy/supply/builder"))
	if !image.MatchString(builder) || !strings.HasPrefix(builder, "golang:"+want+"-") {
		t.Errorf("deploy/supply/builder is %s, want golang:%s-... by its digest", builder, want)
	}
	if !strings.Contains(read(".github/workflows/ci.yml"), "image: "+builder+"\n") {
		t.Errorf("the container of ci.yml is not %s", builder)
	}
}

// TestDependenciesAreRenewed: each folder with dependencies is named in dependabot.yml.
func TestDependenciesAreRenewed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, ".github/dependabot.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Version int
		Updates []struct {
			Ecosystem   string   `yaml:"package-ecosystem"`
			Directory   string   `yaml:"directory"`
			Directories []string `yaml:"directories"`
			Schedule    struct{ Interval, Day string }
			Cooldown    struct {
				Days int `yaml:"default-days"`
			}
			Groups map[string]struct{ Patterns []string }
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&config); err != nil {
		t.Fatal(err)
	}
	if config.Version != 2 {
		t.Errorf("version is %d, want 2", config.Version)
	}
	renewed := func(ecosystem, dir string) bool {
		for _, u := range config.Updates {
			for _, pattern := range append(u.Directories, u.Directory) {
				if ok, _ := filepath.Match(pattern, dir); ok && u.Ecosystem == ecosystem {
					return true
				}
			}
		}
		return false
	}
	ecosystems := map[string]string{
		"go.mod": "gomod", "package-lock.json": "npm", "Cargo.lock": "cargo", "Dockerfile": "docker",
		"docker-compose.yml": "docker-compose", "ci.yml": "github-actions",
	}
	seen := 0
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "build", "data", "node_modules", "testdata"}, entry.Name()):
			return fs.SkipDir
		}
		ecosystem, ok := ecosystems[entry.Name()]
		if !ok {
			return nil
		}
		seen++
		dir := strings.TrimPrefix(filepath.Dir(file), root)
		if dir == "" || ecosystem == "github-actions" {
			dir = "/"
		}
		if !renewed(ecosystem, dir) {
			t.Errorf("dependabot.yml does not name %s of %s", dir, ecosystem)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 5 || renewed("gomod", "/sdk") || renewed("npm", "/") {
		t.Errorf("found %d files with dependencies; a folder that is not named counts as renewed", seen)
	}
}
