package egress

import (
	"net/netip"
	"testing"
)

// TestEdgesOfReservedNetworks has the first and the last address of each network of the
// registries, and the neighbours that are public.
func TestEdgesOfReservedNetworks(t *testing.T) {
	for _, c := range []struct{ before, first, last, after string }{
		{"", "0.0.0.0", "0.255.255.255", "1.0.0.0"},
		{"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
		{"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
		{"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
		{"168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"},
		{"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
		{"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
		{"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
		{"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
		{"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
		{"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
		{"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
		{"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
		{"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
		{"223.255.255.255", "224.0.0.0", "255.255.255.255", ""},
		{"", "::", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", ""},
		{"64:ff9b::9ff:ffff", "64:ff9b::a00:0", "64:ff9b::aff:ffff", "64:ff9b::b00:0"},
		{"64:ff9b::dfff:ffff", "64:ff9b::e000:0", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"},
		{"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"},
		{"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
		{"2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"},
		{"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"},
		{"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
	} {
		for _, in := range []string{c.first, c.last} {
			if networks(nil).allow(netip.MustParseAddr(in)) {
				t.Errorf("%s is allowed", in)
			}
		}
		for _, out := range []string{c.before, c.after} {
			if out != "" && !networks(nil).allow(netip.MustParseAddr(out)) {
				t.Errorf("%s is not allowed", out)
			}
		}
	}
}

func TestListedNetworksAreOpenAndNoOther(t *testing.T) {
	n, err := parseNetworks([]string{"10.1.2.0/24", "fd00:1::/64", "127.0.0.1/32", "2001:db8::1/128"})
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]bool{
		"10.1.2.0": true, "10.1.2.255": true, "10.1.1.255": false, "10.1.3.0": false, "fd00:1::5": true, "fd00:1:0:1::": false, "127.0.0.1": true, "127.0.0.2": false, "::1": false,
		"2001:db8::1": true, "2001:db8::2": false, "64:ff9b::10.1.2.3": false, "::ffff:10.1.2.3": false, "8.8.8.8": true, "fe80::1%eth0": false, "2606:4700::1%eth0": false,
	} {
		if got := n.allow(netip.MustParseAddr(a)); got != want {
			t.Errorf("allow(%s) = %v, want %v", a, got, want)
		}
	}
	if n.allow(netip.Addr{}) {
		t.Error("allow() of no address = true")
	}
}

func TestMalformedNetworksAreRefused(t *testing.T) {
	for _, entry := range []string{"", "10.0.0.1", "10.0.0.1/8", "10.0.0.0/33", "10/8", "010.0.0.0/8", "::ffff:10.0.0.0/104", "fe80::%eth0/10", "fd00::1/64", "localhost", "10.0.0.0/8 ", "10.0.0.0/08", "*"} {
		if n, err := parseNetworks([]string{entry}); err == nil {
			t.Errorf("parseNetworks(%q) = %v, want an error", entry, n)
		}
	}
}

// FuzzPublic holds what is public against the words that the standard library has for
// addresses, in every IPv4 that an IPv6 address can hold.
func FuzzPublic(f *testing.F) {
	for _, a := range forbidden {
		b := netip.MustParseAddr(a).As16()
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok || !networks(nil).allow(addr) {
			return
		}
		forms := []netip.Addr{addr, addr.Unmap()}
		if addr.Is6() {
			six := addr.As16()
			switch {
			case six[0] == 0: // NAT64, mapped, compatible
				forms = append(forms, netip.AddrFrom4([4]byte(six[12:])))
			case six[0] == 0x20 && six[1] == 2: // 6to4
				forms = append(forms, netip.AddrFrom4([4]byte(six[2:6])))
			case six[0] == 0x20 && six[1] == 1 && six[2] == 0 && six[3] == 0: // Teredo
				forms = append(forms, netip.AddrFrom4([4]byte{^six[12], ^six[13], ^six[14], ^six[15]}))
			}
		}
		for _, a := range forms {
			if a.IsLoopback() || a.IsPrivate() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.Is4() && a.As4()[0] >= 224 || a.Is4() && a.As4()[0] == 0 {
				t.Errorf("%s is public, and %s is not", addr, a)
			}
		}
	})
}
