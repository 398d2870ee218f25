package storetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/audit"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/sdk"
)

// A release is what the store of a release said to its database, and what it was answered:
// testdata/releases/NNNN.json, where NNNN is the last migration that it knew. It is recorded
// when the release is made and stays as it is, so that later schemas can be held to it.

// statement is one line of a recording.
type statement struct {
	SQL      string     `json:"sql"`
	Args     []string   `json:"args,omitempty"`
	Query    bool       `json:"query,omitempty"`
	Affected int64      `json:"affected,omitempty"`
	Rows     [][]string `json:"rows,omitempty"`
}

// Release tests that the releases recorded in testdata/releases run on the schema of now:
// from before it is brought up to date, through the moment at which it is, and afterwards.
// With record it first records this release. open opens the engine itself.
func Release(t *testing.T, e Engine, record bool, open func(ctx context.Context, where string) (store.Engine, error)) {
	if record {
		recordRelease(t, e, open)
	}
	files, err := filepath.Glob("testdata/releases/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no release is recorded: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			said := readRelease(t, file)
			last, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(file), ".json"))
			if err != nil {
				t.Fatal(err)
			}
			for name, half := range map[string]int{"before and after": len(said) / 2, "after": 0} {
				t.Run(name, func(t *testing.T) {
					db := opened(t, e.Fresh(t), open)
					if err := store.New(older{db, last}).Migrate(t.Context()); err != nil {
						t.Fatal(err)
					}
					replay(t, db, said[:half])
					if err := store.New(db).Migrate(t.Context()); err != nil {
						t.Fatal(err)
					}
					replay(t, db, said[half:])
				})
			}
		})
	}
}

func opened(t *testing.T, where string, open func(context.Context, string) (store.Engine, error)) store.Engine {
	t.Helper()
	db, err := open(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// older is an engine as it was when there were fewer migrations.
type older struct {
	store.Engine
	last int
}

func (o older) Dialect() store.Dialect {
	d := o.Engine.Dialect()
	entries, err := fs.ReadDir(d.Migrations, ".")
	if err != nil {
		panic(err) // it is embedded
	}
	known := fstest.MapFS{}
	for _, entry := range entries[:o.last] {
		text, err := fs.ReadFile(d.Migrations, entry.Name())
		if err != nil {
			panic(err)
		}
		known[entry.Name()] = &fstest.MapFile{Data: text}
	}
	d.Migrations = known
	return d
}

// replay says to a database what was said, and expects the same answers.
func replay(t *testing.T, db store.Engine, said []statement) {
	t.Helper()
	for _, want := range said {
		got := statement{SQL: want.SQL, Args: want.Args, Query: want.Query}
		args := make([]any, len(want.Args))
		for i, a := range want.Args {
			args[i] = decode(t, a)
		}
		// In transactions, since some of what reads also writes or locks.
		err := db.Tx(t.Context(), func(c store.Conn) (err error) {
			if !want.Query {
				got.Affected, err = c.Exec(t.Context(), want.SQL, args...)
				return err
			}
			return c.Query(t.Context(), want.SQL, args, func(r store.Row) error {
				if len(got.Rows) == len(want.Rows) {
					return fmt.Errorf("more than %d rows", len(want.Rows))
				}
				expected := want.Rows[len(got.Rows)]
				dest := destOf(expected)
				if err := r.Scan(dest...); err != nil {
					return err
				}
				row := make([]string, len(dest))
				for i := range dest {
					if row[i] = encode(dest[i]); strings.HasSuffix(expected[i], ":any") {
						row[i] = expected[i]
					}
				}
				got.Rows = append(got.Rows, row)
				return nil
			})
		})
		if err != nil {
			t.Errorf("the release says\n%s\nand hears %v", want.SQL, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the release says\n%s\nand is answered (-before +now):\n%s", want.SQL, diff)
		}
	}
}

// recorder is an engine that writes down what it is asked.
type recorder struct {
	store.Engine
	said *[]statement
}

func (r recorder) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	return recording{r.Engine, r.said}.Exec(ctx, sql, args...)
}

func (r recorder) Query(ctx context.Context, sql string, args []any, row func(store.Row) error) error {
	return recording{r.Engine, r.said}.Query(ctx, sql, args, row)
}

func (r recorder) Urgent() store.Conn { return recording{r.Engine.Urgent(), r.said} }

func (r recorder) Tx(ctx context.Context, f func(store.Conn) error) error {
	return r.Engine.Tx(ctx, func(c store.Conn) error { return f(recording{c, r.said}) })
}

type recording struct {
	store.Conn
	said *[]statement
}

func (r recording) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	n, err := r.Conn.Exec(ctx, sql, args...)
	*r.said = append(*r.said, statement{SQL: sql, Args: encodeAll(args), Affected: n})
	return n, err
}

func (r recording) Query(ctx context.Context, sql string, args []any, row func(store.Row) error) error {
	s := statement{SQL: sql, Args: encodeAll(args), Query: true}
	err := r.Conn.Query(ctx, sql, args, func(got store.Row) error { return row(&noting{got, &s}) })
	*r.said = append(*r.said, s)
	return err
}

type noting struct {
	store.Row
	in *statement
}

func (n *noting) Scan(dest ...any) error {
	err := n.Row.Scan(dest...)
	n.in.Rows = append(n.in.Rows, encodeAll(dest))
	return err
}

func encodeAll(values []any) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = encode(v)
	}
	return all
}

// encode writes an argument, or what was read, with its type.
func encode(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "text:" + v
	case *string:
		if v == nil {
			return "null"
		}
		return encode(*v)
	case []byte:
		if v == nil {
			return "null"
		}
		return "bytes:" + hex.EncodeToString(v)
	case *[]byte:
		return "bytes:" + hex.EncodeToString(*v) // NULL and empty are the same to the store
	case bool:
		return "bool:" + strconv.FormatBool(v)
	case *bool:
		return encode(*v)
	case int:
		return "int:" + strconv.Itoa(v)
	case *int:
		return encode(*v)
	case int64:
		return "int64:" + strconv.FormatInt(v, 10)
	case *int64:
		return encode(*v)
	case time.Time:
		return "time:" + v.UTC().Format(time.RFC3339Nano)
	case *time.Time:
		return encode(*v)
	}
	panic(fmt.Sprintf("%T is no argument of a store", v))
}

func decode(t *testing.T, s string) any {
	t.Helper()
	kind, text, _ := strings.Cut(s, ":")
	var v any
	var err error
	switch kind {
	case "null":
	case "text":
		v = text
	case "bytes":
		v, err = hex.DecodeString(text)
	case "bool":
		v, err = strconv.ParseBool(text)
	case "int":
		v, err = strconv.Atoi(text)
	case "int64":
		v, err = strconv.ParseInt(text, 10, 64)
	case "time":
		v, err = time.Parse(time.RFC3339Nano, text)
	default:
		err = fmt.Errorf("%q is no value", s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// destOf returns what a row like this one is read into.
func destOf(row []string) []any {
	dest := make([]any, len(row))
	for i, s := range row {
		kind, _, _ := strings.Cut(s, ":")
		switch kind {
		case "bytes":
			dest[i] = new([]byte)
		case "bool":
			dest[i] = new(bool)
		case "int":
			dest[i] = new(int)
		case "int64":
			dest[i] = new(int64)
		case "time":
			dest[i] = new(time.Time)
		default:
			dest[i] = new(string)
		}
	}
	return dest
}

func readRelease(t *testing.T, file string) []statement {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var said []statement
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s statement
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		said = append(said, s)
	}
	if err := lines.Err(); err != nil || len(said) == 0 {
		t.Fatalf("%s: %d statements, %v", file, len(said), err)
	}
	return said
}

// recordRelease writes down the life of an installation on the schema of now.
func recordRelease(t *testing.T, e Engine, open func(context.Context, string) (store.Engine, error)) {
	t.Helper()
	db := opened(t, e.Fresh(t), open)
	s := store.New(db)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	migrations, err := s.Migrations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var said []statement
	life(t, store.New(recorder{db, &said}))
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	lines.SetEscapeHTML(false)
	for _, s := range forget(said) {
		if err := lines.Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll("testdata/releases", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fmt.Sprintf("testdata/releases/%04d.json", len(migrations)), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// forget replaces the times that nobody gave: those are of the database's clock.
func forget(said []statement) []statement {
	given := map[string]bool{}
	for _, s := range said {
		for _, a := range s.Args {
			given[a] = true
		}
	}
	for _, s := range said {
		for _, row := range s.Rows {
			for i, v := range row {
				if strings.HasPrefix(v, "time:") && !given[v] && v != encode(time.Time{}) {
					row[i] = "time:any"
				}
			}
		}
	}
	return said
}

// life does with a store what a gateway does. It must make every statement that the store
// has, and none may fail, since an error ends a transaction. It grows with the store.
func life(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Ping(ctx))
	// Somebody registers, and is mailed a link.
	u := newUser(account.Pending)
	i := newIdentity(u)
	f := newFlow(u.ID)
	m := newMail()
	commit(t, s, login.Commit{
		NewUser: &u, NewIdentity: &i, NewFlow: &f, Mail: &m,
		Writes: []plugin.Write{
			{Provider: "email", Key: "credential/" + i.Subject, Value: []byte("hash"), Checked: true},
			{Provider: "email", Key: "attempts", Value: []byte("1")},
			{Provider: "email", Key: "short", Value: []byte("lived"), ExpiresAt: epoch.Add(time.Minute)},
		},
	})
	claimed, err := s.ClaimMail(ctx, epoch, epoch.Add(time.Minute), 10)
	must(err)
	if len(claimed) != 1 {
		t.Fatalf("ClaimMail() = %v", claimed)
	}
	must(s.DeferMail(ctx, m.ID, epoch.Add(time.Hour)))
	_, err = s.CountMail(ctx)
	must(err)
	must(s.DropMail(ctx, m.ID))
	// The link is followed, and whoever it was logs in.
	_, err = s.Flow(ctx, f.Hash, epoch)
	must(err)
	v := newSession(u.ID)
	name := "Ann"
	commit(t, s, login.Commit{
		SpendFlow: f.ID, EndFlows: &login.EndFlows{UserID: u.ID, Kind: sdk.FlowVerify},
		UpdateUser:    &login.UserUpdate{ID: u.ID, Expect: account.Pending, Status: account.Active, Verified: true, Name: &name},
		TouchIdentity: i.ID, NewSession: &v,
	})
	_, err = s.User(ctx, u.ID)
	must(err)
	_, err = s.UserByEmail(ctx, u.Email)
	must(err)
	_, _, err = s.UserByIdentity(ctx, i.Provider, i.Issuer, i.Subject)
	must(err)
	_, err = s.IdentitiesOf(ctx, u.ID)
	must(err)
	// The provider keeps its books.
	e, found, err := s.KV(ctx, "email", "attempts", epoch)
	must(err)
	if !found {
		t.Fatal("KV() finds nothing")
	}
	commit(t, s, login.Commit{Writes: []plugin.Write{
		{Provider: "email", Key: "attempts", ReadOnly: true, IfVersion: e.Version},
		{Provider: "email", Key: "attempts", Value: []byte("2"), Checked: true, IfVersion: e.Version},
		{Provider: "email", Key: "none", Delete: true, Checked: true},
		{Provider: "email", Key: "short", Delete: true},
	}})
	e, _, err = s.KV(ctx, "email", "attempts", epoch)
	must(err)
	commit(t, s, login.Commit{Writes: []plugin.Write{{Provider: "email", Key: "attempts", Delete: true, Checked: true, IfVersion: e.Version}}})
	// The session is used, goes on, and ends; so does another one.
	must(s.MarkSessionUsed(ctx, v.ID, 1))
	rotated, err := s.RotateSession(ctx, v.ID, 1, epoch.Add(time.Minute), epoch.Add(time.Hour))
	must(err)
	if !rotated {
		t.Fatal("RotateSession() = false")
	}
	_, err = s.Session(ctx, v.ID)
	must(err)
	_, err = s.SessionsOf(ctx, u.ID, epoch)
	must(err)
	_, err = s.CountSessions(ctx, epoch)
	must(err)
	_, err = s.RevokeSession(ctx, v.ID, "logout", epoch, epoch.Add(time.Hour))
	must(err)
	second, third := activeSession(t, s, u.ID), activeSession(t, s, u.ID)
	_, err = s.RevokeSessionsOf(ctx, u.ID, third.ID, "logout", epoch, epoch.Add(time.Hour))
	must(err)
	commit(t, s, login.Commit{RevokeSessions: &login.RevokeSessions{UserID: u.ID, Reason: "password", TokensDead: epoch.Add(time.Hour)}})
	ended, err := s.RevocationsSince(ctx, time.Time{}, epoch)
	must(err)
	if len(ended) != 3 || ended[1].SessionID != second.ID {
		t.Fatalf("RevocationsSince() = %v", ended)
	}
	// A login at another site is linked, is written down, ends there, and is taken away.
	corp := newIdentity(u)
	kept, by := []byte("sealed tokens"), "corp"
	commit(t, s, login.Commit{
		NewIdentity: &corp, KeepTokens: &kept,
		UpdateUser: &login.UserUpdate{ID: u.ID, Expect: account.Active, Status: account.Active, Verified: true, VerifiedBy: &by},
		Audit:      []audit.Event{{At: epoch, Action: audit.IdentityLinked, UserID: u.ID, ActorID: u.ID, Details: map[string]string{"provider": "corp"}}},
	})
	_, err = s.Tokens(ctx, corp.ID)
	must(err)
	_, err = s.AuditOf(ctx, u.ID)
	must(err)
	there, elsewhere := newSession(u.ID), newSession(u.ID)
	there.IdentityID, there.Upstream = corp.ID, "theirs"
	elsewhere.IdentityID = corp.ID
	commit(t, s, login.Commit{NewSession: &there})
	commit(t, s, login.Commit{NewSession: &elsewhere})
	for _, upstream := range [][]string{{"theirs"}, nil} {
		commit(t, s, login.Commit{RevokeSessions: &login.RevokeSessions{UserID: u.ID, IdentityID: corp.ID, Upstream: upstream, Reason: "upstream", TokensDead: epoch.Add(time.Hour)}})
	}
	kept = nil
	commit(t, s, login.Commit{TouchIdentity: corp.ID, KeepTokens: &kept})
	commit(t, s, login.Commit{Unlink: &login.Unlink{UserID: u.ID, IDs: []string{corp.ID}, Rest: 1}})
	must(s.Sweep(ctx, epoch.Add(30*24*time.Hour)))
}
