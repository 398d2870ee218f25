package gatewaytest

import (
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// claimsPlugin is testdata/claims, built once.
var claimsPlugin = sync.OnceValues(func() (string, error) {
	return wasmtest.Build("./testdata/claims", filepath.Join(filepath.Dir(compileCache), "claims"))
})

// withClaims adds two providers that say what they are told: company, whose word on addresses
// of example.com is believed, and stranger.
func withClaims(t testing.TB) func(*config.Config) {
	t.Helper()
	file, err := claimsPlugin()
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		for _, name := range []string{"company", "stranger"} {
			p := c.Providers[0]
			p.Name, p.Label, p.Plugin, p.Capabilities = name, name, file, nil
			c.Providers = append(c.Providers, p)
		}
		c.Providers[1].TrustEmail = []string{"example.com"}
		c.Login.Provider = "email"
		limited("login-ip", 1_000_000)(c)
	}
}

// startLinking starts a gateway with the providers of withClaims, and waits for them.
func startLinking(t testing.TB, in *installation, change ...func(*config.Config)) *gate {
	t.Helper()
	g := in.start(t, append([]func(*config.Config){withClaims(t)}, change...)...)
	eventually(t, "all providers are loaded", func() bool {
		body := string(g.get(t, "/auth/providers").body)
		return strings.Contains(body, `"company"`) && strings.Contains(body, `"stranger"`) && strings.Contains(body, `"email"`)
	})
	return g
}

// claim is what a provider is told to say of somebody.
type claim object

func proven(p person) claim {
	return claim{"issuer": "https://id.example", "subject": "subject of " + p.email, "email": p.email, "verified": "yes", "name": "Ann There"}
}

func (c claim) with(name, value string) claim {
	c = maps.Clone(c)
	c[name] = value
	return c
}

func (g *gate) claim(t testing.TB, provider string, c claim) answer {
	t.Helper()
	return g.post(t, "/auth/providers/"+provider+"/claim", map[string]any(c))
}

type identityView struct {
	ID, Provider, Kind, Issuer, Email string
	CreatedAt                         string `json:"created_at"`
	LastUsedAt                        string `json:"last_used_at"`
}

func (g *gate) identities(t testing.TB, access string) []identityView {
	t.Helper()
	var body struct{ Identities []identityView }
	g.get(t, "/api/users/me/identities", bearer(access)).ok(t, http.StatusOK).into(t, &body)
	return body.Identities
}

// The attacker is there first, with the victim's address and a password, and holds everything
// that a registration can give.
func TestAnAccountIsNotHijackedBeforeItsOwnerComes(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startLinking(t, in)
		victim := somebody()
		attacker := person{email: victim.email, password: "the attacker's " + victim.password, name: "Eve"}
		g.post(t, "/auth/register", attacker.registration()).ok(t, http.StatusAccepted)
		registered := in.letter(t, victim.email)
		g.post(t, "/auth/verify/resend", object{"email": victim.email}).ok(t, http.StatusAccepted)
		resent := in.letter(t, victim.email)
		g.post(t, "/auth/password-reset", object{"email": victim.email}).ok(t, http.StatusAccepted)
		reset := in.letter(t, victim.email)

		// Neither a provider that nobody trusts nor an address that is not verified gets in.
		g.claim(t, "stranger", proven(victim)).refused(t, http.StatusConflict, "EMAIL_ALREADY_EXISTS")
		g.claim(t, "company", proven(victim).with("verified", "no")).refused(t, http.StatusForbidden, "EMAIL_NOT_VERIFIED")

		got := g.claim(t, "company", proven(victim)).tokens(t)
		if got.User.Email != victim.email || got.User.Name != "Ann There" || !got.User.Verified {
			t.Errorf("the victim is %+v", got.User)
		}
		if all := g.identities(t, got.Access); len(all) != 1 || all[0].Provider != "company" {
			t.Errorf("logins of the account: %+v, want the victim's alone", all)
		}
		g.post(t, "/auth/login", attacker.credentials()).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		for _, l := range []letter{registered, resent} {
			g.get(t, l.link).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		}
		g.post(t, "/auth/password-reset/confirm", object{"token": reset.token, "password": attacker.password}).
			refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		g.post(t, "/auth/login", attacker.credentials()).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)

		// The address is the account's, so e-mail answers as for any account without a password.
		before := len(in.letters(t, victim.email))
		g.post(t, "/auth/password-reset", object{"email": victim.email}).ok(t, http.StatusAccepted)
		g.post(t, "/auth/magic-link", object{"email": victim.email}).ok(t, http.StatusAccepted)
		g.post(t, "/auth/verify/resend", object{"email": victim.email}).ok(t, http.StatusAccepted)
		g.post(t, "/auth/register", attacker.registration()).ok(t, http.StatusAccepted)
		letters := in.letters(t, victim.email)[before:]
		if len(letters) != 1 || letters[0].token != "" {
			t.Errorf("%d mails, want one that says the account exists, without a link", len(letters))
		}
		g.post(t, "/auth/login", attacker.credentials()).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")

		events, err := in.store(t).AuditOf(t.Context(), got.User.ID)
		if err != nil || len(events) != 2 || events[1].Action != "account.taken_over" {
			t.Errorf("audit = %+v, %v, want the takeover", events, err)
		}
	})
}

func TestJoinAndUndo(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startLinking(t, in)
		p, mine := g.member(t)
		refused := g.claim(t, "stranger", proven(p)).refused(t, http.StatusConflict, "EMAIL_ALREADY_EXISTS").json(t)
		if details, _ := refused["error"].(object)["details"].(object); details["link"] != true {
			t.Errorf("the refusal does not say that the login can be linked: %v", refused)
		}
		joined := g.claim(t, "company", proven(p)).tokens(t)
		if joined.User.ID != p.id || joined.User.Name != p.name {
			t.Fatalf("joined %+v, want %s as they are", joined.User, p.id)
		}
		all := g.identities(t, mine.Access)
		if len(all) != 2 || all[0].Provider != "email" || all[0].Kind != "email" || all[1].Provider != "company" || all[1].Kind != "claims" ||
			all[1].Issuer != "https://id.example" || all[1].Email != p.email || all[1].CreatedAt == "" || all[1].LastUsedAt == "" {
			t.Fatalf("identities = %+v", all)
		}
		unlink := func(id string, access string) answer {
			return g.do(t, http.MethodDelete, "/api/users/me/identities/"+id, nil, bearer(access))
		}
		_, other := g.member(t)
		unlink(all[1].ID, other.Access).refused(t, http.StatusNotFound, "NOT_FOUND")
		unlink("nothing", mine.Access).refused(t, http.StatusNotFound, "NOT_FOUND")
		g.get(t, "/api/users/"+p.id+"/identities", bearer(other.Access)).refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
		g.get(t, "/api/users/me/identities").refused(t, http.StatusUnauthorized, "INVALID_TOKEN")

		unlink(all[1].ID, mine.Access).ok(t, http.StatusNoContent)
		g.get(t, "/api/notes", bearer(joined.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		g.get(t, "/api/notes", bearer(mine.Access)).ok(t, http.StatusOK)
		unlink(all[0].ID, mine.Access).refused(t, http.StatusUnprocessableEntity, "VALIDATION_ERROR")
		g.login(t, p)

		// The other way round: the password goes, with the session that it began.
		joined = g.claim(t, "company", proven(p)).tokens(t)
		mine = g.login(t, p)
		g.post(t, "/auth/password-reset", object{"email": p.email}).ok(t, http.StatusAccepted)
		reset := in.letter(t, p.email)
		unlink(all[0].ID, mine.Access).ok(t, http.StatusNoContent)
		for _, access := range []string{mine.Access, joined.Access} {
			g.get(t, "/api/notes", bearer(access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		}
		g.post(t, "/auth/login", p.credentials()).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		g.post(t, "/auth/password-reset/confirm", object{"token": reset.token, "password": p.password + "!"}).
			refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		again := g.claim(t, "company", proven(p)).tokens(t)
		if again.User.ID != p.id {
			t.Errorf("logged in as %s, want %s", again.User.ID, p.id)
		}
	})
}

func TestAnIdentityHasOneUserHoweverManyComeAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startLinking(t, in)
		body := object(proven(somebody()))
		users := make(map[string]bool)
		for _, a := range crowd(t, func(int) (answer, error) {
			return g.try(http.MethodPost, "/auth/providers/stranger/claim", body)
		}) {
			users[a.tokens(t).User.ID] = true
		}
		if len(users) != 1 {
			t.Errorf("%d users, want 1", len(users))
		}
	})
}

func TestTwoProvidersWithOneNewAddressAtOnceMakeOneUser(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startLinking(t, in)
		for range 4 {
			body := object(proven(somebody()))
			names := []string{"company", "stranger"}
			answers := crowd(t, func(i int) (answer, error) {
				return g.try(http.MethodPost, "/auth/providers/"+names[i%2]+"/claim", body)
			})
			users, in := make(map[string]bool), make(map[int]int)
			for i, a := range answers {
				if a.status != http.StatusOK {
					a.refused(t, http.StatusConflict, "EMAIL_ALREADY_EXISTS")
					continue
				}
				users[a.tokens(t).User.ID] = true
				in[i%2]++
			}
			// Who came second does not believe who came first, or is not believed.
			if len(users) != 1 || len(in) != 1 {
				t.Errorf("%d users by %d providers, want one", len(users), len(in))
			}
		}
	})
}

func TestSuspendedPeopleHearTheSameByEveryWayIn(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := startLinking(t, in)
		p, _ := g.member(t)
		g.claim(t, "company", proven(p)).tokens(t)
		g.post(t, "/auth/magic-link", object{"email": p.email}).ok(t, http.StatusAccepted)
		magic := in.letter(t, p.email)
		in.suspend(t, p.id)
		for name, a := range map[string]answer{
			"password":             g.post(t, "/auth/login", p.credentials()),
			"magic link":           g.get(t, magic.link),
			"a linked login":       g.claim(t, "company", proven(p)),
			"a login to be joined": g.claim(t, "company", proven(p).with("subject", "another")),
		} {
			if a.status != http.StatusForbidden || !strings.Contains(string(a.body), "ACCOUNT_SUSPENDED") {
				t.Errorf("%s = %d %s, want 403 ACCOUNT_SUSPENDED", name, a.status, a.body)
			}
		}
	})
}

// Whom the operator trusts, and who may come, is what the configuration says now.
func TestTrustAndDomainsFollowAReload(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := startLinking(t, in)
	p, _ := g.member(t)
	reload := func(change func(company *config.Provider)) {
		t.Helper()
		cfg := g.cfg
		cfg.Providers = append([]config.Provider(nil), g.cfg.Providers...)
		change(&cfg.Providers[1])
		if err := g.Reload(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	reload(func(c *config.Provider) { c.TrustEmail = nil })
	g.claim(t, "company", proven(p)).refused(t, http.StatusConflict, "EMAIL_ALREADY_EXISTS")
	reload(func(c *config.Provider) { c.TrustEmail = []string{"*"}; c.AllowedDomains = []string{"other.example"} })
	g.claim(t, "company", proven(p)).refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
	g.claim(t, "company", proven(somebody()).with("email", "ann@other.example")).tokens(t)
	reload(func(c *config.Provider) { c.TrustEmail = []string{"*"} })
	if got := g.claim(t, "company", proven(p)).tokens(t); got.User.ID != p.id {
		t.Errorf("joined %s, want %s", got.User.ID, p.id)
	}
	// None of that needed another start of the plugin.
	if body := string(g.get(t, "/metrics/").body); !strings.Contains(body, `materi_plugin_generation{provider="company"} 1`) {
		t.Error("the plugin was started anew for a rule that it does not know of")
	}
}

// A provider that is not trusted for a domain makes users, but nobody else is told an address
// on its word: an upstream that holds accounts by address would give away somebody's.
func TestAnAddressOnAStrangersWordIsNotPassedOn(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := startLinking(t, in)
	victim := somebody()
	liar := g.claim(t, "stranger", proven(victim)).tokens(t)
	if liar.User.Verified {
		t.Error("the token answer says is_verified")
	}
	told := func(access string) (address string, verified any) {
		t.Helper()
		g.get(t, "/api/notes", bearer(access)).ok(t, http.StatusOK)
		var me object
		g.get(t, "/api/users/me", bearer(access)).ok(t, http.StatusOK).into(t, &me)
		return in.upstream.last(t).header.Get("X-User-Email"), me["is_verified"]
	}
	if address, verified := told(liar.Access); address != "" || verified != false {
		t.Errorf("on a stranger's word: X-User-Email %q, is_verified %v, want none and false", address, verified)
	}
	if g.claim(t, "company", proven(somebody())).tokens(t).User.Verified == false {
		t.Error("a trusted provider's address is not is_verified")
	}

	// What the operator says now counts from the next token on.
	cfg := g.cfg
	cfg.Providers = append([]config.Provider(nil), g.cfg.Providers...)
	cfg.Providers[2].TrustEmail = []string{"example.com"}
	if err := g.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	next := g.post(t, "/auth/refresh", object{"refresh_token": liar.Refresh}).tokens(t)
	if address, verified := told(next.Access); address != victim.email || verified != true {
		t.Errorf("once the provider is trusted: X-User-Email %q, is_verified %v", address, verified)
	}
}

// Nobody begins what the gateway begins, and no page offers it.
func TestForgettingIsNotOffered(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	p, mine := g.member(t)
	if body := string(g.get(t, "/auth/providers").body); strings.Contains(body, "forget") {
		t.Errorf("/auth/providers offers it: %s", body)
	}
	g.post(t, "/auth/providers/email/forget", object{"subject": "x"}, bearer(mine.Access)).refused(t, http.StatusNotFound, "NOT_FOUND")
	g.login(t, p)
}
