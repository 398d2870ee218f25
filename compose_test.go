package shield_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/materi/shield/config"
)

// What can be read off the compositions is held here; that they do what they say is shown by
// deploy/verify/compose.sh.

const (
	developed = "docker-compose.yml"
	secured   = "docker-compose.secure.yml"
)

// composition is what the rules look at in a file of Docker Compose.
type composition struct {
	Services map[string]service
	Networks map[string]struct{ Internal bool }
	Configs  map[string]struct{ File string }
	Secrets  map[string]struct{ File string }
}

type service struct {
	Image       string
	Build       any
	User        string
	Privileged  bool
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	CapAdd      []string `yaml:"cap_add"`
	SecurityOpt []string `yaml:"security_opt"`
	NetworkMode string   `yaml:"network_mode"`
	PID         string
	IPC         string
	Devices     []string
	Ports       []string
	Volumes     []string
	Tmpfs       []string
	Networks    []string
	Secrets     []string
	Configs     []struct{ Source, Target string }
	Environment map[string]string
	EnvFile     any `yaml:"env_file"`
	Deploy      struct {
		Resources struct {
			Limits struct {
				CPUs   string
				Memory string
				PIDs   int
			}
		}
	}
}

func readComposition(t *testing.T, text string) composition {
	t.Helper()
	var c composition
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) == 0 {
		t.Fatal("there are no services")
	}
	return c
}

var (
	// pinned is an image with the digest that the environment has to name.
	pinned = regexp.MustCompile(`^\$\{[A-Z]+_IMAGE(:[-?][^}]+)?\}@sha256:\$\{[A-Z]+_SHA256(:\?[^}]+)?\}$`)
	// tagged is an image of a version, or one that is built here.
	tagged = regexp.MustCompile(`^(\$\{[A-Z]+_IMAGE:-[a-z0-9./-]+:v?[0-9][a-z0-9.-]*\}|shield(-upstream)?:dev)$`)
	// withPassword is a URL that holds one.
	withPassword = regexp.MustCompile(`://[^/@\s]*:[^/@\s]*@`)
)

// faultsOfSecured are the breaches of what docker-compose.secure.yml promises.
func faultsOfSecured(c composition) []string {
	var faults []string
	fault := func(broken bool, name, format string, args ...any) {
		if broken {
			faults = append(faults, name+": "+fmt.Sprintf(format, args...))
		}
	}
	for name, s := range c.Services {
		fault(!pinned.MatchString(s.Image), name, "its image %q is not named by a digest that has to be given", s.Image)
		fault(s.Build != nil, name, "is built where it runs")
		fault(!s.ReadOnly, name, "its root file system is writable")
		fault(!slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0, name, "has capabilities")
		fault(!slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}), name, "has security_opt %v", s.SecurityOpt)
		fault(s.Privileged || len(s.Devices) > 0 || s.NetworkMode+s.PID+s.IPC != "", name, "has a part of the machine")
		fault(!regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(s.User), name, "its user %q is not a number above 0", s.User)
		limits := s.Deploy.Resources.Limits
		fault(limits.CPUs == "" || limits.Memory == "" || limits.PIDs == 0, name, "has no limit of processors, memory or processes")
		for _, mount := range s.Tmpfs {
			for _, option := range []string{"size=", "noexec", "nosuid", "nodev"} {
				fault(!strings.Contains(mount, option), name, "its tmpfs %s has no %s", mount, option)
			}
		}
		for _, volume := range s.Volumes {
			fault(!regexp.MustCompile(`^[a-z]+:/`).MatchString(volume), name, "mounts a path of the machine: %s", volume)
		}
		fault(s.EnvFile != nil, name, "has an env_file")
		for variable, value := range s.Environment {
			fault(secretName.MatchString(variable) && !strings.HasSuffix(variable, "_FILE"), name, "has %s in its environment", variable)
			fault(strings.HasSuffix(variable, "_FILE") && !slices.Contains(s.Secrets, strings.TrimPrefix(value, "/run/secrets/")), name, "%s is no secret of its own", variable)
			fault(withPassword.MatchString(value), name, "%s holds a password", variable)
		}
		fault(len(s.Ports) > 0 && name != "gateway", name, "publishes ports")
		for _, network := range s.Networks {
			fault(!c.Networks[network].Internal && name != "gateway", name, "is on %s, which leads outside", network)
		}
	}
	for network, want := range map[string][]string{"outside": {"gateway"}, "database": {"db", "gateway", "migrate"}, "cache": {"gateway", "redis"}, "services": {"api", "gateway"}} {
		var got []string
		for _, name := range slices.Sorted(maps.Keys(c.Services)) {
			if slices.Contains(c.Services[name].Networks, network) {
				got = append(got, name)
			}
		}
		fault(!slices.Equal(got, want), "network "+network, "has %v, want %v", got, want)
	}
	for name, secret := range c.Secrets {
		fault(!strings.HasPrefix(secret.File, "${SHIELD_SECRETS"), "secret "+name, "is %q, not a file of SHIELD_SECRETS", secret.File)
	}
	slices.Sort(faults)
	return faults
}

// faultsOfDeveloped are the breaches of what docker-compose.yml promises.
func faultsOfDeveloped(c composition) []string {
	var faults []string
	fault := func(broken bool, name, format string, args ...any) {
		if broken {
			faults = append(faults, name+": "+fmt.Sprintf(format, args...))
		}
	}
	for name, s := range c.Services {
		fault(!tagged.MatchString(s.Image), name, "its image %q has no version", s.Image)
		for _, port := range s.Ports {
			fault(!strings.HasPrefix(port, "127.0.0.1:"), name, "publishes %s to others than this machine", port)
		}
		for variable, value := range s.Environment {
			fault(secretName.MatchString(variable), name, "%s is a secret that everybody knows", variable)
			fault(withPassword.MatchString(value), name, "%s holds a password that everybody knows", variable)
		}
	}
	for _, name := range []string{"db", "redis"} {
		s := c.Services[name]
		fault(!slices.Equal(s.Networks, []string{"inside"}) || !c.Networks["inside"].Internal || len(s.Ports) > 0, name, "can be reached from outside")
	}
	for _, name := range []string{"gateway", "migrate"} {
		s := c.Services[name]
		fault(!s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}), name, "is run otherwise than in production")
	}
	slices.Sort(faults)
	return faults
}

func TestSecureCompositionKeepsItsPromises(t *testing.T) {
	text := contentOf(t, secured)
	if faults := faultsOfSecured(readComposition(t, text)); len(faults) > 0 {
		t.Errorf("%s:\n%s", secured, strings.Join(faults, "\n"))
	}
	// The rules are worth what they find.
	for _, change := range []struct{ old, new, want string }{
		{"cap_drop: [ALL]", "cap_drop: [NET_RAW]", "db: has capabilities"},
		{"  cap_drop: [ALL]", "  cap_drop: [ALL]\n  cap_add: [CHOWN]", "api: has capabilities"},
		{"read_only: true", "read_only: false", "redis: its root file system is writable"},
		{"no-new-privileges:true", "no-new-privileges:false", "gateway: has security_opt"},
		{"@sha256:${API_SHA256:?the digest of API_IMAGE}", "", "api: its image"},
		{"@sha256:${REDIS_SHA256:?the digest of REDIS_IMAGE}", "@sha256:${REDIS_SHA256:-}", "redis: its image"},
		{`user: "999:999" # redis`, `user: "0:0"`, "redis: its user"},
		{"limits: {cpus: \"2\", memory: 2G, pids: 256}", "limits: {cpus: \"2\", memory: 2G}", "db: has no limit"},
		{"noexec,nosuid,nodev", "nosuid,nodev", "db: its tmpfs"},
		{"networks: [cache]", "networks: [cache, outside]", "redis: is on outside"},
		{"networks: [services]", "networks: [services, database]", "network database: has [api db gateway migrate]"},
		{"networks: [services]", "networks: [services, cache]", "network cache: has [api gateway redis]"},
		{"cache: {internal: true}", "cache: {}", "redis: is on cache, which leads outside"},
		{"DATABASE_URL_FILE: /run/secrets/database_url", "DATABASE_URL: postgres://shield:pass@db/shield", "gateway: DATABASE_URL holds a password"},
		{"POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password", "POSTGRES_PASSWORD: postgres", "db: has POSTGRES_PASSWORD in its environment"},
		{"secrets: [postgres_password, shield_password]", "secrets: [shield_password]", "db: POSTGRES_PASSWORD_FILE is no secret of its own"},
		{"volumes: [db:/var/lib/postgresql/data]", "volumes: [/srv/db:/var/lib/postgresql/data]", "db: mounts a path of the machine"},
		{"networks: [services]", "networks: [services]\n    network_mode: host", "api: has a part of the machine"},
		{`file: "${SHIELD_SECRETS}/redis_url"`, `file: redis_url`, "secret redis_url: is"},
	} {
		if !strings.Contains(text, change.old) {
			t.Errorf("%s no longer holds %q", secured, change.old)
			continue
		}
		faults := faultsOfSecured(readComposition(t, strings.ReplaceAll(text, change.old, change.new)))
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, change.want) }) {
			t.Errorf("with %q for %q the faults are %q, want %q among them", change.new, change.old, faults, change.want)
		}
	}
}

func TestDevelopmentCompositionKeepsItsPromises(t *testing.T) {
	text := contentOf(t, developed)
	if faults := faultsOfDeveloped(readComposition(t, text)); len(faults) > 0 {
		t.Errorf("%s:\n%s", developed, strings.Join(faults, "\n"))
	}
	for _, change := range []struct{ old, new, want string }{
		{"127.0.0.1:9090:9090", "9090:9090", "prometheus: publishes 9090:9090"},
		{"postgres:15-bookworm", "postgres:latest", "db: its image"},
		{"POSTGRES_HOST_AUTH_METHOD: trust", "POSTGRES_PASSWORD: postgres", "db: POSTGRES_PASSWORD is a secret"},
		{"postgres://shield@db", "postgres://shield:shield@db", "gateway: DATABASE_URL holds a password"},
		{"    internal: true", "    internal: false", "redis: can be reached from outside"},
		{"read_only: true", "read_only: false", "gateway: is run otherwise"},
	} {
		if !strings.Contains(text, change.old) {
			t.Errorf("%s no longer holds %q", developed, change.old)
			continue
		}
		faults := faultsOfDeveloped(readComposition(t, strings.ReplaceAll(text, change.old, change.new)))
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, change.want) }) {
			t.Errorf("with %q for %q the faults are %q, want %q among them", change.new, change.old, faults, change.want)
		}
	}
}

// Docker makes a directory of what it is to mount and does not find.
func TestCompositionsMountWhatIsThere(t *testing.T) {
	for _, file := range []string{developed, secured} {
		c := readComposition(t, contentOf(t, file))
		for name, s := range c.Services {
			for _, volume := range s.Volumes {
				path, _, _ := strings.Cut(volume, ":")
				if !strings.HasPrefix(path, ".") {
					continue
				}
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s: %s mounts %s: %v", file, name, path, err)
				}
			}
		}
		for name, cfg := range c.Configs {
			if _, err := os.Stat(cfg.File); err != nil {
				t.Errorf("%s: config %s: %v", file, name, err)
			}
		}
	}
}

func TestConfigurationsOfCompositionsAreValid(t *testing.T) {
	env := map[string]string{
		"SHIELD_PLUGINS": "/usr/lib/shield/plugins", "SHIELD_UPSTREAM": "http://upstream:8001",
		"SHIELD_PUBLIC_URL": "https://api.example.com", "SHIELD_HOST": "api.example.com", "SHIELD_SUBNET": "172.30.200.0/28",
		"MAIL_FROM": "Example <no-reply@example.com>", "SMTP_HOST": "smtp.example.com", "SMTP_PORT": "587", "SMTP_USERNAME": "shield", "SMTP_PASSWORD": "x",
	}
	for _, file := range []string{"shield.yaml", "shield.secure.yaml", "migrate.yaml"} {
		_, err := config.Load(filepath.Join("deploy/compose", file), func(name string) (string, bool) {
			value, ok := env[name]
			return value, ok
		})
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSecretsAreThoseOfTheComposition(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	run := func(input string) {
		cmd := exec.Command("deploy/compose/secrets.sh", dir)
		cmd.Stdin = strings.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	run("of the mail server\n")
	first := secretsIn(t, dir)
	if got, want := slices.Sorted(maps.Keys(first)), slices.Sorted(maps.Keys(readComposition(t, contentOf(t, secured)).Secrets)); !cmp.Equal(got, want) {
		t.Errorf("secrets are %q, want those of %s: %q", got, secured, want)
	}
	if got := first["smtp_password"]; got != "of the mail server" {
		t.Errorf("smtp_password is %q", got)
	}
	if got, want := first["database_url"], "postgres://shield:"+first["shield_password"]+"@db:5432/shield?sslmode=disable"; got != want {
		t.Errorf("database_url is %q, want %q", got, want)
	}
	run("")
	if diff := cmp.Diff(first, secretsIn(t, dir)); diff != "" {
		t.Errorf("a second run changed secrets:\n%s", diff)
	}
	other := filepath.Join(t.TempDir(), "secrets")
	cmd := exec.Command("deploy/compose/secrets.sh", other)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "smtp_password would be empty") {
		t.Errorf("without a password of the mail server: %v, %s", err, out)
	}
}

// secretsIn returns them, and holds the directory and its files to their modes.
func secretsIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("the directory is %v, %v; want mode 0700", info, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	secrets := make(map[string]string, len(entries))
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o444 {
			t.Errorf("%s is %v, %v; want mode 0444", path, info, err)
		}
		secrets[entry.Name()] = contentOf(t, path)
	}
	return secrets
}
