package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/gateway/store/postgres"
	"github.com/materi/shield/gateway/store/sqlite"
	"github.com/materi/shield/gateway/testbed"
)

// place is a database that is copied from or to.
type place struct {
	*store.Store
	kind string
	run  func(sql string)            // beside the store
	rows func(table string) []string // of a SQLite database
	conn *pgx.Conn                   // of a Postgres database
}

func onSQLite(t *testing.T) place {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shield.db")
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p := place{Store: s, kind: "sqlite"}
	p.run = func(sql string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	p.rows = func(table string) []string {
		t.Helper()
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table+" ORDER BY 1, 2")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var all []string
		for rows.Next() {
			names, err := rows.Columns()
			if err != nil {
				t.Fatal(err)
			}
			values := make([]any, len(names))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			var row []string
			for i, name := range names {
				row = append(row, fmt.Sprintf("%s=%#v", name, *values[i].(*any)))
			}
			all = append(all, strings.Join(row, " "))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return all
	}
	return p
}

// waiting returns how many transactions wait for the table of users.
func (p place) waiting(t *testing.T) int {
	t.Helper()
	n := 0
	err := p.conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted
		AND relation = 'shield_users'::regclass`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func onPostgres(t *testing.T) place {
	t.Helper()
	url := testbed.Postgres(t)
	s, err := postgres.Open(t.Context(), url, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	p := place{Store: s, kind: "postgres", conn: c}
	p.run = func(sql string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return p
}

func migrated(t *testing.T, p place) place {
	t.Helper()
	if err := p.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// literals are what both databases can be given, written for one of them: {t} is a moment,
// {b} are bytes that are no text, {yes} is true.
func (p place) literals(sql string) string {
	if p.kind == "postgres" {
		return strings.NewReplacer("{t}", "'2026-03-04T05:06:07.891234Z'", "{b}", `'\x00ff80'`, "{yes}", "true").Replace(sql)
	}
	return strings.NewReplacer("{t}", "1772600767891234", "{b}", "x'00ff80'", "{yes}", "1").Replace(sql)
}

const (
	ann = "01900000-0000-7000-8000-000000000001"
	bob = "01900000-0000-7000-8000-000000000002"
)

// fill writes rows that have something in every column, and rows that have nothing where
// that may be.
func (p place) fill() {
	for _, sql := range []string{
		`INSERT INTO shield_users (id, email, verified, name, avatar_url, timezone, language, status, created_at, updated_at, verified_by) VALUES
			('` + ann + `', 'ann@example.com', {yes}, 'Zoë ''quoted'' 日本', 'https://example.com/a.png', 'Europe/Zurich', 'de', 'active', {t}, {t}, 'corp'),
			('` + bob + `', 'bob@example.com', {yes}, '', '', '', '', 'suspended', {t}, {t}, '')`,
		`INSERT INTO shield_identities (id, user_id, provider, issuer, subject, email, created_at, last_used_at, tokens) VALUES
			('01900000-0000-7000-8000-000000000011', '` + ann + `', 'corp', 'https://idp.example', 's1', 'ann@example.com', {t}, {t}, {b}),
			('01900000-0000-7000-8000-000000000012', '` + bob + `', 'email', 'local', 's2', '', {t}, NULL, NULL)`,
		`INSERT INTO shield_sessions (id, user_id, counter, used, salt, method, amr, ip, user_agent, created_at, rotated_at, last_used_at, expires_at, revoked_at, reason, identity_id, upstream) VALUES
			('01900000-0000-7000-8000-000000000021', '` + ann + `', 9007199254740993, 7, {b}, 'corp', '["pwd","otp"]', '192.0.2.1', 'curl', {t}, {t}, {t}, {t}, {t}, 'logout', '01900000-0000-7000-8000-000000000011', 'idx-1'),
			('01900000-0000-7000-8000-000000000022', '` + bob + `', 1, 0, {b}, 'email', '[]', '', '', {t}, {t}, {t}, {t}, NULL, '', NULL, '')`,
		`INSERT INTO shield_revocations (session_id, at, expires_at) VALUES
			('01900000-0000-7000-8000-000000000021', {t}, {t}), ('01900000-0000-7000-8000-000000000029', {t}, {t})`,
		`INSERT INTO shield_flows (id, hash, provider, kind, form, user_id, sealed, created_at, expires_at) VALUES
			('01900000-0000-7000-8000-000000000031', {b}, 'email', 'verify', 'password', '` + ann + `', {b}, {t}, {t})`,
		`INSERT INTO shield_mail (id, sealed, attempts, created_at, due_at) VALUES ('01900000-0000-7000-8000-000000000041', {b}, 3, {t}, {t})`,
		`INSERT INTO shield_kv (provider, key, value, version, expires_at) VALUES
			('email', 'credential/s2', {b}, 9223372036854775807, NULL), ('email', 'Ä', {b}, 1, {t})`,
		`INSERT INTO shield_audit (id, at, action, user_id, actor_id, details) VALUES
			('01900000-0000-7000-8000-000000000051', {t}, 'link', '` + ann + `', '` + bob + `', '{"b":[1,2],"a":"x"}'),
			('01900000-0000-7000-8000-000000000052', {t}, 'link', NULL, NULL, '{}')`,
	} {
		p.run(p.literals(sql))
	}
}

var tables = []string{"shield_users", "shield_identities", "shield_sessions", "shield_revocations", "shield_flows", "shield_mail", "shield_kv", "shield_audit"}

var jsonSpace = regexp.MustCompile(`([:,]) `)

// content is what a SQLite database holds. Postgres writes JSON with spaces, and in its own
// order of members.
func content(p place) map[string][]string {
	all := map[string][]string{}
	for _, table := range tables {
		for _, row := range p.rows(table) {
			row = strings.ReplaceAll(row, `{\"a\": \"x\", \"b\": [1, 2]}`, `{\"b\":[1,2],\"a\":\"x\"}`)
			all[table] = append(all[table], jsonSpace.ReplaceAllString(row, "$1"))
		}
	}
	return all
}

func TestCopyThereAndBackChangesNothing(t *testing.T) {
	from, over, back := migrated(t, onSQLite(t)), migrated(t, onPostgres(t)), migrated(t, onSQLite(t))
	from.fill()
	// More than one statement's worth.
	from.run(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1001)
		INSERT INTO shield_kv (provider, key, value, version) SELECT 'saml', 'replay/' || i, x'00', i FROM n`)
	for _, step := range []struct{ from, to place }{{from, over}, {over, back}} {
		copied, err := store.Copy(t.Context(), step.from.Store, step.to.Store, nil)
		if err != nil {
			t.Fatalf("Copy() = %v", err)
		}
		want := []store.Copied{
			{Table: "shield_users", Rows: 2}, {Table: "shield_identities", Rows: 2}, {Table: "shield_sessions", Rows: 2},
			{Table: "shield_revocations", Rows: 2}, {Table: "shield_flows", Rows: 1}, {Table: "shield_mail", Rows: 1},
			{Table: "shield_kv", Rows: 1003}, {Table: "shield_audit", Rows: 2},
		}
		if diff := cmp.Diff(want, copied); diff != "" {
			t.Errorf("Copy() (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(content(from), content(back)); diff != "" {
		t.Errorf("there and back (-before +after):\n%s", diff)
	}
	// The copy goes on counting by itself.
	over.run(`INSERT INTO shield_revocations (session_id, at, expires_at) VALUES ('` + ann + `', now(), now())`)
}

// A migration that adds a table or a column must be told to the copy, or the copy refuses.
func TestCopyKnowsEveryColumn(t *testing.T) {
	for _, from := range []place{migrated(t, onSQLite(t)), migrated(t, onPostgres(t))} {
		to := migrated(t, onSQLite(t))
		if _, err := store.Copy(t.Context(), from.Store, to.Store, nil); err != nil {
			t.Errorf("%s: Copy() = %v: add what the migration added to copiedTables", from.kind, err)
		}
		from.run(`ALTER TABLE shield_users ADD COLUMN later text`)
		_, err := store.Copy(t.Context(), from.Store, to.Store, nil)
		if !errors.Is(err, store.ErrSchema) || !strings.Contains(fmt.Sprint(err), "source: ") || !strings.Contains(fmt.Sprint(err), "shield_users.later") {
			t.Errorf("%s: Copy() with a column that is not known = %v, want ErrSchema with its name", from.kind, err)
		}
		from.run(`ALTER TABLE shield_users DROP COLUMN later`)
		from.run(`CREATE TABLE shield_later (id text)`)
		if _, err := store.Copy(t.Context(), from.Store, to.Store, nil); !errors.Is(err, store.ErrSchema) {
			t.Errorf("%s: Copy() with a table that is not known = %v, want ErrSchema", from.kind, err)
		}
		from.run(`DROP TABLE shield_later`)
		from.run(`ALTER TABLE shield_mail RENAME COLUMN attempts TO tries`)
		if _, err := store.Copy(t.Context(), from.Store, to.Store, nil); !errors.Is(err, store.ErrSchema) {
			t.Errorf("%s: Copy() without a column = %v, want ErrSchema", from.kind, err)
		}
	}
}

func TestCopyNeedsBothSchemas(t *testing.T) {
	ready, empty := migrated(t, onSQLite(t)), onPostgres(t)
	_, err := store.Copy(t.Context(), empty.Store, ready.Store, nil)
	if !errors.Is(err, store.ErrPending) || !strings.HasPrefix(fmt.Sprint(err), "source: ") {
		t.Errorf("Copy() from an empty database = %v, want ErrPending of the source", err)
	}
	_, err = store.Copy(t.Context(), ready.Store, empty.Store, nil)
	if !errors.Is(err, store.ErrPending) || !strings.HasPrefix(fmt.Sprint(err), "target: ") {
		t.Errorf("Copy() into an empty database = %v, want ErrPending of the target", err)
	}
}

func TestCopyNeverWritesOverAnything(t *testing.T) {
	from := migrated(t, onSQLite(t))
	from.fill()
	for _, to := range []place{migrated(t, onSQLite(t)), migrated(t, onPostgres(t))} {
		to.run(to.literals(`INSERT INTO shield_mail (id, sealed, attempts, created_at, due_at) VALUES ('` + ann + `', {b}, 0, {t}, {t})`))
		_, err := store.Copy(t.Context(), from.Store, to.Store, nil)
		if !errors.Is(err, store.ErrNotEmpty) || !strings.Contains(fmt.Sprint(err), "shield_mail") {
			t.Errorf("%s: Copy() = %v, want ErrNotEmpty with the table", to.kind, err)
		}
		if _, err := to.User(t.Context(), ann); err == nil {
			t.Errorf("%s: a user was copied all the same", to.kind)
		}
	}
}

func TestCopyFindsWhatTheTargetChanged(t *testing.T) {
	from := migrated(t, onSQLite(t))
	from.fill()
	lite, pg := migrated(t, onSQLite(t)), migrated(t, onPostgres(t))
	lite.run(`CREATE TRIGGER odd AFTER INSERT ON shield_audit BEGIN UPDATE shield_audit SET action = 'other' WHERE id = NEW.id; END`)
	pg.run(`CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER odd BEFORE INSERT ON shield_audit FOR EACH ROW EXECUTE FUNCTION odd()`)
	for _, to := range []place{lite, pg} {
		if _, err := store.Copy(t.Context(), from.Store, to.Store, nil); !errors.Is(err, store.ErrDiffers) {
			t.Errorf("%s: Copy() = %v, want ErrDiffers", to.kind, err)
		}
		if _, err := to.User(t.Context(), ann); err == nil {
			t.Errorf("%s: what was copied before stayed", to.kind)
		}
	}
}

// A session that goes on while the copy waits is copied as it was when the copy began.
func TestCopyIsOfOneMoment(t *testing.T) {
	for _, from := range []place{migrated(t, onSQLite(t)), migrated(t, onPostgres(t))} {
		from.fill()
		to := migrated(t, onPostgres(t))
		to.run(`BEGIN; LOCK TABLE shield_users IN ACCESS EXCLUSIVE MODE`)
		done := make(chan error, 1)
		go func() {
			_, err := store.Copy(context.Background(), from.Store, to.Store, nil)
			done <- err
		}()
		eventually(t, "the copy to wait for the target", func() bool { return to.waiting(t) > 0 })
		from.run(`UPDATE shield_users SET name = 'later'`)
		from.run(`DELETE FROM shield_kv`)
		to.run(`COMMIT`)
		if err := <-done; err != nil {
			t.Fatalf("%s: Copy() = %v", from.kind, err)
		}
		u, err := to.User(t.Context(), ann)
		if err != nil || u.Name == "later" {
			t.Errorf("%s: User() = %q, %v, want the name from before", from.kind, u.Name, err)
		}
		if e, found, err := to.KV(t.Context(), "email", "credential/s2", time.Now()); err != nil || !found || len(e.Value) != 3 {
			t.Errorf("%s: KV() = %v, %v, %v, want the entry from before", from.kind, e, found, err)
		}
	}
}

func TestCopyHoldsWritersUntilTold(t *testing.T) {
	for _, from := range []place{migrated(t, onSQLite(t)), migrated(t, onPostgres(t))} {
		from.fill()
		to := migrated(t, onPostgres(t))
		held := false
		_, err := store.Copy(t.Context(), from.Store, to.Store, func([]store.Copied) error {
			held = true
			if _, err := to.User(t.Context(), ann); err != nil {
				t.Errorf("%s: the target is not ready yet: %v", from.kind, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := from.RotateSession(ctx, "01900000-0000-7000-8000-000000000022", 1, time.Now(), time.Now()); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: RotateSession() on the source = %v, want ErrUnavailable", from.kind, err)
			}
			if _, err := from.User(t.Context(), ann); err != nil {
				t.Errorf("%s: reading the source = %v", from.kind, err)
			}
			return nil
		})
		if err != nil || !held {
			t.Fatalf("%s: Copy() = %v, held %v", from.kind, err, held)
		}
		if err := from.DropMail(t.Context(), "01900000-0000-7000-8000-000000000041"); err != nil {
			t.Errorf("%s: writing to the source afterwards = %v", from.kind, err)
		}
	}
}

func eventually(t *testing.T, what string, claim func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !claim() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		case <-tick.C:
		}
	}
}
