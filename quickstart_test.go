package shield_test

import (
	"bytes"
	"context"
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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/materi/shield/gateway/testbed"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// buildDir is where programs built; empty: no test wanted any.
var buildDir string

// programs builds what make build builds, once, into a directory of its own.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "shield-build-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	for _, b := range []struct {
		env  []string
		args []string
	}{
		{nil, []string{"-o", filepath.Join(dir, "shield"), "./cmd/shield"}},
		{nil, []string{"-o", filepath.Join(dir, "upstream"), "./examples/quickstart/upstream"}},
		{
			[]string{"GOOS=wasip1", "GOARCH=wasm"},
			[]string{"-buildmode=c-shared", "-ldflags=-s -w", "-o", filepath.Join(dir, "plugins/email.wasm"), "./plugins/email/cmd"},
		},
	} {
		cmd := exec.Command("go", append([]string{"build", "-trimpath"}, b.args...)...)
		cmd.Env = append(os.Environ(), b.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", errors.Join(fmt.Errorf("%v: %w\n%s", cmd, err, out), os.RemoveAll(dir))
		}
	}
	return dir, nil
})

// quickstart is a gateway that runs from examples/quickstart, with its upstream, on ports
// and in a directory of its own. The directory looks like a checkout in which make build
// was run.
type quickstart struct {
	dir              string
	address          string // of the gateway: host:port
	upstream         string
	env              []string // of everything that runs here
	gateway, service *process
}

// newQuickstart makes the directory and chooses the ports. The environment of the test is
// not passed on but for what programs need to run, so that a DATABASE_URL of the suite does
// not decide which database is meant.
func newQuickstart(t *testing.T, env ...string) *quickstart {
	t.Helper()
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	q := &quickstart{dir: t.TempDir(), address: freeAddress(t), upstream: freeAddress(t)}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "build" || e.Name() == "data" || e.Name() == ".git" {
			continue
		}
		if err := os.Symlink(filepath.Join(here, e.Name()), filepath.Join(q.dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(built, filepath.Join(q.dir, "build")); err != nil {
		t.Fatal(err)
	}
	q.takeCache(t, built)
	q.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "LC_ALL=C",
		"SHIELD_LISTEN=" + q.address,
		"SHIELD_PUBLIC_URL=http://" + q.address,
		"SHIELD_UPSTREAM=http://" + q.upstream,
		"SHIELD_DATA=" + filepath.Join(q.dir, "data"),
		"SHIELD_PLUGINS=" + filepath.Join(built, "plugins"),
	}, env...)
	return q
}

// start runs upstream and gateway until the test ends, and returns when both are ready.
func (q *quickstart) start(t *testing.T) {
	t.Helper()
	q.service = q.run(t, "build/upstream", "-listen", q.upstream)
	q.gateway = q.run(t, "build/shield", "serve", "-config", "examples/quickstart/shield.yaml")
	q.gateway.waitFor(t, "http://"+q.upstream+"/")
	q.gateway.waitFor(t, "http://"+q.address+"/ready/")
	q.keepCache(t)
}

// cacheMutex guards the compiled plugin that the gateways of all tests share: compiling it
// takes more than a second.
var cacheMutex sync.Mutex

// takeCache gives the gateway what another one compiled, if there was one.
func (q *quickstart) takeCache(t *testing.T, built string) {
	t.Helper()
	cacheMutex.Lock()
	defer cacheMutex.Unlock()
	kept := filepath.Join(built, "cache")
	if _, err := os.Stat(kept); err != nil {
		return
	}
	cache := filepath.Join(q.dir, "data/cache")
	err := errors.Join(os.CopyFS(cache, os.DirFS(kept)), os.Chmod(filepath.Dir(cache), 0o700), os.Chmod(cache, 0o700))
	if err != nil {
		t.Fatal(err)
	}
}

// keepCache keeps what the gateway compiled.
func (q *quickstart) keepCache(t *testing.T) {
	t.Helper()
	cacheMutex.Lock()
	defer cacheMutex.Unlock()
	kept := filepath.Join(q.dir, "build/cache")
	if _, err := os.Stat(kept); err == nil {
		return
	}
	if err := os.CopyFS(kept, os.DirFS(filepath.Join(q.dir, "data/cache"))); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// process is a program that runs beside the test.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; to be read after done

	mu  sync.Mutex
	log bytes.Buffer // what it wrote, both streams
}

func (q *quickstart) run(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("./"+program, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = q.dir, q.env
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it starts ends with it
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // nothing, if all have ended
		<-p.done
		if t.Failed() {
			t.Logf("%s wrote, without the probes:\n%s", program, probes.ReplaceAllString(p.output(), ""))
		}
	})
	return p
}

var probes = regexp.MustCompile(`(?m)^.*"route":"ready".*\n`)

// Write keeps what the program writes.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// waitFor asks until the answer is 200.
func (p *process) waitFor(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		status, err := get(ctx, url)
		if status == http.StatusOK {
			return
		}
		select {
		case <-again.C:
		case <-p.done:
			t.Fatalf("%s: the gateway ended: %v", url, p.err)
		case <-ctx.Done():
			t.Fatalf("%s: status %d, %v", url, status, err)
		}
	}
}

// waitToSay waits until the program has written text.
func (p *process) waitToSay(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(time.Minute)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !strings.Contains(p.output(), text) {
		select {
		case <-again.C:
		case <-p.done:
			t.Fatalf("it ended: %v", p.err)
		case <-deadline:
			t.Fatalf("it does not say %q", text)
		}
	}
}

func get(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, errors.Join(err, answer.Body.Close())
}

// stop asks the program to end and waits until it has.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(40 * time.Second):
		t.Fatal("the gateway does not end")
	}
	if p.err != nil {
		t.Errorf("the gateway ended with %v", p.err)
	}
}

func TestWalkthroughOnSQLite(t *testing.T) {
	t.Parallel()
	walk(t)
}

func TestWalkthroughOnPostgresAndRedis(t *testing.T) {
	t.Parallel()
	redis, _ := testbed.Redis(t) // keys are made with the secret of the installation, so no prefix is needed
	walk(t, "DATABASE_URL="+testbed.Postgres(t), "REDIS_URL="+redis)
}

// TestRunPrintsLinesThatWork starts what make run starts, and types what it says to type.
func TestRunPrintsLinesThatWork(t *testing.T) {
	t.Parallel()
	q := newQuickstart(t)
	script := q.run(t, "examples/quickstart/run.sh")
	script.waitFor(t, "http://"+q.address+"/ready/")
	script.waitToSay(t, "walkthrough.sh")
	var typed []string
	for line := range strings.Lines(script.output()) {
		if command, ok := strings.CutPrefix(line, "  "); ok && !strings.HasPrefix(command, " ") {
			typed = append(typed, command)
		}
	}
	if len(typed) < 4 {
		t.Fatalf("make run says what to type in %d lines, want at least 4", len(typed))
	}
	commands := prelude + "fail=--fail-with-body\n"
	for _, command := range typed {
		if strings.Contains(command, ".eml") {
			commands += "new_mail\n"
		}
		commands += command
	}
	cmd := exec.Command("bash", "-c", commands)
	cmd.Dir, cmd.Env = q.dir, q.env
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"X-User-Email": "ann@example.com"`) {
		t.Errorf("what make run says to type: %v\n%s\n%s", err, strings.Join(typed, ""), out)
	}
	script.stop(t)
	if _, err := get(t.Context(), "http://"+q.upstream+"/"); err == nil {
		t.Error("the upstream goes on after make run has ended")
	}
}

// walk runs the quickstart's walkthrough against a gateway, and then looks at its log.
func walk(t *testing.T, env ...string) {
	q := newQuickstart(t, env...)
	q.start(t)
	cmd := exec.Command("bash", "examples/quickstart/walkthrough.sh")
	cmd.Dir = q.dir
	cmd.Env = append(q.env, "BASE=http://"+q.address, "MAIL="+filepath.Join(q.dir, "data/mail"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "All as it should be.") {
		t.Fatalf("the walkthrough: %v\n%s", err, out)
	}
	q.gateway.stop(t)
	checkLog(t, q.gateway.output())
}

// checkLog holds the log to what is promised of it: JSON objects, and no secrets.
func checkLog(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("the log has a line that is no JSON object: %s", line)
		}
	}
	for _, secret := range []string{"eyJ", "@example.com", "correct horse", "PRIVATE KEY", "/auth/verify/"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}
