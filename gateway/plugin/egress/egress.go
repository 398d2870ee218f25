// Package egress is what a plugin may reach over the network: it fetches from the
// destinations that the operator listed, and from nowhere else. Names, addresses,
// redirects, sizes and time are its matter. It knows nothing of plugins, of how a plugin
// asks, or of how often it may; each provider has a [Client] of its own.
package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// What a fetch fails with. The texts around them name the destination by scheme, host and
// port. They never hold a path, a query, a header, a body, an address or anything else that
// the plugin or the other side wrote.
var (
	ErrDenied      = errors.New("destination not allowed")
	ErrUnreachable = errors.New("destination not reachable") // name, connection, TLS, time, protocol
	ErrTooLarge    = errors.New("request or response too large")
	ErrInvalid     = errors.New("request malformed")
)

// What an option of 0 stands for.
const (
	DefaultTimeout          = 10 * time.Second
	DefaultMaxRequestBytes  = 256 << 10
	DefaultMaxResponseBytes = 1 << 20
	DefaultMaxRedirects     = 5
)

// maxHeadBytes bounds the head of an answer, with all the interim answers before it.
const maxHeadBytes = 32 << 10

// Request is what a plugin asks for. Each name may be in Header once.
type Request struct {
	Method, URL string
	Header      []Header
	Body        []byte
}

// Header is one field of a header.
type Header struct{ Name, Value string }

// Response is the answer. The names in Header are in lower case and sorted; cookies and
// what belongs to the connection are not there. Body is as it was sent: nothing is
// decompressed. URL is where the answer came from, which redirects may have changed.
type Response struct {
	Status int
	Header []Header
	Body   []byte
	URL    string
}

// Resolver turns a name into addresses; [net.Resolver] is one. The name ends with a dot.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options are the settings of a [Client].
type Options struct {
	// Allow lists the destinations: "https://idp.example.com", "https://*.example.com:8443",
	// "http://10.1.2.3:8080". A port that is not written is 443 or 80. The asterisk stands for
	// one or more labels. An empty list allows nothing.
	Allow []string
	// Addresses lists networks ("10.1.2.0/24") that may be connected to although they are
	// not public. It allows no destination by itself.
	Addresses []string
	// Timeout bounds a fetch from the lookup of the name to the last byte, redirects included.
	Timeout          time.Duration
	MaxRequestBytes  int64 // of the body
	MaxResponseBytes int64 // of the body
	MaxRedirects     int
	RootCAs          *x509.CertPool   // nil: the system's
	Resolver         Resolver         // nil: the system's
	Now              func() time.Time // for certificates; nil: time.Now

	connect func(context.Context, netip.AddrPort) (net.Conn, error) // tests have an internet of their own
}

// Client fetches for one provider. It is safe for concurrent use. Connections are kept for
// reuse, by this client alone: their address was checked when they were made, and cannot
// change while they last.
type Client struct {
	allowed      list
	transport    *http.Transport
	timeout      time.Duration
	maxRequest   int64
	maxResponse  int64
	maxRedirects int

	life context.Context // ends with Close
	end  context.CancelFunc
}

// New makes a Client. Its error names every fault of the options.
func New(o Options) (*Client, error) {
	allowed, err := parseList(o.Allow)
	networks, networkErr := parseNetworks(o.Addresses)
	err = errors.Join(err, networkErr)
	if o.Timeout < 0 || o.MaxRequestBytes < 0 || o.MaxResponseBytes < 0 || o.MaxRedirects < 0 {
		err = errors.Join(err, errors.New("a limit is negative"))
	}
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.connect == nil {
		o.connect = connect
	}
	d := &dialer{
		resolver: o.Resolver, listed: networks, connect: o.connect,
		tls: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs, NextProtos: []string{"http/1.1"}, Time: o.Now},
	}
	c := &Client{
		allowed: allowed, transport: newTransport(d), timeout: orDefault(o.Timeout, DefaultTimeout),
		maxRequest: orDefault(o.MaxRequestBytes, DefaultMaxRequestBytes), maxResponse: orDefault(o.MaxResponseBytes, DefaultMaxResponseBytes),
		maxRedirects: orDefault(o.MaxRedirects, DefaultMaxRedirects),
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c, nil
}

func orDefault[T comparable](v, standard T) T {
	var zero T
	if v == zero {
		return standard
	}
	return v
}

// newTransport makes the HTTP that is spoken: 1.1, whose cost per connection is one request
// and the bytes that are counted. It takes no proxy from the environment, keeps no cookies
// and decompresses nothing, so that a small answer cannot become a large one.
func newTransport(d *dialer) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            d.dial,
		DialTLSContext:         d.dialTLS,
		Protocols:              &protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeadBytes,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
	}
}

// Close ends the fetches that are under way and closes the connections. Later fetches fail.
func (c *Client) Close() {
	c.end()
	c.transport.CloseIdleConnections()
}

// Fetch sends a request and returns the answer, whatever its status; redirects are followed.
// It ends with ctx at the latest; its error is then also ctx's. It keeps nothing of r.
func (c *Client) Fetch(ctx context.Context, r Request) (Response, error) {
	h, err := c.first(r)
	if err != nil {
		return Response{}, err
	}
	if c.life.Err() != nil {
		return Response{}, failed(c.life, h.to.destination, c.life.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	defer c.tidy()
	for range c.maxRedirects + 1 {
		resp, err := c.send(ctx, h)
		if err != nil {
			return Response{}, failed(ctx, h.to.destination, err)
		}
		next, err := c.redirected(h, resp)
		if err != nil {
			resp.Body.Close()
			return Response{}, err
		}
		if next == nil {
			defer resp.Body.Close()
			return c.read(ctx, h, resp)
		}
		// Unread, so that its connection ends; what else a redirect says is nobody's matter.
		resp.Body.Close()
		h = *next
	}
	return Response{}, fmt.Errorf("%w: %s: redirected more than %d times", ErrUnreachable, h.to.destination, c.maxRedirects)
}

// tidy closes the connection that a fetch kept which Close has overtaken.
func (c *Client) tidy() {
	if c.life.Err() != nil {
		c.transport.CloseIdleConnections()
	}
}

// hop is one request of a fetch, to a destination that is allowed.
type hop struct {
	method string
	to     target
	header http.Header
	body   []byte
}

// first checks what a plugin asks for.
func (c *Client) first(r Request) (hop, error) {
	to, err := parseURL(r.URL)
	if err != nil {
		return hop{}, fmt.Errorf("%w: URL: %w", ErrInvalid, err)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if len(r.Body) > 0 {
			return hop{}, fmt.Errorf("%w: %s has no body", ErrInvalid, r.Method)
		}
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return hop{}, fmt.Errorf("%w: method is not one of GET, HEAD, POST, PUT, PATCH, DELETE", ErrInvalid)
	}
	if int64(len(r.Body)) > c.maxRequest {
		return hop{}, fmt.Errorf("%w: body of the request is longer than %d bytes", ErrTooLarge, c.maxRequest)
	}
	header, err := requestHeader(r.Header)
	if err != nil {
		return hop{}, err
	}
	if !c.allowed.allows(to.destination) {
		return hop{}, fmt.Errorf("%w: %s: it is not listed", ErrDenied, to.destination)
	}
	// A copy: a RoundTripper may read a body after it returned.
	return hop{method: r.Method, to: to, header: header, body: bytes.Clone(r.Body)}, nil
}

// send makes one exchange. It uses the transport alone: an http.Client would follow
// redirects, and put URLs into its errors.
func (c *Client) send(ctx context.Context, h hop) (*http.Response, error) {
	req, err := http.NewRequestWithContext(asking(ctx), h.method, h.to.String(), bytes.NewReader(h.body))
	if err != nil {
		return nil, err
	}
	req.Header = h.header
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 { // 101: nobody asked for another protocol
		resp.Body.Close()
		return nil, errors.New("not a final answer")
	}
	return resp, nil
}

// read takes the answer in. What is too long is refused, never cut.
func (c *Client) read(ctx context.Context, h hop, resp *http.Response) (Response, error) {
	header, ok := responseHeader(resp.Header)
	if !ok {
		return Response{}, fmt.Errorf("%w: %s: more than %d header fields", ErrTooLarge, h.to.destination, maxFields)
	}
	tooLarge := fmt.Errorf("%w: %s: body is longer than %d bytes", ErrTooLarge, h.to.destination, c.maxResponse)
	if h.method != http.MethodHead && resp.ContentLength > c.maxResponse {
		return Response{}, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.maxResponse+1))
	// A server that sees this side hang up may end its answer in order, and net/http take
	// that for the whole.
	if err != nil || ctx.Err() != nil {
		return Response{}, failed(ctx, h.to.destination, err)
	}
	if int64(len(body)) > c.maxResponse {
		return Response{}, tooLarge
	}
	return Response{Status: resp.StatusCode, Header: header, Body: body, URL: h.to.String()}, nil
}
