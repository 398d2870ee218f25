package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object of the schema. encoding/json writes its keys in order, so the
// schema is the same each time.
type object map[string]any

// Schema returns the JSON Schema (draft 2020-12) of a configuration file, for editors. It
// is made from the tags that the loader reads. What it allows and the loader does not are
// the rules between values, and what a regular expression cannot say.
func Schema() []byte {
	root := structSchema(reflect.ValueOf(base()))
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Shield"
	root["description"] = "The configuration of the Shield identity gateway. Values may hold ${NAME} or ${NAME:-default}."
	root["$defs"] = object{
		"variable": object{
			"description": "A value from the environment: ${NAME} or ${NAME:-default}.",
			"type":        "string",
			"pattern":     `\$\{`,
		},
	}
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // plain strings, numbers and maps always encode
	}
	return append(b, '\n')
}

func structSchema(defaults reflect.Value) object {
	properties := object{}
	var required []string
	for i := range defaults.NumField() {
		field := defaults.Type().Field(i)
		key := field.Tag.Get("yaml")
		property := fieldSchema(defaults.Field(i), field.Tag)
		property["description"] = describe(field.Tag)
		properties[key] = property
		// A built-in limit may be changed in part, so only the rules can say what is missing.
		if field.Tag.Get("required") == "true" {
			required = append(required, key)
		}
	}
	schema := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

func describe(tag reflect.StructTag) string {
	text := tag.Get("doc")
	if name := tag.Get("env"); name != "" {
		text += " Environment: " + name + " or " + name + "_FILE."
	}
	return text
}

func fieldSchema(value reflect.Value, tag reflect.StructTag) object {
	t := value.Type()
	switch {
	case t == settingsType:
		return object{"type": "object"}
	case t == stringsType || t == secretsType:
		items := object{"type": "array", "items": item(textSchema(tag))}
		if tag.Get("required") == "true" {
			items["minItems"] = 1
		}
		return orVariable(items)
	case t.Kind() == reflect.Slice:
		element := reflect.New(t.Elem())
		if d, ok := element.Interface().(defaulted); ok {
			d.setDefaults()
		}
		return object{"type": "array", "items": structSchema(element.Elem())}
	case t.Kind() == reflect.Struct && t != secretType:
		return structSchema(value)
	}
	schema := scalarSchema(t, tag)
	if !value.IsZero() && t != secretType {
		schema["default"] = defaultOf(value)
	}
	return schema
}

// item is the schema of one string of a list, which may not be empty.
func item(schema object) object {
	if schema["anyOf"] == nil {
		schema["minLength"] = 1
	}
	return schema
}

func scalarSchema(t reflect.Type, tag reflect.StructTag) object {
	switch {
	case t == sizeType:
		return orVariable(
			object{"type": "integer", "minimum": 0},
			object{"type": "string", "pattern": sizePattern.String()},
		)
	case t == durationType:
		return orVariable(
			object{"const": 0},
			object{"type": "string", "pattern": durationPattern, "minLength": 1},
		)
	case t.Kind() == reflect.Bool:
		return orVariable(object{"type": "boolean"})
	case t.Kind() == reflect.Int:
		number := object{"type": "integer"}
		bound(number, "minimum", tag.Get("min"))
		bound(number, "maximum", tag.Get("max"))
		return orVariable(number)
	}
	return textSchema(tag)
}

func bound(schema object, key, text string) {
	if n, err := strconv.Atoi(text); err == nil {
		schema[key] = n
	}
}

func textSchema(tag reflect.StructTag) object {
	if enum := tag.Get("enum"); enum != "" {
		return orVariable(object{"enum": spellings(enum, tag.Get("also"))})
	}
	pattern := formats[tag.Get("format")].pattern
	if pattern == "" {
		return object{"type": "string"}
	}
	if tag.Get("required") == "" {
		pattern = "^$|" + pattern
	}
	return orVariable(object{"type": "string", "pattern": pattern})
}

// spellings returns the values of an enum and their further spellings.
func spellings(enum, also string) []string {
	all := strings.Split(enum, ",")
	for pair := range strings.SplitSeq(also, ",") {
		if spelling, _, ok := strings.Cut(pair, "="); ok && !slices.Contains(all, spelling) {
			all = append(all, spelling)
		}
	}
	return all
}

func orVariable(schemas ...object) object {
	return object{"anyOf": append(schemas, object{"$ref": "#/$defs/variable"})}
}

func defaultOf(value reflect.Value) any {
	switch value.Type() {
	case durationType:
		return formatDuration(value.Interface().(time.Duration))
	case sizeType:
		return value.Interface().(Size).String()
	}
	return value.Interface()
}
