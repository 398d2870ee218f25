package account

import (
	"strings"

	"golang.org/x/net/idna"
)

const (
	maxEmail = 254 // RFC 5321 §4.5.3.1.3, without the angle brackets
	maxLocal = 64  // RFC 5321 §4.5.3.1.1
)

// CanonicalEmail returns the one spelling under which an address is kept and compared, or
// nothing if text is not an address: in lower case, without spaces around it, a domain that
// is not ASCII in its "xn--" form. It changes no canonical address.
//
// The part before the at sign must be ASCII. Letters beyond it have several spellings and
// look alike; two addresses that are one here and two at the mail server are how accounts
// get stolen. Quoted local parts and address literals are refused for the same reason.
func CanonicalEmail(text string) string {
	text = strings.Trim(text, " ")
	at := strings.IndexByte(text, '@')
	if at < 1 || at > maxLocal || len(text) > 4*maxEmail {
		return ""
	}
	local, domain := text[:at], text[at+1:]
	if !isDotAtom(local) {
		return ""
	}
	domain, err := idna.Lookup.ToASCII(strings.ToLower(domain))
	if err != nil || !isDomain(domain) {
		return ""
	}
	if at+1+len(domain) > maxEmail {
		return ""
	}
	return strings.ToLower(local) + "@" + domain
}

// isDotAtom reports whether s is a dot-atom, RFC 5322 §3.2.3.
func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !isAtext(atom[i]) {
				return false
			}
		}
	}
	return true
}

func isAtext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c < 0x80 && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// isDomain reports whether s is a host name, RFC 1123 §2.1.
func isDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
				return false
			}
		}
	}
	return true
}
