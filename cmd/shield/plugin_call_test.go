package main

import (
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

// Secrets are a map: what is hidden must not hang on its order, nor on how a text is shown.
func TestCallHidesWholeSecrets(t *testing.T) {
	o := oneCall{
		script: providertest.Script{Secrets: map[string]string{"a": "hunter2", "b": "hunter2-and-more", "c": "line\n\"two\""}},
		fields: map[string]string{"pin": "hunter2-and-more-yet"},
	}
	m := sdk.Manifest{Forms: []sdk.Form{{Fields: []sdk.Field{{Name: "pin", Type: "password"}}}}}
	for range 32 {
		got := o.hides(m).Replace(`"hunter2-and-more" "hunter2-and-more-yet" "hunter2" "line\n\"two\""`)
		for _, part := range []string{"hunter2", "more", "yet", "line", "two"} {
			if strings.Contains(got, part) {
				t.Fatalf("%q holds %q of a secret", got, part)
			}
		}
	}
}
