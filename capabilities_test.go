package shield_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// What a plugin may ask of the host is listed in several places, because each has its own
// reader. These tests hold them to each other.

// capabilities returns those of the sdk, sorted.
func capabilities() []string {
	var names []string
	for _, c := range sdk.Capabilities() {
		names = append(names, string(c))
	}
	return sorted(names)
}

// functions returns the functions of the host as "capability.name", sorted.
func functions() []string {
	var names []string
	for _, f := range wire.Functions() {
		names = append(names, string(f.Capability)+"."+f.Name)
	}
	return sorted(names)
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestConfigurationGrantsTheCapabilitiesThatThereAre(t *testing.T) {
	field, ok := reflect.TypeFor[config.Provider]().FieldByName("Capabilities")
	if !ok {
		t.Fatal("config.Provider has no Capabilities")
	}
	enum := strings.Split(field.Tag.Get("enum"), ",")
	if diff := cmp.Diff(capabilities(), sorted(enum)); diff != "" {
		t.Errorf("config's capabilities (-sdk +config):\n%s", diff)
	}
}

func TestEachCapabilityHasFunctionsAndAVersion(t *testing.T) {
	var with []string
	for _, f := range wire.Functions() {
		with = append(with, string(f.Capability))
	}
	if diff := cmp.Diff(capabilities(), sorted(with)); diff != "" {
		t.Errorf("capabilities with functions (-sdk +wire):\n%s", diff)
	}
	for _, c := range sdk.Capabilities() {
		if since := c.Since(); since < 1 || since > sdk.ABI {
			t.Errorf("capability %s came with version %d of the contract", c, since)
		}
	}
}

// TestContractListsTheFunctions reads the services of provider.proto, whose comments name
// the import of each function.
func TestContractListsTheFunctions(t *testing.T) {
	proto := content(t, "sdk/wire/provider.proto")
	var listed, services []string
	for _, m := range regexp.MustCompile(`(?m)^  rpc \w+\(.*// shield_([a-z]+)\.([a-z_]+)`).FindAllStringSubmatch(proto, -1) {
		listed = append(listed, m[1]+"."+m[2])
	}
	if diff := cmp.Diff(functions(), sorted(listed)); diff != "" {
		t.Errorf("provider.proto's functions (-wire +proto):\n%s", diff)
	}
	for _, m := range regexp.MustCompile(`(?m)^service (\w+) \{`).FindAllStringSubmatch(proto, -1) {
		if m[1] != "Provider" {
			services = append(services, strings.ToLower(m[1]))
		}
	}
	if diff := cmp.Diff(capabilities(), sorted(services)); diff != "" {
		t.Errorf("provider.proto's services (-sdk +proto):\n%s", diff)
	}
}

// TestGuestsCanImportEachFunction reads the imports of the sdk for guests.
func TestGuestsCanImportEachFunction(t *testing.T) {
	var imported []string
	source := content(t, "sdk/serve/host_wasip1.go")
	for _, m := range regexp.MustCompile(`(?m)^//go:wasmimport shield_([a-z]+) ([a-z_]+)$`).FindAllStringSubmatch(source, -1) {
		imported = append(imported, m[1]+"."+m[2])
	}
	if diff := cmp.Diff(functions(), sorted(imported)); diff != "" {
		t.Errorf("imports of sdk/serve (-wire +serve):\n%s", diff)
	}
}

// TestDocsTellOfEachCapability reads the tables of the pages for operators and for authors.
func TestDocsTellOfEachCapability(t *testing.T) {
	for page, heading := range map[string]string{
		"docs/providers.md": "## What it may ask of the gateway",
		"docs/plugins.md":   "## What a provider may ask of the host",
	} {
		_, part, ok := strings.Cut(content(t, page), "\n"+heading+"\n")
		if !ok {
			t.Fatalf("%s has no part %q", page, heading)
		}
		part, _, _ = strings.Cut(part, "\n## ")
		var told []string
		for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(part, -1) {
			told = append(told, m[1])
		}
		if diff := cmp.Diff(capabilities(), sorted(told)); diff != "" {
			t.Errorf("%s's capabilities (-sdk +docs):\n%s", page, diff)
		}
	}
}
