package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/sdk"
)

// everything is a commit that uses every field, and what was there before it.
type everything struct {
	user     account.User
	identity account.Identity
	spent    login.Flow
	ended    login.Flow
	session  session.Session
	commit   login.Commit
	// What commit is about to make; commit itself may be spoiled.
	flow   login.Flow
	linked account.Identity
	began  session.Session
}

func newEverything(t testing.TB, s *store.Store) everything {
	t.Helper()
	var v everything
	v.user = newUser(account.Pending)
	v.identity = newIdentity(v.user)
	v.spent, v.ended = newFlow(v.user.ID), newFlow(v.user.ID)
	v.ended.Kind = sdk.FlowRecover
	other := newUser(account.Active)
	v.session = newSession(other.ID)
	commit(t, s, login.Commit{NewUser: &v.user, NewIdentity: &v.identity, NewFlow: &v.spent})
	commit(t, s, login.Commit{NewFlow: &v.ended})
	commit(t, s, login.Commit{NewUser: &other, NewSession: &v.session})

	fresh := newUser(account.Pending)
	linked, flow, began, queued := newIdentity(fresh), newFlow(fresh.ID), newSession(v.user.ID), newMail()
	began.IdentityID, began.Upstream = v.identity.ID, "_index"
	v.flow, v.linked, v.began = flow, linked, began
	v.commit = login.Commit{
		Now: epoch.Add(time.Minute), SpendFlow: v.spent.ID, NewFlow: &flow,
		EndFlows:      &login.EndFlows{UserID: v.user.ID, Kind: sdk.FlowRecover},
		Writes:        []plugin.Write{{Provider: "email", Key: "k", Value: []byte("v"), Checked: true}},
		NewUser:       &fresh,
		UpdateUser:    &login.UserUpdate{ID: v.user.ID, Expect: account.Pending, Status: account.Active, Verified: true, VerifiedBy: new("corp"), Name: new("New")},
		NewIdentity:   &linked,
		TouchIdentity: v.identity.ID, NewSession: &began,
		RevokeSessions: &login.RevokeSessions{UserID: other.ID, Reason: "test", TokensDead: epoch.Add(time.Hour)},
		Mail:           &queued,
	}
	return v
}

// state is what can be seen of everything that a commit of newEverything changes.
func (v everything) state(t testing.TB, s *store.Store) string {
	t.Helper()
	ctx, now := t.Context(), v.commit.Now
	_, spent := s.Flow(ctx, v.spent.Hash, now)
	_, ended := s.Flow(ctx, v.ended.Hash, now)
	_, made := s.Flow(ctx, v.flow.Hash, now)
	_, found := entry(t, s, "email", "k", now)
	_, fresh := s.User(ctx, v.commit.NewUser.ID)
	user, _ := s.User(ctx, v.user.ID)
	_, _, linked := s.UserByIdentity(ctx, v.linked.Provider, v.linked.Issuer, v.linked.Subject)
	_, touched, _ := s.UserByIdentity(ctx, v.identity.Provider, v.identity.Issuer, v.identity.Subject)
	_, began := s.Session(ctx, v.began.ID)
	old, _ := s.Session(ctx, v.session.ID)
	revocations, _ := s.RevocationsSince(ctx, time.Time{}, now)
	return fmt.Sprint(spent, ended, made, found, fresh, user, linked, touched, began, old, len(revocations))
}

func commitEverything(t *testing.T, e Engine) {
	s := fresh(t, e)
	v := newEverything(t, s)
	revoked := commit(t, s, v.commit)
	if d := cmp.Diff([]string{v.session.ID}, revoked); d != "" {
		t.Errorf("Commit() revoked (-want +got):\n%s", d)
	}
	ctx, now := t.Context(), v.commit.Now
	for _, f := range []login.Flow{v.spent, v.ended} {
		if _, err := s.Flow(ctx, f.Hash, now); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Flow() of a flow that ended = %v, want ErrSpent", err)
		}
	}
	flow, err := s.Flow(ctx, v.commit.NewFlow.Hash, now)
	if d := cmp.Diff(*v.commit.NewFlow, flow); err != nil || d != "" {
		t.Errorf("Flow() = %v (-want +got):\n%s", err, d)
	}
	want := v.user
	want.Status, want.Verified, want.VerifiedBy, want.Name, want.UpdatedAt = account.Active, true, "corp", "New", now
	user, err := s.User(ctx, v.user.ID)
	if d := cmp.Diff(want, user); err != nil || d != "" {
		t.Errorf("User() = %v (-want +got):\n%s", err, d)
	}
	mails, err := s.ClaimMail(ctx, now, now.Add(time.Minute), 10)
	if err != nil || len(mails) != 1 || mails[0].ID != v.commit.Mail.ID {
		t.Errorf("ClaimMail() = %v, %v, want the mail of the commit", mails, err)
	}
	began, err := s.Session(ctx, v.commit.NewSession.ID)
	if d := cmp.Diff(*v.commit.NewSession, began); err != nil || d != "" {
		t.Errorf("Session() = %v (-want +got):\n%s", err, d)
	}
}

// commitAtomic breaks one operation of the commit at a time.
func commitAtomic(t *testing.T, e Engine) {
	s := fresh(t, e)
	taken := activeUser(t, s)
	takenID := newIdentity(taken)
	commit(t, s, login.Commit{NewIdentity: &takenID})
	takenSession := activeSession(t, s, taken.ID)
	takenMail := newMail()
	takenMail.DueAt = epoch.Add(1000 * time.Hour)
	takenFlow := newFlow("")
	commit(t, s, login.Commit{Mail: &takenMail, NewFlow: &takenFlow})

	for name, c := range map[string]struct {
		spoil func(*login.Commit)
		want  error
	}{
		"flow spent":             {func(c *login.Commit) { c.SpendFlow = account.NewID() }, login.ErrSpent},
		"flow taken":             {func(c *login.Commit) { c.NewFlow.Hash = takenFlow.Hash }, nil},
		"flow of nobody":         {func(c *login.Commit) { c.NewFlow.UserID = account.NewID() }, login.ErrChanged},
		"entry changed":          {func(c *login.Commit) { c.Writes[0].IfVersion = 7 }, login.ErrEntryChanged},
		"address taken":          {func(c *login.Commit) { c.NewUser.Email = taken.Email }, account.ErrConflict},
		"status changed":         {func(c *login.Commit) { c.UpdateUser.Expect = account.Suspended }, login.ErrChanged},
		"user of no status":      {func(c *login.Commit) { c.NewUser.Status = "odd" }, nil},
		"identity taken":         {func(c *login.Commit) { c.NewIdentity.Subject = takenID.Subject }, account.ErrConflict},
		"identity of nobody":     {func(c *login.Commit) { c.NewIdentity.UserID = account.NewID() }, login.ErrChanged},
		"identity gone":          {func(c *login.Commit) { c.TouchIdentity = account.NewID() }, login.ErrChanged},
		"session taken":          {func(c *login.Commit) { c.NewSession.ID = takenSession.ID }, nil},
		"session of nobody":      {func(c *login.Commit) { c.NewSession.UserID = account.NewID() }, login.ErrChanged},
		"session of no identity": {func(c *login.Commit) { c.NewSession.IdentityID = account.NewID() }, login.ErrChanged},
		"mail taken":             {func(c *login.Commit) { c.Mail.ID = takenMail.ID }, nil},
	} {
		v := newEverything(t, s)
		before := v.state(t, s)
		c.spoil(&v.commit)
		_, err := s.Commit(t.Context(), v.commit)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: Commit() = %v, want %v", name, err, c.want)
		}
		if errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: Commit() = %v, want another error", name, err)
		}
		if d := cmp.Diff(before, v.state(t, s)); d != "" {
			t.Errorf("%s: a commit that failed changed something:\n%s", name, d)
		}
		if mails, _ := s.ClaimMail(t.Context(), epoch, epoch, 10); len(mails) != 0 {
			t.Errorf("%s: a commit that failed queued a mail", name)
		}
	}
}

func commitSpendsOnce(t *testing.T, e Engine) {
	s, where := freshAt(t, e)
	stores := []*store.Store{s, open(t, e, where)}
	u := activeUser(t, s)
	f := newFlow(u.ID)
	commit(t, s, login.Commit{NewFlow: &f})
	errs := atOnce(64, func(i int) error {
		began := newSession(u.ID)
		_, err := stores[i%2].Commit(t.Context(), login.Commit{Now: epoch, SpendFlow: f.ID, NewSession: &began})
		return err
	})
	if good, refused := tally(t, errs, login.ErrSpent); good != 1 || refused != 63 {
		t.Errorf("%d commits spent the flow and %d did not, want 1 and 63", good, refused)
	}
	if all, err := s.SessionsOf(t.Context(), u.ID, epoch); err != nil || len(all) != 1 {
		t.Errorf("SessionsOf() = %d sessions, %v, want 1", len(all), err)
	}
}

func commitExpiredFlow(t *testing.T, e Engine) {
	s := fresh(t, e)
	f := newFlow("")
	commit(t, s, login.Commit{NewFlow: &f})
	if _, err := s.Flow(t.Context(), f.Hash, f.ExpiresAt); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Flow() at its expiry = %v, want ErrSpent", err)
	}
	if _, err := s.Commit(t.Context(), login.Commit{Now: f.ExpiresAt, SpendFlow: f.ID}); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Commit() at its expiry = %v, want ErrSpent", err)
	}
	if _, err := s.Commit(t.Context(), login.Commit{Now: epoch, SpendFlow: "no id"}); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Commit() with a bad id = %v, want ErrSpent", err)
	}
	commit(t, s, login.Commit{Now: f.ExpiresAt.Add(-time.Microsecond), SpendFlow: f.ID})
}

func commitEndFlows(t *testing.T, e Engine) {
	s := fresh(t, e)
	ann, bob := activeUser(t, s), activeUser(t, s)
	verify, recover, bobs, nobodys := newFlow(ann.ID), newFlow(ann.ID), newFlow(bob.ID), newFlow("")
	recover.Kind = sdk.FlowRecover
	for _, f := range []login.Flow{verify, recover, bobs, nobodys} {
		commit(t, s, login.Commit{NewFlow: &f})
	}
	next := newFlow(ann.ID)
	commit(t, s, login.Commit{EndFlows: &login.EndFlows{UserID: ann.ID, Kind: sdk.FlowVerify}, NewFlow: &next})
	for name, c := range map[string]struct {
		flow  login.Flow
		waits bool
	}{"ended": {verify, false}, "other kind": {recover, true}, "other user": {bobs, true}, "no user": {nobodys, true}, "new": {next, true}} {
		if _, err := s.Flow(t.Context(), c.flow.Hash, epoch); c.waits != (err == nil) {
			t.Errorf("%s: Flow() = %v, want waiting %v", name, err, c.waits)
		}
	}
}

func commitInactive(t *testing.T, e Engine) {
	s := fresh(t, e)
	for _, status := range []account.Status{account.Pending, account.Suspended, account.Deleted} {
		u := newUser(status)
		v := newSession(u.ID)
		commit(t, s, login.Commit{NewUser: &u})
		if _, err := s.Commit(t.Context(), login.Commit{Now: epoch, NewSession: &v}); !errors.Is(err, login.ErrChanged) {
			t.Errorf("session of a user who is %s: Commit() = %v, want ErrChanged", status, err)
		}
	}
}

// commitSuspensionRace suspends a user and ends the sessions while the user logs in.
func commitSuspensionRace(t *testing.T, e Engine) {
	s := fresh(t, e)
	for range 10 {
		u := activeUser(t, s)
		errs := atOnce(8, func(i int) error {
			if i == 0 {
				_, err := s.Commit(t.Context(), login.Commit{
					Now:            epoch,
					UpdateUser:     &login.UserUpdate{ID: u.ID, Expect: account.Active, Status: account.Suspended, Verified: true},
					RevokeSessions: &login.RevokeSessions{UserID: u.ID, Reason: "suspended", TokensDead: epoch.Add(time.Hour)},
				})
				return err
			}
			v := newSession(u.ID)
			_, err := s.Commit(t.Context(), login.Commit{Now: epoch, NewSession: &v})
			return err
		})
		tally(t, errs, login.ErrChanged)
		if errs[0] != nil {
			t.Errorf("suspension: Commit() = %v", errs[0])
		}
		if all, err := s.SessionsOf(t.Context(), u.ID, epoch); err != nil || len(all) != 0 {
			t.Fatalf("%d sessions of a suspended user live, %v", len(all), err)
		}
	}
}

func commitUpdateGuard(t *testing.T, e Engine) {
	s := fresh(t, e)
	u := activeUser(t, s)
	same := login.UserUpdate{ID: u.ID, Expect: account.Active, Status: account.Active, Verified: true}
	commit(t, s, login.Commit{Now: epoch.Add(time.Hour), UpdateUser: &same})
	if got, err := s.User(t.Context(), u.ID); err != nil || !cmp.Equal(u, got) {
		t.Errorf("an update that changes nothing: User() = %v, %v, want %v", got, err, u)
	}
	errs := atOnce(8, func(int) error {
		_, err := s.Commit(t.Context(), login.Commit{Now: epoch, UpdateUser: &login.UserUpdate{ID: u.ID, Expect: account.Active, Status: account.Suspended}})
		return err
	})
	if good, refused := tally(t, errs, login.ErrChanged); good != 1 || refused != 7 {
		t.Errorf("%d updates held and %d did not, want 1 and 7", good, refused)
	}
}

// commitRevokesIdentity ends what another site says has ended: the sessions of one login, and
// of these those that it names.
func commitRevokesIdentity(t *testing.T, e Engine) {
	s := fresh(t, e)
	ann := activeUser(t, s)
	corp, other := newIdentity(ann), newIdentity(ann)
	commit(t, s, login.Commit{NewIdentity: &corp})
	commit(t, s, login.Commit{NewIdentity: &other})
	began := func(identityID, upstream string) session.Session {
		v := newSession(ann.ID)
		v.IdentityID, v.Upstream = identityID, upstream
		commit(t, s, login.Commit{NewSession: &v})
		return v
	}
	one, two, three, nameless := began(corp.ID, "_1"), began(corp.ID, "_2"), began(corp.ID, "_3"), began(corp.ID, "")
	foreign, password := began(other.ID, "_1"), began("", "")
	end := func(upstream ...string) []string {
		return commit(t, s, login.Commit{RevokeSessions: &login.RevokeSessions{
			UserID: ann.ID, IdentityID: corp.ID, Upstream: upstream, Reason: "logout", TokensDead: epoch.Add(time.Hour),
		}})
	}
	if got := end("_1", "_9", "_3"); !cmp.Equal(got, []string{one.ID, three.ID}) {
		t.Errorf("Commit() ended %v, want the two that were named", got)
	}
	if got := end("_1", ""); !cmp.Equal(got, []string{nameless.ID}) {
		t.Errorf("Commit() ended %v, want the one without a name", got)
	}
	if got := end(); !cmp.Equal(got, []string{two.ID}) {
		t.Errorf("Commit() ended %v, want the rest of the identity's", got)
	}
	for _, v := range []session.Session{foreign, password} {
		if got, err := s.Session(t.Context(), v.ID); err != nil || !cmp.Equal(got, v) {
			t.Errorf("Session() = %+v, %v, want it untouched", got, err)
		}
	}
	if all, err := s.RevocationsSince(t.Context(), time.Time{}, epoch); err != nil || len(all) != 4 {
		t.Errorf("RevocationsSince() = %d, %v, want 4", len(all), err)
	}
	gone := newSession(ann.ID)
	gone.IdentityID = account.NewID()
	if _, err := s.Commit(t.Context(), login.Commit{Now: epoch, NewSession: &gone}); !errors.Is(err, login.ErrChanged) {
		t.Errorf("session of an identity that is gone: Commit() = %v, want ErrChanged", err)
	}
}

func commitRevokes(t *testing.T, e Engine) {
	s := fresh(t, e)
	ann, bob := activeUser(t, s), activeUser(t, s)
	one, two, bobs := activeSession(t, s, ann.ID), activeSession(t, s, ann.ID), activeSession(t, s, bob.ID)
	next := newSession(ann.ID)
	dead := epoch.Add(time.Hour)
	revoked := commit(t, s, login.Commit{
		NewSession:     &next,
		RevokeSessions: &login.RevokeSessions{UserID: ann.ID, Except: next.ID, Reason: "changed", TokensDead: dead},
	})
	if len(revoked) != 2 {
		t.Errorf("Commit() revoked %v, want the two before", revoked)
	}
	for _, c := range []struct {
		id    string
		alive bool
	}{{one.ID, false}, {two.ID, false}, {next.ID, true}, {bobs.ID, true}} {
		got, err := s.Session(t.Context(), c.id)
		if err != nil || got.RevokedAt.IsZero() != c.alive {
			t.Errorf("session revoked at %v, %v, want alive %v", got.RevokedAt, err, c.alive)
		}
	}
	all, err := s.RevocationsSince(t.Context(), time.Time{}, epoch)
	if err != nil || len(all) != 2 || !all[0].ExpiresAt.Equal(dead) {
		t.Errorf("RevocationsSince() = %v, %v, want the two", all, err)
	}
}

// commitStress lets commits that touch the same users, flows, sessions and entries in every
// order run against each other. None may wait for another in a circle, which Postgres would
// find out after a second and the store would try again.
func commitStress(t *testing.T, e Engine) {
	s := fresh(t, e)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	users := []account.User{activeUser(t, s), activeUser(t, s)}
	keys := []string{"a", "b", "c"}
	errs := atOnce(16, func(i int) error {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for range 8 {
			f, v := newFlow(users[r.IntN(2)].ID), newSession(users[r.IntN(2)].ID)
			c := login.Commit{Now: epoch, NewFlow: &f, NewSession: &v,
				EndFlows:       &login.EndFlows{UserID: users[r.IntN(2)].ID, Kind: sdk.FlowVerify},
				RevokeSessions: &login.RevokeSessions{UserID: users[r.IntN(2)].ID, Except: v.ID, Reason: "test", TokensDead: epoch.Add(time.Hour)},
			}
			for _, k := range r.Perm(3) {
				c.Writes = append(c.Writes, plugin.Write{Provider: "email", Key: keys[k], Value: []byte("v")})
			}
			if _, err := s.Commit(ctx, c); err != nil {
				return err
			}
			if _, err := s.Commit(ctx, login.Commit{Now: epoch, SpendFlow: f.ID, EndFlows: c.EndFlows}); err != nil && !errors.Is(err, login.ErrSpent) {
				return err
			}
			if _, err := s.Commit(ctx, login.Commit{Now: epoch, Writes: c.Writes}); err != nil { // no user in common
				return err
			}
			if _, err := s.RevokeSessionsOf(ctx, users[r.IntN(2)].ID, "", "test", epoch, epoch.Add(time.Hour)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := s.Retries(); n != 0 {
		t.Errorf("%d transactions lost against others, want 0", n)
	}
}
