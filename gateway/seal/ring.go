package seal

import (
	"bytes"
	"crypto/sha256"
)

// idSize is how many bytes of a sealed form name the key that it was made with.
const idSize = 8

// Ring is a [Box] that outlives its key: it seals with the current secret key, and opens
// what was sealed with that one or with one of those before. It is safe for concurrent use.
type Ring struct{ keys []ringKey }

type ringKey struct {
	id  []byte
	box *Box
}

// NewRing returns the ring of a purpose. Of the keys the first is the current one.
func NewRing(purpose string, current *Key, previous ...*Key) *Ring {
	r := &Ring{}
	for _, k := range append([]*Key{current}, previous...) {
		// The id is told to whoever reads the database, so it must not be a hash of the key itself.
		sum := sha256.Sum256(k.Derive(purpose + "/id"))
		r.keys = append(r.keys, ringKey{sum[:idSize], k.Box(purpose)})
	}
	return r
}

// Seal encrypts plain with the current key and binds it to context, as [Box.Seal] does.
func (r *Ring) Seal(plain []byte, context string) []byte {
	k := r.keys[0]
	return append(bytes.Clone(k.id), k.box.Seal(plain, context)...)
}

// Open decrypts what Seal made with the same context under one of the keys, or returns
// [ErrOpen].
func (r *Ring) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < idSize {
		return nil, ErrOpen
	}
	for _, k := range r.keys {
		if bytes.Equal(k.id, sealed[:idSize]) {
			return k.box.Open(sealed[idSize:], context)
		}
	}
	return nil, ErrOpen
}
