package samlpeer

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Browser does what a person's browser does: it keeps cookies, follows redirects, submits the
// forms that submit themselves, and logs in where it is asked to.
type Browser struct {
	// Home is a prefix of URLs at which it stops without asking for them; empty: it never does.
	Home string

	t    testing.TB
	http *http.Client
}

// NewBrowser returns one that nobody knows yet.
func NewBrowser(t testing.TB, home string) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &Browser{Home: home, t: t, http: &http.Client{
		Jar: jar, Timeout: time.Minute, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Page is where a browser ended: what was answered, or at home what would have been asked.
type Page struct {
	Method string
	URL    string
	Form   url.Values // of a POST
	Status int
	Header http.Header
	Body   string
}

// Fields are the parameters of a page, whether they came in the query or in a form.
func (p Page) Fields() map[string]string {
	values := p.Form
	if p.Method == http.MethodGet {
		u, _ := url.Parse(p.URL)
		values = u.Query()
	}
	fields := map[string]string{}
	for name := range values {
		fields[name] = values.Get(name)
	}
	return fields
}

// Query is the query as it is in the URL.
func (p Page) Query() string {
	_, query, _ := strings.Cut(p.URL, "?")
	return query
}

// maxHops is how often a person is sent on until something is wrong.
const maxHops = 20

// Get goes to a URL, and on from there.
func (b *Browser) Get(target string) Page {
	b.t.Helper()
	return b.walk(Page{Method: http.MethodGet, URL: target})
}

// Post submits a form, and goes on from there.
func (b *Browser) Post(target string, fields map[string]string) Page {
	b.t.Helper()
	form := url.Values{}
	for name, value := range fields {
		form.Set(name, value)
	}
	return b.walk(Page{Method: http.MethodPost, URL: target, Form: form})
}

func (b *Browser) walk(p Page) Page {
	b.t.Helper()
	for range maxHops {
		if b.Home != "" && strings.HasPrefix(p.URL, b.Home) {
			return p
		}
		if err := b.ask(&p); err != nil {
			b.t.Fatalf("%s %.200s: %v", p.Method, p.URL, err)
		}
		next, ok := p.next()
		if !ok {
			return p
		}
		p = next
	}
	b.t.Fatalf("sent on more than %d times, last to %.200s", maxHops, p.URL)
	return p
}

func (b *Browser) ask(p *Page) error {
	var body io.Reader
	if p.Method == http.MethodPost {
		body = strings.NewReader(p.Form.Encode())
	}
	r, err := http.NewRequest(p.Method, p.URL, body)
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := b.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	p.Status, p.Header, p.Body = answer.StatusCode, answer.Header, string(data)
	return err
}

var (
	formTag   = regexp.MustCompile(`(?is)<form\b([^>]*)>(.*?)</form>`)
	inputTag  = regexp.MustCompile(`(?is)<(?:input|button)\b([^>]*)>`)
	attribute = regexp.MustCompile(`(?is)([a-z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')`)
)

// attributes of a tag, by their names in lower case.
func attributes(tag string) map[string]string {
	all := map[string]string{}
	for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
		all[strings.ToLower(m[1])] = html.UnescapeString(m[2] + m[3])
	}
	return all
}

// next is where a page sends its browser on to, if it does.
func (p Page) next() (Page, bool) {
	here, err := url.Parse(p.URL)
	if err != nil {
		return Page{}, false
	}
	if p.Status >= 300 && p.Status < 400 {
		there, err := here.Parse(p.Header.Get("Location"))
		return Page{Method: http.MethodGet, URL: fmt.Sprint(there)}, err == nil
	}
	form := formTag.FindStringSubmatch(p.Body)
	if form == nil || p.Status != http.StatusOK || !strings.Contains(p.Header.Get("Content-Type"), "html") {
		return Page{}, false
	}
	of := attributes(form[1])
	there, err := here.Parse(of["action"])
	if err != nil || of["action"] == "" && !strings.Contains(form[2], "password") {
		return Page{}, false
	}
	next := Page{Method: strings.ToUpper(of["method"]), URL: there.String(), Form: url.Values{}}
	goes := false
	for _, m := range inputTag.FindAllStringSubmatch(form[2], -1) {
		input := attributes(m[1])
		switch name := input["name"]; {
		case name == "":
		case input["type"] == "password":
			next.Form.Set(name, Password)
			goes = true
		case name == "username":
			next.Form.Set(name, User)
		case input["type"] == "hidden":
			next.Form.Set(name, input["value"])
			goes = goes || name == "SAMLResponse" || name == "SAMLRequest"
		}
	}
	return next, goes && next.Method == http.MethodPost
}
