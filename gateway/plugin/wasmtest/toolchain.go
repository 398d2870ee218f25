package wasmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Root returns the directory of this module, seen from the directory of a test.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}

// ABI1 compiles a real plugin of version 1 of the contract into the directory out and
// returns the name of the file: what was built against an older gateway and still has to
// run. Its source is testdata/abi1.c.
func ABI1(out string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	file := filepath.Join(out, "abi1.wasm")
	return file, C(file, "-DSHIELD_ABI=1", filepath.Join(root, "gateway/plugin/wasmtest/testdata/abi1.c"))
}

// C compiles a provider in C with the SDK of this checkout into file. The arguments are
// those of clang.
func C(file string, arguments ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	sdk := filepath.Join(root, "sdk/c/src")
	sources, err := filepath.Glob(filepath.Join(sdk, "*.c"))
	if err != nil {
		return err
	}
	return Clang(file, append(append(arguments, "-I"+sdk), sources...)...)
}

// Clang compiles C into a module that is a reactor, as plugins are, without the SDK.
func Clang(file string, arguments ...string) error {
	return run("clang", append([]string{
		"--target=wasm32-wasi", "-mexec-model=reactor", "-Os", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all", "-o", file,
	}, arguments...)...)
}

// AssemblyScript compiles a provider in AssemblyScript into file.
func AssemblyScript(file string, arguments ...string) error {
	asc, err := Asc()
	if err != nil {
		return err
	}
	return run("node", append([]string{
		asc, "--exportStart", "_initialize", "--optimizeLevel", "3", "--shrinkLevel", "1", "--noAssert", "--use", "abort=", "-o", file,
	}, arguments...)...)
}

// Asc returns the path of the compiler of AssemblyScript, a script for node.
func Asc() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	asc := filepath.Join(root, "build/assemblyscript/node_modules/assemblyscript/bin/asc.js")
	if _, err := os.Stat(asc); err != nil {
		return "", missing(asc)
	}
	return asc, nil
}

// Rust compiles a provider in Rust with the SDK of this checkout into file.
func Rust(file, source string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	rustc, err := Rustc()
	if err != nil {
		return err
	}
	library := filepath.Join(filepath.Dir(file), "libshield.rlib")
	flags := []string{"--edition", "2021", "--target", "wasm32-unknown-unknown", "-D", "warnings", "-C", "opt-level=s", "-C", "panic=abort"}
	if err := run(rustc, append(flags, "--crate-type", "rlib", "--crate-name", "shield",
		"-o", library, filepath.Join(root, "sdk/rust/src/lib.rs"))...); err != nil {
		return err
	}
	return run(rustc, append(flags, "--crate-type", "cdylib", "-C", "strip=symbols",
		"--extern", "shield="+library, "-o", file, source)...)
}

// Rustc returns a compiler of Rust that knows WASM: Debian's does with its package, that of
// rustup, which may hide it, only where the target was added.
func Rustc() (string, error) {
	for _, rustc := range []string{os.Getenv("RUSTC"), "/usr/bin/rustc", "rustc"} {
		if rustc == "" {
			continue
		}
		dir, err := exec.Command(rustc, "--print", "target-libdir", "--target", "wasm32-unknown-unknown").Output()
		if err != nil {
			continue
		}
		if libraries, _ := filepath.Glob(filepath.Join(string(dir[:max(len(dir)-1, 0)]), "libcore-*.rlib")); len(libraries) > 0 {
			return rustc, nil
		}
	}
	return "", missing("a rustc with the target wasm32-unknown-unknown")
}

func missing(what string) error {
	return fmt.Errorf("%s is missing: deploy/test/toolchains.sh installs what the tests compile with", what)
}

func run(program string, arguments ...string) error {
	if _, err := exec.LookPath(program); err != nil {
		return missing(program)
	}
	if text, err := exec.Command(program, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w\n%s", program, arguments, err, text)
	}
	return nil
}
