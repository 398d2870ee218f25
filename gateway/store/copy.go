package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What keeps [Copy] from copying. Their words are for operators and stay.
var (
	// ErrPending says that a database does not have all migrations of this program.
	ErrPending = errors.New("migrations are pending: run shield migrate up on it first")
	// ErrSchema says that a database holds what this program does not know.
	ErrSchema = errors.New("the schema is of another release: copy with the release that made it")
	// ErrNotEmpty says that the target of a copy is in use.
	ErrNotEmpty = errors.New("it is not empty, and nothing is copied over anything")
	// ErrDiffers says that what was written is not what was read.
	ErrDiffers = errors.New("what was written is not what was read")
)

// Copied is a table that [Copy] has copied.
type Copied struct {
	Table string
	Rows  int64
}

// Copy copies everything from one database into another, which may be of another kind: it
// must have the same schema and be empty. What is copied is the state of the source at one
// moment. It is written in one transaction, which commits only after every row was read back
// and found to be as in the source.
//
// hold, if there is one, is called after the commit, and from the moment of the copy until
// it returns nobody can write to the source, so that nothing is lost in between.
//
// It obeys the context only, since a database may be large.
func Copy(ctx context.Context, from, to *Store, hold func([]Copied) error) ([]Copied, error) {
	for _, s := range []struct {
		name  string
		store *Store
	}{{"source", from}, {"target", to}} {
		pending, err := s.store.Pending(ctx)
		if err == nil && len(pending) > 0 {
			err = ErrPending
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	var copied []Copied
	err := from.db.Snapshot(ctx, hold != nil, func(source Conn) error {
		if err := from.ownForLong(ctx, source, hold != nil); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		err := to.db.Tx(ctx, func(target Conn) (err error) {
			copied, err = to.fill(ctx, source, target)
			return err
		})
		if err != nil || hold == nil {
			return err
		}
		return hold(copied)
	})
	if err != nil {
		return nil, err
	}
	return copied, nil
}

// ownForLong begins a transaction that may take long, and has the schema that is copied.
func (s *Store) ownForLong(ctx context.Context, c Conn, lock bool) error {
	var names []string
	for _, t := range copiedTables {
		names = append(names, t.name)
	}
	statements := []string{s.dialect.Unhurried}
	if lock && s.dialect.LockTables != "" {
		statements = append(statements, fmt.Sprintf(s.dialect.LockTables, strings.Join(names, ", ")))
	}
	for _, sql := range statements {
		if sql == "" {
			continue
		}
		if _, err := c.Exec(ctx, sql); err != nil {
			return s.fail(ctx, "lock tables", err)
		}
	}
	return s.sameColumns(ctx, c)
}

// sameColumns compares the columns that a database has with those that are copied.
func (s *Store) sameColumns(ctx context.Context, c Conn) error {
	missing := map[string]bool{}
	for _, t := range copiedTables {
		for _, name := range t.own {
			missing[t.name+"."+name] = true
		}
		for _, col := range t.columns {
			missing[t.name+"."+col.name] = true
		}
	}
	err := c.Query(ctx, s.dialect.Columns, nil, func(r Row) error {
		var table, column string
		if err := r.Scan(&table, &column); err != nil {
			return err
		}
		name := table + "." + column
		if !missing[name] && table != "shield_migrations" {
			return fmt.Errorf("%w: it has %s", ErrSchema, name)
		}
		delete(missing, name)
		return nil
	})
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: it lacks %s", ErrSchema, strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
	}
	return nil
}

// fill copies all tables and checks them, in a transaction of the target.
func (s *Store) fill(ctx context.Context, source, target Conn) ([]Copied, error) {
	if err := s.ownForLong(ctx, target, true); err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	for _, t := range copiedTables {
		empty := true
		err := target.Query(ctx, `SELECT 1 FROM `+t.name+` LIMIT 1`, nil, func(Row) error { empty = false; return nil })
		if err == nil && !empty {
			err = fmt.Errorf("%w: %s has rows", ErrNotEmpty, t.name)
		}
		if err != nil {
			return nil, fmt.Errorf("target: %w", err)
		}
	}
	var copied []Copied
	for _, t := range copiedTables {
		n, err := t.copy(ctx, source, target)
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", t.name, err)
		}
		copied = append(copied, Copied{t.name, n})
	}
	return copied, nil
}

// form is how a column is read and written, whatever type a database has for it.
type form int

const (
	words    form = iota // text
	uuids                // text of a UUID; an empty one is NULL where the column may be
	blob                 // the same of bytes
	flag                 // true or false
	whole                // a whole number
	moment               // a time; the zero time is NULL
	document             // JSON, which a database may write in its own way
)

type column struct {
	name     string
	form     form
	nullable bool
}

type table struct {
	name    string
	columns []column
	own     []string // columns that each database fills in itself
	order   string   // by what rows are written, where the order matters
}

// copiedTables are all tables but that of the migrations, each after those that it refers
// to. A test holds them against the schema.
var copiedTables = []table{
	{name: "shield_users", columns: []column{
		{name: "id", form: uuids}, {name: "email"}, {name: "verified", form: flag}, {name: "name"}, {name: "avatar_url"},
		{name: "timezone"}, {name: "language"}, {name: "status"}, {name: "created_at", form: moment},
		{name: "updated_at", form: moment}, {name: "verified_by"},
	}},
	{name: "shield_identities", columns: []column{
		{name: "id", form: uuids}, {name: "user_id", form: uuids}, {name: "provider"}, {name: "issuer"}, {name: "subject"},
		{name: "email"}, {name: "created_at", form: moment}, {name: "last_used_at", form: moment},
		{name: "tokens", form: blob, nullable: true},
	}},
	{name: "shield_sessions", columns: []column{
		{name: "id", form: uuids}, {name: "user_id", form: uuids}, {name: "counter", form: whole}, {name: "used", form: whole},
		{name: "salt", form: blob}, {name: "method"}, {name: "amr", form: document}, {name: "ip"}, {name: "user_agent"},
		{name: "created_at", form: moment}, {name: "rotated_at", form: moment}, {name: "last_used_at", form: moment},
		{name: "expires_at", form: moment}, {name: "revoked_at", form: moment}, {name: "reason"},
		{name: "identity_id", form: uuids, nullable: true}, {name: "upstream"},
	}},
	// seq is the order of one database; readers begin anew with the other one.
	{name: "shield_revocations", own: []string{"seq"}, order: "seq", columns: []column{
		{name: "session_id", form: uuids}, {name: "at", form: moment}, {name: "expires_at", form: moment},
	}},
	{name: "shield_flows", columns: []column{
		{name: "id", form: uuids}, {name: "hash", form: blob}, {name: "provider"}, {name: "kind"}, {name: "form"},
		{name: "user_id", form: uuids, nullable: true}, {name: "sealed", form: blob}, {name: "created_at", form: moment},
		{name: "expires_at", form: moment},
	}},
	{name: "shield_mail", columns: []column{
		{name: "id", form: uuids}, {name: "sealed", form: blob}, {name: "attempts", form: whole},
		{name: "created_at", form: moment}, {name: "due_at", form: moment},
	}},
	{name: "shield_kv", columns: []column{
		{name: "provider"}, {name: "key"}, {name: "value", form: blob}, {name: "version", form: whole},
		{name: "expires_at", form: moment},
	}},
	{name: "shield_audit", columns: []column{
		{name: "id", form: uuids}, {name: "at", form: moment}, {name: "action"}, {name: "user_id", form: uuids, nullable: true},
		{name: "actor_id", form: uuids, nullable: true}, {name: "details", form: document},
	}},
}

// copyBatch is how many rows one statement writes. With the columns of the widest table that
// is a tenth of the parameters that either database takes.
const copyBatch = 200

// copy copies one table and returns how many rows it has.
func (t table) copy(ctx context.Context, source, target Conn) (int64, error) {
	var read, written content
	var batch []any
	write := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := target.Exec(ctx, t.insert(len(batch)/len(t.columns)), batch...)
		batch = batch[:0]
		return err
	}
	err := t.each(ctx, source, func(values []any) error {
		read.add(t.columns, values)
		for i, v := range values {
			batch = append(batch, t.columns[i].argument(v))
		}
		if len(batch) == copyBatch*len(t.columns) {
			return write()
		}
		return nil
	})
	if err == nil {
		err = write()
	}
	if err != nil {
		return 0, err
	}
	err = t.each(ctx, target, func(values []any) error {
		written.add(t.columns, values)
		return nil
	})
	if err == nil && read != written {
		err = fmt.Errorf("%w: %d rows read, %d found", ErrDiffers, read.rows, written.rows)
	}
	return written.rows, err
}

// each reads a table. The values are pointers, good until row returns.
func (t table) each(ctx context.Context, c Conn, row func([]any) error) error {
	exprs := make([]string, len(t.columns))
	values := make([]any, len(t.columns))
	for i, col := range t.columns {
		exprs[i], values[i] = col.read()
	}
	sql := `SELECT ` + strings.Join(exprs, ", ") + ` FROM ` + t.name
	if t.order != "" {
		sql += ` ORDER BY ` + t.order
	}
	return c.Query(ctx, sql, nil, func(r Row) error {
		if err := r.Scan(values...); err != nil {
			return err
		}
		return row(values)
	})
}

// insert returns the statement that writes n rows.
func (t table) insert(n int) string {
	var sql strings.Builder
	names := make([]string, len(t.columns))
	for i, col := range t.columns {
		names[i] = col.name
	}
	sql.WriteString(`INSERT INTO ` + t.name + ` (` + strings.Join(names, ", ") + `) VALUES `)
	for i := range n * len(t.columns) {
		switch {
		case i == 0:
			sql.WriteString("(")
		case i%len(t.columns) == 0:
			sql.WriteString("), (")
		default:
			sql.WriteString(", ")
		}
		sql.WriteString("$" + strconv.Itoa(i+1))
	}
	sql.WriteString(")")
	return sql.String()
}

// read returns the expression that reads a column, and what it is scanned into.
func (c column) read() (expr string, dest any) {
	switch c.form {
	case uuids:
		if c.nullable {
			return `COALESCE(CAST(` + c.name + ` AS text), '')`, new(string)
		}
		return `CAST(` + c.name + ` AS text)`, new(string)
	case document:
		return `CAST(` + c.name + ` AS text)`, new(string)
	case blob:
		return c.name, new([]byte)
	case flag:
		return c.name, new(bool)
	case whole:
		return c.name, new(int64)
	case moment:
		return c.name, new(time.Time)
	}
	return c.name, new(string)
}

// argument returns what was read as an argument of its own.
func (c column) argument(v any) any {
	switch v := v.(type) {
	case *string:
		if c.nullable {
			return null(*v)
		}
		return *v
	case *[]byte:
		if c.nullable && len(*v) == 0 {
			return nil
		}
		return append([]byte{}, *v...)
	case *bool:
		return *v
	case *int64:
		return *v
	case *time.Time:
		return *v
	}
	panic(fmt.Sprintf("column %s is read into %T", c.name, v)) // see read
}

// content is what a table holds, in whatever order.
type content struct {
	rows int64
	sum  [sha256.Size]byte // of the digests of the rows, bit by bit; no two rows are the same
}

func (c *content) add(columns []column, values []any) {
	h := sha256.New()
	for i, v := range values {
		text := columns[i].canonical(v)
		_ = binary.Write(h, binary.BigEndian, uint64(len(text))) // a hash takes everything
		h.Write([]byte(text))
	}
	c.rows++
	for i, b := range h.Sum(nil) {
		c.sum[i] ^= b
	}
}

// canonical writes a value in the one way in which all databases agree.
func (c column) canonical(v any) string {
	switch v := v.(type) {
	case *string:
		if c.form == document {
			return canonicalJSON(*v)
		}
		return *v
	case *[]byte:
		return string(*v)
	case *bool:
		return strconv.FormatBool(*v)
	case *int64:
		return strconv.FormatInt(*v, 10)
	case *time.Time:
		if v.IsZero() {
			return ""
		}
		return strconv.FormatInt(v.UnixMicro(), 10)
	}
	panic(fmt.Sprintf("column %s is read into %T", c.name, v)) // see read
}

// canonicalJSON sorts members and drops spaces. What is no JSON stays, and differs.
func canonicalJSON(s string) string {
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return s
	}
	return string(b)
}
