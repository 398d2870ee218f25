// Package wasmtest builds plugins for tests.
package wasmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build compiles the main package at path, relative to the caller's directory, as a plugin
// into the directory out and returns the name of the file.
func Build(path, out string) (string, error) {
	file := filepath.Join(out, filepath.Base(path)+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", file, path)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", path, err, text)
	}
	return file, nil
}
