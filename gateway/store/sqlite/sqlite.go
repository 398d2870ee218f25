// Package sqlite is the store's engine for an embedded SQLite file: one connection that
// writes and several that read beside it (write-ahead log). Several programs on one machine
// may share the file. Every commit is synced to the disk before it is answered, since a
// refresh token that was handed out must not be forgotten in a power cut.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/materi/shield/gateway/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many connections read at a time.
const readers = 4

// Open returns a store on the file path. It makes the file (mode 0600) and its directory
// (mode 0700) if they are not there, and takes the rights of others on the file away.
func Open(ctx context.Context, path string) (*store.Store, error) {
	e, err := open(ctx, path)
	if err != nil {
		return nil, err
	}
	return store.New(e), nil
}

func open(ctx context.Context, path string) (*engine, error) {
	if err := prepare(path); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	writer, err := sql.Open("sqlite", dsn(path, url.Values{"_txlock": {"immediate"}}))
	if err != nil {
		return nil, fmt.Errorf("sqlite: open: %w", err)
	}
	writer.SetMaxOpenConns(1)
	// The writer comes first, since it is the one that can turn the write-ahead log on.
	if err := writer.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), writer.Close())
	}
	reader, err := sql.Open("sqlite", dsn(path, url.Values{"_pragma": {"query_only(1)"}}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open: %w", err), writer.Close())
	}
	reader.SetMaxOpenConns(readers)
	reader.SetMaxIdleConns(readers)
	return &engine{writer: writer, reader: reader}, nil
}

// prepare makes the file before SQLite does, which would give it the mode of the umask. The
// log beside it gets the mode of the file.
func prepare(path string) error {
	if path == "" || strings.HasPrefix(path, ":") {
		return errors.New("a path of a file is needed")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

func dsn(path string, more url.Values) string {
	q := url.Values{"_pragma": {
		"busy_timeout(5000)", // ms that a statement waits for another program
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(1)",
	}}
	for name, values := range more {
		q[name] = append(q[name], values...)
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

type engine struct {
	writer, reader *sql.DB
	closed         atomic.Bool // database/sql has no error value for it
}

// Dialect implements [store.Engine]. A transaction that writes is the only one, so that it
// needs no locks of rows.
func (e *engine) Dialect() store.Dialect {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // only for a path that is not valid
	}
	return store.Dialect{
		Clock:    "CAST(unixepoch('subsec') * 1000000 AS integer)",
		HasTable: `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = $1`,
		Columns: `SELECT m.name, p.name FROM sqlite_schema m JOIN pragma_table_info(m.name) p
			WHERE m.type = 'table' AND m.name LIKE 'shield\_%' ESCAPE '\'`,
		Migrations: files,
	}
}

// Exec implements [store.Conn].
func (e *engine) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	return conn{e.writer}.Exec(ctx, sql, args...)
}

// Query implements [store.Conn].
func (e *engine) Query(ctx context.Context, sql string, args []any, row func(store.Row) error) error {
	return conn{e.reader}.Query(ctx, sql, args, row)
}

// Tx implements [store.Engine]. It begins as a writer, so that it never has to become one
// after others wrote.
func (e *engine) Tx(ctx context.Context, f func(store.Conn) error) (err error) {
	tx, err := e.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if err := f(conn{tx}); err != nil {
		return err
	}
	return tx.Commit()
}

// Snapshot implements [store.Engine]. A reader of the write-ahead log sees the state at its
// first read until it ends; whoever locks is the writer.
func (e *engine) Snapshot(ctx context.Context, lock bool, f func(store.Conn) error) error {
	db := e.reader
	if lock {
		db = e.writer
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // there is nothing to commit
	return f(conn{tx})
}

// Backup writes the database into a new file (mode 0600), as it is at this moment and
// without the space that it does not need. Others go on reading and writing.
func (e *engine) Backup(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // SQLite would go by the umask
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = e.writer.ExecContext(ctx, `VACUUM INTO ?1`, path)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// Urgent implements [store.Engine]. Readers wait for nobody and soon give their connection
// back.
func (e *engine) Urgent() store.Conn { return conn{e.reader} }

// Ping implements [store.Engine]. It reads, so that it does not wait for a writer.
func (e *engine) Ping(ctx context.Context) error {
	_, err := e.reader.ExecContext(ctx, "SELECT 1")
	return err
}

// Close implements [store.Engine].
func (e *engine) Close() {
	e.closed.Store(true)
	_ = e.reader.Close()
	_ = e.writer.Close() // the last one; it folds the log into the file
}

// Classify implements [store.Engine].
func (e *engine) Classify(err error) store.Class {
	var failure *driver.Error
	if !errors.As(err, &failure) {
		if errors.Is(err, sql.ErrConnDone) || e.closed.Load() {
			return store.Unreachable
		}
		return store.Unknown
	}
	switch failure.Code() {
	case codes.SQLITE_CONSTRAINT_UNIQUE, codes.SQLITE_CONSTRAINT_PRIMARYKEY:
		return store.Duplicate
	case codes.SQLITE_CONSTRAINT_FOREIGNKEY:
		return store.Orphan
	}
	switch failure.Code() & 0xff { // without the extension of the code
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		return store.Lost
	case codes.SQLITE_IOERR, codes.SQLITE_FULL, codes.SQLITE_CANTOPEN, codes.SQLITE_READONLY, codes.SQLITE_PERM,
		codes.SQLITE_NOMEM, codes.SQLITE_INTERRUPT:
		return store.Unreachable
	}
	return store.Unknown
}

// conn adapts a sql.DB or a sql.Tx.
type conn struct {
	sql interface {
		ExecContext(ctx context.Context, sql string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, sql string, args ...any) (*sql.Rows, error)
	}
}

// Exec implements [store.Conn].
func (c conn) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	result, err := c.sql.ExecContext(ctx, numbered(sql), arguments(args)...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Query implements [store.Conn].
func (c conn) Query(ctx context.Context, sql string, args []any, row func(store.Row) error) error {
	rows, err := c.sql.QueryContext(ctx, numbered(sql), arguments(args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(scanner{rows}); err != nil {
			return err
		}
	}
	return rows.Err()
}

// numbered writes $1 as ?1: to SQLite $1 is a name, not a number.
func numbered(sql string) string { return strings.ReplaceAll(sql, "$", "?") }

func arguments(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		if t, ok := a.(time.Time); ok {
			a = micros(t)
		}
		out[i] = a
	}
	return out
}

func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

type scanner struct{ rows *sql.Rows }

// Scan implements [store.Row].
func (s scanner) Scan(dest ...any) error { return s.rows.Scan(store.Dest(dest)...) }
