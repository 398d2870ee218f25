package identity

import (
	"errors"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/sdk"
)

func fields(list ...sdk.Field) form {
	return form{plugin.Info{Name: "corp"}, sdk.Form{Flow: sdk.FlowLogin, Name: "password", Fields: list}}
}

var (
	username = sdk.Field{Name: "username", Type: "text", Required: true}
	password = sdk.Field{Name: "password", Type: "password", Required: true}
	email    = sdk.Field{Name: "email", Type: "email", Required: true}
)

func optional(f sdk.Field) sdk.Field {
	f.Required = false
	return f
}

// Whoever guesses the password of one person must not find a way of writing the person's name
// that has not been counted yet.
func TestOnePersonHasOneBudget(t *testing.T) {
	type values = map[string]string
	for name, tt := range map[string]struct {
		form     form
		guesses  []values
		somebody values // else
	}{
		"case, spaces and forms of a name": {fields(username, password), []values{
			{"username": "ada"}, {"username": "ADA"}, {"username": " ada "}, {"username": "\tada"}, {"username": "\uff21da"},
		}, values{"username": "eve"}},
		"spaces within a name": {fields(username, password), []values{
			{"username": "ada l"}, {"username": "ada  l"}, {"username": "ADA\u00a0L"},
		}, values{"username": "adal"}},
		"what need not be filled in": {fields(username, password, sdk.Field{Name: "device", Type: "text"}), []values{
			{"username": "ada", "device": ""}, {"username": "ada", "device": "1"}, {"username": "ada", "device": "2"},
		}, values{"username": "eve", "device": "1"}},
		"an address that need not be there": {fields(username, optional(email), password), []values{
			{"username": "ada", "email": ""}, {"username": "ada", "email": "a@example.com"}, {"username": "ada", "email": "b@example.com"}, {"username": "ada", "email": "no address"},
		}, values{"username": "eve", "email": ""}},
		"an address of the gateway's": {fields(email, password), []values{
			{"email": "ada@example.com"}, {"email": " ADA@Example.COM "},
		}, values{"email": "eve@example.com"}},
		"what only the provider takes for an address": {fields(email, password), []values{
			{"email": "ada@corp"}, {"email": "ADA@corp"}, {"email": " ada@corp"},
		}, values{"email": "ada"}},
		"all of it optional": {fields(optional(username), optional(password)), []values{
			{"username": "ada"}, {"username": "Ada"},
		}, values{"username": ""}},
	} {
		want := tt.form.account(tt.guesses[0])
		if want == "" {
			t.Errorf("%s: %q has no budget", name, tt.guesses[0])
		}
		for _, guess := range tt.guesses[1:] {
			if got := tt.form.account(guess); got != want {
				t.Errorf("%s: account(%q) = %q, account(%q) = %q", name, tt.guesses[0], want, guess, got)
			}
		}
		if got := tt.form.account(tt.somebody); got == want {
			t.Errorf("%s: account(%q) is that of %q: %q", name, tt.somebody, tt.guesses[0], got)
		}
	}
	if got := fields(password).account(map[string]string{"password": "x"}); got != "" {
		t.Errorf("a form of a password alone: account() = %q, want none", got)
	}
}

// shut is a limiter that has nothing left of one budget.
type shut string

func (s shut) Check(_ *fasthttp.RequestCtx, name string, _ ...string) error {
	if name == string(s) {
		return errShut
	}
	return nil
}

var errShut = errors.New("no budget left")

// The name of a form is the plugin's to choose, and must not choose the budgets of guessing.
func TestPasswordsOfAFormOfAnyNameAreCounted(t *testing.T) {
	guessed := fields(username, password)
	guessed.Name = login.FormMagicLink
	guessed.provider.Manifest.Forms = []sdk.Form{guessed.Form}
	for _, budget := range []string{"login", "login-ip", "login-account"} {
		a := api()
		a.Providers = func() []plugin.Info { return []plugin.Info{guessed.provider} }
		a.Limiter = shut(budget)
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetContentType("application/json")
		ctx.Request.SetBodyString(`{"username":"ada","password":"x"}`)
		err := a.loginAt(&ctx, func(name string) string {
			return map[string]string{"provider": "corp", "form": login.FormMagicLink}[name]
		})
		if !errors.Is(err, errShut) {
			t.Errorf("without the budget %s: loginAt() = %v, want a refusal", budget, err)
		}
	}
}
