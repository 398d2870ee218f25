package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is an Access on real keys, with a clock, revocations and a record of what was seen.
type gate struct {
	*Access
	issuer  *token.Issuer
	now     atomic.Int64
	version atomic.Uint64
	checks  atomic.Int64 // verdicts that the verifier gave

	mu      sync.Mutex
	revoked map[string]bool
	seen    []string
}

// counting counts how often the verifier is asked, and lets tests put an error in its place.
type counting struct {
	verifier
	n    *atomic.Int64
	fail error
}

func (c *counting) Verify(ctx context.Context, raw string) (token.Claims, error) {
	c.n.Add(1)
	if c.fail != nil {
		return token.Claims{}, c.fail
	}
	return c.verifier.Verify(ctx, raw)
}

func newGate(t testing.TB, size, bytes int) *gate {
	t.Helper()
	g := &gate{revoked: map[string]bool{}}
	g.now.Store(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixNano())
	cfg := config.Token{
		Issuer: "https://api.test", Audience: "https://api.test", Algorithm: "EdDSA",
		AccessTTL: 15 * time.Minute, Leeway: 30 * time.Second, Overlap: time.Hour,
	}
	log := slog.New(slog.DiscardHandler)
	keys, err := token.OpenKeyring(token.KeyringOptions{Config: cfg, Dir: t.TempDir(), Now: g.clock, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if g.issuer, err = token.NewIssuer(keys, cfg, g.clock); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	verifier, err := token.NewVerifier(token.VerifierOptions{Keyring: keys, Config: cfg, Now: g.clock, Log: log, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	g.Access, err = New(Options{
		Verifier: &counting{verifier: verifier, n: &g.checks}, Version: g.version.Load,
		Revoked: func(id string) bool { g.mu.Lock(); defer g.mu.Unlock(); return g.revoked[id] },
		Seen: func(id string, generation int64) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.seen = append(g.seen, fmt.Sprint(id, " ", generation))
		},
		CacheSize: size, CacheBytes: bytes, Now: g.clock, Registerer: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gate) clock() time.Time { return time.Unix(0, g.now.Load()).UTC() }

func (g *gate) move(d time.Duration) { g.now.Add(int64(d)) }

func (g *gate) revoke(id string) { g.mu.Lock(); defer g.mu.Unlock(); g.revoked[id] = true }

func (g *gate) token(t testing.TB, c token.Claims) string {
	t.Helper()
	if c.Subject == "" {
		c.Subject = "user"
	}
	if c.SessionID == "" {
		c.SessionID = "session"
	}
	raw, _, err := g.issuer.Issue(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// send sends a request with these Authorization headers through a guard and returns what
// the handler behind it saw.
func (g *gate) send(t testing.TB, rule Rule, authorization ...string) (p *Principal, reached bool, err error) {
	t.Helper()
	h, err := g.Guard(rule, func(ctx *fasthttp.RequestCtx) error {
		reached = true
		p, _ = PrincipalOf(ctx)
		if want := subjectOf(p); edge.RecordOf(ctx).Subject != want {
			t.Errorf("subject of the record = %q, want %q", edge.RecordOf(ctx).Subject, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = h(request(authorization...))
	return p, reached, err
}

func subjectOf(p *Principal) string {
	if p == nil {
		return ""
	}
	return p.Subject
}

func request(authorization ...string) *fasthttp.RequestCtx {
	var req fasthttp.Request
	req.SetRequestURI("http://api.test/")
	for _, value := range authorization {
		req.Header.Add("Authorization", value)
	}
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&req, nil, nil)
	return ctx
}

// answer is what a client learns of an error.
func answer(err error) string {
	e, ok := errors.AsType[*edge.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	s := fmt.Sprint(e.Status, " ", e.Code)
	for _, h := range e.Header {
		s += " " + h[0] + ": " + h[1]
	}
	return s
}

const bare = ` WWW-Authenticate: Bearer realm="shield"`
const withInvalid = bare + `, error="invalid_token"`

func TestGuardAnswersEachKindOfCredentials(t *testing.T) {
	g := newGate(t, 100, 0)
	expired := g.token(t, token.Claims{})
	g.move(16 * time.Minute)
	good := g.token(t, token.Claims{})
	revoked := g.token(t, token.Claims{SessionID: "gone"})
	g.revoke("gone")
	cases := []struct {
		name     string
		headers  []string
		required string // empty: let through
		optional string
	}{
		{"none", nil, "401 INVALID_TOKEN" + bare, ""},
		{"good", []string{"Bearer " + good}, "", ""},
		{"scheme in lower case", []string{"bearer " + good}, "", ""},
		{"scheme in upper case", []string{"BEARER " + good}, "", ""},
		{"two spaces", []string{"Bearer  " + good}, "", ""},
		{"expired", []string{"Bearer " + expired}, "401 TOKEN_EXPIRED" + withInvalid, "401 TOKEN_EXPIRED" + withInvalid},
		{"revoked", []string{"Bearer " + revoked}, "401 TOKEN_REVOKED" + withInvalid, "401 TOKEN_REVOKED" + withInvalid},
		{"forged", []string{"Bearer " + good[:len(good)-4] + "AAAA"}, "401 INVALID_TOKEN" + withInvalid, "401 INVALID_TOKEN" + withInvalid},
		{"empty header", []string{""}, "401 INVALID_TOKEN" + bare, "401 INVALID_TOKEN" + bare},
		{"scheme alone", []string{"Bearer"}, "401 INVALID_TOKEN" + withInvalid, "401 INVALID_TOKEN" + withInvalid},
		{"scheme and a space", []string{"Bearer "}, "401 INVALID_TOKEN" + withInvalid, "401 INVALID_TOKEN" + withInvalid},
		{"no scheme", []string{good}, "401 INVALID_TOKEN" + bare, "401 INVALID_TOKEN" + bare},
		{"Basic", []string{"Basic dTpw"}, "401 INVALID_TOKEN" + bare, "401 INVALID_TOKEN" + bare},
		{"scheme with more", []string{"Bearerx " + good}, "401 INVALID_TOKEN" + bare, "401 INVALID_TOKEN" + bare},
		{"tab for space", []string{"Bearer\t" + good}, "401 INVALID_TOKEN" + bare, "401 INVALID_TOKEN" + bare},
		{"two in one header", []string{"Bearer " + good + ", Bearer " + good}, "401 INVALID_TOKEN" + withInvalid, "401 INVALID_TOKEN" + withInvalid},
		{"something behind", []string{"Bearer " + good + " x"}, "401 INVALID_TOKEN" + withInvalid, "401 INVALID_TOKEN" + withInvalid},
		{"padding", []string{"Bearer " + good + "="}, "401 INVALID_TOKEN" + withInvalid, "401 INVALID_TOKEN" + withInvalid},
		{"too long", []string{"Bearer " + strings.Repeat("a", token.MaxBytes+1)}, "401 INVALID_TOKEN" + withInvalid, "401 INVALID_TOKEN" + withInvalid},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, "400 BAD_REQUEST", "400 BAD_REQUEST"},
		{"two headers, one empty", []string{"Bearer " + good, ""}, "400 BAD_REQUEST", "400 BAD_REQUEST"},
	}
	for _, c := range cases {
		for rule, want := range map[Auth]string{Required: c.required, Optional: c.optional, Public: ""} {
			t.Run(string(rule)+"/"+c.name, func(t *testing.T) {
				p, reached, err := g.send(t, Rule{Auth: rule}, c.headers...)
				got := ""
				if err != nil {
					got = answer(err)
				}
				if got != want {
					t.Errorf("answer = %q, want %q", got, want)
				}
				if reached != (want == "") {
					t.Errorf("handler reached = %t", reached)
				}
				if named := p != nil; named != (rule != Public && want == "" && c.name != "none") {
					t.Errorf("principal = %+v", p)
				}
			})
		}
	}
}

func TestGuardDemandsScopesAndRoles(t *testing.T) {
	g := newGate(t, 100, 0)
	raw := "Bearer " + g.token(t, token.Claims{Scopes: []string{"read", "write"}, Roles: map[string]string{"w": "admin"}})
	required := func(scopes, roles []string) Rule { return Rule{Auth: Required, Scopes: scopes, Roles: roles} }
	for name, c := range map[string]struct {
		rule Rule
		want string
	}{
		"scope held":    {required([]string{"read"}, nil), ""},
		"scopes held":   {required([]string{"write", "read"}, nil), ""},
		"scope lacking": {required([]string{"read", "delete"}, nil), "403 INSUFFICIENT_SCOPE" + bare + `, error="insufficient_scope", scope="read delete"`},
		"scope prefix":  {required([]string{"rea"}, nil), "403 INSUFFICIENT_SCOPE" + bare + `, error="insufficient_scope", scope="rea"`},
		"one of roles":  {required(nil, []string{"owner", "admin"}), ""},
		"role lacking":  {required(nil, []string{"owner"}), "403 INSUFFICIENT_PERMISSIONS"},
		"both":          {required([]string{"read"}, []string{"owner"}), "403 INSUFFICIENT_PERMISSIONS"},
	} {
		_, reached, err := g.send(t, c.rule, raw)
		got := ""
		if err != nil {
			got = answer(err)
		}
		if got != c.want || reached != (c.want == "") {
			t.Errorf("%s: %q, reached %t, want %q", name, got, reached, c.want)
		}
	}
}

func TestGuardRefusesRulesThatDecideNothing(t *testing.T) {
	g := newGate(t, 1, 0)
	next := func(*fasthttp.RequestCtx) error { return nil }
	for name, rule := range map[string]Rule{
		"empty":              {},
		"unknown":            {Auth: "yes"},
		"public with scopes": {Auth: Public, Scopes: []string{"a"}},
		"public with roles":  {Auth: Public, Roles: []string{"a"}},
		"public and own":     {Auth: Public, Own: true},
		"optional, scopes":   {Auth: Optional, Scopes: []string{"a"}},
		"scope with quote":   {Auth: Required, Scopes: []string{`a"`}},
		"scope with space":   {Auth: Required, Scopes: []string{"a b"}},
	} {
		if _, err := g.Guard(rule, next); err == nil {
			t.Errorf("%s: Guard() = nil, want an error", name)
		}
	}
}

func TestGuardKeepsOtherIssuersFromOurOwnEndpoints(t *testing.T) {
	g := newGate(t, 10, 0)
	foreign := &Principal{Issuer: "https://idp.test", Subject: "user", ExpiresAt: g.clock().Add(time.Hour)}
	g.cache.put("foreign", 0, g.clock(), foreign)
	g.revoke("") // must not be asked about a session that is not ours
	if p, _, err := g.send(t, Rule{Auth: Required}, "Bearer foreign"); err != nil || p != foreign {
		t.Errorf("a route for everybody: %v, %v", p, err)
	}
	if _, reached, err := g.send(t, Rule{Auth: Required, Own: true}, "Bearer foreign"); reached || answer(err) != "401 INVALID_TOKEN"+withInvalid {
		t.Errorf("a route for our own tokens: reached %t, %s", reached, answer(err))
	}
	ctx := request()
	ctx.SetUserValue(principalKey{}, foreign)
	if Subject(ctx) == Subject(request()) || !strings.Contains(Subject(ctx), "idp.test") {
		t.Errorf("Subject() = %q", Subject(ctx))
	}
}

func TestPrincipalHoldsWhatTheTokenSays(t *testing.T) {
	g := newGate(t, 10, 0)
	c := token.Claims{
		Subject: "u", SessionID: "s", Generation: 7, Method: "email", Email: "a@b.test", Name: "N",
		WorkspaceIDs: []string{"w"}, Roles: map[string]string{"w": "owner"}, Scopes: []string{"x"},
	}
	got, _, err := g.send(t, Rule{Auth: Required}, "Bearer "+g.token(t, c))
	if err != nil {
		t.Fatal(err)
	}
	want := &Principal{
		Own: true, Issuer: "https://api.test", Subject: "u", TokenID: got.TokenID, SessionID: "s", Generation: 7, Method: "email",
		Email: "a@b.test", Name: "N", Scopes: []string{"x"}, Roles: map[string]string{"w": "owner"}, WorkspaceIDs: []string{"w"},
		ExpiresAt: g.clock().Add(15 * time.Minute),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("principal (-want +got):\n%s", diff)
	}
}

func TestAllRolesNamesEachRoleOnce(t *testing.T) {
	p := &Principal{
		Roles:     map[string]string{"w1": "viewer", "w2": "admin", "w3": "viewer", "w4": ""},
		RoleNames: []string{"editor", "admin", "x,owner", " owner", "owner\t"},
	}
	if diff := cmp.Diff([]string{"admin", "editor", "viewer"}, p.AllRoles()); diff != "" {
		t.Errorf("AllRoles() (-want +got):\n%s", diff)
	}
	if p.RoleNames[2] != "x,owner" {
		t.Error("the principal was changed")
	}
}

func TestVerdictIsRememberedUntilItMayHaveChanged(t *testing.T) {
	g := newGate(t, 10, 0)
	raw := "Bearer " + g.token(t, token.Claims{Generation: 4})
	verdicts := func(want int64, when string) {
		t.Helper()
		_, _, _ = g.send(t, Rule{Auth: Required}, raw)
		if got := g.checks.Load(); got != want {
			t.Errorf("%s: %d verdicts, want %d", when, got, want)
		}
	}
	verdicts(1, "first")
	verdicts(1, "second")
	g.version.Add(1)
	verdicts(2, "after a change of keys")
	verdicts(2, "after that")
	g.move(15 * time.Minute)
	verdicts(3, "within the leeway")
	verdicts(4, "within the leeway again")
	g.move(30 * time.Second)
	if _, _, err := g.send(t, Rule{Auth: Required}, raw); !strings.Contains(answer(err), "TOKEN_EXPIRED") {
		t.Errorf("after the leeway: %s", answer(err))
	}
	if g.seen[0] != "session 4" {
		t.Errorf("seen = %q", g.seen)
	}
}

func TestRevocationIsFeltOnTheNextRequest(t *testing.T) {
	g := newGate(t, 10, 0)
	raw := "Bearer " + g.token(t, token.Claims{})
	if _, _, err := g.send(t, Rule{Auth: Required}, raw); err != nil {
		t.Fatal(err)
	}
	g.revoke("session")
	if _, reached, err := g.send(t, Rule{Auth: Required}, raw); reached || answer(err) != "401 TOKEN_REVOKED"+withInvalid {
		t.Errorf("reached %t, %s", reached, answer(err))
	}
}

func TestRevokedSessionIsNotSeenAtWork(t *testing.T) {
	g := newGate(t, 10, 0)
	g.revoke("session")
	_, _, _ = g.send(t, Rule{Auth: Required}, "Bearer "+g.token(t, token.Claims{}))
	if len(g.seen) != 0 {
		t.Errorf("seen = %q", g.seen)
	}
}

func TestBadTokensAreNotRemembered(t *testing.T) {
	g := newGate(t, 10, 0)
	raw := g.token(t, token.Claims{})
	for range 100 {
		_, _, _ = g.send(t, Rule{Auth: Required}, "Bearer "+raw[:len(raw)-4]+"AAAA")
	}
	if n, _ := g.cache.size(); n != 0 {
		t.Errorf("%d entries", n)
	}
}

func TestUnavailableKeysAreNotTheClientsFault(t *testing.T) {
	g := newGate(t, 10, 0)
	g.verifier = &counting{n: &g.checks, fail: fmt.Errorf("%w: idp", token.ErrUnavailable)}
	if _, reached, err := g.send(t, Rule{Auth: Optional}, "Bearer x.y.z"); reached || answer(err) != "503 SERVICE_UNAVAILABLE Retry-After: 5" {
		t.Errorf("reached %t, %s", reached, answer(err))
	}
	g.verifier = &counting{n: &g.checks, fail: errors.New("unexpected")}
	if _, reached, err := g.send(t, Rule{Auth: Optional}, "Bearer x.y.z"); reached || err == nil {
		t.Errorf("an unexpected error opened the door: reached %t, %v", reached, err)
	}
}

func TestRefusalsHoldNothingOfTheToken(t *testing.T) {
	g := newGate(t, 10, 0)
	const canary = "canary4711"
	for _, header := range []string{canary, "Bearer " + canary, "Bearer " + canary + "." + canary + "." + canary, "Basic " + canary, canary + " x"} {
		_, _, err := g.send(t, Rule{Auth: Required}, header)
		if err == nil || strings.Contains(err.Error()+answer(err), canary) {
			t.Errorf("%v, %s", err, answer(err))
		}
	}
}
