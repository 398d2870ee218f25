package login_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/sdk"
)

const (
	callback = "https://api.example.com/auth/oauth/corp/callback"
	appPage  = "https://app.example.com/in"
	verifier = "a-verifier-of-forty-three-characters-or-mor"
)

var logins = []sdk.FlowKind{sdk.FlowLogin, sdk.FlowLink}

// leaving is an attempt that goes to another site, in one browser.
func leaving(browser string, back *login.Return) login.Attempt {
	return login.Attempt{
		Provider: "corp", Kind: sdk.FlowLogin, Form: login.FormRedirect,
		Away: &login.Away{Callback: callback, Browser: browser, Return: back},
	}
}

// toPage is the way back to a page that knows verifier.
func toPage() *login.Return {
	sum := sha256.Sum256([]byte(verifier))
	return &login.Return{URI: appPage, Challenge: base64.RawURLEncoding.EncodeToString(sum[:])}
}

// leave begins a flow and returns what the provider was told.
func (b *bench) depart(t *testing.T, a login.Attempt) sdk.Flow {
	t.Helper()
	var told sdk.Flow
	b.provider.begin = func(f sdk.Flow, _ sdk.Request) (plugin.Answer, error) {
		told = f
		return answer(sdk.Step{Redirect: &sdk.Redirect{URL: "https://idp.example/?state=" + f.State}, Save: []byte("saved")})
	}
	out, err := b.Begin(t.Context(), a)
	if err != nil || out.Leave == nil || out.Leave.URL != "https://idp.example/?state="+told.State {
		t.Fatalf("Begin() = %+v, %v, want the way to the other site", out, err)
	}
	return told
}

func (b *bench) back(t *testing.T, state, browser string) (login.Outcome, error) {
	t.Helper()
	return b.Arrive(t.Context(), state, browser, logins, login.Attempt{Provider: "corp"})
}

// code goes all the way to a page's one-time code.
func (b *bench) code(t *testing.T, id sdk.Identity) string {
	t.Helper()
	told := b.depart(t, leaving("browser", toPage()))
	b.provider.next = done(id)
	out, err := b.back(t, told.State, "browser")
	if err != nil || out.Code == "" {
		t.Fatalf("Arrive() = %+v, %v, want a code", out, err)
	}
	return out.Code
}

func TestAFlowComesBackAsItLeft(t *testing.T) {
	b := newBench(t)
	told := b.depart(t, leaving("browser", nil))
	sum := sha256.Sum256([]byte(told.PKCEVerifier))
	if told.PKCEChallenge != base64.RawURLEncoding.EncodeToString(sum[:]) || len(told.PKCEVerifier) != 43 || len(told.Nonce) != 43 || len(told.State) != 43 {
		t.Errorf("the provider was told %+v", told)
	}
	if told.State == told.Nonce || told.Nonce == told.PKCEVerifier {
		t.Error("one secret serves two purposes")
	}
	var again sdk.Flow
	b.provider.next = func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
		again = f
		return done(verified(ann))(f, r)
	}
	out, err := b.back(t, told.State, "browser")
	if err != nil || out.LoggedIn == nil || out.Return != nil {
		t.Fatalf("Arrive() = %+v, %v, want a session", out, err)
	}
	want := told
	want.Saved = []byte("saved")
	if d := cmp.Diff(want, again); d != "" {
		t.Errorf("the flow that came back (-left +came):\n%s", d)
	}
	if out.LoggedIn.Session.IdentityID == "" {
		t.Error("the session does not know its identity")
	}
}

func TestAFlowThatIsBackIsSpentWhateverTheProviderSays(t *testing.T) {
	failed := &sdk.Error{Code: sdk.CodeProviderError}
	for name, next := range map[string]func(sdk.Flow, sdk.Request) (plugin.Answer, error){
		"denied": func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
			return answer(sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeOAuthCode}})
		},
		"failed": func(sdk.Flow, sdk.Request) (plugin.Answer, error) { return plugin.Answer{}, failed },
		"unsupported": func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
			return answer(sdk.Step{Redirect: &sdk.Redirect{URL: "https://idp.example"}})
		},
	} {
		b := newBench(t)
		told := b.depart(t, leaving("browser", toPage()))
		calls := 0
		b.provider.next = func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) { calls++; return next(f, r) }
		out, err := b.back(t, told.State, "browser")
		if err == nil || out.Return == nil || out.Return.URI != appPage {
			t.Errorf("%s: Arrive() = %+v, %v, want an error for the page", name, out, err)
		}
		if out, err := b.back(t, told.State, "browser"); !errors.Is(err, login.ErrSpent) || out.Return != nil {
			t.Errorf("%s: Arrive() again = %+v, %v, want ErrSpent and nothing of the page", name, out, err)
		}
		if calls != 1 {
			t.Errorf("%s: the provider was asked %d times", name, calls)
		}
	}
}

func TestAFlowIsLeftAloneByWhoDidNotBeginIt(t *testing.T) {
	b := newBench(t)
	told := b.depart(t, leaving("browser", toPage()))
	b.provider.next = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		t.Error("the provider was asked")
		return plugin.Answer{}, nil
	}
	at := login.Attempt{Provider: "corp"}
	for name, try := range map[string]func() (login.Outcome, error){
		"another browser": func() (login.Outcome, error) { return b.Arrive(t.Context(), told.State, "other", logins, at) },
		"no browser":      func() (login.Outcome, error) { return b.Arrive(t.Context(), told.State, "", logins, at) },
		"another provider": func() (login.Outcome, error) {
			return b.Arrive(t.Context(), told.State, "browser", logins, login.Attempt{Provider: "other"})
		},
		"another purpose": func() (login.Outcome, error) {
			return b.Arrive(t.Context(), told.State, "browser", []sdk.FlowKind{sdk.FlowLogout}, at)
		},
		"the nonce":        func() (login.Outcome, error) { return b.Arrive(t.Context(), told.Nonce, "browser", logins, at) },
		"as a mailed link": func() (login.Outcome, error) { return b.Continue(t.Context(), told.State, logins, at) },
		"as a code":        func() (login.Outcome, error) { return b.Exchange(t.Context(), told.State, verifier, at) },
		"as a link": func() (login.Outcome, error) {
			a := leaving("browser", nil)
			a.Away.Link = told.State
			return b.Begin(t.Context(), a)
		},
	} {
		if out, err := try(); !errors.Is(err, login.ErrSpent) || !cmp.Equal(out, login.Outcome{}) {
			t.Errorf("%s: %+v, %v, want ErrSpent", name, out, err)
		}
	}
	b.advance(10*time.Minute - time.Second)
	b.provider.next = done(verified(ann))
	if out, err := b.back(t, told.State, "browser"); err != nil || out.Code == "" {
		t.Errorf("Arrive() in time = %+v, %v, want a code", out, err)
	}
}

func TestAFlowThatStaysAwayExpires(t *testing.T) {
	b := newBench(t)
	told := b.depart(t, leaving("browser", nil))
	b.advance(10 * time.Minute)
	if _, err := b.back(t, told.State, "browser"); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Arrive() after 10 minutes = %v, want ErrSpent", err)
	}
}

func TestAProviderIsAskedOnceUnder64ParallelCallbacks(t *testing.T) {
	b := newBench(t)
	told := b.depart(t, leaving("browser", nil))
	var asked, won, spent atomic.Int32
	b.provider.next = func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
		asked.Add(1)
		return done(verified(ann))(f, r)
	}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			switch _, err := b.Arrive(context.Background(), told.State, "browser", logins, login.Attempt{Provider: "corp"}); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, login.ErrSpent):
				spent.Add(1)
			default:
				t.Errorf("Arrive() = %v", err)
			}
		})
	}
	all.Wait()
	if asked.Load() != 1 || won.Load() != 1 || spent.Load() != 63 {
		t.Errorf("asked %d times, %d logins, %d late, want 1, 1 and 63", asked.Load(), won.Load(), spent.Load())
	}
	if living, err := b.store.SessionsOf(t.Context(), userID(t, b), *b.now.Load()); err != nil || len(living) != 1 {
		t.Errorf("%d sessions, %v, want 1", len(living), err)
	}
}

// losing lets the first commits after the flow was spent fail.
type losing struct {
	login.Store
	err  error
	left int
}

func (s *losing) Commit(ctx context.Context, c login.Commit) ([]string, error) {
	if c.NewFlow == nil && c.NewSession != nil && s.left > 0 {
		s.left--
		return nil, s.err
	}
	return s.Store.Commit(ctx, c)
}

// What came from the other site can be redeemed there once: an answer whose commit was lost
// is settled again, and the provider is asked anew only where its own entries say so.
func TestALostCommitDoesNotAskTheProviderAgain(t *testing.T) {
	for _, tt := range []struct {
		err   error
		asked int
	}{{login.ErrChanged, 1}, {account.ErrConflict, 1}, {login.ErrEntryChanged, 3}} {
		b := newBench(t)
		b.register(t)
		l := b.on(t, &losing{b.store, tt.err, 2})
		told := b.depart(t, leaving("browser", nil))
		asked := 0
		b.provider.next = func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
			asked++
			id := verified(ann)
			id.Subject, id.Email = "s-bob", "bob@example.com"
			return done(id)(f, r)
		}
		out, err := l.Arrive(t.Context(), told.State, "browser", logins, login.Attempt{Provider: "corp"})
		if err != nil || out.LoggedIn == nil || asked != tt.asked {
			t.Errorf("%v: Arrive() = %+v, %v; the provider was asked %d times, want %d", tt.err, out, err, asked, tt.asked)
		}
	}
}

func TestACodeIsTradedOnceUnder64ParallelTries(t *testing.T) {
	b := newBench(t)
	code := b.code(t, verified(ann))
	if living, err := b.store.SessionsOf(t.Context(), userID(t, b), *b.now.Load()); err != nil || len(living) != 0 {
		t.Errorf("%d sessions, %v, before the code is traded", len(living), err)
	}
	var won, spent atomic.Int32
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			switch _, err := b.Exchange(context.Background(), code, verifier, login.Attempt{}); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, login.ErrSpent):
				spent.Add(1)
			default:
				t.Errorf("Exchange() = %v", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || spent.Load() != 63 {
		t.Errorf("%d exchanges, %d late, want 1 and 63", won.Load(), spent.Load())
	}
	if living, err := b.store.SessionsOf(t.Context(), userID(t, b), *b.now.Load()); err != nil || len(living) != 1 {
		t.Errorf("%d sessions, %v, want 1", len(living), err)
	}
}

func TestAWrongVerifierSpendsTheCode(t *testing.T) {
	b := newBench(t)
	for _, wrong := range []string{"", "x", strings.Repeat("a", 43), verifier[:42], verifier + "x", verifier + "/", toPage().Challenge} {
		code := b.code(t, verified(ann))
		if _, err := b.Exchange(t.Context(), code, wrong, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Exchange(%q) = %v, want ErrSpent", wrong, err)
		}
		if _, err := b.Exchange(t.Context(), code, verifier, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Exchange() after a wrong verifier = %v, want ErrSpent", err)
		}
	}
}

func TestACodeExpires(t *testing.T) {
	b := newBench(t)
	code := b.code(t, verified(ann))
	b.advance(59 * time.Second)
	if _, err := b.Exchange(t.Context(), code, verifier, login.Attempt{}); err != nil {
		t.Errorf("Exchange() after 59 s = %v", err)
	}
	code = b.code(t, verified(ann))
	b.advance(time.Minute)
	if _, err := b.Exchange(t.Context(), code, verifier, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Exchange() after a minute = %v, want ErrSpent", err)
	}
}

func TestOnlyWhoIsStillAdmittedGetsTheSession(t *testing.T) {
	b := newBench(t)
	code := b.code(t, verified(ann))
	_, err := b.store.Commit(t.Context(), login.Commit{Now: *b.now.Load(), UpdateUser: &login.UserUpdate{
		ID: userID(t, b), Expect: account.Active, Status: account.Suspended, Verified: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Exchange(t.Context(), code, verifier, login.Attempt{}); denial(err) != login.CodeSuspended {
		t.Errorf("Exchange() = %v, want ACCOUNT_SUSPENDED", err)
	}
}

func denial(err error) string {
	if denied, ok := errors.AsType[*login.Denied](err); ok {
		return denied.Code
	}
	return ""
}

// linkCode goes all the way to the code of a link.
func (b *bench) linkCode(t *testing.T, caller login.Caller, id sdk.Identity) string {
	t.Helper()
	token, err := b.StartLink(t.Context(), "corp", caller, *toPage())
	if err != nil {
		t.Fatal(err)
	}
	a := leaving("browser", nil)
	a.Away.Link = token
	told := b.depart(t, a)
	if told.Kind != sdk.FlowLink {
		t.Errorf("the flow is a %s", told.Kind)
	}
	if _, err := b.Begin(t.Context(), a); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Begin() with a token that was used = %v, want ErrSpent", err)
	}
	b.provider.next = done(id)
	out, err := b.back(t, told.State, "browser")
	if err != nil || out.Code == "" || out.Return == nil || out.Return.URI != appPage {
		t.Fatalf("Arrive() = %+v, %v, want a code for the page", out, err)
	}
	return out.Code
}

func TestALinkNeedsTheSessionThatBeganIt(t *testing.T) {
	b := newBench(t)
	ann := b.register(t)
	mine := login.Caller{UserID: ann.ID, SessionID: account.NewID()}
	corp := sdk.Identity{Issuer: "https://idp.example", Subject: "corp-ann", Email: "ann@corp.example"}
	for name, other := range map[string]login.Caller{
		"another session": {UserID: ann.ID, SessionID: account.NewID()},
		"another user":    {UserID: account.NewID(), SessionID: mine.SessionID},
	} {
		code := b.linkCode(t, mine, corp)
		if _, err := b.Exchange(t.Context(), code, verifier, login.Attempt{Caller: &other}); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Exchange() by %s = %v, want ErrSpent", name, err)
		}
		if _, err := b.Exchange(t.Context(), code, verifier, login.Attempt{Caller: &mine}); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Exchange() after %s = %v, want ErrSpent", name, err)
		}
	}
	if ids, err := b.store.IdentitiesOf(t.Context(), ann.ID); err != nil || len(ids) != 1 {
		t.Errorf("%d identities, %v, want the one of the registration", len(ids), err)
	}
	code := b.linkCode(t, mine, corp)
	if _, err := b.Exchange(t.Context(), code, verifier, login.Attempt{}); !errors.Is(err, login.ErrCaller) {
		t.Errorf("Exchange() by nobody = %v, want ErrCaller", err)
	}
	out, err := b.Exchange(t.Context(), code, verifier, login.Attempt{Caller: &mine})
	if err != nil || out.Linked == nil || out.LoggedIn != nil || out.Linked.Provider != "corp" || out.Linked.Email != "ann@corp.example" {
		t.Fatalf("Exchange() = %+v, %v, want a link", out, err)
	}
	user, linked, err := b.store.UserByIdentity(t.Context(), "corp", "https://idp.example", "corp-ann")
	if err != nil || user.ID != ann.ID || linked.ID != out.Linked.ID {
		t.Errorf("UserByIdentity() = %+v, %+v, %v", user, linked, err)
	}
	if u, err := b.store.User(t.Context(), ann.ID); err != nil || u.Email != ann.Email {
		t.Errorf("the link changed the user: %+v, %v", u, err)
	}
}

func TestALinkTokenExpiresAndIsOfOneProvider(t *testing.T) {
	b := newBench(t)
	u := b.register(t)
	b.provider.begin = nil // must not be asked
	token, err := b.StartLink(t.Context(), "corp", login.Caller{UserID: u.ID, SessionID: account.NewID()}, *toPage())
	if err != nil {
		t.Fatal(err)
	}
	a := leaving("browser", nil)
	a.Away.Link, a.Provider = token, "other"
	if _, err := b.Begin(t.Context(), a); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Begin() at another provider = %v, want ErrSpent", err)
	}
	a.Provider = "corp"
	b.advance(5 * time.Minute)
	if _, err := b.Begin(t.Context(), a); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Begin() after five minutes = %v, want ErrSpent", err)
	}
}

// saml is a provider that logs in and out.
func (b *bench) samlSession(t *testing.T, upstream string) login.LoggedIn {
	t.Helper()
	b.provider.begin = func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
		id := verified(ann)
		id.Issuer, id.Session = "https://idp.example", upstream
		return done(id)(f, r)
	}
	out, err := b.Begin(t.Context(), login.Attempt{Provider: "corp", Kind: sdk.FlowLogin, Form: login.FormUnsolicited})
	if err != nil {
		t.Fatal(err)
	}
	return *out.LoggedIn
}

func TestALogoutElsewhereEndsTheSessionsThatItNames(t *testing.T) {
	b := newBench(t)
	one, two := b.samlSession(t, "_1"), b.samlSession(t, "_2")
	tell := func(l sdk.Logout) login.Outcome {
		t.Helper()
		b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) { return answer(sdk.Step{Logout: &l}) }
		out, err := b.Begin(t.Context(), login.Attempt{Provider: "corp", Kind: sdk.FlowLogout, Form: login.FormLogout})
		if err != nil || !out.LoggedOut {
			t.Fatalf("Begin(logout) = %+v, %v", out, err)
		}
		return out
	}
	tell(sdk.Logout{Issuer: "https://other.example", Subject: ann.Subject})
	tell(sdk.Logout{Issuer: "https://idp.example", Subject: "s-bob"})
	tell(sdk.Logout{})
	if b.sessions.Revoked(one.Session.ID) || b.sessions.Revoked(two.Session.ID) {
		t.Error("a logout of somebody else ended a session")
	}
	out := tell(sdk.Logout{Issuer: "https://idp.example", Subject: ann.Subject, Sessions: []string{"_1"}, URL: "https://idp.example/done"})
	if out.Leave == nil || out.Leave.URL != "https://idp.example/done" {
		t.Errorf("the browser goes to %+v", out.Leave)
	}
	if !b.sessions.Revoked(one.Session.ID) || b.sessions.Revoked(two.Session.ID) {
		t.Error("the logout of one session did not end that one alone")
	}
	tell(sdk.Logout{Issuer: "https://idp.example", Subject: ann.Subject})
	if !b.sessions.Revoked(two.Session.ID) {
		t.Error("the logout of all sessions left one")
	}
}

func TestALogoutHereIsToldWhereTheSessionBegan(t *testing.T) {
	b := newBench(t)
	s := b.samlSession(t, "_1")
	caller := &login.Caller{UserID: s.User.ID, SessionID: s.Session.ID}
	var told sdk.Flow
	var issuer string
	b.provider.begin = func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
		told, issuer = f, r.Fields["issuer"]
		return answer(sdk.Step{Post: &sdk.Post{URL: "https://idp.example/slo", Fields: map[string]string{"RelayState": f.State}}, Save: []byte("saved")})
	}
	a := login.Attempt{Provider: "corp", Caller: caller, Away: &login.Away{Callback: callback}}
	out, err := b.Logout(t.Context(), a)
	if err != nil || out.Leave == nil || out.Leave.Fields["RelayState"] != told.State {
		t.Fatalf("Logout() = %+v, %v, want the way to the other site", out, err)
	}
	if told.Kind != sdk.FlowLogout || told.Subject != ann.Subject || told.Session != "_1" || issuer != "https://idp.example" {
		t.Errorf("the provider was told %+v of issuer %q", told, issuer)
	}
	b.provider.next = func(f sdk.Flow, _ sdk.Request) (plugin.Answer, error) {
		if f.Subject != ann.Subject || string(f.Saved) != "saved" {
			t.Errorf("the flow that came back is %+v", f)
		}
		return answer(sdk.Step{Logout: &sdk.Logout{}})
	}
	if _, err := b.back(t, told.State, "browser"); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Arrive() as a login = %v, want ErrSpent", err)
	}
	back := func() (login.Outcome, error) {
		return b.Arrive(t.Context(), told.State, "", []sdk.FlowKind{sdk.FlowLogout}, login.Attempt{Provider: "corp"})
	}
	if out, err := back(); err != nil || !out.LoggedOut {
		t.Errorf("Arrive() = %+v, %v, want logged out", out, err)
	}
	if _, err := back(); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Arrive() again = %v, want ErrSpent", err)
	}

	b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeSAMLNotConfigured}})
	}
	if out, err := b.Logout(t.Context(), a); err != nil || !out.LoggedOut || out.Leave != nil {
		t.Errorf("Logout() where there is none = %+v, %v, want it done", out, err)
	}
	b.provider.begin = nil // must not be asked
	a.Provider = "other"
	if out, err := b.Logout(t.Context(), a); err != nil || !out.LoggedOut || out.Leave != nil {
		t.Errorf("Logout() at another provider = %+v, %v, want it done", out, err)
	}
	a.Caller = &login.Caller{UserID: s.User.ID, SessionID: account.NewID()}
	if _, err := b.Logout(t.Context(), a); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("Logout() of no session = %v, want ErrInvalid", err)
	}
}

func TestALoginThatLeavesIsCountedWhenItIsBack(t *testing.T) {
	b := newBench(t, func(*config.Login) {})
	attempts := func() (n float64) {
		families, err := b.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "materi_auth_attempts_total" {
					n += m.GetCounter().GetValue()
				}
			}
		}
		return n
	}
	told := b.depart(t, leaving("browser", nil))
	if n := attempts(); n != 0 {
		t.Errorf("%v attempts were counted before the answer", n)
	}
	b.provider.next = done(verified(ann))
	if _, err := b.back(t, told.State, "browser"); err != nil {
		t.Fatal(err)
	}
	if n := attempts(); n != 1 {
		t.Errorf("%v attempts were counted, want 1", n)
	}
}

func FuzzExchange(f *testing.F) {
	f.Add("", "")
	f.Add(strings.Repeat("A", 43), verifier)
	f.Fuzz(func(t *testing.T, code, verifier string) {
		l := fuzzLogin(t, unknownFlows{})
		if _, err := l.Exchange(t.Context(), code, verifier, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Exchange(%q) = %v, want ErrSpent", code, err)
		}
		if _, err := l.Arrive(t.Context(), code, verifier, logins, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Arrive(%q) = %v, want ErrSpent", code, err)
		}
	})
}
