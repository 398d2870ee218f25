package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestProxySlowUploadsHoldNoConnection(t *testing.T) {
	const connections = 8
	u := newUpstream(t, answering(hello))
	b := start(t, u.addr, func(s *setup) { s.upstream.Connections, s.route.Timeout = connections, 500*time.Millisecond })
	type slow struct {
		net.Conn
		br *bufio.Reader
	}
	var uploads []slow
	for i := range 2 * connections {
		c := slow{Conn: b.dial(t)}
		c.br = bufio.NewReader(c)
		if i%2 == 0 {
			write(t, c, request("POST", "/", "", "Content-Length: 100000", "Expect: 100-continue"))
		} else {
			write(t, c, request("POST", "/", "", "Transfer-Encoding: chunked", "Expect: 100-continue"))
		}
		for range 2 {
			if _, err := c.br.ReadString('\n'); err != nil { // 100 Continue: the gateway waits for the body
				t.Fatal(err)
			}
		}
		write(t, c, map[bool]string{true: "a", false: "1\r\na\r\n"}[i%2 == 0])
		uploads = append(uploads, c)
	}
	for range 3 {
		if got := b.send(t, get("Connection: close")); got.status != 200 {
			t.Fatalf("beside slow uploads = %d %s", got.status, got.body)
		}
	}
	if n := u.conns.Load(); n != 1 {
		t.Errorf("%d upstream connections, want 1", n)
	}
	for i, c := range uploads {
		write(t, c, map[bool]string{true: strings.Repeat("a", 99999), false: "1\r\na\r\n0\r\n\r\n"}[i%2 == 0])
		if got := readAnswer(t, c.br, "POST"); got.status != 200 {
			t.Errorf("upload %d, once it came = %d %s", i, got.status, got.body)
		}
	}
}

// TestProxyUploadsArriveUnchanged goes around the sizes at which a body is cut.
func TestProxyUploadsArriveUnchanged(t *testing.T) {
	got := make(chan string, 1)
	u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
		for {
			r, err := readBody(br)
			if err != nil {
				return
			}
			got <- r
			_, _ = io.WriteString(c, hello)
		}
	})
	b := start(t, u.addr)
	c := b.dial(t)
	br := bufio.NewReader(c)
	const part = 32 << 10
	for _, size := range []int{0, 1, 15, 16, 4095, 4096, 4097, part - 18, part - 1, part, part + 1, 2 * part, 3*part + 7, 300001} {
		body := numbered(size)
		chunked := ""
		for rest := body; rest != ""; {
			n := min(len(rest), 5000)
			chunked += fmt.Sprintf("%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		for name, raw := range map[string]string{
			"declared": request("POST", "/", body, fmt.Sprintf("Content-Length: %d", size)),
			"chunked":  request("POST", "/", chunked+"0\r\n\r\n", "Transfer-Encoding: chunked"),
		} {
			go func() { _, _ = io.WriteString(c, raw) }()
			if arrived := <-got; arrived != body {
				t.Fatalf("%s body of %d bytes arrived as %d other ones", name, size, len(arrived))
			}
			if a := readAnswer(t, br, "POST"); a.status != 200 {
				t.Fatalf("%s body of %d bytes = %d", name, size, a.status)
			}
		}
	}
}

func numbered(size int) string {
	var out strings.Builder
	for i := 0; out.Len() < size; i++ {
		fmt.Fprintf(&out, "%d ", i)
	}
	return out.String()[:size]
}
