package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/gateway/plugin/wasm"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// gateway grants two capabilities, and knows the secrets of the test data.
type gateway struct{ secrets map[string]string }

func (g gateway) Serve(_ context.Context, f wire.Function, request []byte) ([]byte, error) {
	name, message, err := wire.DecodeMAC(request)
	if f != wire.SecretMAC || err != nil {
		return nil, sdk.ErrNotGranted
	}
	mac := hmac.New(sha256.New, []byte(g.secrets[name]))
	mac.Write(message)
	return wire.EncodeResult(mac.Sum(nil), nil), nil
}

// As a module it asks for no more than the manifest says, and logs in by a header.
func TestModuleLogsInByItsHeader(t *testing.T) {
	file, err := wasmtest.Build(".", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		Settings json.RawMessage   `json:"settings"`
		Secrets  map[string]string `json:"secrets"`
	}
	text, err := os.ReadFile("../plugin.test.json")
	if err == nil {
		err = json.Unmarshal(text, &data)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := wasm.Open(t.Context(), wasm.Options{
		Name: "header", Code: code, Granted: []sdk.Capability{sdk.CapabilityKV, sdk.CapabilitySecret},
		Memory: 32 << 20, Timeout: time.Minute, Wait: time.Minute, Instances: 1, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Prepare: func(ctx context.Context, call sandbox.Caller) error {
			out, err := call(ctx, wire.Configure, wire.EncodeSettings(data.Settings))
			if faults, _ := wire.DecodeFaults(out); len(faults) > 0 {
				t.Errorf("settings: %v", faults)
			}
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close(context.Background()) }()
	for key, want := range map[string]string{"key-of-the-builder-0001": "builder", "key-of-the-builder-0002": ""} {
		out, err := m.Call(t.Context(), wire.Begin, wire.EncodeCall(wire.Call{
			Flow:    sdk.Flow{ID: "f", Kind: sdk.FlowLogin, Form: "api_key"},
			Request: sdk.Request{Headers: map[string]string{"X-Api-Key": key}},
		}), gateway{data.Secrets})
		if err != nil {
			t.Fatal(err)
		}
		reply, err := wire.DecodeReply(out)
		if err != nil || reply.Step == nil {
			t.Fatalf("%+v, %v", reply, err)
		}
		got := ""
		if reply.Step.Done != nil {
			got = reply.Step.Done.Identity.Subject
		}
		if got != want {
			t.Errorf("key %q is %q, want %q", key, got, want)
		}
	}
}
