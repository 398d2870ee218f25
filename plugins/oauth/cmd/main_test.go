package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The gateway refuses a module that imports more than the operator grants, and the
// manifest asks for these. The names of imports stand in a module as they are.
func TestModuleImportsOnlyWhatTheManifestAsksFor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "oauth.wasm")
	build := exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", file, ".")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"shield_io": true, "shield_kv": true, "shield_log": true, "shield_http": true, "shield_jwt": true, "shield_secret": true,
		"shield_password": false, "shield_xmldsig": false,
	} {
		// An import begins with the module's name behind its length.
		if got := bytes.Contains(module, append([]byte{byte(len(name))}, name...)); got != want {
			t.Errorf("module imports %s: %v, want %v", name, got, want)
		}
	}
	if mib := float64(len(module)) / (1 << 20); mib >= 4 {
		t.Errorf("the module has %.2f MiB; each one takes half a second to compile", mib)
	}
}
