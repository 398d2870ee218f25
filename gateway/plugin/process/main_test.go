package process

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// workspace holds the plugins of the whole run.
var workspace string

func TestMain(m *testing.M) {
	if dir := os.Getenv("SHIELD_TEST_GATEWAY"); dir != "" {
		os.Exit(gatewayThatIsKilled(dir))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "shield-process-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for _, path := range []string{"../wasm/testdata/guest", "./testdata/rogue"} {
		if _, err := wasmtest.BuildProcess(path, dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	workspace = dir
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// logged is a log that tests can read.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var everything = []sdk.Capability{sdk.CapabilityKV, sdk.CapabilityPassword, sdk.CapabilityLog}

// quick is a pace at which tests need not wait.
func quick() pace {
	p := usual()
	p.first, p.ceiling = time.Millisecond, 20*time.Millisecond
	return p
}

func options(t testing.TB, file string) Options {
	t.Helper()
	return Options{
		Name: "test", File: file, Digest: digest(t, file), Granted: everything, Memory: 32 << 20,
		Timeout: 10 * time.Second, Wait: 10 * time.Second, Instances: 2, Dir: directory(t),
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
}

// directory is a private directory whose path is short enough for sockets.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "p")
}

func guest() string { return filepath.Join(workspace, "guest") }

func digest(t testing.TB, file string) [sha256.Size]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// rogue returns a plugin that breaks the protocol in one way.
func rogue(t testing.TB, mode string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(workspace, "rogue"))
	if err != nil {
		t.Fatal(err)
	}
	return program(t, string(b)+"\nmode:"+mode)
}

// program writes a file that can be run.
func program(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func opened(t testing.TB, opts Options, pace pace) *Process {
	t.Helper()
	p, err := open(context.Background(), opts, pace)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// act lets the guest do something and returns the subject that it answers with.
func act(p *Process, host sandbox.Host, what, arg string) (string, error) {
	return actContext(context.Background(), p, host, what, arg)
}

func actContext(ctx context.Context, p *Process, host sandbox.Host, what, arg string) (string, error) {
	out, err := p.Call(ctx, wire.Begin, request(what, arg), host)
	if err != nil {
		return "", err
	}
	reply, err := wire.DecodeReply(out)
	if err != nil {
		return "", err
	}
	if reply.Error != nil {
		return "", reply.Error
	}
	if reply.Step.Done == nil {
		return "", fmt.Errorf("step is %q", reply.Step.Kind())
	}
	return reply.Step.Done.Identity.Subject, nil
}

func request(what, arg string) []byte {
	return wire.EncodeCall(wire.Call{
		Flow:    sdk.Flow{ID: "flow", Kind: sdk.FlowLogin, Form: "act"},
		Request: sdk.Request{Fields: map[string]string{"act": what, "arg": arg}},
	})
}

// hostFunc is a host of one function.
type hostFunc func(ctx context.Context, f wire.Function, in []byte) ([]byte, error)

func (h hostFunc) Serve(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	return h(ctx, f, in)
}

// eventually waits until something holds, looking at it again whenever the clock ticks.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("never: %s", what)
		}
	}
}

// gatewayThatIsKilled is a process of its own that has a plugin and is then killed. It says
// which process the plugin is.
func gatewayThatIsKilled(dir string) int {
	file := os.Getenv("SHIELD_TEST_PLUGIN")
	b, err := os.ReadFile(file)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	p, err := open(context.Background(), Options{
		Name: "test", File: file, Digest: sha256.Sum256(b), Memory: 32 << 20, Timeout: time.Minute, Instances: 1,
		Dir: dir, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}, quick())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(pid(p))
	select {}
}
