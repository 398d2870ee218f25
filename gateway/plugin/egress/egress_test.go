package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFetchReturnsTheAnswer(t *testing.T) {
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for name, values := range map[string][]string{
			"Content-Type": {"text/plain"}, "Set-Cookie": {"a=b"}, "X-B": {"2", "1"}, "X-A": {"3"}, "Date": nil, "Alt-Svc": {`h3=":443"`},
			"Proxy-Authenticate": {"Basic"}, "Keep-Alive": {"timeout=5"}, "X-Binary": {"\xff"},
		} {
			w.Header()[name] = values
		}
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.RequestURI, body)
	})
	got, err := b.Fetch(context.Background(), Request{Method: "PUT", URL: "HTTPS://A.Example.com:443?q=%2f", Body: []byte("body")})
	if err != nil {
		t.Fatal(err)
	}
	want := Response{
		Status: 418, URL: "https://a.example.com/?q=%2f", Body: []byte("PUT a.example.com /?q=%2f body"),
		Header: []Header{{"content-length", "30"}, {"content-type", "text/plain"}, {"x-a", "3"}, {"x-b", "2"}, {"x-b", "1"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Fetch() (-want +got):\n%s", diff)
	}
}

func TestFetchSendsWhatWasAskedForAndNoMore(t *testing.T) {
	heads := make(chan string, 1)
	b := talker(t, func(head string, conn net.Conn) {
		heads <- head
		io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	for _, c := range []struct {
		request Request
		want    string
	}{
		{get("http://a.example.com"), "GET / HTTP/1.1\r\nHost: a.example.com\r\nUser-Agent: Shield\r\nAccept-Encoding: identity\r\n\r\n"},
		{
			Request{Method: "POST", URL: "http://a.example.com//p/../%2e?a=b+c&d", Body: []byte("hi"), Header: []Header{
				{"user-agent", "x"}, {"x-key", "a\tb"}, {"ACCEPT-ENCODING", "gzip"},
			}},
			"POST //p/../%2e?a=b+c&d HTTP/1.1\r\nHost: a.example.com\r\nUser-Agent: x\r\nContent-Length: 2\r\nAccept-Encoding: gzip\r\nX-Key: a\tb\r\n\r\n",
		},
		{Request{Method: "POST", URL: "http://a.example.com/"}, "POST / HTTP/1.1\r\nHost: a.example.com\r\nUser-Agent: Shield\r\nContent-Length: 0\r\nAccept-Encoding: identity\r\n\r\n"},
	} {
		if _, err := b.Fetch(context.Background(), c.request); err != nil {
			t.Fatalf("Fetch(%v): %v", c.request, err)
		}
		if diff := cmp.Diff(c.want, <-heads); diff != "" {
			t.Errorf("Fetch(%v) sends (-want +got):\n%s", c.request, diff)
		}
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	b := newBed(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	with := func(name, value string) Request {
		return Request{Method: "GET", URL: "https://a.example.com/", Header: []Header{{name, value}}}
	}
	many := get("https://a.example.com/")
	for i := range maxFields + 1 {
		many.Header = append(many.Header, Header{fmt.Sprint("x-", i), ""})
	}
	for name, c := range map[string]struct {
		request Request
		want    error
	}{
		"method":              {Request{Method: "CONNECT", URL: "https://a.example.com/"}, ErrInvalid},
		"no method":           {Request{URL: "https://a.example.com/"}, ErrInvalid},
		"small method":        {Request{Method: "get", URL: "https://a.example.com/"}, ErrInvalid},
		"split method":        {Request{Method: "GET / HTTP/1.1\r\nX: ", URL: "https://a.example.com/"}, ErrInvalid},
		"body of a GET":       {Request{Method: "GET", URL: "https://a.example.com/", Body: []byte("x")}, ErrInvalid},
		"long body":           {Request{Method: "POST", URL: "https://a.example.com/", Body: make([]byte, DefaultMaxRequestBytes+1)}, ErrTooLarge},
		"long URL":            {get("https://a.example.com/" + strings.Repeat("a", maxURL)), ErrInvalid},
		"not listed":          {get("https://example.net/"), ErrDenied},
		"line in a name":      {with("X\r\nHost", "x"), ErrInvalid},
		"colon in a name":     {with("X:", "x"), ErrInvalid},
		"space in a name":     {with("X ", "x"), ErrInvalid},
		"empty name":          {with("", "x"), ErrInvalid},
		"CR LF in a value":    {with("X", "a\r\nHost: b"), ErrInvalid},
		"LF in a value":       {with("X", "a\nHost: b"), ErrInvalid},
		"NUL in a value":      {with("X", "a\x00"), ErrInvalid},
		"Host":                {with("Host", "b.example.com"), ErrInvalid},
		"hOST":                {with("hOST", "b.example.com"), ErrInvalid},
		"Content-Length":      {with("Content-Length", "1"), ErrInvalid},
		"Content_Length":      {with("Content_Length", "1"), ErrInvalid},
		"Transfer.Encoding":   {with("Transfer.Encoding", "chunked"), ErrInvalid},
		"Transfer-Encoding":   {with("transfer-encoding", "chunked"), ErrInvalid},
		"Connection":          {with("Connection", "Authorization"), ErrInvalid},
		"Upgrade":             {with("Upgrade", "h2c"), ErrInvalid},
		"HTTP2-Settings":      {with("HTTP2-Settings", ""), ErrInvalid},
		"Expect":              {with("Expect", "100-continue"), ErrInvalid},
		"TE":                  {with("TE", "trailers"), ErrInvalid},
		"Trailer":             {with("Trailer", "X"), ErrInvalid},
		"Keep-Alive":          {with("Keep-Alive", "timeout=9"), ErrInvalid},
		"Proxy-Authorization": {with("Proxy-Authorization", "Basic x"), ErrInvalid},
		"Proxy-Connection":    {with("Proxy-Connection", "close"), ErrInvalid},
		"Cookie":              {with("Cookie", "a=b"), ErrInvalid},
		"one name twice":      {Request{Method: "GET", URL: "https://a.example.com/", Header: []Header{{"X", "1"}, {"x", "1"}}}, ErrInvalid},
		"many fields":         {many, ErrTooLarge},
		"long value":          {with("X", strings.Repeat("a", maxHeaderBytes)), ErrTooLarge},
	} {
		if _, err := b.Fetch(context.Background(), c.request); !errors.Is(err, c.want) {
			t.Errorf("%s: Fetch() = %v, want %v", name, err, c.want)
		}
	}
	if len(b.dialed) != 0 {
		t.Errorf("dialed %v", b.dialed)
	}
}

func TestBodiesHaveABound(t *testing.T) {
	const limit = 1000
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		var size int
		fmt.Sscan(r.URL.Path[1:], &size)
		if r.URL.RawQuery == "chunked" {
			w.(http.Flusher).Flush()
		}
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", r.URL.Path[1:])
		}
		w.Write(make([]byte, size))
	}, func(o *Options) { o.MaxResponseBytes = limit; o.MaxRequestBytes = 10 })
	for _, query := range []string{"", "?chunked"} {
		for size, want := range map[int]error{0: nil, limit: nil, limit + 1: ErrTooLarge, 1 << 20: ErrTooLarge} {
			got, err := b.Fetch(context.Background(), get(fmt.Sprint("https://a.example.com/", size, query)))
			if !errors.Is(err, want) || err == nil && len(got.Body) != size || err != nil && got.Body != nil {
				t.Errorf("Fetch() of %d bytes%s = %d bytes, %v, want %v", size, query, len(got.Body), err, want)
			}
		}
	}
	for size, want := range map[int]error{10: nil, 11: ErrTooLarge} {
		_, err := b.Fetch(context.Background(), Request{Method: "POST", URL: "https://a.example.com/0", Body: make([]byte, size)})
		if !errors.Is(err, want) {
			t.Errorf("Fetch() with %d bytes = %v, want %v", size, err, want)
		}
	}
	got, err := b.Fetch(context.Background(), Request{Method: "HEAD", URL: "https://a.example.com/1048576"})
	if err != nil || len(got.Body) != 0 {
		t.Errorf("Fetch() of the head of a long body = %v, %v", got, err)
	}
}

func TestNothingIsDecompressed(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 4*DefaultMaxResponseBytes))
	z.Close()
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb.Bytes())
	})
	for _, header := range [][]Header{nil, {{"Accept-Encoding", "gzip"}}} {
		r := get("https://a.example.com/")
		r.Header = header
		got, err := b.Fetch(context.Background(), r)
		if err != nil || !bytes.Equal(got.Body, bomb.Bytes()) {
			t.Errorf("Fetch() with %v = %d bytes, %v, want the %d that were sent", header, len(got.Body), err, bomb.Len())
		}
	}
}

// TestHostileServers has what a server can do on the wire. None may hold a fetch, nor the
// memory of more than the bounds; a hang is a failure of this test by the go tool.
func TestHostileServers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct {
		talk func(conn net.Conn)
		want error
	}{
		"says nothing":            {func(net.Conn) {}, ErrUnreachable},
		"not HTTP":                {func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9\r\n") }, ErrUnreachable},
		"endless line":            {func(c net.Conn) { pour(c, "HTTP/1.1 200 OOOOOO") }, ErrUnreachable},
		"endless header":          {func(c net.Conn) { io.WriteString(c, ok); pour(c, "X-A: aaaaaaaaaaaaaa\r\n") }, ErrUnreachable},
		"endless value":           {func(c net.Conn) { io.WriteString(c, ok+"X-A: "); pour(c, "aaaaaaaaaaaaaaaaa") }, ErrUnreachable},
		"endless interim answers": {func(c net.Conn) { pour(c, "HTTP/1.1 103 Early Hints\r\n\r\n") }, ErrUnreachable},
		"another protocol": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
			pour(c, "x")
		}, ErrUnreachable},
		"many fields":    {func(c net.Conn) { io.WriteString(c, ok+strings.Repeat("X: a\r\n", maxFields+1)+"\r\n") }, ErrTooLarge},
		"endless body":   {func(c net.Conn) { io.WriteString(c, ok+"\r\n"); pour(c, "body") }, ErrTooLarge},
		"endless chunks": {func(c net.Conn) { io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n"); pour(c, "4\r\nbody\r\n") }, ErrTooLarge},
		"endless small chunks": {func(c net.Conn) {
			io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n")
			pour(c, "1;"+strings.Repeat("a", 999)+"\r\nb\r\n")
		}, ErrUnreachable},
		"endless extension": {func(c net.Conn) { io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n1;"); pour(c, "extension") }, ErrUnreachable},
		"endless trailer": {func(c net.Conn) {
			io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n0\r\n")
			pour(c, "X-A: a\r\n")
		}, ErrUnreachable},
		"a chunk of many bytes": {func(c net.Conn) {
			io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n")
			pour(c, "body")
		}, ErrTooLarge},
		"length of many bytes":       {func(c net.Conn) { io.WriteString(c, ok+"Content-Length: 9223372036854775807\r\n\r\n") }, ErrTooLarge},
		"two lengths":                {func(c net.Conn) { io.WriteString(c, ok+"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx") }, ErrUnreachable},
		"negative length":            {func(c net.Conn) { io.WriteString(c, ok+"Content-Length: -1\r\n\r\n") }, ErrUnreachable},
		"body that breaks off":       {func(c net.Conn) { io.WriteString(c, ok+"Content-Length: 10\r\n\r\nhalf") }, ErrUnreachable},
		"chunks that break off":      {func(c net.Conn) { io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n") }, ErrUnreachable},
		"a redirect with no end":     {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"); pour(c, "body") }, ErrUnreachable},
		"an answer after the answer": {func(c net.Conn) { io.WriteString(c, ok+"Content-Length: 0\r\n\r\n"+ok+"Content-Length: 0\r\n\r\n") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := talker(t, func(_ string, conn net.Conn) { c.talk(conn) })
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if got, err := b.Fetch(ctx, get("http://a.example.com/")); !errors.Is(err, c.want) || ctx.Err() != nil {
				t.Errorf("Fetch() = %d bytes, %v, want %v", len(got.Body), err, c.want)
			}
		})
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	for name, sent := range map[string]string{
		"before the answer": "", "in the head": "HTTP/1.1 200 OK\r\nX-A", "in the body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal",
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{})
			b := talker(t, func(_ string, conn net.Conn) {
				io.WriteString(conn, sent)
				close(arrived)
				io.Copy(io.Discard, conn) // until the other side hangs up
			})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() {
				<-arrived
				cancel()
			}()
			_, err := b.Fetch(ctx, get("http://a.example.com/"))
			if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.Canceled) {
				t.Errorf("Fetch() = %v, want ErrUnreachable and Canceled", err)
			}
		})
	}
}

func TestTimeoutCoversTheWholeFetch(t *testing.T) {
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/end" {
			http.Redirect(w, r, "/end", http.StatusFound)
			return
		}
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	for range 10 { // the handler ends its answer in order when it sees the end: now and then that is read
		_, err := b.Fetch(context.Background(), get("https://a.example.com/"))
		if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Fetch() = %v, want ErrUnreachable and DeadlineExceeded", err)
		}
	}
}

func TestCloseEndsFetches(t *testing.T) {
	arrived := make(chan struct{})
	b := newBed(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	done := make(chan error)
	go func() {
		_, err := b.Fetch(context.Background(), get("https://a.example.com/"))
		done <- err
	}()
	<-arrived
	b.Close()
	if err := <-done; !errors.Is(err, ErrUnreachable) {
		t.Errorf("Fetch() while Close = %v, want ErrUnreachable", err)
	}
	if _, err := b.Fetch(context.Background(), get("https://a.example.com/")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Fetch() after Close = %v, want ErrUnreachable", err)
	}
	b.Close()
}

func TestHeadsHaveABound(t *testing.T) {
	for size, want := range map[int]error{maxHeadBytes - 1000: nil, maxHeadBytes: ErrUnreachable} {
		b := talker(t, func(_ string, conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("a", size)+"\r\nContent-Length: 0\r\n\r\n")
		})
		if _, err := b.Fetch(context.Background(), get("http://a.example.com/")); !errors.Is(err, want) {
			t.Errorf("Fetch() with a head of %d bytes = %v, want %v", size, err, want)
		}
	}
}

func TestCookiesAreNotKept(t *testing.T) {
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		io.WriteString(w, r.Header.Get("Cookie"))
	})
	for range 2 {
		if got, err := b.Fetch(context.Background(), get("https://a.example.com/")); err != nil || len(got.Body) != 0 {
			t.Errorf("Fetch() = %q, %v: a cookie was sent", got.Body, err)
		}
	}
}

func TestParallelFetchesAreTheirOwn(t *testing.T) {
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begin" {
			http.Redirect(w, r, "https://b.example.com/end?"+r.URL.RawQuery, http.StatusFound)
			return
		}
		io.WriteString(w, r.URL.RawQuery)
	})
	var fetches sync.WaitGroup
	for i := range 64 {
		fetches.Go(func() {
			want := fmt.Sprint(i)
			if got, err := b.Fetch(context.Background(), get("https://a.example.com/begin?"+want)); err != nil || string(got.Body) != want {
				t.Errorf("Fetch(%s) = %q, %v", want, got.Body, err)
			}
		})
	}
	fetches.Wait()
}

func TestOnlyHTTP1IsSpoken(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, " ", r.TLS.Version >= tls.VersionTLS12, " ", r.TLS.ServerName)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	b := bedFor(t, server.Listener.Addr().String(), rootsOf(server))
	got, err := b.Fetch(context.Background(), get("https://a.example.com/"))
	if want := "HTTP/1.1 true a.example.com"; err != nil || string(got.Body) != want {
		t.Errorf("Fetch() = %q, %v, want %q", got.Body, err, want)
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	_, err := New(Options{Allow: []string{"https://a", "ftp://user:SECRET@b"}, Addresses: []string{"10.0.0.1/8"}, MaxRedirects: -1})
	for _, want := range []string{"allow[1]", "addresses[0]", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("New() = %v, want one that has %s", err, want)
		}
	}
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Fetch(context.Background(), get("https://example.com/")); !errors.Is(err, ErrDenied) {
		t.Errorf("Fetch() with nothing allowed = %v, want ErrDenied", err)
	}
}

// BenchmarkFetch is a fetch of 1 KiB over a connection that is there already.
func BenchmarkFetch(b *testing.B) {
	answer := make([]byte, 1024)
	bed := newBed(b, func(w http.ResponseWriter, _ *http.Request) { w.Write(answer) })
	b.ReportAllocs()
	for b.Loop() {
		got, err := bed.Fetch(context.Background(), get("https://a.example.com/"))
		if err != nil || len(got.Body) != len(answer) {
			b.Fatal(len(got.Body), err)
		}
	}
	if n := len(bed.connections()); n != 1 {
		b.Fatalf("%d connections, want 1", n)
	}
}
