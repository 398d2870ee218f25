package session_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/gateway/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ttl   = 24 * time.Hour
	grace = 10 * time.Second
	ann   = "01900000-0000-7000-8000-00000000000a"
	eve   = "01900000-0000-7000-8000-00000000000e"
)

// bench is a keeper with a store and a clock that the test holds.
type bench struct {
	*session.Keeper
	store *memory
	reg   *prometheus.Registry
	log   *record
	at    atomic.Int64
}

// record is a log that is read while others write.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func newBench(t testing.TB, change ...func(*session.Options)) *bench {
	t.Helper()
	b := &bench{store: newMemory(), reg: prometheus.NewRegistry(), log: &record{}}
	b.Keeper = b.another(t, b.reg, change...)
	return b
}

// another returns a keeper of another gateway on the same store and clock.
func (b *bench) another(t testing.TB, reg prometheus.Registerer, change ...func(*session.Options)) *session.Keeper {
	t.Helper()
	key, err := seal.NewKey("a secret key of thirty-two bytes")
	if err != nil {
		t.Fatal(err)
	}
	o := session.Options{
		Store: b.store, Key: key, Config: config.Session{RefreshTTL: ttl, Grace: grace},
		AccessTTL: 15 * time.Minute, Leeway: 30 * time.Second, Now: b.now,
		Log:        slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer: reg,
	}
	for _, f := range change {
		f(&o)
	}
	k, err := session.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (b *bench) now() time.Time {
	return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).Add(time.Duration(b.at.Load()))
}

func (b *bench) advance(d time.Duration) { b.at.Add(int64(d)) }

// login starts a session and puts it in the store.
func (b *bench) login(t testing.TB, userID string) (session.Session, string) {
	t.Helper()
	v, token, err := b.Start(userID, session.Login{Method: "email", UserAgent: "curl"})
	if err != nil {
		t.Fatal(err)
	}
	b.store.put(v)
	return v, token
}

func (b *bench) mustRefresh(t testing.TB, token string) (session.Session, string) {
	t.Helper()
	v, next, err := b.Refresh(t.Context(), token)
	if err != nil {
		t.Fatalf("Refresh() = %v", err)
	}
	return v, next
}

// use is a request with an access token of a generation that reached some gateway.
func (b *bench) use(t testing.TB, id string, generation int64) {
	t.Helper()
	if err := b.store.MarkSessionUsed(t.Context(), id, generation); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) wantErr(t testing.TB, token string, want error) {
	t.Helper()
	v, next, err := b.Refresh(t.Context(), token)
	if !errors.Is(err, want) || next != "" || v.ID != "" {
		t.Errorf("Refresh() = %v, want %v and nothing else", err, want)
	}
}

func TestRefreshReplacesTheToken(t *testing.T) {
	b := newBench(t)
	v, first := b.login(t, ann)
	b.advance(time.Hour)
	got, second := b.mustRefresh(t, first)
	want := v
	want.Counter, want.RotatedAt, want.LastUsedAt, want.ExpiresAt = 2, b.now(), b.now(), b.now().Add(ttl)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Refresh() (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, b.store.sessions[v.ID]); d != "" {
		t.Errorf("stored session (-want +got):\n%s", d)
	}
	if second == first {
		t.Error("the successor is the token itself")
	}
	if _, third := b.mustRefresh(t, second); third == second {
		t.Error("the successor's successor is the successor")
	}
}

func TestLostAnswerIsRepeatedAsLongAsTheSuccessorIsUnused(t *testing.T) {
	b := newBench(t)
	v, first := b.login(t, ann)
	_, second := b.mustRefresh(t, first)
	b.advance(23 * time.Hour)
	if _, again := b.mustRefresh(t, first); again != second {
		t.Error("a repeated token got another successor")
	}
	b.use(t, v.ID, 2)
	b.wantErr(t, first, session.ErrReused)
	b.wantErr(t, second, session.ErrRevoked)
}

func TestGraceForgivesTabsAlthoughTheSuccessorIsUsed(t *testing.T) {
	b := newBench(t)
	v, first := b.login(t, ann)
	_, second := b.mustRefresh(t, first)
	b.use(t, v.ID, 2)
	b.advance(grace)
	if _, again := b.mustRefresh(t, first); again != second {
		t.Error("a second tab got another successor")
	}
	b.advance(time.Nanosecond)
	b.wantErr(t, first, session.ErrReused)
}

func TestOlderThanTheTokenBeforeIsReuseEvenWithinTheGrace(t *testing.T) {
	b := newBench(t)
	v, first := b.login(t, ann)
	_, second := b.mustRefresh(t, first)
	_, third := b.mustRefresh(t, second)
	b.wantErr(t, first, session.ErrReused)
	for _, token := range []string{first, second, third} {
		b.wantErr(t, token, session.ErrRevoked)
	}
	if !b.Revoked(v.ID) {
		t.Error("access tokens of the family are still accepted here")
	}
	stored := b.store.sessions[v.ID]
	if stored.Reason != session.ReasonReuse || len(b.store.revocations) != 1 {
		t.Errorf("revoked for %q, %d revocations, want reuse and 1", stored.Reason, len(b.store.revocations))
	}
	if got := value(t, b.reg, "materi_token_operations_total", "refresh", "reused"); got != 1 {
		t.Errorf("reuse counted %v times, want 1", got)
	}
	if text := b.log.String(); !strings.Contains(text, "reused") || strings.Contains(text, first) || strings.Contains(text, first[40:]) {
		t.Errorf("log = %s, want the reuse and no token", text)
	}
}

func TestReuseIsZeroBeforeTheFirst(t *testing.T) {
	b := newBench(t)
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[string]bool{}
	for _, f := range families {
		if f.GetName() != "materi_token_operations_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			statuses[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue() == 0
		}
	}
	for _, want := range []string{"refresh reused", "refresh success", "refresh error", "issue success", "revoke success"} {
		if !statuses[want] {
			t.Errorf("operations that are known to be zero: %v, want %q among them", statuses, want)
		}
	}
}

// value reads a metric that has these label values, in the order of the labels' names.
func value(t testing.TB, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, l.GetValue())
			}
			if slices.Equal(got, labels) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestExpiredTokenIsRefused(t *testing.T) {
	b := newBench(t)
	_, token := b.login(t, ann)
	b.advance(ttl - time.Nanosecond)
	_, next := b.mustRefresh(t, token)
	b.advance(ttl)
	b.wantErr(t, next, session.ErrExpired)
	b.wantErr(t, token, session.ErrExpired)
}

func TestNoSessionOutlivesItsMaximum(t *testing.T) {
	b := newBench(t, func(o *session.Options) { o.Config.MaxLifetime = 36 * time.Hour })
	_, token := b.login(t, ann)
	b.advance(20 * time.Hour)
	v, token := b.mustRefresh(t, token)
	if want := v.CreatedAt.Add(36 * time.Hour); !v.ExpiresAt.Equal(want) {
		t.Errorf("expires at %v, want %v", v.ExpiresAt, want)
	}
	b.advance(16 * time.Hour)
	b.wantErr(t, token, session.ErrExpired)
}

// A failover put the database back behind what clients hold. Nobody is logged out, and what
// was old stays old.
func TestTokensAheadOfTheDatabaseAreHonoured(t *testing.T) {
	b := newBench(t)
	old, first := b.login(t, ann)
	_, second := b.mustRefresh(t, first)
	_, third := b.mustRefresh(t, second)
	b.store.put(old)
	v, fourth := b.mustRefresh(t, third)
	if v.Counter != 4 {
		t.Errorf("generation %d, want 4", v.Counter)
	}
	b.mustRefresh(t, fourth)
	b.wantErr(t, second, session.ErrReused)
}

func TestTokensFarAheadOfTheDatabaseAreInvalid(t *testing.T) {
	b := newBench(t)
	old, token := b.login(t, ann)
	for range 20 {
		_, token = b.mustRefresh(t, token)
	}
	b.store.put(old)
	b.wantErr(t, token, session.ErrInvalid)
}

func TestRefreshThatLosesTheRaceToARevocationIsRefused(t *testing.T) {
	b := newBench(t)
	v, token := b.login(t, ann)
	b.store.afterRead = func() {
		if err := b.Revoke(t.Context(), ann, v.ID, session.ReasonLogout); err != nil {
			t.Error(err)
		}
	}
	b.wantErr(t, token, session.ErrRevoked)
}

// The caller of an old token, perhaps the thief, hangs up while it is judged.
func TestReuseEndsTheFamilyEvenIfTheCallerHangsUp(t *testing.T) {
	b := newBench(t)
	v, first := b.login(t, ann)
	_, second := b.mustRefresh(t, first)
	b.mustRefresh(t, second)
	ctx, hangUp := context.WithCancel(t.Context())
	b.store.afterRead = hangUp
	if _, _, err := b.Refresh(ctx, first); !errors.Is(err, session.ErrReused) {
		t.Errorf("Refresh() = %v, want ErrReused", err)
	}
	if b.store.sessions[v.ID].RevokedAt.IsZero() {
		t.Error("the family lives on")
	}
}

func TestStoreThatFailsRefusesAndChangesNothing(t *testing.T) {
	b := newBench(t)
	v, token := b.login(t, ann)
	down := errors.New("down")
	b.store.fail(down)
	b.wantErr(t, token, down)
	if err := b.Revoke(t.Context(), ann, v.ID, "test"); !errors.Is(err, down) {
		t.Errorf("Revoke() = %v, want the store's error", err)
	}
	if b.Revoked(v.ID) {
		t.Error("a revocation that failed is in force")
	}
	if _, err := b.RevokeAll(t.Context(), ann, "", "test"); !errors.Is(err, down) {
		t.Errorf("RevokeAll() = %v, want the store's error", err)
	}
	b.store.fail(nil)
	b.mustRefresh(t, token)
}

func TestRevokeEndsOnlyOnesOwnSession(t *testing.T) {
	b := newBench(t)
	v, token := b.login(t, ann)
	for _, c := range []struct{ user, id string }{{eve, v.ID}, {"", v.ID}, {ann, eve}, {ann, ""}} {
		if err := b.Revoke(t.Context(), c.user, c.id, session.ReasonLogout); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("Revoke(%q, %q) = %v, want ErrInvalid", c.user, c.id, err)
		}
	}
	if b.Revoked(v.ID) {
		t.Fatal("somebody else ended the session")
	}
	for range 2 { // the second time is no error
		if err := b.Revoke(t.Context(), ann, v.ID, session.ReasonLogout); err != nil {
			t.Errorf("Revoke() = %v", err)
		}
	}
	if !b.Revoked(v.ID) {
		t.Error("access tokens are still accepted here")
	}
	b.wantErr(t, token, session.ErrRevoked)
}

func TestRevokeTokenTakesAnyGenerationOfOurs(t *testing.T) {
	b := newBench(t)
	v, first := b.login(t, ann)
	_, second := b.mustRefresh(t, first)
	b.mustRefresh(t, second)
	if err := b.RevokeToken(t.Context(), first[:60]+strings.Map(swapCase, first[60:]), "revoked"); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("RevokeToken() of a forged token = %v, want ErrInvalid", err)
	}
	if err := b.RevokeToken(t.Context(), first, "revoked"); err != nil || !b.Revoked(v.ID) {
		t.Errorf("RevokeToken() = %v, revoked %v", err, b.Revoked(v.ID))
	}
}

func swapCase(r rune) rune {
	if unicode.IsLower(r) {
		return unicode.ToUpper(r)
	}
	return unicode.ToLower(r)
}

func TestRevokeAllKeepsTheExceptedSession(t *testing.T) {
	b := newBench(t)
	one, _ := b.login(t, ann)
	keep, _ := b.login(t, ann)
	other, _ := b.login(t, eve)
	ids, err := b.RevokeAll(t.Context(), ann, keep.ID, "test")
	if err != nil || !cmp.Equal(ids, []string{one.ID}) {
		t.Errorf("RevokeAll() = %v, %v, want %s", ids, err, one.ID)
	}
	for id, want := range map[string]bool{one.ID: true, keep.ID: false, other.ID: false} {
		if got := b.Revoked(id); got != want {
			t.Errorf("Revoked() = %v, want %v", got, want)
		}
	}
	list, err := b.List(t.Context(), ann)
	if err != nil || len(list) != 1 || list[0].ID != keep.ID {
		t.Errorf("List() = %v, %v, want the excepted one", list, err)
	}
}

func TestRevocationLastsLongerThanAnyAccessToken(t *testing.T) {
	b := newBench(t)
	if got := b.TokensDead(b.now()).Sub(b.now()); got <= 15*time.Minute+30*time.Second {
		t.Errorf("TokensDead() is %v ahead, want more than an access token and its leeway", got)
	}
}

func TestStartKeepsWhatTheClientSaysHarmless(t *testing.T) {
	b := newBench(t)
	v, _, err := b.Start(ann, session.Login{UserAgent: "a\x00\r\nb\xff\x1b[31m" + strings.Repeat("é", 600)})
	if err != nil || strings.ContainsAny(v.UserAgent, "\x00\r\n\x1b") || len(v.UserAgent) > 512+2 || !strings.HasPrefix(v.UserAgent, "ab") {
		t.Errorf("UserAgent = %q, %v", v.UserAgent, err)
	}
	if v.Counter != 1 || v.Used != 0 || len(v.Salt) != 16 {
		t.Errorf("Start() = %+v", v)
	}
}

func TestNewRefusesWhatIsIncomplete(t *testing.T) {
	for name, spoil := range map[string]func(*session.Options){
		"no store":    func(o *session.Options) { o.Store = nil },
		"no key":      func(o *session.Options) { o.Key = nil },
		"no clock":    func(o *session.Options) { o.Now = nil },
		"no lifetime": func(o *session.Options) { o.Config.RefreshTTL = 0 },
		"no access":   func(o *session.Options) { o.AccessTTL = 0 },
		"grace < 0":   func(o *session.Options) { o.Config.Grace = -1 },
	} {
		key, _ := seal.NewKey("a secret key of thirty-two bytes")
		o := session.Options{Store: newMemory(), Key: key, Config: config.Session{RefreshTTL: ttl}, AccessTTL: time.Minute,
			Now: time.Now, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
		spoil(&o)
		if _, err := session.New(o); err == nil {
			t.Errorf("%s: New() = nil error", name)
		}
	}
}
