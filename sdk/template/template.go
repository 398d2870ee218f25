// Package template holds the projects that `shield plugin new` makes: a folder for each
// language, whose files are built, tested and documented as they come out.
//
// The name of a file ends in .tmpl if [Data] is filled into it, between <% and %>; the ending
// is taken off. A file whose name begins with "dot." becomes a hidden one. NAME in a path is
// replaced by the name of the project.
package template

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/materi/shield/sdk/assemblyscript"
	"github.com/materi/shield/sdk/c"
	"github.com/materi/shield/sdk/rust"
)

// Data is what is filled in.
type Data struct {
	Name          string   // of the project: lower-case letters, digits, dashes
	Package       string   // the name as an identifier, without dashes
	Module        string   // path of the Go module
	ShieldSource  string   // directory of a checkout of Shield; empty: use a released version
	ShieldVersion string   // the release, v0.0.0 with a checkout
	Replaces      []string // replace lines of Shield's own go.mod, which count in a main module alone
}

// languages has a folder of this package for each language.
//
//go:embed all:assemblyscript all:c all:go all:rust
var languages embed.FS

// sdkFolder is where a project has its copy of the SDK.
const sdkFolder = "shield"

// sdkOf returns the SDK of a language that no package registry has, or nil. It is copied as
// it is.
func sdkOf(lang string) fs.FS {
	switch lang {
	case "assemblyscript":
		return assemblyscript.Files
	case "c":
		return c.Files
	case "rust":
		return rust.Files
	}
	return nil
}

// ErrLanguage says that there are no templates for a language.
var ErrLanguage = errors.New("no such language")

// Languages returns those that there are templates for.
func Languages() []string {
	entries, err := languages.ReadDir(".")
	if err != nil {
		return nil // an embedded file system has its root
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// Write writes a new project into the directory dir, which must be there. It overwrites
// nothing.
func Write(dir, lang string, data Data) error {
	if !slices.Contains(Languages(), lang) {
		return fmt.Errorf("%w: %q (there are: %s)", ErrLanguage, lang, strings.Join(Languages(), ", "))
	}
	files, err := fs.Sub(languages, lang)
	if err != nil {
		return err
	}
	if err := write(dir, files, data); err != nil {
		return err
	}
	if sdk := sdkOf(lang); sdk != nil {
		return write(filepath.Join(dir, sdkFolder), sdk, data)
	}
	return nil
}

func write(dir string, files fs.FS, data Data) error {
	return fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		target := target(name, data)
		if strings.HasSuffix(name, suffix) {
			if content, err = fill(name, content, data); err != nil {
				return err
			}
		}
		return create(filepath.Join(dir, filepath.FromSlash(target)), content)
	})
}

const suffix = ".tmpl"

// target returns the path in the project of a file of the template.
func target(name string, data Data) string {
	name = strings.ReplaceAll(strings.TrimSuffix(name, suffix), "NAME", data.Name)
	folder, file := path.Split(name)
	if hidden, ok := strings.CutPrefix(file, "dot."); ok {
		file = "." + hidden
	}
	return folder + file
}

// fill fills data into a file. The delimiters are none of Go, C, Rust, AssemblyScript or make.
func fill(name string, content []byte, data Data) ([]byte, error) {
	t, err := template.New(name).Delims("<%", "%>").Option("missingkey=error").Parse(string(content))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func create(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
