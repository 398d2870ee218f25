package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/materi/shield/gateway/testbed"
)

// TestMain lets this test binary be the program shield inside of the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"shield": main})
}

// TestScripts runs testdata/*.txtar. Beside the commands of testscript they have
//
//	exits CODE ARGUMENT...   runs shield, which must end with this exit code
//	reachable URL            waits until a GET is answered with 200
//	schema FILE              FILE must be a JSON Schema that compiles
//	jsonlines FILE           each line of FILE must be a JSON object
//	hangup                   sends SIGHUP to what runs in the background
//	mode OCTAL FILE          FILE must have these permissions
//	says URL PATTERN         waits until a GET is answered with a text that matches
//
// and the variables PORT, a port that is free, and CHECKOUT, where this source is. The go
// command finds its caches in them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Cmds: commandsOfScripts, Setup: setupWith(t.TempDir()), RequireExplicitExec: true, RequireUniqueNames: true})
}

// TestPluginScripts runs testdata/plugin/*.txtar with the program as operators have it: with
// the race detector in it, compiling one plugin takes as long as all of these.
func TestPluginScripts(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "shield"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	with := setupWith(t.TempDir())
	testscript.Run(t, testscript.Params{
		Dir: "testdata/plugin", Cmds: commandsOfScripts, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", dir+string(os.PathListSeparator)+env.Getenv("PATH"))
			return with(env)
		},
	})
}

// TestPostgresScripts runs testdata/postgres/*.txtar, which have the URL of an empty schema
// in POSTGRES besides.
func TestPostgresScripts(t *testing.T) {
	url := testbed.Postgres(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/postgres", Cmds: commandsOfScripts, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("POSTGRES", url)
			return setup(env)
		},
	})
}

// setupWith makes the surroundings of a script. Scripts share the directory where commands keep
// what they compile.
func setupWith(cache string) func(*testscript.Env) error {
	return func(env *testscript.Env) error {
		env.Setenv("XDG_CACHE_HOME", cache)
		return setup(env)
	}
}

func setup(env *testscript.Env) error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(free.Addr().String())
	env.Setenv("PORT", port)
	return errors.Join(err, free.Close(), setupGo(env))
}

// setupGo lets scripts use the go command: their home is an empty directory.
func setupGo(env *testscript.Env) error {
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GOFLAGS"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		return err
	}
	for i, value := range strings.Split(strings.TrimRight(string(out), "\n"), "\n") {
		env.Setenv(names[i], value)
	}
	checkout, err := filepath.Abs("../..")
	env.Setenv("CHECKOUT", checkout)
	return err
}

var commandsOfScripts = map[string]func(*testscript.TestScript, bool, []string){
	"exits":     exits,
	"reachable": reachable,
	"schema":    isSchema,
	"jsonlines": jsonLines,
	"hangup":    hangup,
	"mode":      hasMode,
	"says":      says,
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGUMENT...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec("shield", args[1:]...)
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		got = failed.ExitCode()
	case err != nil:
		ts.Fatalf("shield %s: %v", strings.Join(args[1:], " "), err)
	}
	if got != want {
		ts.Fatalf("shield %s exits with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func reachable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: reachable URL")
	}
	until(ts, args[0], func(status int, _ []byte) bool { return status == http.StatusOK })
}

func says(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: says URL PATTERN")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	until(ts, args[0], func(_ int, body []byte) bool { return pattern.Match(body) })
}

// until asks until an answer is the one that is waited for.
func until(ts *testscript.TestScript, url string, holds func(status int, body []byte) bool) {
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	client := http.Client{Timeout: 5 * time.Second}
	last := errors.New("not asked")
	for {
		select {
		case <-deadline:
			ts.Fatalf("%s: %v", url, last)
		case <-again.C:
		}
		answer, err := client.Get(url)
		if err != nil {
			last = err
			continue
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err == nil && holds(answer.StatusCode, body) {
			return
		}
		last = fmt.Errorf("status %d, %v: %.2000s", answer.StatusCode, err, body)
	}
}

func hangup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 || len(ts.BackgroundCmds()) == 0 {
		ts.Fatalf("usage: hangup, with something in the background")
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGHUP))
	}
}

func hasMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%03o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

func isSchema(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: schema FILE")
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	compiler := jsonschema.NewCompiler()
	ts.Check(compiler.AddResource("schema.json", doc))
	_, err = compiler.Compile("schema.json")
	ts.Check(err)
}

func jsonLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: jsonlines FILE")
	}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("not a JSON object: %s", line)
		}
	}
}

func TestUsageNamesEveryCommand(t *testing.T) {
	var out strings.Builder
	code := run(t.Context(), nil, os.LookupEnv, &out, &out)
	if code != usage {
		t.Errorf("run() without a command = %d, want %d", code, usage)
	}
	for _, c := range commands() {
		if !strings.Contains(out.String(), "  "+c.name+" ") {
			t.Errorf("the usage does not name %q", c.name)
		}
	}
}
