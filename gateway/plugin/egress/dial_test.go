package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// forbidden are addresses of every kind that is not public.
var forbidden = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.255", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255",
	"192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0:7f00:1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::808:808", "100::1",
	"2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1",
	"fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "febf::1", "fec0::1", "ff02::1", "4000::1", "e000::1",
}

func TestForbiddenAddressesAreNotDialed(t *testing.T) {
	b := newBed(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }, func(o *Options) {
		for _, a := range forbidden {
			if addr := netip.MustParseAddr(a); !addr.Is4In6() {
				o.Allow = append(o.Allow, destination{"https", a, "443"}.String(), destination{"http", a, "8080"}.String())
			}
		}
	})
	refused := func(url string) {
		t.Helper()
		if _, err := b.Fetch(context.Background(), get(url)); !errors.Is(err, ErrDenied) {
			t.Errorf("Fetch(%s) = %v, want ErrDenied", url, err)
		}
	}
	for _, a := range forbidden {
		addr := netip.MustParseAddr(a)
		b.name("a.example.com", a)
		refused("https://a.example.com/")
		refused("http://a.example.com/")
		if !addr.Is4In6() { // those are no URL
			refused(destination{"https", a, "443"}.String())
			refused(destination{"http", a, "8080"}.String())
		}
		b.name("a.example.com", a+" 93.184.216.34")
		refused("https://a.example.com/")
		b.name("a.example.com", "2606:2800:220:1::1 93.184.216.34 "+a)
		refused("https://a.example.com/")
	}
	if n := b.connections(); len(n) != 0 {
		t.Errorf("dialed %v", n)
	}
}

func TestPublicAddressesAreDialed(t *testing.T) {
	b := newBed(t, func(http.ResponseWriter, *http.Request) {}, func(o *Options) {
		o.Allow = append(o.Allow, "https://a.example.com:8443", "http://8.8.4.4:81")
	})
	for a, want := range map[string]string{
		"1.1.1.1": "1.1.1.1:443", "2606:4700:4700::1111": "[2606:4700:4700::1111]:443", "64:ff9b::8.8.8.8": "[64:ff9b::808:808]:443", "::ffff:8.8.8.8": "8.8.8.8:443",
	} {
		b.name("a.example.com", a)
		b.dialed, b.asked = nil, nil
		if _, err := b.Fetch(context.Background(), get("https://a.example.com/")); err != nil {
			t.Errorf("Fetch() from %s = %v", a, err)
		}
		if diff := cmp.Diff([]string{"a.example.com."}, b.asked); diff != "" || len(b.dialed) != 1 || b.dialed[0].String() != want {
			t.Errorf("Fetch() from %s dialed %v, want %s; asked %v", a, b.dialed, want, b.asked)
		}
		b.transport.CloseIdleConnections()
	}
	b.dialed = nil
	if _, err := b.Fetch(context.Background(), get("https://a.example.com:8443/")); err != nil || b.dialed[0].Port() != 8443 {
		t.Errorf("Fetch() = %v, dialed %v, want port 8443", err, b.dialed)
	}
	// The server speaks TLS, so this one fails after it was dialed.
	if _, err := b.Fetch(context.Background(), get("http://8.8.4.4:81/")); errors.Is(err, ErrDenied) || b.dialed[1].String() != "8.8.4.4:81" {
		t.Errorf("Fetch() = %v, dialed %v", err, b.dialed)
	}
}

// TestRebindingIsRefused has a name that is public at first and then is not: while it was
// connected to, at the next connection, and within the answers of one fetch.
func TestRebindingIsRefused(t *testing.T) {
	for _, second := range []string{"127.0.0.1", "::1", "169.254.169.254", "::ffff:10.0.0.1"} {
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			if r.URL.Path == "/again" {
				http.Redirect(w, r, "/", http.StatusFound)
			}
		})
		for _, path := range []string{"/", "/again"} {
			b.dialed = nil
			b.name("a.example.com", "93.184.216.34", second)
			_, first := b.Fetch(context.Background(), get("https://a.example.com"+path))
			_, then := b.Fetch(context.Background(), get("https://a.example.com/"))
			if path == "/" && first != nil || path == "/again" && !errors.Is(first, ErrDenied) || !errors.Is(then, ErrDenied) {
				t.Errorf("Fetch(%s) before and after rebinding to %s = %v, %v", path, second, first, then)
			}
			if got := b.connections(); len(got) != 1 || got[0].String() != "93.184.216.34:443" {
				t.Errorf("dialed %v", got)
			}
		}
	}
}

// TestKeptConnectionGoesWhereItWasChecked: what the name says later changes nothing for a
// connection that there is.
func TestKeptConnectionGoesWhereItWasChecked(t *testing.T) {
	b := newBed(t, func(http.ResponseWriter, *http.Request) {})
	b.name("a.example.com", "93.184.216.34", "127.0.0.1")
	for range 3 {
		if _, err := b.Fetch(context.Background(), get("https://a.example.com/")); err != nil {
			t.Error(err)
		}
	}
	if got := b.connections(); len(got) != 1 || got[0].String() != "93.184.216.34:443" {
		t.Errorf("dialed %v, want the first answer once", got)
	}
}

// TestLoopbackForReal dials with the real dialer: what is listed and nothing beside it.
func TestLoopbackForReal(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in := newInternet("")
	in.name("example.com", "127.0.0.1")
	for _, c := range []struct {
		networks []string
		host     string
		want     error
	}{
		{nil, "127.0.0.1", ErrDenied},
		{nil, "example.com", ErrDenied},
		{[]string{"127.0.0.0/8"}, "example.com", nil},
		{[]string{"127.0.0.0/30", "10.0.0.0/8"}, "127.0.0.1", nil},
		{[]string{"127.0.0.1/32"}, "127.0.0.1", nil},
		{[]string{"127.0.0.2/32", "::1/128", "64:ff9b::/96", "::/96"}, "127.0.0.1", ErrDenied},
	} {
		client, err := New(Options{
			Allow: []string{"https://127.0.0.1:" + port, "https://example.com:" + port}, Addresses: c.networks, RootCAs: rootsOf(server), Resolver: in,
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Fetch(context.Background(), get("https://"+c.host+":"+port))
		if !errors.Is(err, c.want) || err == nil && string(got.Body) != c.host+":"+port {
			t.Errorf("Fetch(%s) with %v = %q, %v, want %v", c.host, c.networks, got.Body, err, c.want)
		}
		client.Close()
	}
}

func TestNextAddressIsTried(t *testing.T) {
	b := newBed(t, func(http.ResponseWriter, *http.Request) {})
	b.name("a.example.com", "2606:2800:220:1::1 1.1.1.1 2.2.2.2")
	b.dead[netip.MustParseAddr("2606:2800:220:1::1")] = true
	if _, err := b.Fetch(context.Background(), get("https://a.example.com/")); err != nil {
		t.Error(err)
	}
	if got := b.connections(); len(got) != 2 || got[1].String() != "1.1.1.1:443" {
		t.Errorf("dialed %v, want the first two", got)
	}
}

func TestAddressesOfANameAreBounded(t *testing.T) {
	b := newBed(t, func(http.ResponseWriter, *http.Request) {})
	var many []string
	for i := range 200 {
		a := netip.AddrFrom4([4]byte{1, 1, 1, byte(i)})
		many = append(many, a.String())
		b.dead[a] = true
	}
	b.name("a.example.com", strings.Join(many, " "))
	_, err := b.Fetch(context.Background(), get("https://a.example.com/"))
	if n := len(b.connections()); !errors.Is(err, ErrUnreachable) || n != maxAddresses {
		t.Errorf("Fetch() = %v after %d connections, want ErrUnreachable after %d", err, n, maxAddresses)
	}
}

// TestDeadAddressLeavesTimeForTheNext has an address that never answers.
func TestDeadAddressLeavesTimeForTheNext(t *testing.T) {
	b := newBed(t, func(http.ResponseWriter, *http.Request) {}, func(o *Options) {
		o.Timeout = 2 * time.Second
		open := o.connect
		o.connect = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			if to.Addr().Is6() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return open(ctx, to)
		}
	})
	b.name("a.example.com", "2606:2800:220:1::1 1.1.1.1")
	if _, err := b.Fetch(context.Background(), get("https://a.example.com/")); err != nil {
		t.Error(err)
	}
}

// TestDialEndsWithItsFetch: the transport would go on, for somebody else's use.
func TestDialEndsWithItsFetch(t *testing.T) {
	dialing, ended := make(chan struct{}), make(chan struct{})
	b := newBed(t, func(http.ResponseWriter, *http.Request) {}, func(o *Options) {
		o.connect = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			close(dialing)
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-dialing
		cancel()
	}()
	if _, err := b.Fetch(ctx, get("https://a.example.com/")); !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch() = %v, want Canceled", err)
	}
	<-ended
}

func TestHandshakeEndsWithItsFetch(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	b := talker(t, func(_ string, conn net.Conn) {
		cancel()
		io.Copy(io.Discard, conn) // until the other side hangs up
		close(ended)
	})
	if _, err := b.Fetch(ctx, get("https://a.example.com/")); !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch() = %v, want Canceled", err)
	}
	<-ended
}

func TestCertificatesAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		url    string
		option func(*Options)
		want   string
	}{
		"unknown authority": {"https://a.example.com/", func(o *Options) { o.RootCAs = x509.NewCertPool() }, "unknown authority"},
		"another name":      {"https://a.example.org/", func(*Options) {}, "another name"},
		"expired":           {"https://a.example.com/", func(o *Options) { o.Now = func() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) } }, "not valid"},
	} {
		b := newBed(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }, c.option)
		_, err := b.Fetch(context.Background(), get(c.url))
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Fetch() = %v, want ErrUnreachable with %q", name, err, c.want)
		}
	}
}

// TestErrorsKeepSecrets lets fetches fail in every way that there is, with secrets in all
// that an error could repeat.
func TestErrorsKeepSecrets(t *testing.T) {
	const url = "a.example.com/SECRET?SECRET=SECRET"
	header := []Header{{"X-SECRET", "SECRET"}}
	answers := map[string]string{
		"garbage": "SECRET", "status": "HTTP/1.1 SECRET\r\n\r\n", "header": "HTTP/1.1 200 OK\r\nSECRET\r\n\r\n", "length": "HTTP/1.1 200 OK\r\nContent-Length: SECRET\r\n\r\n",
		"coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: SECRET\r\n\r\n", "chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nSECRET\r\n",
		"location": "HTTP/1.1 302 OK\r\nLocation: https://SECRET:SECRET@a.example.com/\r\n\r\n", "escape": "HTTP/1.1 302 OK\r\nLocation: /%SECRET\r\n\r\n",
		"path": "HTTP/1.1 302 OK\r\nLocation: https://a.example.net/SECRET?SECRET\r\n\r\n", "port": "HTTP/1.1 302 OK\r\nLocation: https://a.example.com:SECRET/\r\n\r\n",
		"nothing": "", "101": "HTTP/1.1 101 SECRET\r\nUpgrade: SECRET\r\nConnection: upgrade\r\n\r\n",
	}
	var errs []error
	for _, answer := range answers {
		b := talker(t, func(_ string, conn net.Conn) { io.WriteString(conn, answer) })
		for _, scheme := range []string{"http://", "https://"} { // which that server does not speak
			_, err := b.Fetch(context.Background(), Request{Method: "POST", URL: scheme + url, Header: header, Body: []byte("SECRET")})
			errs = append(errs, err)
		}
	}
	b := talker(t, func(string, net.Conn) {})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, r := range []Request{
		get("https://SECRET:SECRET@a.example.com/"), get("https://a.example.com/SECRET SECRET"), get("https://a.example.com:SECRET/"), get("SECRET"), get("https://a.example.net/SECRET"),
		{Method: "SECRET", URL: "https://" + url}, {Method: "GET", URL: "https://" + url, Body: []byte("SECRET")},
		{Method: "GET", URL: "https://" + url, Header: []Header{{"SECRET SECRET", ""}}}, {Method: "GET", URL: "https://" + url, Header: []Header{{"X", "SECRET\n"}}},
		{Method: "GET", URL: "https://" + url, Header: []Header{{"Proxy-SECRET", "SECRET"}}}, get("https://nowhere.example.com/SECRET"), get("https://internal.example.com/SECRET"),
	} {
		b.name("internal.example.com", "10.11.12.13")
		_, err := b.Fetch(context.Background(), r)
		errs = append(errs, err)
		_, err = b.Fetch(ended, r)
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err == nil {
			t.Error("a fetch did not fail")
			continue
		}
		for _, secret := range []string{"SECRET", "secret", "10.11.12.13", "10.0.0.2", "93.184", "127.0.0.1"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error holds %q: %v", secret, err)
			}
		}
		if !slices.ContainsFunc([]error{ErrDenied, ErrUnreachable, ErrInvalid, ErrTooLarge}, func(kind error) bool { return errors.Is(err, kind) }) {
			t.Errorf("error of no kind: %v", err)
		}
	}
}
