package proxy_test

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/proxy"
)

func TestProxySendsOneCanonicalHead(t *testing.T) {
	u := newUpstream(t, answering(hello))
	b := start(t, u.addr, func(s *setup) {
		s.route.Prefix, s.route.StripPrefix = "/api", "/api"
		s.identity = func(_ *fasthttp.RequestCtx, set func(name, value string)) {
			set("X-User-ID", "u1")
			set("X-User-Name", "J\u00fcrgen 100%\r\nX-User-Roles: owner")
			set("X-User-Email", "")
		}
	})
	got := b.send(t, request("POST", "/api/%61/b?q=%2f..", "5\r\nhello\r\n0\r\nX-User-ID: trailer\r\n\r\n",
		"Transfer-Encoding: chunked", "Trailer: X-User-ID", "Cookie: a=1; b=\"x y\"; c", "Cookie: d",
		"X-Request-ID: mine", "Accept: */*", "Accept: a/b", "X-Odd_Name.1: \xff",
		// All of these end here.
		"Authorization: Bearer secret", "X-User-ID: admin", "x-user-roles: owner", "X-WORKSPACE-IDS: 1", "X-Session-ID: 1",
		"X-Auth-Method: x", "X-User-Email: x", "X-User-Name: x", "X-Forwarded-For: 6.6.6.6", "X-Forwarded: for=6.6.6.6", "X-Forwarded-Proto: https",
		"X-Forwarded-Host: evil", "X-Forwarded-Anything: evil", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6",
		"True-Client-IP: 6.6.6.6", "Traceparent: 00-1-1-1", "Tracestate: a=b", "X-Original-URL: /admin", "X-Rewrite-URL: /admin",
		"X-HTTP-Method-Override: DELETE", "Proxy: http://evil",
		"Connection: keep-alive, X-Listed", "X-Listed: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
		"Proxy-Authorization: Basic x", "TE: trailers", "Upgrade: websocket", "HTTP2-Settings: x"))
	if got.status != 200 || got.body != "hello" {
		t.Fatalf("answer = %d %q", got.status, got.body)
	}
	want := "POST /a/b?q=%2f.. HTTP/1.1\r\n" +
		"Host: " + u.addr + "\r\n" +
		"Cookie: a=1; b=\"x y\"; c\r\nCookie: d\r\n" +
		"Accept: */*\r\nAccept: a/b\r\nX-Odd_Name.1: \xff\r\n" +
		"Transfer-Encoding: chunked\r\n" +
		"X-Request-ID: mine\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: api.example:8443\r\n" +
		"X-User-ID: u1\r\nX-User-Name: J%C3%BCrgen 100%25%0D%0AX-User-Roles: owner\r\n" +
		"\r\n5\r\nhello\r\n0\r\n\r\n"
	if diff := cmp.Diff(strings.ToLower(want), strings.ToLower(u.received())); diff != "" {
		t.Errorf("upstream received (-want +got):\n%s", diff)
	}
}

func TestEncodeLosesNothing(t *testing.T) {
	for value, want := range map[string]string{
		"": "", "Al B": "Al B", " u1": "%20u1", "u1 ": "u1%20", " ": "%20", "a\tb%\r\n\u00e9": "a%09b%25%0D%0A%C3%A9",
	} {
		if got := proxy.Encode(value); got != want {
			t.Errorf("Encode(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestProxyDropsWhatALongConnectionFieldLists(t *testing.T) {
	u := newUpstream(t, answering(hello))
	b := start(t, u.addr)
	b.send(t, get("Connection: zeta,"+strings.Repeat("Mu,nu,", 1000)+" x-A", "X-a: listed", "ZETA: listed", "mu: listed", "M: kept", "X-B: kept"))
	got := u.received()
	if strings.Contains(got, "listed") || strings.Count(got, "kept") != 2 {
		t.Errorf("upstream received %q", got)
	}
}

func TestProxyKeepsTheOwnCookies(t *testing.T) {
	u := newUpstream(t, answering(hello))
	b := start(t, u.addr, func(s *setup) { s.options.OwnCookies = []string{"refresh", "login"} })
	b.send(t, get("Cookie: a=1; refresh=secret;b=2; login=secret; refresh =secret; xrefresh=3", "Cookie: refresh=secret; login=secret", "Cookie: c=refresh"))
	got := u.received()
	if strings.Contains(got, "secret") || !strings.Contains(got, "\r\nCookie: a=1; b=2; xrefresh=3\r\nCookie: c=refresh\r\n") {
		t.Errorf("upstream received %q", got)
	}
}

func TestProxyPassesAuthorizationOnPublicRoutesAlone(t *testing.T) {
	for auth, want := range map[string]bool{"required": false, "optional": false, "public": true} {
		u := newUpstream(t, answering(hello))
		b := start(t, u.addr, func(s *setup) { s.route.Auth = auth })
		b.send(t, get("Authorization: Basic abc"))
		if got := strings.Contains(u.received(), "Basic abc"); got != want {
			t.Errorf("auth %s: Authorization upstream = %v, want %v", auth, got, want)
		}
	}
}

func TestProxyRefusedRequestsNeverArrive(t *testing.T) {
	u := newUpstream(t, answering(hello))
	b := start(t, u.addr)
	for _, raw := range []string{
		request("GET", "/a/../admin", ""), request("GET", "//evil", ""), get("X_User_ID: admin"), get("X.User.Id: admin"),
		get("Authorization: a", "Authorization: b"), request("GET", "/\x00", ""), get("X-A: b\r\n c"),
		request("POST", "/", "0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
		"GET / HTTP/1.1\r\nHost: u@evil\r\n\r\n", get("X-A: " + strings.Repeat("a", 40<<10)),
	} {
		if got := b.send(t, raw); got.status < 400 {
			t.Errorf("%.60q = %d", raw, got.status)
		}
	}
	if n := u.conns.Load(); n != 0 {
		t.Errorf("upstream saw %d connections and %q", n, u.received())
	}
}

func TestProxyStripPrefix(t *testing.T) {
	u := newUpstream(t, answering(hello))
	b := start(t, u.addr, func(s *setup) { s.route.Prefix, s.route.StripPrefix = "/v1/api", "/v1/" })
	for target, want := range map[string]string{"/v1/api": "/api", "/v1/api/x?y": "/api/x?y"} {
		b.send(t, request("GET", target, ""))
		if !strings.Contains(u.received(), "GET "+want+" HTTP/1.1\r\n") {
			t.Errorf("%s did not arrive as %s: %s", target, want, u.received())
		}
	}
}

func TestHandlerRefusesARouteThatCannotWork(t *testing.T) {
	p := newProxy(t, config.Upstream{Name: "u", URL: "http://127.0.0.1:1"})
	for name, r := range map[string]config.Route{
		"unknown upstream": {Name: "r", Prefix: "/", Upstream: "x"},
		"half a segment":   {Name: "r", Prefix: "/apix", StripPrefix: "/api", Upstream: "u"},
	} {
		if _, err := p.Handler(r, nil); err == nil {
			t.Errorf("%s: Handler() accepted it", name)
		}
	}
}

func TestNewRefusesUpstreamsItCannotReachAsConfigured(t *testing.T) {
	for _, url := range []string{"", "a:80", "ftp://a", "http://a/path", "http://u@a", "http://a?x", "http://a#x", "http://"} {
		_, err := proxy.New(proxy.Options{Upstreams: []config.Upstream{{Name: "u", URL: url}}, Registerer: newRegistry()})
		if err == nil {
			t.Errorf("New() accepted the URL %q", url)
		}
	}
}

func TestProxyAnswerHygiene(t *testing.T) {
	u := newUpstream(t, answering("HTTP/1.1 201 Created\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nServer: secret/1.0\r\nConnection: keep-alive, X-Listed\r\nX-Listed: 1\r\n"+
		"Keep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nX A: b\r\nX-Request-ID: theirs\r\nSet-Cookie: a=1; Path=/\r\n"+
		"Set-Cookie: b=2; HttpOnly\r\nX-Kept: yes\r\nLocation: /x\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"+
		"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"))
	b := start(t, u.addr)
	got := b.send(t, get("X-Request-ID: mine"))
	if got.status != 201 || got.body != "hello" || got.err != nil {
		t.Fatalf("answer = %d %q %v", got.status, got.body, got.err)
	}
	if n := len(got.header.Values("Date")); n != 1 {
		t.Errorf("%d Date fields", n) // fasthttp writes the gateway's own
	}
	got.header.Del("Date")
	want := map[string][]string{
		"Content-Type": {"text/x"}, "Location": {"/x"}, "X-Kept": {"yes"}, "X-Request-Id": {"mine"},
		"Set-Cookie": {"a=1; Path=/", "b=2; HttpOnly"},
	}
	if diff := cmp.Diff(want, map[string][]string(got.header)); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

func TestProxyAnswersWithoutBody(t *testing.T) {
	for name, row := range map[string]struct {
		method, raw string
		status      int
		length      string
	}{
		"HEAD":         {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", 200, "500"},
		"HEAD chunked": {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, ""},
		"204":          {"GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
		"304":          {"GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, ""},
		"empty":        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "0"},
		"after 1xx":    {"GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204, ""},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, answering(row.raw))
			b := start(t, u.addr)
			c := b.dial(t)
			br := bufio.NewReader(c)
			for range 2 { // the connections on both sides stay in step
				write(t, c, request(row.method, "/", ""))
				got := readAnswer(t, br, row.method)
				if kind, ok := got.header["Content-Type"]; ok {
					t.Errorf("Content-Type %q, and the upstream sent none", kind)
				}
				if got.status != row.status || got.header.Get("Content-Length") != row.length || got.body != "" {
					t.Errorf("answer = %d, length %q, body %q", got.status, got.header.Get("Content-Length"), got.body)
				}
			}
			if n := u.conns.Load(); n != 1 {
				t.Errorf("%d upstream connections, want 1", n)
			}
		})
	}
}

func TestProxyRefusesBrokenAnswers(t *testing.T) {
	for name, raw := range map[string]string{
		"nothing":                 "",
		"no HTTP":                 "hello\r\n\r\n",
		"half a head":             "HTTP/1.1 200 OK\r\nX-A:",
		"101 that nobody wanted":  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"status out of range":     "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
		"status zero":             "HTTP/1.1 000 Odd\r\nContent-Length: 5\r\n\r\nhello",
		"status zero after 100":   "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 000 Odd\r\nContent-Length: 5\r\n\r\nhello",
		"status below 100":        "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
		"status of two digits":    "HTTP/1.1 20 Odd\r\nContent-Length: 0\r\n\r\n",
		"status of four digits":   "HTTP/1.1 2000 Odd\r\nContent-Length: 0\r\n\r\n",
		"status with a sign":      "HTTP/1.1 +20 Odd\r\nContent-Length: 0\r\n\r\n",
		"status is a word":        "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
		"only an interim answer":  "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello",
		"interim without end":     strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 200) + hello,
		"two lengths":             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"control character":       "HTTP/1.1 200 OK\r\nX-A: \x01\r\nContent-Length: 0\r\n\r\n",
		"small body cut off":      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
		"head over the limit":     "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 40<<10) + "\r\n\r\n",
		"unknown transfer coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
				if _, err := readRequest(br); err == nil {
					_, _ = io.WriteString(c, raw)
				}
			})
			b := start(t, u.addr)
			b.send(t, get()).is(t, 502, "BAD_GATEWAY")
			if strings.Contains(b.log.String(), "aaaa") || strings.Contains(b.log.String(), "hel") && name == "small body cut off" {
				t.Error("the log quotes the answer")
			}
			if n := u.conns.Load(); n != 1 {
				t.Errorf("%d upstream connections: a request was repeated", n)
			}
		})
	}
}

func TestProxyBreaksOffWhenTheUpstreamDoes(t *testing.T) {
	for name, raw := range map[string]string{
		"declared length":   "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("a", 50000),
		"chunked":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"in the last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
		"broken chunk":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
				if _, err := readRequest(br); err == nil {
					_, _ = io.WriteString(c, raw)
				}
			})
			got := start(t, u.addr).send(t, get())
			if got.status != 200 || got.err == nil {
				t.Errorf("client saw status %d and a clean end after %d bytes", got.status, len(got.body))
			}
		})
	}
}

func TestProxyStreamsAnAnswerThatEndsWithItsConnection(t *testing.T) {
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := readRequest(br); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nhello")
		}
	})
	got := start(t, u.addr).send(t, get())
	if got.body != "hello" || got.err != nil {
		t.Errorf("body = %q, %v", got.body, got.err)
	}
}

func TestProxyTimesOut(t *testing.T) {
	release := make(chan struct{})
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		_, _ = readRequest(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nSet-Cookie: a=s3cret\r\n")
		<-release
	})
	b := start(t, u.addr, func(s *setup) { s.route.Timeout = 50 * time.Millisecond })
	b.send(t, get()).is(t, 504, "GATEWAY_TIMEOUT")
	close(release)
	if log := b.log.String(); strings.Contains(log, "s3cret") {
		t.Errorf("the log quotes the answer: %s", log)
	}
}

func TestProxySlowHeadDoesNotOutliveTheTimeout(t *testing.T) {
	done := make(chan struct{})
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		defer close(done)
		_, _ = readRequest(br)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := io.WriteString(c, "H"); err != nil {
				return
			}
		}
	})
	b := start(t, u.addr, func(s *setup) { s.route.Timeout = 100 * time.Millisecond })
	if got := b.send(t, get()); got.status != 504 && got.status != 502 {
		t.Errorf("answer = %d", got.status)
	}
	<-done
}

func TestProxyUnreachableUpstream(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	b := start(t, addr)
	b.send(t, get()).is(t, 502, "BAD_GATEWAY")
	if !strings.Contains(b.log.String(), `"upstream":"u"`) {
		t.Errorf("log does not name the upstream: %s", b.log.String())
	}
}

func TestProxyBusyUpstream(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		_, _ = readRequest(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
		close(arrived)
		// An answer that drips holds its connection without ever being late.
		drip := time.NewTicker(20 * time.Millisecond)
		defer drip.Stop()
		for {
			select {
			case <-release:
				return
			case <-drip.C:
				_, _ = io.WriteString(c, "x")
			}
		}
	})
	b := start(t, u.addr, func(s *setup) { s.upstream.Connections, s.route.Timeout = 1, 500*time.Millisecond })
	c := b.dial(t)
	write(t, c, get())
	<-arrived
	got := b.send(t, get())
	got.is(t, 503, "SERVICE_UNAVAILABLE")
	if got.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	close(release)
}

func TestProxyNeverRepeatsARequest(t *testing.T) {
	u := newUpstream(t, func(_ net.Conn, br *bufio.Reader) { _, _ = readRequest(br) }) // acts, then dies
	b := start(t, u.addr)
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		before := u.conns.Load()
		b.send(t, request(method, "/", "", "Content-Length: 0")).is(t, 502, "BAD_GATEWAY")
		if n := u.conns.Load() - before; n != 1 {
			t.Errorf("%s was sent %d times", method, n)
		}
	}
}

func TestProxyNoticesStaleConnectionsBeforeItWrites(t *testing.T) {
	closed := make(chan struct{}, 10)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		_, _ = readRequest(br)
		_, _ = io.WriteString(c, hello) // promises keep-alive and closes
		c.Close()
		closed <- struct{}{}
	})
	b := start(t, u.addr)
	for range 5 {
		if got := b.send(t, request("POST", "/", "abc", "Content-Length: 3")); got.status != 200 {
			t.Fatalf("answer = %d %s", got.status, got.body)
		}
		<-closed
	}
}

func TestProxyDropsAConnectionThatSpeaksUnasked(t *testing.T) {
	spoke := make(chan struct{}, 10)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := readRequest(br); err != nil {
			return
		}
		_, _ = io.WriteString(c, hello+"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
		spoke <- struct{}{}
		_, _ = br.ReadByte() // until the gateway closes
	})
	b := start(t, u.addr)
	for range 3 {
		if got := b.send(t, get()); got.body != "hello" {
			t.Fatalf("a client got the answer to nobody's request: %q", got.body)
		}
		<-spoke
	}
}

func TestProxyTracesWhenAsked(t *testing.T) {
	u := newUpstream(t, answering(hello))
	b := start(t, u.addr, func(s *setup) { s.options.Trace = true })
	b.send(t, get("Traceparent: 00-11111111111111111111111111111111-2222222222222222-01"))
	_, rest, _ := strings.Cut(u.received(), "Traceparent: ")
	parent, _, _ := strings.Cut(rest, "\r\n")
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || len(parts[2]) != 16 || strings.Contains(parent, "1111111111") {
		t.Errorf("traceparent = %q", parent)
	}
}

func TestProxyRefusesAnUpstreamWhoseCertificateNobodySigned(t *testing.T) {
	var calls atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	b := start(t, "", func(c *setup) { c.upstream.URL = s.URL })
	b.send(t, get()).is(t, 502, "BAD_GATEWAY")
	if calls.Load() != 0 {
		t.Error("the request was sent all the same")
	}
}

func BenchmarkProxy(b *testing.B) {
	u := newUpstream(b, answering(hello))
	g := start(b, u.addr)
	c := g.dial(b)
	br := bufio.NewReader(c)
	raw := []byte(get("Accept: */*", "User-Agent: bench"))
	for b.Loop() {
		if _, err := c.Write(raw); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}
