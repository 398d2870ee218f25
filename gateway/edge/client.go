package edge

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/route"
)

// remoteAddr returns the address of the peer of a connection. It is not valid for peers
// without one, such as in-memory connections.
func remoteAddr(ctx *fasthttp.RequestCtx) netip.Addr { return addrOf(ctx.RemoteAddr()) }

func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return plain(tcp.AddrPort().Addr())
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// proxyList are the addresses whose X-Forwarded-For is believed.
type proxyList []netip.Prefix

func parseProxies(list []string) (proxyList, error) {
	var out proxyList
	for _, text := range list {
		if a, err := netip.ParseAddr(text); err == nil {
			a = plain(a)
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a CIDR block", text)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (l proxyList) contains(a netip.Addr) bool {
	for _, p := range l {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// client walks the X-Forwarded-For fields from the right, the side that the nearest proxy
// wrote, past the trusted ones. The first address that is not trusted is the client; what
// stands left of it could be anybody's invention. An entry that is no address ends the walk
// at the last one that could be believed.
func (l proxyList) client(peer netip.Addr, chain []string) netip.Addr {
	last := peer
	for i := len(chain) - 1; i >= 0; i-- {
		rest := chain[i]
		for rest != "" {
			entry := rest
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, entry = rest[:comma], rest[comma+1:]
			} else {
				rest = ""
			}
			a, ok := parseForwarded(strings.Trim(entry, " \t"))
			if !ok {
				return last
			}
			if last = a; !l.contains(a) {
				return a
			}
		}
	}
	return last
}

// parseForwarded reads an address, with or without a port.
func parseForwarded(entry string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]")); err == nil {
		return plain(a), true
	}
	if ap, err := netip.ParseAddrPort(entry); err == nil {
		return plain(ap.Addr()), true
	}
	return netip.Addr{}, false
}

// hostList are the hosts that requests may name; nil allows any.
type hostList []string

// parseHosts takes "*", names, addresses and ".domain" for a domain and all below it.
func parseHosts(list []string) (hostList, error) {
	var out hostList
	for _, text := range list {
		if text == "*" {
			return nil, nil
		}
		name, below := strings.CutPrefix(text, ".")
		host, port, err := route.SplitAuthority(name)
		if err != nil || port != "" {
			return nil, fmt.Errorf("%q is no host", text)
		}
		if below {
			host = "." + host
		}
		out = append(out, host)
	}
	return out, nil
}

func (l hostList) allow(host string) bool {
	if l == nil {
		return true
	}
	for _, h := range l {
		if h == host || h[0] == '.' && (h[1:] == host || strings.HasSuffix(host, h)) {
			return true
		}
	}
	return false
}
