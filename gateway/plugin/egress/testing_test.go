package egress

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain names a proxy where nobody listens: every test fails that would use it.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		if err := os.Setenv(name, "http://192.0.2.1:1"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// internet is the names and the addresses that there are for a test. Every address leads
// to one listener of this machine, and every connection is recorded.
type internet struct {
	mu     sync.Mutex
	names  map[string][][]netip.Addr // answers of a name in turn; the last one stays
	asked  []string
	dialed []netip.AddrPort
	dead   map[netip.Addr]bool
	behind string // the listener's address
}

func newInternet(behind string) *internet {
	return &internet{names: make(map[string][][]netip.Addr), dead: make(map[netip.Addr]bool), behind: behind}
}

func (in *internet) name(name string, answers ...string) {
	in.names[name] = nil
	for _, answer := range answers {
		var addrs []netip.Addr
		for a := range strings.SplitSeq(answer, " ") {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		in.names[name] = append(in.names[name], addrs)
	}
}

func (in *internet) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.asked = append(in.asked, host)
	name, absolute := strings.CutSuffix(host, ".")
	answers := in.names[name]
	if !absolute || len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, Server: "10.0.0.2:53", IsNotFound: true}
	}
	if len(answers) > 1 {
		in.names[name] = answers[1:]
	}
	return append([]netip.Addr(nil), answers[0]...), nil
}

func (in *internet) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	in.mu.Lock()
	in.dialed = append(in.dialed, to)
	dead := in.dead[to.Addr()]
	in.mu.Unlock()
	if dead {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no route to " + to.String())}
	}
	return new(net.Dialer).DialContext(ctx, "tcp", in.behind)
}

func (in *internet) connections() []netip.AddrPort {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]netip.AddrPort(nil), in.dialed...)
}

// bed is a client in an internet where example.com and some of its names are public and
// lead to a server with a certificate for them.
type bed struct {
	*Client
	*internet
}

func newBed(t testing.TB, handler http.HandlerFunc, options ...func(*Options)) *bed {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return bedFor(t, server.Listener.Addr().String(), rootsOf(server), options...)
}

func rootsOf(server *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool
}

func bedFor(t testing.TB, behind string, roots *x509.CertPool, options ...func(*Options)) *bed {
	t.Helper()
	in := newInternet(behind)
	for _, name := range []string{"example.com", "a.example.com", "b.example.com", "a.example.org"} {
		in.name(name, "93.184.216.34")
	}
	o := Options{
		Allow:   []string{"https://example.com", "https://*.example.com", "https://a.example.org", "http://a.example.com"},
		RootCAs: roots, Resolver: in, connect: in.connect, Timeout: time.Minute, // a machine may be busy
	}
	for _, option := range options {
		option(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(c.Close)
	return &bed{c, in}
}

func get(url string) Request { return Request{Method: "GET", URL: url} }

// talker is a server without TLS that reads the head of a request and then does as it
// likes with the connection.
func talker(t testing.TB, talk func(head string, conn net.Conn), options ...func(*Options)) *bed {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				talk(readHead(conn), conn)
			})
		}
	})
	b := bedFor(t, listener.Addr().String(), nil, options...)
	t.Cleanup(func() {
		b.Close()
		listener.Close()
		conns.Wait()
	})
	return b
}

// readHead reads byte by byte, to leave the body where it is. Of TLS it reads one byte.
func readHead(r io.Reader) string {
	var head strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		if _, err := io.ReadFull(r, one); err != nil {
			return head.String()
		}
		head.WriteByte(one[0])
		if head.String() == "\x16" {
			break
		}
	}
	return head.String()
}

// pour writes a piece again and again until the other side has had enough.
func pour(w io.Writer, piece string) {
	buffered := bufio.NewWriterSize(w, 64<<10)
	for {
		if _, err := buffered.WriteString(piece); err != nil {
			return
		}
	}
}
