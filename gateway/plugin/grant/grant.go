// Package grant is what one provider may use outside of the gateway's database: other
// servers, the keys of other issuers, XML signatures, and the secrets that the operator gave
// it. It speaks the requests of sdk/wire and leaves the work to the packages that know how:
// egress, token and xmlsig. What a provider was granted is settled before it is asked.
package grant

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/circuit"
	"github.com/materi/shield/gateway/plugin/egress"
	"github.com/materi/shield/gateway/token"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// Options are the needs of [New].
type Options struct {
	Provider config.Provider
	Circuits *circuit.Set // of the servers that the provider asks
	Log      *slog.Logger
	Now      func() time.Time
	Resolver egress.Resolver // nil: the system's
}

// Grant serves the requests of one provider. It is safe for concurrent use, and must be
// closed.
type Grant struct {
	name     string
	web      *egress.Client
	circuits *circuit.Set
	log      *slog.Logger
	fair     time.Duration // that a server must have had before it is too slow
	fetches  int           // most requests of one call
	issuers  *token.Source
	secrets  secrets
	now      func() time.Time
}

// New reads what the configuration names. Its error says what cannot be used.
func New(o Options) (*Grant, error) {
	if o.Now == nil || o.Circuits == nil || o.Log == nil {
		return nil, errors.New("grant: Circuits, Log and Now are required")
	}
	p := o.Provider
	roots, err := authorities(p.HTTP.CAFile)
	if err != nil {
		return nil, fmt.Errorf("http.ca_file: %w", err)
	}
	keys, err := newSecrets(p.Secrets)
	if err != nil {
		return nil, err
	}
	web, err := egress.New(egress.Options{
		Allow: p.HTTP.Allow, Addresses: networks(p.HTTP.Addresses), Timeout: p.HTTP.Timeout,
		MaxResponseBytes: int64(p.HTTP.MaxResponse), RootCAs: roots, Resolver: o.Resolver, Now: o.Now,
	})
	if err != nil {
		return nil, err
	}
	g := &Grant{
		name: p.Name, web: web, circuits: o.Circuits, log: o.Log, fair: min(p.HTTP.Timeout/2, time.Second), fetches: p.HTTP.MaxRequests, secrets: keys, now: o.Now,
	}
	if g.issuers, err = token.NewSource(token.SourceOptions{Fetch: g.fetchKeys, Now: o.Now}); err != nil {
		web.Close()
		return nil, err
	}
	return g, nil
}

// networks writes single addresses as the networks that they are.
func networks(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		if addr, err := netip.ParseAddr(s); err == nil {
			addr = addr.Unmap() // as those are that it is compared with
			s = netip.PrefixFrom(addr, addr.BitLen()).String()
		}
		out[i] = s
	}
	return out
}

// authorities reads a file of certificates; no file stands for the system's.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("it holds no certificate")
	}
	return pool, nil
}

// Close gives up the connections. Requests that run fail.
func (g *Grant) Close() { g.web.Close() }

// Secrets returns what must never be printed.
func (g *Grant) Secrets() []string { return g.secrets.values() }

// maxChecks is how many signatures and tokens one call may check or make. They cost the
// gateway a thousand times what asking for them costs the plugin.
const maxChecks = 64

// Call is one call of the provider: it bounds what the call may ask. It belongs to the
// goroutine of the call.
type Call struct {
	g       *Grant
	fetches int
	checks  int
	refused time.Duration // how long a server is not asked that the call asked for; 0: none
}

// Refused reports whether the call was not let ask a server that keeps failing, and for how
// long that will be so.
func (c *Call) Refused() (time.Duration, bool) { return c.refused, c.refused > 0 }

// Call begins a call.
func (g *Grant) Call() *Call { return &Call{g: g} }

// Serve answers a request. A request for a capability that is not this package's is
// [sdk.ErrNotGranted].
func (c *Call) Serve(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	if f.Capability == sdk.CapabilityJWT || f.Capability == sdk.CapabilityXMLDSig {
		c.checks++
		if c.checks > maxChecks {
			return nil, sdk.ErrExhausted
		}
	}
	switch f {
	case wire.HTTPFetch:
		return c.fetch(ctx, in)
	case wire.JWTVerify:
		return c.verifyToken(ctx, in)
	case wire.JWTSign:
		return c.signToken(in)
	case wire.XMLVerify:
		return verifyXML(in)
	case wire.XMLSign:
		return c.signXML(in)
	case wire.XMLDecrypt:
		return c.decryptXML(in)
	case wire.XMLSignBytes:
		return c.signBytes(in)
	case wire.XMLVerifyBytes:
		return verifyBytes(in)
	case wire.SecretGet:
		return c.secret(in)
	case wire.SecretMAC:
		return c.mac(in)
	}
	return nil, sdk.ErrNotGranted
}

func (c *Call) fetch(ctx context.Context, in []byte) ([]byte, error) {
	r, err := wire.DecodeFetch(in)
	if err != nil {
		return nil, err
	}
	c.fetches++
	if c.fetches > c.g.fetches {
		return nil, sdk.ErrExhausted
	}
	request := egress.Request{Method: cmp.Or(r.Method, "GET"), URL: r.URL, Body: r.Body}
	for _, h := range r.Header {
		request.Header = append(request.Header, egress.Header(h))
	}
	ctx, cancel := most(ctx)
	defer cancel()
	response, err := c.g.ask(ctx, request)
	if refused, ok := errors.AsType[*circuit.Refused](err); ok {
		c.refused = max(c.refused, refused.RetryAfter)
		return nil, fmt.Errorf("%w: %w", sdk.ErrUnreachable, err)
	}
	if err != nil {
		return nil, outside(err)
	}
	out := sdk.HTTPResponse{Status: response.Status, Body: response.Body, URL: response.URL}
	for _, h := range response.Header {
		out.Header = append(out.Header, sdk.HTTPHeader(h))
	}
	reply := wire.EncodeFetched(out)
	if len(reply) > wire.MaxMessage {
		return nil, sdk.ErrTooLarge
	}
	return reply, nil
}

// most gives a fetch four fifths of the time that its call has left, so that a provider whose
// other side does not answer can say so, or go on with what it remembers.
func most(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)*4/5)
}

// outside tells an error of package egress as the contract has it.
func outside(err error) error {
	for _, e := range []struct{ of, as error }{
		{egress.ErrDenied, sdk.ErrDenied},
		{egress.ErrTooLarge, sdk.ErrTooLarge},
		{egress.ErrInvalid, sdk.ErrInvalid},
		{egress.ErrUnreachable, sdk.ErrUnreachable},
	} {
		if errors.Is(err, e.of) {
			return fmt.Errorf("%w: %w", e.as, err)
		}
	}
	return err
}

// fetchKeys fetches a JWK Set for the issuers, by the rules of the provider's own requests.
func (g *Grant) fetchKeys(ctx context.Context, url string) ([]byte, error) {
	response, err := g.ask(ctx, egress.Request{Method: "GET", URL: url, Header: []egress.Header{{Name: "Accept", Value: "application/json"}}})
	if _, ok := errors.AsType[*circuit.Refused](err); ok {
		return nil, fmt.Errorf("%w: %w", token.ErrNotAsked, err)
	}
	if err != nil {
		return nil, err
	}
	if response.Status != 200 {
		return nil, fmt.Errorf("%w: status %d", egress.ErrUnreachable, response.Status)
	}
	return slices.Clone(response.Body), nil
}
