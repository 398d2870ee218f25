package seal

import (
	"bytes"
	"errors"
	"testing"
)

func TestARingOpensWhatKeysOfBeforeSealed(t *testing.T) {
	before, now := newKey(t, other), newKey(t, secret)
	old := NewRing("tokens", before).Seal([]byte("letter"), "row 1")
	ring := NewRing("tokens", now, before)
	if got, err := ring.Open(old, "row 1"); err != nil || string(got) != "letter" {
		t.Errorf("Open() of what the key before sealed = %q, %v", got, err)
	}
	fresh := ring.Seal([]byte("letter"), "row 1")
	if got, err := NewRing("tokens", now).Open(fresh, "row 1"); err != nil || string(got) != "letter" {
		t.Errorf("Open() by the current key alone = %q, %v: the ring seals with another", got, err)
	}
	if _, err := NewRing("tokens", before).Open(fresh, "row 1"); !errors.Is(err, ErrOpen) {
		t.Errorf("Open() by the key before = %v, want ErrOpen", err)
	}
	if _, err := NewRing("tokens", now).Open(old, "row 1"); !errors.Is(err, ErrOpen) {
		t.Errorf("Open() once the key before is gone = %v, want ErrOpen", err)
	}
}

func TestARingOpensNothingElse(t *testing.T) {
	key, before := newKey(t, secret), newKey(t, other)
	ring := NewRing("tokens", key, before)
	sealed := ring.Seal([]byte("letter"), "row 1")
	moved := append(bytes.Clone(NewRing("tokens", before).Seal([]byte("x"), "row 1")[:idSize]), sealed[idSize:]...)
	for name, open := range map[string]func() ([]byte, error){
		"another context": func() ([]byte, error) { return ring.Open(sealed, "row 2") },
		"another purpose": func() ([]byte, error) { return NewRing("mail", key).Open(sealed, "row 1") },
		"without its id":  func() ([]byte, error) { return ring.Open(sealed[idSize:], "row 1") },
		"id of another":   func() ([]byte, error) { return ring.Open(moved, "row 1") },
		"an id alone":     func() ([]byte, error) { return ring.Open(sealed[:idSize], "row 1") },
		"less than an id": func() ([]byte, error) { return ring.Open(sealed[:idSize-1], "row 1") },
		"nothing":         func() ([]byte, error) { return ring.Open(nil, "row 1") },
		"a box's":         func() ([]byte, error) { return ring.Open(key.Box("tokens").Seal([]byte("letter"), "row 1"), "row 1") },
		"cut at its end":  func() ([]byte, error) { return ring.Open(sealed[:len(sealed)-1], "row 1") },
		"a flipped bit":   func() ([]byte, error) { return ring.Open(flip(sealed, len(sealed)-1), "row 1") },
		"a flipped id":    func() ([]byte, error) { return ring.Open(flip(sealed, 0), "row 1") },
	} {
		if plain, err := open(); !errors.Is(err, ErrOpen) || plain != nil {
			t.Errorf("%s: Open() = %q, %v, want ErrOpen", name, plain, err)
		}
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// What names a key in the database must not be a test of guesses at it.
func TestTheIDOfAKeyTellsNothingOfIt(t *testing.T) {
	key := newKey(t, secret)
	id := NewRing("tokens", key).keys[0].id
	for _, derived := range [][]byte{key.Derive("tokens"), key.Derive("tokens/id"), []byte(secret)} {
		if bytes.Contains(derived, id) {
			t.Error("the id is a part of what is derived from the key")
		}
	}
	if bytes.Equal(id, NewRing("mail", key).keys[0].id) {
		t.Error("two purposes have one id")
	}
}

func FuzzRingOpen(f *testing.F) {
	ring := NewRing("tokens", newKey(f, secret), newKey(f, other))
	f.Add(ring.Seal([]byte("letter"), "row 1"), "row 1")
	f.Add([]byte("1234567"), "")
	f.Add([]byte{}, "row 1")
	f.Fuzz(func(t *testing.T, sealed []byte, context string) {
		plain, err := ring.Open(sealed, context)
		if err == nil && string(plain) == "letter" && context == "row 1" {
			return // the seed
		}
		if !errors.Is(err, ErrOpen) || plain != nil {
			t.Fatalf("Open() = %q, %v, want ErrOpen", plain, err)
		}
	})
}
