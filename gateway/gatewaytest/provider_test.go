package gatewaytest

import (
	"net/http"
	"testing"
)

func TestEachProviderHasItsOwnLogin(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := in.start(t)
	p := g.enrol(t)
	got := g.post(t, "/auth/providers/email/password", p.credentials()).tokens(t)
	g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
	g.post(t, "/v1/auth/providers/email/password", p.credentials()).tokens(t)

	wrong := object{"email": p.email, "password": p.password + "x"}
	g.post(t, "/auth/providers/email/password", wrong).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
	g.post(t, "/auth/providers/email/password", object{"email": p.email}).refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
	for _, path := range []string{
		"/auth/providers/email/nothing",   // no such form
		"/auth/providers/email/resend",    // a form, but of another flow than login
		"/auth/providers/nobody/password", // no such provider
		"/auth/providers/EMAIL/password",
	} {
		g.post(t, path, p.credentials()).refused(t, http.StatusNotFound, "NOT_FOUND")
	}

	g.post(t, "/auth/providers/email/magic_link", object{"email": p.email}).ok(t, http.StatusAccepted)
	g.get(t, in.letter(t, p.email).link).tokens(t)
	g.post(t, "/auth/providers/email/magic_link", object{"email": "nobody@example.com"}).ok(t, http.StatusAccepted)
}

// Two doors to one account must not be two budgets to guess its password by.
func TestLoginAtAProviderSpendsTheSameBudget(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"login", "login-ip", "login-account"} {
		g := onSQLite(t).start(t, limited(limit, 2))
		wrong := object{"email": "somebody@example.com", "password": "Spring2026!"}
		g.post(t, "/auth/login", wrong).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		g.post(t, "/auth/providers/email/password", wrong).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		g.post(t, "/auth/providers/email/password", wrong).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
		g.post(t, "/auth/login", wrong).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
	}
	g := onSQLite(t).start(t, limited("magic-link", 1))
	g.post(t, "/auth/providers/email/magic_link", object{"email": "somebody@example.com"}).ok(t, http.StatusAccepted)
	g.post(t, "/auth/magic-link", object{"email": "somebody@example.com"}).refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
}
