package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/audit"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/sdk"
)

// linked puts n identities of a user in.
func linked(t testing.TB, s *store.Store, u account.User, n int) []account.Identity {
	t.Helper()
	var all []account.Identity
	for range n {
		i := newIdentity(u)
		commit(t, s, login.Commit{NewIdentity: &i})
		all = append(all, i)
	}
	return all
}

func unlinkCounts(t *testing.T, e Engine) {
	s := fresh(t, e)
	ann, bob := activeUser(t, s), activeUser(t, s)
	hers, his := linked(t, s, ann, 3), linked(t, s, bob, 1)
	for name, u := range map[string]login.Unlink{
		"somebody else's": {UserID: ann.ID, IDs: []string{his[0].ID}, Rest: 3},
		"nobody's":        {UserID: ann.ID, IDs: []string{account.NewID()}, Rest: 3},
		"twice":           {UserID: ann.ID, IDs: []string{hers[0].ID, hers[0].ID}, Rest: 2},
		"more are left":   {UserID: ann.ID, IDs: []string{hers[0].ID}, Rest: 1},
		"fewer are left":  {UserID: ann.ID, IDs: []string{hers[0].ID}, Rest: 3},
	} {
		if _, err := s.Commit(t.Context(), login.Commit{Now: epoch, Unlink: &u}); !errors.Is(err, login.ErrChanged) {
			t.Errorf("%s: Commit() = %v, want ErrChanged", name, err)
		}
	}
	if _, err := s.Commit(t.Context(), login.Commit{Now: epoch, Unlink: &login.Unlink{UserID: ann.ID, IDs: []string{"no id"}}}); err == nil {
		t.Error("Commit() with an identity that is none = nil")
	}
	if all, err := s.IdentitiesOf(t.Context(), ann.ID); err != nil || len(all) != 3 {
		t.Fatalf("IdentitiesOf() = %d, %v, want 3", len(all), err)
	}
	// A session outlives its identity, unless somebody ends it.
	v := newSession(ann.ID)
	v.IdentityID = hers[0].ID
	commit(t, s, login.Commit{NewSession: &v})
	next := newIdentity(ann)
	commit(t, s, login.Commit{
		Unlink:      &login.Unlink{UserID: ann.ID, IDs: []string{hers[0].ID, hers[1].ID, hers[2].ID}, Rest: 0},
		NewIdentity: &next,
	})
	all, err := s.IdentitiesOf(t.Context(), ann.ID)
	if d := cmp.Diff([]account.Identity{next}, all); err != nil || d != "" {
		t.Errorf("IdentitiesOf() = %v (-want +got):\n%s", err, d)
	}
	v.IdentityID = ""
	got, err := s.Session(t.Context(), v.ID)
	if d := cmp.Diff(v, got); err != nil || d != "" {
		t.Errorf("Session() = %v (-want +got):\n%s", err, d)
	}
}

func unlinkRace(t *testing.T, e Engine) {
	s, where := freshAt(t, e)
	stores := []*store.Store{s, open(t, e, where)}
	for range 8 {
		ann := activeUser(t, s)
		two := linked(t, s, ann, 2)
		errs := atOnce(2, func(i int) error {
			_, err := stores[i].Commit(t.Context(), login.Commit{Now: epoch, Unlink: &login.Unlink{UserID: ann.ID, IDs: []string{two[i].ID}, Rest: 1}})
			return err
		})
		if good, refused := tally(t, errs, login.ErrChanged); good != 1 || refused != 1 {
			t.Errorf("%d were unlinked and %d refused, want one each", good, refused)
		}
	}
}

func endFlowsOfEveryKind(t *testing.T, e Engine) {
	s := fresh(t, e)
	ann, bob := activeUser(t, s), activeUser(t, s)
	var hers []login.Flow
	for _, kind := range []sdk.FlowKind{sdk.FlowVerify, sdk.FlowRecover, sdk.FlowRegister, sdk.FlowLogin, sdk.FlowLink} {
		f := newFlow(ann.ID)
		f.Kind = kind
		commit(t, s, login.Commit{NewFlow: &f})
		hers = append(hers, f)
	}
	his, next := newFlow(bob.ID), newFlow(ann.ID)
	commit(t, s, login.Commit{NewFlow: &his})
	commit(t, s, login.Commit{EndFlows: &login.EndFlows{UserID: ann.ID}, NewFlow: &next})
	for _, f := range hers {
		if _, err := s.Flow(t.Context(), f.Hash, epoch); !errors.Is(err, login.ErrSpent) {
			t.Errorf("%s: Flow() = %v, want ErrSpent", f.Kind, err)
		}
	}
	for _, f := range []login.Flow{his, next} {
		if _, err := s.Flow(t.Context(), f.Hash, epoch); err != nil {
			t.Errorf("Flow() of another, or a later one = %v", err)
		}
	}
}

func auditRoundTrip(t *testing.T, e Engine) {
	s := fresh(t, e)
	ann, bob := activeUser(t, s), activeUser(t, s)
	first := audit.Event{
		At: epoch, Action: audit.IdentityLinked, UserID: ann.ID, ActorID: bob.ID,
		Details: map[string]string{"provider": "corp", "issuer": `https://id.example/"ü"`},
	}
	second := audit.Event{At: epoch.Add(time.Microsecond), Action: audit.AccountTakenOver, UserID: ann.ID, Details: map[string]string{}}
	commit(t, s, login.Commit{Audit: []audit.Event{second, first}})
	got, err := s.AuditOf(t.Context(), ann.ID)
	if d := cmp.Diff([]audit.Event{first, second}, got); err != nil || d != "" {
		t.Errorf("AuditOf() = %v (-want +got):\n%s", err, d)
	}
	for _, id := range []string{bob.ID, account.NewID(), "no id"} {
		if got, err := s.AuditOf(t.Context(), id); err != nil || len(got) != 0 {
			t.Errorf("AuditOf(%s) = %v, %v, want none", id, got, err)
		}
	}
	bad := first
	bad.Details = map[string]string{"ip": "a\x00b"}
	if _, err := s.Commit(t.Context(), login.Commit{Now: epoch, Audit: []audit.Event{bad}}); !errors.Is(err, store.ErrText) {
		t.Errorf("Commit() with a NUL = %v, want ErrText", err)
	}
	_, err = s.Commit(t.Context(), login.Commit{Now: epoch, Audit: []audit.Event{first}, TouchIdentity: account.NewID()})
	if got, _ := s.AuditOf(t.Context(), ann.ID); err == nil || len(got) != 2 {
		t.Errorf("Commit() that fails = %v and leaves %d events, want 2", err, len(got))
	}
}

func tokensRoundTrip(t *testing.T, e Engine) {
	s := fresh(t, e)
	ann := activeUser(t, s)
	kept := func(id string) string {
		t.Helper()
		got, err := s.Tokens(t.Context(), id)
		if err != nil {
			t.Errorf("Tokens() = %v", err)
		}
		return string(got)
	}
	with, without := newIdentity(ann), newIdentity(ann)
	commit(t, s, login.Commit{NewIdentity: &with, KeepTokens: new([]byte("one\x00"))})
	commit(t, s, login.Commit{NewIdentity: &without})
	if got := kept(with.ID) + "|" + kept(without.ID); got != "one\x00|" {
		t.Errorf("Tokens() = %q", got)
	}
	commit(t, s, login.Commit{TouchIdentity: with.ID})
	if got := kept(with.ID); got != "one\x00" {
		t.Errorf("Tokens() after a login that does not speak of them = %q", got)
	}
	commit(t, s, login.Commit{TouchIdentity: with.ID, KeepTokens: new([]byte("two"))})
	commit(t, s, login.Commit{TouchIdentity: without.ID, KeepTokens: new([]byte("three"))})
	if got := kept(with.ID) + "|" + kept(without.ID); got != "two|three" {
		t.Errorf("Tokens() = %q", got)
	}
	commit(t, s, login.Commit{TouchIdentity: with.ID, KeepTokens: new([]byte(nil))})
	if got, err := s.Tokens(t.Context(), with.ID); err != nil || got != nil {
		t.Errorf("Tokens() once removed = %q, %v", got, err)
	}
	for _, id := range []string{account.NewID(), "no id", ""} {
		if _, err := s.Tokens(t.Context(), id); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("Tokens(%q) = %v, want ErrNotFound", id, err)
		}
	}
}

// forgetIsNotAnEntryOfTheLogin tells the writes of the provider that answered from those of
// others: only the former make its answer void.
func forgetIsNotAnEntryOfTheLogin(t *testing.T, e Engine) {
	s := fresh(t, e)
	lost := []plugin.Write{{Provider: "email", Key: "k", Checked: true, IfVersion: 7, Value: []byte("v")}}
	_, err := s.Commit(t.Context(), login.Commit{Now: epoch, Forget: lost})
	if !errors.Is(err, login.ErrChanged) || errors.Is(err, login.ErrEntryChanged) {
		t.Errorf("Commit() of what is forgotten = %v, want ErrChanged", err)
	}
	if _, err := s.Commit(t.Context(), login.Commit{Now: epoch, Writes: lost}); !errors.Is(err, login.ErrEntryChanged) {
		t.Errorf("Commit() of a write = %v, want ErrEntryChanged", err)
	}
	commit(t, s, login.Commit{
		Writes: []plugin.Write{{Provider: "corp", Key: "k", Value: []byte("1")}},
		Forget: []plugin.Write{{Provider: "email", Key: "k", Value: []byte("2")}},
	})
	for provider, want := range map[string]string{"corp": "1", "email": "2"} {
		if got, found := entry(t, s, provider, "k", epoch); !found || string(got.Value) != want {
			t.Errorf("entry of %s = %q, want %q", provider, got.Value, want)
		}
	}
}
