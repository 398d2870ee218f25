package wasm

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// kept returns the one file of a rewritten module in a cache directory.
func kept(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "metered-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("rewritten modules in the cache: %v, %v, want one", files, err)
	}
	return files[0]
}

func TestRewrittenModuleIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	opts := options(tiny(abiIs(1), callDoes(nil)))
	opts.CacheDir = dir
	open(t, opts)
	file := kept(t, dir)
	other, err := rewrite(tiny(abiIs(2), callDoes(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := keep(file, other); err != nil {
		t.Fatal(err)
	}
	m := open(t, opts)
	if m.ABI() != 2 {
		t.Errorf("ABI() = %d, want 2, that of the kept file", m.ABI())
	}
}

func TestKeptModuleThatIsNotWholeIsMadeAnew(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":        func([]byte) []byte { return nil },
		"cut":          func(b []byte) []byte { return b[:len(b)-1] },
		"sum alone":    func(b []byte) []byte { return b[:32] },
		"one bit":      func(b []byte) []byte { b[len(b)-3] ^= 1; return b },
		"another sum":  func(b []byte) []byte { b[0] ^= 1; return b },
		"not metered":  func(b []byte) []byte { return append(b[:32:32], tiny(abiIs(2), callDoes(nil))...) },
		"with a tail":  func(b []byte) []byte { return append(b, 0) },
		"of old times": func(b []byte) []byte { return b[32:] },
	} {
		dir := filepath.Join(t.TempDir(), "cache")
		opts := options(tiny(abiIs(1), callDoes(nil)))
		opts.CacheDir = dir
		open(t, opts)
		file := kept(t, dir)
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, damage(bytes.Clone(good)), 0o600); err != nil {
			t.Fatal(err)
		}
		if m := open(t, opts); m.ABI() != 1 {
			t.Errorf("%s: ABI() = %d, want 1", name, m.ABI())
		}
		if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, good) {
			t.Errorf("%s: the file was not made anew, %v", name, err)
		}
	}
}

func TestModuleThatCannotBeMeteredIsNotKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	opts := options([]byte("\x00asm\x01\x00\x00\x00\x01\xff"))
	opts.CacheDir = dir
	if _, err := Open(context.Background(), opts); err == nil {
		t.Fatal("Open() = nil, want an error")
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "met*")); len(files) != 0 {
		t.Errorf("the cache holds %v", files)
	}
}
