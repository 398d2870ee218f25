package store

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/sdk"
)

// KV returns an entry of a provider's key-value map, and whether there is one at now.
func (s *Store) KV(ctx context.Context, provider, key string, now time.Time) (sdk.Entry, bool, error) {
	if !isText(provider, key) {
		return sdk.Entry{}, false, nil
	}
	var e sdk.Entry
	err := s.one(ctx, "read entry", nil, `SELECT value, version FROM shield_kv
		WHERE provider = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > $3)`,
		[]any{provider, key, now}, &e.Value, &e.Version)
	if err != nil {
		return sdk.Entry{}, false, err
	}
	return e, e.Version != 0, nil
}

// write applies the staged changes of a commit. They are sorted by key, so that two
// transactions never wait for each other's entries; changes of one key keep their order.
func (s *Store) write(ctx context.Context, conn Conn, c login.Commit) error {
	type write struct {
		plugin.Write
		lost error // if it does not hold
	}
	var writes []write
	for _, w := range c.Writes {
		writes = append(writes, write{w, login.ErrEntryChanged})
	}
	for _, w := range c.Forget {
		writes = append(writes, write{w, login.ErrChanged})
	}
	slices.SortStableFunc(writes, func(a, b write) int {
		if c := strings.Compare(a.Provider, b.Provider); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	for _, w := range writes {
		if !isText(w.Provider, w.Key) {
			return ErrText
		}
		apply := writeOne
		if w.ReadOnly {
			apply = s.unchanged
		}
		held, err := apply(ctx, conn, w.Write, c.Now)
		if err != nil {
			return err
		}
		if !held {
			return w.lost
		}
	}
	return nil
}

// unchanged reports whether an entry still has the version that it was read at, and keeps
// it so until the transaction ends. The absence of an entry is not kept.
func (s *Store) unchanged(ctx context.Context, c Conn, w plugin.Write, now time.Time) (bool, error) {
	var version int64
	err := c.Query(ctx, `SELECT version FROM shield_kv
		WHERE provider = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > $3)`+s.dialect.Lock,
		[]any{w.Provider, w.Key, now}, func(r Row) error { return r.Scan(&version) })
	return version == w.IfVersion, err
}

// writeOne applies one change and reports whether its condition held. An entry that has
// expired is no entry.
func writeOne(ctx context.Context, c Conn, w plugin.Write, now time.Time) (bool, error) {
	switch {
	case w.Delete && w.Checked && w.IfVersion == 0:
		// The absence of a row cannot be locked; a row can.
		held, err := insertEntry(ctx, c, w, now)
		if err != nil || !held {
			return false, err
		}
		return true, deleteEntry(ctx, c, w)
	case w.Delete && w.Checked:
		n, err := c.Exec(ctx, `DELETE FROM shield_kv
			WHERE provider = $1 AND key = $2 AND version = $3 AND (expires_at IS NULL OR expires_at > $4)`,
			w.Provider, w.Key, w.IfVersion, now)
		return n == 1, err
	case w.Delete:
		return true, deleteEntry(ctx, c, w)
	case w.Checked && w.IfVersion == 0:
		return insertEntry(ctx, c, w, now)
	case w.Checked:
		n, err := c.Exec(ctx, `UPDATE shield_kv SET value = $3, version = $4, expires_at = $5
			WHERE provider = $1 AND key = $2 AND version = $6 AND (expires_at IS NULL OR expires_at > $7)`,
			w.Provider, w.Key, bytes(w.Value), version(), w.ExpiresAt, w.IfVersion, now)
		return n == 1, err
	default:
		_, err := c.Exec(ctx, `INSERT INTO shield_kv (provider, key, value, version, expires_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (provider, key) DO UPDATE
			SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at`,
			w.Provider, w.Key, bytes(w.Value), version(), w.ExpiresAt)
		return true, err
	}
}

// insertEntry writes an entry if there is none.
func insertEntry(ctx context.Context, c Conn, w plugin.Write, now time.Time) (bool, error) {
	n, err := c.Exec(ctx, `INSERT INTO shield_kv (provider, key, value, version, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (provider, key) DO UPDATE
		SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
		WHERE shield_kv.expires_at <= $6`,
		w.Provider, w.Key, bytes(w.Value), version(), w.ExpiresAt, now)
	return n == 1, err
}

func deleteEntry(ctx context.Context, c Conn, w plugin.Write) error {
	_, err := c.Exec(ctx, `DELETE FROM shield_kv WHERE provider = $1 AND key = $2`, w.Provider, w.Key)
	return err
}

// version returns the version of a write. It is drawn rather than counted, so that an entry
// that was deleted and made again does not have the version of one that was read before.
func version() int64 { return int64(binary.BigEndian.Uint64(seal.Random(8))>>1 | 1) }
