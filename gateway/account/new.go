package account

import (
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/materi/shield/sdk"
)

// ErrAddress says that an identity has no e-mail address that a user could have.
var ErrAddress = errors.New("no usable e-mail address")

const maxName = 200 // runes

// NewID returns a new UUIDv7.
func NewID() string {
	return uuid.Must(uuid.NewV7()).String() // fails only if crypto/rand does, which ends the process first
}

// New makes the user of an identity that nobody had, and the identity itself. An identity
// whose address the provider calls verified makes an active user, any other a pending one.
// It fails with [ErrAddress].
//
// Whether the address is already somebody's is for [Decide], and for the commit.
func New(provider, issuer string, id sdk.Identity, now time.Time) (User, Identity, error) {
	email := CanonicalEmail(id.Email)
	if email == "" {
		return User{}, Identity{}, ErrAddress
	}
	u := User{
		ID: NewID(), Email: email, Verified: id.EmailVerified, Name: CleanName(id.Name), AvatarURL: cleanURL(id.AvatarURL),
		Timezone: "UTC", Language: "en", Status: Pending, CreatedAt: now, UpdatedAt: now,
	}
	if id.EmailVerified {
		u.Status = Active
	}
	i := Identity{
		ID: NewID(), UserID: u.ID, Provider: provider, Issuer: issuer, Subject: id.Subject,
		Email: email, CreatedAt: now, LastUsedAt: now,
	}
	return u, i, nil
}

// Verifies reports whether an identity that is linked to a pending user makes that user
// active: the provider must call an address verified, and it must be the user's.
func Verifies(id sdk.Identity, u User) bool {
	return u.Status == Pending && id.EmailVerified && u.Email != "" && CanonicalEmail(id.Email) == u.Email
}

// CleanName returns a name as it is kept and sent upstream: without control characters and
// the marks that turn the direction of text, spaces folded into one, 200 characters at most.
func CleanName(s string) string {
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > maxName {
		s = strings.TrimSpace(string([]rune(s)[:maxName]))
	}
	return s
}

// cleanURL returns an avatar's https URL, or nothing.
func cleanURL(s string) string {
	if len(s) > 2048 || !strings.HasPrefix(s, "https://") {
		return ""
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return ""
		}
	}
	return s
}
