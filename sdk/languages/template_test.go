package languages_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// projects are the languages with what their templates are built with here.
var projects = []struct {
	name, sdk string
	tools     func() (string, error) // a setting of make
}{
	{"c", "../c/src", func() (string, error) { return "CLANG=clang", nil }},
	{"assemblyscript", "../assemblyscript/assembly", func() (string, error) {
		asc, err := wasmtest.Asc()
		return "ASC=node " + asc, err
	}},
	{"rust", "../rust/src", func() (string, error) {
		rustc, err := wasmtest.Rustc()
		return "RUSTC=" + rustc, err
	}},
}

// A new project builds as it is and does what its test data says.
func TestNewProjectsLogIn(t *testing.T) {
	for _, p := range projects {
		t.Run(p.name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, filepath.Join("..", "template", p.name), dir)
			if err := os.CopyFS(filepath.Join(dir, "shield", filepath.Base(p.sdk)), os.DirFS(p.sdk)); err != nil {
				t.Fatal(err)
			}
			tools, err := p.tools()
			if err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("make", "-C", dir, tools).CombinedOutput(); err != nil {
				t.Fatalf("make: %v\n%s", err, out)
			}
			m := open(t, "project-"+p.name, func(file string) error { return os.Rename(filepath.Join(dir, "door.wasm"), file) })
			behaves(t, m, filepath.Join(dir, "plugin.test.json"))
		})
	}
}

// fill makes a project named door of a template.
func fill(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	data := map[string]string{"Name": "door", "ShieldSource": "", "ShieldVersion": "v1.0.0"}
	for _, pattern := range []string{"*.tmpl", "*/*.tmpl"} {
		files, err := filepath.Glob(filepath.Join(to, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := template.Must(template.New(file).Delims("<%", "%>").Option("missingkey=error").Parse(string(content))).Execute(&out, data); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(strings.TrimSuffix(file, ".tmpl"), out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// behaves holds a provider to its test data. Its secrets are used as the gateway does.
func behaves(t *testing.T, m *mirror, file string) {
	t.Helper()
	var data struct {
		Settings    json.RawMessage   `json:"settings"`
		BadSettings []json.RawMessage `json:"bad_settings"`
		Secrets     map[string]string `json:"secrets"`
		Expect      []struct {
			Form    string            `json:"form"`
			Fields  map[string]string `json:"fields"`
			Step    string            `json:"step"`
			Subject string            `json:"subject"`
		} `json:"expect"`
	}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &data)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range append(data.BadSettings, []byte(""), []byte("{"), []byte("[]"), []byte("null"), []byte("{} {}"), []byte("\xff")) {
		if faults, err := wire.DecodeFaults(m.call(wire.Configure, wire.EncodeSettings(bad))); err != nil || len(faults) == 0 {
			t.Errorf("settings %s: %v, %v, want a fault", bad, faults, err)
		}
	}
	asked := &mirror{t: t, module: m.module}
	if faults, err := wire.DecodeFaults(asked.call(wire.Configure, wire.EncodeSettings(data.Settings))); err != nil || len(faults) > 0 {
		t.Fatalf("good settings have faults: %v, %v", faults, err)
	}
	host := secretHost{data.Secrets}
	for _, e := range data.Expect {
		out, err := m.module.Call(t.Context(), wire.Begin, wire.EncodeCall(wire.Call{
			Flow: sdk.Flow{ID: "f", Kind: sdk.FlowLogin, Form: e.Form}, Request: sdk.Request{Fields: e.Fields},
		}), host)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := wire.DecodeReply(out)
		if err != nil || reply.Step == nil || reply.Step.Kind() != e.Step {
			t.Errorf("%v: %+v, %v, want %s", e.Fields, reply, err, e.Step)
			continue
		}
		if e.Step == "done" && reply.Step.Done.Identity.Subject != e.Subject {
			t.Errorf("%v: subject %q, want %q", e.Fields, reply.Step.Done.Identity.Subject, e.Subject)
		}
	}
}

// secretHost serves shield_secret.mac alone.
type secretHost struct{ secrets map[string]string }

func (h secretHost) Serve(_ context.Context, f wire.Function, request []byte) ([]byte, error) {
	name, message, err := wire.DecodeMAC(request)
	if f != wire.SecretMAC || err != nil {
		return nil, sdk.ErrNotGranted
	}
	value, ok := h.secrets[name]
	if !ok {
		return nil, sdk.ErrInvalid
	}
	mac := hmac.New(sha256.New, []byte(value))
	mac.Write(message)
	return wire.EncodeResult(mac.Sum(nil), nil), nil
}
