package identity

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/sdk"
)

func offering(kind, name string, forms ...sdk.Form) plugin.Info {
	return plugin.Info{Name: name, Label: name, Manifest: sdk.Manifest{Kind: kind, Forms: forms}}
}

var (
	redirectForm    = sdk.Form{Flow: sdk.FlowLogin, Name: login.FormRedirect}
	unsolicitedForm = sdk.Form{Flow: sdk.FlowLogin, Name: login.FormUnsolicited}
	sloForm         = sdk.Form{Flow: sdk.FlowLogout, Name: login.FormLogout}
	outForm         = sdk.Form{Flow: sdk.FlowLogout, Name: login.FormRedirect}
	passwordForm    = sdk.Form{Flow: sdk.FlowLogin, Name: "password"}
	forgetForm      = sdk.Form{Flow: sdk.FlowForget, Name: "forget"}
)

func manyKinds() *API {
	a := api()
	a.Loading = func() bool { return false }
	a.Providers = func() []plugin.Info {
		return []plugin.Info{
			offering("email", "email", passwordForm, forgetForm),
			offering(login.KindOAuth, "google", redirectForm, passwordForm),
			offering(login.KindSAML, "corp", redirectForm, unsolicitedForm, sloForm, outForm),
			offering(login.KindSAML, "other", redirectForm),
			offering("own", "own", redirectForm),
		}
	}
	return a
}

func TestProvidersTellWhereABrowserGoes(t *testing.T) {
	var ctx fasthttp.RequestCtx
	if err := manyKinds().providers(&ctx, nil); err != nil {
		t.Fatal(err)
	}
	var body struct {
		Providers []struct {
			Name  string
			Forms []struct{ Flow, Name, URL string }
		}
	}
	if err := json.Unmarshal(ctx.Response.Body(), &body); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, p := range body.Providers {
		got[p.Name] = nil
		for _, f := range p.Forms {
			got[p.Name] = append(got[p.Name], f.Flow+" "+f.Name+" "+f.URL)
		}
	}
	want := map[string][]string{
		"email":  {"login password "},
		"google": {"login redirect https://api.example.com/auth/oauth/google", "login password "},
		"corp":   {"login redirect https://api.example.com/auth/saml/login"},
		"other":  nil, // /auth/saml/login is another's
		"own":    {"login redirect "},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("providers() (-want +got):\n%s", diff)
	}
}

// What a site sends must come by the endpoint that binds it to a browser and a state, not as
// if somebody had typed it into a form.
func TestAnswersOfOtherSitesAreNoForms(t *testing.T) {
	a := manyKinds()
	for _, path := range [][2]string{
		{"google", login.FormRedirect}, {"corp", login.FormRedirect}, {"corp", login.FormUnsolicited}, {"corp", login.FormLogout}, {"other", login.FormRedirect}, {"email", "forget"},
	} {
		_, err := a.formOf(path[0], path[1])
		if e, ok := errors.AsType[*edge.Error](err); !ok || e.Status != fasthttp.StatusNotFound {
			t.Errorf("POST /auth/providers/%s/%s = %v, want 404", path[0], path[1], err)
		}
	}
	for _, path := range [][2]string{{"email", "password"}, {"google", "password"}, {"own", login.FormRedirect}} {
		if _, err := a.formOf(path[0], path[1]); err != nil {
			t.Errorf("POST /auth/providers/%s/%s = %v", path[0], path[1], err)
		}
	}
}
