package store

import (
	"context"
	"errors"
)

// ErrNoBackup says that a database is not one that this program writes into a file.
var ErrNoBackup = errors.New("only a SQLite database is backed up by this program; for Postgres there is pg_dump")

// Backup writes the whole database, as it is at one moment, into the file path, which must
// not be there. The file is the owner's alone. Only SQLite can; else it is [ErrNoBackup]. It
// obeys the context only, since a database may be large.
func (s *Store) Backup(ctx context.Context, path string) error {
	db, ok := s.db.(interface {
		Backup(ctx context.Context, path string) error
	})
	if !ok {
		return ErrNoBackup
	}
	if err := db.Backup(ctx, path); err != nil {
		return s.fail(ctx, "back up", err)
	}
	return nil
}
