package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/materi/shield/sdk/template"
)

const shieldModule = "github.com/materi/shield"

// Names of projects; they become names of files, modules and providers. The gateway takes no
// longer ones.
var projectName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

const maxProjectName = 32

// Paths of checkouts that can stand in a go.mod and in a Makefile.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._+@-]+$`)

// Releases that can be required.
var released = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$`)

// pluginNew makes the project of a new plugin.
func pluginNew(ctx context.Context, c *call) error {
	flags := toolFlags()
	lang := flags.String("lang", "", "")
	dir := flags.String("dir", "", "")
	names, err := positionals(flags, c.args, 1, 1)
	if err != nil || *lang == "" {
		return errUsage
	}
	name := names[0]
	if !projectName.MatchString(name) || len(name) > maxProjectName {
		return fmt.Errorf("the name %q: want at most %d lower-case letters and digits, with dashes between; a place for it is named by -dir", name, maxProjectName)
	}
	if *dir == "" {
		*dir = name
	}
	data, err := shieldFor(c, *lang)
	if err != nil {
		return err
	}
	data.Name, data.Module = name, "example.com/"+name
	data.Package = strings.ReplaceAll(name, "-", "")
	made, err := emptyDirectory(*dir)
	if err != nil {
		return err
	}
	if err := fillProject(ctx, *dir, *lang, data); err != nil {
		return errors.Join(err, undo(*dir, made))
	}
	_, err = fmt.Fprintf(c.stdout, "%s: a plugin in %s. Go on with: cd %s && make && make test\n", *dir, *lang, *dir)
	return err
}

// shieldFor says which Shield a project builds on: the checkout of SHIELD_SOURCE, or the
// release that this program is. Only a project in Go needs one of them; the others have their
// own copy of the SDK and the program shield on the PATH.
func shieldFor(c *call, lang string) (template.Data, error) {
	source, _ := c.env("SHIELD_SOURCE")
	if source == "" {
		if lang == "go" && !released.MatchString(version) {
			return template.Data{}, fmt.Errorf("this program is no release (version %s), so there is none that a project could require; "+
				"set SHIELD_SOURCE to the directory of a checkout of Shield", version)
		}
		return template.Data{ShieldVersion: version}, nil
	}
	source, err := filepath.Abs(source)
	if err != nil {
		return template.Data{}, err
	}
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil || !bytes.HasPrefix(bytes.TrimSpace(mod), []byte("module "+shieldModule+"\n")) {
		return template.Data{}, fmt.Errorf("SHIELD_SOURCE=%s is not a checkout of Shield: it has no go.mod of %s", source, shieldModule)
	}
	if !plainPath.MatchString(source) {
		return template.Data{}, fmt.Errorf("SHIELD_SOURCE=%q: a path with spaces or other special characters cannot stand in a go.mod and a Makefile", source)
	}
	return template.Data{ShieldSource: source, ShieldVersion: "v0.0.0"}, nil
}

// emptyDirectory makes the directory unless it is there and empty. It reports whether it
// did.
func emptyDirectory(dir string) (made bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return true, os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return false, err
	}
	if len(entries) > 0 {
		return false, fmt.Errorf("%s is not empty; nothing is overwritten", dir)
	}
	return false, nil
}

// undo removes what was written into a directory that was empty, and the directory if it was
// made.
func undo(dir string, made bool) error {
	if made {
		return os.RemoveAll(dir)
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

func fillProject(ctx context.Context, dir, lang string, data template.Data) error {
	if lang != "go" {
		return template.Write(dir, lang, data)
	}
	source, err := sourceOf(ctx, dir, data)
	if err != nil {
		return err
	}
	if data.Replaces, err = replacesOf(ctx, source); err != nil {
		return err
	}
	if err := template.Write(dir, lang, data); err != nil {
		return err
	}
	return complete(ctx, dir, source)
}

// sourceOf returns where the source of Shield is: the checkout, or what the go command
// downloads of a release.
func sourceOf(ctx context.Context, dir string, data template.Data) (string, error) {
	if data.ShieldSource != "" {
		return data.ShieldSource, nil
	}
	out, err := goCommand(ctx, dir, nil, "mod", "download", "-json", shieldModule+"@"+data.ShieldVersion)
	if err != nil {
		return "", err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", fmt.Errorf("output of go mod download: %w", err)
	}
	return module.Dir, nil
}

// replacesOf returns the replace lines of a module, since only a main module's count.
func replacesOf(ctx context.Context, source string) ([]string, error) {
	out, err := goCommand(ctx, source, nil, "mod", "edit", "-json")
	if err != nil {
		return nil, err
	}
	var mod struct {
		Replace []struct {
			Old, New struct{ Path, Version string }
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return nil, fmt.Errorf("output of go mod edit: %w", err)
	}
	var list []string
	for _, r := range mod.Replace {
		if r.New.Version == "" && !filepath.IsAbs(r.New.Path) {
			r.New.Path = filepath.Join(source, r.New.Path)
		}
		list = append(list, strings.TrimSpace(r.Old.Path+" "+r.Old.Version)+" => "+strings.TrimSpace(r.New.Path+" "+r.New.Version))
	}
	return list, nil
}

// complete writes what go.mod and go.sum lack, for both machines that a plugin is built for.
// It starts from Shield's own sums, which hold all that is needed. Rejected: go mod tidy,
// which also wants what only the tests of dependencies import.
func complete(ctx context.Context, dir, source string) error {
	sums, err := os.ReadFile(filepath.Join(source, "go.sum"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644); err != nil {
		return err
	}
	for _, target := range [][]string{nil, {"GOOS=wasip1", "GOARCH=wasm"}} {
		if _, err := goCommand(ctx, dir, target, "list", "-mod=mod", "-deps", "-test", "./..."); err != nil {
			return err
		}
	}
	return nil
}

// goCommand runs the go command in a directory and returns what it prints.
func goCommand(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(append(cmd.Environ(), "GOWORK=off"), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("the go command is not there, and a project in Go needs it: see https://go.dev/dl")
	}
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
