package gatewaytest

import (
	"net/http"
	"sync"
	"testing"
)

func TestParallelRefreshesOfOneTokenAreOneRefresh(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		_, got := g.member(t)
		body := object{"refresh_token": got.Refresh}
		next := map[string]bool{}
		for _, a := range crowd(t, func(int) (answer, error) { return g.try(http.MethodPost, "/auth/refresh", body) }) {
			got = a.tokens(t)
			next[got.Refresh] = true
		}
		if len(next) != 1 {
			t.Errorf("%d successors, want 1", len(next))
		}
		got = g.refresh(t, got.Refresh).tokens(t)
		g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
	})
}

func TestParallelRegistrationsOfOneAddressMakeOneUser(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p := somebody()
		const tries = 8 // each mails a link
		var all sync.WaitGroup
		answers := make([]answer, tries)
		for i := range tries {
			all.Go(func() { answers[i], _ = g.try(http.MethodPost, "/auth/register", p.registration()) })
		}
		all.Wait()
		for _, a := range answers {
			if a.status != http.StatusAccepted {
				t.Errorf("register = %d %s", a.status, a.body)
			}
		}
		// One that lost every race mails nothing: those that won have.
		letters := in.letters(t, p.email)
		if len(letters) == 0 || len(letters) > tries {
			t.Fatalf("%d mails for %d registrations", len(letters), tries)
		}
		worked := 0
		for _, l := range letters {
			if g.get(t, l.link).status == http.StatusOK {
				worked++
			}
		}
		if worked != 1 {
			t.Errorf("%d links worked, want 1", worked)
		}
		g.login(t, p)
	})
}

// Whoever knows the old password must not keep a session by logging in again and again
// while the owner changes it.
func TestNoSessionOfTheOldPasswordOutlivesAReset(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p, _ := g.member(t)
		g.post(t, "/auth/password-reset", object{"email": p.email}).ok(t, http.StatusAccepted)
		mail := in.letter(t, p.email)
		reset := object{"token": mail.token, "password": p.password + ", new"}
		answers := crowd(t, func(i int) (answer, error) {
			if i == 32 {
				return g.try(http.MethodPost, "/auth/password-reset/confirm", reset)
			}
			return g.try(http.MethodPost, "/auth/login", p.credentials())
		})
		if a := answers[32]; a.status == http.StatusServiceUnavailable {
			a.away(t) // it lost every race; the link is still good
			g.post(t, "/auth/password-reset/confirm", reset).ok(t, http.StatusOK)
		} else {
			a.ok(t, http.StatusOK)
		}
		before := 0
		for i, a := range answers {
			if i == 32 || a.status != http.StatusOK {
				continue
			}
			before++
			got := a.tokens(t)
			g.get(t, "/api/notes", bearer(got.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
			g.refresh(t, got.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		}
		t.Logf("%d logins came before the reset", before)
		p.password += ", new"
		if list := g.sessions(t, g.login(t, p).Access); len(list) != 1 {
			t.Errorf("%d sessions, want the new one", len(list))
		}
	})
}
