package gatewaytest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/config"
)

// Somebody registers another's address and waits for the owner to do so, too.
func TestPasswordOfAStrangersRegistrationNeverWorks(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		owner := somebody()
		stranger := person{email: owner.email, password: "the strangers " + owner.password, name: "Mallory"}
		g.post(t, "/auth/register", stranger.registration()).ok(t, http.StatusAccepted)
		first := in.letter(t, owner.email)
		g.post(t, "/auth/register", owner.registration()).ok(t, http.StatusAccepted)
		second := in.letter(t, owner.email)
		g.post(t, "/auth/register", stranger.registration()).ok(t, http.StatusAccepted)
		third := in.letter(t, owner.email)

		g.get(t, second.link).ok(t, http.StatusOK)
		g.get(t, first.link).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		g.get(t, third.link).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		g.post(t, "/auth/login", stranger.credentials()).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		if got := g.login(t, owner); got.User.Name != owner.name {
			t.Errorf("the account is called %q, want %q", got.User.Name, owner.name)
		}
	})
}

func TestLinksOfMailsDoNotFollowTheHostHeader(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	p := somebody()
	evil := func(r *http.Request) { r.Host = "evil.example" }
	options := []option{evil, field("X-Forwarded-Host", "evil.example"), field("X-Forwarded-Proto", "https"), field("Origin", "https://evil.example")}
	g.post(t, "/auth/register", p.registration(), options...).ok(t, http.StatusAccepted)
	verify := g.in.letter(t, p.email)
	g.get(t, verify.link).ok(t, http.StatusOK)
	g.post(t, "/auth/magic-link", object{"email": p.email}, options...).ok(t, http.StatusAccepted)
	g.post(t, "/auth/password-reset", object{"email": p.email}, options...).ok(t, http.StatusAccepted)
	for _, l := range []letter{verify, g.in.letter(t, p.email), g.in.letter(t, p.email)} {
		if !strings.Contains(l.text, g.base+"/") || strings.Contains(l.text, "evil") {
			t.Errorf("%s: a link that is not ours", l.subject)
		}
	}
}

// What one request of a connection was allowed must not stick to the next.
func TestRequestsOfAConnectionDoNotShareAnIdentity(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	_, ann := g.member(t)
	_, ben := g.member(t)
	conn, err := net.Dial("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	var pipelined strings.Builder
	var want []string
	for i := range 12 {
		fmt.Fprintf(&pipelined, "GET /maybe/%d HTTP/1.1\r\nHost: %s\r\n", i, g.address)
		who := [...]tokens{ann, {}, ben}[i%3]
		if who.Access != "" {
			fmt.Fprintf(&pipelined, "Authorization: Bearer %s\r\n", who.Access)
		}
		pipelined.WriteString("\r\n")
		want = append(want, who.User.ID)
	}
	if _, err := io.WriteString(conn, pipelined.String()); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("answer %d: %d, %v", i, resp.StatusCode, err)
		}
		_ = resp.Body.Close()
	}
	for i, got := range g.in.upstream.arrivals() {
		if got.uri != fmt.Sprintf("/maybe/%d", i) || got.header.Get("X-User-Id") != want[i] {
			t.Errorf("request %d: %s by %q, want %q", i, got.uri, got.header.Get("X-User-Id"), want[i])
		}
	}
}

func TestNamesCannotEndAHeader(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	for _, name := range []string{"Zoë Übel 100%", "Ann\r\nX-User-Roles: admin", "Ann\x00", "\u202eevil", strings.Repeat("ä", 500), " ", "=?utf-8?q?x?="} {
		p := somebody()
		p.name = name
		a := g.post(t, "/auth/register", p.registration())
		if a.status == http.StatusUnprocessableEntity {
			continue // refused is fine
		}
		a.ok(t, http.StatusAccepted)
		g.get(t, g.in.letter(t, p.email).link).ok(t, http.StatusOK)
		got := g.login(t, p)
		g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
		seen := g.in.upstream.last(t).header
		if roles := seen.Get("X-User-Roles"); roles != "" {
			t.Errorf("%q: X-User-Roles: %q", name, roles)
		}
		decoded, err := url.PathUnescape(seen.Get("X-User-Name"))
		if err != nil || decoded != got.User.Name {
			t.Errorf("%q: X-User-Name %q does not decode to %q: %v", name, seen.Get("X-User-Name"), got.User.Name, err)
		}
		if strings.ContainsFunc(got.User.Name, func(r rune) bool { return r < ' ' || r == 0x202e }) {
			t.Errorf("%q: the account is called %q", name, got.User.Name)
		}
	}
}

// The delay has no upper bound here: what matters is that an answer cannot come at once.
func TestAnswersThatCouldTellAreHeldBack(t *testing.T) {
	t.Parallel()
	const delay = 150 * time.Millisecond
	g := onSQLite(t).start(t, func(c *config.Config) { c.Login.UniformDelay = delay })
	known := g.enrol(t)
	for _, p := range []person{known, somebody()} {
		for _, path := range []string{"/auth/password-reset", "/auth/verify/resend", "/auth/magic-link", "/auth/register"} {
			start := time.Now()
			g.post(t, path, object{"email": p.email, "password": p.password}).ok(t, http.StatusAccepted)
			if took := time.Since(start); took < delay {
				t.Errorf("%s took %v, want at least %v", path, took, delay)
			}
		}
	}
}

func TestAccountsKeepToThemselves(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		ann, a := g.member(t)
		_, b := g.member(t)
		g.get(t, "/api/users/"+ann.id, bearer(b.Access)).refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
		g.get(t, "/api/users/0198c0de-0000-7000-8000-000000000001", bearer(b.Access)).refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
		g.post(t, "/api/users/"+ann.id+"/password", object{"current_password": ann.password, "new_password": "a good new password"}, bearer(b.Access)).
			refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
		g.get(t, "/api/users/"+strings.ToUpper(ann.id), bearer(a.Access)).ok(t, http.StatusOK)
		g.login(t, ann)
	})
}

func TestSecretsOfTheConfigurationAreNotLogged(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	dead := deadAddress(t)
	in.database = "postgres://shield:database-password@" + dead + "/shield"
	in.redis = "redis://:redis-password@" + dead + "/0"
	in.secrets.add("configuration", "database-password")
	in.secrets.add("configuration", "redis-password")
	in.secrets.add("configuration", "a secret key of more than 32 characters")
	g := in.launch(t, func(c *config.Config) {
		c.SecretKey = config.NewSecret("a secret key of more than 32 characters")
	})
	g.probed(t, http.StatusServiceUnavailable, "redis", "error")
	text := string(g.get(t, "/ready/").body) + string(g.get(t, "/metrics/").body)
	in.secrets.mustNotBeIn(t, text)
	token := g.forger(t).rs256(t)
	codes := map[int]int{}
	for range 6 {
		codes[g.get(t, "/limited", bearer(token)).status]++
	}
	if codes[http.StatusOK] != 3 || codes[http.StatusTooManyRequests] != 3 {
		t.Errorf("a limit of 3 without the Redis that it never had answered %v", codes)
	}
}
