// Package store keeps the state of the gateway in SQL: users, identities, sessions, flows,
// the mail queue and the providers' key-value maps. The SQL is written once, here, one file
// for each domain; what differs between databases is behind [Engine], which the packages
// postgres and sqlite implement. The rules of a domain are the domain's: this package
// decides nothing but what one transaction holds.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/mail"
	"github.com/materi/shield/gateway/session"
)

// ErrUnavailable says that the database cannot be reached or does not answer in time. It
// wraps the cause. The caller answers 503; trying again later may succeed.
var ErrUnavailable = errors.New("database unavailable")

// ErrText says that a value holds what a database cannot keep as text: a NUL or bytes that
// are not UTF-8.
var ErrText = errors.New("value is not text")

const (
	// patience is how long one operation may take altogether. It is less than the overlap
	// over which revocations are read (package session), so that one that commits late is
	// still seen.
	patience = 8 * time.Second
	// retryPause is the pause before a transaction that lost against another is tried
	// again.
	retryPause = 5 * time.Millisecond
)

// Conn runs statements. Their parameters are $1, $2, ...; the arguments are string, []byte,
// bool, int64, int and time.Time. The zero time is NULL, in both directions, and times that
// are read are in UTC. The precision of a time is one microsecond.
type Conn interface {
	// Exec runs a statement and returns how many rows it changed. Without arguments it may
	// hold several statements.
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	// Query runs a statement and calls row for each row of its result. What row returns ends
	// the query and is returned.
	Query(ctx context.Context, sql string, args []any, row func(Row) error) error
}

// Row is one row of a result.
type Row interface {
	// Scan copies the columns into dest: *string, *[]byte, *bool, *int64, *int, *time.Time.
	Scan(dest ...any) error
}

// Engine is one database. It is safe for concurrent use. The statements that are run on it
// directly are transactions of their own; those of Query only read.
type Engine interface {
	Conn
	// Urgent reads without waiting for a connection that other operations hold. It is for
	// one caller at a time.
	Urgent() Conn
	// Tx runs f in one transaction that may write, and commits when f returns nil. Rows that
	// f has read with [Dialect.Lock] cannot change before its end.
	Tx(ctx context.Context, f func(Conn) error) error
	// Snapshot runs f on one state of the database, whatever others commit meanwhile; f only
	// reads. With lock nobody else can write while f runs, if f runs [Dialect.LockTables].
	Snapshot(ctx context.Context, lock bool, f func(Conn) error) error
	// Classify says what kind of failure err is. It is asked about errors of the engine only.
	Classify(err error) Class
	Dialect() Dialect
	Ping(ctx context.Context) error
	Close()
}

// Dialect is how the SQL of one database differs from the SQL of the others.
type Dialect struct {
	Lock       string // after a SELECT: keeps its rows from changing
	SkipLocked string // after a SELECT: the same, but rows that somebody holds are left out
	Clock      string // the database's own time at this moment
	HasTable   string // query: how many tables have the name $1
	Exclusive  string // statement: at most one transaction gets beyond it. May be empty
	Unhurried  string // statement: this transaction may take as long as it needs. May be empty
	LockTables string // statement: nobody else writes to the tables named at %s. May be empty
	Columns    string // query: table and column of every column of the tables shield_*
	Migrations fs.FS  // 0001_name.sql, ...
}

// Class is a kind of failure of a database.
type Class int

// The classes.
const (
	Unknown     Class = iota
	Duplicate         // a unique constraint does not hold
	Orphan            // a foreign key refers to nothing
	Lost              // the transaction lost against another; the same again may succeed
	Unreachable       // the database is away, full, read-only or too busy
)

// Store is the state of the gateway. It is safe for concurrent use. Every method is one
// transaction, obeys the deadline of its context, and takes 8 seconds at most; a transaction
// that lost against another is tried again within that time.
type Store struct {
	db      Engine
	dialect Dialect
	retries atomic.Uint64
}

var (
	_ session.Store = (*Store)(nil)
	_ login.Store   = (*Store)(nil)
	_ mail.Store    = (*Store)(nil)
)

// New returns the store on an engine, which it owns from now on.
func New(db Engine) *Store { return &Store{db: db, dialect: db.Dialect()} }

// Ping reports whether the database answers, with [ErrUnavailable] if it does not.
func (s *Store) Ping(ctx context.Context) error {
	return s.run(ctx, "ping", s.db.Ping)
}

// Close gives the connections back. Operations that run end first, or fail.
func (s *Store) Close() { s.db.Close() }

// Retries returns how many times a transaction lost against another and was tried again.
// The order of the locks is made so that this stays rare; a number that grows is a fault.
func (s *Store) Retries() uint64 { return s.retries.Load() }

// exec runs one statement that is a transaction of its own.
func (s *Store) exec(ctx context.Context, op, sql string, args ...any) (int64, error) {
	var n int64
	err := s.run(ctx, op, func(ctx context.Context) (err error) {
		n, err = s.db.Exec(ctx, sql, args...)
		return err
	})
	return n, err
}

// query runs one statement that reads. A query that is tried again calls begin first, which
// forgets the rows of the try before.
func (s *Store) query(ctx context.Context, op, sql string, args []any, begin func(), row func(Row) error) error {
	return s.run(ctx, op, func(ctx context.Context) error {
		begin()
		return s.db.Query(ctx, sql, args, row)
	})
}

// one reads a single row into dest and returns none when there is no row.
func (s *Store) one(ctx context.Context, op string, none error, sql string, args []any, dest ...any) error {
	found := false
	err := s.query(ctx, op, sql, args, func() { found = false }, func(r Row) error {
		found = true
		return r.Scan(dest...)
	})
	if err == nil && !found {
		return none
	}
	return err
}

// tx runs f in one transaction. f may be called again from the beginning.
func (s *Store) tx(ctx context.Context, op string, f func(context.Context, Conn) error) error {
	return s.run(ctx, op, func(ctx context.Context) error {
		return s.db.Tx(ctx, func(c Conn) error { return f(ctx, c) })
	})
}

// run calls f until it succeeds, fails for good, or the time is up. Only a transaction that
// the database itself rolled back is tried again: whether one committed whose connection
// broke, nobody knows.
func (s *Store) run(ctx context.Context, op string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if s.db.Classify(err) != Lost {
			return s.fail(ctx, op, err)
		}
		s.retries.Add(1)
		if pause(ctx, retryPause) != nil {
			return fmt.Errorf("%s: %w: %w", op, ErrUnavailable, err)
		}
	}
}

// fail says what err means to a caller. Errors of the domains pass unchanged.
func (s *Store) fail(ctx context.Context, op string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w: %w", op, context.Canceled, err)
	}
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || s.db.Classify(err) == Unreachable {
		return fmt.Errorf("%s: %w: %w", op, ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// pause waits for d, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isID reports whether s is a UUID as this gateway writes them. Anything else cannot be in
// the database, and one of the databases would call it an error rather than absent.
func isID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

// isText reports whether all of values can be kept as text.
func isText(values ...string) bool {
	for _, v := range values {
		if !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0 {
			return false
		}
	}
	return true
}

// bytes returns b, empty rather than nil, which would be NULL.
func bytes(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// null returns an id as an argument, NULL when it is empty.
func null(id string) any {
	if id == "" {
		return nil
	}
	return id
}
