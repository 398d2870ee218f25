package route_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/materi/shield/gateway/route"
)

func TestCanonical(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/a/b/": "/a/b/", "/%41%7e%2d": "/A~-", "/%c3%A4": "/%C3%A4", "/\xff": "/%FF", "/a b": "/a%20b",
		"/%20%25%3b": "/%20%25%3B", "/a:b@c!$&'()*,=": "/a:b@c!$&'()*,=",
		"/%3a%40%21%24%26%27%28%29%2A%2C%3D": "/:@!$&'()*,=", "/a+b%2bc": "/a%2Bb%2Bc", "/...": "/...", "/%2e%2e.": "/...",
	} {
		if got, err := route.Canonical(path); err != nil || got != want {
			t.Errorf("Canonical(%q) = %q, %v, want %q", path, got, err, want)
		}
	}
	for _, path := range []string{
		"", "a", "*", "//", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/%2e", "/%2E%2e/b", "/a;b", "/a/..;/b", "/a\\b", "/%2f",
		"/%5C", "/%00", "/%0a", "/%7f", "/\x00", "/\n", "/%", "/%4", "/%4g", "/a?b", "/a#b",
	} {
		if got, err := route.Canonical(path); !errors.Is(err, route.ErrPath) {
			t.Errorf("Canonical(%q) = %q, %v, want ErrPath", path, got, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = route.Canonical("/api/v2/users/me") }); n != 0 {
		t.Errorf("Canonical() of a canonical path allocates %v times", n)
	}
}

// FuzzCanonical holds the form to its promises: it is a fixed point, it means the same
// bytes, and no reading of it, however often it is cleaned, leads to another path.
func FuzzCanonical(f *testing.F) {
	for _, path := range []string{"/", "/a/%41/../b", "/%c3%a4", "/a;b", "/%252e", "/\xff%zz", "/%2e%2e"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := route.Canonical(path)
		if err != nil {
			return
		}
		if again, err := route.Canonical(got); err != nil || again != got {
			t.Errorf("Canonical(%q) = %q, and of that %q, %v", path, got, again, err)
		}
		want, err := url.PathUnescape(path)
		if err != nil {
			t.Fatalf("%q was accepted and cannot be unescaped: %v", path, err)
		}
		meant, err := url.PathUnescape(got)
		if err != nil || meant != want {
			t.Errorf("Canonical(%q) = %q, which means %q and not %q", path, got, meant, want)
		}
		for segment := range strings.SplitSeq(meant[1:], "/") {
			if segment == "." || segment == ".." {
				t.Errorf("Canonical(%q) = %q has dot segments", path, got)
			}
		}
		if strings.Count(meant, "/") != strings.Count(got, "/") || strings.Contains(got, "//") || strings.ContainsAny(meant, "\\\x00\r\n") {
			t.Errorf("Canonical(%q) = %q can be read in two ways", path, got)
		}
	})
}

func TestSplitAuthority(t *testing.T) {
	for in, want := range map[string][2]string{
		"a": {"a", ""}, "A.b.:80": {"a.b", "80"}, "1.2.3.4:1": {"1.2.3.4", "1"}, "[::1]": {"[::1]", ""}, "[0:0::1]:443": {"[::1]", "443"},
		"_svc.a-b": {"_svc.a-b", ""},
	} {
		host, port, err := route.SplitAuthority(in)
		if err != nil || host != want[0] || port != want[1] {
			t.Errorf("SplitAuthority(%q) = %q, %q, %v, want %q", in, host, port, err, want)
		}
	}
	for _, in := range []string{
		"", ".", "a..b", "u@a", "a:", "a:0", "a:080", "a:65536", "a:x", "a:1:2", "::1", "[::1", "[::1]x", "[1.2.3.4]", "[::1%25a]", "a b", "a/b",
		"a%41", "\xc3\xa4", "a,b", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a",
	} {
		if host, _, err := route.SplitAuthority(in); !errors.Is(err, route.ErrHost) {
			t.Errorf("SplitAuthority(%q) = %q, %v, want ErrHost", in, host, err)
		}
	}
}

func FuzzSplitAuthority(f *testing.F) {
	for _, s := range []string{"a:80", "[::1]:443", "A.b.", "u@a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := route.SplitAuthority(s)
		if err != nil {
			return
		}
		joined := host
		if port != "" {
			joined += ":" + port
		}
		if h, p, err := route.SplitAuthority(joined); err != nil || h != host || p != port {
			t.Errorf("SplitAuthority(%q) = %q %q, and of those %q %q %v", s, host, port, h, p, err)
		}
		if u, err := url.Parse("http://" + joined + "/"); err != nil || u.Host != joined || u.User != nil {
			t.Errorf("net/url reads %q as %v, %v", joined, u, err)
		}
	})
}
