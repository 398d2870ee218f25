// Client is what the rehearsals measure with: some people who use an installation without a
// pause, through whichever gateway answers, as a load balancer would send them. It says ready
// when they are logged in, works until SIGTERM, then lets everybody come back once more and
// prints what happened, one line for each operation:
//
//	operation	requests	errors	kinds of errors	longest pause in seconds
//
// The last line says how many sessions were handed out, and how many of them are lost. It
// exits with 1 if one of the people cannot log in any more.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	gateways := flag.String("gateways", "", "URLs of the gateways, separated by commas")
	mails := flag.String("mail", "", "directory where they write mails")
	number := flag.Int("people", 4, "how many people")
	flag.Parse()
	c := &client{
		gateways: strings.Split(*gateways, ","), mails: *mails, done: map[string]*outcome{},
		out:  make([]atomic.Bool, len(strings.Split(*gateways, ","))),
		http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	people := make([]*person, *number)
	for i := range people {
		people[i] = &person{email: fmt.Sprintf("p%d@example.com", i), password: fmt.Sprintf("a long good passphrase %d", i)}
		if err := c.enrol(ctx, people[i]); err != nil {
			return fmt.Errorf("enrol: %w", err)
		}
	}
	fmt.Println("ready")
	var working sync.WaitGroup
	for _, p := range people {
		working.Go(func() { c.use(ctx, p) })
	}
	working.Wait()
	return c.comeBack(people)
}

type person struct {
	email, password string
	access, refresh string
	earlier         []string // refresh tokens of sessions that were left alone
}

type client struct {
	gateways []string
	mails    string
	http     *http.Client
	turn     atomic.Uint64
	out      []atomic.Bool // of the gateways: nothing is sent there until it is ready

	mu   sync.Mutex
	done map[string]*outcome
}

// outcome is what came of one kind of operation.
type outcome struct {
	requests, errors int
	kinds            map[string]int
	pause            time.Duration
}

// use is one person's work: reads, now and then a refresh or a new login. Who is told that a
// session is over logs in again.
func (c *client) use(ctx context.Context, p *person) {
	for n := 0; ctx.Err() == nil; n++ {
		done := true
		switch {
		case n%200 == 199:
			done = false
		case n%20 == 19:
			done = c.until(ctx, "refresh", func() error { return c.again(p) })
		default:
			done = c.until(ctx, "proxied read", func() error { return c.read(p) }) || c.until(ctx, "refresh", func() error { return c.again(p) })
		}
		if !done && ctx.Err() == nil {
			p.earlier = append(p.earlier, p.refresh)
			c.until(ctx, "login", func() error { return c.login(p) })
		}
		wait(ctx, 5*time.Millisecond)
	}
}

// until tries an operation until it succeeds or somebody refuses it for good, and notes what
// came of it and how long that took. It reports whether it succeeded.
func (c *client) until(ctx context.Context, name string, do func() error) (done bool) {
	began := time.Now()
	kinds := map[string]int{}
	for ctx.Err() == nil {
		err := do()
		if done = err == nil; done {
			break
		}
		kinds[kindOf(err)]++
		var r refused
		if errors.As(err, &r) && r.status < 500 {
			break
		}
		wait(ctx, 100*time.Millisecond)
	}
	c.note(name, done, kinds, time.Since(began))
	return done
}

func (c *client) note(name string, done bool, kinds map[string]int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.done[name]
	if o == nil {
		o = &outcome{kinds: map[string]int{}}
		c.done[name] = o
	}
	if done {
		o.requests++
	}
	o.pause = max(o.pause, took)
	for kind, n := range kinds {
		o.requests += n
		o.errors += n
		o.kinds[kind] += n
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// refused is an answer that is not the one that was wanted.
type refused struct {
	status int
	code   string
}

func (r refused) Error() string { return strconv.Itoa(r.status) + " " + r.code }

func kindOf(err error) string {
	var r refused
	switch {
	case errors.As(err, &r):
		return r.Error()
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return "timeout"
	case errors.Is(err, errNobody):
		return "no gateway"
	}
	return "broken connection"
}

// errNobody says that no gateway takes requests.
var errNobody = errors.New("no gateway is ready")

// ask sends a request to the gateway whose turn it is. As a load balancer does, it passes over
// one that takes no connection, until that says that it is ready; a connection that breaks is
// an error.
func (c *client) ask(method, path, token string, body, into any) error {
	turn := c.turn.Add(1)
	for i := range c.gateways {
		n := (turn + uint64(i)) % uint64(len(c.gateways))
		if c.out[n].Load() && c.send(c.gateways[n], "GET", "/ready/", "", nil, nil) != nil {
			continue
		}
		err := c.send(c.gateways[n], method, path, token, body, into)
		var broken *url.Error
		c.out[n].Store(errors.As(err, &broken))
		var dial *net.OpError
		if !errors.As(err, &dial) || dial.Op != "dial" {
			return err
		}
	}
	return errNobody
}

func (c *client) send(base, method, path, token string, body, into any) error {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, base+path, content)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		var envelope struct{ Error struct{ Code string } }
		_ = json.Unmarshal(answer, &envelope) // without a code the status has to do
		return refused{resp.StatusCode, envelope.Error.Code}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

var link = regexp.MustCompile(`/auth/verify/[A-Za-z0-9_-]{43}`)

// enrol registers, follows the link of the mail, and logs in.
func (c *client) enrol(ctx context.Context, p *person) error {
	err := c.ask("POST", "/auth/register", "", map[string]string{"email": p.email, "password": p.password, "name": "P"}, nil)
	if err != nil {
		return err
	}
	path := ""
	for path == "" && ctx.Err() == nil {
		if path, err = c.mailed(p.email); err != nil {
			return err
		}
		wait(ctx, 20*time.Millisecond)
	}
	if err := c.ask("GET", path, "", nil, nil); err != nil {
		return err
	}
	return c.login(p)
}

// mailed returns the link of the mail to an address, empty if there is none yet.
func (c *client) mailed(to string) (string, error) {
	files, err := filepath.Glob(filepath.Join(c.mails, "*.eml"))
	if err != nil {
		return "", err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if bytes.Contains(text, []byte(to)) {
			text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("=\r\n"), nil), []byte("=\n"), nil)
			return string(link.Find(text)), nil
		}
	}
	return "", nil
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (c *client) login(p *person) error {
	var got tokens
	err := c.ask("POST", "/auth/login", "", map[string]string{"email": p.email, "password": p.password}, &got)
	if err == nil {
		p.access, p.refresh = got.Access, got.Refresh
	}
	return err
}

func (c *client) again(p *person) error {
	var got tokens
	err := c.ask("POST", "/auth/refresh", "", map[string]string{"refresh_token": p.refresh}, &got)
	if err == nil {
		p.access, p.refresh = got.Access, got.Refresh
	}
	return err
}

func (c *client) read(p *person) error { return c.ask("GET", "/api/notes", p.access, nil, nil) }

// comeBack lets everybody refresh each session and log in, and prints the table.
func (c *client) comeBack(people []*person) error {
	sessions, lost, out := 0, 0, 0
	for _, p := range people {
		for _, token := range append(p.earlier, p.refresh) {
			sessions++
			if err := c.again(&person{refresh: token}); err != nil {
				lost++
			}
		}
		if err := c.login(p); err != nil {
			fmt.Fprintf(os.Stderr, "client: %s cannot log in: %v\n", p.email, err)
			out++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.done)) {
		o := c.done[name]
		var kinds []string
		for kind, n := range o.kinds {
			kinds = append(kinds, fmt.Sprintf("%d %s", n, kind))
		}
		slices.Sort(kinds)
		fmt.Printf("%s\t%d\t%d\t%s\t%.2f\n", name, o.requests, o.errors, cmp.Or(strings.Join(kinds, ", "), "-"), o.pause.Seconds())
	}
	fmt.Printf("sessions\t%d\t%d\tlost\t-\n", sessions, lost)
	if out > 0 {
		return fmt.Errorf("%d of %d people are locked out", out, len(people))
	}
	return nil
}
