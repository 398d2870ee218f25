package gatewaytest

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// alike fails if two answers can be told apart by anything but what the client itself said
// and what differs between any two answers.
func alike(t testing.TB, what string, got, want answer, gotFor, wantFor person) {
	t.Helper()
	if got.status != want.status {
		t.Errorf("%s: status %d, want %d: %s", what, got.status, want.status, got.body)
	}
	if diff := cmp.Diff(plain(want, wantFor), plain(got, gotFor)); diff != "" {
		t.Errorf("%s: the body can be told apart (-unknown +known):\n%s", what, diff)
	}
	if diff := cmp.Diff(names(want), names(got)); diff != "" {
		t.Errorf("%s: the headers can be told apart (-unknown +known):\n%s", what, diff)
	}
	for _, name := range []string{"Content-Length", "Content-Type", "Cache-Control", "Www-Authenticate", "Connection"} {
		if g, w := got.header.Get(name), want.header.Get(name); g != w {
			t.Errorf("%s: %s %q, want %q", what, name, g, w)
		}
	}
}

var fresh = regexp.MustCompile(`"(request_id|timestamp)":"[^"]*"`)

func plain(a answer, p person) string {
	text := strings.ReplaceAll(string(a.body), p.email, "ADDRESS")
	return fresh.ReplaceAllString(text, `"$1":""`)
}

func names(a answer) []string { return slices.Sorted(maps.Keys(a.header)) }
