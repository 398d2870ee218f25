package proxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestProxyGivesHTTP10NoChunks(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, row := range map[string]struct {
		raw  string
		end  error
		body string
	}{
		"chunked":               {chunked + "5\r\nhello\r\n0\r\n\r\n", nil, "hello"},
		"until the end":         {"HTTP/1.0 200 OK\r\n\r\nhello", nil, "hello"},
		"broken off":            {chunked + "5\r\nhello\r\n", syscall.ECONNRESET, ""},
		"broken off in a chunk": {chunked + "5\r\nhel", syscall.ECONNRESET, ""},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, func(c net.Conn, br *bufio.Reader) {
				if _, err := readRequest(br); err == nil {
					_, _ = io.WriteString(c, row.raw)
				}
			})
			c := start(t, u.addr).dial(t)
			write(t, c, "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
			data, err := io.ReadAll(c)
			if !errors.Is(err, row.end) {
				t.Fatalf("end = %v, want %v", err, row.end)
			}
			head, body, _ := strings.Cut(string(data), "\r\n\r\n")
			if row.end == nil && (body != row.body || strings.Contains(head, "Transfer-Encoding") || !strings.Contains(head, "Connection: close")) {
				t.Errorf("answer = %q", data)
			}
		})
	}
}
