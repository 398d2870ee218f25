// What stands in these manifests and in the gateway, too, is compared here with the gateway
// itself. What tools can check is checked by deploy/verify/kubernetes.sh.
package kubernetes_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
	"github.com/materi/shield/gateway/identity"
)

type container struct {
	Image string
	Args  []string
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	Env       []struct{ Name, Value string }
	Resources struct{ Requests, Limits map[string]string }
	Lifecycle struct {
		PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
	}
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type pod struct {
	TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
	Containers                    []container
}

type template struct {
	Metadata struct{ Labels map[string]string }
	Spec     pod
}

type object struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		Template    template
		JobTemplate struct{ Spec struct{ Template template } } `yaml:"jobTemplate"`
		Rules       []struct {
			HTTP struct{ Paths []struct{ Path string } }
		}
		Egress []struct{ Ports []struct{ Port int } }
	}
	Data map[string]string
}

// documents reads the documents of a file.
func documents(t *testing.T, name string) []*yaml.Node {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []*yaml.Node
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, &n)
	}
}

// objects reads the manifests of a file.
func objects(t *testing.T, name string) []object {
	t.Helper()
	var all []object
	for _, doc := range documents(t, name) {
		var o object
		if err := doc.Decode(&o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
	return all
}

func find(t *testing.T, file, kind, name string) object {
	t.Helper()
	for _, o := range objects(t, file) {
		if o.Kind == kind && o.Metadata.Name == name {
			return o
		}
	}
	t.Fatalf("%s has no %s %s", file, kind, name)
	return object{}
}

func gatewayPod(t *testing.T) pod {
	t.Helper()
	return find(t, "base/deployment.yaml", "Deployment", "shield").Spec.Template.Spec
}

// secrets is a directory as a cluster mounts the Secret.
func secrets(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, value := range map[string]string{
		"database-url":    "postgres://shield:secret@postgres.data.svc:5432/shield",
		"redis-url":       "redis://redis.data.svc:6379/0",
		"secret-key":      strings.Repeat("0123456789", 4),
		"jwt-private-key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"jwt-public-key":  "", // there was no key before
		"smtp-password":   "secret",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o440); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// environment is what a container is given: its own variables, with the Secret's files in dir,
// and those of the ConfigMap.
func environment(t *testing.T, c container, dir string, literals ...string) func(string) (string, bool) {
	t.Helper()
	env := map[string]string{}
	for _, line := range literals {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%q is no variable", line)
		}
		env[name] = value
	}
	for _, e := range c.Env {
		env[e.Name] = strings.Replace(e.Value, "/run/secrets/shield", dir, 1)
	}
	return func(name string) (string, bool) { value, ok := env[name]; return value, ok }
}

// literals are the variables of base/shield.env with those that an overlay lays over them.
func literals(t *testing.T, overlay string) []string {
	t.Helper()
	b, err := os.ReadFile("base/shield.env")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	if b, err = os.ReadFile(filepath.Join("overlays", overlay, "kustomization.yaml")); err != nil {
		t.Fatal(err)
	}
	var k struct {
		ConfigMapGenerator []struct{ Literals []string } `yaml:"configMapGenerator"`
	}
	if err := yaml.Unmarshal(b, &k); err != nil {
		t.Fatal(err)
	}
	for _, g := range k.ConfigMapGenerator {
		lines = append(lines, g.Literals...)
	}
	return lines
}

func load(t *testing.T, overlay string) config.Config {
	t.Helper()
	cfg, err := config.Load("base/shield.yaml", environment(t, gatewayPod(t).Containers[0], secrets(t), literals(t, overlay)...))
	if err != nil {
		t.Fatalf("%s: %v", overlay, err)
	}
	return cfg
}

func TestConfigurationIsValidInEachOverlay(t *testing.T) {
	overlays, err := os.ReadDir("overlays")
	if err != nil {
		t.Fatal(err)
	}
	if len(overlays) < 3 {
		t.Fatalf("there are only %d overlays", len(overlays))
	}
	for _, o := range overlays {
		cfg := load(t, o.Name())
		if err := gateway.CheckRoutes(cfg); err != nil {
			t.Errorf("%s: %v", o.Name(), err)
		}
		if cfg.Debug {
			t.Errorf("%s: debug is for one's own machine", o.Name())
		}
		for name, empty := range map[string]bool{
			"database.url": cfg.Database.URL.Empty(), "redis.url": cfg.Redis.URL.Empty(), "secret_key": cfg.SecretKey.Empty(),
			"token.private_key": cfg.Token.PrivateKey.Empty(), "mail.smtp.password": cfg.Mail.SMTP.Password.Empty(),
		} {
			if empty {
				t.Errorf("%s: %s does not come from the Secret", o.Name(), name)
			}
		}
	}
}

func TestMigrationNeedsOnlyTheDatabase(t *testing.T) {
	job := find(t, "base/migrate.yaml", "Job", "shield-migrate").Spec.Template.Spec.Containers[0]
	if got := strings.Join(job.Args, " "); got != "migrate up" {
		t.Errorf("the Job runs shield %s", got)
	}
	file := filepath.Join(t.TempDir(), "migrate.yaml")
	text := find(t, "base/migrate.yaml", "ConfigMap", "shield-migrate").Data["migrate.yaml"]
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, environment(t, job, secrets(t)))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(cfg.Database.URL.Reveal(), "postgres://") {
		t.Error("the database's URL does not come from the Secret")
	}
}

func TestPortsAreThoseOfTheConfiguration(t *testing.T) {
	cfg := load(t, "production")
	want := map[string]string{"http": cfg.Server.Listen, "admin": cfg.Admin.Listen}
	for _, p := range gatewayPod(t).Containers[0].Ports {
		if _, port, err := net.SplitHostPort(want[p.Name]); err != nil || port != strconv.Itoa(p.ContainerPort) {
			t.Errorf("port %s is %d, and the gateway listens on %s", p.Name, p.ContainerPort, want[p.Name])
		}
	}
}

func TestWhatIsWrittenIsOnAVolume(t *testing.T) {
	cfg := load(t, "production")
	for _, m := range gatewayPod(t).Containers[0].VolumeMounts {
		// A directory of its own below the mount, which the gateway makes with mode 0700.
		if m.Name == "data" && strings.HasPrefix(cfg.DataDir, m.MountPath+"/") {
			return
		}
	}
	t.Errorf("data_dir %s is below no volume", cfg.DataDir)
}

func TestThereIsTimeToDrain(t *testing.T) {
	cfg := load(t, "production")
	p := gatewayPod(t)
	sleep := time.Duration(p.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	period := time.Duration(p.TerminationGracePeriodSeconds) * time.Second
	if need := sleep + cfg.Server.Timeouts.Grace + cfg.Server.Timeouts.Drain + 5*time.Second; sleep == 0 || period < need {
		t.Errorf("a pod has %s to end; it sleeps %s, and with grace, drain and 5 s needs %s", period, sleep, need)
	}
}

// mebibytes reads 512Mi, 1Gi and 900MiB.
func mebibytes(t *testing.T, quantity string) int {
	t.Helper()
	m := regexp.MustCompile(`^([0-9]+)([MG])iB?$`).FindStringSubmatch(quantity)
	if m == nil {
		t.Fatalf("%q is no size that is understood here", quantity)
	}
	n, _ := strconv.Atoi(m[1])
	if m[2] == "G" {
		n *= 1024
	}
	return n
}

// The figures are measured by deploy/verify/kubernetes/containers.sh.
func TestMemoryFitsWhatWasMeasured(t *testing.T) {
	const busy, cold = 510, 380
	c := gatewayPod(t).Containers[0]
	request, limit := mebibytes(t, c.Resources.Requests["memory"]), mebibytes(t, c.Resources.Limits["memory"])
	scaler, err := os.ReadFile("components/autoscaling/autoscaler.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`name: memory\n +target: \{type: Utilization, averageUtilization: ([0-9]+)\}`).FindSubmatch(scaler)
	if m == nil {
		t.Fatal("the autoscaler does not look at memory")
	}
	percent, _ := strconv.Atoi(string(m[1]))
	if at := request * percent / 100; at <= busy {
		t.Errorf("pods are added from %d MiB on, and one that hashes as many passwords as it may has %d", at, busy)
	}
	if limit <= cold {
		t.Errorf("the limit is %d MiB, and a cold start takes %d", limit, cold)
	}
	for _, e := range c.Env {
		if e.Name == "GOMEMLIMIT" && mebibytes(t, e.Value) < limit && mebibytes(t, e.Value) > cold {
			return
		}
	}
	t.Error("GOMEMLIMIT is not between a cold start and the limit")
}

// exposed are the prefixes that an Ingress leads to the gateway.
func exposed(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, o := range objects(t, "base/ingress.yaml") {
		for _, rule := range o.Spec.Rules {
			for _, p := range rule.HTTP.Paths {
				all = append(all, p.Path)
			}
		}
	}
	return all
}

func reached(prefixes []string, path string) bool {
	for _, p := range prefixes {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

func TestIngressLeadsToEveryEndpointAndNoProbe(t *testing.T) {
	prefixes := exposed(t)
	for _, e := range (*identity.API)(nil).Endpoints() {
		for _, version := range []string{"", "/v1"} {
			if !reached(prefixes, version+e.Pattern) {
				t.Errorf("%s cannot be reached at %s%s", e.Name, version, e.Pattern)
			}
		}
	}
	for _, r := range load(t, "production").Routes {
		if path := strings.TrimSuffix(r.Path+r.Prefix, "/"); !reached(prefixes, path) {
			t.Errorf("the route %s cannot be reached at %s", r.Name, path)
		}
	}
	for _, probe := range []string{"/health/", "/ready/", "/metrics/"} {
		if reached(prefixes, probe) {
			t.Errorf("%s can be reached", probe)
		}
	}
}

// The network policy lets the gateway out to what its configuration names.
func TestEgressLeadsToWhatTheConfigurationNames(t *testing.T) {
	open := map[string]bool{}
	for _, o := range objects(t, "base/network.yaml") {
		for _, e := range o.Spec.Egress {
			for _, p := range e.Ports {
				open[strconv.Itoa(p.Port)] = true
			}
		}
	}
	cfg := load(t, "production")
	ports := []string{strconv.Itoa(cfg.Mail.SMTP.Port), "443"}
	for _, url := range []string{cfg.Database.URL.Reveal(), cfg.Redis.URL.Reveal()} {
		ports = append(ports, regexp.MustCompile(`:([0-9]+)/`).FindStringSubmatch(url)[1])
	}
	for _, u := range cfg.Upstreams {
		ports = append(ports, u.URL[strings.LastIndex(u.URL, ":")+1:])
	}
	for _, port := range ports {
		if !open[port] {
			t.Errorf("nothing gets out to port %s", port)
		}
	}
}

// The Service of metrics is what the ServiceMonitor asks for.
func TestMonitorSelectsTheAdminService(t *testing.T) {
	labels := find(t, "base/service.yaml", "Service", "shield-admin").Metadata.Labels
	if labels["app.kubernetes.io/component"] != "admin" || labels["app.kubernetes.io/name"] != "shield" {
		t.Errorf("the Service shield-admin has the labels %v, which the ServiceMonitor does not select", labels)
	}
	monitor, err := os.ReadFile("components/monitoring/monitor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The rules group by our label endpoint, which is also the name of one that the operator sets.
	if !strings.Contains(string(monitor), "\n      honorLabels: true") || !strings.Contains(string(monitor), "\n  jobLabel: app.kubernetes.io/name\n") {
		t.Error("the ServiceMonitor changes the labels that the rules depend on")
	}
}

// A chart and a kustomization read nothing beside themselves, so both have the scripts of backups
// again, as render.sh copies them.
func TestBackupScriptsAreThoseOfTheirDirectory(t *testing.T) {
	for _, name := range []string{"backup.sh", "database.sh"} {
		want, err := os.ReadFile(filepath.Join("../backup", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"chart/files/backup", "components/backup"} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s in %s is another one (%v): run render.sh", name, dir, err)
			}
		}
	}
}

// The scripts name the package of each program that they need; shield itself is for SQLite alone.
func TestBackupImageHoldsWhatTheScriptsNeed(t *testing.T) {
	image, err := os.ReadFile("../backup/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	install := regexp.MustCompile(`apt-get install (.*) \\`).FindSubmatch(image)
	if install == nil {
		t.Fatal("../backup/Dockerfile installs nothing")
	}
	installed := strings.Fields(string(install[1]))
	needed := 0
	for _, name := range []string{"backup.sh", "restore.sh"} {
		script, err := os.ReadFile("../backup/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, program := range regexp.MustCompile(`(?m)^\s*program (\S+) (\S+)$`).FindAllStringSubmatch(string(script), -1) {
			if program[2] == "shield" {
				continue
			}
			needed++
			if !slices.Contains(installed, program[2]) {
				t.Errorf("%s needs %s of the package %s, which the image has not", name, program[1], program[2])
			}
		}
	}
	if needed == 0 {
		t.Error("the scripts name no package")
	}
	if !bytes.Contains(image, []byte("\nUSER 1000:1000\n")) {
		t.Error("the image is not of the user that the pod is")
	}
}
