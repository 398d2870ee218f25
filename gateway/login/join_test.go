package login_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/audit"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/mail"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/sdk"
)

// newTown is a bench with several providers: email keeps passwords and forgets them, company
// and anyone are trusted, stranger is not.
func newTown(t *testing.T) *bench {
	b := newBench(t)
	b.provider.infos = map[string]plugin.Info{
		"email":    {Name: "email", Manifest: sdk.Manifest{ID: "email", Forms: []sdk.Form{{Flow: sdk.FlowForget, Name: "forget"}}}},
		"company":  {Name: "company", Manifest: sdk.Manifest{ID: "oauth"}, TrustEmail: []string{"example.com"}},
		"anyone":   {Name: "anyone", Manifest: sdk.Manifest{ID: "oauth"}, TrustEmail: []string{"*"}},
		"stranger": {Name: "stranger", Manifest: sdk.Manifest{ID: "oauth"}},
	}
	b.provider.forget = func(name string, f sdk.Flow) (plugin.Answer, error) {
		return plugin.Answer{
			Step:   sdk.Step{Changed: &sdk.Changed{Subject: f.Subject}},
			Writes: []plugin.Write{{Provider: name, Key: "forgotten", Value: []byte(f.Subject)}},
		}, nil
	}
	return b
}

// comes logs somebody in at a provider.
func (b *bench) comes(provider string, id sdk.Identity) (login.Outcome, error) {
	return b.arrives(b.Login, provider, id)
}

func (b *bench) arrives(l *login.Login, provider string, id sdk.Identity) (login.Outcome, error) {
	b.provider.begin = done(id)
	return l.Begin(context.Background(), login.Attempt{
		Provider: provider, Kind: sdk.FlowLogin, Form: "password", Client: login.Client{IP: "192.0.2.7"},
	})
}

// contest registers ann's address and leaves its link alone.
func (b *bench) contest(t *testing.T) account.User {
	t.Helper()
	b.provider.begin = verifyMail(sdk.Identity{Subject: "s-eve", Email: ann.Email, Name: "Eve"}, "eve's")
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	u, err := b.store.UserByEmail(t.Context(), "ann@example.com")
	if err != nil || u.Status != account.Pending {
		t.Fatalf("user = %+v, %v, want a pending one", u, err)
	}
	return u
}

func (b *bench) events(t *testing.T, userID string) []audit.Event {
	t.Helper()
	all, err := b.store.AuditOf(t.Context(), userID)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		for name, value := range e.Details {
			if strings.Contains(value, "@") || strings.Contains(value, "s-ann") {
				t.Errorf("%s tells %s %q", e.Action, name, value)
			}
		}
	}
	return all
}

func (b *bench) identities(t *testing.T, userID string) []account.Identity {
	t.Helper()
	all, err := b.store.IdentitiesOf(t.Context(), userID)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var sAnn = verified(sdk.Identity{Issuer: "https://id.example", Subject: "s-ann-there", Email: "ANN@example.com", Name: "Ann There"})

func TestATrustedProviderJoinsTheAccountOfAProvenAddress(t *testing.T) {
	b := newTown(t)
	u := b.register(t)
	out, err := b.comes("company", sAnn)
	if err != nil || out.LoggedIn.User.ID != u.ID || out.LoggedIn.User.Name != "Ann" {
		t.Fatalf("Begin() = %+v, %v, want a session of the user", out.LoggedIn, err)
	}
	all := b.identities(t, u.ID)
	if len(all) != 2 || all[1].Provider != "company" || all[1].Issuer != "https://id.example" || all[1].Email != "ann@example.com" {
		t.Fatalf("identities = %+v, want the new one second", all)
	}
	if out.LoggedIn.Session.IdentityID != all[1].ID {
		t.Error("the session does not know how it began")
	}
	want := []audit.Event{{At: *b.now.Load(), Action: audit.IdentityLinked, UserID: u.ID, ActorID: u.ID, Details: map[string]string{
		"provider": "company", "issuer": "https://id.example", "identity": all[1].ID, "email_domain": "example.com",
		"rule": "trusted_email", "owner_proof": "mail", "ip": "192.0.2.7",
	}}}
	if d := cmp.Diff(want, b.events(t, u.ID)); d != "" {
		t.Errorf("audit (-want +got):\n%s", d)
	}
	if out, err = b.comes("company", sAnn); err != nil || out.LoggedIn.User.ID != u.ID {
		t.Errorf("Begin() once more = %+v, %v, want the same user", out, err)
	}
	if n := len(b.events(t, u.ID)); n != 1 {
		t.Errorf("%d events, want 1: it was linked once", n)
	}
}

func TestWhoIsNotTrustedIsToldToLinkFromInside(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, *bench) string{
		"untrusted provider":                   func(t *testing.T, b *bench) string { b.register(t); return "stranger" },
		"untrusted provider, unproven address": func(t *testing.T, b *bench) string { b.contest(t); return "stranger" },
		"address on an untrusted provider's word": func(t *testing.T, b *bench) string {
			if _, err := b.comes("stranger", verified(sdk.Identity{Subject: "s-eve", Email: ann.Email})); err != nil {
				t.Fatal(err)
			}
			return "anyone"
		},
		"address on the word of a provider that is gone": func(t *testing.T, b *bench) string {
			if _, err := b.comes("anyone", verified(sdk.Identity{Subject: "s-eve", Email: ann.Email})); err != nil {
				t.Fatal(err)
			}
			delete(b.provider.infos, "anyone")
			return "company"
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTown(t)
			provider := prepare(t, b)
			before, err := b.store.UserByEmail(t.Context(), "ann@example.com")
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.comes(provider, sAnn)
			denied, ok := errors.AsType[*login.Denied](err)
			if !ok || denied.Code != sdk.CodeEmailExists || !denied.Link {
				t.Errorf("Begin() = %v, want EMAIL_ALREADY_EXISTS that tells to link", err)
			}
			after, err := b.store.User(t.Context(), before.ID)
			if d := cmp.Diff(before, after); err != nil || d != "" {
				t.Errorf("the user changed, %v (-before +after):\n%s", err, d)
			}
			if n := len(b.identities(t, before.ID)); n != 1 {
				t.Errorf("%d identities, want 1", n)
			}
		})
	}
}

// blind is a store that must not be asked whose an address is.
type blind struct {
	login.Store
	t *testing.T
}

func (s blind) UserByEmail(context.Context, string) (account.User, error) {
	s.t.Error("somebody asked whose an address is")
	return account.User{}, account.ErrNotFound
}

func TestNobodyAsksWhoseAnUnprovenAddressIs(t *testing.T) {
	b := newTown(t)
	b.register(t)
	l := b.on(t, blind{b.store, t})
	for _, id := range []sdk.Identity{
		{Subject: "s-1", Email: ann.Email},
		{Subject: "s-2", Email: "nobody@example.com"},
		{Subject: "s-3"},
		{Subject: "s-4", Email: "not an address", EmailVerified: true},
	} {
		if _, err := b.arrives(l, "anyone", id); code(err) != sdk.CodeEmailNotVerified {
			t.Errorf("Begin(%q) = %v, want EMAIL_NOT_VERIFIED", id.Email, err)
		}
	}
}

func TestATakeoverLeavesNothingOfWhoeverWasThere(t *testing.T) {
	b := newTown(t)
	eve := b.contest(t)
	link := b.token(t)
	// Links of other kinds, and a session, however they came about.
	var waiting []login.Flow
	for i, kind := range []sdk.FlowKind{sdk.FlowVerify, sdk.FlowRecover, sdk.FlowLogin, sdk.FlowChange, sdk.FlowLink} {
		f := login.Flow{
			ID: account.NewID(), Hash: []byte{byte(i)}, Provider: "email", Kind: kind, UserID: eve.ID,
			CreatedAt: *b.now.Load(), ExpiresAt: b.now.Load().Add(time.Hour),
		}
		b.put(t, login.Commit{NewFlow: &f})
		waiting = append(waiting, f)
	}
	b.put(t, login.Commit{UpdateUser: &login.UserUpdate{ID: eve.ID, Expect: account.Pending, Status: account.Active}})
	hers, refresh, err := b.sessions.Start(eve.ID, session.Login{})
	if err != nil {
		t.Fatal(err)
	}
	b.put(t, login.Commit{NewSession: &hers})

	out, err := b.comes("company", sAnn)
	if err != nil {
		t.Fatalf("Begin() = %v, want a login", err)
	}
	u, err := b.store.User(t.Context(), eve.ID)
	want := eve
	want.Status, want.Verified, want.VerifiedBy, want.Name = account.Active, true, "company", "Ann There"
	if d := cmp.Diff(want, u); err != nil || d != "" || out.LoggedIn.User.ID != eve.ID {
		t.Errorf("user, %v (-want +got):\n%s", err, d)
	}
	if all := b.identities(t, eve.ID); len(all) != 1 || all[0].Provider != "company" {
		t.Errorf("identities = %+v, want the new one alone", all)
	}
	if e, _, err := b.store.KV(t.Context(), "email", "forgotten", *b.now.Load()); err != nil || string(e.Value) != "s-eve" {
		t.Errorf("the provider forgot %q, %v, want the subject of before", e.Value, err)
	}
	for _, f := range waiting {
		if _, err := b.store.Flow(t.Context(), f.Hash, *b.now.Load()); !errors.Is(err, login.ErrSpent) {
			t.Errorf("a %s link still waits: %v", f.Kind, err)
		}
	}
	b.provider.next = done(verified(sdk.Identity{Subject: "s-eve", Email: ann.Email}))
	if _, err := b.Continue(t.Context(), link, []sdk.FlowKind{sdk.FlowRegister}, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Continue() with the link of before = %v, want ErrSpent", err)
	}
	if _, _, err := b.sessions.Refresh(t.Context(), refresh); !errors.Is(err, session.ErrRevoked) || !b.sessions.Revoked(hers.ID) {
		t.Errorf("Refresh() of the session of before = %v, want ErrRevoked", err)
	}
	if _, _, err := b.sessions.Refresh(t.Context(), out.LoggedIn.Refresh); err != nil || b.sessions.Revoked(out.LoggedIn.Session.ID) {
		t.Errorf("Refresh() of the new session = %v", err)
	}
	events := b.events(t, eve.ID)
	if len(events) != 2 || events[0].Action != audit.IdentityLinked || events[1].Action != audit.AccountTakenOver || events[1].Details["removed"] != "1" ||
		events[0].Details["rule"] != "trusted_email_unproven_account" || events[0].Details["owner_proof"] != "none" {
		t.Errorf("audit = %+v, want the link and the takeover", events)
	}
}

func (b *bench) put(t *testing.T, c login.Commit) {
	t.Helper()
	c.Now = *b.now.Load()
	if _, err := b.store.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func TestATakeoverWaitsForAProviderThatCannotForgetNow(t *testing.T) {
	b := newTown(t)
	eve := b.contest(t)
	away := &plugin.Fault{Provider: "email", Kind: plugin.Timeout, Err: errors.New("away")}
	for name, forget := range map[string]func(string, sdk.Flow) (plugin.Answer, error){
		"away": func(string, sdk.Flow) (plugin.Answer, error) { return plugin.Answer{}, away },
		"says no": func(string, sdk.Flow) (plugin.Answer, error) {
			return answer(sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}})
		},
		"another's": func(string, sdk.Flow) (plugin.Answer, error) {
			return answer(sdk.Step{Changed: &sdk.Changed{Subject: "s-bob"}})
		},
	} {
		b.provider.forget = forget
		if _, err := b.comes("company", sAnn); err == nil || code(err) != "" {
			t.Errorf("%s: Begin() = %v, want a failure", name, err)
		}
		u, err := b.store.User(t.Context(), eve.ID)
		if d := cmp.Diff(eve, u); err != nil || d != "" || len(b.identities(t, eve.ID)) != 1 {
			t.Errorf("%s: a takeover was done half, %v:\n%s", name, err, d)
		}
	}
}

// What is forgotten may change while it is forgotten; the answer of the login is good all the
// same, and is not asked for again where it cannot be.
func TestATakeoverForgetsWhatIsThereAtItsCommit(t *testing.T) {
	b := newTown(t)
	b.contest(t)
	b.put(t, login.Commit{Writes: []plugin.Write{{Provider: "email", Key: "k", Value: []byte("1")}}})
	asked := 0
	b.provider.forget = func(_ string, f sdk.Flow) (plugin.Answer, error) {
		asked++
		e, _, err := b.store.KV(t.Context(), "email", "k", *b.now.Load())
		return plugin.Answer{
			Step:   sdk.Step{Changed: &sdk.Changed{Subject: f.Subject}},
			Writes: []plugin.Write{{Provider: "email", Key: "k", Delete: true, Checked: true, IfVersion: e.Version}},
		}, err
	}
	var first error
	racing := &raceStore{Store: noting{b.store, &first}, before: sync.OnceFunc(func() {
		b.put(t, login.Commit{Writes: []plugin.Write{{Provider: "email", Key: "k", Value: []byte("2")}}})
	})}
	if _, err := b.arrives(b.on(t, racing), "company", sAnn); err != nil {
		t.Fatal(err)
	}
	if asked != 2 || !errors.Is(first, login.ErrChanged) || errors.Is(first, login.ErrEntryChanged) {
		t.Errorf("forgotten in %d calls after %v, want 2 after ErrChanged that is not of the login's own entries", asked, first)
	}
	if _, found, err := b.store.KV(t.Context(), "email", "k", *b.now.Load()); found || err != nil {
		t.Errorf("the entry is still there, %v", err)
	}
}

// noting keeps the first error of a commit.
type noting struct {
	login.Store
	first *error
}

func (s noting) Commit(ctx context.Context, c login.Commit) ([]string, error) {
	revoked, err := s.Store.Commit(ctx, c)
	if *s.first == nil {
		*s.first = err
	}
	return revoked, err
}

func TestAnAddressThatIsProvenDuringATakeoverIsNotTakenOver(t *testing.T) {
	b := newTown(t)
	eve := b.contest(t)
	racing := &raceStore{Store: b.store, before: sync.OnceFunc(func() {
		b.put(t, login.Commit{UpdateUser: &login.UserUpdate{ID: eve.ID, Expect: account.Pending, Status: account.Active, Verified: true}})
	})}
	out, err := b.arrives(b.on(t, racing), "company", sAnn)
	if err != nil || out.LoggedIn.User.ID != eve.ID || out.LoggedIn.User.Name != "Eve" {
		t.Errorf("Begin() = %+v, %v, want to join the user as they are", out.LoggedIn, err)
	}
	if n := len(b.identities(t, eve.ID)); n != 2 {
		t.Errorf("%d identities, want both", n)
	}
}

// late is a store that does something right before somebody asks whose an address is.
type late struct {
	login.Store
	before func()
}

func (s late) UserByEmail(ctx context.Context, email string) (account.User, error) {
	s.before()
	return s.Store.UserByEmail(ctx, email)
}

func TestWhoComesTwiceAtOnceIsNotToldThatTheAddressIsSomebodys(t *testing.T) {
	b := newTown(t)
	var first login.Outcome
	l := b.on(t, late{b.store, sync.OnceFunc(func() {
		var err error
		if first, err = b.comes("stranger", sAnn); err != nil {
			t.Error(err)
		}
	})})
	second, err := b.arrives(l, "stranger", sAnn)
	if err != nil || second.LoggedIn.User.ID != first.LoggedIn.User.ID {
		t.Errorf("Begin() = %+v, %v, want the user that was made a moment ago", second.LoggedIn, err)
	}
}

func Test64FirstLoginsOfOneIdentityMakeOneUser(t *testing.T) {
	b := newTown(t)
	b.provider.begin = done(sAnn)
	users := make(map[string]int)
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			out, err := b.Begin(context.Background(), login.Attempt{Provider: "stranger", Kind: sdk.FlowLogin, Form: "password"})
			if err != nil {
				t.Errorf("Begin() = %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			users[out.LoggedIn.User.ID]++
		})
	}
	all.Wait()
	if len(users) != 1 {
		t.Errorf("%d users, want 1", len(users))
	}
}

func TestHowAnAddressWasProvenIsKept(t *testing.T) {
	mailTo := func(to string) func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
			return answer(sdk.Step{Mail: &sdk.Mail{Template: mail.TemplateMagicLink, To: to}})
		}
	}
	for _, c := range []struct {
		name, to string
		want     string
	}{
		{"a link that was mailed to the address", "Ann@EXAMPLE.com", ""},
		{"a link that was mailed to another", "eve@example.com", "email"},
	} {
		b := newBench(t)
		b.provider.begin, b.provider.next = mailTo(c.to), done(verified(ann))
		if _, err := b.Begin(t.Context(), attempt(sdk.FlowLogin, login.FormMagicLink)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Continue(t.Context(), b.token(t), []sdk.FlowKind{sdk.FlowLogin}, login.Attempt{}); err != nil {
			t.Fatal(err)
		}
		if u, err := b.store.UserByEmail(t.Context(), "ann@example.com"); err != nil || u.VerifiedBy != c.want || !u.Verified {
			t.Errorf("%s: verified by %q, %v, want %q", c.name, u.VerifiedBy, err, c.want)
		}
	}
	b := newBench(t)
	if u := b.register(t); u.VerifiedBy != "" {
		t.Errorf("a registration: verified by %q, want nothing", u.VerifiedBy)
	}
	b = newBench(t)
	if out, err := b.comes("stranger", sAnn); err != nil || out.LoggedIn.User.VerifiedBy != "stranger" {
		t.Errorf("a provider's word: verified by %q, %v, want the provider", out.LoggedIn.User.VerifiedBy, err)
	}
	b = newBench(t)
	b.contest(t)
	b.provider.begin = mailTo("eve@example.com")
	b.provider.next = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Changed: &sdk.Changed{Subject: "s-eve"}})
	}
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRecover, "password")); err != nil {
		t.Fatal(err)
	}
	link := b.outbox.last(t).Link
	if _, err := b.Continue(t.Context(), link[len(link)-43:], []sdk.FlowKind{sdk.FlowRecover}, login.Attempt{}); err != nil {
		t.Fatal(err)
	}
	if u, err := b.store.UserByEmail(t.Context(), "ann@example.com"); err != nil || u.VerifiedBy != "email" {
		t.Errorf("a recovery by a link to another address: verified by %q, %v, want the provider", u.VerifiedBy, err)
	}
}

func TestOnlyTheDomainsOfAProviderComeThroughIt(t *testing.T) {
	b := newTown(t)
	company := b.provider.infos["company"]
	company.AllowedDomains = []string{"example.com"}
	b.provider.infos["company"] = company
	if _, err := b.comes("company", verified(sdk.Identity{Subject: "s-bob", Email: "bob@other.example"})); code(err) != sdk.CodeForbidden {
		t.Errorf("Begin() of another domain = %v, want INSUFFICIENT_PERMISSIONS", err)
	}
	if _, err := b.store.UserByEmail(t.Context(), "bob@other.example"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("UserByEmail() = %v: who may not enter was made a user", err)
	}
	out, err := b.comes("company", sAnn)
	if err != nil {
		t.Fatal(err)
	}
	moved := sAnn
	moved.Email = "ann@other.example"
	if _, err := b.comes("company", moved); code(err) != sdk.CodeForbidden {
		t.Errorf("Begin() with an address that moved to another domain = %v, want INSUFFICIENT_PERMISSIONS", err)
	}
	company.AllowedDomains = nil // after a reload
	b.provider.infos["company"] = company
	if again, err := b.comes("company", moved); err != nil || again.LoggedIn.User.ID != out.LoggedIn.User.ID {
		t.Errorf("Begin() once the domains are open = %v", err)
	}
}

func TestSomebodySuspendedHearsTheSameWhicheverWayTheyTry(t *testing.T) {
	b := newTown(t)
	u := b.register(t)
	if _, err := b.comes("company", sAnn); err != nil {
		t.Fatal(err)
	}
	b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Mail: &sdk.Mail{Template: mail.TemplateMagicLink, To: ann.Email}})
	}
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowLogin, login.FormMagicLink)); err != nil {
		t.Fatal(err)
	}
	link := b.token(t)
	b.put(t, login.Commit{UpdateUser: &login.UserUpdate{ID: u.ID, Expect: account.Active, Status: account.Suspended, Verified: true}})

	b.provider.next = done(verified(ann))
	ways := map[string]func() error{
		"password":             func() error { _, err := b.comes("email", verified(ann)); return err },
		"a linked login":       func() error { _, err := b.comes("company", sAnn); return err },
		"a login to be joined": func() error { _, err := b.comes("anyone", sAnn); return err },
		"magic link": func() error {
			_, err := b.Continue(t.Context(), link, []sdk.FlowKind{sdk.FlowLogin}, login.Attempt{})
			return err
		},
	}
	for name, way := range ways {
		if err := way(); code(err) != "ACCOUNT_SUSPENDED" {
			t.Errorf("%s: %v, want ACCOUNT_SUSPENDED", name, err)
		}
	}
	if n := len(b.identities(t, u.ID)); n != 2 {
		t.Errorf("%d identities, want 2: nothing is linked to a suspended account", n)
	}
}

func TestTwoProvidersWithOneNewAddressMakeOneUser(t *testing.T) {
	for range 8 {
		b := newTown(t)
		b.provider.begin = func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) { return done(sAnn)(f, r) }
		var in, told atomic.Int32
		var both sync.WaitGroup
		for _, provider := range []string{"company", "stranger"} {
			both.Go(func() {
				_, err := b.Begin(context.Background(), login.Attempt{Provider: provider, Kind: sdk.FlowLogin, Form: "password"})
				switch {
				case err == nil:
					in.Add(1)
				case code(err) == sdk.CodeEmailExists:
					told.Add(1)
				default:
					t.Errorf("Begin() at %s = %v", provider, err)
				}
			})
		}
		both.Wait()
		// Whoever is second does not believe the first, or is not believed.
		if in.Load() != 1 || told.Load() != 1 {
			t.Errorf("%d logged in and %d were told to link, want one each", in.Load(), told.Load())
		}
	}
}

// What an older generation of a plugin says was configured before the trust was.
func TestAnswerOfOlderSettingsJoinsNothing(t *testing.T) {
	b := newTown(t)
	b.contest(t)
	b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		a, err := answer(sdk.Step{Done: &sdk.Done{Identity: verified(ann)}})
		a.Distrusted = true
		return a, err
	}
	_, err := b.Begin(t.Context(), login.Attempt{Provider: "company", Kind: sdk.FlowLogin, Form: "password"})
	if denied, ok := errors.AsType[*login.Denied](err); !ok || denied.Code != sdk.CodeEmailExists {
		t.Errorf("Begin() = %v, want %s", err, sdk.CodeEmailExists)
	}
	b.provider.begin = done(verified(ann))
	if _, err := b.Begin(t.Context(), login.Attempt{Provider: "company", Kind: sdk.FlowLogin, Form: "password"}); err != nil {
		t.Errorf("Begin() of an answer by the settings of now = %v", err)
	}
}
