package edge_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

// script is a body of which the test says what comes next.
type script struct {
	parts  chan string // closed: the end, which is err
	err    error
	closed chan struct{}
}

func newScript(err error) *script {
	return &script{parts: make(chan string, 10), err: err, closed: make(chan struct{})}
}

func (s *script) Read(p []byte) (int, error) {
	part, ok := <-s.parts
	if !ok {
		return 0, s.err
	}
	return copy(p, part), nil
}

func (s *script) Close() error { close(s.closed); return nil }

func streaming(body io.ReadCloser, size int64) edge.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		if edge.Path(ctx) == "/plain" {
			return ok(ctx)
		}
		ctx.SetContentType("text/plain")
		edge.Stream(ctx, body, size)
		return nil
	}
}

func TestHTTP10GetsAnUnknownLengthUntilTheConnectionEnds(t *testing.T) {
	for name, fields := range map[string]string{"plain": "", "keep-alive": "Connection: keep-alive\r\n"} {
		t.Run(name, func(t *testing.T) {
			s := newScript(io.EOF)
			b := start(t, streaming(s, -1))
			c := b.dial(t)
			write(t, c, "GET /plain HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n"+fields+"\r\n") // pipelined
			br := bufio.NewReader(c)
			if got := readAnswer(t, br, "GET"); got.status != 200 {
				t.Fatalf("first answer = %d", got.status)
			}
			s.parts <- "hello "
			s.parts <- strings.Repeat("a", 5000)
			var head string
			for !strings.HasSuffix(head, "\r\n\r\n") {
				line, err := br.ReadString('\n')
				if err != nil {
					t.Fatalf("head = %q, %v", head, err)
				}
				head += line
			}
			if part, err := br.Peek(6); string(part) != "hello " { // before the end is known
				t.Fatalf("first part = %q, %v", part, err)
			}
			close(s.parts)
			body, err := io.ReadAll(br)
			if err != nil || string(body) != "hello "+strings.Repeat("a", 5000) {
				t.Errorf("body = %d bytes %.20q, %v", len(body), body, err)
			}
			lower := strings.ToLower(head)
			if strings.Contains(lower, "transfer-encoding") || strings.Contains(lower, "content-length") || strings.Contains(lower, "keep-alive") ||
				!strings.Contains(lower, "\r\nconnection: close\r\n") || !strings.Contains(lower, "\r\ncontent-type: text/plain\r\n") || !strings.Contains(lower, "\r\nx-request-id: ") {
				t.Errorf("head = %q", head)
			}
			<-s.closed
			if log := b.log.records(t, 2)[1]; log["bytes"] != float64(5006) || log["status"] != float64(200) || log["error"] != nil {
				t.Errorf("record = %v", log)
			}
		})
	}
}

func TestHTTP10SeesAnAnswerBreakOff(t *testing.T) {
	s := newScript(errors.New("upstream died"))
	b := start(t, streaming(s, -1))
	c := b.dial(t)
	write(t, c, "GET / HTTP/1.0\r\n\r\n")
	s.parts <- "hello"
	br := bufio.NewReader(c)
	for line := "-"; line != "\r\n"; {
		var err error
		if line, err = br.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := br.Peek(5); err != nil {
		t.Fatal(err)
	}
	close(s.parts)
	if _, err := io.ReadAll(br); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("end = %v, want a reset: a clean one looks complete", err)
	}
	<-s.closed
	if log := b.log.records(t, 1)[0]; log["error"] != "upstream died" {
		t.Errorf("record = %v", log)
	}
}

func TestHTTP10ClientThatLeavesEndsTheStream(t *testing.T) {
	s := newScript(io.EOF)
	b := start(t, streaming(s, -1))
	c := b.dial(t)
	_ = c.(*net.TCPConn).SetLinger(0)
	write(t, c, "GET / HTTP/1.0\r\n\r\n")
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for done := false; !done; {
		select {
		case s.parts <- "more":
		case <-s.closed:
			done = true
		}
	}
	b.log.records(t, 1)
}

func TestHTTP10KeepsALengthThatIsKnown(t *testing.T) {
	s := newScript(io.EOF)
	b := start(t, streaming(s, 5))
	c := b.dial(t)
	write(t, c, "GET / HTTP/1.0\r\n\r\n")
	s.parts <- "hello"
	close(s.parts)
	if got := readAnswer(t, bufio.NewReader(c), "GET"); got.header.Get("Content-Length") != "5" || got.body != "hello" {
		t.Errorf("answer = %v %q", got.header, got.body)
	}
}

func TestAnErrorAfterTheStreamTakesItsPlace(t *testing.T) {
	for _, version := range []string{"HTTP/1.0", "HTTP/1.1"} {
		s := newScript(io.EOF)
		b := start(t, func(ctx *fasthttp.RequestCtx) error {
			edge.Stream(ctx, s, -1)
			return edge.Forbidden("INSUFFICIENT_SCOPE", "No.", nil)
		})
		if got := b.send(t, "GET / "+version+"\r\nHost: a\r\nConnection: close\r\n\r\n"); got.status != 403 || got.code != "INSUFFICIENT_SCOPE" {
			t.Errorf("%s: answer = %d %q", version, got.status, got.body)
		}
		<-s.closed
		if log := b.log.records(t, 1)[0]; log["code"] != "INSUFFICIENT_SCOPE" {
			t.Errorf("%s: record = %v", version, log)
		}
	}
}

func TestShutdownWaitsForAnAnswerToHTTP10(t *testing.T) {
	s := newScript(io.EOF)
	b := start(t, streaming(s, -1))
	c := b.dial(t)
	write(t, c, "GET / HTTP/1.0\r\n\r\n")
	br := bufio.NewReader(c)
	if _, err := br.Peek(1); err != nil {
		t.Fatal(err)
	}
	down := make(chan error, 1)
	go func() { down <- b.server.Shutdown(context.Background()) }()
	awaitNoListener(b.addr)
	select {
	case err := <-down:
		t.Fatalf("Shutdown() = %v while an answer was on its way", err)
	default:
	}
	s.parts <- "hello"
	close(s.parts)
	if data, err := io.ReadAll(br); err != nil || !strings.HasSuffix(string(data), "\r\n\r\nhello") {
		t.Errorf("answer = %q, %v", data, err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
}

func awaitNoListener(addr string) {
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		c.Close()
	}
}
