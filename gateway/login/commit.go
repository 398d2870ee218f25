package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/audit"
	"github.com/materi/shield/gateway/mail"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/sdk"
)

// Errors of [Store].
var (
	// ErrSpent says that a flow does not exist, has expired or was used up.
	ErrSpent = errors.New("flow spent")
	// ErrChanged says that something the commit was computed from has changed since; compute
	// it anew.
	ErrChanged = errors.New("state changed")
	// ErrEntryChanged is the [ErrChanged] of a provider's entry: only a new call of the provider
	// can tell what its answer would be now.
	ErrEntryChanged = fmt.Errorf("entry: %w", ErrChanged)
)

// Flow is a flow that waits for the person to come back. Its id is never handed out: the
// person holds a token of which Hash is the SHA-256.
type Flow struct {
	ID        string // UUIDv7
	Hash      []byte
	Provider  string
	Kind      sdk.FlowKind
	Form      string
	UserID    string // the user that it is about, where that is known
	Sealed    []byte // what the provider saved, encrypted
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Commit is everything that one answer of a provider changes. It is applied in one
// transaction, or not at all. Unset fields change nothing.
type Commit struct {
	Now time.Time

	SpendFlow string // this flow must exist and not be expired; it is removed. Else ErrSpent
	NewFlow   *Flow
	// EndFlows removes all waiting flows of this user and kind, before NewFlow is added.
	EndFlows *EndFlows

	Writes []plugin.Write // a checked write that does not hold: ErrEntryChanged
	Forget []plugin.Write // of other providers than the one that answered; one that does not hold: ErrChanged

	NewUser       *account.User // address taken: account.ErrConflict
	UpdateUser    *UserUpdate
	Unlink        *Unlink           // before NewIdentity is added
	NewIdentity   *account.Identity // (provider, issuer, subject) taken: account.ErrConflict
	TouchIdentity string            // sets last_used_at
	// KeepTokens are, encrypted, the tokens to keep beside the identity that is new or touched;
	// a pointer to nothing removes what is there.
	KeepTokens *[]byte

	NewSession     *session.Session
	RevokeSessions *RevokeSessions

	Mail *mail.Queued

	Audit []audit.Event
}

// UserUpdate changes a user. Expect guards it: the user must still have that status, else
// ErrChanged.
type UserUpdate struct {
	ID       string
	Expect   account.Status
	Status   account.Status
	Verified bool
	// VerifiedBy and Name stay as they are if they are nil.
	VerifiedBy *string
	Name       *string
}

// Unlink takes identities from a user, who must have them and exactly Rest others, else
// [ErrChanged].
type Unlink struct {
	UserID string
	IDs    []string
	Rest   int
}

// EndFlows names the waiting flows of a user that a commit removes.
type EndFlows struct {
	UserID string
	Kind   sdk.FlowKind // empty: every kind
}

// RevokeSessions ends the sessions of a user, all but one if Except is set. With IdentityID
// it ends those alone that began with this identity, and with Upstream of these alone those
// that the other site calls by one of its names; there Except does not count.
type RevokeSessions struct {
	UserID     string
	Except     string
	IdentityID string
	Upstream   []string
	Reason     string
	TokensDead time.Time
}

// Store is what login needs of the database.
type Store interface {
	// Flow returns the waiting flow with this hash, or ErrSpent.
	Flow(ctx context.Context, hash []byte, now time.Time) (Flow, error)
	// User returns a user by id, or account.ErrNotFound. Deleted users are not found.
	User(ctx context.Context, id string) (account.User, error)
	// UserByEmail returns the user with this canonical address, or account.ErrNotFound.
	UserByEmail(ctx context.Context, email string) (account.User, error)
	// UserByIdentity returns the identity and its user, or account.ErrNotFound.
	UserByIdentity(ctx context.Context, provider, issuer, subject string) (account.User, account.Identity, error)
	// Session returns a session, or session.ErrInvalid.
	Session(ctx context.Context, id string) (session.Session, error)
	// IdentitiesOf returns the identities of a user, oldest first.
	IdentitiesOf(ctx context.Context, userID string) ([]account.Identity, error)
	// Tokens returns the encrypted tokens that are kept beside an identity, if any, or
	// account.ErrNotFound.
	Tokens(ctx context.Context, identityID string) ([]byte, error)
	// Commit applies c and returns the ids of the sessions that it revoked.
	Commit(ctx context.Context, c Commit) (revoked []string, err error)
}
