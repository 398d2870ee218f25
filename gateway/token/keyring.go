package token

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
)

// ErrStatic says that the signing key was given by the configuration, so only the
// configuration can replace it.
var ErrStatic = errors.New("the signing key is given by the configuration")

const (
	// reloadEvery is how often the key file is looked at. It is far below any sensible
	// config.Token.Publish, so every gateway knows a key before it signs.
	reloadEvery = 5 * time.Second
	// reloadGap is how often an unknown key identifier may cause a look besides.
	reloadGap = time.Second
)

// KeyringOptions is what [OpenKeyring] needs. Log and Now are required. Without a Registerer
// the keys are not told of in metrics.
type KeyringOptions struct {
	Config config.Token
	Dir    string // where keys are made and rotated, if the configuration gives none
	Now    func() time.Time
	Log    *slog.Logger

	Registerer prometheus.Registerer
}

// Keyring holds the keys of the gateway itself. It is safe for concurrent use.
//
// A key goes through three states. It stands in the JWKS as [Next] until every cache of
// the JWKS has it, then signs as [Active], and remains as [Retiring] until the last token
// that it signed is dead. The first key ever made signs at once.
type Keyring struct {
	cfg        config.Token
	now        func() time.Time
	log        *slog.Logger
	overlap    time.Duration
	file       keyFile
	static     []ownKey // the configured private key; empty: keys are in file
	verifyOnly []ownKey // configured public keys

	current atomic.Pointer[ring]
	version atomic.Uint64

	mu       sync.Mutex // one reload at a time; guards what follows
	reloaded time.Time
	failing  bool
}

// OpenKeyring reads the keys, and makes the first one where there is none. It may block
// while another gateway that shares the directory makes a key.
func OpenKeyring(o KeyringOptions) (*Keyring, error) {
	if o.Now == nil || o.Log == nil {
		return nil, errors.New("token: Now and Log are required")
	}
	k := &Keyring{cfg: o.Config, now: o.Now, log: o.Log, file: keyFile{o.Dir}}
	// A key that left too early would invalidate living tokens.
	k.overlap = max(o.Config.Overlap, o.Config.AccessTTL+o.Config.Leeway)
	if err := k.readConfigured(); err != nil {
		return nil, err
	}
	keys := k.static
	if len(k.static) == 0 {
		if o.Dir == "" {
			return nil, errors.New("token: neither a private key nor a directory for keys is given")
		}
		var err error
		if keys, err = k.file.update(k.first); err != nil {
			return nil, fmt.Errorf("token: open keys: %w", err)
		}
	}
	if err := k.adopt(keys); err != nil {
		return nil, fmt.Errorf("token: open keys: %w", err)
	}
	return k, k.register(o.Registerer)
}

// register shows the age of the key that signs. That of a key of the configuration is not
// known.
func (k *Keyring) register(reg prometheus.Registerer) error {
	if reg == nil || len(k.static) > 0 {
		return nil
	}
	since := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "materi_signing_key_activated_timestamp_seconds",
		Help: "When the key that signs began to. Not there if the configuration gives the key.",
	}, func() float64 { return float64(k.active().activates.Unix()) })
	if err := reg.Register(since); err != nil {
		return fmt.Errorf("token: register metrics: %w", err)
	}
	return nil
}

// readConfigured takes the keys that the configuration gives.
func (k *Keyring) readConfigured() error {
	if k.cfg.PublicKey != "" {
		publics, err := parsePublic(k.cfg.PublicKey)
		if err != nil {
			return fmt.Errorf("token: public_key: %w", err)
		}
		for i, public := range publics {
			key, err := newOwnKey(ownAlgorithm(public), nil, public, time.Time{}, time.Time{})
			if err != nil {
				return fmt.Errorf("token: public_key: key %d: %w", i+1, err)
			}
			k.verifyOnly = append(k.verifyOnly, key)
		}
	}
	if k.cfg.PrivateKey.Empty() {
		return nil
	}
	private, err := parsePrivate(k.cfg.PrivateKey.Reveal())
	if err != nil {
		return fmt.Errorf("token: private_key: %w", err)
	}
	key, err := newOwnKey(k.cfg.Algorithm, private, private.Public(), time.Time{}, time.Time{})
	if err != nil {
		return fmt.Errorf("token: private_key: %w", err)
	}
	k.static = []ownKey{key}
	return nil
}

// first makes the first key, and a successor when the configured algorithm has changed.
func (k *Keyring) first(keys []ownKey) ([]ownKey, error) {
	if len(keys) == 0 {
		now := k.now()
		key, err := generate(k.cfg.Algorithm, now, now)
		return []ownKey{key}, err
	}
	if newest(keys).alg != k.cfg.Algorithm {
		return k.withSuccessor(keys)
	}
	return nil, nil
}

// withSuccessor appends a key that will sign after the publication time, and leaves out
// those that no longer verify.
func (k *Keyring) withSuccessor(keys []ownKey) ([]ownKey, error) {
	now := k.now()
	ring, err := arrange(keys, nil, now, k.overlap)
	if err != nil {
		return nil, err
	}
	key, err := generate(k.cfg.Algorithm, now, now.Add(k.cfg.Publish))
	if err != nil {
		return nil, err
	}
	var living []ownKey
	for _, old := range keys {
		if ring.holds(old) {
			living = append(living, old)
		}
	}
	return append(living, key), nil
}

func newest(keys []ownKey) ownKey {
	var last ownKey
	for _, k := range keys {
		if last.private == nil || !k.activates.Before(last.activates) {
			last = k
		}
	}
	return last
}

// adopt makes keys the ones in use. A reload holds k.mu; Open is alone anyway.
func (k *Keyring) adopt(keys []ownKey) error {
	ring, err := arrange(keys, k.verifyOnly, k.now(), k.overlap)
	if err != nil {
		return err
	}
	before := k.current.Swap(ring)
	if !ring.sameKeys(before) {
		k.version.Add(1)
	}
	if before != nil && before.active.id != ring.active.id {
		k.log.Info("signing key changed", "kid", ring.active.id, "algorithm", ring.active.alg)
	}
	return nil
}

// Run reloads the keys and rotates them as configured, until ctx ends.
func (k *Keyring) Run(ctx context.Context) {
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			k.reload()
		}
	}
}

// reload brings the ring up to date with the key file and the clock, and adds a successor
// when one is due. Trouble leaves the keys as they are and is logged once.
func (k *Keyring) reload() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reloaded = k.now()
	err := k.reloadLocked()
	switch {
	case err != nil && !k.failing:
		k.log.Error("signing keys cannot be reloaded, the last ones stay in use", "error", err)
	case err == nil && k.failing:
		k.log.Info("signing keys reloaded again")
	}
	k.failing = err != nil
}

func (k *Keyring) reloadLocked() error {
	if len(k.static) > 0 {
		return k.adopt(k.static)
	}
	keys, err := k.file.read()
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		// A volume that went away must not bring a new key into being.
		return fmt.Errorf("%s is gone", k.file.path())
	}
	if k.rotationDue(keys) {
		// Look again under the lock: another gateway may have been quicker.
		keys, err = k.file.update(func(keys []ownKey) ([]ownKey, error) {
			if len(keys) == 0 || !k.rotationDue(keys) {
				return nil, nil
			}
			return k.withSuccessor(keys)
		})
		if err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	return k.adopt(keys)
}

// rotationDue reports whether the newest key will be too old by the time that a successor
// made now begins to sign. A successor that waits is itself the newest, and young.
func (k *Keyring) rotationDue(keys []ownKey) bool {
	if k.cfg.RotateEvery <= 0 {
		return false
	}
	signs := k.now().Add(k.cfg.Publish)
	return !signs.Before(newest(keys).activates.Add(k.cfg.RotateEvery))
}

// Rotate makes a successor of the active key, in the key file, for every gateway that
// shares it. If one waits already, that one is returned and nothing is made, so that
// rotating twice in a row does not push out a key whose tokens still live.
func (k *Keyring) Rotate() (Key, error) {
	if len(k.static) > 0 {
		return Key{}, ErrStatic
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	keys, err := k.file.update(func(keys []ownKey) ([]ownKey, error) {
		if len(keys) == 0 {
			return k.first(nil)
		}
		if newest(keys).activates.After(k.now()) {
			return nil, nil
		}
		return k.withSuccessor(keys)
	})
	if err != nil {
		return Key{}, fmt.Errorf("token: rotate: %w", err)
	}
	if err := k.adopt(keys); err != nil {
		return Key{}, fmt.Errorf("token: rotate: %w", err)
	}
	return k.current.Load().keys[0], nil
}

// List returns the keys that verify, newest first.
func (k *Keyring) List() []Key {
	return append([]Key(nil), k.current.Load().keys...)
}

// JWKS returns the public keys as a JSON Web Key Set. The caller must not change it.
func (k *Keyring) JWKS() []byte { return k.current.Load().jwks }

// Version changes whenever a key begins or ceases to verify.
func (k *Keyring) Version() uint64 { return k.version.Load() }

// Check signs with the active key and verifies what came out. An error means that the
// gateway cannot issue tokens.
func (k *Keyring) Check() error {
	active := k.current.Load().active
	signed, err := sign(active.alg, active.private, []byte(`{}`), []byte("check"))
	if err != nil {
		return fmt.Errorf("token: sign with key %s: %w", active.id, err)
	}
	input, signature, err := splitSignature(signed)
	if err != nil {
		return fmt.Errorf("token: read what key %s signed: %w", active.id, err)
	}
	if err := verify(active.alg, active.public, input, signature); err != nil {
		return fmt.Errorf("token: verify with key %s: %w", active.id, err)
	}
	return nil
}

// active returns the key to sign with.
func (k *Keyring) active() ownKey { return k.current.Load().active }

// public finds a key that verifies. An unknown one may just have been made by another
// gateway that publishes its keys for no time at all, so the file is looked at again, but
// seldom: anyone can make up identifiers.
func (k *Keyring) public(_ context.Context, name keyName) (crypto.PublicKey, error) {
	if key, ok := k.current.Load().public[name]; ok {
		return key, nil
	}
	if !k.mayReload() {
		return nil, ErrUnknownKey
	}
	k.reload()
	if key, ok := k.current.Load().public[name]; ok {
		return key, nil
	}
	return nil, ErrUnknownKey
}

func (k *Keyring) mayReload() bool {
	if len(k.static) > 0 || !k.mu.TryLock() {
		return false
	}
	defer k.mu.Unlock()
	if k.now().Sub(k.reloaded) < reloadGap {
		return false
	}
	k.reloaded = k.now()
	return true
}
