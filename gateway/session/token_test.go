package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/gateway/session"
)

func TestEveryFlippedBitMakesATokenInvalid(t *testing.T) {
	b := newBench(t)
	_, token := b.login(t, ann)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != 56 {
		t.Fatalf("token has %d bytes, %v, want 56", len(raw), err)
	}
	for bit := range len(raw) * 8 {
		raw[bit/8] ^= 1 << (bit % 8)
		b.wantErr(t, base64.RawURLEncoding.EncodeToString(raw), session.ErrInvalid)
		raw[bit/8] ^= 1 << (bit % 8)
	}
	b.mustRefresh(t, token)
}

func TestOtherSpellingsOfATokenAreInvalid(t *testing.T) {
	b := newBench(t)
	_, token := b.login(t, ann)
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", token[74])
	alias := token[:74] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|3])
	for _, bad := range []string{
		"", token + "=", token + "A", token[:74], " " + token, token + "\n", token[:40] + "\n" + token[41:],
		token[:40] + "\r\n" + token[40:], alias, strings.Repeat("A", 75), strings.Repeat("_", 75), strings.Repeat("A", 1<<20),
		"\x00" + token[1:], strings.Replace(token, token[:1], "+", 1),
	} {
		if bad == token {
			continue
		}
		b.wantErr(t, bad, session.ErrInvalid)
	}
	b.mustRefresh(t, token)
}

func TestTokenIsBoundToKeySessionAndSalt(t *testing.T) {
	b := newBench(t)
	v, token := b.login(t, ann)
	other, _ := b.login(t, eve)
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	theirs, _ := base64.RawURLEncoding.DecodeString(strings.ReplaceAll(other.ID, "-", ""))
	copy(raw, theirs)
	b.wantErr(t, base64.RawURLEncoding.EncodeToString(raw), session.ErrInvalid)

	elsewhere := b.another(t, prometheus.NewRegistry(), func(o *session.Options) {
		o.Key, _ = seal.NewKey("another secret key of 32 bytes!!")
	})
	if _, _, err := elsewhere.Refresh(t.Context(), token); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("Refresh() with another key = %v, want ErrInvalid", err)
	}
	v.Salt = seal.Random(16)
	b.store.put(v)
	b.wantErr(t, token, session.ErrInvalid)
}

func FuzzRefresh(f *testing.F) {
	b := newBench(f)
	_, token := b.login(f, ann)
	for _, s := range []string{token, token[:74], "", strings.Repeat("A", 75), token[:74] + "\n", "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, next, err := b.Refresh(context.Background(), s)
		if s != token && (!errors.Is(err, session.ErrInvalid) || next != "") {
			t.Errorf("Refresh(%q) = %v, want ErrInvalid", s, err)
		}
	})
}
