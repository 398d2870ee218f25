package route

import (
	"errors"
	"net/netip"
	"strings"
)

// ErrHost says that a host is not one that every server reads alike.
var ErrHost = errors.New("host is malformed")

// maxHost is the longest DNS name.
const maxHost = 253

// SplitAuthority returns the host and the port of an authority as the Host header holds it:
// the host in lower case, without a trailing dot, an IPv6 address in brackets and in its
// canonical form; the port without leading zeros, or empty. User information ("u@host"),
// escapes and everything else that is not a name, an address or a port gives [ErrHost].
func SplitAuthority(authority string) (host, port string, err error) {
	if strings.HasPrefix(authority, "[") {
		return splitIPv6(authority)
	}
	host, port, found := strings.Cut(authority, ":")
	if found && !validPort(port) {
		return "", "", ErrHost
	}
	host = strings.TrimSuffix(host, ".")
	if !validName(host) {
		return "", "", ErrHost
	}
	return strings.ToLower(host), port, nil
}

func splitIPv6(authority string) (host, port string, err error) {
	inside, rest, found := strings.Cut(authority[1:], "]")
	if !found {
		return "", "", ErrHost
	}
	if rest != "" {
		if rest[0] != ':' || !validPort(rest[1:]) {
			return "", "", ErrHost
		}
		port = rest[1:]
	}
	ip, err := netip.ParseAddr(inside)
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return "", "", ErrHost
	}
	return "[" + ip.String() + "]", port, nil
}

func validPort(port string) bool {
	if len(port) == 0 || len(port) > 5 || port[0] == '0' {
		return false
	}
	n := 0
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
		n = n*10 + int(port[i]-'0')
	}
	return n <= 65535
}

// validName accepts labels of letters, digits, dashes and underscores; an underscore is no
// part of a host name, but service names in clusters have it.
func validName(name string) bool {
	if len(name) == 0 || len(name) > maxHost {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
				continue
			}
			return false
		}
	}
	return true
}
