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
func (l *Login) linked(ctx context.Context, c Commit, a Attempt, userID string, id sdk.Identity) (Outcome, error) {
	if err := l.linkTo(ctx, &c, a, userID, id); err != nil {
		return Outcome{}, err
	}
	if err := l.commit(ctx, c); err != nil {
		return Outcome{}, err
	}
	return Outcome{Linked: &Linked{identityOf(c), a.Provider, account.CanonicalEmail(id.Email)}}, nil
}

// linkTo adds to a commit that an identity belongs to a user, who is logged in and has proven
// it a moment ago. One that is the user's already stays so; one that is somebody else's is
// refused, as the user cannot know whose it is.
func (l *Login) linkTo(ctx context.Context, c *Commit, a Attempt, userID string, id sdk.Identity) error {
	user, err := l.store.User(ctx, userID)
	if err != nil {
		return err
	}
	e := account.Evidence{
		Provider: l.policy(a.Provider), Email: account.CanonicalEmail(id.Email), Verified: id.EmailVerified, Owner: &user,
	}
	if err := admit(user, e); err != nil {
		return err
	}
	// The commit holds the user to this: a suspension in the meantime wins.
	c.UpdateUser = unchanged(user)
	owner, known, err := l.store.UserByIdentity(ctx, a.Provider, issuerOf(a.Provider, id.Issuer), id.Subject)
	switch {
	case errors.Is(err, account.ErrNotFound):
		l.link(c, a.Client, e, id, ruleFromAccount)
	case err != nil:
		return err
	case owner.ID != userID:
		return &Denied{Code: CodeDuplicate}
	default:
		c.TouchIdentity = known.ID
	}
	l.keepTokens(c, id)
	return nil
}

// ruleFromAccount is how the audit says that somebody who was logged in linked a login.
const ruleFromAccount = "from_account"
