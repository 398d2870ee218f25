package login_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/mail"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/gateway/store/sqlite"
	"github.com/materi/shield/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider answers as its functions say.
type provider struct {
	begin  func(flow sdk.Flow, req sdk.Request) (plugin.Answer, error)
	next   func(flow sdk.Flow, req sdk.Request) (plugin.Answer, error)
	forget func(provider string, flow sdk.Flow) (plugin.Answer, error)
	infos  map[string]plugin.Info // what is configured; nil: any provider is, without more
}

func (p *provider) Begin(_ context.Context, name string, f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
	if f.Kind == sdk.FlowForget {
		return p.forget(name, f)
	}
	return p.begin(f, r)
}

func (p *provider) Info(name string) (plugin.Info, bool) {
	if p.infos == nil {
		return plugin.Info{Name: name, Manifest: sdk.Manifest{ID: name}}, true
	}
	info, ok := p.infos[name]
	return info, ok
}

func (p *provider) Continue(_ context.Context, _ string, f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
	return p.next(f, r)
}

func (p *provider) Kind(name string) string {
	if name == "google" || name == "corp" {
		return map[string]string{"google": login.KindOAuth, "corp": login.KindSAML}[name]
	}
	return "kind of " + name
}

// outbox seals like the real one, and keeps the links.
type outbox struct {
	*mail.Sender
	mu   sync.Mutex
	sent []mail.Message
}

func (o *outbox) Seal(m mail.Message) (mail.Queued, error) {
	o.mu.Lock()
	o.sent = append(o.sent, m)
	o.mu.Unlock()
	return o.Sender.Seal(m)
}

func (o *outbox) last(t *testing.T) mail.Message {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sent) == 0 {
		t.Fatal("no mail was queued")
	}
	return o.sent[len(o.sent)-1]
}

// full is a store that can be read, and written while its disk is not full.
type full struct {
	*store.Store
	disk atomic.Bool
}

func (f *full) Commit(ctx context.Context, c login.Commit) ([]string, error) {
	if f.disk.Load() {
		return nil, store.ErrUnavailable
	}
	return f.Store.Commit(ctx, c)
}

type bench struct {
	*login.Login
	full     full
	provider *provider
	outbox   *outbox
	store    *store.Store
	sessions *session.Keeper
	metrics  *prometheus.Registry
	now      atomic.Pointer[time.Time]
}

func newBench(t *testing.T, change ...func(*config.Login)) *bench {
	t.Helper()
	b := &bench{provider: &provider{}}
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	b.now.Store(&start)
	now := func() time.Time { return *b.now.Load() }
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	b.metrics = reg
	key, err := seal.NewKey(strings.Repeat("k", seal.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	b.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "shield.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.store.Close)
	if err := b.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	defaults := config.Default()
	b.sessions, err = session.New(session.Options{
		Store: b.store, Key: key, Config: defaults.Session, AccessTTL: 15 * time.Minute, Now: now, Log: log, Registerer: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	section := config.Mail{From: "Shield <no-reply@example.com>", Directory: t.TempDir(), Retry: time.Second, GiveUp: time.Hour}
	sender, err := mail.New(mail.Options{Config: section, Box: key.Box("mail"), Store: b.store, Now: now, Log: log, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	b.outbox = &outbox{Sender: sender}
	cfg := defaults.Login
	cfg.UniformDelay = 0
	for _, f := range change {
		f(&cfg)
	}
	b.full.Store = b.store
	b.Login, err = login.New(login.Options{
		Store: &b.full, Providers: b.provider, Sessions: b.sessions, Outbox: b.outbox, Key: key, Config: cfg,
		PublicURL: "https://api.example.com", Now: now, Log: log, Registerer: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) advance(d time.Duration) {
	then := b.now.Load().Add(d)
	b.now.Store(&then)
}

var ann = sdk.Identity{Subject: "s-ann", Email: "Ann@Example.com", Name: "Ann"}

func verified(id sdk.Identity) sdk.Identity {
	id.EmailVerified = true
	return id
}

func answer(s sdk.Step) (plugin.Answer, error) { return plugin.Answer{Step: s}, nil }

// verifyMail is the provider's answer to a registration.
func verifyMail(id sdk.Identity, save string) func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
	return func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Mail: &sdk.Mail{Template: mail.TemplateVerify, To: id.Email, Identity: &id}, Save: []byte(save)})
	}
}

func done(id sdk.Identity) func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
	return func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Done: &sdk.Done{Identity: id}})
	}
}

// register makes ann a user, verified, and returns her.
func (b *bench) register(t *testing.T) account.User {
	t.Helper()
	b.provider.begin, b.provider.next = verifyMail(ann, "saved"), done(verified(ann))
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	out, err := b.Continue(t.Context(), b.token(t), []sdk.FlowKind{sdk.FlowRegister}, login.Attempt{})
	if err != nil || !out.Verified {
		t.Fatalf("Continue() = %+v, %v, want verified", out, err)
	}
	return *out.User
}

func (b *bench) token(t *testing.T) string {
	t.Helper()
	link := b.outbox.last(t).Link
	return link[strings.LastIndexByte(link, '/')+1:]
}

func attempt(kind sdk.FlowKind, form string) login.Attempt {
	return login.Attempt{Provider: "email", Kind: kind, Form: form}
}

func code(err error) string {
	if denied, ok := errors.AsType[*login.Denied](err); ok {
		return denied.Code
	}
	return ""
}

func TestRegistrationMakesAnInactiveUserWhomTheLinkActivates(t *testing.T) {
	b := newBench(t)
	b.provider.begin = verifyMail(ann, "saved")
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	u, err := b.store.UserByEmail(t.Context(), "ann@example.com")
	if err != nil || u.Status != account.Pending || u.Verified {
		t.Fatalf("user after registering = %+v, %v, want a pending one", u, err)
	}
	var saved string
	b.provider.next = func(f sdk.Flow, _ sdk.Request) (plugin.Answer, error) {
		saved = string(f.Saved)
		return done(verified(ann))(f, sdk.Request{})
	}
	if _, err := b.Continue(t.Context(), b.token(t), []sdk.FlowKind{sdk.FlowRegister}, login.Attempt{}); err != nil {
		t.Fatal(err)
	}
	u, err = b.store.User(t.Context(), u.ID)
	if err != nil || u.Status != account.Active || !u.Verified || saved != "saved" {
		t.Errorf("user after the link = %+v, %v; saved %q", u, err, saved)
	}
}

func TestAProviderCannotCallAnAddressVerifiedBeforeTheLink(t *testing.T) {
	b := newBench(t)
	b.provider.begin = verifyMail(verified(ann), "")
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	if u, err := b.store.UserByEmail(t.Context(), "ann@example.com"); err != nil || u.Status != account.Pending || u.Verified {
		t.Errorf("user = %+v, %v, want pending and not verified", u, err)
	}
}

func TestALinkIsFollowedOnceUnder64ParallelTries(t *testing.T) {
	b := newBench(t)
	b.register(t)
	b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Mail: &sdk.Mail{Template: mail.TemplateMagicLink, To: ann.Email}})
	}
	b.provider.next = done(verified(ann))
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowLogin, login.FormMagicLink)); err != nil {
		t.Fatal(err)
	}
	token := b.token(t)
	var won, spent atomic.Int32
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			switch _, err := b.Continue(context.Background(), token, []sdk.FlowKind{sdk.FlowLogin}, login.Attempt{}); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, login.ErrSpent):
				spent.Add(1)
			default:
				t.Errorf("Continue() = %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || spent.Load() != 63 {
		t.Errorf("%d followed the link and %d were late, want 1 and 63", won.Load(), spent.Load())
	}
	living, err := b.store.SessionsOf(t.Context(), userID(t, b), *b.now.Load())
	if err != nil || len(living) != 1 {
		t.Errorf("%d sessions, %v, want 1", len(living), err)
	}
}

func userID(t *testing.T, b *bench) string {
	t.Helper()
	u, err := b.store.UserByEmail(t.Context(), "ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return u.ID
}

func TestATokenOfAnotherPurposeIsUnknown(t *testing.T) {
	b := newBench(t)
	b.provider.begin, b.provider.next = verifyMail(ann, ""), done(verified(ann))
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	for _, purposes := range [][]sdk.FlowKind{{sdk.FlowLogin}, {sdk.FlowRecover}, nil} {
		if _, err := b.Continue(t.Context(), b.token(t), purposes, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Continue(purposes %v) = %v, want ErrSpent", purposes, err)
		}
	}
}

func TestALinkExpires(t *testing.T) {
	b := newBench(t)
	b.provider.begin, b.provider.next = verifyMail(ann, ""), done(verified(ann))
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	b.advance(24*time.Hour + time.Second)
	if _, err := b.Continue(t.Context(), b.token(t), []sdk.FlowKind{sdk.FlowRegister}, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
		t.Errorf("Continue() after 24 h = %v, want ErrSpent", err)
	}
}

func TestATokenHasOneSpelling(t *testing.T) {
	b := newBench(t)
	b.provider.begin, b.provider.next = verifyMail(ann, ""), done(verified(ann))
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	token := b.token(t)
	last := token[len(token)-1]
	for _, other := range []string{token + "=", token + "A", token[:42], " " + token, token[:42] + string(last^1), strings.ToUpper(token), ""} {
		if other == token {
			continue
		}
		if _, err := b.Continue(t.Context(), other, []sdk.FlowKind{sdk.FlowRegister}, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Continue(%q) = %v, want ErrSpent", other, err)
		}
	}
}

func TestADenialLeavesTheLinkValidAndWritesNothing(t *testing.T) {
	b := newBench(t)
	b.provider.begin = verifyMail(ann, "")
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	b.provider.next = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return plugin.Answer{
			Step:   sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeWeakPassword}},
			Writes: []plugin.Write{{Provider: "email", Key: "k", Value: []byte("v")}},
		}, nil
	}
	if _, err := b.Continue(t.Context(), b.token(t), []sdk.FlowKind{sdk.FlowRegister}, login.Attempt{}); code(err) != sdk.CodeWeakPassword {
		t.Fatalf("Continue() = %v, want WEAK_PASSWORD", err)
	}
	if _, found, err := b.store.KV(t.Context(), "email", "k", *b.now.Load()); found || err != nil {
		t.Errorf("a denied call wrote an entry (%v)", err)
	}
	b.provider.next = done(verified(ann))
	if _, err := b.Continue(t.Context(), b.token(t), []sdk.FlowKind{sdk.FlowRegister}, login.Attempt{}); err != nil {
		t.Errorf("Continue() after the denial = %v, want success", err)
	}
}

func TestAnIdentityNeverJoinsAnAddressThatIsSomebodys(t *testing.T) {
	b := newBench(t)
	b.register(t)
	stranger := verified(sdk.Identity{Subject: "s-other", Email: "ann@example.com"})
	b.provider.begin = done(stranger)
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowLogin, "password")); code(err) != sdk.CodeEmailExists {
		t.Errorf("login with a strange identity of a known address = %v, want EMAIL_ALREADY_EXISTS", err)
	}
	b.provider.begin = func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
		a, _ := verifyMail(stranger, "")(f, r)
		a.Writes = []plugin.Write{{Provider: "email", Key: "addr", Value: []byte("the stranger's password")}}
		return a, nil
	}
	out, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password"))
	if err != nil || !out.Mailed || out.User != nil {
		t.Errorf("registering a known address = %+v, %v, want the answer of an unknown one", out, err)
	}
	if m := b.outbox.last(t); m.Template != mail.TemplateAccountExists || m.Link != "" {
		t.Errorf("the owner got %q with link %t, want account_exists without", m.Template, m.Link != "")
	}
	if _, found, _ := b.store.KV(t.Context(), "email", "addr", *b.now.Load()); found {
		t.Error("what the provider staged for the stranger was kept")
	}
}

func TestConflictModeTellsOfAKnownAddress(t *testing.T) {
	b := newBench(t, func(c *config.Login) { c.ExistingAccount = "conflict" })
	b.provider.begin = verifyMail(ann, "")
	out, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password"))
	if err != nil || out.User == nil || out.User.Email != "ann@example.com" {
		t.Errorf("Begin() = %+v, %v, want the user", out, err)
	}
	b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Mail: &sdk.Mail{Template: mail.TemplateAccountExists, To: ann.Email}})
	}
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); code(err) != sdk.CodeEmailExists {
		t.Errorf("Begin() for a known address = %v, want EMAIL_ALREADY_EXISTS", err)
	}
}

func TestAnswersThatMustNotTellAreAlikeForUnknownAddresses(t *testing.T) {
	for _, a := range []login.Attempt{
		attempt(sdk.FlowVerify, "resend"), attempt(sdk.FlowRecover, "password"), attempt(sdk.FlowLogin, login.FormMagicLink),
	} {
		b := newBench(t)
		b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
			return answer(sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}})
		}
		if out, err := b.Begin(t.Context(), a); err != nil || !out.Mailed || out.User != nil {
			t.Errorf("%s of an unknown address = %+v, %v, want mailed", a.Kind, out, err)
		}
		b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
			return answer(sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeInvalidEmail}})
		}
		if _, err := b.Begin(t.Context(), a); code(err) != sdk.CodeInvalidEmail {
			t.Errorf("%s of no address = %v, want INVALID_EMAIL_FORMAT", a.Kind, err)
		}
	}
}

func TestARegistrationThatLosesEveryRaceIsAnsweredLikeOneOfAKnownAddress(t *testing.T) {
	tries := 0
	lose := func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
		tries++
		a, err := verifyMail(ann, "")(f, r)
		a.Writes = []plugin.Write{{Provider: "email", Key: "addr", Checked: true, IfVersion: 1}} // never there
		return a, err
	}
	b := newBench(t)
	b.provider.begin = lose
	out, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password"))
	if err != nil || !out.Mailed || out.User != nil || tries < 2 {
		t.Errorf("Begin() = %+v, %v after %d tries, want the answer of a known address", out, err, tries)
	}
	b = newBench(t, func(c *config.Login) { c.ExistingAccount = "conflict" })
	b.provider.begin = lose
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); !errors.Is(err, login.ErrChanged) {
		t.Errorf("Begin() where answers may tell = %v, want %v", err, login.ErrChanged)
	}
}

func TestALoginByLinkIsCountedForItsProvider(t *testing.T) {
	b := newBench(t)
	b.register(t)
	b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Mail: &sdk.Mail{Template: mail.TemplateMagicLink, To: ann.Email}})
	}
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowLogin, login.FormMagicLink)); err != nil {
		t.Fatal(err)
	}
	b.provider.next = done(verified(ann))
	token := b.outbox.last(t).Link
	token = token[strings.LastIndex(token, "/")+1:]
	if _, err := b.Continue(t.Context(), token, []sdk.FlowKind{sdk.FlowLogin}, login.Attempt{}); err != nil {
		t.Fatal(err)
	}
	families, err := b.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "materi_auth_attempts_total" && m.GetLabel()[0].GetValue() != "kind of email" {
				t.Errorf("counted as %v", m.GetLabel())
			}
		}
	}
}

func TestADatabaseThatCannotBeWrittenDoesNotTellOfAddresses(t *testing.T) {
	b := newBench(t)
	b.register(t)
	b.full.disk.Store(true)
	known := func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Mail: &sdk.Mail{Template: mail.TemplateReset, To: ann.Email}})
	}
	unknown := func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}})
	}
	for name, f := range map[string]func(sdk.Flow, sdk.Request) (plugin.Answer, error){"known": known, "unknown": unknown} {
		b.provider.begin = f
		if _, err := b.Begin(t.Context(), attempt(sdk.FlowRecover, "password")); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Begin() for an address that is %s = %v, want %v", name, err, store.ErrUnavailable)
		}
	}
}

func TestUniformDelayHoldsAnswersBack(t *testing.T) {
	b := newBench(t, func(c *config.Login) { c.UniformDelay = time.Hour })
	b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = b.Begin(ctx, attempt(sdk.FlowRecover, "password"))
	}()
	select {
	case <-ended:
		t.Error("Begin() returned before the delay was over")
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	<-ended
}

func TestSuspendedUsersCannotLogIn(t *testing.T) {
	b := newBench(t)
	u := b.register(t)
	_, err := b.store.Commit(t.Context(), login.Commit{Now: *b.now.Load(), UpdateUser: &login.UserUpdate{
		ID: u.ID, Expect: account.Active, Status: account.Suspended, Verified: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.provider.begin = done(verified(ann))
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowLogin, "password")); code(err) != login.CodeSuspended {
		t.Errorf("login = %v, want ACCOUNT_SUSPENDED", err)
	}
}

func TestASuspensionBetweenReadingAndCommittingWins(t *testing.T) {
	b := newBench(t)
	u := b.register(t)
	calls := 0
	b.provider.begin = func(f sdk.Flow, r sdk.Request) (plugin.Answer, error) {
		calls++
		return done(verified(ann))(f, r)
	}
	racing := &raceStore{Store: b.store, before: sync.OnceFunc(func() {
		_, err := b.store.Commit(context.Background(), login.Commit{Now: *b.now.Load(), UpdateUser: &login.UserUpdate{
			ID: u.ID, Expect: account.Active, Status: account.Suspended, Verified: true,
		}})
		if err != nil {
			t.Error(err)
		}
	})}
	l := b.on(t, racing)
	if _, err := l.Begin(t.Context(), attempt(sdk.FlowLogin, "password")); code(err) != login.CodeSuspended {
		t.Errorf("login = %v, want ACCOUNT_SUSPENDED", err)
	}
	if calls != 2 {
		t.Errorf("the provider was called %d times, want 2: once for each state of the user", calls)
	}
}

// raceStore does something right before the first commit.
type raceStore struct {
	login.Store
	before func()
}

func (s *raceStore) Commit(ctx context.Context, c login.Commit) ([]string, error) {
	s.before()
	return s.Store.Commit(ctx, c)
}

// on returns a Login like the bench's on another store.
func (b *bench) on(t *testing.T, s login.Store) *login.Login {
	t.Helper()
	key, err := seal.NewKey(strings.Repeat("k", seal.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	l, err := login.New(login.Options{
		Store: s, Providers: b.provider, Sessions: b.sessions, Outbox: b.outbox, Key: key, Config: config.Default().Login,
		PublicURL: "https://api.example.com", Now: func() time.Time { return *b.now.Load() },
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestChangedCredentialsEndTheOtherSessions(t *testing.T) {
	b := newBench(t)
	u := b.register(t)
	b.provider.begin = done(verified(ann))
	var sessions []session.Session
	for range 3 {
		out, err := b.Begin(t.Context(), attempt(sdk.FlowLogin, "password"))
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, out.LoggedIn.Session)
	}
	b.provider.begin = func(f sdk.Flow, _ sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Changed: &sdk.Changed{Subject: f.Subject}})
	}
	change := attempt(sdk.FlowChange, "password")
	change.Caller = &login.Caller{UserID: u.ID, SessionID: sessions[1].ID}
	if out, err := b.Begin(t.Context(), change); err != nil || !out.Changed {
		t.Fatalf("Begin(change) = %+v, %v", out, err)
	}
	for i, s := range sessions {
		if got, want := b.sessions.Revoked(s.ID), i != 1; got != want {
			t.Errorf("session %d revoked: %t, want %t", i, got, want)
		}
	}
	if m := b.outbox.last(t); m.Template != mail.TemplatePasswordChanged {
		t.Errorf("the owner got %q, want password_changed", m.Template)
	}
}

func TestAProviderCannotChangeAnotherSubjectThanAsked(t *testing.T) {
	b := newBench(t)
	ann := b.register(t)
	bob := sdk.Identity{Subject: "s-bob", Email: "bob@example.com", EmailVerified: true}
	b.provider.begin = done(bob)
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowLogin, "password")); err != nil {
		t.Fatal(err)
	}
	b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return answer(sdk.Step{Changed: &sdk.Changed{Subject: bob.Subject}})
	}
	change := attempt(sdk.FlowChange, "password")
	change.Caller = &login.Caller{UserID: ann.ID}
	if _, err := b.Begin(t.Context(), change); !errors.Is(err, login.ErrUnsupported) {
		t.Errorf("Begin(change) = %v, want ErrUnsupported", err)
	}
}

func TestStepsThatAFlowCannotTakeAreRefused(t *testing.T) {
	steps := map[string]sdk.Step{
		"nothing":                {},
		"redirect":               {Redirect: &sdk.Redirect{URL: "https://example.com"}},
		"prompt":                 {Prompt: &sdk.Prompt{}},
		"unknown template":       {Mail: &sdk.Mail{Template: "lottery", To: "ann@example.com"}},
		"done in a registration": {Done: &sdk.Done{Identity: verified(ann)}},
		"changed in a login":     {Changed: &sdk.Changed{Subject: "s-ann"}},
	}
	kinds := map[string]sdk.FlowKind{"done in a registration": sdk.FlowRecover}
	b := newBench(t)
	b.register(t)
	for name, step := range steps {
		kind, ok := kinds[name]
		if !ok {
			kind = sdk.FlowLogin
		}
		b.provider.begin = func(sdk.Flow, sdk.Request) (plugin.Answer, error) { return answer(step) }
		if _, err := b.Begin(t.Context(), attempt(kind, "password")); !errors.Is(err, login.ErrUnsupported) {
			t.Errorf("%s: Begin() = %v, want ErrUnsupported", name, err)
		}
	}
}

func FuzzContinueToken(f *testing.F) {
	f.Add("")
	f.Add(strings.Repeat("A", 43))
	f.Add(strings.Repeat("/", 43))
	store := unknownFlows{}
	f.Fuzz(func(t *testing.T, token string) {
		l := fuzzLogin(t, store)
		if _, err := l.Continue(t.Context(), token, []sdk.FlowKind{sdk.FlowLogin}, login.Attempt{}); !errors.Is(err, login.ErrSpent) {
			t.Errorf("Continue(%q) = %v, want ErrSpent", token, err)
		}
	})
}

// unknownFlows knows no flow, and demands that it is asked by a whole hash.
type unknownFlows struct{ login.Store }

func (unknownFlows) Flow(_ context.Context, hash []byte, _ time.Time) (login.Flow, error) {
	if len(hash) != 32 {
		return login.Flow{}, errors.New("not a SHA-256")
	}
	return login.Flow{}, login.ErrSpent
}

func fuzzLogin(t *testing.T, s login.Store) *login.Login {
	t.Helper()
	b := &bench{provider: &provider{}}
	now := time.Now()
	b.now.Store(&now)
	key, err := seal.NewKey(strings.Repeat("k", seal.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	l, err := login.New(login.Options{
		Store: s, Providers: b.provider, Sessions: &session.Keeper{}, Outbox: &outbox{}, Key: key,
		Now: time.Now, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTheNameIsOfTheRegistrationWhoseLinkWasFollowed(t *testing.T) {
	b := newBench(t)
	stranger, owner := ann, ann
	stranger.Name, owner.Name = "Evil Words", ""
	b.provider.begin = verifyMail(stranger, "")
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	b.provider.begin, b.provider.next = verifyMail(owner, ""), done(verified(owner))
	if _, err := b.Begin(t.Context(), attempt(sdk.FlowRegister, "password")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Continue(t.Context(), b.token(t), []sdk.FlowKind{sdk.FlowRegister}, login.Attempt{}); err != nil {
		t.Fatal(err)
	}
	if u, err := b.store.UserByEmail(t.Context(), "ann@example.com"); err != nil || u.Name != "" {
		t.Errorf("the user is called %q, %v, want no name", u.Name, err)
	}
}
