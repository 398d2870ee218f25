// Package token owns access tokens: the keys that sign them, their making, and the
// decision whether one that comes in is authentic and meant for this gateway. It does not
// decide what its bearer may do (package access), nor whether the session behind it still
// lives (package session).
//
// Three types do that work. A [Keyring] holds the gateway's own keys and rotates them. An
// [Issuer] signs with the active one. A [Verifier] checks tokens of the keyring and of the
// configured other issuers. What may vary in a token never decides how it is checked: the
// algorithm, the key, the type and the audience come from the configuration.
//
// For providers of logins there are two more tokens, which are read and made by the same
// code: an [IDToken] of another issuer, with a [Source] of its keys, and a [ClientAssertion],
// which shows it who we are.
package token

import (
	"errors"
	"time"
)

// MaxBytes is the longest token that is issued or looked at. A token with the roles of
// about 120 workspaces fits.
const MaxBytes = 16 << 10

// Errors of [Verifier.Verify]. They wrap a reason that is meant for the log; it never holds
// a part of the token.
var (
	// ErrInvalid says that a token is malformed, forged or not meant for this gateway.
	ErrInvalid = errors.New("token invalid")
	// ErrExpired says that a token was authentic and is too old.
	ErrExpired = errors.New("token expired")
	// ErrUnavailable says that the token cannot be judged now, because the keys of its issuer
	// cannot be had.
	ErrUnavailable = errors.New("keys of the issuer unavailable")
	// ErrUnknownKey says that the issuer has no key of the token's kid and alg.
	ErrUnknownKey = errors.New("no key of the issuer has this kid and alg")
	// ErrSignature says that the key is right and the signature is not.
	ErrSignature = errors.New("signature does not match")
)

// Claims is what an access token says. [Issuer.Issue] reads all but the fields that it sets
// itself: Own, Issuer, ID, IssuedAt, ExpiresAt and RoleNames.
type Claims struct {
	// Own tells a token of this gateway's keyring from one of another issuer. Subject and
	// SessionID name a user and a session of this gateway only if it is true.
	Own      bool
	Issuer   string
	Subject  string
	ID       string // jti
	IssuedAt time.Time
	// ExpiresAt is the exp claim. The verifier accepts the token for the leeway longer.
	ExpiresAt time.Time

	SessionID  string // sid; empty for other issuers
	Generation int64  // gen, the generation of the session's refresh token; own tokens only
	Method     string // auth_method, the kind of provider: "email"; own tokens only

	Email        string
	Name         string
	WorkspaceIDs []string
	Roles        map[string]string   // workspace id to role
	RoleNames    []string            // roles of another issuer that are bound to no workspace
	Permissions  map[string][]string // own tokens only
	Scopes       []string
}
