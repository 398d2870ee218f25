package login

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/audit"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/sdk"
)

// prove finds or makes the user of a proven identity, by [account.Decide], and lets nobody
// through whom [account.Admit] does not. It is the same after every kind of login.
func (l *Login) prove(ctx context.Context, c *Commit, a Attempt, id sdk.Identity) (account.User, error) {
	e, linked, err := l.evidence(ctx, a, id)
	if err != nil {
		return account.User{}, err
	}
	decision := account.Decide(e)
	var user account.User
	switch decision {
	case account.UseLinked:
		user = useLinked(c, a, e, linked, id)
	case account.MakeUser:
		user, err = l.makeUser(c, e, id)
	case account.JoinOwner:
		user = *e.Owner
		c.UpdateUser = unchanged(user)
		l.link(c, a.Client, e, id, decision.String())
	case account.TakeOver:
		user, err = l.takeOver(ctx, c, a, e, id)
	case account.SignInOld:
		return account.User{}, &Denied{Code: sdk.CodeEmailExists, Link: true}
	case account.NotWelcome:
		return account.User{}, &Denied{Code: CodeSuspended}
	default:
		return account.User{}, &Denied{Code: sdk.CodeEmailNotVerified}
	}
	if err != nil {
		return account.User{}, err
	}
	if err := admit(user, e); err != nil {
		return account.User{}, err
	}
	l.keepTokens(c, id)
	return user, nil
}

// evidence collects what counts for whose an identity is.
func (l *Login) evidence(ctx context.Context, a Attempt, id sdk.Identity) (account.Evidence, account.Identity, error) {
	email := account.CanonicalEmail(id.Email)
	e := account.Evidence{
		Provider: l.policy(a.Provider), Email: email, Verified: id.EmailVerified, Mailed: email != "" && a.mailed == email,
	}
	if a.distrusted {
		e.Provider.TrustEmail = nil
	}
	find := func() (linked account.Identity, err error) {
		user, linked, err := l.store.UserByIdentity(ctx, a.Provider, issuerOf(a.Provider, id.Issuer), id.Subject)
		if err == nil {
			e.Linked = &user
		}
		return linked, err
	}
	linked, err := find()
	if !errors.Is(err, account.ErrNotFound) || !e.Asks() {
		return e, linked, unlessNotFound(err)
	}
	owner, err := l.store.UserByEmail(ctx, email)
	if err != nil {
		return e, account.Identity{}, unlessNotFound(err)
	}
	e.Owner = &owner
	if owner.VerifiedBy != "" {
		e.Voucher = l.policy(owner.VerifiedBy)
	}
	// The same person may have come a moment ago and be the owner by now: who has an address
	// through this very identity must not be told that the address is somebody's.
	linked, err = find()
	return e, linked, unlessNotFound(err)
}

func unlessNotFound(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return nil
	}
	return err
}

// policy is what the operator says of a provider now. One that is not configured gets the
// zero value but for its name, which trusts nobody.
func (l *Login) policy(provider string) account.Provider {
	p := account.Provider{Name: provider}
	if info, ok := l.providers.Info(provider); ok {
		p.TrustEmail, p.AllowedDomains = info.TrustEmail, info.AllowedDomains
	}
	return p
}

// Proven reports whether a user's address may be told to others as theirs, by what the
// operator says now of the provider that vouched for it.
func (l *Login) Proven(u account.User) bool { return u.Proven(l.policy(u.VerifiedBy)) }

// admit holds a user to the gate.
func admit(user account.User, e account.Evidence) error {
	code := account.Admit(account.Entry{User: user, Provider: e.Provider, Email: e.Email, Verified: e.Verified})
	if code != "" {
		return &Denied{Code: code}
	}
	return nil
}

// useLinked logs in by an identity that is somebody's. It makes a pending user active whose
// own address the identity proves.
func useLinked(c *Commit, a Attempt, e account.Evidence, linked account.Identity, id sdk.Identity) account.User {
	user := *e.Linked
	c.TouchIdentity = linked.ID
	// The commit holds the user to this: a suspension in the meantime wins.
	c.UpdateUser = unchanged(user)
	if !account.Verifies(id, user) {
		return user
	}
	user.Status, user.Verified, user.VerifiedBy = account.Active, true, e.VerifiedBy()
	c.UpdateUser.Status, c.UpdateUser.Verified, c.UpdateUser.VerifiedBy = user.Status, true, &user.VerifiedBy
	if a.Kind == sdk.FlowRegister {
		// Of the registration whose link was followed, also if it named nobody: who registered
		// the address before was perhaps a stranger.
		user.Name = account.CleanName(id.Name)
		c.UpdateUser.Name = &user.Name
	}
	return user
}

// unchanged is the update that leaves a user as they are and holds the commit to that.
func unchanged(u account.User) *UserUpdate {
	return &UserUpdate{ID: u.ID, Expect: u.Status, Status: u.Status, Verified: u.Verified}
}

// makeUser makes the user of an identity that nobody had, with an address that nobody has.
func (l *Login) makeUser(c *Commit, e account.Evidence, id sdk.Identity) (account.User, error) {
	user, linked, err := account.New(e.Provider.Name, issuerOf(e.Provider.Name, id.Issuer), id, c.Now)
	if err != nil {
		return account.User{}, fmt.Errorf("provider %s: %w", e.Provider.Name, err)
	}
	user.VerifiedBy = e.VerifiedBy()
	c.NewUser, c.NewIdentity = &user, &linked
	return user, nil
}

// takeOver gives an account whose address nobody had proven to the one who proves it. What
// whoever registered it before could come back by is gone with the same commit: passwords,
// logins, links that wait, sessions.
func (l *Login) takeOver(ctx context.Context, c *Commit, a Attempt, e account.Evidence, id sdk.Identity) (account.User, error) {
	user := *e.Owner
	old, err := l.store.IdentitiesOf(ctx, user.ID)
	if err != nil {
		return account.User{}, err
	}
	c.Unlink = &Unlink{UserID: user.ID}
	for _, i := range old {
		writes, err := l.forget(ctx, i)
		if err != nil {
			return account.User{}, err
		}
		c.Forget = append(c.Forget, writes...)
		c.Unlink.IDs = append(c.Unlink.IDs, i.ID)
	}
	c.EndFlows = &EndFlows{UserID: user.ID}
	c.RevokeSessions = &RevokeSessions{UserID: user.ID, Reason: "account taken over", TokensDead: l.sessions.TokensDead(c.Now)}
	c.UpdateUser = unchanged(user)
	user.Status, user.Verified, user.VerifiedBy, user.Name = account.Active, true, e.VerifiedBy(), account.CleanName(id.Name)
	c.UpdateUser.Status, c.UpdateUser.Verified, c.UpdateUser.VerifiedBy, c.UpdateUser.Name = user.Status, true, &user.VerifiedBy, &user.Name
	l.link(c, a.Client, e, id, account.TakeOver.String())
	taken := event(c, audit.AccountTakenOver, user.ID, user.ID, *c.NewIdentity, a.Client)
	taken.Details[audit.Removed] = strconv.Itoa(len(old))
	c.Audit = append(c.Audit, taken)
	return user, nil
}

// link adds to a commit that a new identity is the owner's, with the evidence.
func (l *Login) link(c *Commit, from Client, e account.Evidence, id sdk.Identity, rule string) {
	provider := e.Provider.Name
	c.NewIdentity = &account.Identity{
		ID: account.NewID(), UserID: e.Owner.ID, Provider: provider, Issuer: issuerOf(provider, id.Issuer), Subject: id.Subject,
		Email: e.Email, CreatedAt: c.Now, LastUsedAt: c.Now,
	}
	linked := event(c, audit.IdentityLinked, e.Owner.ID, e.Owner.ID, *c.NewIdentity, from)
	linked.Details[audit.Rule] = rule
	linked.Details[audit.OwnerProof] = ownerProof(*e.Owner)
	c.Audit = append(c.Audit, linked)
}

// ownerProof is how a user's own address was proven.
func ownerProof(u account.User) string {
	switch {
	case !u.Verified:
		return "none"
	case u.VerifiedBy == "":
		return "mail"
	}
	return u.VerifiedBy
}

// event is what is written down of an identity. Of its address that is the domain alone, and
// of its subject, which may be an address, nothing.
func event(c *Commit, action audit.Action, userID, actorID string, i account.Identity, from Client) audit.Event {
	return audit.Event{At: c.Now, Action: action, UserID: userID, ActorID: actorID, Details: map[string]string{
		audit.Provider: i.Provider, audit.Issuer: i.Issuer, audit.Identity: i.ID,
		audit.EmailDomain: account.Domain(i.Email), audit.IP: from.IP,
	}}
}

// forget lets the provider of an identity remove what could log in by it, and returns what
// that writes. A provider that is not configured any more can log nobody in.
func (l *Login) forget(ctx context.Context, i account.Identity) ([]plugin.Write, error) {
	info, ok := l.providers.Info(i.Provider)
	if !ok {
		return nil, nil
	}
	form := ""
	for _, f := range info.Manifest.Forms {
		if f.Flow == sdk.FlowForget {
			form = f.Name
		}
	}
	if form == "" && info.Manifest.ID != "" {
		return nil, nil // it keeps nothing
	}
	// One that is not loaded is asked all the same: its error says so, and nothing is done half.
	flow := sdk.Flow{ID: account.NewID(), Kind: sdk.FlowForget, Form: form, Subject: i.Subject, StartedAt: l.now()}
	answer, err := l.providers.Begin(ctx, i.Provider, flow, sdk.Request{Fields: map[string]string{"issuer": i.Issuer}, Now: l.now()})
	if err != nil {
		return nil, fmt.Errorf("forget a login of provider %s: %w", i.Provider, err)
	}
	if step := answer.Step; step.Changed == nil || step.Changed.Subject != i.Subject {
		return nil, fmt.Errorf("provider %s, forget: %w", i.Provider, ErrUnsupported)
	}
	return answer.Writes, nil
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
