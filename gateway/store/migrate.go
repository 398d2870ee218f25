package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// ErrMigration says that the database and this program do not agree about a migration that
// was applied: its text or its name is another now.
var ErrMigration = errors.New("applied migration differs")

// Migration is one step of the schema. Steps go forward only, and each leaves a schema with
// which the release before still works.
type Migration struct {
	Version   int
	Name      string
	AppliedAt time.Time // zero: pending

	sql      string
	checksum string
}

const createMigrations = `CREATE TABLE IF NOT EXISTS shield_migrations (
	version    bigint PRIMARY KEY,
	name       text NOT NULL,
	checksum   text NOT NULL,
	applied_at text NOT NULL
)`

// Migrate applies every pending migration, each in a transaction of its own, and is safe to
// call from several programs at once. Migrations that a newer program has applied are left
// alone. It obeys the context only, since a migration may take long.
func (s *Store) Migrate(ctx context.Context) error {
	known, err := s.known()
	if err != nil {
		return err
	}
	for {
		more := false
		err := s.db.Tx(ctx, func(c Conn) error {
			more, err = s.step(ctx, c, known)
			return err
		})
		if err != nil && s.db.Classify(err) == Lost && pause(ctx, retryPause) == nil {
			continue
		}
		if err != nil {
			return s.fail(ctx, "migrate", err)
		}
		if !more {
			return nil
		}
	}
}

// step applies the first pending migration, if there is one.
func (s *Store) step(ctx context.Context, c Conn, known []Migration) (bool, error) {
	if s.dialect.Exclusive != "" {
		if _, err := c.Exec(ctx, s.dialect.Exclusive); err != nil {
			return false, err
		}
	}
	if _, err := c.Exec(ctx, createMigrations); err != nil {
		return false, err
	}
	all, err := applied(ctx, c, known)
	if err != nil {
		return false, err
	}
	for _, m := range all {
		if !m.AppliedAt.IsZero() {
			continue
		}
		if _, err := c.Exec(ctx, m.sql); err != nil {
			return false, fmt.Errorf("%04d_%s: %w", m.Version, m.Name, err)
		}
		_, err := c.Exec(ctx, `INSERT INTO shield_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)`,
			m.Version, m.Name, m.checksum, time.Now().UTC().Format(time.RFC3339))
		return true, err
	}
	return false, nil
}

// Migrations returns the migrations that this program knows, in order, and when each was
// applied. It changes nothing. A migration that was applied with another text is
// [ErrMigration].
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	known, err := s.known()
	if err != nil {
		return nil, err
	}
	all := known
	err = s.run(ctx, "read migrations", func(ctx context.Context) error {
		tables := 0
		err := s.db.Query(ctx, s.dialect.HasTable, []any{"shield_migrations"}, func(r Row) error { return r.Scan(&tables) })
		if err != nil || tables == 0 {
			return err
		}
		all, err = applied(ctx, s.db, known)
		return err
	})
	return all, err
}

// Pending returns the migrations that are still to be applied. It changes nothing.
func (s *Store) Pending(ctx context.Context) ([]Migration, error) {
	all, err := s.Migrations(ctx)
	if err != nil {
		return nil, err
	}
	var pending []Migration
	for _, m := range all {
		if m.AppliedAt.IsZero() {
			pending = append(pending, m)
		}
	}
	return pending, nil
}

// applied returns known with the times at which the migrations were applied.
func applied(ctx context.Context, c Conn, known []Migration) ([]Migration, error) {
	all := append([]Migration(nil), known...)
	byVersion := make(map[int]*Migration, len(all))
	for i := range all {
		byVersion[all[i].Version] = &all[i]
	}
	err := c.Query(ctx, `SELECT version, name, checksum, applied_at FROM shield_migrations ORDER BY version`, nil, func(r Row) error {
		var version int
		var name, checksum, at string
		if err := r.Scan(&version, &name, &checksum, &at); err != nil {
			return err
		}
		m := byVersion[version]
		if m == nil {
			return nil // of a newer program
		}
		if m.Name != name || m.checksum != checksum {
			return fmt.Errorf("%w: %04d_%s", ErrMigration, version, name)
		}
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return fmt.Errorf("%w: %04d_%s: %w", ErrMigration, version, name, err)
		}
		m.AppliedAt = when
		return nil
	})
	return all, err
}

// known reads the engine's migrations. Their versions count from 1 without a gap.
func (s *Store) known() ([]Migration, error) {
	entries, err := fs.ReadDir(s.dialect.Migrations, ".")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var known []Migration
	for _, e := range entries {
		number, name, ok := strings.Cut(strings.TrimSuffix(e.Name(), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if !ok || err != nil || version != len(known)+1 {
			return nil, fmt.Errorf("migration %s: want %04d_name.sql", e.Name(), len(known)+1)
		}
		text, err := fs.ReadFile(s.dialect.Migrations, e.Name())
		if err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		sum := sha256.Sum256(text)
		known = append(known, Migration{Version: version, Name: name, sql: string(text), checksum: hex.EncodeToString(sum[:])})
	}
	return known, nil
}
