package wasm

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// workspace holds the guests and the compile cache of the whole run.
var workspace string

func TestMain(m *testing.M) {
	os.Exit(wasmtest.Main(m, func(dir string) { workspace = dir }, "./testdata/guest", "./testdata/quiet"))
}

func guest(t testing.TB, name string) []byte {
	t.Helper()
	code, err := os.ReadFile(filepath.Join(workspace, name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

var everything = sdk.Capabilities()

func options(code []byte) Options {
	return Options{
		Name: "test", Code: code, Granted: everything, Memory: 32 << 20,
		Timeout: 10 * time.Second, Wait: 10 * time.Second, Instances: 2, Fuel: 1 << 60,
		CacheDir: filepath.Join(workspace, "cache"),
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// both runs a test with each way to interrupt a module.
func both(t *testing.T, run func(t *testing.T, options func(code []byte) Options)) {
	t.Helper()
	for name, strategy := range map[string]Interruption{"metered": Metered, "deadline": Deadline} {
		t.Run(name, func(t *testing.T) {
			run(t, func(code []byte) Options {
				opts := options(code)
				opts.Interruption = strategy
				return opts
			})
		})
	}
}

func open(t testing.TB, opts Options) *Module {
	t.Helper()
	m, err := Open(context.Background(), opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m
}

// act lets the guest do something and returns the subject that it answers with.
func act(m *Module, host sandbox.Host, what, arg string) (string, error) {
	return actContext(context.Background(), m, host, what, arg)
}

func actContext(ctx context.Context, m *Module, host sandbox.Host, what, arg string) (string, error) {
	out, err := m.Call(ctx, wire.Begin, request(what, arg), host)
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
