package gatewaytest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// visitor is somebody with a browser: it keeps cookies, goes where it is sent, and fills in
// the forms of login pages.
type visitor struct {
	g    *gate
	http *http.Client
}

func (g *gate) visitor(t testing.TB) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{g, &http.Client{
		Transport: transport, Jar: jar, Timeout: 60 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// visit opens a page, or sends a form to it.
func (v *visitor) visit(t testing.TB, address string, form url.Values) answer {
	t.Helper()
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := v.http.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, r.URL.Path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, r.URL.Path, err)
	}
	a := answer{method + " " + r.URL.Path, resp.StatusCode, resp.Header, data}
	v.g.noteGot(a)
	return a
}

// signIn begins a login at the gateway, logs in at the other site as somebody, and returns
// the address that the other site sends back to, which is not opened yet.
func (v *visitor) signIn(t testing.TB, address, who string) string {
	t.Helper()
	var form url.Values
	for range 20 {
		a := v.visit(t, address, form)
		here, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case a.status >= 300 && a.status < 400:
			there, err := here.Parse(a.header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			v.note(there.Query())
			address, form = there.String(), nil
			if strings.HasPrefix(address, v.g.base) && strings.HasSuffix(there.Path, "/callback") {
				return address
			}
		case a.status == http.StatusOK && strings.Contains(a.header.Get("Content-Type"), "html"):
			var action string
			action, form = formFor(t, a.body, who)
			there, err := here.Parse(action)
			if err != nil {
				t.Fatal(err)
			}
			address = there.String()
		default:
			t.Fatalf("%s = %d %.300s on the way to the other site", a.what, a.status, a.body)
		}
	}
	t.Fatal("the other site does not come to an end")
	return ""
}

// note keeps what goes through the browser, to be looked for in the log.
func (v *visitor) note(q url.Values) {
	for _, name := range []string{"state", "nonce", "code"} {
		v.g.secrets.add(name+" of a login at another site", q.Get(name))
	}
}

// logIn goes through a whole login that begins at a path of the gateway and returns what the
// gateway says at its end.
func (v *visitor) logIn(t testing.TB, path, who string) answer {
	t.Helper()
	return v.visit(t, v.signIn(t, v.g.base+path, who), nil)
}

// formFor finds the form of a login page by which somebody signs in, filled in: the one that
// has the name in it already, or the one that asks for it.
func formFor(t testing.TB, page []byte, who string) (action string, values url.Values) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(string(page)))
	if err != nil {
		t.Fatal(err)
	}
	for form := range root.Descendants() {
		if form.Type != html.ElementNode || form.Data != "form" {
			continue
		}
		values, meant := url.Values{}, false
		for input := range form.Descendants() {
			if input.Data != "input" {
				continue
			}
			name, value := attribute(input, "name"), attribute(input, "value")
			if name == "login" && attribute(input, "type") != "hidden" {
				value = who
			}
			meant = meant || value == who
			values.Set(name, value)
		}
		if meant {
			return attribute(form, "action"), values
		}
	}
	t.Fatalf("no form for %s: %.500s", who, page)
	return "", nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// landing is a page that a login may lead to, with what it has to know to trade its code.
type landing struct{ uri, verifier string }

func newLanding(uri string) landing { return landing{uri, rand.Text() + rand.Text()} }

// query asks for a way back to the page.
func (l landing) query() string {
	return url.Values{"redirect_uri": {l.uri}, "code_challenge": {l.challenge()}}.Encode()
}

func (l landing) challenge() string {
	sum := sha256.Sum256([]byte(l.verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// codeFor returns the code that an answer takes to the page.
func (v *visitor) codeFor(t testing.TB, a answer, l landing) string {
	t.Helper()
	there, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusFound || !strings.HasPrefix(a.header.Get("Location"), l.uri) || there.Query().Get("code") == "" {
		t.Fatalf("%s = %d to %s, want a code for the page", a.what, a.status, a.header.Get("Location"))
	}
	v.note(there.Query())
	return there.Query().Get("code")
}
