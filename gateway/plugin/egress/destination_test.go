package egress

import (
	"slices"
	"strings"
	"testing"
)

func TestListAllowsWhatItSays(t *testing.T) {
	for _, c := range []struct {
		entry          string
		allows, denies []string
	}{
		{"https://a.example.com", []string{
			"https://a.example.com", "https://a.example.com/", "https://a.example.com:443/x", "HTTPS://A.EXAMPLE.COM?q", "https://a.example.com/@b/http://x",
		}, []string{
			"http://a.example.com", "https://a.example.com:444/", "https://example.com/", "https://b.a.example.com/", "https://aa.example.com/",
			"https://a.example.com.evil.net/", "https://a-example.com/", "https://xa.example.com/", "http://a.example.com:443/",
		}},
		{"HTTP://A.example.com:8080", []string{"http://a.example.com:8080/"}, []string{"http://a.example.com/", "https://a.example.com:8080/"}},
		{"http://a.example.com", []string{"http://a.example.com:80/"}, []string{"https://a.example.com/", "http://a.example.com:443/"}},
		{"https://*.example.com", []string{
			"https://a.example.com/", "https://a.b.example.com/", "https://xn--80ak6aa92e.example.com/", "https://A.EXAMPLE.COM/", "https://_.example.com/",
		}, []string{
			"https://example.com/", "https://aexample.com/", "https://a.example.com:8443/", "http://a.example.com/", "https://a.example.com.evil.net/",
			"https://evil.net/.example.com", "https://evil.net/?.example.com",
		}},
		{"https://*.example.com:8443", []string{"https://a.example.com:8443/"}, []string{"https://a.example.com/"}},
		{"http://10.1.2.3:8080", []string{"http://10.1.2.3:8080/"}, []string{"http://10.1.2.3/", "http://10.1.2.4:8080/"}},
		{"https://[2001:DB8:0:0::1]", []string{"https://[2001:db8::1]/", "https://[2001:db8:0:0:0:0:0:1]:443/"}, []string{"https://[2001:db8::2]/"}},
		{"https://svc_a", []string{"https://svc_a/"}, []string{"https://svc-a/"}},
	} {
		l, err := parseList([]string{c.entry})
		if err != nil {
			t.Errorf("parseList(%q) = %v", c.entry, err)
		}
		for _, raw := range slices.Concat(c.allows, c.denies) {
			u, err := parseURL(raw)
			if err != nil {
				t.Errorf("parseURL(%q) = %v", raw, err)
			}
			if got, want := l.allows(u.destination), slices.Contains(c.allows, raw); got != want {
				t.Errorf("%q allows %q = %v, want %v", c.entry, raw, got, want)
			}
		}
	}
}

func TestMalformedEntriesAreRefused(t *testing.T) {
	for _, entry := range []string{
		"", "a.example.com", "//a.example.com", "ftp://a.example.com", "https:a.example.com", "https:/a.example.com", "https://", "https:///x", "*", "https://*",
		"https://*.com", "https://*.", "https://*..com", "https://a.*.com", "https://*a.example.com", "https://**.example.com", "https://*.*.example.com",
		"https://*.1.2.3.4", "https://*.2.3.4", "https://*.[::1]", "https://a.example.com/", "https://a.example.com/x", "https://a.example.com?x", "https://a.example.com#x",
		"https://u@a.example.com", "https://u:p@a.example.com", "https://@a.example.com", "https://a.example.com:", "https://a.example.com:0", "https://a.example.com:65536",
		"https://a.example.com:080", "https://a.example.com:*", "https://a.example.com:+443", "https://a.example.com:443:443", "https://a.example.com.", "https://.a.example.com",
		"https://a..example.com", "https://a b.example.com", " https://a.example.com", "https://a.example.com ", "https://a.example.com\n", "https://a%2eexample.com",
		"https://ä.example.com", "https://a。example.com", "https://ａ.example.com", "https://a.example.com\\", "https://a\x00.example.com",
		"https://127.1", "https://0x7f.1", "https://0x7f000001", "https://2130706433", "https://0177.0.0.1", "https://127.0.0.01", "https://127.0.0.1.", "https://1.2.3.4.5",
		"https://256.1.1.1", "https://a.1", "https://a.0x", "https://[127.0.0.1]", "https://[::ffff:127.0.0.1]", "https://[::ffff:7f00:1]", "https://[fe80::1%25eth0]",
		"https://[fe80::1%eth0]", "https://[::1", "https://::1", "https://[::1]x", "https://[::1]:", "https://x[::1]", "https://[]", "https://[a.example.com]",
		"https://" + strings.Repeat("a", 64) + ".com", "https://" + strings.Repeat("a.", 127) + "aa",
	} {
		if l, err := parseList([]string{entry}); err == nil {
			t.Errorf("parseList(%q) = %v, want an error", entry, l)
		}
	}
}

func TestMalformedURLsAreRefused(t *testing.T) {
	for _, raw := range []string{
		"", "/", "a.example.com", "//a.example.com/", "file:///etc/passwd", "gopher://a.example.com/", "javascript:x", "data:,x", "ws://a.example.com/", "https:/a.example.com/",
		"https:a.example.com", "https:\\\\a.example.com\\", "https://", "https:///a.example.com", "https://?", "https://:443/",
		"https://a.example.com@evil.net/", "https://a.example.com:443@evil.net/", "https://evil.net@a.example.com/", "https://@a.example.com/", "https://a.example.com%40evil.net/",
		"https://a.example.com\\@evil.net/", "https://a.example.com\\.evil.net/", "https://evil.net\\/a.example.com", "https://a.example.com#@evil.net/", "https://a.example.com/#x",
		"https://a.example.com;evil.net/", "https://a.example.com,evil.net/", "https://a.example.com&evil.net/", "https://a.example.com /", "https://a.example.com\t/",
		"ht\ntps://a.example.com/", "https://a.exa\nmple.com/", "https://a.example.com/\r\nHost:%20evil.net", "https://a.example.com/\x00", " https://a.example.com/",
		"https://a.example.com/ ", "https://a.example.com/a b", "https://a.example.com/ä", "https://a。example。com/", "https://a.example.com：443/", "https://ⓔxample.com/",
		"https://a.example.com/%", "https://a.example.com/%2", "https://a.example.com/%zz", "https://a.example.com/?%", "https://a.example%2ecom/", "https://a.example.com/[", "https://a.example.com/?a[]=1",
		"https://a.example.com:0/", "https://a.example.com:65536/", "https://a.example.com:/", "https://a.example.com:0443/", "https://a.example.com:-1/", "https://a.example.com:4_3/",
		"https://a.example.com:443:443/", "https://a.example.com./", "https://a.example.com..", "https://.example.com/", "https://*.example.com/", "https://[a.example.com]/",
		"http://0x7f.1/", "http://0x7f.0.0.1/", "http://0X7F000001/", "http://2130706433/", "http://127.1/", "http://0177.0.0.1/", "http://017700000001/", "http://127.0.0.1./",
		"http://00127.0.0.1/", "http://0/", "http://127.0.0.0x1/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[0:0:0:0:0:FFFF:7F00:1]/", "http://[::1%25lo]/",
		"http://[::1]evil.net/", "http://[::1].evil.net/", "http://[::1]@evil.net/", "http://[[::1]]/", "http://①②⑦.⓪.⓪.①/",
	} {
		if u, err := parseURL(raw); err == nil {
			t.Errorf("parseURL(%q) = %v, want an error", raw, u)
		}
	}
}

func TestURLsHaveOneForm(t *testing.T) {
	for raw, want := range map[string]string{
		"https://a": "https://a/", "HttpS://A.b:443": "https://a.b/", "http://a:443/": "http://a:443/", "http://a:80?x?y": "http://a/?x?y",
		"https://[0:0::2]:443/a": "https://[::2]/a", "https://[::2]:8443/a": "https://[::2]:8443/a", "https://[::127.0.0.1]/": "https://[::7f00:1]/",
		"https://1.2.3.4:8443": "https://1.2.3.4:8443/", "https://a//b/../c;d=e,f/%2F%2f?": "https://a//b/../c;d=e,f/%2F%2f?", "https://a/@:!$&'()*+,;=~": "https://a/@:!$&'()*+,;=~",
		"https://0x.a/": "https://0x.a/", "https://a.0y/": "https://a.0y/", "https://1.a/": "https://1.a/",
	} {
		u, err := parseURL(raw)
		if got := u.String(); err != nil || got != want {
			t.Errorf("parseURL(%q) = %q, %v, want %q", raw, got, err, want)
		}
	}
}

func TestOriginIsOneForWhatLeadsToOnePlace(t *testing.T) {
	for raw, want := range map[string]string{
		"https://a.example.com": "https://a.example.com:443", "HTTPS://A.example.com:443/x?y": "https://a.example.com:443",
		"http://a.example.com/": "http://a.example.com:80", "https://a.example.com:8443/": "https://a.example.com:8443", "https://[0::2]/": "https://[::2]:443",
		"": "", "a.example.com": "", "ftp://a.example.com": "", "https://user:pass@a.example.com": "",
	} {
		if got := Origin(raw); got != want {
			t.Errorf("Origin(%q) = %q, want %q", raw, got, want)
		}
	}
}
