package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// variables is an environment.
type variables map[string]string

func (v variables) lookup(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

const key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"

func TestEnvironmentOverridesTheFile(t *testing.T) {
	const file = "debug: false\nlog: {level: error}\nserver: {allowed_hosts: [file.example]}\ndatabase: {pool_size: 1, url: 'sqlite:a.db'}\nadmin: {metrics: true}\n"
	env := variables{
		"DATABASE_URL":       "postgresql://shield@db/shield",
		"REDIS_URL":          "redis://cache:6379/0",
		"SECRET_KEY":         "correct horse battery staple and more",
		"JWT_PRIVATE_KEY":    strings.ReplaceAll(key, "\n", `\n`),
		"JWT_PUBLIC_KEY":     `-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----`,
		"DEBUG":              "True",
		"ALLOWED_HOSTS":      "api.materi.dev, .materi.dev ,",
		"DATABASE_POOL_SIZE": " 7 ",
		"LOG_LEVEL":          "WARNING",
		"ENABLE_METRICS":     "0",
		"ENABLE_TRACING":     "1",
	}
	c, err := Parse("/etc/shield.yaml", []byte(file), env.lookup)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Database.URL.Reveal(), c.Redis.URL.Reveal(), c.SecretKey.Reveal(), c.Token.PrivateKey.Reveal(), c.Token.PublicKey,
		c.Debug, c.Server.AllowedHosts, c.Database.PoolSize, c.Log.Level, c.Admin.Metrics, c.Tracing.Enabled, c.Login.ExistingAccount}
	want := []any{"postgresql://shield@db/shield", "redis://cache:6379/0", "correct horse battery staple and more", key,
		"-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----",
		true, []string{"api.materi.dev", ".materi.dev"}, 7, "warn", false, true, "conflict"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse() (-want +got):\n%s", diff)
	}
}

func TestEmptyVariableLeavesTheFile(t *testing.T) {
	env := variables{"LOG_LEVEL": "", "ALLOWED_HOSTS": "", "DATABASE_POOL_SIZE": ""}
	c, err := Parse("c.yaml", []byte("log: {level: error}"), env.lookup)
	if err != nil || c.Log.Level != "error" || c.Database.PoolSize != 50 {
		t.Errorf("Parse() = %q, %d, %v", c.Log.Level, c.Database.PoolSize, err)
	}
}

func TestValueFromAFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ content, want string }{
		{"correct horse battery staple and more\n", "correct horse battery staple and more"},
		{"correct horse battery staple and more\r\n", "correct horse battery staple and more"},
		{"correct horse battery staple and more\n\n", "correct horse battery staple and more\n"},
		{" correct horse battery staple and more", " correct horse battery staple and more"},
	} {
		env := variables{"SECRET_KEY_FILE": write("secret", c.content), "SECRET_KEY": ""}
		got, err := Parse("", nil, env.lookup)
		if err != nil || got.SecretKey.Reveal() != c.want {
			t.Errorf("SECRET_KEY_FILE with %q = %q, %v", c.content, got.SecretKey.Reveal(), err)
		}
		got, err = Parse("c.yaml", []byte("mail: {smtp: {password: '${SECRET_KEY}', username: u, host: h}, from: a@b.example}"), env.lookup)
		if err != nil || got.Mail.SMTP.Password.Reveal() != c.want {
			t.Errorf("${SECRET_KEY} with a file of %q = %q, %v", c.content, got.Mail.SMTP.Password.Reveal(), err)
		}
	}

	huge := write("hunter2-huge", strings.Repeat("x", maxValueFile+1))
	for _, env := range []variables{
		{"SECRET_KEY_FILE": filepath.Join(dir, "hunter2-absent")},
		{"SECRET_KEY_FILE": dir},
		{"SECRET_KEY_FILE": huge},
		{"SECRET_KEY_FILE": write("secret", "x"), "SECRET_KEY": "hunter2"},
		{"SECRET_KEY_FILE": write("nul", "correct horse battery staple hunter2 \x00")},
	} {
		_, err := Parse("", nil, env.lookup)
		if err == nil || !strings.HasPrefix(err.Error(), "$SECRET_KEY_FILE: secret_key: ") {
			t.Errorf("Parse(%v) = %v, want a fault of $SECRET_KEY_FILE", env, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), dir) {
			t.Errorf("Parse(%v) tells the value: %v", env, err)
		}
	}
}

func TestExpand(t *testing.T) {
	env := environment(variables{"A": "1", "EMPTY": "", "NESTED": "${A}"}.lookup)
	for _, c := range []struct {
		text, want string
		used, bad  bool
	}{
		{text: "plain $A $ {A} $$", want: "plain $A $ {A} $$"},
		{text: "${A}", want: "1", used: true},
		{text: "a${A}b${A:-2}", want: "a1b1", used: true},
		{text: "${EMPTY}", want: "", used: true},
		{text: "${EMPTY:-x}", want: "x", used: true},
		{text: "${ABSENT:-}", want: "", used: true},
		{text: "${ABSENT:-a:-b $x}", want: "a:-b $x", used: true},
		{text: "$${A}", want: "${A}"},
		{text: "$$${A}", want: "$${A}"},
		{text: "${NESTED}", want: "${A}", used: true},
		{text: "${ABSENT}", bad: true},
		{text: "${ABSENT-x}", bad: true},
		{text: "${A", bad: true},
		{text: "${}", bad: true},
		{text: "${1A}", bad: true},
	} {
		got, used, err := env.expand(c.text)
		if (err != nil) != c.bad || !c.bad && (got != c.want || used != c.used) {
			t.Errorf("expand(%q) = %q, %v, %v; want %q, %v, bad = %v", c.text, got, used, err, c.want, c.used, c.bad)
		}
	}
}

func TestMissingFileIsAFault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shield.yaml")
	_, err := Load(path, variables{}.lookup)
	if want := path + ":1:1: the file cannot be read: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("Load() = %v, want %s", err, want)
	}
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, variables{}.lookup); err == nil || !strings.Contains(err.Error(), "longer than 4 MiB") {
		t.Errorf("Load() of a huge file = %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		for _, name := range files(f, pattern) {
			f.Add(read(f, name))
		}
	}
	const leak = "LEAKED-VALUE"
	env := func(name string) (string, bool) {
		switch name {
		case "SECRET", "FORGED", "NAME", "HOSTS", "POOL", "SMTP_PORT":
			return leak, true
		}
		return "", false
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(strings.ToUpper(string(data)), leak) {
			return
		}
		_, err := Parse("fuzz.yaml", data, env)
		if err == nil {
			return
		}
		faults := err.(Faults)
		for _, fault := range faults {
			if fault.File != "fuzz.yaml" || fault.Line < 1 || fault.Col < 1 || fault.Message == "" {
				t.Errorf("fault without a place: %#v", fault)
			}
			if strings.ContainsAny(fault.String(), "\n\r\x00\x1b") {
				t.Errorf("fault of more than one line: %q", fault)
			}
		}
		if strings.Contains(err.Error(), leak) {
			t.Errorf("fault tells a value of the environment: %v", err)
		}
	})
}
