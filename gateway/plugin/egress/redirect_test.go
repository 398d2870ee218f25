package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// redirecting answers /from with a redirect, and everything else with what it was asked.
func redirecting(status int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/dir/from" {
			w.Header()["Location"] = []string{location}
			w.WriteHeader(status)
			return
		}
		body, _ := io.ReadAll(r.Body)
		var names []string
		for name := range r.Header {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(w, "%s %s%s %s [%s]", r.Method, r.Host, r.RequestURI, names, body)
	}
}

var everything = []Header{
	{"Accept", "a"}, {"Accept-Language", "en"}, {"Authorization", "Bearer SECRET"}, {"Content-Type", "text/plain"}, {"DPoP", "SECRET"}, {"X-Api-Key", "SECRET"},
}

func TestRedirectsAreFollowed(t *testing.T) {
	const (
		kept   = "[Accept Accept-Encoding Accept-Language Authorization Content-Length Content-Type Dpop User-Agent X-Api-Key]"
		noBody = "[Accept Accept-Encoding Accept-Language Authorization Content-Type Dpop User-Agent X-Api-Key]"
		asGet  = "[Accept Accept-Encoding Accept-Language Authorization Dpop User-Agent X-Api-Key]"
		away   = "[Accept Accept-Encoding Accept-Language User-Agent]"
	)
	for _, c := range []struct {
		method   string
		status   int
		location string
		want     string
	}{
		{"POST", 301, "/to", "GET a.example.com/to " + asGet + " []"},
		{"POST", 302, "to?q=1", "GET a.example.com/dir/to?q=1 " + asGet + " []"},
		{"POST", 303, "../to", "GET a.example.com/to " + asGet + " []"},
		{"POST", 307, "?q", "POST a.example.com/dir/from?q " + kept + " [body]"},
		{"POST", 308, "//A.example.com:443/to", "POST a.example.com/to " + kept + " [body]"},
		{"PUT", 301, "/to", "PUT a.example.com/to " + kept + " [body]"},
		{"PUT", 302, "/to", "PUT a.example.com/to " + kept + " [body]"},
		{"PUT", 303, "/to", "GET a.example.com/to " + asGet + " []"},
		{"DELETE", 303, "/to", "GET a.example.com/to " + asGet + " []"},
		{"GET", 307, "/to", "GET a.example.com/to " + noBody + " []"},
		{"GET", 302, "https://b.example.com/to", "GET b.example.com/to " + away + " []"},
		{"GET", 307, "//b.example.com/to", "GET b.example.com/to " + away + " []"},
		{"POST", 303, "HTTPS://B.example.com/to", "GET b.example.com/to " + away + " []"},
		{"POST", 302, "https://a.example.com:8443/to", "GET a.example.com:8443/to " + away + " []"},
	} {
		handler := redirecting(c.status, c.location)
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "q" {
				r.URL.Path = "/arrived"
			}
			handler(w, r)
		}, func(o *Options) { o.Allow = append(o.Allow, "https://a.example.com:8443") })
		r := Request{Method: c.method, URL: "https://a.example.com/dir/from", Header: everything, Body: []byte("body")}
		if c.method == "GET" {
			r.Body = nil
		}
		got, err := b.Fetch(context.Background(), r)
		if diff := cmp.Diff(c.want, string(got.Body)); diff != "" || err != nil {
			t.Errorf("%s, %d to %s = %v (-want +got):\n%s", c.method, c.status, c.location, err, diff)
		}
		_, arrived, _ := strings.Cut(got.URL, "https://")
		if !strings.Contains(c.want, " "+arrived+" ") {
			t.Errorf("%s, %d to %s ends at %s, want %s", c.method, c.status, c.location, got.URL, c.want)
		}
	}
}

func TestHeadersStayDroppedOnTheWayBack(t *testing.T) {
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Host + r.URL.Path {
		case "a.example.com/":
			http.Redirect(w, r, "https://b.example.com/", http.StatusFound)
		case "b.example.com/":
			http.Redirect(w, r, "https://a.example.com/back", http.StatusFound)
		}
		io.WriteString(w, r.Header.Get("Authorization"))
	})
	got, err := b.Fetch(context.Background(), Request{Method: "GET", URL: "https://a.example.com/", Header: everything})
	if err != nil || got.URL != "https://a.example.com/back" || len(got.Body) != 0 {
		t.Errorf("Fetch() = %s %q, %v", got.URL, got.Body, err)
	}
}

func TestRedirectsAreRefused(t *testing.T) {
	for _, location := range []string{
		"http://a.example.com/", "https://example.net/", "//example.net/", "https://a.example.com:444/", "file:///etc/passwd", "gopher://a.example.com/", "javascript:alert(1)",
		"https://a.example.com@evil.net/", "https://u:p@a.example.com/", "//u@a.example.com/", "/to#fragment", "#", "https:\\\\evil.net", "/\\evil.net", "\\\\evil.net", "/a b",
		"https://a.example.com./", "https://[::1]/", "https://127.0.0.1/", "https://0x7f.1/", "http://169.254.169.254/latest/meta-data/", "/%zz", "https:evil", "/ä", "https://b.example.com:0/",
		"https:///evil.net/", "https://internal.example.com/", "https://mixed.example.com/",
	} {
		b := newBed(t, redirecting(http.StatusFound, location))
		b.name("internal.example.com", "169.254.169.254")
		b.name("mixed.example.com", "93.184.216.34 10.0.0.1")
		got, err := b.Fetch(context.Background(), get("https://a.example.com/dir/from"))
		if !errors.Is(err, ErrDenied) {
			t.Errorf("Fetch() redirected to %q = %q, %v, want ErrDenied", location, got.Body, err)
		}
		if n := len(b.connections()); n != 1 {
			t.Errorf("redirect to %q made %d connections, want 1", location, n)
		}
	}
}

func TestBodyGoesToItsOriginAlone(t *testing.T) {
	for _, status := range []int{307, 308} {
		b := newBed(t, redirecting(status, "https://b.example.com/to"))
		_, err := b.Fetch(context.Background(), Request{Method: "POST", URL: "https://a.example.com/dir/from", Body: []byte("client_secret=SECRET")})
		if !errors.Is(err, ErrDenied) || len(b.connections()) != 1 {
			t.Errorf("Fetch() with a body, %d to another origin = %v, want ErrDenied", status, err)
		}
	}
}

func TestRedirectsAreCounted(t *testing.T) {
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		var left int
		if _, err := fmt.Sscan(r.URL.Path[1:], &left); err != nil || left == 0 {
			return
		}
		http.Redirect(w, r, fmt.Sprint("/", left-1), http.StatusFound)
	})
	if got, err := b.Fetch(context.Background(), get("https://a.example.com/5")); err != nil || got.URL != "https://a.example.com/0" {
		t.Errorf("Fetch() with 5 redirects = %v, %v", got.URL, err)
	}
	if _, err := b.Fetch(context.Background(), get("https://a.example.com/6")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Fetch() with 6 redirects = %v, want ErrUnreachable", err)
	}
}

func TestRedirectLoopEnds(t *testing.T) {
	requests := 0
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	}, func(o *Options) { o.MaxRedirects = 2 })
	if _, err := b.Fetch(context.Background(), get("https://a.example.com/")); !errors.Is(err, ErrUnreachable) || requests != 3 {
		t.Errorf("Fetch() in a loop = %v after %d requests, want ErrUnreachable after 3", err, requests)
	}
}

func TestOtherAnswersAreNoRedirects(t *testing.T) {
	for _, status := range []int{200, 201, 300, 304, 305, 306, 401} {
		b := newBed(t, redirecting(status, "https://evil.net/"))
		if got, err := b.Fetch(context.Background(), get("https://a.example.com/dir/from")); err != nil || got.Status != status {
			t.Errorf("Fetch() = %d, %v, want %d", got.Status, err, status)
		}
	}
	b := newBed(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) })
	if got, err := b.Fetch(context.Background(), get("https://a.example.com/")); err != nil || got.Status != http.StatusFound {
		t.Errorf("Fetch() of a redirect to nowhere = %d, %v, want 302", got.Status, err)
	}
	b = newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{"/a", "/b"}
		w.WriteHeader(http.StatusFound)
	})
	if _, err := b.Fetch(context.Background(), get("https://a.example.com/")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Fetch() of a redirect to two places = %v, want ErrUnreachable", err)
	}
}
