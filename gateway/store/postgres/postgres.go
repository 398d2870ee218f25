// Package postgres is the store's engine for PostgreSQL 12 and later, on a pool of pgx.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/materi/shield/gateway/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Limits of a connection. Those of the server apply where the URL names them itself.
const (
	connectTimeout   = 5 * time.Second
	statementTimeout = "5000"  // ms
	idleInTx         = "10000" // ms: a gateway that hangs must not hold its locks
)

// Open returns a store on the database that url names, with at most poolSize connections
// and one beside them for what is urgent. It does not connect: a server that is down makes
// calls fail with [store.ErrUnavailable] until it is up. It fails when the URL cannot be
// understood; the error does not quote it.
func Open(_ context.Context, url string, poolSize int) (*store.Store, error) {
	e, err := open(url, poolSize)
	if err != nil {
		return nil, err
	}
	return store.New(e), nil
}

func open(url string, poolSize int) (*engine, error) {
	if poolSize < 1 || poolSize > 1<<16 {
		return nil, fmt.Errorf("postgres: pool size %d is not between 1 and 65536", poolSize)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("postgres: the database URL cannot be parsed; want postgres://user:password@host:port/database")
	}
	config.MaxConns = int32(poolSize)
	config.MinConns = 0
	config.MaxConnIdleTime = 5 * time.Minute
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"application_name":                    "shield",
		"statement_timeout":                   statementTimeout,
		"idle_in_transaction_session_timeout": idleInTx,
	} {
		if _, given := config.ConnConfig.RuntimeParams[name]; !given {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	// The pool lives until Close, not until the context of this call ends.
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("postgres: make pool: %w", err)
	}
	config = config.Copy()
	config.MaxConns = 1
	urgent, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("postgres: make pool: %w", err)
	}
	return &engine{conn: conn{pool}, pool: pool, urgent: urgent}, nil
}

type engine struct {
	conn
	pool   *pgxpool.Pool
	urgent *pgxpool.Pool // of one connection
	closed atomic.Bool   // pgxpool has no error value for it
}

// Dialect implements [store.Engine].
func (e *engine) Dialect() store.Dialect {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // only for a path that is not valid
	}
	return store.Dialect{
		// Not FOR UPDATE, which would also stop those who only refer to the row.
		Lock:       " FOR NO KEY UPDATE",
		SkipLocked: " FOR UPDATE SKIP LOCKED",
		Clock:      "clock_timestamp()",
		HasTable:   `SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = $1`,
		Exclusive: `SET LOCAL statement_timeout = 0;
			SELECT pg_advisory_xact_lock(hashtextextended('shield migrations in ' || current_schema(), 0))`,
		// A lock that somebody keeps is told rather than waited for without an end.
		Unhurried: `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
			SET LOCAL lock_timeout = '30s'`,
		LockTables: `LOCK TABLE %s IN EXCLUSIVE MODE`,
		Columns: `SELECT CAST(table_name AS text), CAST(column_name AS text) FROM information_schema.columns
			WHERE table_schema = current_schema() AND table_name LIKE 'shield\_%'`,
		Migrations: files,
	}
}

// Tx implements [store.Engine]. At read committed, which is the default of the server and is
// named here lest somebody changed it, the store's locks and conditions are all it needs.
func (e *engine) Tx(ctx context.Context, f func(store.Conn) error) error {
	options := pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
	return pgx.BeginTxFunc(ctx, e.pool, options, func(tx pgx.Tx) error { return f(conn{tx}) })
}

// Snapshot implements [store.Engine]. A lock of a table comes before the first read, which is
// what fixes the state.
func (e *engine) Snapshot(ctx context.Context, _ bool, f func(store.Conn) error) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadWrite} // only such a transaction may lock
	return pgx.BeginTxFunc(ctx, e.pool, options, func(tx pgx.Tx) error { return f(conn{tx}) })
}

// Urgent implements [store.Engine].
func (e *engine) Urgent() store.Conn { return conn{e.urgent} }

// Ping implements [store.Engine].
func (e *engine) Ping(ctx context.Context) error { return e.pool.Ping(ctx) }

// Close implements [store.Engine].
func (e *engine) Close() {
	e.closed.Store(true)
	e.urgent.Close()
	e.pool.Close()
}

// Classify implements [store.Engine] by the codes of PostgreSQL's documentation, appendix A.
func (e *engine) Classify(err error) store.Class {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return classify(pg.Code)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connect), errors.As(err, &network),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		pgconn.SafeToRetry(err), pgconn.Timeout(err):
		return store.Unreachable
	}
	if e.closed.Load() {
		return store.Unreachable
	}
	return store.Unknown
}

func classify(code string) store.Class {
	switch code {
	case "23505":
		return store.Duplicate
	case "23503":
		return store.Orphan
	case "40001", "40P01":
		return store.Lost
	case "25006", // read-only: a standby, after or before a failover
		"25P03", // idle in transaction for too long
		"55P03", // lock not available
		"57014": // statement timeout
		return store.Unreachable
	}
	for _, class := range []string{
		"08",  // connection
		"28",  // authorization: the operator's fault, and not for good
		"3D",  // no such database
		"53",  // resources: disk, memory, connections
		"57P", // shutdown, crash, cannot connect now
		"58",  // system
	} {
		if strings.HasPrefix(code, class) {
			return store.Unreachable
		}
	}
	return store.Unknown
}

// conn adapts a pool or a transaction of pgx.
type conn struct {
	pgx interface {
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	}
}

// Exec implements [store.Conn].
func (c conn) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tag, err := c.pgx.Exec(ctx, sql, arguments(args)...)
	return tag.RowsAffected(), err
}

// Query implements [store.Conn].
func (c conn) Query(ctx context.Context, sql string, args []any, row func(store.Row) error) error {
	rows, err := c.pgx.Query(ctx, sql, arguments(args)...)
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

func arguments(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		if t, ok := a.(time.Time); ok && t.IsZero() {
			a = nil
		}
		out[i] = a
	}
	return out
}

type scanner struct{ rows pgx.Rows }

// Scan implements [store.Row].
func (s scanner) Scan(dest ...any) error { return s.rows.Scan(store.Dest(dest)...) }
