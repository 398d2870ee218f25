package gatewaytest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// identityFields are the names that tell an upstream who is calling.
var identityFields = []string{
	"X-User-Id", "X-User-Email", "X-User-Name", "X-User-Roles", "X-Workspace-Ids", "X-Session-Id", "X-Auth-Method",
}

// lies are what a client may send to pose as somebody.
func lies() []option {
	all := []option{
		field("X-Forwarded-For", "6.6.6.6"), field("X-Forwarded-Proto", "https"), field("X-Forwarded-Host", "evil.example"),
		field("X-Real-Ip", "6.6.6.6"), field("Forwarded", "for=6.6.6.6"),
		field("Traceparent", "00-66666666666666666666666666666666-6666666666666666-01"), field("Tracestate", "evil=6.6.6.6"),
		field("Connection", "keep-alive, X-User-Id, X-Session-Id, X-Request-Id"), field("X-Of-The-Client", "6.6.6.6"),
	}
	for _, name := range identityFields {
		all = append(all, field(name, "6.6.6.6"))
	}
	return all
}

func TestUpstreamLearnsWhoIsCallingFromTheGatewayAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p, who := g.member(t)
		options := append(lies(), bearer(who.Access), cookie("theme", "dark"), field("X-Request-Id", "req_of.the-client"))
		a := g.post(t, "/api/notes/1?color=red", "a note", options...).ok(t, http.StatusOK)
		if id := a.header.Get("X-Request-Id"); id != "req_of.the-client" {
			t.Errorf("X-Request-ID of the answer = %q", id)
		}
		got := in.upstream.last(t)
		session := g.sessions(t, who.Access)[0].ID
		for name, want := range map[string]string{
			"X-User-Id": p.id, "X-User-Email": p.email, "X-User-Name": p.name, "X-Session-Id": session, "X-Auth-Method": "email",
			"X-User-Roles": "", "X-Workspace-Ids": "",
			"X-Request-Id": "req_of.the-client", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": g.address,
			"Cookie": "theme=dark",
		} {
			values := got.header.Values(name)
			if strings.Join(values, "|") != want {
				t.Errorf("%s = %q, want %q", name, values, want)
			}
		}
		if got.method != "POST" || got.uri != "/api/notes/1?color=red" || got.body != "a note" {
			t.Errorf("upstream got %s %s with %q", got.method, got.uri, got.body)
		}
		noLies(t, got)
		if got.header.Get("Authorization") != "" {
			t.Error("the access token went upstream")
		}
	})
}

// noLies fails if a field of lies reached the upstream. X-Of-The-Client may: it is nobody's.
func noLies(t testing.TB, got arrival) {
	t.Helper()
	for name, values := range got.header {
		all := strings.Join(values, " ")
		lie := strings.Contains(all, "6.6.6.6") || strings.Contains(all, "6666666666666666") || strings.Contains(all, "evil.example")
		if lie && name != "X-Of-The-Client" {
			t.Errorf("%s of the client reached the upstream: %q", name, values)
		}
	}
}

func TestRoutesDemandWhatTheySay(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	up := g.in.upstream
	_, who := g.member(t)

	for _, path := range []string{"/status", "/maybe", "/stripped/x"} { // nobody
		g.get(t, path, lies()...).ok(t, http.StatusOK)
		got := up.last(t)
		noLies(t, got)
		for _, name := range identityFields {
			if got.header.Get(name) != "" {
				t.Errorf("%s: %s: %q without a token", path, name, got.header.Get(name))
			}
		}
	}
	if got := up.last(t).uri; got != "/x" {
		t.Errorf("stripped: upstream got %s", got)
	}
	g.get(t, "/maybe", bearer(who.Access)).ok(t, http.StatusOK)
	if got := up.last(t).header.Get("X-User-Id"); got != who.User.ID {
		t.Errorf("optional: X-User-ID = %q, want %q", got, who.User.ID)
	}
	g.get(t, "/status", bearer("nonsense")).ok(t, http.StatusOK) // public: not looked at
	up.untouched(t, 5)

	g.get(t, "/maybe", bearer("nonsense")).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
	g.get(t, "/api/notes").refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
	g.get(t, "/api/notesandmore").refused(t, http.StatusNotFound, "NOT_FOUND")
	g.get(t, "/status/more").refused(t, http.StatusNotFound, "NOT_FOUND")
	g.get(t, "/").refused(t, http.StatusNotFound, "NOT_FOUND")
	a := g.post(t, "/stripped/x", "").refused(t, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	if allow := a.header.Get("Allow"); !strings.Contains(allow, "GET") || strings.Contains(allow, "POST") {
		t.Errorf("Allow: %s", allow)
	}
	a = g.get(t, "/auth/login").refused(t, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	if allow := a.header.Get("Allow"); !strings.Contains(allow, "POST") {
		t.Errorf("Allow: %s", allow)
	}
	// Our own users have neither scopes nor roles yet.
	g.get(t, "/scoped", bearer(who.Access)).refused(t, http.StatusForbidden, "INSUFFICIENT_SCOPE")
	g.get(t, "/staff", bearer(who.Access)).refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
	up.untouched(t, 5)

	// What our own tokens will be able to say counts, too.
	f := g.forger(t)
	g.get(t, "/scoped", bearer(f.with(object{"scope": "notes.write notes.read"}).rs256(t))).ok(t, http.StatusOK)
	g.get(t, "/scoped", bearer(f.with(object{"scope": "notes.read"}).rs256(t))).refused(t, http.StatusForbidden, "INSUFFICIENT_SCOPE")
	g.get(t, "/scoped", bearer(f.with(object{"scope": "notes.readnotes.write"}).rs256(t))).refused(t, http.StatusForbidden, "INSUFFICIENT_SCOPE")
	g.get(t, "/staff", bearer(f.with(object{"roles": object{"w1": "viewer", "w2": "admin"}}).rs256(t))).ok(t, http.StatusOK)
	g.get(t, "/staff", bearer(f.with(object{"roles": object{"admin": "viewer"}}).rs256(t))).refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
	up.untouched(t, 7)
}

func TestUpstreamThatIsGoneIsABadGateway(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	in.upstream.url = "http://" + deadAddress(t)
	g := in.start(t)
	g.get(t, "/status").refused(t, http.StatusBadGateway, "BAD_GATEWAY")
}

func TestLimitsAreShownAndKept(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		_, who := g.member(t)
		for i := range 3 {
			a := g.get(t, "/limited", bearer(who.Access)).ok(t, http.StatusOK)
			limits(t, a, "3", string(rune('2'-i)))
		}
		in.upstream.untouched(t, 3)
		a := g.get(t, "/limited", bearer(who.Access)).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
		limits(t, a, "3", "0")
		var body struct {
			Error struct {
				Details struct {
					Limit      int       `json:"limit"`
					Remaining  int       `json:"remaining"`
					ResetAt    time.Time `json:"reset_at"`
					RetryAfter int       `json:"retry_after"`
				}
			}
		}
		a.into(t, &body)
		d := body.Error.Details
		if d.Limit != 3 || d.Remaining != 0 || d.RetryAfter < 1 || d.RetryAfter > 1200 || d.ResetAt.Before(time.Now()) || d.ResetAt.After(time.Now().Add(61*time.Minute)) {
			t.Errorf("details = %+v", d)
		}
		if got := atoi(t, a.header.Get("Retry-After")); got != d.RetryAfter {
			t.Errorf("Retry-After: %d, details say %d", got, d.RetryAfter)
		}
		in.upstream.untouched(t, 3)
		// Another person has a budget of their own, and so has another route.
		_, other := g.member(t)
		g.get(t, "/limited", bearer(other.Access)).ok(t, http.StatusOK)
		for range 3 {
			g.get(t, "/limited-ip").ok(t, http.StatusOK)
		}
		g.get(t, "/limited-ip", field("X-Forwarded-For", "9.9.9.9")).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
	})
}

// limits fails unless an answer shows a limit in both forms.
func limits(t testing.TB, a answer, limit, remaining string) {
	t.Helper()
	for _, prefix := range []string{"Ratelimit-", "X-Ratelimit-"} {
		for name, want := range map[string]string{"Limit": limit, "Remaining": remaining} {
			if got := a.header.Values(prefix + name); len(got) != 1 || got[0] != want {
				t.Errorf("%s%s: %q, want %q", prefix, name, got, want)
			}
		}
	}
	seconds, unix := atoi(t, a.header.Get("Ratelimit-Reset")), int64(atoi(t, a.header.Get("X-Ratelimit-Reset")))
	if seconds < 1 || seconds > 3600 {
		t.Errorf("RateLimit-Reset: %d, want seconds", seconds)
	}
	if left := time.Until(time.Unix(unix, 0)); left < 0 || left > 61*time.Minute {
		t.Errorf("X-RateLimit-Reset: %d, want a Unix time", unix)
	}
}

func TestLoginsAreLimitedByAddressAndAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t, limited("login", 3), limited("password-reset", 2))
		p, other := g.enrol(t), g.enrol(t)
		wrong := object{"email": p.email, "password": "not the password"}
		for i := range 3 {
			a := g.post(t, "/auth/login", wrong).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
			limits(t, a, "3", string(rune('2'-i)))
		}
		g.post(t, "/auth/login", wrong).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
		capital := object{"email": strings.ToUpper(p.email), "password": p.password}
		g.post(t, "/auth/login", capital).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
		g.login(t, other)
		for range 2 {
			g.post(t, "/auth/password-reset", object{"email": p.email}).ok(t, http.StatusAccepted)
		}
		g.post(t, "/auth/password-reset", object{"email": other.email}).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
	})
}
