package providertest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
)

// Call is a [Host] as one call sees it, with writes that wait for [Call.Commit].
type Call struct {
	host   *Host
	staged map[string]staged
	writes int64

	fetches int
}

// staged is a write that waits. checked says that the entry must still have the version
// base at the commit.
type staged struct {
	entry
	deleted bool
	checked bool
	base    int64
}

// KV returns the map.
func (c *Call) KV() sdk.KV { return (*kv)(c) }

// Passwords returns the quick hash.
func (c *Call) Passwords() sdk.Passwords { return (*passwords)(c) }

// Log keeps a record, see [Host.Records].
func (c *Call) Log(level sdk.Level, message string, args ...string) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if c.host.grants(sdk.CapabilityLog) == nil {
		c.host.records = append(c.host.records, Record{level, message, slices.Clone(args)})
	}
}

// Commit applies the writes, all or none. It returns [sdk.ErrConflict] when an entry that
// was compared has changed since.
func (c *Call) Commit() error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, s := range c.staged {
		if s.checked && h.current(key).version != s.base {
			return sdk.ErrConflict
		}
	}
	for key, s := range c.staged {
		if s.deleted {
			delete(h.entries, key)
			continue
		}
		h.version++
		s.version = h.version
		h.entries[key] = s.entry
	}
	c.staged = make(map[string]staged)
	return nil
}

// current returns the committed entry, or one of version 0.
func (h *Host) current(key string) entry {
	e, ok := h.entries[key]
	if !ok || !e.alive(h.now) {
		return entry{}
	}
	return e
}

type kv Call

func (k *kv) Get(ctx context.Context, key string) (sdk.Entry, bool, error) {
	k.host.mu.Lock()
	defer k.host.mu.Unlock()
	if err := k.allowed(ctx, key, nil, 0); err != nil {
		return sdk.Entry{}, false, err
	}
	e := k.visible(key)
	return sdk.Entry{Value: bytes.Clone(e.value), Version: e.version}, e.version != 0, nil
}

func (k *kv) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	k.host.mu.Lock()
	defer k.host.mu.Unlock()
	if err := k.allowed(ctx, key, value, ttl); err != nil {
		return err
	}
	k.stage(key, k.entry(value, ttl), false)
	return nil
}

func (k *kv) CompareAndSet(ctx context.Context, key string, version int64, value []byte, ttl time.Duration) error {
	k.host.mu.Lock()
	defer k.host.mu.Unlock()
	if err := k.allowed(ctx, key, value, ttl); err != nil {
		return err
	}
	if k.visible(key).version != version {
		return sdk.ErrConflict
	}
	k.check(key, version)
	k.stage(key, k.entry(value, ttl), false)
	return nil
}

func (k *kv) Delete(ctx context.Context, key string) error {
	k.host.mu.Lock()
	defer k.host.mu.Unlock()
	if err := k.allowed(ctx, key, nil, 0); err != nil {
		return err
	}
	k.stage(key, entry{}, true)
	return nil
}

func (k *kv) allowed(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := k.host.grants(sdk.CapabilityKV); err != nil {
		return err
	}
	if len(key) > sdk.MaxKey || len(value) > sdk.MaxValue {
		return sdk.ErrTooLarge
	}
	if key == "" || !utf8.ValidString(key) || strings.Contains(key, "\x00") || ttl < 0 {
		return sdk.ErrInvalid
	}
	return ctx.Err()
}

// visible returns the entry as this call sees it: its own write before the committed one.
func (k *kv) visible(key string) entry {
	if s, ok := k.staged[key]; ok {
		return s.entry
	}
	return k.host.current(key)
}

// check notes that the entry must have this version at the commit, unless the call wrote
// it before and compared with its own write.
func (k *kv) check(key string, version int64) {
	if _, ok := k.staged[key]; !ok {
		k.staged[key] = staged{checked: true, base: version}
	}
}

func (k *kv) stage(key string, e entry, deleted bool) {
	s := k.staged[key]
	s.entry, s.deleted = e, deleted
	k.staged[key] = s
}

// entry returns an entry with a version of the call's own; such are negative.
func (k *kv) entry(value []byte, ttl time.Duration) entry {
	k.writes++
	e := entry{value: bytes.Clone(value), version: -k.writes}
	if ttl > 0 {
		e.expires = k.host.now.Add(ttl)
	}
	return e
}

type passwords Call

func (p *passwords) Hash(ctx context.Context, password string) (string, error) {
	if err := p.work(ctx); err != nil {
		return "", err
	}
	return p.host.Hash(password), nil
}

func (p *passwords) Verify(ctx context.Context, hash, password string) (ok, stale bool, err error) {
	if err := p.work(ctx); err != nil {
		return false, false, err
	}
	parts := strings.Split(hash, "$")
	if len(parts) != 4 || parts[3] != digest(parts[2], password) {
		return false, false, nil
	}
	return true, parts[1] == "stale", nil
}

func (p *passwords) work(ctx context.Context) error {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if err := p.host.grants(sdk.CapabilityPassword); err != nil {
		return err
	}
	p.host.checks++
	return ctx.Err()
}

func (p *passwords) Common(ctx context.Context, password string) (bool, error) {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if err := p.host.grants(sdk.CapabilityPassword); err != nil {
		return false, err
	}
	return slices.Contains(p.host.common, strings.ToLower(password)), ctx.Err()
}
