package hostile_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/hostile"
	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/gateway/plugin/wasm"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
	"github.com/materi/shield/sdk/wire"
)

var workspace string

func TestMain(m *testing.M) {
	os.Exit(wasmtest.Main(m, func(dir string) { workspace = dir }))
}

func open(ctx context.Context, code []byte) (*wasm.Module, error) {
	return wasm.Open(ctx, wasm.Options{
		Name: "hostile", Code: code, Granted: sdk.Capabilities(), Memory: 16 << 20, Timeout: 5 * time.Second, Fuel: 1 << 50,
		Wait: time.Second, Instances: 1, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Prepare: prepare,
	})
}

// prepare asks what the gateway asks of a new instance.
func prepare(ctx context.Context, call sandbox.Caller) error {
	out, err := call(ctx, wire.Describe, nil)
	if err != nil {
		return err
	}
	m, err := wire.DecodeManifest(out)
	if err != nil {
		return err
	}
	if err := contract.Manifest(m); err != nil {
		return err
	}
	_, err = call(ctx, wire.Configure, wire.EncodeSettings([]byte("{}")))
	return err
}

func read(t *testing.T, file string, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestAttacksWhileLoadingFail(t *testing.T) {
	harmless := map[hostile.Attack]bool{
		hostile.NotDeclared:    true, // the gateway compares imports and manifest later
		hostile.AsksInDescribe: true, // it is told no, and goes on
	}
	for a := hostile.Attack(1); int(a) <= hostile.Attacks; a++ {
		file, err := hostile.Load(workspace, a)
		code := read(t, file, err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		m, err := open(ctx, code)
		cancel()
		if (err == nil) != harmless[a] {
			t.Errorf("attack %d: Open() = %v", a, err)
		}
		if err == nil {
			_ = m.Close(t.Context())
		}
	}
	if _, err := open(t.Context(), hostile.Memory()); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("4 GiB of memory: Open() = %v, want that it is too much", err)
	}
}

// host has nothing, and is asked by nobody in the right way.
type host struct{}

func (host) Serve(_ context.Context, f wire.Function, request []byte) ([]byte, error) {
	if f == wire.HTTPFetch || f == wire.KVGet || f == wire.KVSet {
		return nil, sdk.ErrDenied
	}
	return nil, wire.ErrMalformed
}

// The acts are what their names say: which error of the sandbox each is, or which of the
// contract.
func TestActsAreWhatTheirNamesSay(t *testing.T) {
	file, err := hostile.Acts(workspace)
	m, err := open(t.Context(), read(t, file, err))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close(context.Background()) }()
	invalid := errors.New("not a valid answer")
	for _, c := range []struct {
		act, arg string
		want     error
	}{
		{"echo", "alive", nil},
		{"loop", "", wasm.ErrTimeout},
		{"deep", "", wasm.ErrTrap},
		{"hoard", "", nil}, // it stops at the cap
		{"trap", "", wasm.ErrTrap},
		{"exit", "0", wasm.ErrExit},
		{"exit", "7", wasm.ErrExit},
		{"sleep", "", wasm.ErrTimeout},
		{"pointer", "", wasm.ErrProtocol},
		{"length", "", wasm.ErrProtocol},
		{"both", "", wasm.ErrProtocol},
		{"garbage", "", wasm.ErrProtocol},
		{"large garbage", "", wasm.ErrProtocol},
		{"large", "", wasm.ErrProtocol},
		{"million fields", "", wasm.ErrProtocol},
		{"status", "1", wasm.ErrProtocol},
		{"status", "-1", wasm.ErrProtocol},
		{"read key", "other/k", nil},
		{"write key", "other/k", nil},
		{"fetch", "http://127.0.0.1/", nil},
		{"other issuer", "https://accounts.example", nil}, // the gateway keeps issuers apart by provider
		{"other subject", "somebody", nil},
		{"long subject", "", invalid},
		{"other email", "not an address", invalid},
		{"reserved claim", "roles", invalid},
		{"many attributes", "", invalid},
		{"million elements", "", invalid},
		{"other flow", "another", invalid},
		{"undecodable", "", invalid},
		{"truncated", "", invalid},
		{"silent", "", invalid},
		{"echo", "still alive", nil},
	} {
		in := wire.EncodeCall(wire.Call{
			Flow:    sdk.Flow{ID: "flow", Kind: sdk.FlowLogin, Form: "act"},
			Request: sdk.Request{Fields: map[string]string{"act": c.act, "arg": c.arg}},
		})
		out, err := m.Call(t.Context(), wire.Begin, in, host{})
		if c.want == nil || errors.Is(c.want, invalid) {
			if err == nil {
				err = valid(out, invalid)
			}
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s %s: %v, want %v", c.act, c.arg, err, c.want)
		}
	}
}

// valid returns invalid for an answer that the gateway does not take.
func valid(out []byte, invalid error) error {
	r, err := wire.DecodeReply(out)
	if err != nil || r.FlowID != "flow" || r.Step == nil || contract.Step(sdk.FlowLogin, *r.Step) != nil {
		return invalid
	}
	return nil
}
