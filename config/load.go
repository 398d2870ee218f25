package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is the most that a configuration file may hold, in bytes. It is far above what
// anybody writes and keeps a wrong path (a log, a device) out of memory.
const maxFile = 4 << 20

// Load reads the configuration file at path, puts the environment over it, and holds the
// whole to the rules. env is os.LookupEnv, or a test's own. An empty path means that there
// is no file and everything comes from the environment. Any error is a [Faults].
//
// Relative paths in the file are made absolute from the file's directory, so the result
// does not depend on where the program was started.
func Load(path string, env func(string) (string, bool)) (Config, error) {
	if path == "" {
		return Parse("", nil, env)
	}
	data, err := readFile(path)
	if err != nil {
		return Config{}, Faults{{File: path, Line: 1, Col: 1, Message: "the file cannot be read: " + withoutPath(err).Error()}}
	}
	return Parse(path, data, env)
}

// Parse is [Load] for a file that was read already. name stands in the faults, and its
// directory is where relative paths begin.
func Parse(name string, data []byte, env func(string) (string, bool)) (Config, error) {
	l := &loader{
		file:   name,
		env:    env,
		places: map[string]place{},
		hidden: map[string]bool{},
		failed: map[string]bool{},
	}
	if name == "" {
		l.file = "environment"
	}
	l.places[""] = place{file: l.file, line: min(1, len(name)), col: min(1, len(name))}

	cfg := base()
	l.document(data, reflect.ValueOf(&cfg).Elem())
	l.override(reflect.ValueOf(&cfg).Elem(), "")
	l.overrideNamed(&cfg)
	l.fill(&cfg)
	l.check(&cfg)
	if len(l.faults) > 0 {
		l.faults.sort()
		return Config{}, l.faults
	}
	if err := cfg.finish(filepath.Dir(name)); err != nil {
		return Config{}, Faults{{File: l.file, Line: 1, Col: 1, Message: err.Error()}}
	}
	return cfg, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, errors.New("it is longer than 4 MiB")
	}
	return data, nil
}

// loader is the state of one Parse.
type loader struct {
	file   string
	env    environment
	faults Faults

	places map[string]place // of every key that was given, by its path
	hidden map[string]bool  // paths whose values came from the environment
	failed map[string]bool  // paths whose value could not be used, so that no rule reports its echo
}

type place struct {
	file      string
	line, col int
}

// reject records a fault of the value at path, at its place or at that of the nearest key
// above it that was given.
func (l *loader) reject(path, format string, args ...any) {
	l.failed[path] = true
	l.rejectAt(l.placeOf(path), path, format, args...)
}

func (l *loader) rejectAt(at place, path, format string, args ...any) {
	l.faults = append(l.faults, Fault{
		File: at.file, Line: at.line, Col: at.col,
		Path: path, Message: fmt.Sprintf(format, args...),
	})
}

func (l *loader) placeOf(path string) place {
	for {
		if at, ok := l.places[path]; ok {
			return at
		}
		path = parent(path)
	}
}

// parent returns the path above path; "" is above all.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// given reports whether the file or the environment has this key.
func (l *loader) given(path string) bool {
	_, ok := l.places[path]
	return ok
}

// brokenAbove reports whether something that path is in has a fault.
func (l *loader) brokenAbove(path string) bool {
	for path != "" {
		path = parent(path)
		if l.failed[path] {
			return true
		}
	}
	return false
}

// brokenBelow reports whether path or anything in it has a fault already.
func (l *loader) brokenBelow(path string) bool {
	for failed := range l.failed {
		rest, ok := strings.CutPrefix(failed, path)
		if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// show returns a value as a fault may name it. A URL with a password in it, and a key, are
// not shown wherever they were put by mistake.
func (l *loader) show(path, value string) string {
	if l.isHidden(path) || strings.Contains(value, "@") && strings.Contains(value, "/") || strings.Contains(value, "-----") {
		return "the value"
	}
	return quote(value)
}

// isHidden reports whether the value at path, or the list that it is in, came from the
// environment.
func (l *loader) isHidden(path string) bool {
	for path != "" {
		if l.hidden[path] {
			return true
		}
		path = parent(path)
	}
	return false
}

// quote makes text fit for one line of a fault.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return fmt.Sprintf("%q", text)
}

// document decodes the file into out.
func (l *loader) document(data []byte, out reflect.Value) {
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var root yaml.Node
	err := decoder.Decode(&root)
	if errors.Is(err, io.EOF) {
		return
	}
	if err != nil {
		l.rejectSyntax(err)
		return
	}
	var more yaml.Node
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		at := place{file: l.file, line: max(1, more.Line), col: max(1, more.Column)}
		l.rejectAt(at, "", "the file holds more than one YAML document; keep one")
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 {
		l.reject("", "the file is not a YAML mapping")
		return
	}
	top := root.Content[0]
	if top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null" && top.Value == "" {
		return // comments alone
	}
	l.decode(top, "", out, "")
}

// rejectSyntax reports an error of the YAML parser, which knows the line at best. Its text
// may quote the file, and so a secret, where it names an anchor; that part is not passed on.
func (l *loader) rejectSyntax(err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if n, _ := fmt.Sscanf(message, "line %d:", &line); n == 1 {
		_, message, _ = strings.Cut(message, ": ")
	}
	if strings.Contains(message, "anchor") {
		message = "anchors and aliases are not understood; put a value that begins with * or & in quotes"
	}
	l.rejectAt(place{file: l.file, line: max(1, line), col: 1}, "", "not YAML: %s", message)
}

// override puts the environment over the fields that have a variable.
func (l *loader) override(out reflect.Value, path string) {
	for i := range out.NumField() {
		field := out.Type().Field(i)
		key := join(path, field.Tag.Get("yaml"))
		if name := field.Tag.Get("env"); name != "" {
			l.overrideField(out.Field(i), key, name, field.Tag)
			continue
		}
		if field.Type.Kind() == reflect.Struct && field.Type != secretType {
			l.override(out.Field(i), key)
		}
	}
}

func (l *loader) overrideField(out reflect.Value, path, name string, tag reflect.StructTag) {
	value, source, ok, err := l.env.lookup(name)
	if err == nil && (!ok || value == "") {
		return // an empty variable is as good as none: compose files cannot leave one out
	}
	l.places[path] = place{file: "$" + source}
	l.hidden[path] = true
	if err != nil {
		l.reject(path, "%s", err)
		return
	}
	if out.Type() == stringsType || out.Type() == secretsType {
		l.list(out, path, tag, value)
		return
	}
	if out.Kind() != reflect.String && out.Type() != secretType {
		value = strings.TrimSpace(value)
	}
	if err := parseScalar(out, tag, value, true); err != nil {
		l.reject(path, "the value %s", err)
	}
}

// list sets out from the comma-separated form that variables have.
func (l *loader) list(out reflect.Value, path string, tag reflect.StructTag, text string) {
	items := reflect.MakeSlice(out.Type(), 0, 1)
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		value := reflect.New(out.Type().Elem()).Elem()
		if err := parseScalar(value, tag, item, true); err != nil {
			l.reject(path, "an item of the value %s", err)
			continue
		}
		items = reflect.Append(items, value)
	}
	if items.Len() == 0 && !l.failed[path] {
		l.reject(path, "the value holds no item; write them with commas between")
		return
	}
	out.Set(items)
}
