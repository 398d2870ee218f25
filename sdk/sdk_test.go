package sdk

import "testing"

func TestKindNamesTheOneThingThatAStepIs(t *testing.T) {
	for want, s := range map[string]Step{
		"redirect": {Redirect: &Redirect{}},
		"post":     {Post: &Post{}},
		"prompt":   {Prompt: &Prompt{}},
		"mail":     {Mail: &Mail{}, Save: []byte("x")},
		"done":     {Done: &Done{}},
		"changed":  {Changed: &Changed{}},
		"denied":   {Denied: &Denied{}},
	} {
		if got := s.Kind(); got != want {
			t.Errorf("Kind() = %q, want %q", got, want)
		}
	}
	for _, s := range []Step{{}, {Save: []byte("x")}, {Done: &Done{}, Denied: &Denied{}}} {
		if got := s.Kind(); got != "" {
			t.Errorf("Kind() of %+v = %q, want none", s, got)
		}
	}
}
