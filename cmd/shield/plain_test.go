package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// evil sets the title of a terminal, moves its cursor by the one character that does so, too,
// and turns the text that follows around.
const evil = "\x1b]0;owned\x07\u009b2J\u202e\U000e0041\r\x7f"

// importing returns a module that imports a function of this name.
func importing(name string) []byte {
	body := append([]byte{1, byte(len(name))}, name...)
	body = append(body, 1, 'f', 0, 0)
	module := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00")
	return append(append(module, 2, byte(len(body))), body...)
}

func TestPluginsDoNotMoveTheTerminal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "evil.wasm")
	if err := os.WriteFile(file, importing(evil), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(string) (string, bool) { return "", false }
	for _, args := range [][]string{
		{"plugin", "inspect", file}, {"plugin", "inspect", "-json", file}, {"plugin", "test", file}, {"plugin", "call", file, "-flow", "login"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, env, &stdout, &stderr); code != failure {
			t.Errorf("%q: exit code %d, want %d", args, code, failure)
		}
		if !strings.Contains(stderr.String(), "owned") {
			t.Errorf("%q: standard error does not name the import: %q", args, stderr.String())
		}
		for _, r := range stdout.String() + stderr.String() {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("%q writes %q to the terminal", args, r)
			}
		}
	}
}

func TestJSONStaysWhatItWas(t *testing.T) {
	want := map[string]string{"a": evil + "ä\u00a0😀\n\t\"\\"}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if n, err := (plain{&out}).Write(text); n != len(text) || err != nil {
		t.Fatalf("Write() = %d, %v", n, err)
	}
	var got map[string]string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got["a"] != want["a"] {
		t.Errorf("%s is read as %q, %v, want %q", out.Bytes(), got, err, want)
	}
}
