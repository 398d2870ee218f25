package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/mail"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/sdk"
)

// settle turns a provider's answer into one commit. came is the flow that was continued,
// or zero.
func (l *Login) settle(ctx context.Context, a Attempt, flow sdk.Flow, came Flow, answer plugin.Answer) (Outcome, error) {
	a.distrusted = answer.Distrusted
	c := Commit{Now: l.now(), SpendFlow: came.ID, Writes: answer.Writes}
	switch step := answer.Step; {
	case step.Denied != nil:
		return Outcome{}, &Denied{Code: step.Denied.Code, Fields: step.Denied.Fields}
	case step.Mail != nil:
		return l.mailed(ctx, c, a, flow, *step.Mail, step.Save)
	case step.Done != nil && a.Kind == sdk.FlowLogin:
		return l.loggedIn(ctx, c, a, step.Done.Identity)
	case step.Done != nil:
		return l.verified(ctx, c, a, step.Done.Identity)
	case step.Changed != nil:
		return l.changed(ctx, c, a, step.Changed.Subject)
	case step.Logout != nil && a.Kind == sdk.FlowLogout:
		return l.loggedOut(ctx, c, a, *step.Logout)
	}
	return Outcome{}, l.unsupported(a)
}

// mailed queues a mail, with a one-time link that continues the flow where the template
// has one, and for a registration makes the user that the address will belong to.
func (l *Login) mailed(ctx context.Context, c Commit, a Attempt, flow sdk.Flow, m sdk.Mail, save []byte) (Outcome, error) {
	out := Outcome{Mailed: true}
	var userID string
	switch {
	case m.Identity != nil:
		user, known, err := l.enrol(ctx, &c, a, *m.Identity)
		if err != nil {
			return Outcome{}, err
		}
		if known {
			// The address is somebody's already, by another way to log in: what the provider
			// staged for the new credentials must not be kept.
			return l.alreadyKnown(ctx, a, m.To)
		}
		out.User, userID = &user, user.ID
	case m.Template == mail.TemplateAccountExists:
		return l.alreadyKnown(ctx, a, m.To)
	default:
		user, err := l.store.UserByEmail(ctx, account.CanonicalEmail(m.To))
		if err != nil && !errors.Is(err, account.ErrNotFound) {
			return Outcome{}, err
		}
		if user.Status == account.Suspended {
			return Outcome{}, &Denied{Code: CodeSuspended}
		}
		userID = user.ID
	}
	link, ttl, ok := l.mailedLink(m.Template)
	if !ok {
		return Outcome{}, fmt.Errorf("provider %s: mail template %q: %w", a.Provider, m.Template, ErrUnsupported)
	}
	sealed, err := sealed(l.saves, flow.ID, letter{m.To, save})
	if err != nil {
		return Outcome{}, err
	}
	token, hash := newToken(purposeMail)
	c.NewFlow = &Flow{
		ID:        flow.ID,
		Hash:      hash,
		Provider:  a.Provider,
		Kind:      a.Kind,
		Form:      a.Form,
		UserID:    userID,
		Sealed:    sealed,
		CreatedAt: c.Now,
		ExpiresAt: c.Now.Add(ttl),
	}
	msg := mail.Message{To: m.To, Template: m.Template, Vars: m.Vars, Link: link(token), Expires: c.NewFlow.ExpiresAt}
	if err := l.commitMail(ctx, c, msg); err != nil {
		return Outcome{}, err
	}
	return out, nil
}

// alreadyKnown answers a registration of an address that is somebody's: with 409 where
// the operator chose so, else with a mail to the owner and the answer of any other.
func (l *Login) alreadyKnown(ctx context.Context, a Attempt, to string) (Outcome, error) {
	if a.Kind == sdk.FlowRegister && !l.tellsOfAddress(a) {
		return Outcome{}, &Denied{Code: sdk.CodeEmailExists}
	}
	c := Commit{Now: l.now()}
	if err := l.commitMail(ctx, c, mail.Message{To: to, Template: mail.TemplateAccountExists}); err != nil {
		return Outcome{}, err
	}
	return Outcome{Mailed: true}, nil
}

// loggedIn opens a session for the user behind a proven identity.
func (l *Login) loggedIn(ctx context.Context, c Commit, a Attempt, id sdk.Identity) (Outcome, error) {
	user, err := l.admitted(ctx, &c, a, id)
	if err != nil {
		return Outcome{}, err
	}
	return l.open(ctx, c, a, user, id)
}

// admitted is prove for somebody who may be logging in twice at once, with a login that is
// new here: between the look for the login and that for its address the other one may have
// made both, which is then no reason to send the person away.
func (l *Login) admitted(ctx context.Context, c *Commit, a Attempt, id sdk.Identity) (account.User, error) {
	user, err := l.prove(ctx, c, a, id)
	if denied, ok := errors.AsType[*Denied](err); ok && denied.Code == sdk.CodeEmailExists {
		if _, _, known := l.store.UserByIdentity(ctx, a.Provider, issuerOf(a.Provider, id.Issuer), id.Subject); known == nil {
			return account.User{}, fmt.Errorf("the login was linked meanwhile: %w", ErrChanged)
		}
	}
	return user, err
}

// open makes the session of a user whom the account rules admit.
func (l *Login) open(ctx context.Context, c Commit, a Attempt, user account.User, id sdk.Identity) (Outcome, error) {
	sess, refresh, err := l.sessions.Start(user.ID, session.Login{
		Method: l.providers.Kind(a.Provider), AMR: id.AMR, IdentityID: identityOf(c), Upstream: id.Session,
		IP: a.Client.IP, UserAgent: a.Client.UserAgent,
	})
	if err != nil {
		return Outcome{}, err
	}
	c.NewSession = &sess
	if c.RevokeSessions != nil { // those of whoever had the account before
		c.RevokeSessions.Except = sess.ID
	}
	if err := l.commit(ctx, c); err != nil {
		return Outcome{}, err
	}
	return Outcome{LoggedIn: &LoggedIn{User: user, Session: sess, Refresh: refresh}}, nil
}

// verified ends a registration: the address is proven and the user may log in.
func (l *Login) verified(ctx context.Context, c Commit, a Attempt, id sdk.Identity) (Outcome, error) {
	if a.Kind != sdk.FlowRegister && a.Kind != sdk.FlowVerify {
		return Outcome{}, fmt.Errorf("provider %s, done in %s: %w", a.Provider, a.Kind, ErrUnsupported)
	}
	user, err := l.prove(ctx, &c, a, id)
	if err != nil {
		return Outcome{}, err
	}
	if err := l.commit(ctx, c); err != nil {
		return Outcome{}, err
	}
	return Outcome{Verified: true, User: &user}, nil
}

// changed ends the sessions of the user whose credentials changed and tells the owner.
func (l *Login) changed(ctx context.Context, c Commit, a Attempt, subject string) (Outcome, error) {
	user, linked, err := l.store.UserByIdentity(ctx, a.Provider, issuerOf(a.Provider, ""), subject)
	if err != nil {
		return Outcome{}, fmt.Errorf("provider %s changed an unknown subject: %w", a.Provider, err)
	}
	revoke := &RevokeSessions{UserID: user.ID, Reason: "credentials changed", TokensDead: l.sessions.TokensDead(c.Now)}
	switch {
	case a.Kind == sdk.FlowChange && a.Caller != nil:
		if a.Caller.UserID != user.ID {
			return Outcome{}, fmt.Errorf("provider %s changed another subject than asked: %w", a.Provider, ErrUnsupported)
		}
		revoke.Except = a.Caller.SessionID
	case a.Kind != sdk.FlowRecover:
		return Outcome{}, fmt.Errorf("provider %s, changed in %s: %w", a.Provider, a.Kind, ErrUnsupported)
	}
	update := UserUpdate{ID: user.ID, Expect: user.Status, Status: user.Status, Verified: user.Verified}
	if user.Status == account.Pending && a.Kind == sdk.FlowRecover {
		// The link proved the address that it was mailed to.
		by := account.Evidence{Provider: account.Provider{Name: a.Provider}, Mailed: a.mailed == user.Email}.VerifiedBy()
		update.Status, update.Verified, update.VerifiedBy = account.Active, true, &by
	}
	c.UpdateUser, c.RevokeSessions, c.TouchIdentity = &update, revoke, linked.ID
	c.EndFlows = &EndFlows{UserID: user.ID, Kind: sdk.FlowRecover}
	if err := l.commitMail(ctx, c, mail.Message{To: user.Email, Template: mail.TemplatePasswordChanged}); err != nil {
		return Outcome{}, err
	}
	return Outcome{Changed: true}, nil
}

func (l *Login) commitMail(ctx context.Context, c Commit, m mail.Message) error {
	queued, err := l.outbox.Seal(m)
	if err != nil {
		return fmt.Errorf("seal mail: %w", err)
	}
	c.Mail = &queued
	if err := l.commit(ctx, c); err != nil {
		return err
	}
	l.outbox.Wake()
	return nil
}

func (l *Login) commit(ctx context.Context, c Commit) error {
	revoked, err := l.store.Commit(ctx, c)
	if err != nil {
		return err
	}
	l.sessions.Ended(c.Now, revoked...)
	return nil
}

// mailedLink returns how the link of a mail template is made and how long it is valid.
func (l *Login) mailedLink(template string) (link func(token string) string, ttl time.Duration, ok bool) {
	switch template {
	case mail.TemplateVerify:
		return func(t string) string { return l.publicURL + "/auth/verify/" + t }, l.cfg.VerifyTTL, true
	case mail.TemplateMagicLink:
		return func(t string) string { return l.publicURL + "/auth/magic-link/" + t }, l.cfg.MagicTTL, true
	case mail.TemplateReset:
		return func(t string) string {
			if l.cfg.ResetPage == "" {
				return t
			}
			page, _, _ := strings.Cut(l.cfg.ResetPage, "#")
			return page + "#token=" + t // a fragment is sent to no server and stands in no log
		}, l.cfg.ResetTTL, true
	}
	return nil, 0, false
}

// issuerOf is the issuer under which an identity is kept: providers that have none are
// their own.
func issuerOf(provider, issuer string) string {
	if issuer == "" {
		return provider
	}
	return issuer
}
