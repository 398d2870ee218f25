package plugin

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
)

// Bounds of what one call may stage.
const (
	maxWrites = 64
	maxStaged = 1 << 20 // bytes of all keys and values
	maxReads  = 256     // different entries
	maxAsked  = 2048    // questions to the database, also for entries that were read before
)

// staged is the key-value map of a provider as one call sees it: committed entries, and
// above them what the call wrote. It implements sdk.KV and is for one goroutine.
type staged struct {
	reader   Reader
	provider string
	now      func() time.Time
	pending  map[string]change
	read     map[string]int64 // versions of the committed entries that the call saw
	versions int64
	size     int
	asked    int
}

// change is a staged write. version is what the call sees of it: negative, so that it
// cannot be taken for a committed one, or 0 when the entry is deleted.
type change struct {
	write   Write
	version int64
}

func newStaged(r Reader, provider string, now func() time.Time) *staged {
	return &staged{reader: r, provider: provider, now: now, pending: make(map[string]change), read: make(map[string]int64)}
}

// writes returns what was staged, in the order of the keys, so that commits that overlap
// take their locks in one order. What was only read is among it: a login must not outlive
// the password that it was checked against, if that is changed while the call runs.
func (s *staged) writes() []Write {
	all := make(map[string]Write, len(s.read)+len(s.pending))
	for key, version := range s.read {
		all[key] = Write{Provider: s.provider, Key: key, Checked: true, IfVersion: version, ReadOnly: true}
	}
	for key, c := range s.pending {
		all[key] = c.write
	}
	var list []Write
	for _, key := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[key])
	}
	return list
}

// Get returns the call's own write before the committed entry.
func (s *staged) Get(ctx context.Context, key string) (sdk.Entry, bool, error) {
	if err := valid(key, nil, 0); err != nil {
		return sdk.Entry{}, false, err
	}
	now := s.now()
	if c, ok := s.pending[key]; ok {
		if c.gone(now) {
			return sdk.Entry{}, false, nil
		}
		return sdk.Entry{Value: slices.Clone(c.write.Value), Version: c.version}, true, nil
	}
	before, again := s.read[key]
	if !again && len(s.read) == maxReads {
		return sdk.Entry{}, false, sdk.ErrTooLarge
	}
	if s.asked == maxAsked {
		return sdk.Entry{}, false, sdk.ErrExhausted
	}
	s.asked++
	entry, found, err := s.reader.KV(ctx, s.provider, key, now)
	if err != nil {
		return sdk.Entry{}, false, err
	}
	if again && entry.Version != before {
		return sdk.Entry{}, false, sdk.ErrConflict
	}
	s.read[key] = entry.Version
	return entry, found, nil
}

// Set stages a value.
func (s *staged) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	if err := valid(key, value, ttl); err != nil {
		return err
	}
	return s.stage(key, value, ttl, s.pending[key].write)
}

// CompareAndSet stages a value and, unless it was compared with a write of this call, the
// condition that the committed entry is still the same.
func (s *staged) CompareAndSet(ctx context.Context, key string, version int64, value []byte, ttl time.Duration) error {
	if err := valid(key, value, ttl); err != nil {
		return err
	}
	entry, _, err := s.Get(ctx, key)
	if err != nil {
		return err
	}
	if entry.Version != version {
		return sdk.ErrConflict
	}
	before := s.pending[key].write
	if _, ok := s.pending[key]; !ok {
		before = Write{Checked: true, IfVersion: version}
	}
	return s.stage(key, value, ttl, before)
}

// Delete stages the removal of an entry.
func (s *staged) Delete(_ context.Context, key string) error {
	if err := valid(key, nil, 0); err != nil {
		return err
	}
	before := s.pending[key].write
	return s.keep(key, change{write: Write{Delete: true, Checked: before.Checked, IfVersion: before.IfVersion}})
}

// stage keeps a value with the condition of the write before it.
func (s *staged) stage(key string, value []byte, ttl time.Duration, before Write) error {
	return s.keep(key, change{
		version: -(s.versions + 1),
		write: Write{
			Value: slices.Clone(value), ExpiresAt: expiry(s.now(), ttl),
			Checked: before.Checked, IfVersion: before.IfVersion,
		},
	})
}

func (s *staged) keep(key string, c change) error {
	size := s.size + len(c.write.Value)
	old, ok := s.pending[key]
	if ok {
		size -= len(old.write.Value)
	} else {
		size += len(key)
	}
	if size > maxStaged || !ok && len(s.pending) == maxWrites {
		return sdk.ErrTooLarge
	}
	c.write.Provider, c.write.Key = s.provider, key
	s.size = size
	s.versions++
	s.pending[key] = c
	return nil
}

func (c change) gone(now time.Time) bool {
	expires := c.write.ExpiresAt
	return c.write.Delete || !expires.IsZero() && !now.Before(expires)
}

// valid checks what every store can hold: a key of text without NUL, and no more than the
// contract allows.
func valid(key string, value []byte, ttl time.Duration) error {
	if len(key) > sdk.MaxKey || len(value) > sdk.MaxValue {
		return sdk.ErrTooLarge
	}
	if key == "" || !utf8.ValidString(key) || strings.Contains(key, "\x00") || ttl < 0 {
		return sdk.ErrInvalid
	}
	return nil
}
