package gatewaytest

import (
	"net/http"
	"testing"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/testbed"
)

// GitHub, Google and Microsoft as npm's emulate has them, by the presets.
func TestLoginAtWellKnownSites(t *testing.T) {
	t.Parallel()
	everyTransport(t, func(t *testing.T, transport string) {
		in := onSQLite(t)
		in.secrets.add("client secret", upstreamSecret)
		g := in.startAt(t, func(c *config.Config) {
			client := func(site string) []any {
				return []any{map[string]any{
					"client_id": "shield-at-" + site, "client_secret": upstreamSecret, "name": "Shield",
					"redirect_uris": []string{c.Server.PublicURL + "/auth/oauth/" + site + "/callback"},
				}}
			}
			const tenant = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
			sites := testbed.StartSites(t, map[string]any{
				"github": map[string]any{
					"users": []any{map[string]any{"login": "octo", "name": "Octo", "email": "octo@example.com"}}, "oauth_apps": client("github"),
				},
				"google": map[string]any{
					"users":         []any{map[string]any{"email": "gil@example.com", "name": "Gil", "hd": "example.com"}, map[string]any{"email": "gus@other.example", "name": "Gus"}},
					"oauth_clients": client("google"),
				},
				"microsoft": map[string]any{
					"users": []any{map[string]any{"email": "mia@example.com", "name": "Mia", "tenant_id": tenant}}, "oauth_clients": client("microsoft"),
				},
			})
			settings := func(site string, more config.Settings) config.Settings {
				s := config.Settings{"preset": site, "client_id": "shield-at-" + site}
				for name, value := range more {
					s[name] = value
				}
				return s
			}
			github, google, microsoft := sites["github"], sites["google"], sites["microsoft"]
			at(t, transport,
				otherSite{name: "github", allow: []string{github}, settings: settings("github", config.Settings{
					"issuer": github, "authorization_endpoint": github + "/login/oauth/authorize", "token_endpoint": github + "/login/oauth/access_token",
					"userinfo_endpoint": github + "/user", "emails_endpoint": github + "/user/emails",
				})},
				otherSite{name: "google", allow: []string{google}, settings: settings("google", config.Settings{"issuer": google, "hosted_domain": "example.com"})},
				otherSite{name: "microsoft", allow: []string{microsoft}, settings: settings("microsoft", config.Settings{
					"issuer": microsoft + "/{tenantid}/v2.0", "authorization_endpoint": microsoft + "/oauth2/v2.0/authorize",
					"token_endpoint": microsoft + "/oauth2/v2.0/token", "jwks_uri": microsoft + "/discovery/v2.0/keys", "allowed_tenants": []any{tenant},
				})},
			)(c)
		})

		got := g.visitor(t).logIn(t, "/auth/oauth/github", "octo").tokens(t)
		if got.User.Email != "octo@example.com" || got.User.Name != "Octo" || !got.User.Verified {
			t.Errorf("GitHub: logged in %+v", got.User)
		}
		got = g.visitor(t).logIn(t, "/auth/oauth/google", "gil@example.com").tokens(t)
		if got.User.Email != "gil@example.com" || !got.User.Verified {
			t.Errorf("Google: logged in %+v", got.User)
		}
		g.visitor(t).logIn(t, "/auth/oauth/google", "gus@other.example").refused(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")

		// Microsoft says nothing of the address by itself. Who is known can link the login, and
		// then it is enough.
		g.visitor(t).logIn(t, "/auth/oauth/microsoft", "mia@example.com").refused(t, http.StatusForbidden, "EMAIL_NOT_VERIFIED")
		v, page := g.visitor(t), newLanding(landingPage)
		var begun struct{ URL string }
		link := `{"provider":"microsoft","redirect_uri":"` + page.uri + `","code_challenge":"` + page.challenge() + `"}` // a text: none of it is secret
		g.post(t, "/api/users/"+got.User.ID+"/identities", link, bearer(got.Access), field("Content-Type", "application/json")).ok(t, http.StatusOK).into(t, &begun)
		a := v.visit(t, v.signIn(t, begun.URL, "mia@example.com"), nil)
		g.post(t, "/auth/exchange", object{"code": v.codeFor(t, a, page), "code_verifier": page.verifier}, bearer(got.Access)).ok(t, http.StatusOK)
		if again := g.visitor(t).logIn(t, "/auth/oauth/microsoft", "mia@example.com").tokens(t); again.User.ID != got.User.ID {
			t.Error("the linked login is another user")
		}
	})
}
