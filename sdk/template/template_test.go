package template

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var data = Data{
	Name: "my-login", Package: "mylogin", Module: "example.com/my-login",
	ShieldSource: "/src/shield", ShieldVersion: "v0.0.0", Replaces: []string{"a => b v1.0.0", "c => d v2.0.0"},
}

func TestNamesOfFilesAreThoseOfTheProject(t *testing.T) {
	dir := t.TempDir()
	files := fstest.MapFS{
		"dot.gitignore":          {Data: []byte("*.wasm")},
		"src/dot.config/x":       {Data: []byte("kept")},
		"src/NAME.c.tmpl":        {Data: []byte("int <% .Package %> = 1 << 3 >> 2; // [[x]] {{y}} ${z}")},
		"src/plain.c":            {Data: []byte("<% stays %>")},
		"src/deep/deeper/a.tmpl": {Data: []byte("<% range .Replaces %><% . %>;<% end %>")},
	}
	if err := write(dir, files, data); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		".gitignore":        "*.wasm",
		"src/dot.config/x":  "kept",
		"src/my-login.c":    "int mylogin = 1 << 3 >> 2; // [[x]] {{y}} ${z}",
		"src/plain.c":       "<% stays %>",
		"src/deep/deeper/a": "a => b v1.0.0;c => d v2.0.0;",
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s = %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestFaultsInATemplateAreErrors(t *testing.T) {
	for _, text := range []string{"<% .Nothing %>", "<% if %>", "<% .Name"} {
		if err := write(t.TempDir(), fstest.MapFS{"a.tmpl": {Data: []byte(text)}}, data); err == nil {
			t.Errorf("write(%q) = nil, want an error", text)
		}
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, "go", data); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Write() = %v, want %v", err, fs.ErrExist)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "go.mod")); string(got) != "mine" {
		t.Errorf("go.mod = %q, %v", got, err)
	}
}

func TestUnknownLanguage(t *testing.T) {
	for _, lang := range []string{"cobol", "", ".", "..", "go/..", "template.go"} {
		if err := Write(t.TempDir(), lang, data); !errors.Is(err, ErrLanguage) {
			t.Errorf("Write(%q) = %v, want %v", lang, err, ErrLanguage)
		}
	}
}

func TestEveryLanguageIsWrittenWhole(t *testing.T) {
	if want := []string{"assemblyscript", "c", "go", "rust"}; !slices.Equal(Languages(), want) {
		t.Fatalf("Languages() = %q, want %q", Languages(), want)
	}
	for _, lang := range Languages() {
		dir := t.TempDir()
		if err := Write(dir, lang, data); err != nil {
			t.Errorf("%s: %v", lang, err)
		}
		for _, name := range []string{"Makefile", "README.md", "plugin.test.json", ".gitignore"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("%s: %v", lang, err)
			}
		}
		_, err := os.Stat(filepath.Join(dir, sdkFolder))
		if (err == nil) != (lang != "go") { // Go has its modules
			t.Errorf("%s: copy of the SDK: %v", lang, err)
		}
		err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if strings.Contains(string(b), "<%") || strings.HasSuffix(path, ".tmpl") || strings.HasPrefix(e.Name(), "dot.") {
				t.Errorf("%s: %s still is a template", lang, path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
