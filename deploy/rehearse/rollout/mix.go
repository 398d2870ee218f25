package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What the people do. All of it has to happen in every scenario.
const (
	opLogin   = "login"
	opSite    = "login elsewhere"
	opRefresh = "refresh"
	opRead    = "read"
	opWrite   = "write"
)

var operations = []string{opLogin, opSite, opRefresh, opRead, opWrite}

// How many people do what, and bounds of what they do: no loop is without one.
const (
	readers    = 5 // read and write, by the token that they have
	refreshers = 2 // refresh, and read by the new token
	loggers    = 2 // log in by e-mail and password, and read
	visitors   = 2 // log in at another site, and read

	enrolled = readers + refreshers + loggers // who have a password
	everyone = enrolled + visitors

	mostOperations = 200_000 // of one person
	mostTries      = 200     // of one operation
	requestTimeout = 15 * time.Second
	keptSessions   = 200 // of one person, to come back to: each fourth
)

// mix is the people.
type mix struct {
	in     *installation
	book   *book
	people []*person
}

type person struct {
	m               *mix
	name            string
	email, password string
	http            *http.Client // a connection of its own, from an address of its own

	access, refresh string
	left            int
	kept            []string // refresh tokens of sessions that were left alone
}

// gather enrols the people.
func gather(ctx context.Context, in *installation, b *book) (*mix, error) {
	m := &mix{in: in, book: b}
	b.turn("enrolment")
	for i := range everyone {
		p := &person{
			m: m, name: fmt.Sprintf("p%d", i), email: fmt.Sprintf("p%d@example.com", i), password: fmt.Sprintf("a long good passphrase %d", i),
			http: browser(i, nil),
		}
		m.people = append(m.people, p)
		if i >= enrolled {
			continue // enrolled by their first login
		}
		if err := p.enrol(ctx); err != nil {
			return nil, fmt.Errorf("enrol %s: %w", p.email, err)
		}
	}
	return m, nil
}

// browser returns a client that follows no redirect by itself and is behind the address of
// one person.
func browser(i int, jar http.CookieJar) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}, Timeout: 5 * time.Second}
	return &http.Client{
		Timeout: requestTimeout, Jar: jar, Transport: &http.Transport{DialContext: dialer.DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// work lets everybody work until ctx ends; the channel is closed when the last has gone.
func (m *mix) work(ctx context.Context) <-chan struct{} {
	var working sync.WaitGroup
	for i, p := range m.people {
		working.Go(func() {
			for n := 0; n < mostOperations && ctx.Err() == nil; n++ {
				switch {
				case i < readers:
					p.readAndWrite(ctx, n)
				case i < readers+refreshers:
					p.goOn(ctx)
				case i < enrolled:
					p.logInAgain(ctx)
				default:
					p.logInElsewhere(ctx, i)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		working.Wait()
	}()
	return done
}

func (p *person) readAndWrite(ctx context.Context, n int) {
	do := p.read
	if n%5 == 4 {
		do = p.write
	}
	p.until(ctx, func() error { return do(ctx) })
	_ = pause(ctx, 10*time.Millisecond)
}

func (p *person) goOn(ctx context.Context) {
	p.until(ctx, func() error { return p.again(ctx) })
	p.until(ctx, func() error { return p.read(ctx) }) // by whichever gateway is next
	_ = pause(ctx, 100*time.Millisecond)
}

func (p *person) logInAgain(ctx context.Context) {
	p.keep()
	p.until(ctx, func() error { return p.login(ctx) })
	p.until(ctx, func() error { return p.read(ctx) })
	_ = pause(ctx, 150*time.Millisecond)
}

func (p *person) logInElsewhere(ctx context.Context, i int) {
	p.keep()
	p.until(ctx, func() error { return p.loginElsewhere(ctx, i) })
	p.until(ctx, func() error { return p.read(ctx) })
	_ = pause(ctx, 150*time.Millisecond)
}

// keep leaves the session alone and remembers some of them.
func (p *person) keep() {
	if p.left++; p.refresh != "" && p.left%4 == 0 && len(p.kept) < keptSessions {
		p.kept = append(p.kept, p.refresh)
	}
}

// until tries an operation until it succeeds, and notes how long that took. It waits as long
// as it is told to in between.
func (p *person) until(ctx context.Context, do func() error) {
	began := time.Now()
	for range mostTries {
		err := do()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			p.m.book.waited(time.Since(began))
			return
		}
		after := 100 * time.Millisecond
		var r refused
		if errors.As(err, &r) && r.after > 0 {
			after = r.after
		}
		_ = pause(ctx, after)
	}
	fmt.Fprintf(os.Stderr, "%s gives up\n", p.name)
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (p *person) take(t tokens) { p.access, p.refresh = t.Access, t.Refresh }

func (p *person) login(ctx context.Context) error {
	var got tokens
	err := p.ask(ctx, opLogin, request{path: "/auth/login", body: map[string]string{"email": p.email, "password": p.password}}, &got)
	if err == nil {
		p.take(got)
	}
	return err
}

func (p *person) again(ctx context.Context) error {
	var got tokens
	err := p.ask(ctx, opRefresh, request{path: "/auth/refresh", body: map[string]string{"refresh_token": p.refresh}}, &got)
	if err == nil {
		p.take(got)
	}
	return err
}

// seen is what the upstream says that it got.
type seen struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Bytes   int               `json:"body_bytes"`
}

func (p *person) read(ctx context.Context) error {
	var got seen
	return p.ask(ctx, opRead, request{path: "/api/notes/1", token: p.access, check: func() bool {
		return got.Method == http.MethodGet && got.Path == "/api/notes/1" && got.Headers["X-User-Id"] != ""
	}}, &got)
}

func (p *person) write(ctx context.Context) error {
	var got seen
	note := map[string]string{"text": strings.Repeat("note ", 200)}
	return p.ask(ctx, opWrite, request{path: "/api/notes", token: p.access, body: note, check: func() bool {
		return got.Method == http.MethodPost && got.Bytes > 1000
	}}, &got)
}

// loginElsewhere goes through a whole login with a new browser: from the gateway to the other
// site, through its form, and back.
func (p *person) loginElsewhere(ctx context.Context, i int) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	fresh := browser(i, jar)
	defer fresh.CloseIdleConnections()
	var there string
	if err := p.ask(ctx, opSite, request{path: "/auth/oauth/basic", client: fresh, location: &there}, nil); err != nil {
		return err
	}
	began := time.Now()
	back, err := signIn(ctx, fresh, there, p.m.in.front+"/auth/oauth/basic/callback", p.name)
	if err != nil {
		if ctx.Err() == nil {
			p.m.book.request(opSite, &fault{operation: opSite, kind: "the other site", began: began, ended: time.Now()})
		}
		return fmt.Errorf("at the other site: %w", err)
	}
	var got tokens
	if err := p.ask(ctx, opSite, request{path: back, client: fresh}, &got); err != nil {
		return err
	}
	p.take(got)
	return nil
}

var form = regexp.MustCompile(`<form method="post"`)

// signIn logs in at the other site and returns the path at the gateway that it sends back to,
// which is not opened yet.
func signIn(ctx context.Context, c *http.Client, address, back, who string) (string, error) {
	asked := false
	for range 10 {
		method, body := http.MethodGet, io.Reader(nil)
		if asked {
			method, body = http.MethodPost, strings.NewReader(url.Values{"login": {who}}.Encode())
		}
		r, err := http.NewRequestWithContext(ctx, method, address, body)
		if err != nil {
			return "", err
		}
		if asked {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := c.Do(r)
		if err != nil {
			return "", err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			return "", err
		case resp.StatusCode == http.StatusOK && form.Match(text):
			asked = true
			continue
		case resp.StatusCode < 300 || resp.StatusCode >= 400:
			return "", fmt.Errorf("%s %s = %d", method, address, resp.StatusCode)
		}
		next, err := r.URL.Parse(resp.Header.Get("Location"))
		if err != nil {
			return "", err
		}
		address, asked = next.String(), false
		if strings.HasPrefix(address, back) {
			return next.RequestURI(), nil
		}
	}
	return "", errors.New("it does not come to an end")
}

// refused is an answer that is not the one that was wanted.
type refused struct {
	status int
	code   string
	after  time.Duration
}

func (r refused) Error() string {
	return strings.TrimSpace(strconv.Itoa(r.status) + " " + r.code)
}

var (
	errWrong = errors.New("wrong answer")
	errTwice = errors.New(broken) // and asked again
)

const broken = "broken connection"

func kindOf(err error) string {
	var r refused
	switch {
	case errors.As(err, &r):
		return r.Error()
	case errors.Is(err, errWrong), errors.Is(err, errTwice):
		return err.Error()
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return "timeout"
	}
	return broken
}

// request is one request to the gateways.
type request struct {
	path, token string
	body        any          // nil: a GET
	client      *http.Client // nil: the person's
	location    *string      // where to put it: the answer has to be a redirect
	check       func() bool  // whether the answer is right; nil: it is
}

// ask sends a request through haproxy and writes down how it went, unless ctx ends meanwhile.
func (p *person) ask(ctx context.Context, operation string, q request, into any) error {
	began := time.Now()
	gateway, err := p.send(ctx, q, into)
	if err == nil && q.check != nil && !q.check() {
		err = errWrong
	}
	switch {
	case err == nil:
		p.m.book.request(operation, nil)
	case ctx.Err() == nil:
		p.m.book.request(operation, &fault{operation, kindOf(err), gateway, began, time.Now()})
	}
	return err
}

func (p *person) send(ctx context.Context, q request, into any) (gateway string, err error) {
	method, content := http.MethodGet, io.Reader(nil)
	if q.body != nil {
		b, err := json.Marshal(q.body)
		if err != nil {
			return "", err
		}
		method, content = http.MethodPost, bytes.NewReader(b)
	}
	// The standard client sends some requests again when a connection breaks. A person would
	// not notice; we want to.
	sent := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sent++ }})
	r, err := http.NewRequestWithContext(ctx, method, p.m.in.front+q.path, content)
	if err != nil {
		return "", err
	}
	if q.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if q.token != "" {
		r.Header.Set("Authorization", "Bearer "+q.token)
	}
	client := p.http
	if q.client != nil {
		client = q.client
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	gateway = resp.Header.Get("X-Gateway")
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return gateway, err
	}
	if redirect := resp.StatusCode >= 300 && resp.StatusCode < 400; resp.StatusCode >= 300 && !(redirect && q.location != nil) {
		var envelope struct{ Error struct{ Code string } }
		_ = json.Unmarshal(answer, &envelope) // without a code the status has to do
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return gateway, refused{resp.StatusCode, or(envelope.Error.Code, "of haproxy"), time.Duration(after) * time.Second}
	}
	if q.location != nil {
		*q.location = resp.Header.Get("Location")
	}
	if sent > 1 {
		return gateway, errTwice
	}
	if into == nil {
		return gateway, nil
	}
	return gateway, json.Unmarshal(answer, into)
}

// enrol registers, follows the link of the mail, and logs in.
func (p *person) enrol(ctx context.Context) error {
	_, err := p.send(ctx, request{path: "/auth/register", body: map[string]string{"email": p.email, "password": p.password, "name": p.name}}, nil)
	if err != nil {
		return err
	}
	var path string
	err = await(ctx, "the mail is there", func() bool {
		path = p.m.in.mails.link(p.email)
		return path != ""
	})
	if err != nil {
		return err
	}
	if _, err := p.send(ctx, request{path: path}, nil); err != nil {
		return err
	}
	return p.login(ctx)
}

// comeBack lets everybody refresh each session that was handed out, and log in. It returns how
// many there were, and those that are lost by the kind of error.
func (m *mix) comeBack(ctx context.Context) (sessions int, lost map[string]int) {
	lost = map[string]int{}
	for i, p := range m.people {
		for _, token := range append(p.kept, p.refresh) {
			sessions++
			q := request{path: "/auth/refresh", body: map[string]string{"refresh_token": token}}
			if _, err := p.send(ctx, q, nil); err != nil {
				lost["session: "+kindOf(err)]++
			}
		}
		enter := func() error { return p.login(ctx) }
		if i >= enrolled {
			enter = func() error { return p.loginElsewhere(ctx, i) }
		}
		if err := enter(); err != nil {
			lost["locked out: "+kindOf(err)]++
		}
	}
	return sessions, lost
}
