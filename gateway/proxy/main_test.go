package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/proxy"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// upstream is a server of raw connections: it keeps every byte that arrives and answers
// each request by script.
type upstream struct {
	addr  string
	conns atomic.Int64
	mu    sync.Mutex
	bytes bytes.Buffer
}

// script serves one connection; it returns to close it.
type script func(c net.Conn, br *bufio.Reader)

func newUpstream(t testing.TB, s script) *upstream {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	var open sync.Map
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			u.conns.Add(1)
			open.Store(c, true)
			wg.Go(func() {
				defer c.Close()
				s(c, bufio.NewReader(io.TeeReader(c, u)))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return u
}

func (u *upstream) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bytes.Len() < 1<<20 {
		u.bytes.Write(p)
	}
	return len(p), nil
}

// received returns what arrived so far, the first MiB of it.
func (u *upstream) received() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.bytes.String()
}

// answering answers every request with the same bytes and keeps the connection.
func answering(raw string) script {
	return func(c net.Conn, br *bufio.Reader) {
		for {
			if _, err := readRequest(br); err != nil {
				return
			}
			if _, err := io.WriteString(c, raw); err != nil {
				return
			}
		}
	}
}

func readRequest(br *bufio.Reader) (*http.Request, error) {
	r, err := http.ReadRequest(br)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	return r, nil
}

func readBody(br *bufio.Reader) (string, error) {
	r, err := http.ReadRequest(br)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

// bed is a gateway of edge and proxy alone, with one route.
type bed struct {
	addr string
	log  *lockedBuffer
	reg  *prometheus.Registry
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type setup struct {
	route    config.Route
	upstream config.Upstream
	options  proxy.Options
	identity proxy.Identity
	server   config.Server
	now      func() time.Time
}

func start(t testing.TB, addr string, change ...func(*setup)) *bed {
	t.Helper()
	b := &bed{log: &lockedBuffer{}, reg: prometheus.NewRegistry()}
	s := setup{
		route:    config.Route{Name: "r", Prefix: "/", Upstream: "u", Auth: "required", Timeout: 5 * time.Second},
		upstream: config.Upstream{Name: "u", URL: "http://" + addr, Connections: 16, ConnectTimeout: time.Second},
		server: config.Server{
			Limits:   config.Limits{HeaderBytes: 32 * config.KiB, Connections: 100},
			Timeouts: config.Timeouts{Read: 5 * time.Second, Write: 5 * time.Second, Idle: 5 * time.Second},
		},
	}
	for _, c := range change {
		c(&s)
	}
	s.options.Upstreams, s.options.Registerer = []config.Upstream{s.upstream}, b.reg
	p, err := proxy.New(s.options)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	h, err := p.Handler(s.route, s.identity)
	if err != nil {
		t.Fatalf("Handler() = %v", err)
	}
	server, err := edge.New(edge.Options{
		Config: s.server, Handler: h, AccessLog: true, Registerer: b.reg, Log: slog.New(slog.NewJSONHandler(b.log, nil)), Now: s.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		_ = server.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
		p.Close()
	})
	return b
}

func (b *bed) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
	closes bool
}

func (b *bed) send(t *testing.T, raw string) answer {
	t.Helper()
	c := b.dial(t)
	write(t, c, raw)
	method, _, _ := strings.Cut(raw, " ")
	return readAnswer(t, bufio.NewReader(c), method)
}

func readAnswer(t *testing.T, br *bufio.Reader, method string) answer {
	t.Helper()
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), err, resp.Close}
}

func (a answer) is(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, `"code":"`+code+`"`) {
		t.Errorf("answer = %d %s, want %d %s", a.status, a.body, status, code)
	}
}

func write(t *testing.T, c io.Writer, raw string) {
	t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func get(fields ...string) string { return request("GET", "/", "", fields...) }

func request(method, target, body string, fields ...string) string {
	out := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: api.example:8443\r\n", method, target)
	for _, f := range fields {
		out += f + "\r\n"
	}
	return out + "\r\n" + body
}
