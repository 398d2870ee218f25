package email

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/materi/shield/sdk"
)

func TestConfigureTakesGoodSettings(t *testing.T) {
	for in, want := range map[string]settings{
		`{}`:                    {8, 256, false},
		`{"min_length": 15}`:    {15, 256, false},
		`{"max_length": 64}`:    {8, 64, false},
		`{"composition": true}`: {8, 256, true},
	} {
		p := New()
		if faults := p.Configure([]byte(in)); faults != nil {
			t.Errorf("Configure(%s) = %v", in, faults)
		}
		if p.settings != want {
			t.Errorf("Configure(%s) set %+v, want %+v", in, p.settings, want)
		}
		if !valid(t, in) {
			t.Errorf("the schema refuses %s", in)
		}
	}
}

func TestConfigureNamesEveryFault(t *testing.T) {
	p := New()
	in := `{"min_length": 4, "zeal": 1, "composition": "yes", "max_length": 1e9}`
	want := []sdk.Fault{
		{Path: "composition", Message: "must be true or false"},
		{Path: "max_length", Message: "must be a whole number from 64 to 256"},
		{Path: "min_length", Message: "must be a whole number from 8 to 64"},
		{Path: "zeal", Message: "is unknown; there are min_length, max_length and composition"},
	}
	if diff := cmp.Diff(want, p.Configure([]byte(in))); diff != "" {
		t.Errorf("Configure (-want +got):\n%s", diff)
	}
	if p.settings != defaults() {
		t.Errorf("settings with faults were taken: %+v", p.settings)
	}
}

func TestSchemaAndConfigureAgree(t *testing.T) {
	for _, in := range []string{
		`null`, `[]`, `"x"`, `{"min_length": 7}`, `{"min_length": 65}`, `{"min_length": 8.5}`, `{"min_length": "8"}`, `{"min_length": null}`,
		`{"max_length": 63}`, `{"max_length": 257}`, `{"composition": 1}`, `{"composition": null}`, `{"Min_length": 8}`, `{"unknown": {}}`,
	} {
		if faults := New().Configure([]byte(in)); faults == nil {
			t.Errorf("Configure(%s) finds no fault", in)
		}
		if valid(t, in) {
			t.Errorf("the schema allows %s", in)
		}
	}
}

func valid(t *testing.T, settings string) bool {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(New().Describe().ConfigSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("settings.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("settings.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(settings)))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(value) == nil
}

func FuzzConfigure(f *testing.F) {
	for _, s := range []string{`{}`, `{"min_length": 8}`, `{"composition": null}`, `{"a": [{}]}`, `{`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := New()
		faults := p.Configure(raw)
		if faults != nil && p.settings != defaults() {
			t.Errorf("Configure(%q) has faults and is taken", raw)
		}
		s := p.settings
		if s.minLength < leastMinLength || s.minLength > leastMaxLength || s.maxLength < leastMaxLength || s.maxLength > mostMaxLength {
			t.Errorf("Configure(%q) set %+v", raw, s)
		}
	})
}
