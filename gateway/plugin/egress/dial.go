package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// maxAddresses is how many addresses of a name are tried.
const maxAddresses = 8

var (
	errForbidden = errors.New("address not allowed")
	errNoAddress = errors.New("name has no address")
	errHandshake = errors.New("TLS handshake failed")
)

// dialer makes the connections. The addresses that it checks are those that it dials: no
// name is resolved a second time.
type dialer struct {
	resolver Resolver
	listed   networks
	tls      *tls.Config
	connect  func(context.Context, netip.AddrPort) (net.Conn, error)
}

func connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", to.String())
}

type askingKey struct{}

// asking returns a context whose value is ctx. The transport dials under a context that
// has the values of a request's and not its end, lest a connection go to waste; with
// impatient callers unfinished dials would pile up, so here a dial ends with its fetch.
func asking(ctx context.Context) context.Context { return context.WithValue(ctx, askingKey{}, ctx) }

func asker(ctx context.Context) context.Context {
	if asking, ok := ctx.Value(askingKey{}).(context.Context); ok {
		return asking
	}
	return ctx
}

func (d *dialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	raw, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := d.tls.Clone()
	config.ServerName = host
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(asker(ctx)); err != nil {
		raw.Close()
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	return conn, nil
}

func (d *dialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	ctx = asker(ctx)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	for i, addr := range addrs {
		var conn net.Conn
		conn, err = d.try(ctx, netip.AddrPortFrom(addr, uint16(n)), len(addrs)-i)
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// try connects, within a fair part of the time if this is the first of several addresses.
func (d *dialer) try(ctx context.Context, to netip.AddrPort, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
		ctx = share
	}
	return d.connect(ctx, to)
}

// resolve returns the addresses of a host, if all of them may be connected to. One that
// may not be condemns the others: whoever answers for that name points to where nobody of
// the outside has a business, and which address it is today must not decide.
func (d *dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addr, err := netip.ParseAddr(host)
	addrs := []netip.Addr{addr}
	if err != nil {
		// The dot keeps the search domains of the machine away: only the name that is listed
		// is asked for.
		addrs, err = d.resolver.LookupNetIP(ctx, "ip", host+".")
		if err != nil {
			return nil, err
		}
	}
	if len(addrs) == 0 {
		return nil, errNoAddress
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
		if !d.listed.allow(addrs[i]) {
			return nil, errForbidden
		}
	}
	return addrs[:min(len(addrs), maxAddresses)], nil
}

// failed says why an exchange with d failed, in words of its own: errors of the network
// name addresses and resolvers, those of net/http repeat what the other side sent.
func failed(ctx context.Context, d destination, err error) error {
	switch {
	case errors.Is(err, errForbidden):
		return fmt.Errorf("%w: %s: it has an address that is neither public nor listed", ErrDenied, d)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: %s: it took too long: %w", ErrUnreachable, d, context.DeadlineExceeded)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s: the fetch was ended: %w", ErrUnreachable, d, ctx.Err())
	}
	return fmt.Errorf("%w: %s: %s", ErrUnreachable, d, reason(err))
}

func reason(err error) string {
	if name, ok := errors.AsType[*net.DNSError](err); errors.Is(err, errNoAddress) || ok && name.IsNotFound {
		return "there is no such name"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "its name cannot be resolved"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "its certificate is of an unknown authority"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "its certificate is for another name"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not valid"
	}
	if errors.Is(err, errHandshake) {
		return "the TLS handshake failed"
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "the connection was refused"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return "it cannot be connected to"
	}
	return "the connection broke, or the answer is not HTTP within its bounds"
}
