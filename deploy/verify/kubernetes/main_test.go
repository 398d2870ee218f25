package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: shield, namespace: a}
spec:
  template:
    metadata: {labels: {x: "1"}}
    spec: {containers: [{name: c, volumes: 0440}]}
`

const config = `apiVersion: v1
kind: ConfigMap
metadata: {name: env, namespace: a}
data: {B: "2", A: x=y}
`

func files(t *testing.T, texts ...string) []string {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for i, text := range texts {
		name := filepath.Join(dir, string(rune('a'+i))+".yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func TestEqualIgnoresOrderAndForm(t *testing.T) {
	same := "kind: ConfigMap\napiVersion: v1\ndata:\n  A: x=y\n  B: '2'\nmetadata:\n  namespace: a\n  name: env\n"
	f := files(t, deployment+"---\n"+config, same+"---\n# nothing\n---\n"+strings.Replace(deployment, "0440", "288", 1))
	if err := equal(f[0], f[1]); err != nil {
		t.Error(err)
	}
}

func TestEqualFindsEveryDifference(t *testing.T) {
	for name, other := range map[string]string{
		"a value":       strings.Replace(deployment, "0440", "0444", 1) + "---\n" + config,
		"a type":        strings.Replace(deployment, `"1"`, "1", 1) + "---\n" + config,
		"a name":        strings.Replace(deployment, "name: shield", "name: other", 1) + "---\n" + config,
		"a namespace":   strings.Replace(deployment, "namespace: a", "namespace: b", 1) + "---\n" + config,
		"one is gone":   deployment,
		"one is more":   deployment + "---\n" + config + "---\n" + strings.Replace(config, "env", "more", 1),
		"one is double": deployment + "---\n" + config + "---\n" + config,
	} {
		f := files(t, deployment+"---\n"+config, other)
		if equal(f[0], f[1]) == nil {
			t.Errorf("%s: equal() found no difference", name)
		}
	}
}

func TestEqualWantsObjects(t *testing.T) {
	f := files(t, "", "")
	if equal(f[0], f[1]) == nil {
		t.Error("equal() of nothing and nothing found no fault")
	}
}

func TestDataPrintsSortedLines(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"data", "env"}, strings.NewReader(config), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "A=x=y\nB=2\n"; got != want {
		t.Errorf("data() = %q, want %q", got, want)
	}
}

func TestContainerIsThatOfTheObject(t *testing.T) {
	in := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {template: {spec: {containers: [{command: [/bin/a], args: [b, c], env: [{name: X, value: /y}]}]}}}\n"
	var out bytes.Buffer
	if err := run([]string{"container", "Job", "j"}, strings.NewReader(config+"---\n"+in), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "command\t/bin/a\ncommand\tb\ncommand\tc\nenv\tX=/y\n"; got != want {
		t.Errorf("container() = %q, want %q", got, want)
	}
	if run([]string{"container", "Job", "k"}, strings.NewReader(in), &out) == nil {
		t.Error("container() found a Job that there is not")
	}
}

func TestPodsAreThoseOfTheTemplates(t *testing.T) {
	cron := "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: b, namespace: a}\nspec: {jobTemplate: {spec: {template: {spec: {restartPolicy: Never}}}}}\n"
	var out bytes.Buffer
	if err := run([]string{"pods"}, strings.NewReader(deployment+"---\n"+config+cron), &out); err != nil {
		t.Fatal(err)
	}
	all, err := read(&out)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("pods() made %d pods of a Deployment and a CronJob", len(all))
	}
	if p := all[0]; p.id() != "v1 Pod a deployment-shield" || p.under("metadata", "labels").text("x") != "1" || p.under("spec")["containers"] == nil {
		t.Errorf("pods() = %v", p)
	}
	if all[1].under("spec").text("restartPolicy") != "Never" {
		t.Errorf("pods() = %v", all[1])
	}
}

func TestOnlyLeavesOutWhatOperatorsBring(t *testing.T) {
	in := config + "---\napiVersion: kyverno.io/v1\nkind: Policy\nmetadata: {name: p}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n" +
		"---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\n"
	var out bytes.Buffer
	if err := run([]string{"only"}, strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	all, err := read(&out)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, o := range all {
		kinds = append(kinds, o.kind())
	}
	if got := strings.Join(kinds, " "); got != "ConfigMap Ingress" {
		t.Errorf("only() = %s", got)
	}
}

// thing is the definition of a kind that an operator brings.
const thing = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.an.operator}
spec:
  group: an.operator
  names: {kind: Thing, plural: things}
  versions:
    - name: v1
      schema:
        openAPIV3Schema:
          type: object
          required: [spec]
          properties:
            metadata: {type: object}
            spec:
              type: object
              properties:
                port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
                labels: {type: object, additionalProperties: {type: string}}
                free: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {a: {type: string}}}
                description: {type: string}
              oneOf: [{required: [port]}, {required: [free]}]
`

const swagger = `{"definitions": {
	"x.Quantity": {"type": "string"},
	"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object", "properties": {"name": {"type": "string"}}},
	"v1.Thing": {"type": "object", "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
			"metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}, "size": {"$ref": "#/definitions/x.Quantity"}},
		"x-kubernetes-group-version-kind": [{"group": "some.group", "version": "v1", "kind": "Thing"}]}}}`

func TestSchemasRefuseWhatIsNotDescribed(t *testing.T) {
	dir := t.TempDir()
	if err := schemas(strings.NewReader(thing), files(t, swagger)[0], dir); err != nil {
		t.Fatal(err)
	}
	for file, cases := range map[string]map[string]bool{
		"thing-some-v1.json": {
			`{"apiVersion": "some.group/v1", "kind": "Thing", "metadata": {"name": "a"}, "size": 1}`:   true,
			`{"apiVersion": "some.group/v1", "kind": "Thing", "metadata": {"name": "a"}, "size": []}`:  false,
			`{"apiVersion": "some.group/v1", "kind": "Thing", "metadata": {"name": "a"}, "sise": 1}`:   false,
			`{"apiVersion": "some.group/v1", "kind": "Thing", "metadata": {"name": "a", "nam": "b"}}`:  false,
			`{"apiVersion": "some.group/v2", "kind": "Thing", "metadata": {"name": "a"}, "size": "1"}`: false,
			`{"apiVersion": "some.group/v1", "kind": "Thing"}`:                                         false,
		},
		"thing-an-v1.json": {
			`{"apiVersion": "an.operator/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"port": 1, "labels": {"x": "y"}, "description": "z"}}`: true,
			`{"apiVersion": "an.operator/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"port": "http"}}`:                                      true,
			`{"apiVersion": "an.operator/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"free": {"b": 1}}}`:                                    true,
			`{"apiVersion": "an.operator/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"port": 1, "prot": 2}}`:                                false,
			`{"apiVersion": "an.operator/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"port": 1, "labels": {"x": 1}}}`:                       false,
			`{"apiVersion": "an.operator/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"port": true}}`:                                        false,
			`{"apiVersion": "an.operator/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"labels": {}}}`:                                        false,
			`{"apiVersion": "an.operator/v1", "kind": "Thing", "metadata": {"nam": "a"}, "spec": {"port": 1}}`:                                            false,
			`{"apiVersion": "an.operator/v1", "kind": "Thing", "metadata": {"name": "a"}}`:                                                                false,
		},
	} {
		schema, err := jsonschema.NewCompiler().Compile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for text, valid := range cases {
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(v); (err == nil) != valid {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

func TestDefinitionsAreThoseOfTheStream(t *testing.T) {
	f := files(t, thing+"---\n"+strings.ReplaceAll(thing, "hing", "hong"))
	in := config + "---\napiVersion: an.operator/v1\nkind: Thing\nmetadata: {name: a}\n"
	var out bytes.Buffer
	if err := run([]string{"definitions", f[0]}, strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	all, err := read(&out)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all[0].name() != "things.an.operator" {
		t.Errorf("definitions() = %v", all)
	}
	if run([]string{"definitions", f[0]}, strings.NewReader(in+"---\napiVersion: an.operator/v1\nkind: Thang\nmetadata: {name: a}\n"), &out) == nil {
		t.Error("definitions() found a kind that nothing defines")
	}
}

func TestAdmissionSaysWhatThePolicySays(t *testing.T) {
	in := `apiVersion: policies.kyverno.io/v1
kind: NamespacedValidatingPolicy
metadata: {name: p, namespace: a}
spec:
  failurePolicy: Fail
  validationActions: [Deny]
  evaluation: {background: {enabled: false}}
  matchConstraints: {resourceRules: [{resources: [pods]}]}
  variables: [{name: x, expression: "1"}]
  validations: [{expression: variables.x == 1}]
`
	var out bytes.Buffer
	if err := run([]string{"admission"}, strings.NewReader(in+"---\n"+config), &out); err != nil {
		t.Fatal(err)
	}
	all, err := read(&out)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("admission() = %v", all)
	}
	want := object{
		"failurePolicy":    "Fail",
		"matchConstraints": object{"resourceRules": []any{object{"resources": []any{"pods"}}}},
		"variables":        []any{object{"name": "x", "expression": "1"}},
		"validations":      []any{object{"expression": "variables.x == 1"}},
	}
	if diff := cmp.Diff(want, all[0].under("spec")); diff != "" {
		t.Errorf("admission() (-want +got):\n%s", diff)
	}
	if b := all[1]; b.under("spec").text("policyName") != all[0].name() || b.under("spec", "matchResources", "namespaceSelector", "matchLabels").text("kubernetes.io/metadata.name") != "a" {
		t.Errorf("admission() binds it by %v", b)
	}
}
