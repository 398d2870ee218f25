package trial

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

// workspace holds the plugins and their compiled code. Both are called cmd.wasm by their
// folders, so they are built into folders of their own.
var workspace string

func TestMain(m *testing.M) {
	os.Exit(wasmtest.Main(m, func(dir string) { workspace = dir }))
}

// build compiles a plugin once for all tests.
func build(t *testing.T, name, path string) string {
	t.Helper()
	dir := filepath.Join(workspace, name)
	file := filepath.Join(dir, filepath.Base(path)+".wasm")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := wasmtest.Build(path, dir); err != nil {
		t.Fatal(err)
	}
	return file
}

func everythingFile(t *testing.T) string { return build(t, "everything", "./testdata/everything/cmd") }
func emailFile(t *testing.T) string      { return build(t, "email", "../../../plugins/email/cmd") }

func open(t *testing.T, opts Options) *Plugin {
	t.Helper()
	opts.CacheDir = filepath.Join(workspace, "cache")
	p, err := Open(context.Background(), opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// scene is a host on which all that the provider everything asks for is there.
func scene() *providertest.Host {
	h := providertest.NewSeeded("scene")
	h.Secret("key", "hunter2-is-the-secret")
	h.PrivateKey("signing")
	h.SignedXML([]byte("<a/>"), []byte("<a/>"))
	h.Site("https://a.test/", func(sdk.HTTPRequest) (sdk.HTTPResponse, error) {
		return sdk.HTTPResponse{Status: 200, Header: []sdk.HTTPHeader{{Name: "a", Value: "1"}}, Body: []byte("body")}, nil
	})
	return h
}

var login = sdk.Flow{ID: "flow-1", Kind: sdk.FlowLogin, Form: "act"}

func act(h *providertest.Host, what string) sdk.Request {
	return sdk.Request{
		Fields:  map[string]string{"act": what, "password": "correct-horse"},
		Headers: map[string]string{"token": h.Token(map[string]any{"iss": "i", "aud": "a", "nonce": "n", "exp": 1 << 40})},
	}
}
