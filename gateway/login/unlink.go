package login

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/audit"
	"github.com/materi/shield/gateway/session"
)

// Errors of [Login.Unlink].
var (
	ErrNoIdentity = errors.New("no such identity of this user")
	// ErrLast says that the user could not log in any more.
	ErrLast = errors.New("the last identity of a user")
)

// Unlink takes an identity from the caller, who must have another. What could log in by it is
// forgotten, the links that wait for the user are dead, and the sessions end: all but the
// caller's, and that one too if it began with the identity.
func (l *Login) Unlink(ctx context.Context, caller Caller, identityID string, from Client) error {
	_, err := l.repeat(ctx, func() (Outcome, error) {
		return Outcome{}, l.unlink(ctx, caller, identityID, from)
	})
	return err
}

func (l *Login) unlink(ctx context.Context, caller Caller, identityID string, from Client) error {
	all, err := l.store.IdentitiesOf(ctx, caller.UserID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(i account.Identity) bool { return i.ID == identityID })
	if at < 0 {
		return ErrNoIdentity
	}
	if !slices.ContainsFunc(all, func(i account.Identity) bool { return i.ID != identityID && l.configured(i.Provider) }) {
		return ErrLast
	}
	c := Commit{Now: l.now(), Unlink: &Unlink{UserID: caller.UserID, IDs: []string{identityID}, Rest: len(all) - 1}}
	if c.Forget, err = l.forget(ctx, all[at]); err != nil {
		return err
	}
	keep, err := l.outlives(ctx, caller, all[at])
	if err != nil {
		return err
	}
	c.EndFlows = &EndFlows{UserID: caller.UserID}
	c.RevokeSessions = &RevokeSessions{
		UserID: caller.UserID, Except: keep, Reason: "identity unlinked", TokensDead: l.sessions.TokensDead(c.Now),
	}
	c.Audit = []audit.Event{event(&c, audit.IdentityUnlinked, caller.UserID, caller.UserID, all[at], from)}
	return l.commit(ctx, c)
}

// configured reports whether anybody can log in by a provider, or could once it is loaded.
func (l *Login) configured(provider string) bool {
	_, ok := l.providers.Info(provider)
	return ok
}

// outlives returns the caller's session, or nothing if it ends with an identity. Of one that
// does not know how it began, the kind of the provider decides.
func (l *Login) outlives(ctx context.Context, caller Caller, i account.Identity) (string, error) {
	s, err := l.store.Session(ctx, caller.SessionID)
	if errors.Is(err, session.ErrInvalid) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("unlink: %w", err)
	}
	if s.IdentityID == i.ID || s.IdentityID == "" && s.Method == l.providers.Kind(i.Provider) {
		return "", nil
	}
	return s.ID, nil
}
