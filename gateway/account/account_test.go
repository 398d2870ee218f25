package account_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/sdk"
)

func TestCanonicalEmail(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"ann@example.com", "ann@example.com"},
		{"  Ann.B+tag@Example.COM ", "ann.b+tag@example.com"},
		{"o'neil@example.com", "o'neil@example.com"},
		{"ann@bücher.example", "ann@xn--bcher-kva.example"},
		{"ann@BÜCHER.example", "ann@xn--bcher-kva.example"},
		{"ann@localhost", "ann@localhost"},
		{strings.Repeat("a", 64) + "@example.com", strings.Repeat("a", 64) + "@example.com"},

		{"", ""},
		{"ann", ""},
		{"@example.com", ""},
		{"ann@", ""},
		{"ann@b@example.com", ""},
		{"ann@example.com\r\nbcc: eve@example.com", ""},
		{"ann\x00@example.com", ""},
		{"ann@exam\x00ple.com", ""},
		{"ann@example.com\x00", ""},
		{"a nn@example.com", ""},
		{`"ann"@example.com`, ""},
		{"ann@[127.0.0.1]", ""},
		{"Ann <ann@example.com>", ""},
		{".ann@example.com", ""},
		{"a..b@example.com", ""},
		{"ann@-example.com", ""},
		{"ann@exa_mple.com", ""},
		{"ann@example..com", ""},
		{"ann@example.com.", ""},
		{"аnn@example.com", ""}, // Cyrillic а
		{"\xff@example.com", ""},
		{"ann@\xff.com", ""},
		{strings.Repeat("a", 65) + "@example.com", ""},
		{"a@" + strings.Repeat("a.", 130) + "com", ""},
		{"\u212a@example.com", ""}, // the Kelvin sign, whose lower case is k
		{"ann@\u212aelvin.example", "ann@kelvin.example"},
	} {
		if got := account.CanonicalEmail(c.in); got != c.want {
			t.Errorf("CanonicalEmail(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzCanonicalEmail(f *testing.F) {
	for _, s := range []string{"ann@example.com", "Ann@BÜCHER.example", "a@b@c", "a@xn--", "x@\u200d.y", "@", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := account.CanonicalEmail(s)
		if got == "" {
			return
		}
		if again := account.CanonicalEmail(got); again != got {
			t.Errorf("CanonicalEmail(%q) = %q, and again = %q", s, got, again)
		}
		if strings.ToLower(got) != got || strings.Count(got, "@") != 1 || len(got) > 254 {
			t.Errorf("CanonicalEmail(%q) = %q, not canonical", s, got)
		}
		for i := range len(got) {
			if got[i] <= ' ' || got[i] >= 0x7f {
				t.Errorf("CanonicalEmail(%q) = %q, holds %q", s, got, got[i])
			}
		}
	})
}

func TestNewUserIsActiveOnlyWithAVerifiedAddress(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	id := sdk.Identity{Subject: "s", Email: "Ann@Example.com", Name: "Ann\u202e\x00  B\n", AvatarURL: "javascript:alert(1)"}
	u, i, err := account.New("email", "local", id, now)
	if err != nil {
		t.Fatal(err)
	}
	want := account.User{Email: "ann@example.com", Name: "Ann B", Timezone: "UTC", Language: "en", Status: account.Pending, CreatedAt: now, UpdatedAt: now}
	if d := cmp.Diff(want, u, cmpopts.IgnoreFields(account.User{}, "ID")); d != "" {
		t.Errorf("New() user (-want +got):\n%s", d)
	}
	wantID := account.Identity{UserID: u.ID, Provider: "email", Issuer: "local", Subject: "s", Email: "ann@example.com", CreatedAt: now, LastUsedAt: now}
	if d := cmp.Diff(wantID, i, cmpopts.IgnoreFields(account.Identity{}, "ID")); d != "" {
		t.Errorf("New() identity (-want +got):\n%s", d)
	}
	id.EmailVerified = true
	if u, _, _ := account.New("email", "local", id, now); u.Status != account.Active || !u.Verified {
		t.Errorf("New() with a verified address = %s, %v, want active, true", u.Status, u.Verified)
	}
}

func TestNewRefusesAnIdentityWithoutAddress(t *testing.T) {
	if _, _, err := account.New("email", "", sdk.Identity{Subject: "s", Email: "nobody"}, time.Now()); !errors.Is(err, account.ErrAddress) {
		t.Errorf("New() = %v, want ErrAddress", err)
	}
}

func TestOnlyTheUsersOwnVerifiedAddressVerifies(t *testing.T) {
	pending := account.User{Email: "ann@example.com", Status: account.Pending}
	for _, c := range []struct {
		name string
		id   sdk.Identity
		user account.User
		want bool
	}{
		{"own and verified", sdk.Identity{Email: "ANN@example.com", EmailVerified: true}, pending, true},
		{"not verified", sdk.Identity{Email: "ann@example.com"}, pending, false},
		{"another", sdk.Identity{Email: "eve@example.com", EmailVerified: true}, pending, false},
		{"none", sdk.Identity{EmailVerified: true}, account.User{Status: account.Pending}, false},
		{"suspended", sdk.Identity{Email: "ann@example.com", EmailVerified: true}, account.User{Email: "ann@example.com", Status: account.Suspended}, false},
	} {
		if got := account.Verifies(c.id, c.user); got != c.want {
			t.Errorf("%s: Verifies() = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCleanNameBoundsAndCleans(t *testing.T) {
	if got := account.CleanName("\xff" + strings.Repeat("é", 300)); got != strings.Repeat("é", 200) {
		t.Errorf("CleanName() has %d bytes", len(got))
	}
	if got := account.CleanName("A\r\nX-User-ID: 1"); got != "A X-User-ID: 1" {
		t.Errorf("CleanName() = %q", got)
	}
}

func TestIDsSortByTime(t *testing.T) {
	last := ""
	for range 1000 {
		id := account.NewID()
		if id <= last {
			t.Fatalf("NewID() = %s after %s", id, last)
		}
		last = id
	}
}
