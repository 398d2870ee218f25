package login_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/sdk"
)

// counted returns the counters of logins at other sites, by their labels.
func (b *bench) counted(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "materi_oauth_attempts_total" && f.GetName() != "materi_saml_assertions_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			got[strings.Join(labels, " ")] = m.GetCounter().GetValue()
		}
	}
	return got
}

// depart begins a login at another site and returns its state.
func (b *bench) depart(t *testing.T, provider string) string {
	t.Helper()
	var state string
	b.provider.begin = func(f sdk.Flow, _ sdk.Request) (plugin.Answer, error) {
		state = f.State
		return answer(sdk.Step{Redirect: &sdk.Redirect{URL: "https://idp.example/"}, Party: "okta"})
	}
	a := login.Attempt{
		Provider: provider, Kind: sdk.FlowLogin, Form: login.FormRedirect, Away: &login.Away{Callback: "https://api.example.com/back", Browser: "this one"},
	}
	if _, err := b.Begin(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return state
}

func TestOnlyLoginsThatComeBackAreCounted(t *testing.T) {
	b := newBench(t)
	back := func(provider string, next func(sdk.Flow, sdk.Request) (plugin.Answer, error)) {
		t.Helper()
		state := b.depart(t, provider)
		b.provider.next = next
		_, err := b.Arrive(t.Context(), state, "this one", []sdk.FlowKind{sdk.FlowLogin}, login.Attempt{Provider: provider})
		if errors.Is(err, login.ErrSpent) {
			t.Fatal(err)
		}
	}
	says := func(s sdk.Step) func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		s.Party = "okta"
		return func(sdk.Flow, sdk.Request) (plugin.Answer, error) { return answer(s) }
	}
	fails := func(sdk.Flow, sdk.Request) (plugin.Answer, error) {
		return plugin.Answer{}, &plugin.CircuitOpen{}
	}
	for _, provider := range []string{"google", "corp"} {
		b.depart(t, provider) // and never comes back
		back(provider, says(sdk.Step{Done: &sdk.Done{Identity: verified(ann)}}))
		back(provider, says(sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeOAuthCode}}))
		back(provider, fails)
		b.provider.begin = fails // at the start: nobody was away
		a := login.Attempt{Provider: provider, Kind: sdk.FlowLogin, Form: login.FormRedirect, Away: &login.Away{Browser: "this one"}}
		if _, err := b.Begin(t.Context(), a); err == nil {
			t.Error("a login began at a provider that fails")
		}
		// Unsolicited: it comes without having left.
		b.provider.begin = says(sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeSAMLAssertion}})
		_, _ = b.Begin(t.Context(), login.Attempt{Provider: provider, Kind: sdk.FlowLogin, Form: login.FormUnsolicited})
		b.provider.begin = says(sdk.Step{Logout: &sdk.Logout{}}) // no login
		_, _ = b.Begin(t.Context(), login.Attempt{Provider: provider, Kind: sdk.FlowLogout, Form: login.FormLogout})
	}
	want := map[string]float64{
		"google success": 1, "google failure": 3, "okta success": 1, "okta failure": 2, "unknown failure": 1,
	}
	if diff := cmp.Diff(want, b.counted(t)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}
