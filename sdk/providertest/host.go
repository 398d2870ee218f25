// Package providertest is for those who write a provider: a [Host] that is small but real,
// [Run], the conformance suite that every provider passes, and [Script], the file with what
// the suite must know of a provider. The program shield runs the same suite on plugin files:
// see its command plugin test.
package providertest

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
	failing map[sdk.Capability]error
	asked   map[sdk.Capability]int // how often, also in vain
	refused map[sdk.Capability]int // how often in vain
	seed    []byte                 // nil: what is drawn is random
	drawn   int
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
	return newHost(nil, grants)
}

// NewSeeded is [New] for a host whose key and salts follow from a seed, so that the same
// calls get the same answers in every run and on every transport. It keeps nothing secret.
func NewSeeded(seed string, grants ...sdk.Capability) *Host {
	if len(grants) == 0 {
		grants = sdk.Capabilities()
	}
	return newHost([]byte(seed), grants)
}

// NewFor is [NewSeeded] for a host that grants what a manifest declares, which may be nothing:
// the most that a gateway would.
func NewFor(seed string, m sdk.Manifest) *Host { return newHost([]byte(seed), m.Capabilities) }

func newHost(seed []byte, grants []sdk.Capability) *Host {
	h := &Host{
		seed:    seed,
		failing: make(map[sdk.Capability]error),
		asked:   make(map[sdk.Capability]int),
		refused: make(map[sdk.Capability]int),
		sites:   make(map[string]Site),
		secrets: make(map[string]string),
		private: make(map[string]bool),
		signed:  make(map[string][]byte),
		granted: grants,
		now:     time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC),
		entries: make(map[string]entry),
		common:  []string{"password", "password1", "12345678", "qwertyuiop", "iloveyou"},
	}
	h.key = ed25519.NewKeyFromSeed(h.draw(ed25519.SeedSize))
	return h
}

// draw returns n bytes, at most 32: random ones, or the next that follow from the seed.
func (h *Host) draw(n int) []byte {
	b := make([]byte, n)
	if h.seed == nil {
		_, _ = rand.Read(b)
		return b
	}
	h.drawn++
	mac := hmac.New(sha256.New, h.seed)
	_, _ = fmt.Fprint(mac, h.drawn)
	copy(b, mac.Sum(nil))
	return b
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

// FailOnly makes what the host does by one capability fail with err, until it is called with
// nil.
func (h *Host) FailOnly(c sdk.Capability, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failing[c] = err
}

// Asked returns how often the host was asked for something by a capability, and how often of
// these in vain: because it is not granted, or by [Host.Fail] and [Host.FailOnly].
func (h *Host) Asked(c sdk.Capability) (times, inVain int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[c], h.refused[c]
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
	h.mu.Lock()
	salt := hex.EncodeToString(h.draw(8))
	h.mu.Unlock()
	return "$test$" + salt + "$" + digest(salt, password)
}

// StaleHash is [Host.Hash] of a kind that Verify calls stale.
func (h *Host) StaleHash(password string) string {
	return strings.Replace(h.Hash(password), "$test$", "$stale$", 1)
}

func digest(salt, password string) string {
	sum := sha256.Sum256([]byte(salt + "\x00" + password))
	return hex.EncodeToString(sum[:])
}

// grants returns why a capability does not serve now, or nil, and counts that it was asked
// for. The caller holds the lock.
func (h *Host) grants(c sdk.Capability) error {
	err := h.failing[c]
	if h.failure != nil {
		err = h.failure
	}
	if !slices.Contains(h.granted, c) {
		err = sdk.ErrNotGranted
	}
	h.asked[c]++
	if err != nil {
		h.refused[c]++
	}
	return err
}

func (e entry) alive(now time.Time) bool { return e.expires.IsZero() || now.Before(e.expires) }
