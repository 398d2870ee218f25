package email

import (
	"strings"

	"github.com/materi/shield/sdk"
)

// Bounds of an address, RFC 5321 §4.5.3.1 and RFC 1035 §2.3.4.
const (
	maxAddress = 254
	maxLocal   = 64
	maxLabel   = 63
)

// canonical returns the one spelling under which an address is known, and whether the
// text is an address at all: a dot-atom, an at sign, and a domain of two labels or more
// (RFC 5321 §4.1.2), in lower case.
//
// It is ASCII alone. Letters beyond it have several spellings and look alike, and each
// system folds them in its own way; two addresses that are one here and two at the mail
// server are how accounts get stolen. A domain with such letters is written in its
// "xn--" form. Quoted local parts and address literals are refused too: nobody has them,
// and each parser reads them differently. That RFC 5321 lets a server tell "Ann" from
// "ann" is ignored, as it is by every server that people use.
func canonical(s string) (address string, ok bool) {
	s = strings.Trim(s, " ")
	if len(s) > maxAddress {
		return "", false
	}
	local, domain, found := strings.Cut(s, "@")
	if !found || !isLocal(local) || !isDomain(domain) {
		return "", false
	}
	return strings.ToLower(s), true
}

// isLocal reports whether s is a dot-atom, RFC 5322 §3.2.3.
func isLocal(s string) bool {
	if len(s) > maxLocal {
		return false
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtext(r) }) {
			return false
		}
	}
	return true
}

// isDomain reports whether s is a host name that can be on the internet. A last label of
// digits alone would be an IP address.
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if !isLabel(label) {
			return false
		}
	}
	return strings.ContainsFunc(labels[len(labels)-1], isLetter)
}

// isLabel reports whether s can be a label of a host name. Two hyphens in the third place
// are reserved for encoded names, RFC 5891 §4.2.3.1.
func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	if len(s) >= 4 && s[2:4] == "--" && !strings.EqualFold(s[:2], "xn") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !isLetter(r) && !isDigit(r) && r != '-' })
}

func isAtext(r rune) bool {
	return isLetter(r) || isDigit(r) || r < 0x80 && strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

// addressOf returns the canonical address of a form, or the step that refuses it.
func addressOf(req sdk.Request) (string, *sdk.Step) {
	address, ok := canonical(req.Fields[fieldEmail])
	if ok {
		return address, nil
	}
	no := deny(sdk.CodeInvalidEmail, sdk.FieldError{
		Field: fieldEmail, Code: "format", Message: "This is not an e-mail address, such as name@example.com.",
	})
	return "", &no
}
