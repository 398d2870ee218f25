package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/materi/shield/config"
)

var (
	errBusy    = errors.New("all connections are in use")
	errConnect = errors.New("connect")
)

const (
	// idleTime is how long an unused connection is kept.
	idleTime = 60 * time.Second
	// defaultConnections and defaultConnectTimeout are for upstreams that do not say.
	defaultConnections    = 512
	defaultConnectTimeout = 5 * time.Second
)

// upstream owns the connections to one target. The pool is the gateway's own and not
// fasthttp's HostClient: that one retries, has one deadline for a whole exchange, which a
// long stream outlives, and cannot look at an idle connection before it writes to it.
type upstream struct {
	name      string
	address   string // host:port to dial
	authority string // Host header
	tls       *tls.Config
	dialer    net.Dialer
	headBytes int
	slots     chan struct{} // one for each connection in use or idle

	mu     sync.Mutex
	idle   []*conn // the one used last is at the end
	reaper *time.Timer
	closed bool
}

func newUpstream(c config.Upstream, headBytes int) (*upstream, error) {
	target, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("url is malformed")
	}
	if target.Host == "" || target.User != nil || target.RawQuery != "" || target.Fragment != "" ||
		target.Path != "" && target.Path != "/" {
		return nil, errors.New("url must be a scheme, a host and a port, and no more")
	}
	u := &upstream{
		name: c.Name, authority: target.Host, headBytes: headBytes,
		dialer: net.Dialer{Timeout: c.ConnectTimeout},
	}
	port := target.Port()
	switch target.Scheme {
	case "http":
		port = orDefault(port, "80")
	case "https":
		port = orDefault(port, "443")
		u.tls = &tls.Config{ServerName: target.Hostname(), MinVersion: tls.VersionTLS12}
	default:
		return nil, fmt.Errorf("scheme %q is neither http nor https", target.Scheme)
	}
	u.address = net.JoinHostPort(target.Hostname(), port)
	if u.dialer.Timeout <= 0 {
		u.dialer.Timeout = defaultConnectTimeout
	}
	connections := c.Connections
	if connections <= 0 {
		connections = defaultConnections
	}
	u.slots = make(chan struct{}, connections)
	return u, nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// acquire returns a connection that is the caller's until release or discard: one that lay
// idle and is still good, or a new one. It waits up to timeout for one to be free; each
// later read and write on the connection may take as long again.
func (u *upstream) acquire(timeout time.Duration) (*conn, error) {
	select {
	case u.slots <- struct{}{}:
	default:
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case u.slots <- struct{}{}:
		case <-timer.C:
			return nil, errBusy
		}
	}
	for c := u.pop(); c != nil; c = u.pop() {
		if quiet(c.raw) {
			c.timeout = timeout
			return c, nil
		}
		_ = c.Conn.Close()
	}
	c, err := u.dial(timeout)
	if err != nil {
		<-u.slots
		return nil, fmt.Errorf("%w to %s: %w", errConnect, u.address, err)
	}
	return c, nil
}

// dial bounds the connection and the TLS handshake together.
func (u *upstream) dial(timeout time.Duration) (*conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), min(timeout, u.dialer.Timeout))
	defer cancel()
	raw, err := u.dialer.DialContext(ctx, "tcp", u.address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, raw: raw, upstream: u, timeout: timeout}
	if u.tls != nil {
		secure := tls.Client(raw, u.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		c.Conn = secure
	}
	c.reader = bufio.NewReaderSize(c, u.headBytes)
	return c, nil
}

func (u *upstream) pop() *conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := len(u.idle)
	if n == 0 {
		return nil
	}
	c := u.idle[n-1]
	u.idle[n-1] = nil
	u.idle = u.idle[:n-1]
	return c
}

// push keeps a connection for the next request, and reports whether it did.
func (u *upstream) push(c *conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	c.idleSince = time.Now()
	u.idle = append(u.idle, c)
	if u.reaper == nil {
		u.reaper = time.AfterFunc(idleTime, u.reap)
	}
	return true
}

// reap closes what lay idle too long, and comes back while something is left.
func (u *upstream) reap() {
	u.mu.Lock()
	defer u.mu.Unlock()
	stale := 0
	for stale < len(u.idle) && time.Since(u.idle[stale].idleSince) >= idleTime {
		_ = u.idle[stale].Conn.Close()
		stale++
	}
	u.idle = append(u.idle[:0:0], u.idle[stale:]...)
	if u.closed || len(u.idle) == 0 {
		u.reaper = nil
		return
	}
	u.reaper.Reset(idleTime)
}

func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	if u.reaper != nil {
		u.reaper.Stop()
	}
	for _, c := range u.idle {
		_ = c.Conn.Close()
	}
	u.idle = nil
}

// conn is a connection to an upstream. It belongs to one exchange at a time.
type conn struct {
	net.Conn
	raw       net.Conn // below TLS
	upstream  *upstream
	reader    *bufio.Reader
	timeout   time.Duration // for each read and write
	headUntil time.Time     // while the head of an answer is awaited: for all reads together
	idleSince time.Time
	ending    bool // the upstream closed behind the last bytes
	ended     bool // and more was expected of it
}

func (c *conn) Read(p []byte) (int, error) {
	until := c.headUntil
	if until.IsZero() {
		until = time.Now().Add(c.timeout)
	}
	if c.ending {
		c.ended = true
		return 0, io.EOF
	}
	if err := c.SetReadDeadline(until); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if err != io.EOF {
		return n, err
	}
	// TLS may report the end together with the last bytes. It counts when it is met, not
	// when it is known: an answer that is complete before it is complete.
	c.ending, c.ended = true, n == 0
	if n > 0 {
		return n, nil
	}
	return 0, io.EOF
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// release gives back a connection whose last answer was read to its end.
func (c *conn) release() {
	if c.reader.Buffered() > 0 || !c.upstream.push(c) { // an answer to nothing: out of step
		_ = c.Conn.Close()
	}
	<-c.upstream.slots
}

// discard closes a connection that is not at the end of an answer.
func (c *conn) discard() {
	_ = c.Conn.Close()
	<-c.upstream.slots
}
