package login_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/audit"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/sdk"
)

// joined is a bench with ann in it, who has an identity at email and one at company, each
// with a session.
func joined(t *testing.T) (b *bench, u account.User, mine, theirs login.LoggedIn) {
	t.Helper()
	b = newTown(t)
	u = b.register(t)
	for _, l := range []struct {
		provider string
		id       sdk.Identity
		into     *login.LoggedIn
	}{{"email", verified(ann), &mine}, {"company", sAnn, &theirs}} {
		out, err := b.comes(l.provider, l.id)
		if err != nil {
			t.Fatal(err)
		}
		*l.into = *out.LoggedIn
	}
	return b, u, mine, theirs
}

func caller(l login.LoggedIn) login.Caller {
	return login.Caller{UserID: l.User.ID, SessionID: l.Session.ID}
}

func TestAnIdentityThatIsUnlinkedTakesItsCredentialsAlong(t *testing.T) {
	b, u, mine, theirs := joined(t)
	other, err := b.comes("company", sAnn)
	if err != nil {
		t.Fatal(err)
	}
	password := b.identities(t, u.ID)[0]
	if err := b.Unlink(t.Context(), caller(theirs), password.ID, login.Client{IP: "192.0.2.9"}); err != nil {
		t.Fatal(err)
	}
	if all := b.identities(t, u.ID); len(all) != 1 || all[0].Provider != "company" {
		t.Errorf("identities = %+v, want the other one", all)
	}
	if e, _, err := b.store.KV(t.Context(), "email", "forgotten", *b.now.Load()); err != nil || string(e.Value) != ann.Subject {
		t.Errorf("the provider forgot %q, %v, want the subject", e.Value, err)
	}
	for name, s := range map[string]struct {
		id   string
		ends bool
	}{"of the identity": {mine.Session.ID, true}, "another": {other.LoggedIn.Session.ID, true}, "the caller's": {theirs.Session.ID, false}} {
		if got := b.sessions.Revoked(s.id); got != s.ends {
			t.Errorf("the session %s ended: %t, want %t", name, got, s.ends)
		}
	}
	events := b.events(t, u.ID)
	last := events[len(events)-1]
	if last.Action != audit.IdentityUnlinked || last.Details["provider"] != "email" || last.Details["identity"] != password.ID || last.Details["ip"] != "192.0.2.9" || last.ActorID != u.ID {
		t.Errorf("audit = %+v, want the unlinking", last)
	}
	// Undone is not forgotten forever: who is trusted joins again.
	if _, err := b.comes("company", sAnn); err != nil {
		t.Errorf("Begin() by the identity that is left = %v", err)
	}
}

func TestTheSessionThatBeganWithAnIdentityEndsWithIt(t *testing.T) {
	b, u, mine, theirs := joined(t)
	company := b.identities(t, u.ID)[1]
	if err := b.Unlink(t.Context(), caller(theirs), company.ID, login.Client{}); err != nil {
		t.Fatal(err)
	}
	if !b.sessions.Revoked(theirs.Session.ID) || !b.sessions.Revoked(mine.Session.ID) {
		t.Error("a session lives on: the caller's began with the identity, and the other is not the caller's")
	}
}

func TestTheLastIdentityCannotBeUnlinked(t *testing.T) {
	b := newTown(t)
	u := b.register(t)
	only := b.identities(t, u.ID)[0]
	if err := b.Unlink(t.Context(), login.Caller{UserID: u.ID}, only.ID, login.Client{}); !errors.Is(err, login.ErrLast) {
		t.Errorf("Unlink() of the only identity = %v, want ErrLast", err)
	}

	b, u, mine, _ := joined(t)
	var gone, last atomic.Int32
	var both sync.WaitGroup
	for _, i := range b.identities(t, u.ID) {
		both.Go(func() {
			switch err := b.Unlink(context.Background(), caller(mine), i.ID, login.Client{}); {
			case err == nil:
				gone.Add(1)
			case errors.Is(err, login.ErrLast):
				last.Add(1)
			default:
				t.Errorf("Unlink() = %v", err)
			}
		})
	}
	both.Wait()
	if gone.Load() != 1 || last.Load() != 1 || len(b.identities(t, u.ID)) != 1 {
		t.Errorf("%d were unlinked and %d refused, want one each", gone.Load(), last.Load())
	}
}

func TestNobodyUnlinksForOthers(t *testing.T) {
	b, u, mine, _ := joined(t)
	bob, err := b.comes("stranger", verified(sdk.Identity{Subject: "s-bob", Email: "bob@example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{b.identities(t, bob.LoggedIn.User.ID)[0].ID, account.NewID(), "", "me"} {
		if err := b.Unlink(t.Context(), caller(mine), id, login.Client{}); !errors.Is(err, login.ErrNoIdentity) {
			t.Errorf("Unlink(%q) = %v, want ErrNoIdentity", id, err)
		}
	}
	b.provider.forget = func(string, sdk.Flow) (plugin.Answer, error) { return plugin.Answer{}, errors.New("away") }
	if err := b.Unlink(t.Context(), caller(mine), b.identities(t, u.ID)[0].ID, login.Client{}); err == nil {
		t.Error("Unlink() while the provider cannot forget = nil, want its error")
	}
	if n := len(b.identities(t, u.ID)); n != 2 {
		t.Errorf("%d identities, want 2", n)
	}
}
