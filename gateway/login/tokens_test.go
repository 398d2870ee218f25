package login_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/sdk"
)

// keyed is a Login on the bench's store with other secret keys.
func (b *bench) keyed(t *testing.T, secrets ...string) *login.Login {
	t.Helper()
	var keys []*seal.Key
	for _, s := range secrets {
		key, err := seal.NewKey(strings.Repeat(s, seal.MinSecret))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	l, err := login.New(login.Options{
		Store: b.store, Providers: b.provider, Sessions: b.sessions, Outbox: b.outbox, Key: keys[0], Previous: keys[1:],
		Config: config.Default().Login, PublicURL: "https://api.example.com", Now: func() time.Time { return *b.now.Load() },
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTokensOfOtherSitesAreKeptAsLongAsTheyAreSent(t *testing.T) {
	b := newTown(t)
	with := func(tokens string) sdk.Identity {
		id := sAnn
		id.Tokens = []byte(tokens)
		return id
	}
	out, err := b.comes("company", with("first"))
	if err != nil {
		t.Fatal(err)
	}
	id := out.LoggedIn.Session.IdentityID
	wants := func(l *login.Login, want string) {
		t.Helper()
		if got, err := l.Tokens(t.Context(), id); err != nil || string(got) != want {
			t.Errorf("Tokens() = %q, %v, want %q", got, err, want)
		}
	}
	wants(b.Login, "first")
	if sealed, err := b.store.Tokens(t.Context(), id); err != nil || bytes.Contains(sealed, []byte("first")) {
		t.Errorf("the database holds %q, %v, want it sealed", sealed, err)
	}
	if _, err := b.comes("company", with("second")); err != nil {
		t.Fatal(err)
	}
	wants(b.Login, "second")

	// The secret key is replaced: what was kept can be read, and is sealed anew at the next login.
	wants(b.keyed(t, "n", "k"), "second")
	if _, err := b.keyed(t, "n").Tokens(t.Context(), id); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("Tokens() without the key of before = %v, want ErrOpen", err)
	}
	if _, err := b.arrives(b.keyed(t, "n", "k"), "company", with("third")); err != nil {
		t.Fatal(err)
	}
	wants(b.keyed(t, "n"), "third")

	if _, err := b.comes("company", sAnn); err != nil {
		t.Fatal(err)
	}
	wants(b.Login, "")
	if sealed, err := b.store.Tokens(t.Context(), id); err != nil || sealed != nil {
		t.Errorf("the database still holds %d bytes, %v", len(sealed), err)
	}
	if _, err := b.Tokens(t.Context(), account.NewID()); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("Tokens() of no identity = %v, want ErrNotFound", err)
	}
}

// A row that is moved beside another identity must not hand out somebody else's tokens.
func TestTokensOpenBesideTheirIdentityAlone(t *testing.T) {
	b := newTown(t)
	id := sAnn
	id.Tokens = []byte("ann's")
	hers, err := b.comes("company", id)
	if err != nil {
		t.Fatal(err)
	}
	eves, err := b.comes("stranger", verified(sdk.Identity{Subject: "s-eve", Email: "eve@example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := b.store.Tokens(t.Context(), hers.LoggedIn.Session.IdentityID)
	if err != nil {
		t.Fatal(err)
	}
	b.put(t, login.Commit{TouchIdentity: eves.LoggedIn.Session.IdentityID, KeepTokens: &sealed})
	if got, err := b.Tokens(t.Context(), eves.LoggedIn.Session.IdentityID); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("Tokens() = %q, %v, want ErrOpen", got, err)
	}
}

func TestTokensGoWithTheirIdentity(t *testing.T) {
	b := newTown(t)
	b.register(t)
	id := sAnn
	id.Tokens = []byte("ann's")
	out, err := b.comes("company", id)
	if err != nil {
		t.Fatal(err)
	}
	l := *out.LoggedIn
	if err := b.Unlink(t.Context(), caller(l), l.Session.IdentityID, login.Client{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Tokens(t.Context(), l.Session.IdentityID); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("Tokens() of an identity that was unlinked = %v, want ErrNotFound", err)
	}
}
