package email

import (
	"net/mail"
	"strings"
	"testing"
)

func TestCanonicalTakesAddressesInUse(t *testing.T) {
	for in, want := range map[string]string{
		"ann@example.com":               "ann@example.com",
		" Ann@Example.COM ":             "ann@example.com",
		"a@b.co":                        "a@b.co",
		"ann.lee+shop@mail.example.org": "ann.lee+shop@mail.example.org",
		"o'neil@example.ie":             "o'neil@example.ie",
		"x!#$%&'*+-/=?^_`{|}~@e.com":    "x!#$%&'*+-/=?^_`{|}~@e.com",
		"ann@xn--bcher-kva.example":     "ann@xn--bcher-kva.example",
		"ann@example.xn--p1ai":          "ann@example.xn--p1ai",
		"1@2.c0m":                       "1@2.c0m",
		strings.Repeat("a", 64) + "@" + strings.Repeat("b", 63) + ".com": strings.Repeat("a", 64) + "@" + strings.Repeat("b", 63) + ".com",
		"a@" + strings.Repeat("b.", 125) + "cc":                          "a@" + strings.Repeat("b.", 125) + "cc",
	} {
		if got, ok := canonical(in); !ok || got != want {
			t.Errorf("canonical(%q) = %q, %v, want %q, true", in, got, ok, want)
		}
	}
}

func TestCanonicalRefusesTheRest(t *testing.T) {
	for _, in := range []string{
		"", " ", "@", "ann", "ann@", "@example.com", "ann@example", "ann@localhost", "ann@@example.com", "ann@example.com@example.org",
		".ann@example.com", "ann.@example.com", "a..b@example.com", "ann@.example.com", "ann@example.com.", "ann@example..com",
		"ann@-example.com", "ann@example-.com", "ann@exa_mple.com", "ann@ab--cd.com", "ann@192.0.2.1", "ann@[192.0.2.1]", "ann@[IPv6:2001:db8::1]",
		`"ann"@example.com`, `"a b"@example.com`, "ann lee@example.com", "ann@exam ple.com", "ann(x)@example.com", "Ann <ann@example.com>",
		"ann@example.com,eve@example.com", "ann@example.com;eve@example.com", "ann@example.com\n", "ann@example.com\r\nBcc: eve@example.com",
		"ann\x00@example.com", "ann@example.com\x00", "ann\t@example.com", "\tann@example.com", "ann@example.com\u00a0",
		"änn@example.com", "ann@bücher.example", "\u212ann@example.com", "ann@example.\u0441om", "ann\u200b@example.com", "ann\uff20example.com",
		"ann@example.com\xff", "<ann@example.com>", "ann@ex\\ample.com", "mailto:ann@example.com", "ann:x@example.com",
		strings.Repeat("a", 65) + "@example.com", "ann@" + strings.Repeat("b", 64) + ".com", "aa@" + strings.Repeat("b.", 125) + "cc",
		strings.Repeat("a@", 1<<16),
	} {
		if got, ok := canonical(in); ok {
			t.Errorf("canonical(%.80q) = %q, true, want it refused", in, got)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"ann@example.com", " A.b+c@X.y.Z ", "a@b", "\"a\"@b.c", "a@b.c\r\nd", "K@e.com", "a@1.2.3.4", "ann@example.com\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := canonical(s)
		if !ok {
			if got != "" {
				t.Errorf("canonical(%q) refuses and answers %q", s, got)
			}
			return
		}
		if again, ok := canonical(got); !ok || again != got {
			t.Errorf("canonical(%q) = %q, which becomes %q, %v", s, got, again, ok)
		}
		if len(got) > 254 || strings.Count(got, "@") != 1 || strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r >= 0x7f || r >= 'A' && r <= 'Z' }) {
			t.Errorf("canonical(%q) = %q is not canonical", s, got)
		}
		// A second parser must read the same mailbox, or a mail could go elsewhere.
		parsed, err := mail.ParseAddress(got)
		if err != nil || parsed.Address != got || parsed.Name != "" {
			t.Errorf("net/mail reads %q as %v, %v", got, parsed, err)
		}
	})
}
