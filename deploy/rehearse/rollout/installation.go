package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const gateways = 3

// installation is everything that runs.
type installation struct {
	dir       string
	port      int // where to look for a free one
	processes []*process
	env       []string // of the gateways

	front   string // URL of haproxy
	socket  string // where it answers questions
	config  string // the gateways' file
	mails   *mails
	redis   server
	primary server
	replica server
	gates   [gateways]*gate
}

// server is a process that listens, and can be started again as it was.
type server struct {
	*process
	address string
	again   func() *exec.Cmd
}

// gate is one of the gateways.
type gate struct {
	name, address string
	process       *process
}

// install builds what runs into a directory of its own.
func install(ctx context.Context) (in *installation, err error) {
	dir, err := os.MkdirTemp("", "shield-rollout.")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	in = &installation{dir: dir, port: 20000 + os.Getpid()%10000}
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres has a user of its own
		return nil, err
	}
	for _, d := range []string{"bin", "plugins", "next"} {
		if err := os.Mkdir(in.path(d), 0o755); err != nil {
			return nil, err
		}
	}
	overlay, err := in.nextVersion()
	if err != nil {
		return nil, err
	}
	wasm := []string{"GOOS=wasip1", "GOARCH=wasm"}
	for _, b := range []struct {
		env  []string
		args []string
	}{
		{[]string{"CGO_ENABLED=0"}, []string{"-o", in.path("bin") + "/", "./cmd/shield", "./examples/quickstart/upstream"}},
		{wasm, []string{"-buildmode=c-shared", "-o", in.path("plugins/email.wasm"), "./plugins/email/cmd"}},
		{wasm, []string{"-buildmode=c-shared", "-o", in.path("plugins/oauth.wasm"), "./plugins/oauth/cmd"}},
		{wasm, []string{"-buildmode=c-shared", "-overlay", overlay, "-o", in.path("next/email.wasm"), "./plugins/email/cmd"}},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-ldflags", "-s -w"}, b.args...)...)
		cmd.Env = append(os.Environ(), b.env...)
		if _, err := run(cmd); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func (in *installation) path(name string) string { return filepath.Join(in.dir, name) }

// newVersion is what the plugin calls itself after the swap.
const newVersion = "1.0.0-next"

var version = regexp.MustCompile(`const Version = "[^"]*"`)

// nextVersion lets go build a plugin from a source with another version in it.
func (in *installation) nextVersion() (overlay string, err error) {
	source, err := filepath.Abs("plugins/email/email.go")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	next := version.ReplaceAll(text, fmt.Appendf(nil, "const Version = %q", newVersion))
	if bytes.Equal(next, text) {
		return "", fmt.Errorf("%s has no version", source)
	}
	if err := os.WriteFile(in.path("next/email.go"), next, 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{source: in.path("next/email.go")}})
	if err != nil {
		return "", err
	}
	return in.path("next/overlay.json"), os.WriteFile(in.path("next/overlay.json"), list, 0o600)
}

// startAll starts everything and waits until haproxy has three gateways.
func (in *installation) startAll(ctx context.Context) error {
	for _, start := range []func(context.Context) error{in.startDatabase, in.startRedis, in.startPeers, in.startGateways, in.startHAProxy} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop ends everything, whatever it is doing.
func (in *installation) stop() {
	for i := len(in.processes) - 1; i >= 0; i-- {
		in.processes[i].stop()
	}
	if in.mails != nil {
		in.mails.stop()
	}
}

// startDatabase starts Postgres and a replica that has everything before a commit returns.
func (in *installation) startDatabase(ctx context.Context) (err error) {
	initdb, err := program("initdb")
	if err != nil {
		return err
	}
	backup, err := program("pg_basebackup")
	if err != nil {
		return err
	}
	for _, name := range []string{"primary", "replica"} {
		if err := os.Mkdir(in.path(name), 0o700); err != nil {
			return err
		}
		if who, err := owner(); err != nil {
			return err
		} else if who != nil {
			if err := os.Chown(in.path(name), int(who.Uid), int(who.Gid)); err != nil {
				return err
			}
		}
	}
	if _, err := in.asPostgres(ctx, initdb, "-D", in.path("primary"), "-U", "shield", "--auth=trust", "--encoding=UTF8", "--locale=C"); err != nil {
		return err
	}
	hba, err := os.OpenFile(in.path("primary/pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = hba.WriteString("host replication shield 127.0.0.1/32 trust\n")
	if err := hba.Close(); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	// The setting is the primary's alone: after the promotion nobody is left to wait for.
	if in.primary, err = in.startPostgres(ctx, "primary", "-c", "synchronous_standby_names=*"); err != nil {
		return err
	}
	host, port, _ := strings.Cut(in.primary.address, ":")
	if _, err := in.asPostgres(ctx, backup, "-h", host, "-p", port, "-U", "shield", "-D", in.path("replica"), "-R", "-X", "stream"); err != nil {
		return err
	}
	if in.replica, err = in.startPostgres(ctx, "replica"); err != nil {
		return err
	}
	in.env = append(in.env, fmt.Sprintf("DATABASE_URL=postgres://shield@%s,%s/postgres?sslmode=disable&target_session_attrs=read-write", in.primary.address, in.replica.address))
	return await(ctx, "the replica is synchronous", func() bool {
		out, err := in.sql(ctx, in.primary, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
		return err == nil && out == "1"
	})
}

func (in *installation) startPostgres(ctx context.Context, name string, settings ...string) (server, error) {
	postgres, err := program("postgres")
	if err != nil {
		return server{}, err
	}
	address, err := in.freePort()
	if err != nil {
		return server{}, err
	}
	_, port, _ := strings.Cut(address, ":")
	cmd := exec.Command(postgres, append([]string{
		"-D", in.path(name), "-p", port, "-k", in.path(name), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200",
	}, settings...)...)
	who, err := owner()
	if err != nil {
		return server{}, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	p, err := in.start(name, cmd)
	if err != nil {
		return server{}, err
	}
	p.last = syscall.SIGQUIT // its children end before it does
	s := server{process: p, address: address}
	return s, await(ctx, name+" answers", func() bool {
		_, err := in.sql(ctx, s, "SELECT 1")
		return err == nil
	})
}

// owner is whom Postgres runs as, since it refuses root; nil: as we do.
func owner() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func (in *installation) asPostgres(ctx context.Context, name string, args ...string) (string, error) {
	who, err := owner()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.SysProcAttr = in.dir, &syscall.SysProcAttr{Credential: who}
	return run(cmd)
}

func (in *installation) sql(ctx context.Context, s server, query string) (string, error) {
	psql, err := program("psql")
	if err != nil {
		return "", err
	}
	host, port, _ := strings.Cut(s.address, ":")
	out, err := run(exec.CommandContext(ctx, psql, "-X", "-A", "-t", "-h", host, "-p", port, "-U", "shield", "-d", "postgres", "-c", query))
	return strings.TrimSpace(out), err
}

func (in *installation) startRedis(ctx context.Context) error {
	redis, err := program("redis-server")
	if err != nil {
		return err
	}
	address, err := in.freePort()
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(address, ":")
	in.redis = server{address: address, again: func() *exec.Cmd {
		return exec.Command(redis, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", in.dir)
	}}
	in.env = append(in.env, "REDIS_URL=redis://"+address+"/0")
	in.redis.process, err = in.start("redis", in.redis.again())
	return err
}

// startPeers starts those whom the gateways talk to: the mail server, the upstream and the
// other site.
func (in *installation) startPeers(ctx context.Context) (err error) {
	addresses := map[string]string{}
	for _, name := range []string{"mails", "upstream", "front"} {
		if addresses[name], err = in.freePort(); err != nil {
			return err
		}
	}
	if in.mails, err = listenForMails(addresses["mails"]); err != nil {
		return err
	}
	if _, err := in.start("upstream", exec.Command(in.path("bin/upstream"), "-listen", addresses["upstream"])); err != nil {
		return err
	}
	in.front = "http://" + addresses["front"]
	site, issuer, err := in.startSite(ctx)
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(addresses["mails"], ":")
	in.env = append(in.env,
		"SHIELD_PUBLIC_URL="+in.front, "SHIELD_DATA="+in.path("data"), "SHIELD_PLUGINS="+in.path("plugins"),
		"SHIELD_SMTP_PORT="+port, "SHIELD_UPSTREAM=http://"+addresses["upstream"],
		"SHIELD_SITE="+site, "SHIELD_ISSUER="+issuer, "SHIELD_SITE_SECRET="+siteSecret,
	)
	return nil
}

const siteSecret = "what the other site knows this client by"

// startSite starts an OpenID provider with an issuer that knows the people.
func (in *installation) startSite(ctx context.Context) (site, issuer string, err error) {
	cmd := exec.Command("node", "idp.mjs")
	cmd.Dir = "deploy/test/peers/oauth"
	if _, err := cmd.StdinPipe(); err != nil { // it ends with its input
		return "", "", err
	}
	out, said, err := os.Pipe()
	if err != nil {
		return "", "", err
	}
	defer out.Close()
	cmd.Stdout = said
	_, err = in.start("site", cmd)
	_ = said.Close()
	if err != nil {
		return "", "", err
	}
	if err := out.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", "", err
	}
	site, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", "", fmt.Errorf("the other site does not start: %w", err)
	}
	site = strings.TrimSpace(site)
	accounts := map[string]any{}
	for i := range everyone {
		name := fmt.Sprintf("p%d", i)
		accounts[name] = map[string]any{"email": name + "@elsewhere.example", "email_verified": true, "name": name}
	}
	settings, err := json.Marshal(map[string]any{
		"client_secret": siteSecret, "redirect_uris": []string{in.front + "/auth/oauth/basic/callback"},
		"client_jwks": map[string]any{"keys": []any{}}, "accounts": accounts,
	})
	if err != nil {
		return "", "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, site+"/control/people", bytes.NewReader(settings))
	if err != nil {
		return "", "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("make an issuer: %d %s %w", resp.StatusCode, text, err)
	}
	return site, string(text), nil
}

func (in *installation) startGateways(ctx context.Context) error {
	in.config = in.path("shield.yaml")
	if err := in.configure(nil); err != nil {
		return err
	}
	for i := range in.gates {
		address, err := in.freePort()
		if err != nil {
			return err
		}
		in.gates[i] = &gate{name: fmt.Sprintf("gateway-%d", i+1), address: address}
		if err := in.startGate(in.gates[i], in.config); err != nil {
			return err
		}
	}
	for _, g := range in.gates {
		if err := await(ctx, g.name+" is ready", func() bool { return in.status(ctx, g, "/ready/", "") == http.StatusOK }); err != nil {
			return err
		}
	}
	return nil
}

// configure puts a configuration in the place of the one that there is: the one of the
// repository, with a change.
func (in *installation) configure(change func(string) string) error {
	text, err := os.ReadFile("deploy/rehearse/rollout.yaml")
	if err != nil {
		return err
	}
	if change != nil {
		text = []byte(change(string(text)))
	}
	if err := os.WriteFile(in.config+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(in.config+".new", in.config)
}

// shield is a call of the program.
func (in *installation) shield(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, in.path("bin/shield"), args...)
	cmd.Env = append(os.Environ(), in.env...)
	cmd.Env = append(cmd.Env, "SHIELD_LISTEN=127.0.0.1:1") // of no importance but for serve
	return cmd
}

func (in *installation) startGate(g *gate, config string) (err error) {
	cmd := in.shield(context.Background(), "serve", "-config", config)
	cmd.Env = append(cmd.Env, "SHIELD_LISTEN="+g.address)
	g.process, err = in.start(g.name, cmd)
	return err
}

// status asks one gateway and returns the status of its answer, 0 for none.
func (in *installation) status(ctx context.Context, g *gate, path, token string) int {
	status, _ := in.get(ctx, g, path, token)
	return status
}

func (in *installation) get(ctx context.Context, g *gate, path, token string) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.address+path, nil)
	if err != nil {
		return 0, ""
	}
	r.Host, r.Close = strings.TrimPrefix(in.front, "http://"), true
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(text)
}

// metric returns the value of a metric of a gateway, empty if it does not answer.
func (in *installation) metric(ctx context.Context, g *gate, name string) string {
	_, text := in.get(ctx, g, "/metrics/", "")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (in *installation) startHAProxy(ctx context.Context) error {
	haproxy, err := program("haproxy")
	if err != nil {
		return err
	}
	in.socket = in.path("haproxy.sock")
	env := append(os.Environ(), "SHIELD_HAPROXY_SOCKET="+in.socket, "SHIELD_FRONT="+strings.TrimPrefix(in.front, "http://"))
	for i, g := range in.gates {
		env = append(env, fmt.Sprintf("SHIELD_GATEWAY_%d=%s", i+1, g.address))
	}
	check := exec.CommandContext(ctx, haproxy, "-c", "-f", "deploy/rehearse/haproxy.cfg")
	check.Env = env
	if _, err := run(check); err != nil {
		return err
	}
	cmd := exec.Command(haproxy, "-db", "-f", "deploy/rehearse/haproxy.cfg")
	cmd.Env = env
	if _, err := in.start("haproxy", cmd); err != nil {
		return err
	}
	for _, g := range in.gates {
		if err := await(ctx, "haproxy has "+g.name, func() bool { return in.up(g) }); err != nil {
			return err
		}
	}
	return nil
}

// up reports whether haproxy sends requests to a gateway.
func (in *installation) up(g *gate) bool { return in.told(g, "status") == "UP" }

// told returns what haproxy knows of a gateway, by the name of a column of its statistics.
func (in *installation) told(g *gate, column string) string {
	conn, err := net.DialTimeout("unix", in.socket, time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.WriteString(conn, "show stat gateways 4 -1\n"); err != nil { // 4: servers
		return ""
	}
	rows, err := csv.NewReader(conn).ReadAll()
	if err != nil || len(rows) == 0 {
		return ""
	}
	at := slices.Index(rows[0], column)
	for _, row := range rows[1:] {
		if at >= 0 && row[1] == g.name {
			return row[at]
		}
	}
	return ""
}
