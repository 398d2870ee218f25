package sdk

import (
	"context"
	"errors"
	"time"
)

// Host is what the gateway does for a provider. Each part works only if the operator
// granted it and the manifest asked for it; otherwise its calls return [ErrNotGranted].
type Host interface {
	KV() KV
	Passwords() Passwords
	Log(level Level, message string, args ...string) // args are pairs of key and value
}

// Level is the weight of a log record, as in log/slog.
type Level int

// The levels.
const (
	LevelDebug Level = -4
	LevelInfo  Level = 0
	LevelWarn  Level = 4
	LevelError Level = 8
)

// Bounds of [KV].
const (
	MaxKey   = 512
	MaxValue = 64 << 10
)

// Entry is a value of [KV]. Version changes with each write and is never 0.
type Entry struct {
	Value   []byte
	Version int64
}

// KV is a map of the provider's own, kept in the gateway's database. Writes are staged:
// they commit with the answer of the call, or not at all, and the call itself sees them.
type KV interface {
	// Get returns the entry and whether there is one.
	Get(ctx context.Context, key string) (Entry, bool, error)
	// Set writes a value. A ttl of 0 is forever.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// CompareAndSet writes a value if the entry's version is still version, 0 meaning that
	// there is none. If that is no longer so at the commit, the gateway makes the call anew.
	CompareAndSet(ctx context.Context, key string, version int64, value []byte, ttl time.Duration) error
	// Delete removes an entry, if there is one.
	Delete(ctx context.Context, key string) error
}

// Passwords hashes and checks passwords in the host, which is many times as fast as in a
// guest and bounded in parallel.
type Passwords interface {
	// Hash returns the argon2id hash of a password in PHC form.
	Hash(ctx context.Context, password string) (string, error)
	// Verify checks a password against a hash: argon2id, bcrypt or Django's PBKDF2. An empty
	// hash takes the time of a real check and is false. stale says that a true answer's hash
	// should be made anew.
	Verify(ctx context.Context, hash, password string) (ok, stale bool, err error)
	// Common reports whether a password is among the 100,000 most common.
	Common(ctx context.Context, password string) (bool, error)
}

// Errors of [Host].
var (
	ErrNotGranted = errors.New("capability not granted")
	ErrConflict   = errors.New("entry changed")
	ErrTooLarge   = errors.New("key or value too large")
	ErrInvalid    = errors.New("key or ttl not valid") // empty, not UTF-8, with a NUL; negative
)

// Error is a provider's failure with a public code, such as [CodeProviderError]. Public
// is shown to the client; Private goes to the log alone.
type Error struct {
	Code    string
	Public  string
	Private string
}

// Error returns the code and the private text.
func (e *Error) Error() string { return e.Code + ": " + e.Private }

// The public codes that a provider may answer with.
const (
	CodeInvalidCredentials = "INVALID_CREDENTIALS"
	CodeEmailNotVerified   = "EMAIL_NOT_VERIFIED"
	CodeEmailExists        = "EMAIL_ALREADY_EXISTS"
	CodeInvalidEmail       = "INVALID_EMAIL_FORMAT"
	CodeWeakPassword       = "WEAK_PASSWORD"
	CodeValidation         = "VALIDATION_ERROR"
	CodeMissingField       = "MISSING_REQUIRED_FIELD"
	CodeInvalidToken       = "INVALID_TOKEN"
	CodeUserNotFound       = "USER_NOT_FOUND"
	CodeProviderError      = "OAUTH_PROVIDER_ERROR"
	CodeUnavailable        = "SERVICE_UNAVAILABLE"

	// CodeInternal is what an error becomes that is not an [*Error].
	CodeInternal = "INTERNAL_ERROR"
)
