package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// defaulted is an element of a list that does not begin as its zero value.
type defaulted interface{ setDefaults() }

// decode sets out from node and records where everything stands. What it cannot use it
// reports, and goes on.
func (l *loader) decode(node *yaml.Node, path string, out reflect.Value, tag reflect.StructTag) {
	l.places[path] = l.at(node)
	if !l.understood(node, path) {
		return
	}
	switch t := out.Type(); {
	case t == settingsType:
		if node.Kind != yaml.MappingNode {
			l.rejectKind(node, path, "a mapping of keys to values")
			return
		}
		out.Set(reflect.ValueOf(Settings(l.settings(node, path))))
	case t == stringsType || t == secretsType:
		l.strings(node, path, out, tag)
	case t.Kind() == reflect.Slice:
		l.elements(node, path, out)
	case t.Kind() == reflect.Struct && t != secretType:
		l.mapping(node, path, out)
	default:
		l.scalar(node, path, out, tag)
	}
}

func (l *loader) at(node *yaml.Node) place {
	return place{file: l.file, line: max(1, node.Line), col: max(1, node.Column)}
}

// understood refuses the parts of YAML that let a value stand in one place and act in
// another, or change its type: anchors, aliases, merges and tags.
func (l *loader) understood(node *yaml.Node, path string) bool {
	switch {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		l.reject(path, "anchors and aliases are not understood; write the value out, or put it in quotes")
	case node.Style&yaml.TaggedStyle != 0:
		l.reject(path, "YAML tags are not understood; remove the tag, or put the value in quotes")
	default:
		return true
	}
	return false
}

func (l *loader) rejectKind(node *yaml.Node, path, wanted string) {
	found := map[yaml.Kind]string{
		yaml.MappingNode:  "a mapping",
		yaml.SequenceNode: "a list",
		yaml.ScalarNode:   "a single value",
	}[node.Kind]
	if isNull(node) {
		l.reject(path, "has no value; write %s, or remove the key", wanted)
		return
	}
	l.reject(path, "is %s; write %s", found, wanted)
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// members calls use for each key of a mapping, once.
func (l *loader) members(node *yaml.Node, path string, use func(key, value *yaml.Node, path string)) {
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 {
			l.rejectAt(l.at(key), path, "a key is not a plain word; write a name, in quotes if need be (merges and anchors are not understood)")
			continue
		}
		below := join(path, key.Value)
		if line, seen := first[key.Value]; seen {
			l.failed[below] = true
			l.rejectAt(l.at(key), below, "is given twice, first in line %d; remove one", line)
			continue
		}
		first[key.Value] = key.Line
		use(key, value, below)
	}
}

// mapping sets the struct out.
func (l *loader) mapping(node *yaml.Node, path string, out reflect.Value) {
	if node.Kind != yaml.MappingNode {
		l.rejectKind(node, path, "a mapping of keys to values")
		return
	}
	fields := map[string]reflect.StructField{}
	var keys []string
	for i := range out.NumField() {
		field := out.Type().Field(i)
		fields[field.Tag.Get("yaml")] = field
		keys = append(keys, field.Tag.Get("yaml"))
	}
	l.members(node, path, func(key, value *yaml.Node, below string) {
		field, known := fields[key.Value]
		if !known {
			l.rejectUnknown(key, below, keys)
			return
		}
		l.decode(value, below, out.FieldByIndex(field.Index), field.Tag)
	})
	for _, key := range keys {
		below := join(path, key)
		if fields[key].Tag.Get("required") == "true" && !l.given(below) {
			l.rejectMissing(below, fields[key].Tag)
		}
	}
}

func (l *loader) rejectUnknown(key *yaml.Node, path string, keys []string) {
	if meant := alternative(key.Value, keys); meant != "" {
		l.rejectAt(l.at(key), path, "is not a key; did you mean %s?", meant)
		return
	}
	l.rejectAt(l.at(key), path, "is not a key; known are %s", strings.Join(keys, ", "))
}

func (l *loader) rejectMissing(path string, tag reflect.StructTag) {
	if allowed := tag.Get("enum"); allowed != "" {
		l.reject(path, "is missing; write one of %s", strings.ReplaceAll(allowed, ",", ", "))
		return
	}
	l.reject(path, "is missing; write it: %s", tag.Get("doc"))
}

// elements sets out, a slice of structs.
func (l *loader) elements(node *yaml.Node, path string, out reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		l.rejectKind(node, path, "a list, each item with a dash")
		return
	}
	list := reflect.MakeSlice(out.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		element := list.Index(i)
		if d, ok := element.Addr().Interface().(defaulted); ok {
			d.setDefaults()
		}
		l.decode(item, index(path, i), element, "")
	}
	out.Set(list)
}

// strings sets out, a slice of strings or secrets. A value that comes from the environment may stand
// for the whole list, with commas.
func (l *loader) strings(node *yaml.Node, path string, out reflect.Value, tag reflect.StructTag) {
	if node.Kind == yaml.ScalarNode {
		text, used, err := l.env.expand(node.Value)
		if err != nil {
			l.hidden[path] = true
			l.reject(path, "%s", err)
			return
		}
		if used {
			l.hidden[path] = true
			l.list(out, path, tag, text)
			return
		}
	}
	if node.Kind != yaml.SequenceNode {
		l.rejectKind(node, path, "a list, such as [a, b]")
		return
	}
	list := reflect.MakeSlice(out.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		below := index(path, i)
		l.places[below] = l.at(item)
		if !l.understood(item, below) {
			continue
		}
		if item.Kind == yaml.ScalarNode && item.Value == "" {
			l.reject(below, "is empty; remove the item")
			continue
		}
		l.scalar(item, below, list.Index(i), tag)
	}
	if tag.Get("required") == "true" && list.Len() == 0 {
		l.reject(path, "is empty; write at least one item")
	}
	out.Set(list)
}

// scalar sets out, which is anything but a struct, map or slice.
func (l *loader) scalar(node *yaml.Node, path string, out reflect.Value, tag reflect.StructTag) {
	if node.Kind != yaml.ScalarNode {
		l.rejectKind(node, path, "a single value")
		return
	}
	text, used, err := l.env.expand(node.Value)
	if used || out.Type() == secretType || formats[tag.Get("format")].key {
		l.hidden[path] = true
	}
	if err != nil {
		l.hidden[path] = true
		l.reject(path, "%s", err)
		return
	}
	if !used {
		if wrong := misspelt(node, out.Type()); wrong != "" {
			l.reject(path, "%s", wrong)
			return
		}
	}
	if used && out.Kind() != reflect.String && out.Type() != secretType {
		text = strings.TrimSpace(text)
	}
	if err := parseScalar(out, tag, text, used); err != nil {
		l.reject(path, "%s %s%s", l.show(path, text), err, l.guess(path, text, tag))
	}
}

// guess adds what an enum value most likely meant.
func (l *loader) guess(path, text string, tag reflect.StructTag) string {
	allowed := tag.Get("enum")
	if allowed == "" || l.isHidden(path) {
		return ""
	}
	meant := alternative(text, strings.Split(allowed, ","))
	if meant == "" {
		return ""
	}
	return "; did you mean " + meant + "?"
}

// misspelt says why a literal scalar is not of the type that a field has. YAML types a
// value by its looks, so a string that looks like a number must be quoted, and a number
// must not.
func misspelt(node *yaml.Node, t reflect.Type) string {
	if isNull(node) {
		return "has no value; write one, or remove the key"
	}
	tag := node.ShortTag()
	switch {
	case t == durationType || t == sizeType:
		return ""
	case t.Kind() == reflect.String || t == secretType:
		if tag != "!!str" {
			return "is not text to YAML; put it in quotes"
		}
	case t.Kind() == reflect.Bool:
		if tag != "!!bool" {
			return "is not a boolean; write true or false, without quotes"
		}
	case t.Kind() == reflect.Int:
		if tag != "!!int" {
			return "is not a whole number; write it in decimal digits, without quotes"
		}
	}
	return ""
}

// settings returns a plugin's own settings as JSON knows them.
func (l *loader) settings(node *yaml.Node, path string) map[string]any {
	values := map[string]any{}
	l.members(node, path, func(key, value *yaml.Node, below string) {
		values[key.Value] = l.setting(value, below)
	})
	return values
}

func (l *loader) setting(node *yaml.Node, path string) any {
	l.places[path] = l.at(node)
	if !l.understood(node, path) {
		return nil
	}
	switch node.Kind {
	case yaml.MappingNode:
		return l.settings(node, path)
	case yaml.SequenceNode:
		list := make([]any, len(node.Content))
		for i, item := range node.Content {
			list[i] = l.setting(item, index(path, i))
		}
		return list
	}
	text, used, err := l.env.expand(node.Value)
	if err != nil {
		l.reject(path, "%s", err)
		return nil
	}
	if used {
		return variableSetting(text, node.Style)
	}
	switch node.ShortTag() {
	case "!!str", "!!timestamp":
		return text
	}
	var value any
	if err := node.Decode(&value); err != nil {
		l.reject(path, "is not a value that JSON knows; put it in quotes")
		return nil
	}
	if f, ok := value.(float64); ok && (f != f || f-f != 0) {
		l.reject(path, "is not a number that JSON knows; put it in quotes")
		return nil
	}
	return value
}

// variableSetting types a value that came from the environment: in quotes it is text, bare
// it is a boolean or a whole number where it is written exactly as one.
func variableSetting(text string, style yaml.Style) any {
	if style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return text
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return n
	}
	switch text {
	case "true":
		return true
	case "false":
		return false
	}
	return text
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
