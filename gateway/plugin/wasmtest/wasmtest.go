// Package wasmtest builds plugins for tests.
package wasmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Build compiles the main package at path, relative to the caller's directory, as a plugin
// into the directory out and returns the name of the file. Further flags are for the linker.
func Build(path, out string, flags ...string) (string, error) {
	file := filepath.Join(out, filepath.Base(path)+".wasm")
	linker := "-ldflags=" + strings.Join(append([]string{"-s", "-w"}, flags...), " ")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", linker, "-o", file, path)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", path, err, text)
	}
	return file, nil
}

// BuildProcess compiles the main package at path, relative to the caller's directory, as a
// plugin that runs as a process, into the directory out, and returns the name of the file.
func BuildProcess(path, out string) (string, error) {
	file := filepath.Join(out, filepath.Base(path))
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, path)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", path, err, text)
	}
	return file, nil
}

// Main is the body of a TestMain that needs plugins: it builds the main packages into a
// directory of its own, tells that directory to use, runs the tests, looks for leaked
// goroutines and removes the directory. It returns the exit code.
func Main(m *testing.M, use func(dir string), packages ...string) int {
	dir, err := os.MkdirTemp("", "shield-wasm-")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(dir)
	for _, path := range packages {
		if _, err := Build(path, dir); err != nil {
			return failed(err)
		}
	}
	use(dir)
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		return failed(err)
	}
	return code
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
