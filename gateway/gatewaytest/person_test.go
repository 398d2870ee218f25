package gatewaytest

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
)

// person is somebody who has an account, or will have.
type person struct {
	email, password, name string
	id                    string // of the user, known after a login
}

func somebody() person {
	unique := strings.ToLower(rand.Text())
	return person{email: "ann." + unique + "@example.com", password: "pass phrase " + unique, name: "Ann"}
}

func (p person) registration() object {
	return object{"email": p.email, "password": p.password, "name": p.name}
}

func (p person) credentials() object { return object{"email": p.email, "password": p.password} }

// tokens are what a login hands out.
type tokens struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	Type      string `json:"token_type"`
	ExpiresIn int    `json:"expires_in"`
	User      struct {
		ID       string
		Email    string
		Name     string
		Verified bool `json:"is_verified"`
	}
}

// enrol registers and verifies somebody.
func (g *gate) enrol(t testing.TB) person {
	t.Helper()
	p := somebody()
	g.post(t, "/auth/register", p.registration()).ok(t, http.StatusAccepted)
	g.get(t, g.in.letter(t, p.email).link).ok(t, http.StatusOK)
	return p
}

func (g *gate) login(t testing.TB, p person) tokens {
	t.Helper()
	return g.post(t, "/auth/login", p.credentials()).tokens(t)
}

// member enrols somebody and logs in.
func (g *gate) member(t testing.TB) (person, tokens) {
	t.Helper()
	p := g.enrol(t)
	got := g.login(t, p)
	p.id = got.User.ID
	return p, got
}

func (a answer) tokens(t testing.TB) tokens {
	t.Helper()
	a.ok(t, http.StatusOK)
	var got tokens
	a.into(t, &got)
	if got.Access == "" || got.Refresh == "" || got.Type != "Bearer" || got.User.ID == "" {
		t.Fatalf("%s: not a token answer: %s", a.what, a.body)
	}
	return got
}

func (g *gate) refresh(t testing.TB, token string) answer {
	t.Helper()
	return g.post(t, "/auth/refresh", object{"refresh_token": token})
}
