// The program does to manifests what deploy/verify/kubernetes.sh needs and no tool does: it
// compares two streams object by object, takes pods out of what makes them, picks the
// definitions of the kinds that operators bring, makes admission policies of Kubernetes of
// those of Kyverno, and writes the schemas of all kinds.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 3 && args[0] == "equal":
		return equal(args[1], args[2])
	case len(args) == 2 && args[0] == "data":
		return data(in, out, args[1])
	case len(args) == 3 && args[0] == "value":
		return value(in, out, args[1], args[2])
	case len(args) == 3 && args[0] == "container":
		return container(in, out, args[1], args[2])
	case len(args) == 1 && args[0] == "pods":
		return pods(in, out)
	case len(args) >= 1 && args[0] == "only":
		return only(in, out, args[1:])
	case len(args) == 2 && args[0] == "kind":
		return kind(in, out, args[1])
	case len(args) >= 2 && args[0] == "definitions":
		return definitions(in, out, args[1:])
	case len(args) == 1 && args[0] == "admission":
		return admission(in, out)
	case len(args) == 3 && args[0] == "schemas":
		return schemas(in, args[1], args[2])
	}
	return errors.New("usage: equal FILE FILE | data NAME | value NAME KEY | container KIND NAME | pods | only [KIND...] | kind KIND | definitions FILE... | admission | schemas SWAGGER DIRECTORY")
}

// object is one manifest.
type object map[string]any

func (o object) kind() string       { return o.text("kind") }
func (o object) apiVersion() string { return o.text("apiVersion") }
func (o object) name() string       { return o.under("metadata").text("name") }

func (o object) text(key string) string {
	s, _ := o[key].(string)
	return s
}

// under returns what a key holds, which is nil if that is no mapping.
func (o object) under(keys ...string) object {
	for _, key := range keys {
		o, _ = o[key].(object)
	}
	return o
}

// id tells objects of one stream apart, as the API server does.
func (o object) id() string {
	return strings.Join([]string{o.apiVersion(), o.kind(), o.under("metadata").text("namespace"), o.name()}, " ")
}

// group is the API group, which is empty for the core.
func (o object) group() string {
	group, _, found := strings.Cut(o.apiVersion(), "/")
	if !found {
		return ""
	}
	return group
}

// read returns the objects of a stream. No two may be the same.
func read(r io.Reader) ([]object, error) {
	var all []object
	seen := map[string]bool{}
	for d := yaml.NewDecoder(r); ; {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o) == 0 {
			continue
		}
		if seen[o.id()] {
			return nil, fmt.Errorf("%s is there twice", o.id())
		}
		seen[o.id()] = true
		all = append(all, o)
	}
}

func readFile(name string) (map[string]object, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	byID := map[string]object{}
	for _, o := range all {
		byID[o.id()] = o
	}
	return byID, nil
}

// equal says where two streams differ, if they do. Their order is of no account.
func equal(a, b string) error {
	left, err := readFile(a)
	if err != nil {
		return err
	}
	right, err := readFile(b)
	if err != nil {
		return err
	}
	if len(left) == 0 {
		return fmt.Errorf("%s holds no object", a)
	}
	if diff := cmp.Diff(left, right); diff != "" {
		return fmt.Errorf("%s and %s differ (-first +second):\n%s", a, b, diff)
	}
	return nil
}

// configMap returns what a ConfigMap of the stream holds.
func configMap(in io.Reader, name string) (object, error) {
	all, err := read(in)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(o object) bool { return o.kind() == "ConfigMap" && o.name() == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no ConfigMap %s", name)
	}
	return all[i].under("data"), nil
}

// data prints what a ConfigMap holds, as lines NAME=VALUE.
func data(in io.Reader, out io.Writer, name string) error {
	values, err := configMap(in, name)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if strings.Contains(values.text(key), "\n") {
			return fmt.Errorf("%s of %s has more than one line", key, name)
		}
		fmt.Fprintf(out, "%s=%s\n", key, values.text(key))
	}
	return nil
}

// value prints one value of a ConfigMap as it is.
func value(in io.Reader, out io.Writer, name, key string) error {
	values, err := configMap(in, name)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, values.text(key))
	return err
}

// templates are the paths to the pod templates of the kinds that have one.
var templates = map[string][]string{
	"Deployment": {"spec", "template"},
	"Job":        {"spec", "template"},
	"CronJob":    {"spec", "jobTemplate", "spec", "template"},
}

// pods prints the pods that the objects of the stream would make. Pod Security looks at pods
// alone: of what makes them it warns at most.
func pods(in io.Reader, out io.Writer) error {
	all, err := read(in)
	if err != nil {
		return err
	}
	var found []object
	for _, o := range all {
		template := o.under(templates[o.kind()]...)
		if _, ok := templates[o.kind()]; !ok {
			continue
		}
		found = append(found, object{
			"apiVersion": "v1",
			"kind":       "Pod",
			"metadata": object{
				"name":      strings.ToLower(o.kind()) + "-" + o.name(),
				"namespace": o.under("metadata").text("namespace"),
				"labels":    template.under("metadata")["labels"],
			},
			"spec": template["spec"],
		})
	}
	if len(found) == 0 {
		return errors.New("nothing here makes a pod")
	}
	return write(out, found)
}

// container prints what the one container of an object is started with: "command" and a word of
// it on each line, then "env" and a variable with its value.
func container(in io.Reader, out io.Writer, kind, name string) error {
	all, err := read(in)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(o object) bool { return o.kind() == kind && o.name() == name })
	if i < 0 {
		return fmt.Errorf("there is no %s %s", kind, name)
	}
	containers, _ := all[i].under(templates[kind]...).under("spec")["containers"].([]any)
	if len(containers) != 1 {
		return fmt.Errorf("%s %s has %d containers", kind, name, len(containers))
	}
	c := containers[0].(object)
	for _, key := range []string{"command", "args"} {
		words, _ := c[key].([]any)
		for _, word := range words {
			fmt.Fprintf(out, "command\t%v\n", word)
		}
	}
	variables, _ := c["env"].([]any)
	for _, v := range variables {
		fmt.Fprintf(out, "env\t%s=%s\n", v.(object).text("name"), v.(object).text("value"))
	}
	return nil
}

// builtin says whether a group is one that an API server has by itself.
func builtin(group string) bool {
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") && group != "gateway.networking.k8s.io"
}

// only prints the objects of the stream that the API server knows by itself.
func only(in io.Reader, out io.Writer, kinds []string) error {
	all, err := read(in)
	if err != nil {
		return err
	}
	return write(out, slices.DeleteFunc(all, func(o object) bool {
		return !builtin(o.group()) || len(kinds) > 0 && !slices.Contains(kinds, o.kind())
	}))
}

// kind prints the objects of the stream that are of a kind.
func kind(in io.Reader, out io.Writer, kind string) error {
	all, err := read(in)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(o object) bool { return o.kind() != kind })
	if len(all) == 0 {
		return fmt.Errorf("there is no %s", kind)
	}
	return write(out, all)
}

// definitions prints, out of files, the definition of each kind in the stream that an API
// server does not have by itself.
func definitions(in io.Reader, out io.Writer, files []string) error {
	all, err := read(in)
	if err != nil {
		return err
	}
	wanted := map[string]bool{} // "kind.group", and whether it was found
	for _, o := range all {
		if !builtin(o.group()) {
			wanted[o.kind()+"."+o.group()] = false
		}
	}
	var found []object
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		all, err := read(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, o := range all {
			id := o.under("spec", "names").text("kind") + "." + o.under("spec").text("group")
			if _, ok := wanted[id]; ok && o.kind() == "CustomResourceDefinition" {
				wanted[id] = true
				found = append(found, o)
			}
		}
	}
	for id, ok := range wanted {
		if !ok {
			return fmt.Errorf("no file defines %s", id)
		}
	}
	return write(out, found)
}

// admission prints, for each policy of Kyverno that validates, the admission policy of
// Kubernetes that says the same: both have the same members and the same language. So an API
// server without Kyverno shows what the policy refuses.
func admission(in io.Reader, out io.Writer) error {
	all, err := read(in)
	if err != nil {
		return err
	}
	var made []object
	for _, o := range all {
		if o.kind() != "NamespacedValidatingPolicy" {
			continue
		}
		namespace := o.under("metadata").text("namespace")
		name := namespace + "-" + o.name()
		spec := object{}
		for _, key := range []string{"failurePolicy", "matchConstraints", "matchConditions", "variables", "validations"} {
			if v, ok := o.under("spec")[key]; ok {
				spec[key] = v
			}
		}
		made = append(made,
			object{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": object{"name": name}, "spec": spec},
			object{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": object{"name": name}, "spec": object{
				"policyName":        name,
				"validationActions": o.under("spec")["validationActions"],
				"matchResources":    object{"namespaceSelector": object{"matchLabels": object{"kubernetes.io/metadata.name": namespace}}},
			}})
	}
	if len(made) == 0 {
		return errors.New("there is no policy of Kyverno that validates")
	}
	return write(out, made)
}

func write(out io.Writer, all []object) error {
	e := yaml.NewEncoder(out)
	for _, o := range all {
		if err := e.Encode(o); err != nil {
			return err
		}
	}
	return e.Close()
}

const objectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

// schemas writes a JSON Schema for each kind that the API server describes and for each that
// a definition in the stream does, under the names by which kubeconform asks. They refuse
// members that are not described.
func schemas(in io.Reader, swagger, dir string) error {
	b, err := os.ReadFile(swagger)
	if err != nil {
		return err
	}
	var doc struct {
		Definitions map[string]object `json:"definitions"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, schema := range doc.Definitions {
		switch {
		case strings.HasSuffix(name, ".IntOrString"):
			doc.Definitions[name] = object{"type": []string{"string", "integer"}}
		case strings.HasSuffix(name, ".Quantity"):
			doc.Definitions[name] = object{"type": []string{"string", "number"}}
		case schema["properties"] != nil && schema["additionalProperties"] == nil:
			schema["additionalProperties"] = false
		}
	}
	if err := writeJSON(filepath.Join(dir, "definitions.json"), object{"definitions": doc.Definitions}); err != nil {
		return err
	}
	for name, schema := range doc.Definitions {
		kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue // what is in every group, such as DeleteOptions, is no object of its own
		}
		gvk := object(kinds[0].(map[string]any))
		if err := writeKind(dir, gvk.text("group"), gvk.text("version"), gvk.text("kind"), reference(name)); err != nil {
			return err
		}
	}
	defined, err := read(in)
	if err != nil {
		return err
	}
	for _, o := range defined {
		versions, _ := o.under("spec")["versions"].([]any)
		for _, v := range versions {
			version := v.(object)
			schema := version.under("schema", "openAPIV3Schema")
			if schema == nil {
				return fmt.Errorf("%s has a version without a schema", o.name())
			}
			if err := writeKind(dir, o.under("spec").text("group"), version.text("name"), o.under("spec", "names").text("kind"), closed(schema)); err != nil {
				return err
			}
		}
	}
	return nil
}

func reference(definition string) object {
	return object{"$ref": "definitions.json#/definitions/" + definition}
}

// closed is the schema of a definition as JSON Schema has it: one for the whole object, which
// refuses members that it does not describe.
func closed(definition object) object {
	schema := closedPart(definition).(object)
	properties := schema.under("properties")
	if properties == nil {
		properties = object{}
		schema["properties"] = properties
	}
	properties["apiVersion"] = object{"type": "string"}
	properties["kind"] = object{"type": "string"}
	properties["metadata"] = reference(objectMeta)
	return schema
}

func closedPart(v any) any {
	switch v := v.(type) {
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = closedPart(v[i])
		}
		return all
	case object:
		made := object{}
		for key, member := range v {
			switch key {
			case "description", "default", "example", "enum", "required", "pattern":
				made[key] = member
			case "properties": // whose keys are names
				named := object{}
				for name, p := range member.(object) {
					named[name] = closedPart(p)
				}
				made[key] = named
			default:
				made[key] = closedPart(member)
			}
		}
		// Only schemas with a type describe all members: those in anyOf and its like have none.
		if made["type"] == "object" && made["properties"] != nil && made["additionalProperties"] == nil && made["x-kubernetes-preserve-unknown-fields"] != true {
			made["additionalProperties"] = false
		}
		if made["x-kubernetes-int-or-string"] == true {
			made["type"] = []string{"string", "integer"}
		}
		return made
	}
	return v
}

func writeKind(dir, group, version, kind string, schema object) error {
	file := strings.ToLower(kind)
	apiVersion := version
	if group != "" {
		first, _, _ := strings.Cut(group, ".")
		file += "-" + first
		apiVersion = group + "/" + version
	}
	return writeJSON(filepath.Join(dir, file+"-"+version+".json"), object{
		"allOf": []any{
			schema,
			object{
				"required":   []string{"apiVersion", "kind", "metadata"},
				"properties": object{"apiVersion": object{"const": apiVersion}, "kind": object{"const": kind}},
			},
		},
	})
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}
