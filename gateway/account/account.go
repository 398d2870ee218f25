// Package account owns users and the identities that are linked to them. It knows
// nothing of how an identity was proven (package login) nor of sessions (package session).
package account

import (
	"errors"
	"time"
)

// Status is where a user stands.
type Status string

// The states of a user.
const (
	Pending   Status = "pending"   // registered, address not yet verified
	Active    Status = "active"    // may log in
	Suspended Status = "suspended" // an administrator said no
	Deleted   Status = "deleted"   // gone; the row remains until its data is erased
)

// Errors that the store and this package return.
var (
	ErrNotFound = errors.New("user not found")
	// ErrConflict says that an address or an identity is already somebody's.
	ErrConflict = errors.New("account conflict")
)

// User is a person. Email is canonical (see [CanonicalEmail]) and unique among users that
// are not deleted.
type User struct {
	ID       string // UUIDv7
	Email    string
	Verified bool
	// VerifiedBy names the provider on whose word the address counts as verified. It is empty
	// where a mailed link was followed.
	VerifiedBy string
	Name       string
	AvatarURL  string
	Timezone   string
	Language   string
	Status     Status
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Identity is a login that belongs to a user: (Provider, Issuer, Subject) is unique.
type Identity struct {
	ID         string // UUIDv7
	UserID     string
	Provider   string
	Issuer     string
	Subject    string
	Email      string
	CreatedAt  time.Time
	LastUsedAt time.Time
}
