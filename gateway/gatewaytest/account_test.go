package gatewaytest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/materi/shield/config"
)

func TestRegisterVerifyLoginRefreshLogout(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p := somebody()
		answer := g.post(t, "/auth/register", p.registration()).ok(t, http.StatusAccepted).json(t)
		user, _ := answer["user"].(object)
		if user["email"] != p.email || user["name"] != p.name || user["is_verified"] != false || user["id"] != nil || answer["message"] == nil {
			t.Errorf("register answered %v", answer)
		}
		g.post(t, "/auth/login", p.credentials()).refused(t, http.StatusForbidden, "EMAIL_NOT_VERIFIED")

		link := in.letter(t, p.email).link
		head := g.do(t, http.MethodHead, link, nil)
		if head.status/100 != 2 {
			t.Errorf("HEAD of the link = %d", head.status)
		}
		g.get(t, "/auth/verify/"+strings.Repeat("A", 43)).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		g.get(t, link).ok(t, http.StatusOK)
		g.get(t, link).refused(t, http.StatusBadRequest, "INVALID_TOKEN")

		wrong := object{"email": p.email, "password": p.password + "x"}
		g.post(t, "/auth/login", wrong).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		first := g.post(t, "/auth/login", object{"email": strings.ToUpper(p.email), "password": p.password}).tokens(t)
		if first.User.Email != p.email || first.User.Name != p.name || !first.User.Verified || first.ExpiresIn != 900 {
			t.Errorf("login answered %+v", first.User)
		}
		me := g.get(t, "/api/users/me", bearer(first.Access)).ok(t, http.StatusOK).json(t)
		if me["id"] != first.User.ID || me["email"] != p.email || me["is_verified"] != true {
			t.Errorf("/api/users/me = %v", me)
		}
		g.get(t, "/api/notes", bearer(first.Access)).ok(t, http.StatusOK)

		second := g.refresh(t, first.Refresh).tokens(t)
		if again := g.refresh(t, first.Refresh).tokens(t); again.Refresh != second.Refresh {
			t.Error("the token before the current one got another successor, which logs a second tab out")
		}
		third := g.refresh(t, second.Refresh).tokens(t)
		g.get(t, "/api/notes", bearer(third.Access)).ok(t, http.StatusOK)

		g.post(t, "/auth/logout", nil, bearer(third.Access)).ok(t, http.StatusNoContent)
		for _, access := range []string{first.Access, second.Access, third.Access} {
			g.get(t, "/api/notes", bearer(access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		}
		g.refresh(t, third.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		in.upstream.untouched(t, 2)
	})
}

func TestRefreshTokenThatComesBackEndsTheSession(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		_, first := g.member(t)
		second := g.refresh(t, first.Refresh).tokens(t)
		third := g.refresh(t, second.Refresh).tokens(t)
		g.refresh(t, first.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		g.refresh(t, third.Refresh).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
		g.get(t, "/api/notes", bearer(third.Access)).refused(t, http.StatusUnauthorized, "TOKEN_REVOKED")
	})
}

func TestResendMailsALinkThatWorks(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		p := somebody()
		g.post(t, "/auth/register", p.registration()).ok(t, http.StatusAccepted)
		first := in.letter(t, p.email)
		g.post(t, "/auth/verify/resend", object{"email": p.email}).ok(t, http.StatusAccepted)
		second := in.letter(t, p.email)
		if first.token == second.token {
			t.Error("the second mail holds the first link")
		}
		g.get(t, second.link).ok(t, http.StatusOK)
		g.get(t, first.link).refused(t, http.StatusBadRequest, "INVALID_TOKEN")
		g.login(t, p)

		g.post(t, "/auth/verify/resend", object{"email": p.email}).ok(t, http.StatusAccepted)
		if n := len(in.letters(t, p.email)); n != 2 {
			t.Errorf("%d mails, want 2: nothing is left to verify", n)
		}
	})
}

func TestSilentRegistrationDoesNotTellKnownFromUnknown(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		verified, unverified, unknown := g.enrol(t), somebody(), somebody()
		g.post(t, "/auth/register", unverified.registration()).ok(t, http.StatusAccepted)
		in.letter(t, unverified.email)

		want := g.post(t, "/auth/register", unknown.registration()).ok(t, http.StatusAccepted)
		for name, p := range map[string]person{"verified": verified, "unverified": unverified} {
			before := len(in.letters(t, p.email))
			got := g.post(t, "/auth/register", object{"email": p.email, "password": "quite another " + p.password, "name": unknown.name})
			alike(t, name, got, want, p, unknown)
			if after := len(in.letters(t, p.email)); after != before+1 {
				t.Errorf("%s: %d mails, want 1 as for an unknown address", name, after-before)
			}
		}
		if n := len(in.letters(t, unknown.email)); n != 1 {
			t.Errorf("unknown: %d mails, want 1", n)
		}
		g.login(t, verified) // by the password that it had
		if text := in.letters(t, verified.email)[1]; text.token != "" {
			t.Errorf("the mail about an account that exists holds a link: %s", text.text)
		}
	})
}

func TestConflictRegistrationTells(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t, func(c *config.Config) { c.Login.ExistingAccount = "conflict" })
		p := somebody()
		created := g.post(t, "/auth/register", p.registration()).ok(t, http.StatusCreated).json(t)
		if user, _ := created["user"].(object); user["id"] == "" || user["email"] != p.email || user["is_verified"] != false {
			t.Errorf("register answered %v", created)
		}
		g.get(t, in.letter(t, p.email).link).ok(t, http.StatusOK)
		g.post(t, "/auth/register", p.registration()).refused(t, http.StatusConflict, "EMAIL_ALREADY_EXISTS")
		if n := len(in.letters(t, p.email)); n != 1 {
			t.Errorf("%d mails, want 1: the answer said it all", n)
		}
	})
}

func TestAnswersDoNotTellWhetherAnAddressIsKnown(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		known, pending, unknown := g.enrol(t), somebody(), somebody()
		g.post(t, "/auth/register", pending.registration()).ok(t, http.StatusAccepted)
		for path, status := range map[string]int{
			"/auth/login":          http.StatusUnauthorized,
			"/auth/password-reset": http.StatusAccepted,
			"/auth/verify/resend":  http.StatusAccepted,
			"/auth/magic-link":     http.StatusAccepted,
		} {
			ask := func(p person) answer {
				return g.post(t, path, object{"email": p.email, "password": "not the password"})
			}
			want := ask(unknown).ok(t, status)
			alike(t, path+" of a verified address", ask(known), want, known, unknown)
			alike(t, path+" of an unverified address", ask(pending), want, pending, unknown)
		}
		if n := len(in.letters(t, unknown.email)); n != 0 {
			t.Errorf("%d mails to an address that never registered", n)
		}
		if n := len(in.letters(t, known.email)); n != 3 {
			t.Errorf("%d mails to a verified address, want those of the registration, the reset and the magic link", n)
		}
	})
}

func TestBadAddressesAndPasswordsAreNamed(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	p := somebody()
	for _, c := range []struct {
		email, password string
		status          int
		code            string
	}{
		{"no address", p.password, 422, "INVALID_EMAIL_FORMAT"},
		{"a@b.example\r\nBcc: c@d.example", p.password, 422, "INVALID_EMAIL_FORMAT"},
		{p.email, "short", 400, "WEAK_PASSWORD"},
		{p.email, "password1", 400, "WEAK_PASSWORD"},
		{p.email, p.email, 400, "WEAK_PASSWORD"},
		{p.email, strings.Repeat("a", 5000), 422, "VALIDATION_ERROR"},
	} {
		g.post(t, "/auth/register", object{"email": c.email, "password": c.password}).refused(t, c.status, c.code)
	}
	if files := g.in.files(t); len(files) != 0 {
		t.Errorf("%d mails went out", len(files))
	}
}
