package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/proxy"
)

func newRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

func newProxy(t *testing.T, u ...config.Upstream) *proxy.Proxy {
	t.Helper()
	p, err := proxy.New(proxy.Options{Upstreams: u, Registerer: newRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProxyCountsStreamedBodies(t *testing.T) {
	var clean atomic.Int64
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		for {
			if _, err := readRequest(br); err != nil {
				return
			}
			clean.Add(1)
			_, _ = io.WriteString(c, hello)
		}
	})
	b := start(t, u.addr, func(s *setup) { s.route.BodyBytes = 10000 })
	if got := b.send(t, request("POST", "/", strings.Repeat("a", 10000), "Content-Length: 10000")); got.status != 200 {
		t.Errorf("body at the limit = %d", got.status)
	}
	before := u.conns.Load()
	b.send(t, request("POST", "/", "a", "Content-Length: 10001")).is(t, 413, "REQUEST_TOO_LARGE")
	if u.conns.Load() != before || clean.Load() != 1 {
		t.Error("a body declared too large reached the upstream")
	}
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 4000, strings.Repeat("a", 4000))
	b.send(t, request("POST", "/", chunk+chunk+chunk+"0\r\n\r\n", "Transfer-Encoding: chunked")).is(t, 413, "REQUEST_TOO_LARGE")
	if clean.Load() != 1 {
		t.Error("the upstream saw a body over the limit as a whole request")
	}
}

func TestProxyBrokenClientBodyIsNoWholeRequestUpstream(t *testing.T) {
	var whole atomic.Int64
	u := newUpstream(t, func(_ net.Conn, br *bufio.Reader) {
		if _, err := readRequest(br); err == nil {
			whole.Add(1)
		}
	})
	b := start(t, u.addr)
	b.send(t, request("POST", "/", "5\r\nhelloXX0\r\n\r\n", "Transfer-Encoding: chunked")).is(t, 400, "INVALID_REQUEST_BODY")
	c := b.dial(t)
	write(t, c, request("POST", "/", strings.Repeat("a", 50000), "Content-Length: 100000"))
	_ = c.(*net.TCPConn).CloseWrite()
	readAnswer(t, bufio.NewReader(c), "POST").is(t, 400, "INVALID_REQUEST_BODY")

	c = b.dial(t) // between two chunks
	write(t, c, request("POST", "/", "5\r\nhello\r\n", "Transfer-Encoding: chunked"))
	_ = c.(*net.TCPConn).CloseWrite()
	readAnswer(t, bufio.NewReader(c), "POST").is(t, 400, "INVALID_REQUEST_BODY")
	if whole.Load() != 0 {
		t.Error("the upstream took a broken body for a whole one")
	}
}

func TestProxyPassesAnAnswerThatComesBeforeTheBody(t *testing.T) {
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
		}
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, br)
	})
	b := start(t, u.addr)
	got := b.send(t, request("POST", "/", strings.Repeat("a", 100000), "Content-Length: 100000"))
	if got.status != 403 || got.body != "no" {
		t.Errorf("answer = %d %q", got.status, got.body)
	}
}

func TestProxyUsesNoConnectionAgainThatAnsweredTooEarly(t *testing.T) {
	answered := make(chan bool, 1)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil { // and not its body, which is the next request then
			_, _ = io.WriteString(c, hello)
			answered <- true
		}
		_, _ = io.Copy(io.Discard, br)
	})
	b := start(t, u.addr)
	c := b.dial(t)
	br := bufio.NewReader(c)
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	first := strings.Repeat("a", 64<<10) // more than is waited for before the upstream hears of it
	write(t, c, request("POST", "/", first, fmt.Sprintf("Content-Length: %d", len(first)+len(smuggled))))
	<-answered
	write(t, c, smuggled)
	if got := readAnswer(t, br, "POST"); got.status != 200 || got.body != "hello" {
		t.Errorf("answer = %d %q", got.status, got.body)
	}
	write(t, c, get())
	if got := readAnswer(t, br, "GET"); got.status != 200 {
		t.Errorf("answer = %d %q", got.status, got.body)
	}
	if n := u.conns.Load(); n != 2 {
		t.Errorf("%d upstream connections, want 2", n)
	}
}

func TestProxySends100AfterItsChecks(t *testing.T) {
	u := newUpstream(t, answering(hello))
	b := start(t, u.addr, func(s *setup) { s.route.BodyBytes = 10 })
	c := b.dial(t)
	br := bufio.NewReader(c)
	write(t, c, request("POST", "/", "", "Content-Length: 5", "Expect: 100-continue"))
	if line, _ := br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("first line = %q", line)
	}
	_, _ = br.ReadString('\n')
	write(t, c, "hello")
	if got := readAnswer(t, br, "POST"); got.status != 200 {
		t.Errorf("answer = %d", got.status)
	}
	if strings.Contains(u.received(), "Expect") {
		t.Error("Expect went upstream")
	}
}

func TestProxyStreamsEventsAsTheyCome(t *testing.T) {
	next := make(chan struct{})
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		_, _ = readRequest(br)
		write(t, c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range next {
			write(t, c, "8\r\ndata: x\n\r\n")
		}
		write(t, c, "0\r\n\r\n")
	})
	b := start(t, u.addr)
	c := b.dial(t)
	write(t, c, get())
	resp, err := http.ReadResponse(bufio.NewReader(c), nil) // the head comes before any event
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 8)
	for range 3 {
		next <- struct{}{}
		if _, err := io.ReadFull(resp.Body, buf); err != nil {
			t.Fatalf("event: %v", err)
		}
	}
	close(next)
	if _, err := resp.Body.Read(buf); err != io.EOF {
		t.Errorf("end = %v", err)
	}
}

func TestProxyUpstreamStreamsAnUploadAsItComes(t *testing.T) {
	const first = 64 << 10 // more than is waited for before the upstream hears of it
	got := make(chan string, 3)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, r.Body, first); err != nil {
			return
		}
		buf := make([]byte, 3)
		for range 3 {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				return
			}
			got <- string(buf)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(c, hello)
	})
	b := start(t, u.addr)
	c := b.dial(t)
	write(t, c, request("POST", "/", fmt.Sprintf("%x\r\n%s\r\n", first, strings.Repeat("a", first)), "Transfer-Encoding: chunked"))
	for _, part := range []string{"abc", "def", "ghi"} {
		write(t, c, "3\r\n"+part+"\r\n")
		if s := <-got; s != part {
			t.Fatalf("upstream got %q, want %q", s, part)
		}
	}
	write(t, c, "0\r\n\r\n")
	if a := readAnswer(t, bufio.NewReader(c), "POST"); a.status != 200 {
		t.Errorf("answer = %d", a.status)
	}
}

// TestProxyLongStreamOutlivesTheTimeouts moves a body for several times the length of every
// timeout: they bound silence, not length.
func TestProxyLongStreamOutlivesTheTimeouts(t *testing.T) {
	const timeout, parts = 100 * time.Millisecond, 15
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		write(t, c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", parts*4096))
		drip(t, c, strings.Repeat("a", 4096), parts)
	})
	b := start(t, u.addr, func(s *setup) {
		s.route.Timeout, s.server.Timeouts.Read, s.server.Timeouts.Write = timeout, timeout, timeout
	})
	c := b.dial(t)
	write(t, c, request("POST", "/", "", fmt.Sprintf("Content-Length: %d", parts*10000)))
	drip(t, c, strings.Repeat("a", 10000), parts)
	got := readAnswer(t, bufio.NewReader(c), "POST")
	if got.status != 200 || got.err != nil || len(got.body) != parts*4096 {
		t.Errorf("answer = %d, %d bytes, %v", got.status, len(got.body), got.err)
	}
}

func drip(t *testing.T, w io.Writer, part string, parts int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range parts {
		<-tick.C
		write(t, w, part)
	}
}

// TestProxyMemoryStaysFlat moves 1 GiB each way and watches the heap.
func TestProxyMemoryStaysFlat(t *testing.T) {
	const size = 1 << 30
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		write(t, c, fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Got: %d\r\nContent-Length: %d\r\n\r\n", n, size))
		pour(c, size)
	})
	b := start(t, u.addr, func(s *setup) { s.server.Timeouts.Read, s.server.Timeouts.Write = time.Minute, time.Minute })
	c := b.dial(t)
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))

	peak, stop := watchHeap()
	write(t, c, request("POST", "/", "", fmt.Sprintf("Content-Length: %d", size)))
	pour(c, size)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	stop()
	if err != nil || n != size || resp.Header.Get("X-Got") != fmt.Sprint(size) {
		t.Errorf("down %d bytes (%v), up %s", n, err, resp.Header.Get("X-Got"))
	}
	if grown := peak.Load(); grown > 32<<20 {
		t.Errorf("heap grew by %d MiB", grown>>20)
	}
}

var megabyte = make([]byte, 1<<20)

func pour(w io.Writer, size int) {
	for ; size > 0; size -= len(megabyte) {
		if _, err := w.Write(megabyte); err != nil {
			return
		}
	}
}

// watchHeap measures by how much the heap in use grows until stop is called.
func watchHeap() (peak *atomic.Int64, stop func()) {
	peak = &atomic.Int64{}
	end, ended := make(chan struct{}), make(chan struct{})
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	base := int64(m.HeapInuse)
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), int64(m.HeapInuse)-base))
			}
		}
	}()
	return peak, func() { close(end); <-ended }
}
