package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
)

// connections bounds the open connections and knows them all, so that a shutdown can end
// what does not end by itself. fasthttp could count too, but answers without the envelope.
type connections struct {
	most      int
	mostPerIP int
	write     time.Duration
	now       func() time.Time
	refused   func(status int)

	mu    sync.Mutex
	open  map[*conn]struct{}
	perIP map[netip.Prefix]int
}

func newConnections(l config.Limits, write time.Duration, now func() time.Time, refused func(int)) *connections {
	return &connections{
		most: l.Connections, mostPerIP: l.ConnectionsPerIP, write: write, now: now, refused: refused,
		open: map[*conn]struct{}{}, perIP: map[netip.Prefix]int{},
	}
}

func (c *connections) limit(ln net.Listener) net.Listener { return &listener{ln, c} }

type listener struct {
	net.Listener
	conns *connections
}

// Accept returns the next connection that is within the limits; one over them is told so
// and closed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: nc, conns: l.conns, key: networkOf(nc)}
		refusal := l.conns.add(c)
		if refusal == nil {
			return c, nil
		}
		l.conns.turnAway(nc, refusal)
	}
}

// networkOf returns who a connection is counted for: an IPv4 address or an IPv6 /64, which
// is what one subscriber gets.
func networkOf(nc net.Conn) netip.Prefix {
	a := addrOf(nc.RemoteAddr())
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (c *connections) add(nc *conn) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most {
		return Unavailable("Too many connections are open.", time.Second, nil)
	}
	if c.mostPerIP > 0 && nc.key.IsValid() && c.perIP[nc.key] >= c.mostPerIP {
		return NewError(fasthttp.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED", "Too many connections are open from this address.", nil).
			With(fasthttp.HeaderRetryAfter, "1")
	}
	c.open[nc] = struct{}{}
	if nc.key.IsValid() {
		c.perIP[nc.key]++
	}
	return nil
}

func (c *connections) remove(nc *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.open[nc]; !ok {
		return
	}
	delete(c.open, nc)
	if !nc.key.IsValid() {
		return
	}
	if c.perIP[nc.key]--; c.perIP[nc.key] <= 0 {
		delete(c.perIP, nc.key)
	}
}

// closeAll closes every connection, whatever it is doing.
func (c *connections) closeAll() {
	c.mu.Lock()
	open := make([]*conn, 0, len(c.open))
	for nc := range c.open {
		open = append(open, nc)
	}
	c.mu.Unlock()
	for _, nc := range open {
		_ = nc.Close()
	}
}

// turnAway answers a connection that cannot be served. The answer fits into the empty
// buffer of a new socket, so the write does not wait for the client.
func (c *connections) turnAway(nc net.Conn, e *Error) {
	defer nc.Close()
	c.refused(e.Status)
	now, id := c.now().UTC(), newID()
	body, err := json.Marshal(e.envelope(id, now))
	if err != nil {
		return
	}
	_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintf(nc, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"+
		"Retry-After: 1\r\nDate: %s\r\nX-Request-ID: %s\r\nContent-Length: %d\r\n\r\n%s",
		e.Status, http.StatusText(e.Status), now.Format(http.TimeFormat), id, len(body), body)
}

// conn is a client's connection. It gives each write its own time, where fasthttp would set
// one deadline for a whole answer and cut off any long download, and it watches the end of
// the request line, which fasthttp does not keep: a bare LF there is taken for CRLF.
// Reads, writes and state changes are of one goroutine.
type conn struct {
	net.Conn
	conns *connections
	key   netip.Prefix
	line  lineWatch
	ended bool // the client will send no more, and somebody wanted more

	failed bool // a write did, so the client's side of the stream has a hole
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.ended = c.ended || n == 0 && err == io.EOF
	if c.line.watching {
		c.line.see(p[:n])
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.conns.write > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.conns.write)); err != nil {
			c.failed = true
			return 0, err
		}
	}
	n, err := c.Conn.Write(p)
	c.failed = c.failed || err != nil
	return n, err
}

// reset lets Close tell the client that what it got is not the whole.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a dead connection needs no end
	}
}

// Close may be called more than once and from any goroutine.
func (c *conn) Close() error {
	c.conns.remove(c)
	return c.Conn.Close()
}

// state hears from fasthttp. When a connection is new or idle the next read begins with a
// request line, unless a pipelined request is buffered already. (The line end of such a one
// cannot be watched, and need not be: with a bare LF in it every server that insists on CRLF
// finds a malformed version and refuses. The next read may then begin anywhere in it, so
// only a line that names the protocol is held against the client.)
func (c *connections) state(nc net.Conn, state fasthttp.ConnState) {
	if conn, ok := nc.(*conn); ok && (state == fasthttp.StateNew || state == fasthttp.StateIdle) {
		conn.line = lineWatch{watching: true}
	}
}

// lineWatch finds the end of a request line and whether an LF came without its CR.
type lineWatch struct {
	watching bool
	bare     bool
	loose    bool // an LF without its CR was seen; whether in a request line is not known yet
	last     byte
	length   int // bytes of the line so far, CR excluded
	version  int // how much of versionMark the line ends with, or all of it if it was seen
}

// versionMark is in every request line that fasthttp accepts.
const versionMark = "HTTP/"

func (w *lineWatch) see(p []byte) {
	for _, b := range p {
		if b == '\n' {
			w.loose = w.loose || w.last != '\r'
			if w.length > 0 {
				w.bare, w.watching = w.loose && w.version == len(versionMark), false
				return
			}
		} else if b != '\r' { // empty lines before a request are allowed, RFC 9112 §2.2
			w.length++
			w.seeVersion(b)
		}
		w.last = b
	}
}

func (w *lineWatch) seeVersion(b byte) {
	switch {
	case w.version == len(versionMark):
	case b == versionMark[w.version]:
		w.version++
	case b == versionMark[0]:
		w.version = 1
	default:
		w.version = 0
	}
}

// endedEarly reports whether the client closed while more was expected of it.
func endedEarly(nc net.Conn) bool {
	c, ok := nc.(*conn)
	return ok && c.ended
}

func bareRequestLine(nc net.Conn) bool {
	c, ok := nc.(*conn)
	return ok && c.line.bare
}
