package gatewaytest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/gateway/testbed"
)

// installation is what the gateways of one operator share: the data directory, the
// database, the mails, the upstream. Everything that the tests learn in it and that must
// not be seen is noted, and looked for in its log when the test ends.
type installation struct {
	database, redis, prefix string
	data, mails             string
	upstream                *upstream
	logs                    *logs
	secrets                 *secrets
	inbox                   inbox
	now                     func() time.Time // nil: the clock
}

func newInstallation(t testing.TB) *installation {
	dir := t.TempDir()
	in := &installation{
		data: filepath.Join(dir, "data"), mails: filepath.Join(dir, "mails"),
		logs: &logs{}, secrets: &secrets{}, upstream: newUpstream(t),
	}
	if err := os.Mkdir(in.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(compileCache, filepath.Join(in.data, "cache")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		text := in.logs.String()
		in.secrets.mustNotBeIn(t, text)
		if t.Failed() {
			t.Logf("the log, warnings and worse:\n%s", worse(text))
		}
	})
	return in
}

// onSQLite is an installation with nothing beside it.
func onSQLite(t testing.TB) *installation {
	in := newInstallation(t)
	in.database = "sqlite:" + filepath.Join(in.data, "shield.db")
	return in
}

// onPostgres is an installation on a schema of its own and on Redis.
func onPostgres(t testing.TB) *installation {
	in := newInstallation(t)
	in.database = testbed.Postgres(t)
	in.redis, in.prefix = testbed.Redis(t)
	return in
}

// onBoth runs a story on each kind of installation. Stories run in parallel: they mostly
// wait.
func onBoth(t *testing.T, story func(t *testing.T, in *installation)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		story(t, onSQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		story(t, onPostgres(t))
	})
}

// file is the configuration of the tests. Limits are wide and answers are not held back, so
// that only the tests that are about these meet them.
const file = `
server:
  listen: %[1]s
  public_url: http://%[1]s
  timeouts: {grace: 0s}
data_dir: %[2]s
database: {url: "%[3]s", pool_size: 8, migrate: true}
redis: {url: "%[4]s", key_prefix: "%[5]s"}
log: {level: debug}
mail: {from: "Materi <no-reply@materi.example>", directory: %[6]s}
login: {uniform_delay: 0s, reset_page: "http://%[1]s/reset"}
providers:
  - {name: email, label: E-mail, plugin: %[7]s, capabilities: [kv, password, log], instances: 4, wait: 30s, timeout: 30s}
rate_limits:
  - {name: login, limit: 100000, period: 1m, key: [ip]}
  - {name: login-account, limit: 100000, period: 1m}
  - {name: register, limit: 100000, period: 1m, key: [ip]}
  - {name: password-reset, limit: 100000, period: 1m, key: [ip]}
  - {name: magic-link, limit: 100000, period: 1m, key: [ip]}
  - {name: verify-resend, limit: 100000, period: 1m, key: [ip]}
  - {name: refresh, limit: 100000, period: 1m}
  - {name: three, limit: 3, period: 1h, key: [subject, route]}
  - {name: three-ip, limit: 3, period: 1h, key: [ip, route]}
upstreams:
  - {name: demo, url: "%[8]s"}
routes:
  - {name: status, path: /status, upstream: demo, auth: public}
  - {name: notes, prefix: /api/notes, upstream: demo, auth: required}
  - {name: maybe, prefix: /maybe, upstream: demo, auth: optional}
  - {name: scoped, prefix: /scoped, upstream: demo, auth: required, scopes: [notes.read, notes.write]}
  - {name: staff, prefix: /staff, upstream: demo, auth: required, roles: [admin, owner]}
  - {name: limited, prefix: /limited, upstream: demo, auth: required, rate_limits: [three]}
  - {name: limited-ip, prefix: /limited-ip, upstream: demo, auth: public, rate_limits: [three-ip]}
  - {name: stripped, prefix: /stripped, upstream: demo, auth: public, strip_prefix: /stripped, methods: [GET]}
`

// config returns the configuration of a gateway that listens on address.
func (in *installation) config(t testing.TB, address string, change ...func(*config.Config)) config.Config {
	t.Helper()
	text := fmt.Sprintf(file, address, in.data, in.database, in.redis, in.prefix, in.mails, emailPlugin, in.upstream.url)
	cfg, err := config.Parse(filepath.Join(in.data, "shield.yaml"), []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(&cfg)
	}
	return cfg
}

// gate is a running gateway and a client of it.
type gate struct {
	*gateway.Gateway
	*client
	in      *installation
	cfg     config.Config
	address string
}

// start starts a gateway and waits until it is ready.
func (in *installation) start(t testing.TB, change ...func(*config.Config)) *gate {
	t.Helper()
	g := in.launch(t, change...)
	g.ready(t)
	return g
}

// launch starts a gateway, which stops when the test ends.
func (in *installation) launch(t testing.TB, change ...func(*config.Config)) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	cfg := in.config(t, address, change...)
	g, err := gateway.New(gateway.Options{Config: cfg, Version: "test", Log: in.log(), Now: in.now})
	if err != nil {
		_ = ln.Close()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(ln) }()
	client := newClient(t, "http://"+address, in.secrets)
	t.Cleanup(func() {
		client.http.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := g.Stop(ctx); err != nil {
			t.Errorf("Stop() = %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return &gate{Gateway: g, client: client, in: in, cfg: cfg, address: address}
}

func (in *installation) log() *slog.Logger {
	return slog.New(slog.NewJSONHandler(in.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (g *gate) ready(t testing.TB) {
	t.Helper()
	var last answer
	defer func() {
		if t.Failed() {
			t.Logf("/ready/ said %s", last.body)
		}
	}()
	// A verdict of readiness is kept for half a second, so it is asked last: these two can be
	// answered once the plugin is loaded and the schema is there.
	eventually(t, "the plugin is loaded", func() bool { return strings.Contains(string(g.get(t, "/auth/providers").body), "magic_link") })
	eventually(t, "the schema is there", func() bool { return g.refresh(t, forgedRefresh()).status == http.StatusUnauthorized })
	eventually(t, "the gateway is ready", func() bool {
		last = g.get(t, "/ready/")
		return last.status == http.StatusOK
	})
}

// store opens the database of the installation behind the gateways' backs.
func (in *installation) store(t testing.TB) *store.Store {
	t.Helper()
	s, err := gateway.OpenStore(t.Context(), config.Database{URL: config.NewSecret(in.database), PoolSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// suspend does what an administrator will do.
func (in *installation) suspend(t testing.TB, userID string) {
	t.Helper()
	_, err := in.store(t).Commit(t.Context(), login.Commit{Now: time.Now(), UpdateUser: &login.UserUpdate{
		ID: userID, Expect: account.Active, Status: account.Suspended, Verified: true,
	}})
	if err != nil {
		t.Fatalf("suspend: %v", err)
	}
}

// logs is a log that many write.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// worse is the part of a log that matters when a test failed.
func worse(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		routine := strings.Contains(line, `"level":"INFO"`) || strings.Contains(line, `"level":"DEBUG"`) || strings.Contains(line, `"route":"ready"`)
		if !routine {
			b.WriteString(line)
		}
	}
	return b.String()
}

// secrets are what no log may hold.
type secrets struct {
	mu  sync.Mutex
	all map[string]string // to what it is
}

func (s *secrets) add(what, secret string) {
	if len(secret) < 6 { // too short to be told from other text
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]string{}
	}
	s.all[secret] = what
	if signature := secret[strings.LastIndexByte(secret, '.')+1:]; what == "access token" && len(signature) > 40 {
		s.all[signature] = "signature of an access token"
	}
}

func (s *secrets) mustNotBeIn(t testing.TB, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret, what := range s.all {
		i := strings.Index(text, secret)
		if i < 0 {
			continue
		}
		from := strings.LastIndexByte(text[:i], '\n') + 1
		line, _, _ := strings.Cut(text[from:], "\n")
		t.Errorf("it holds a secret (%s):\n%s", what, line)
	}
}

// patience is long: the first plugin that a machine compiles under the race detector, with
// other tests beside it, takes half a minute.
const patience = 2 * time.Minute

// eventually waits for a condition that somebody else brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
