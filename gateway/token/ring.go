package token

import (
	"crypto"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

// State is where a key stands in its life.
type State string

// The states of a key.
const (
	Next     State = "next"     // in the JWKS, does not sign yet
	Active   State = "active"   // signs
	Retiring State = "retiring" // its last tokens may still be about
)

// Key describes a key of the gateway.
type Key struct {
	ID        string
	Algorithm string
	State     State
	CreatedAt time.Time // zero for keys of the configuration
	ActiveAt  time.Time // when it begins, or began, to sign; zero for keys of the configuration
	Until     time.Time // when it no longer verifies; zero: not known yet
}

// ring is an arrangement of keys at one moment. It does not change.
type ring struct {
	keys   []Key // newest first
	active ownKey
	public map[keyName]crypto.PublicKey
	jwks   []byte
}

// arrange derives from the keys and the clock alone which key signs and which ones still
// verify. Nothing but the time of activation is ever recorded, so gateways that share a
// key file agree without talking, and a crash leaves no half-made transition.
func arrange(keys, verifyOnly []ownKey, now time.Time, overlap time.Duration) (*ring, error) {
	keys = slices.Clone(keys)
	slices.Reverse(keys) // of two that activate together, the one made later is the newer
	slices.SortStableFunc(keys, func(a, b ownKey) int { return b.activates.Compare(a.activates) })
	r := &ring{public: map[keyName]crypto.PublicKey{}}
	var public []ownKey
	var successor time.Time // when the next newer key takes over
	for i, k := range keys {
		info := Key{ID: k.id, Algorithm: k.alg, CreatedAt: k.created, ActiveAt: k.activates}
		oldest := i == len(keys)-1
		switch {
		case r.active.private != nil:
			info.State, info.Until = Retiring, successor.Add(overlap)
		case k.activates.After(now) && !oldest:
			info.State = Next
		default: // the oldest signs even if the clock went back
			info.State, r.active = Active, k
			if !successor.IsZero() {
				info.Until = successor.Add(overlap)
			}
		}
		successor = k.activates
		if info.State == Retiring && !now.Before(info.Until) {
			continue
		}
		r.keys = append(r.keys, info)
		public = append(public, k)
	}
	if r.active.private == nil {
		return nil, fmt.Errorf("there is no key to sign with")
	}
	for _, k := range verifyOnly {
		if k.id == r.active.id {
			continue // the public half of the configured private key
		}
		r.keys = append(r.keys, Key{ID: k.id, Algorithm: k.alg, State: Retiring})
		public = append(public, k)
	}
	for _, k := range public {
		r.public[keyName{k.id, k.alg}] = k.public
	}
	var err error
	r.jwks, err = encodeJWKS(public)
	return r, err
}

// holds reports whether a key still verifies, or will.
func (r *ring) holds(k ownKey) bool {
	_, ok := r.public[keyName{k.id, k.alg}]
	return ok
}

// sameKeys reports whether two rings verify with the same keys.
func (r *ring) sameKeys(other *ring) bool {
	if other == nil || len(r.public) != len(other.public) {
		return false
	}
	for name := range r.public {
		if _, ok := other.public[name]; !ok {
			return false
		}
	}
	return true
}

// encodeJWKS makes the document of RFC 7517 §5. It is given public halves only.
func encodeJWKS(keys []ownKey) ([]byte, error) {
	set := jwk.NewSet()
	for _, k := range keys {
		public, err := jwk.Import(k.public)
		if err != nil {
			return nil, fmt.Errorf("import public key %s: %w", k.id, err)
		}
		for field, value := range map[string]any{jwk.KeyIDKey: k.id, jwk.AlgorithmKey: k.alg, jwk.KeyUsageKey: "sig"} {
			if err := public.Set(field, value); err != nil {
				return nil, fmt.Errorf("describe public key %s: %w", k.id, err)
			}
		}
		if err := set.AddKey(public); err != nil {
			return nil, fmt.Errorf("add public key %s: %w", k.id, err)
		}
	}
	return json.Marshal(set)
}
