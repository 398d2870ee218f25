package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/google/uuid"
)

// A refresh token is base64url of the session's id (16 bytes), the generation (8 bytes, big
// endian) and the HMAC-SHA256 of both and the session's salt. Nothing of it is stored: the
// successor of a token can be computed again for a client that did not get it, and whoever
// reads the database has no token, since the key is not in it.
const (
	tokenBytes = 16 + 8 + sha256.Size
	tokenChars = 75 // base64url of tokenBytes without padding
)

var encoding = base64.RawURLEncoding.Strict()

// token is a refresh token that was parsed. Whether it is genuine, only the salt of its
// session tells.
type token struct {
	session    uuid.UUID
	generation int64
	mac        [sha256.Size]byte
}

// parse reads a refresh token, or returns [ErrInvalid]. Every token has one spelling only.
func parse(s string) (token, error) {
	if len(s) != tokenChars {
		return token{}, ErrInvalid
	}
	raw, err := encoding.DecodeString(s)
	if err != nil || len(raw) != tokenBytes {
		return token{}, ErrInvalid
	}
	var t token
	copy(t.session[:], raw)
	t.generation = int64(binary.BigEndian.Uint64(raw[16:]))
	copy(t.mac[:], raw[24:])
	if t.generation < 1 {
		return token{}, ErrInvalid
	}
	return t, nil
}

// genuine reports whether the token was made with this key and salt.
func (t token) genuine(key, salt []byte) bool {
	return hmac.Equal(t.mac[:], mac(key, t.session, t.generation, salt))
}

// mint writes the refresh token of a generation.
func mint(key []byte, session uuid.UUID, generation int64, salt []byte) string {
	raw := make([]byte, 0, tokenBytes)
	raw = append(raw, session[:]...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(generation))
	raw = append(raw, mac(key, session, generation, salt)...)
	return encoding.EncodeToString(raw)
}

func mac(key []byte, session uuid.UUID, generation int64, salt []byte) []byte {
	var g [8]byte
	binary.BigEndian.PutUint64(g[:], uint64(generation))
	h := hmac.New(sha256.New, key)
	h.Write(session[:])
	h.Write(g[:])
	h.Write(salt)
	return h.Sum(nil)
}
