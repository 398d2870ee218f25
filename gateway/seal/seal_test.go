package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	secret = "0123456789abcdefghijklmnopqrstuv" // MinSecret bytes
	other  = "vutsrqponmlkjihgfedcba9876543210"
)

func newKey(t testing.TB, secret string) *Key {
	t.Helper()
	k, err := NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewKeyRefusesAShortSecret(t *testing.T) {
	for _, short := range []string{"", secret[:5], secret[1:]} {
		k, err := NewKey(short)
		if err == nil || k != nil {
			t.Errorf("NewKey(%d bytes) = %v, %v, want an error", len(short), k, err)
		}
		if err != nil && short != "" && strings.Contains(err.Error(), short) {
			t.Errorf("NewKey(%d bytes) tells the secret: %v", len(short), err)
		}
	}
	if _, err := NewKey(secret); err != nil {
		t.Errorf("NewKey(%d bytes) = %v", len(secret), err)
	}
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	box := newKey(t, secret).Box("mail")
	for _, plain := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("long "), 10_000)} {
		sealed := box.Seal(plain, "row 1")
		got, err := box.Open(sealed, "row 1")
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("Open(Seal(%d bytes)) = %d bytes, %v", len(plain), len(got), err)
		}
		if len(plain) > 8 && bytes.Contains(sealed, plain[:8]) {
			t.Errorf("Seal(%d bytes) holds the plain text", len(plain))
		}
	}
}

func TestAnotherStartOpensWhatWasSealed(t *testing.T) {
	sealed := newKey(t, secret).Box("mail").Seal([]byte("letter"), "row 1")
	got, err := newKey(t, secret).Box("mail").Open(sealed, "row 1")
	if err != nil || string(got) != "letter" {
		t.Errorf("Open() = %q, %v", got, err)
	}
}

func TestSealedTextIsNeverTheSameTwice(t *testing.T) {
	box := newKey(t, secret).Box("mail")
	seen := map[string]bool{}
	for range 1000 {
		sealed := string(box.Seal([]byte("letter"), "row 1"))
		if seen[sealed] {
			t.Fatal("Seal() repeated itself: a nonce was used twice")
		}
		seen[sealed] = true
	}
}

func TestOpenRefusesWhatWasNotSealedHere(t *testing.T) {
	key := newKey(t, secret)
	box := key.Box("mail")
	sealed := box.Seal([]byte("letter"), "row 1")
	for name, open := range map[string]func() ([]byte, error){
		"another context":   func() ([]byte, error) { return box.Open(sealed, "row 2") },
		"no context":        func() ([]byte, error) { return box.Open(sealed, "") },
		"another purpose":   func() ([]byte, error) { return key.Box("flow").Open(sealed, "row 1") },
		"another secret":    func() ([]byte, error) { return newKey(t, other).Box("mail").Open(sealed, "row 1") },
		"nothing":           func() ([]byte, error) { return box.Open(nil, "row 1") },
		"a nonce alone":     func() ([]byte, error) { return box.Open(sealed[:12], "row 1") },
		"cut at its end":    func() ([]byte, error) { return box.Open(sealed[:len(sealed)-1], "row 1") },
		"more at its end":   func() ([]byte, error) { return box.Open(append(bytes.Clone(sealed), 0), "row 1") },
		"cut at its begin":  func() ([]byte, error) { return box.Open(sealed[1:], "row 1") },
		"two seals in turn": func() ([]byte, error) { return box.Open(append(bytes.Clone(sealed), sealed...), "row 1") },
	} {
		if plain, err := open(); !errors.Is(err, ErrOpen) || plain != nil {
			t.Errorf("%s: Open() = %q, %v, want ErrOpen", name, plain, err)
		}
	}
}

func TestOpenRefusesAnyFlippedBit(t *testing.T) {
	box := newKey(t, secret).Box("mail")
	sealed := box.Seal([]byte("letter"), "row 1")
	for i := range len(sealed) * 8 {
		forged := bytes.Clone(sealed)
		forged[i/8] ^= 1 << (i % 8)
		if plain, err := box.Open(forged, "row 1"); !errors.Is(err, ErrOpen) {
			t.Fatalf("bit %d flipped: Open() = %q, %v, want ErrOpen", i, plain, err)
		}
	}
}

func TestPurposesTellNothingOfEachOther(t *testing.T) {
	key := newKey(t, secret)
	seen := map[string]string{}
	for _, purpose := range []string{"", "mail", "flow", "refresh", "limits", "mail ", "MAIL", "mail/"} {
		derived := string(key.Derive(purpose))
		if before, ok := seen[derived]; ok {
			t.Errorf("Derive(%q) = Derive(%q)", purpose, before)
		}
		seen[derived] = purpose
		if len(derived) != 32 {
			t.Errorf("Derive(%q) has %d bytes, want 32", purpose, len(derived))
		}
	}
	if bytes.Equal(key.Derive("mail"), newKey(t, other).Derive("mail")) {
		t.Error("two secrets derive the same")
	}
}

// TestDeriveIsHKDF holds Derive to RFC 5869 written out by hand, which in turn is held to
// the vectors of its appendix A.
func TestDeriveIsHKDF(t *testing.T) {
	for _, v := range []struct{ name, secret, salt, info, want string }{
		{
			"A.1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
		},
		{
			"A.3", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
		},
	} {
		want := unhex(t, v.want)
		got := hkdfByHand(unhex(t, v.secret), unhex(t, v.salt), unhex(t, v.info), len(want))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("RFC 5869 %s: %s", v.name, diff)
		}
	}
	for _, purpose := range []string{"mail", "refresh", ""} {
		want := hkdfByHand([]byte(secret), nil, []byte("shield/"+purpose), 32)
		if diff := cmp.Diff(want, newKey(t, secret).Derive(purpose)); diff != "" {
			t.Errorf("Derive(%q): %s", purpose, diff)
		}
	}
}

// hkdfByHand is RFC 5869 §2 with SHA-256.
func hkdfByHand(secret, salt, info []byte, length int) []byte {
	mac := func(key []byte, parts ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, part := range parts {
			h.Write(part)
		}
		return h.Sum(nil)
	}
	if len(salt) == 0 {
		salt = make([]byte, sha256.Size)
	}
	extracted := mac(salt, secret)
	var out, block []byte
	for n := byte(1); len(out) < length; n++ {
		block = mac(extracted, block, info, []byte{n})
		out = append(out, block...)
	}
	return out[:length]
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRandomDoesNotRepeat(t *testing.T) {
	if n := len(Random(48)); n != 48 {
		t.Errorf("Random(48) has %d bytes", n)
	}
	if bytes.Equal(Random(16), Random(16)) {
		t.Error("Random() repeated itself")
	}
}

func FuzzOpen(f *testing.F) {
	box := newKey(f, secret).Box("mail")
	f.Add(box.Seal([]byte("letter"), "row 1"), "row 1")
	f.Add(box.Seal(nil, ""), "row 1")
	f.Add([]byte{}, "")
	f.Fuzz(func(t *testing.T, sealed []byte, context string) {
		plain, err := box.Open(sealed, context)
		if err == nil {
			// Only the seeds were sealed with this key; nobody forges one.
			if string(plain) == "letter" && context == "row 1" || len(plain) == 0 && context == "" {
				return
			}
			t.Fatalf("Open() = %q: a forgery", plain)
		}
		if !errors.Is(err, ErrOpen) || plain != nil {
			t.Fatalf("Open() = %q, %v, want ErrOpen", plain, err)
		}
	})
}
