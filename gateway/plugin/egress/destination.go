package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Bounds of a URL.
const (
	maxURL   = 8 << 10
	maxName  = 253 // of DNS
	maxLabel = 63
)

// destination is what a list allows, in canonical form: two that are alike are equal. The
// host is a name in lower case or an address as netip writes it, without brackets.
type destination struct{ scheme, host, port string }

// String always has the port, which is what one looks for in an error.
func (d destination) String() string {
	return d.scheme + "://" + net.JoinHostPort(d.host, d.port)
}

// authority is host and port as they stand in a URL and in Host.
func (d destination) authority() string {
	if d.port != defaultPort(d.scheme) {
		return net.JoinHostPort(d.host, d.port)
	}
	if strings.Contains(d.host, ":") {
		return "[" + d.host + "]"
	}
	return d.host
}

// target is a URL in canonical form.
type target struct {
	destination
	resource string // path and query, with the slash in front
}

func (t target) String() string { return t.scheme + "://" + t.authority() + t.resource }

// list is the destinations of a configuration.
type list struct {
	exact map[destination]bool
	below []destination // whose hosts begin with the dot that follows the asterisk
}

func parseList(entries []string) (list, error) {
	l := list{exact: make(map[destination]bool)}
	var faults []error
	for i, entry := range entries {
		if err := l.add(entry); err != nil {
			// The entry is not repeated: it may hold a password by mistake.
			faults = append(faults, fmt.Errorf("allow[%d]: %w", i, err))
		}
	}
	return l, errors.Join(faults...)
}

func (l *list) add(entry string) error {
	scheme, authority, err := splitScheme(entry)
	if err != nil {
		return err
	}
	if strings.ContainsAny(authority, "/?#") {
		return errors.New("is more than scheme, host and port")
	}
	base, wild := strings.CutPrefix(authority, "*.")
	d, err := parseAuthority(scheme, base)
	if err != nil {
		return err
	}
	if !wild {
		l.exact[d] = true
		return nil
	}
	if _, err := netip.ParseAddr(d.host); err == nil {
		return errors.New("has an asterisk before an address")
	}
	if !strings.Contains(d.host, ".") {
		return errors.New("has an asterisk for a whole top-level domain")
	}
	d.host = "." + d.host
	l.below = append(l.below, d)
	return nil
}

func (l *list) allows(d destination) bool {
	return l.exact[d] || slices.ContainsFunc(l.below, func(b destination) bool {
		return d.scheme == b.scheme && d.port == b.port && strings.HasSuffix(d.host, b.host)
	})
}

// parseURL reads a URL by the letter of RFC 3986, as far as it is an http or https one with
// neither user information nor fragment. What parsers read in different ways (backslashes,
// spaces, other alphabets, escapes in hosts, numbers for addresses) is refused, not mended.
func parseURL(raw string) (target, error) {
	if len(raw) > maxURL {
		return target{}, fmt.Errorf("is longer than %d bytes", maxURL)
	}
	if !onlyURLBytes(raw) {
		return target{}, errors.New("has a character that has to be escaped, or an escape that is none")
	}
	scheme, rest, err := splitScheme(raw)
	if err != nil {
		return target{}, err
	}
	authority, resource := rest, "/"
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		authority, resource = rest[:at], rest[at:]
	}
	if resource[0] == '?' {
		resource = "/" + resource
	}
	if strings.ContainsAny(resource, "#[]") {
		return target{}, errors.New("has a fragment, or a bracket that is not escaped")
	}
	d, err := parseAuthority(scheme, authority)
	if err != nil {
		return target{}, err
	}
	t := target{d, resource}
	// net/http reads it once more, and has to find the same.
	u, err := url.Parse(t.String())
	if err != nil || u.Scheme != d.scheme || u.Host != d.authority() || u.User != nil || u.RequestURI() != resource {
		return target{}, errors.New("has two readings")
	}
	return t, nil
}

// Origin returns where a URL leads to as scheme://host:port, the same for two that lead to one
// place; "" for a URL that no [Client] would fetch.
func Origin(rawURL string) string {
	t, err := parseURL(rawURL)
	if err != nil {
		return ""
	}
	return t.destination.String()
}

// onlyURLBytes reports whether s has only characters of RFC 3986 §2, and whole escapes.
func onlyURLBytes(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c == '%' && (len(s) < i+3 || !hex(s[i+1]) || !hex(s[i+2])) {
			return false
		}
		if c != '%' && !alphanumeric(c) && strings.IndexByte("-._~:/?#[]@!$&'()*+,;=", c) < 0 {
			return false
		}
	}
	return true
}

func hex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }

func alphanumeric(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }

func splitScheme(raw string) (scheme, rest string, err error) {
	scheme, rest, found := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if !found || defaultPort(scheme) == "" {
		return "", "", errors.New("does not begin with https:// or http://")
	}
	return scheme, rest, nil
}

func defaultPort(scheme string) string {
	switch scheme {
	case "https":
		return "443"
	case "http":
		return "80"
	}
	return ""
}

func parseAuthority(scheme, authority string) (destination, error) {
	if strings.Contains(authority, "@") {
		return destination{}, errors.New("has user information")
	}
	host, port := authority, defaultPort(scheme)
	// A colon in brackets is of the address.
	if at := strings.LastIndexByte(authority, ':'); at > strings.LastIndexByte(authority, ']') {
		host, port = authority[:at], authority[at+1:]
	}
	if !validPort(port) {
		return destination{}, errors.New("has a port that is not a number from 1 to 65535")
	}
	host, err := parseHost(host)
	return destination{scheme, host, port}, err
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

// parseHost returns the canonical form of a name or an address.
func parseHost(host string) (string, error) {
	if inside, bracket := strings.CutPrefix(host, "["); bracket {
		return parseIPv6(inside)
	}
	if !validName(host) {
		return "", errors.New("has a host that is not a name in ASCII (without a dot at its end) or an address")
	}
	host = strings.ToLower(host)
	if !endsInNumber(host) {
		return host, nil
	}
	// 127.1, 0x7f000001, 0177.0.0.1 and 2130706433 are 127.0.0.1 to some; netip takes the
	// four decimal numbers alone.
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "", errors.New("has an IPv4 address that is not written as four decimal numbers")
	}
	return addr.String(), nil
}

// parseIPv6 takes what stands behind the bracket. An IPv4 address in an IPv6 one would be
// a second spelling of it.
func parseIPv6(inside string) (string, error) {
	inside, closed := strings.CutSuffix(inside, "]")
	addr, err := netip.ParseAddr(inside)
	if !closed || err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
		return "", errors.New("has brackets without a plain IPv6 address")
	}
	return addr.String(), nil
}

// validName accepts labels of letters, digits, dashes and underscores; service names in
// clusters have the last.
func validName(name string) bool {
	if len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > maxLabel {
			return false
		}
		for i := range len(label) {
			if !alphanumeric(label[i]) && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	return true
}

// endsInNumber reports whether a name is an address to those who read numbers generously
// (the URL standard of WHATWG, inet_aton): its last label is decimal, or hexadecimal with 0x.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if digits, is := strings.CutPrefix(last, "0x"); is {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}
