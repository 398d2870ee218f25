package gatewaytest

import (
	"net/http"
	"testing"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/wasmtest"
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

// What people type for one provider must not be shown to another, whose form looks the same,
// while theirs is not loaded.
func TestPasswordsGoToTheProviderThatIsNamed(t *testing.T) {
	t.Parallel()
	in := onSQLite(t)
	g := in.launch(t, besides(t, func(p *config.Provider) {}), func(c *config.Config) {
		c.Providers[1] = in.config(t, c.Server.Listen).Providers[0] // e-mail
		c.Providers[1].Plugin += ".gone"
		c.Login.Provider = "email"
	})
	eventually(t, "the other provider serves", func() bool {
		return g.post(t, "/auth/providers/plain/password", somebody().credentials()).status == http.StatusOK
	})
	g.post(t, "/auth/login", somebody().credentials()).refused(t, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE")
}

// apiKeys makes a provider the one of examples/plugins/header, with one key.
func apiKeys(file string) func(*config.Provider) {
	return func(p *config.Provider) {
		p.Name, p.Plugin, p.Capabilities, p.Headers = "header", file, []string{"kv", "secret"}, []string{"X-Api-Key"}
		p.Secrets = []config.ProviderSecret{{Name: "pepper", Value: config.NewSecret("a-pepper-for-tests")}}
		p.TrustEmail = []string{"example.com"}
		p.Config = config.Settings{"keys": []any{map[string]any{
			"subject": "builder", "name": "The builder", "email": "builder@example.com",
			// printf %s key-of-the-builder-0001 | openssl dgst -sha256 -hmac a-pepper-for-tests
			"mac": "eb41559d4532f8cd3318394cdb917de3f4f3664dec4457cb3ebbe4fa4a51eba5",
		}}}
	}
}

// A key in a header logs in, in a module and in a process that are built from one source.
func TestAHeaderLogsIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	module, err := wasmtest.Build("../../examples/plugins/header/cmd", dir)
	if err != nil {
		t.Fatal(err)
	}
	process, err := wasmtest.BuildProcess("../../examples/plugins/header/cmd", dir)
	if err != nil {
		t.Fatal(err)
	}
	for transport, file := range map[string]string{"wasm": module, "process": process} {
		t.Run(transport, func(t *testing.T) {
			g := onSQLite(t).start(t, besides(t, func(p *config.Provider) {
				apiKeys(file)(p)
				p.Transport = transport
			}))
			const path = "/auth/providers/header/api_key"
			key := func(k string) option { return field("X-Api-Key", k) }
			got := g.post(t, path, object{}, key("key-of-the-builder-0001")).tokens(t)
			if got.User.Email != "builder@example.com" || !got.User.Verified {
				t.Errorf("logged in %+v", got.User)
			}
			again := g.post(t, path, object{}, key("key-of-the-builder-0001")).tokens(t)
			if again.User.ID != got.User.ID {
				t.Error("the second login is another user")
			}
			g.post(t, path, object{}, key("key-of-the-builder-0002")).refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
			g.post(t, path, object{}).refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
			twice := g.post(t, path, object{}, key("key-of-the-builder-0001"), key("key-of-the-builder-0002"))
			twice.refused(t, http.StatusBadRequest, "BAD_REQUEST")
			// What the operator does not name is not shown.
			shy := g.post(t, path, object{}, field("X-Api-Key2", "key-of-the-builder-0001"))
			shy.refused(t, http.StatusBadRequest, "MISSING_REQUIRED_FIELD")
			// A form that another site can send by itself must not log anybody in.
			a, err := g.try(http.MethodPost, path, "a=b", key("key-of-the-builder-0001"), field("Content-Type", "application/x-www-form-urlencoded"))
			if err != nil {
				t.Fatal(err)
			}
			a.refused(t, http.StatusBadRequest, "INVALID_REQUEST_BODY")
		})
	}
}
