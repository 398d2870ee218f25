package gatewaytest

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// crowd sends one request from each of 64 at the same time.
func crowd(t testing.TB, send func(i int) (answer, error)) []answer {
	t.Helper()
	const size = 64
	answers, errs := make([]answer, size), make([]error, size)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range size {
		all.Go(func() {
			<-start
			answers[i], errs[i] = send(i)
		})
	}
	close(start)
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return answers
}

// one returns the index of the only 200 among answers; the rest must say that the link is
// spent.
func one(t testing.TB, answers []answer) int {
	t.Helper()
	winner := -1
	for i, a := range answers {
		if a.status != http.StatusOK {
			a.refused(t, http.StatusBadRequest, "INVALID_TOKEN")
			continue
		}
		if winner >= 0 {
			t.Error("the link worked twice")
		}
		winner = i
	}
	if winner < 0 {
		t.Fatal("the link worked for nobody")
	}
	return winner
}

func TestPasswordResetWorksOnceAndEndsEverySession(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p, first := g.member(t)
		second := g.login(t, p)
		reset := func() letter {
			g.post(t, "/auth/password-reset", object{"email": p.email}).ok(t, http.StatusAccepted)
			return in.letter(t, p.email)
		}
		spare, mail := reset(), reset()
		confirm := func(token, password string) (answer, error) {
			return g.try(http.MethodPost, "/auth/password-reset/confirm", object{"token": token, "password": password})
		}
		for _, weak := range []string{"password1", "short", p.email} {
			a, err := confirm(mail.token, weak)
			if err != nil {
				t.Fatal(err)
			}
			a.refused(t, http.StatusBadRequest, "WEAK_PASSWORD") // and the link is as good as before
		}
		g.get(t, "/auth/verify/"+mail.token).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		g.get(t, "/auth/magic-link/"+mail.token).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		g.get(t, "/api/notes", bearer(first.Access)).ok(t, http.StatusOK)

		chosen := func(i int) string { return fmt.Sprintf("%s, number %d", p.password, i) }
		winner := one(t, crowd(t, func(i int) (answer, error) { return confirm(mail.token, chosen(i)) }))

		for _, old := range []tokens{first, second} {
			g.refresh(t, old.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
			g.get(t, "/api/notes", bearer(old.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		}
		for _, old := range []string{p.password, chosen((winner + 1) % 64)} {
			g.post(t, "/auth/login", object{"email": p.email, "password": old}).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		}
		p.password = chosen(winner)
		g.login(t, p)
		a, err := confirm(spare.token, p.password+"!")
		if err != nil {
			t.Fatal(err)
		}
		a.refused(t, http.StatusBadRequest, "INVALID_TOKEN") // mailed before the change
		if all := in.letters(t, p.email); len(all) != 4 || all[3].token != "" {
			t.Errorf("%d mails, want 4, the last of which tells that the password changed", len(all))
		}
	})
}

func TestMagicLinkLogsInOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p := g.enrol(t)
		g.post(t, "/auth/magic-link", object{"email": p.email}).ok(t, http.StatusAccepted)
		mail := in.letter(t, p.email)
		if a := g.do(t, http.MethodHead, mail.link, nil); a.status/100 != 2 {
			t.Errorf("HEAD = %d", a.status)
		}
		a, err := g.try(http.MethodPost, "/auth/password-reset/confirm", object{"token": mail.token, "password": p.password + "!"})
		if err != nil {
			t.Fatal(err)
		}
		a.refused(t, http.StatusBadRequest, "INVALID_TOKEN") // it is for logging in, and for nothing else
		answers := crowd(t, func(int) (answer, error) { return g.try(http.MethodGet, mail.link, nil) })
		got := answers[one(t, answers)].tokens(t)
		g.get(t, "/api/notes", bearer(got.Access)).ok(t, http.StatusOK)
		if n := len(g.sessions(t, got.Access)); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
	})
}

func TestPasswordChangeEndsTheOtherSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p, mine := g.member(t)
		other := g.login(t, p)
		next := p.password + ", changed"
		change := func(id, current, wanted string) answer {
			return g.post(t, "/api/users/"+id+"/password", object{"current_password": current, "new_password": wanted}, bearer(mine.Access))
		}
		change("me", p.password+"x", next).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		change("me", p.password, "password1").refused(t, http.StatusBadRequest, "WEAK_PASSWORD")
		change("0198c0de-0000-7000-8000-000000000001", p.password, next).refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
		g.get(t, "/api/notes", bearer(other.Access)).ok(t, http.StatusOK)

		change(p.id, p.password, next).ok(t, http.StatusOK)
		g.get(t, "/api/notes", bearer(mine.Access)).ok(t, http.StatusOK)
		g.refresh(t, mine.Refresh).tokens(t)
		g.get(t, "/api/notes", bearer(other.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		g.refresh(t, other.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		g.post(t, "/auth/login", p.credentials()).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		p.password = next
		g.login(t, p)
		if all := in.letters(t, p.email); len(all) != 2 {
			t.Errorf("%d mails, want 2: the change is told", len(all))
		}
	})
}
