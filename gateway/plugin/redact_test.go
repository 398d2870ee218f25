package plugin

import (
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
)

func TestWhatAProviderSaysHoldsNothingOfThePersonsAndNoSecret(t *testing.T) {
	r := redactorOf(
		sdk.Flow{State: "state-of-the-flow", Nonce: "nonce-of-it", PKCEVerifier: "verifier-of-it", Saved: []byte("what was saved")},
		sdk.Request{
			Fields:  map[string]string{"password": "hunter2 & more", "pin": "12", "code": "4711", "email": "ann@example.com"},
			Headers: map[string]string{"X-Api-Key": "key-0815"},
		},
		[]string{"client-secret", "client-secret-that-is-longer"},
	)
	for _, c := range []struct{ said, want string }{
		{"no such user", "no such user"},
		{"password hunter2 & more is wrong", "password [redacted] is wrong"},
		{"GET /?p=hunter2+%26+more", "GET /?p=[redacted]"},
		{"Basic aHVudGVyMiAmIG1vcmU", "Basic [redacted]"},
		{"key key-0815", "key [redacted]"},
		{"pin 12 of 12", "pin 12 of 12"},
		{"code 4711", "code [redacted]"},
		{"for ann@example.com", "for [redacted]"},
		{"mail of bob.b@example.org bounced", "mail of [redacted] bounced"},
		{"state-of-the-flow nonce-of-it verifier-of-it what was saved", "[redacted] [redacted] [redacted] [redacted]"},
		{"client-secret-that-is-longer", "[redacted]"},
		{"token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "token [redacted]"},
		{"half a token eyJhbGciOiJIUzI1NiJ9.eyJzdW", "half a token [redacted]"},
		{"-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----", "[redacted]"},
		{"digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "digest [redacted]"},
		{"user 0190f3c2-0000-7000-8000-000000000001", "user 0190f3c2-0000-7000-8000-000000000001"},
	} {
		if got := r.text(c.said); got != c.want {
			t.Errorf("text(%q) = %q, want %q", c.said, got, c.want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("hunter2", "password hunter2 is wrong")
	f.Add("aaaa", "aaaaaaa")
	f.Add("[redacted]", "[redacted]")
	f.Fuzz(func(t *testing.T, secret, said string) {
		trimmed := strings.TrimSpace(secret)
		if !telling(trimmed) || strings.Contains(redacted, trimmed) {
			return
		}
		r := redactorOf(sdk.Flow{}, sdk.Request{}, []string{secret})
		if got := r.text(said + trimmed + said); strings.Contains(got, trimmed) {
			t.Errorf("text() = %q holds %q", got, trimmed)
		}
	})
}
