package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/gateway/store/sqlite"
	"github.com/materi/shield/gateway/store/storetest"
)

var engine = storetest.Engine{
	Fresh: func(t testing.TB) string { return filepath.Join(t.TempDir(), "shield.db") },
	Open:  sqlite.Open,
	Exec: func(t testing.TB, where, text string) {
		t.Helper()
		db := beside(t, where)
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	},
}

// beside opens a database file as another program would.
func beside(t testing.TB, where string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestMain(m *testing.M) { os.Exit(storetest.Main(m, engine)) }

func TestStore(t *testing.T) { storetest.Run(t, engine) }

var record = flag.Bool("record", false, "record what this release says to its database; see docs/migrations.md")

func TestReleasesRunOnThisSchema(t *testing.T) {
	storetest.Release(t, engine, *record, sqlite.OpenEngine)
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "shield ?&#%41 é.db")
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v, %v, want 0700", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 2 {
		t.Fatalf("%v, %v, want the file and its log", entries, err)
	}
	found := false
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v, want 0600", e.Name(), info.Mode(), err)
		}
		found = found || e.Name() == filepath.Base(path)
	}
	if !found {
		t.Errorf("%v, want %q among them", entries, filepath.Base(path))
	}
}

func TestOpenTakesTheRightsOfOthersAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shield.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file has mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	for _, bad := range []string{"", ":memory:", t.TempDir()} {
		if s, err := sqlite.Open(t.Context(), bad); err == nil {
			s.Close()
			t.Errorf("Open(%q) = nil error", bad)
		}
	}
	path := filepath.Join(t.TempDir(), "shield.db")
	if err := os.WriteFile(path, []byte("this is not a database, whatever its name says about it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := sqlite.Open(t.Context(), path); err == nil {
		s.Close()
		t.Error("Open() of another file = nil error")
	}
}

// Another program holds the file. Writers wait as long as their deadline, readers not at all.
func TestAWriterElsewhereMakesWritersWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shield.db")
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := beside(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := s.Commit(ctx, login.Commit{Now: start}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Commit() = %v, want ErrUnavailable", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("Commit() took %v with a deadline of 200ms", took)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping() = %v, want nil while somebody writes", err)
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), login.Commit{Now: start}); err != nil {
		t.Errorf("Commit() after the other has gone = %v", err)
	}
}
