package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// FuzzFetch holds every fetch to what an independent reader makes of the entry and of the
// URL: what is dialed is the host and the port that both name, and nothing is dialed that
// only one of them does.
func FuzzFetch(f *testing.F) {
	for _, entry := range []string{"https://a.example.com", "https://*.example.com:8443", "http://10.1.2.3", "https://[2606::1]", "HTTP://A:80", "https://*.com"} {
		for _, raw := range []string{
			"https://a.example.com/", "https://A.example.com:443?q=1", "https://x.y.example.com:8443/p", "https://a.example.com@evil.net/", "https://a.example.com\\@evil.net", "http://10.1.2.3:80",
			"https://[2606:0::1]:443/%2f", "http://a:080/", "http://0xa.1.2.3/", "https://a.example.com./", "https://example.com/#", "https://a.example.com:443:443/",
		} {
			f.Add(entry, raw)
		}
	}
	errNoNetwork := errors.New("no network")
	f.Fuzz(func(t *testing.T, entry, raw string) {
		in := newInternet("")
		c, err := New(Options{Allow: []string{entry}, Resolver: everyName{in}, connect: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			in.dialed = append(in.dialed, to)
			return nil, errNoNetwork
		}, Addresses: []string{"0.0.0.0/0", "::/0"}})
		if err != nil {
			return
		}
		defer c.Close()
		_, err = c.Fetch(context.Background(), Request{Method: "GET", URL: raw})
		if err == nil || len(in.dialed) == 0 != (errors.Is(err, ErrDenied) || errors.Is(err, ErrInvalid)) {
			t.Fatalf("%q, %q: %v, and dialed %v", entry, raw, err, in.dialed)
		}
		if len(in.dialed) == 0 {
			return
		}
		host, port := second(t, raw)
		if got := in.dialed[0].Port(); strconv.Itoa(int(got)) != port || len(in.dialed) > 1 {
			t.Errorf("%q dialed %v, want port %s", raw, in.dialed, port)
		}
		if addr, err := netip.ParseAddr(host); err == nil {
			if in.dialed[0].Addr() != addr || len(in.asked) > 0 {
				t.Errorf("%q dialed %v and asked %v, want %s", raw, in.dialed, in.asked, addr)
			}
		} else if len(in.asked) != 1 || in.asked[0] != host+"." {
			t.Errorf("%q asked for %v, want %s", raw, in.asked, host)
		}
		wantHost, wantPort := second(t, strings.Replace(entry, "*.", "", 1))
		wild := strings.Contains(entry, "*") && strings.HasSuffix(host, "."+wantHost)
		if schemeOf(entry) != schemeOf(raw) || port != wantPort || !wild && (host != wantHost || strings.Contains(entry, "*")) {
			t.Errorf("%q lets %q dial %s, port %s", entry, raw, host, port)
		}
	})
}

// everyName resolves all names to one public address.
type everyName struct{ in *internet }

func (e everyName) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	e.in.asked = append(e.in.asked, host)
	return []netip.Addr{netip.AddrFrom4([4]byte{8, 8, 8, 8})}, nil
}

func schemeOf(raw string) string { return strings.ToLower(raw[:strings.Index(raw, ":")]) }

// second reads a URL with net/url and netip.
func second(t *testing.T, raw string) (host, port string) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		t.Fatalf("net/url reads %q as %v, %v", raw, u, err)
	}
	host, port = strings.ToLower(u.Hostname()), u.Port()
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return host, port
}

// FuzzRedirect holds the target of a redirect to what net/url makes of it.
func FuzzRedirect(f *testing.F) {
	for _, location := range []string{"/", "to?q", "//b.example.com", "https://b.example.com:8443/x", "https://u@b.example.com", "\\\\b.example.com", "..//x", "?", "https:b", "http:///x", "%2f/..", ":80/"} {
		f.Add(location)
	}
	from, err := parseURL("https://a.example.com/dir/from?q")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, location string) {
		to, err := locate(from, location)
		if err != nil {
			return
		}
		base := &url.URL{Scheme: "https", Host: "a.example.com", Path: "/dir/from", RawQuery: "q"}
		reference, err := url.Parse(location)
		if err != nil {
			t.Fatalf("%q was accepted, and net/url does not read it: %v", location, err)
		}
		want := base.ResolveReference(reference)
		host, port := second(t, want.String())
		if to.scheme != want.Scheme || to.host != host || to.port != port || strings.ContainsAny(location, "@\\# ") && strings.ContainsAny(to.authority(), "@\\# ") {
			t.Errorf("%q leads to %v, want %v", location, to, want)
		}
		if again, err := parseURL(to.String()); err != nil || again != to {
			t.Errorf("%q leads to %v, and that to %v, %v", location, to, again, err)
		}
	})
}
