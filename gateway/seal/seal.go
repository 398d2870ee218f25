// Package seal owns what is derived from the installation's secret key: keys for one
// purpose each, and the encryption of what must not be readable in the database.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// MinSecret is the least length of a secret key in bytes.
const MinSecret = 32

// ErrOpen says that sealed data was not made with this key and context.
var ErrOpen = errors.New("sealed data cannot be opened")

// Key is the root secret of an installation. It is safe for concurrent use.
type Key struct{ secret []byte }

// NewKey takes the secret key of the configuration. It fails when it is shorter than
// [MinSecret].
func NewKey(secret string) (*Key, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("secret key has %d bytes, at least %d are needed", len(secret), MinSecret)
	}
	return &Key{secret: []byte(secret)}, nil
}

// Derive returns 32 bytes for one purpose (HKDF-SHA256, RFC 5869). The same purpose gives
// the same bytes; two purposes tell nothing of each other.
func (k *Key) Derive(purpose string) []byte {
	out, err := hkdf.Key(sha256.New, k.secret, nil, "shield/"+purpose, 32)
	if err != nil {
		panic(err) // only for lengths over 255 hashes
	}
	return out
}

// Box encrypts for one purpose with AES-256-GCM. It is safe for concurrent use.
type Box struct{ aead cipher.AEAD }

// Box returns the box of a purpose.
func (k *Key) Box(purpose string) *Box {
	block, err := aes.NewCipher(k.Derive(purpose))
	if err != nil {
		panic(err) // only for wrong key lengths
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &Box{aead}
}

// Seal encrypts plain and binds it to context, for instance the id of its row, so that it
// opens nowhere else.
func (b *Box) Seal(plain []byte, context string) []byte {
	return b.aead.Seal(nil, nil, plain, []byte(context))
}

// Open decrypts what Seal made with the same context, or returns [ErrOpen].
func (b *Box) Open(sealed []byte, context string) ([]byte, error) {
	plain, err := b.aead.Open(nil, nil, sealed, []byte(context))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// Random returns n bytes of crypto/rand.
func Random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails: it ends the process instead
	return b
}
