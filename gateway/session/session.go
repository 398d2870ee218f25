// Package session owns sessions and the refresh tokens that carry them. It does not sign
// access tokens (package token) nor decide who may log in (package login).
package session

import (
	"context"
	"errors"
	"time"
)

// Errors of a refresh.
var (
	ErrInvalid = errors.New("refresh token invalid") // malformed, forged or of no session
	ErrExpired = errors.New("refresh token expired") // too old
	ErrRevoked = errors.New("session revoked")       // ended before
	ErrReused  = errors.New("refresh token reused")  // spent long ago: the family was revoked now
)

// Session is one login of one person on one device.
type Session struct {
	ID         string // UUIDv7
	UserID     string
	Counter    int64  // generation of the current refresh token
	Used       int64  // newest generation whose access token was seen at work
	Salt       []byte // 16 random bytes; with the secret key and the counter it makes the token
	Method     string // kind of the provider: "email"
	IdentityID string // the identity that logged in; empty when it is no longer linked
	Upstream   string // what the other site calls this login; see sdk.Identity.Session
	AMR        []string
	IP         string
	UserAgent  string
	CreatedAt  time.Time
	RotatedAt  time.Time // when Counter last changed; CreatedAt before that
	LastUsedAt time.Time
	ExpiresAt  time.Time // when the current refresh token expires
	RevokedAt  time.Time // zero while the session lives
	Reason     string    // why it was revoked
}

// Revocation says that access tokens of a session must no longer be accepted.
type Revocation struct {
	Seq       int64
	SessionID string
	At        time.Time
	ExpiresAt time.Time // when the last access token of the session is dead anyway
}

// Store keeps sessions. Every method is one transaction.
type Store interface {
	// Session returns a session, or ErrInvalid.
	Session(ctx context.Context, id string) (Session, error)
	// SessionsOf returns the living sessions of a user, newest first.
	SessionsOf(ctx context.Context, userID string, now time.Time) ([]Session, error)
	// RotateSession moves a living session from generation from to from+1 with one
	// conditional UPDATE, and reports whether it did.
	RotateSession(ctx context.Context, id string, from int64, now, expires time.Time) (bool, error)
	// MarkSessionUsed records that an access token of generation was seen at work.
	MarkSessionUsed(ctx context.Context, id string, generation int64) error
	// RevokeSession ends a session and records its revocation, valid until tokensDead. It
	// reports whether the session was alive.
	RevokeSession(ctx context.Context, id, reason string, now, tokensDead time.Time) (bool, error)
	// RevokeSessionsOf ends all living sessions of a user but the one named except (which
	// may be empty), and returns their ids.
	RevokeSessionsOf(ctx context.Context, userID, except, reason string, now, tokensDead time.Time) ([]string, error)
	// RevocationsSince returns revocations made at or after since that have not expired at now.
	RevocationsSince(ctx context.Context, since, now time.Time) ([]Revocation, error)
	// CountSessions returns how many sessions could be refreshed at now.
	CountSessions(ctx context.Context, now time.Time) (int64, error)
}
