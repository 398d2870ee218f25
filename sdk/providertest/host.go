// Package providertest is for those who write a provider: a [Host] that is small but real,
// and [Run], the conformance suite that every provider passes.
package providertest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/materi/shield/sdk"
)

// Host stands for the gateway: a key-value map with versions, expiry and staged writes, a
// password hash that is quick instead of good, the log, sites that answer requests, a key
// that signs tokens, secrets, and a clock that stands still until it is moved. It is safe for
// concurrent use; a [Call] of it is not.
type Host struct {
	mu      sync.Mutex
	granted []sdk.Capability
	now     time.Time
	entries map[string]entry
	version int64
	records []Record
	checks  int
	common  []string
	failure error
	key     ed25519.PrivateKey
	sites   map[string]Site
	secrets map[string]string
	private map[string]bool
	signed  map[string][]byte
}

type entry struct {
	value   []byte
	version int64
	expires time.Time // zero: never
}

// Record is what a provider logged.
type Record struct {
	Level   sdk.Level
	Message string
	Args    []string
}

// New returns a host that grants these capabilities, or all of them when none is named.
// Its clock stands at noon of 2026-01-02 UTC.
func New(grants ...sdk.Capability) *Host {
	if len(grants) == 0 {
		grants = sdk.Capabilities()
	}
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed)
	return &Host{
		key:     ed25519.NewKeyFromSeed(seed),
		sites:   make(map[string]Site),
		secrets: make(map[string]string),
		private: make(map[string]bool),
		signed:  make(map[string][]byte),
		granted: grants,
		now:     time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC),
		entries: make(map[string]entry),
		common:  []string{"password", "password1", "12345678", "qwertyuiop", "iloveyou"},
	}
}

// Now returns the time of the host's clock.
func (h *Host) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// Advance moves the clock.
func (h *Host) Advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// Fail makes everything that the host does fail with err, until it is called with nil.
func (h *Host) Fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failure = err
}

// Records returns what was logged so far.
func (h *Host) Records() []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.records)
}

// Checks returns how many passwords were hashed or verified so far. Answers that must not
// be told apart by their time make the same number of them.
func (h *Host) Checks() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checks
}

// Keys returns the committed keys that have not expired, in order.
func (h *Host) Keys() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := slices.Sorted(maps.Keys(h.entries))
	return slices.DeleteFunc(keys, func(k string) bool { return !h.entries[k].alive(h.now) })
}

// Begin makes one call of p as the gateway does: its writes are committed with its step,
// and it is made anew when another call was faster.
func (h *Host) Begin(ctx context.Context, p sdk.Provider, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	return h.call(ctx, p.Begin, flow, req)
}

// Continue is [Host.Begin] for a flow that goes on.
func (h *Host) Continue(ctx context.Context, p sdk.Provider, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	return h.call(ctx, p.Continue, flow, req)
}

type function func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error)

func (h *Host) call(ctx context.Context, f function, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	if req.Now.IsZero() {
		req.Now = h.Now()
	}
	for range 8 {
		c := h.Call()
		step, err := f(ctx, c, flow, req)
		if errors.Is(err, sdk.ErrConflict) {
			continue
		}
		if err != nil {
			return step, err
		}
		err = c.Commit()
		if !errors.Is(err, sdk.ErrConflict) {
			return step, err
		}
	}
	return sdk.Step{}, sdk.ErrConflict
}

// Call returns the host as one call of a provider sees it. Take it by hand to make two
// calls overlap; else see [Host.Begin].
func (h *Host) Call() *Call { return &Call{host: h, staged: make(map[string]staged)} }

// Hash returns what the host's Hash would, without counting.
func (h *Host) Hash(password string) string {
	salt := make([]byte, 8)
	_, _ = rand.Read(salt)
	return "$test$" + hex.EncodeToString(salt) + "$" + digest(hex.EncodeToString(salt), password)
}

// StaleHash is [Host.Hash] of a kind that Verify calls stale.
func (h *Host) StaleHash(password string) string {
	return strings.Replace(h.Hash(password), "$test$", "$stale$", 1)
}

func digest(salt, password string) string {
	sum := sha256.Sum256([]byte(salt + "\x00" + password))
	return hex.EncodeToString(sum[:])
}

func (h *Host) grants(c sdk.Capability) error {
	if !slices.Contains(h.granted, c) {
		return sdk.ErrNotGranted
	}
	return h.failure
}

func (e entry) alive(now time.Time) bool { return e.expires.IsZero() || now.Before(e.expires) }
