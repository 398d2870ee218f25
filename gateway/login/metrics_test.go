package login

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// counted returns the values of a metric by its labels, in the order of their names.
func counted(t *testing.T, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
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

func TestLoginsAtOtherSitesAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, err := newSites(reg)
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("x")
	s.observe("google", "oauth", "", nil)
	s.observe("google", "oauth", "accounts", nil)
	s.observe("google", "oauth", "", failed)
	s.observe("corp", "saml", "okta", nil)
	s.observe("corp", "saml", "okta", &Denied{Code: "SAML_ASSERTION_INVALID"})
	s.observe("corp", "saml", "", failed)
	s.observe("mail", "email", "party", nil)
	if diff := cmp.Diff(map[string]float64{"google success": 2, "google failure": 1}, counted(t, reg, "materi_oauth_attempts_total")); diff != "" {
		t.Errorf("materi_oauth_attempts_total (-want +got):\n%s", diff)
	}
	want := map[string]float64{"okta success": 1, "okta failure": 1, "unknown failure": 1}
	if diff := cmp.Diff(want, counted(t, reg, "materi_saml_assertions_total")); diff != "" {
		t.Errorf("materi_saml_assertions_total (-want +got):\n%s", diff)
	}
}

func TestSitesToldApartAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, err := newSites(reg)
	if err != nil {
		t.Fatal(err)
	}
	s.observe("small", "saml", "theirs", nil)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 1000 {
				s.observe("large", "saml", fmt.Sprint("idp", i), nil)
			}
		})
	}
	all.Wait()
	s.observe("small", "saml", "another", nil)
	got := counted(t, reg, "materi_saml_assertions_total")
	if len(got) != maxParties+3 || got["theirs success"] != 1 || got["another success"] != 1 {
		t.Errorf("%d series, want %d, the two of another provider among them", len(got), maxParties+3)
	}
	if got["other success"] != 4*(1000-maxParties) {
		t.Errorf("others: %v, want %d", got["other success"], 4*(1000-maxParties))
	}
}
