package gatewaytest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/gateway/testbed"
)

// operator runs the scripts of deploy/backup as an operator does.
type operator struct {
	dir string // where the backups are
	env map[string]string
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	o := &operator{dir: filepath.Join(t.TempDir(), "backups")}
	keys := t.TempDir()
	identity, recipients := filepath.Join(keys, "identity"), filepath.Join(keys, "recipients")
	public := command(t, "age-keygen", "-o", identity)
	_, key, found := strings.Cut(public, "Public key: ")
	if !found {
		t.Fatalf("age-keygen says %q", public)
	}
	if err := os.WriteFile(recipients, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	o.env = map[string]string{"BACKUP_DIR": o.dir, "BACKUP_RECIPIENTS": recipients, "BACKUP_IDENTITY": identity}
	return o
}

// command runs a program that must succeed and returns what it says.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// run runs a script with further variables ("" removes one) and returns its two outputs.
func (o *operator) run(t *testing.T, name string, more map[string]string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../../deploy/backup/"+name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
	for _, set := range []map[string]string{o.env, more} { // the last of two wins
		for name, value := range set {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	var out, diagnosis bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnosis
	err = cmd.Run()
	return strings.TrimSpace(out.String()), diagnosis.String(), err
}

// must is run for scripts that must succeed.
func (o *operator) must(t *testing.T, name string, more map[string]string, args ...string) string {
	t.Helper()
	out, diagnosis, err := o.run(t, name, more, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, diagnosis)
	}
	return out
}

// refused is run for scripts that must fail, and say why.
func (o *operator) refused(t *testing.T, why, name string, more map[string]string, args ...string) {
	t.Helper()
	out, diagnosis, err := o.run(t, name, more, args...)
	if err == nil || !strings.Contains(diagnosis, why) {
		t.Errorf("%s: %v, says %q %q, want a failure with %q", name, err, out, diagnosis, why)
	}
}

// backups are what is in the directory of the backups.
func (o *operator) backups(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(o.dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != ".lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

// A drill with 10,000 people takes minutes, mostly for hashing the passwords of those who log
// in; deploy/verify/recovery.sh has that.
var (
	population = flag.Int("population", 300, "how many users the installation of the restore drill has, each with a session")
	logins     = flag.Int("logins", 6, "how many of them also log in")
)

// multiply makes many people of one who registered, with the same password each.
func multiply(t *testing.T, db *pgx.Conn, p person) {
	t.Helper()
	for _, sql := range []string{
		`INSERT INTO shield_users SELECT (copy).* FROM (SELECT jsonb_populate_record(u, jsonb_build_object('id', gen_random_uuid(), 'email', 'p' || n || '@example.com')) AS copy
			FROM shield_users u, generate_series(2, %d) n WHERE u.email = '%s') x`,
		`INSERT INTO shield_identities SELECT (copy).* FROM (SELECT jsonb_populate_record(i, jsonb_build_object('id', gen_random_uuid(), 'user_id', u.id, 'subject', 'subject-' || n, 'email', u.email)) AS copy
			FROM shield_identities i, generate_series(2, %d) n JOIN shield_users u ON u.email = 'p' || n || '@example.com' WHERE i.email = '%s') x`,
		`INSERT INTO shield_kv (provider, key, value, version) SELECT provider, 'addr/p' || n || '@example.com',
				convert_to(regexp_replace(convert_from(value, 'UTF8'), '^1\n[^\n]+', '1' || chr(10) || 'subject-' || n), 'UTF8'), version
			FROM shield_kv, generate_series(2, %d) n WHERE key = 'addr/%s'`,
		`INSERT INTO shield_kv (provider, key, value, version) SELECT 'email', 'sub/subject-' || n, convert_to('p' || n || '@example.com', 'UTF8'), n
			FROM generate_series(2, %d) n WHERE '%s' <> ''`,
	} {
		if _, err := db.Exec(t.Context(), fmt.Sprintf(sql, *population, p.email)); err != nil {
			t.Fatal(err)
		}
	}
}

// admit gives everybody a session and returns their refresh tokens, by user. It goes around
// the logins, whose hashes take longest, but not around the keeper of sessions.
func (in *installation) admit(t *testing.T, db *pgx.Conn) map[string]string {
	t.Helper()
	secret, err := os.ReadFile(filepath.Join(in.data, "secret_key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.NewKey(strings.TrimSpace(string(secret)))
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := session.New(session.Options{
		Store: in.store(t), Key: key, Config: config.Session{RefreshTTL: time.Hour}, AccessTTL: time.Minute,
		Now: time.Now, Log: in.log(), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	users, err := db.Query(t.Context(), `SELECT CAST(user_id AS text), CAST(id AS text) FROM shield_identities`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	var rows [][]any
	for users.Next() {
		var user, identity string
		if err := users.Scan(&user, &identity); err != nil {
			t.Fatal(err)
		}
		v, token, err := keeper.Start(user, session.Login{Method: "email", IdentityID: identity})
		if err != nil {
			t.Fatal(err)
		}
		all[user] = token
		rows = append(rows, []any{v.ID, user, v.Counter, v.Used, v.Salt, v.Method, `["pwd"]`, v.IP, v.UserAgent, v.CreatedAt, v.RotatedAt, v.LastUsedAt, v.ExpiresAt, v.Reason, identity})
	}
	if err := users.Err(); err != nil {
		t.Fatal(err)
	}
	columns := []string{"id", "user_id", "counter", "used", "salt", "method", "amr", "ip", "user_agent", "created_at", "rotated_at", "last_used_at", "expires_at", "reason", "identity_id"}
	if _, err := db.CopyFrom(t.Context(), pgx.Identifier{"shield_sessions"}, columns, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	return all
}

// atOnce does n things, some at the same time, and returns what went wrong.
func atOnce(n int, do func(int) error) error {
	var next atomic.Int64
	failed := make([]error, 8)
	var working sync.WaitGroup
	for w := range failed {
		working.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && failed[w] == nil; i = next.Add(1) - 1 {
				failed[w] = do(int(i))
			}
		})
	}
	working.Wait()
	return errors.Join(failed...)
}

// quiet is for a gateway that is asked too much for its log to be read.
func quiet(c *config.Config) { c.Log.Level, c.Log.Access = "warn", false }

var storeTables = []string{"shield_users", "shield_identities", "shield_sessions", "shield_revocations", "shield_flows", "shield_mail", "shield_kv", "shield_audit", "shield_migrations"}

// digests say what is in the tables.
func digests(t *testing.T, db *pgx.Conn) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, table := range storeTables {
		var n int
		var sum string
		err := db.QueryRow(t.Context(), `SELECT count(*), COALESCE(md5(string_agg(line, chr(10) ORDER BY line)), '') FROM (SELECT CAST(x AS text) AS line FROM `+table+` x) y`).Scan(&n, &sum)
		if err != nil {
			t.Fatal(err)
		}
		all[table] = fmt.Sprintf("%d rows %s", n, sum)
	}
	return all
}

// stopped ends a gateway before the test does.
func (g *gate) stopped(t *testing.T) {
	t.Helper()
	g.client.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestEverybodyIsBackAfterARestore(t *testing.T) {
	t.Parallel()
	in := onPostgres(t)
	g := in.start(t, quiet)
	p := g.enrol(t)
	db, err := pgx.Connect(t.Context(), in.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	multiply(t, db, p)
	sessions := in.admit(t, db)
	if len(sessions) != *population {
		t.Fatalf("%d people, want %d", len(sessions), *population)
	}
	first := g.refresh(t, g.login(t, p).Refresh).tokens(t)
	ended := g.login(t, p)
	g.post(t, "/auth/logout", nil, bearer(ended.Access)).ok(t, http.StatusNoContent)
	g.stopped(t)
	want := digests(t, db)

	o := newOperator(t)
	began := time.Now()
	made := o.must(t, "backup.sh", map[string]string{"DATABASE_URL": in.database, "SHIELD_DATA_DIR": in.data})
	saved := time.Since(began)
	began = time.Now()
	var schema string
	if err := db.QueryRow(t.Context(), `SELECT current_schema()`).Scan(&schema); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `DROP SCHEMA `+schema+` CASCADE`); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(in.data); err != nil {
		t.Fatal(err)
	}
	again := newInstallation(t) // another machine, with nothing on it
	again.database, again.redis, again.prefix = in.database, in.redis, in.prefix
	o.must(t, "restore.sh", map[string]string{"DATABASE_URL": again.database, "SHIELD_DATA_DIR": again.data}, made)
	if diff := cmp.Diff(want, digests(t, db)); diff != "" {
		t.Errorf("the tables after the restore (-before +after):\n%s", diff)
	}
	g = g.heir(t, again, quiet, limited("login-ip", 1_000_000)) // they all come from one address
	t.Logf("%d users: saved in %v, restored and served after %v", *population, saved.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))

	g.get(t, "/api/notes", bearer(first.Access)).ok(t, http.StatusOK)
	g.refresh(t, first.Refresh).tokens(t)
	g.refresh(t, ended.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
	users := slices.Collect(maps.Keys(sessions))
	err = atOnce(len(users), func(i int) error {
		a, err := g.try(http.MethodPost, "/auth/refresh", object{"refresh_token": sessions[users[i]]})
		if err == nil && (a.status != http.StatusOK || !bytes.Contains(a.body, []byte(users[i]))) {
			err = fmt.Errorf("the refresh of %s = %d %s", users[i], a.status, a.body)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	err = atOnce(min(*logins, *population-1), func(i int) error {
		email := fmt.Sprintf("p%d@example.com", *population-i)
		a, err := g.try(http.MethodPost, "/auth/login", object{"email": email, "password": p.password})
		if err == nil && (a.status != http.StatusOK || !bytes.Contains(a.body, []byte(email))) {
			err = fmt.Errorf("the login of %s = %d %s", email, a.status, a.body)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	g.post(t, "/auth/logout", nil, bearer(first.Access)).ok(t, http.StatusNoContent) // a sequence goes on where it was
}

func TestBackupOfSQLiteWhileItIsInUse(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := in.start(t)
	p, got := g.member(t)
	o := newOperator(t)
	o.env["SHIELD"] = program(t)
	made := o.must(t, "backup.sh", map[string]string{"DATABASE_URL": in.database, "SHIELD_DATA_DIR": in.data})
	late, _ := g.member(t)
	g.stopped(t)

	again := onSQLite(t)
	o.must(t, "restore.sh", map[string]string{"DATABASE_URL": again.database, "SHIELD_DATA_DIR": again.data}, made)
	if info, err := os.Stat(strings.TrimPrefix(again.database, "sqlite:")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the restored file: %v, %v, want mode 0600", info, err)
	}
	o.refused(t, "is there already", "restore.sh", map[string]string{"DATABASE_URL": again.database, "SHIELD_DATA_DIR": again.data}, made)
	g = g.heir(t, again)
	g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
	g.refresh(t, got.Refresh).tokens(t)
	g.login(t, p)
	g.post(t, "/auth/login", late.credentials()).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
}

// program builds shield.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shield")
	command(t, "go", "build", "-o", path, "../../cmd/shield")
	return path
}

func TestBackupKeepsItsSecretsAndFailsLoudly(t *testing.T) {
	t.Parallel()
	in := onPostgres(t)
	s, err := gateway.OpenStore(t.Context(), config.Database{URL: config.NewSecret(in.database), PoolSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := pgx.Connect(t.Context(), in.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	const marker = "marker-of-plain-data"
	for _, sql := range []string{
		`INSERT INTO shield_kv (provider, key, value, version) SELECT 'email', '` + marker + `', decode(repeat('6d61726b6572', 2000), 'hex'), 1`,
		`CREATE TABLE another_program (shield text)`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	password, key := "hunter2-"+rand.Text()+"%26", "secret-"+rand.Text()+rand.Text()
	url := strings.Replace(in.database, "shield@", "shield:"+password+"@", 1) + "&pool_max_conns=3"
	o := newOperator(t)
	good := map[string]string{"DATABASE_URL": url, "SECRET_KEY": key}
	with := func(more ...string) map[string]string {
		all := map[string]string{}
		for name, value := range good {
			all[name] = value
		}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	// fake puts a program before the real one.
	fake := func(name, text string) (path string) {
		t.Helper()
		dir := t.TempDir()
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/bash\nreal="+real+"\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return dir + ":" + os.Getenv("PATH")
	}

	for why, env := range map[string]map[string]string{
		"DATABASE_URL or DATABASE_URL_FILE is needed": with("DATABASE_URL", ""),
		"neither postgres://... nor sqlite:PATH":      with("DATABASE_URL", "mysql://x"),
		"BACKUP_DIR is needed":                        with("BACKUP_DIR", ""),
		"BACKUP_RECIPIENTS must name":                 with("BACKUP_RECIPIENTS", "/nowhere"),
		"the secret key would not be saved":           with("SECRET_KEY", ""),
		"one backup must stay":                        with("BACKUP_KEEP_LEAST", "0"),
		// A dump that breaks off is not a backup, whatever it wrote until then.
		"broke off":       with("PATH", fake("pg_dump", `[ "$1" = --version ] && exec "$real" "$@"; "$real" "$@" | head -c 5000; echo broke off >&2; exit 1`)),
		"no space":        with("PATH", fake("age", `head -c 100 >/dev/null; echo no space >&2; exit 1`)),
		"cannot be read":  with("SECRET_KEY", "", "SECRET_KEY_FILE", "/nowhere"),
		"pg_dump: error:": with("DATABASE_URL", strings.Replace(url, "postgres://", "postgres://[", 1)),
	} {
		o.refused(t, why, "backup.sh", env)
		if left := o.backups(t); len(left) != 0 {
			t.Errorf("after a failure with %q there is %v", why, left)
		}
	}

	arguments := filepath.Join(t.TempDir(), "arguments")
	watched := with("PATH", fake("pg_dump", `printf '%s\n' "$@" "${SECRET_KEY:-}" >>`+arguments+`; exec "$real" "$@"`))
	made := o.must(t, "backup.sh", watched)
	said, err := os.ReadFile(arguments)
	if err != nil || !strings.Contains(string(said), "--format=custom") {
		t.Fatalf("%s, %v", said, err)
	}
	for _, secret := range []string{strings.TrimSuffix(password, "%26"), key} {
		if strings.Contains(string(said), secret) {
			t.Errorf("pg_dump is told a secret where everybody can see it: %s", said)
		}
	}
	entries, err := os.ReadDir(made)
	if err != nil || len(entries) != 4 {
		t.Fatalf("%v, %v, want the database, the key, the manifest and the checksums", entries, err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(made, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, plain := range []string{marker, "PGDMP", "shield_users", key, password} {
			if bytes.Contains(text, []byte(plain)) {
				t.Errorf("%s holds %q in clear", e.Name(), plain)
			}
		}
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", e.Name(), info, err)
		}
	}

	// What is not whole, or not ours, is not restored.
	target := testbed.Postgres(t)
	data := t.TempDir()
	into := map[string]string{"DATABASE_URL": in.database, "SHIELD_DATA_DIR": data}
	o.refused(t, "tables of the gateway", "restore.sh", into, made)
	o.refused(t, "names", "restore.sh", map[string]string{"DATABASE_URL": target, "SHIELD_DATA_DIR": data}, made)
	o.refused(t, "set SHIELD_DATA_DIR", "restore.sh", map[string]string{"DATABASE_URL": target}, made)
	o.refused(t, "usage", "restore.sh", into)
	o.refused(t, "is no backup", "restore.sh", into, t.TempDir())
	o.refused(t, "the backup is of postgres", "restore.sh", map[string]string{"DATABASE_URL": "sqlite:" + filepath.Join(data, "x.db"), "SHIELD_DATA_DIR": data}, made)
	other := newOperator(t)
	other.refused(t, "cannot be decrypted", "restore.sh", into, made)
	damaged := filepath.Join(t.TempDir(), filepath.Base(made))
	command(t, "cp", "-r", made, damaged)
	file := filepath.Join(damaged, "database.age")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	o.refused(t, "a checksum does not hold", "restore.sh", into, damaged)
	o.refused(t, "a checksum does not hold", "restore.sh", nil, "-verify", damaged)
	command(t, "bash", "-c", "cd "+damaged+" && rm SHA256SUMS && sums=$(sha256sum *) && echo \"$sums\" >SHA256SUMS")
	o.refused(t, "cannot be decrypted", "restore.sh", into, damaged)
	if out := o.must(t, "restore.sh", nil, "-verify", made); !strings.Contains(out, "can be restored") {
		t.Errorf("restore.sh -verify says %q", out)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 0 {
		t.Errorf("a restore that was refused left %v, %v", left, err)
	}

	// The tables of another program are neither saved nor touched.
	for _, table := range storeTables {
		if _, err := db.Exec(t.Context(), `DROP TABLE `+table+` CASCADE`); err != nil {
			t.Fatal(err)
		}
	}
	o.must(t, "restore.sh", into, made)
	if got, err := os.ReadFile(filepath.Join(data, "secret_key")); err != nil || strings.TrimSpace(string(got)) != key {
		t.Errorf("the secret key is %q, %v", got, err)
	}

	// Old backups go, after one that succeeded, but for the newest.
	for _, name := range []string{"shield-20200101T000000Z", "shield-20200102T000000Z", "shield-20200103T000000Z", "not-ours"} {
		if err := os.Mkdir(filepath.Join(o.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	pushed := filepath.Join(t.TempDir(), "pushed")
	push := filepath.Join(t.TempDir(), "push")
	if err := os.WriteFile(push, []byte("#!/bin/sh\ncp -r \"$1\" "+pushed+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(o.env["BACKUP_RECIPIENTS"])
	if err != nil {
		t.Fatal(err)
	}
	alone := strings.TrimSpace(string(public)) // one key needs no file
	latest := o.must(t, "backup.sh", with("BACKUP_KEEP_LEAST", "3", "BACKUP_PUSH", push, "BACKUP_RECIPIENT", alone, "BACKUP_RECIPIENTS", ""))
	o.must(t, "restore.sh", nil, "-verify", latest)
	want := []string{"not-ours", "shield-20200103T000000Z", filepath.Base(made), filepath.Base(latest)}
	if diff := cmp.Diff(want, o.backups(t)); diff != "" {
		t.Errorf("backups (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(pushed, "SHA256SUMS")); err != nil {
		t.Errorf("what was pushed: %v", err)
	}
	o.refused(t, "the backup stays", "backup.sh", with("BACKUP_PUSH", "false"))
}

// The move from one machine to Postgres, with the gateway running until the other one does.
func TestAnInstallationMovesToPostgres(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	a := in.start(t)
	p, got := a.member(t)
	got = a.refresh(t, got.Refresh).tokens(t)
	_, ended := a.member(t)
	a.post(t, "/auth/logout", nil, bearer(ended.Access)).ok(t, http.StatusNoContent)
	waiting := somebody() // has not followed the link yet
	a.post(t, "/auth/register", waiting.registration()).ok(t, http.StatusAccepted)
	link := in.letter(t, waiting.email).link

	moved := newInstallation(t)
	moved.data, moved.mails, moved.database = in.data, in.mails, testbed.Postgres(t)
	from, to := in.store(t), moved.store(t)
	if err := to.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := store.Copy(t.Context(), from, to, func([]store.Copied) error {
		b := a.heir(t, moved)
		for _, g := range []*gate{a, b} { // nobody who has a token notices
			g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
		}
		next := b.refresh(t, got.Refresh).tokens(t)
		b.get(t, "/api/notes", bearer(next.Access)).ok(t, http.StatusOK)
		b.login(t, p)
		b.get(t, "/api/notes", bearer(ended.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		b.refresh(t, ended.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		b.get(t, link).ok(t, http.StatusOK)
		b.login(t, waiting)
		// Nobody can write there what would be left behind.
		if held := a.refresh(t, next.Refresh); held.status != http.StatusServiceUnavailable || held.header.Get("Retry-After") == "" {
			t.Errorf("a refresh at the old gateway = %d %s, want 503 with Retry-After", held.status, held.body)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Copy() = %v", err)
	}
}
