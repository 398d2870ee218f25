package login

import (
	"context"
	"errors"
	"fmt"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/sdk"
)

// prove finds or makes the user of a proven identity and applies the account rules, the
// same after every kind of login.
func (l *Login) prove(ctx context.Context, c *Commit, a Attempt, id sdk.Identity) (account.User, error) {
	issuer := issuerOf(a.Provider, id.Issuer)
	user, linked, err := l.store.UserByIdentity(ctx, a.Provider, issuer, id.Subject)
	if errors.Is(err, account.ErrNotFound) {
		return l.firstLogin(ctx, c, a, issuer, id)
	}
	if err != nil {
		return account.User{}, err
	}
	c.TouchIdentity = linked.ID
	switch user.Status {
	case account.Active:
		// The commit holds the user to this: a suspension in the meantime wins.
		c.UpdateUser = &UserUpdate{ID: user.ID, Expect: account.Active, Status: account.Active, Verified: user.Verified}
		return user, nil
	case account.Pending:
		if !account.Verifies(id, user) {
			return account.User{}, &Denied{Code: sdk.CodeEmailNotVerified}
		}
		user.Status, user.Verified = account.Active, true
		update := UserUpdate{ID: user.ID, Expect: account.Pending, Status: account.Active, Verified: true}
		if a.Kind == sdk.FlowRegister {
			// Of the registration whose link was followed, also if it named nobody: who registered
			// the address before was perhaps a stranger.
			user.Name = account.CleanName(id.Name)
			update.Name = &user.Name
		}
		c.UpdateUser = &update
		return user, nil
	case account.Suspended:
		return account.User{}, &Denied{Code: CodeSuspended}
	}
	return account.User{}, &Denied{Code: sdk.CodeInvalidCredentials}
}

// firstLogin makes the user of an identity that nobody had. An address that belongs to
// somebody is never joined on the provider's word alone.
func (l *Login) firstLogin(ctx context.Context, c *Commit, a Attempt, issuer string, id sdk.Identity) (account.User, error) {
	if !id.EmailVerified {
		return account.User{}, &Denied{Code: sdk.CodeEmailNotVerified}
	}
	_, err := l.store.UserByEmail(ctx, account.CanonicalEmail(id.Email))
	if err == nil {
		return account.User{}, &Denied{Code: sdk.CodeEmailExists}
	}
	if !errors.Is(err, account.ErrNotFound) {
		return account.User{}, err
	}
	user, linked, err := account.New(a.Provider, issuer, id, c.Now)
	if err != nil {
		return account.User{}, fmt.Errorf("provider %s: %w", a.Provider, err)
	}
	c.NewUser, c.NewIdentity = &user, &linked
	return user, nil
}

// enrol adds to a commit the user whom an unproven identity will belong to. known says
// that the address is a verified user's already.
func (l *Login) enrol(ctx context.Context, c *Commit, a Attempt, id sdk.Identity) (user account.User, known bool, err error) {
	issuer := issuerOf(a.Provider, id.Issuer)
	user, _, err = l.store.UserByIdentity(ctx, a.Provider, issuer, id.Subject)
	if err == nil {
		// A further registration of an address that was never verified changes nothing of the
		// user: whose registration it was is known when a link is followed.
		return user, user.Status != account.Pending, nil
	}
	if !errors.Is(err, account.ErrNotFound) {
		return account.User{}, false, err
	}
	user, err = l.store.UserByEmail(ctx, account.CanonicalEmail(id.Email))
	if err == nil {
		return user, true, nil
	}
	if !errors.Is(err, account.ErrNotFound) {
		return account.User{}, false, err
	}
	id.EmailVerified = false // whatever the provider says: the link has not been followed
	user, linked, err := account.New(a.Provider, issuer, id, c.Now)
	if err != nil {
		return account.User{}, false, &Denied{Code: sdk.CodeInvalidEmail}
	}
	c.NewUser, c.NewIdentity = &user, &linked
	return user, false, nil
}
