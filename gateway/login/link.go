package login

import (
	"context"
	"errors"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/sdk"
)

// Linked is a login that belongs to a user now.
type Linked struct {
	ID       string // of the identity
	Provider string
	Email    string // what the other site calls the person's address
}

// linked commits a link.
func (l *Login) linked(ctx context.Context, c Commit, provider, userID string, id sdk.Identity) (Outcome, error) {
	if err := l.linkTo(ctx, &c, userID, provider, id); err != nil {
		return Outcome{}, err
	}
	if err := l.commit(ctx, c); err != nil {
		return Outcome{}, err
	}
	return Outcome{Linked: &Linked{identityOf(c), provider, account.CanonicalEmail(id.Email)}}, nil
}

// linkTo adds to a commit that an identity belongs to a user, who is logged in and has proven
// it a moment ago. One that is the user's already stays so; one that is somebody else's is
// refused, as the user cannot know whose it is.
func (l *Login) linkTo(ctx context.Context, c *Commit, userID, provider string, id sdk.Identity) error {
	user, err := l.store.User(ctx, userID)
	if err != nil {
		return err
	}
	if user.Status != account.Active {
		return &Denied{Code: CodeSuspended}
	}
	// The commit holds the user to this: a suspension in the meantime wins.
	c.UpdateUser = &UserUpdate{ID: user.ID, Expect: account.Active, Status: account.Active, Verified: user.Verified}
	issuer := issuerOf(provider, id.Issuer)
	owner, known, err := l.store.UserByIdentity(ctx, provider, issuer, id.Subject)
	switch {
	case errors.Is(err, account.ErrNotFound):
		c.NewIdentity = &account.Identity{
			ID: account.NewID(), UserID: userID, Provider: provider, Issuer: issuer, Subject: id.Subject,
			Email: account.CanonicalEmail(id.Email), CreatedAt: c.Now, LastUsedAt: c.Now,
		}
		return nil
	case err != nil:
		return err
	case owner.ID != userID:
		return &Denied{Code: CodeDuplicate}
	}
	c.TouchIdentity = known.ID
	return nil
}
