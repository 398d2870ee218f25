package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// networks are what an operator listed although it is not public.
type networks []netip.Prefix

func parseNetworks(entries []string) (networks, error) {
	var out networks
	var faults []error
	for i, entry := range entries {
		p, err := netip.ParsePrefix(entry)
		if err != nil || p != p.Masked() || p.Addr().Is4In6() {
			faults = append(faults, fmt.Errorf("addresses[%d]: %q is not a network such as 10.1.2.0/24 or fd00:1::/64", i, entry))
			continue
		}
		out = append(out, p)
	}
	return out, errors.Join(faults...)
}

// allow reports whether an address may be connected to.
func (n networks) allow(addr netip.Addr) bool {
	return within(addr, n) || public(addr)
}

// public reports whether an address is one of the internet's. IPv4 is that but for what is
// reserved; IPv6 is not but for what is given out.
func public(addr netip.Addr) bool {
	if nat64.Contains(addr) { // the IPv4 address in it is where the packets go
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.Is4() {
		return !within(addr, reserved4)
	}
	return unicast6.Contains(addr) && !within(addr, reserved6)
}

func within(addr netip.Addr, list []netip.Prefix) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}

var (
	nat64    = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	unicast6 = netip.MustParsePrefix("2000::/3")     // all that IANA gives out
)

// reserved4 is the registry of special addresses (RFC 6890), and one that is not in it.
var reserved4 = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),        // this host
	netip.MustParsePrefix("10.0.0.0/8"),       // private
	netip.MustParsePrefix("100.64.0.0/10"),    // carriers' NAT; metadata of some clouds
	netip.MustParsePrefix("127.0.0.0/8"),      // loopback
	netip.MustParsePrefix("168.63.129.16/32"), // the metadata server of Azure, on a public address
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local; metadata of most clouds
	netip.MustParsePrefix("172.16.0.0/12"),    // private
	netip.MustParsePrefix("192.0.0.0/24"),     // protocol assignments; metadata of Oracle
	netip.MustParsePrefix("192.0.2.0/24"),     // documentation
	netip.MustParsePrefix("192.88.99.0/24"),   // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),   // private
	netip.MustParsePrefix("198.18.0.0/15"),    // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"),  // documentation
	netip.MustParsePrefix("203.0.113.0/24"),   // documentation
	netip.MustParsePrefix("224.0.0.0/4"),      // multicast
	netip.MustParsePrefix("240.0.0.0/4"),      // reserved, broadcast
}

// reserved6 is what of 2000::/3 is not the internet's. Teredo and 6to4 hold IPv4 addresses,
// and nobody serves there.
var reserved6 = []netip.Prefix{
	netip.MustParsePrefix("2001::/23"),     // protocol assignments: Teredo, benchmarks, ORCHID
	netip.MustParsePrefix("2001:db8::/32"), // documentation
	netip.MustParsePrefix("2002::/16"),     // 6to4
	netip.MustParsePrefix("3fff::/20"),     // documentation
}
