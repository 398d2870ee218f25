package config

import (
	"encoding/pem"
	"errors"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// format is what a string must look like. check's error goes on from the value, as in
// parseScalar, and never repeats it. pattern says the same to a schema as far as a regular
// expression can; it is empty where one cannot.
type format struct {
	check   func(string) error
	pattern string
	key     bool // a key: never shown, and the two characters \n stand for a newline, as in variables
}

// Patterns that check and schema share.
const (
	namePattern   = `^[a-z][a-z0-9-]{0,62}$`
	hashPattern   = `^[0-9a-f]{64}$`
	idPattern     = `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`
	hostPattern   = `^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`
	wordPattern   = `^[!-~]+$`
	domainPattern = `^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`
	headerPattern = `^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`
	pathPattern   = `^/([A-Za-z0-9._~!$&'()*,=:@/-]|%[2-9A-F][0-9A-F])*$`
)

var (
	name     = regexp.MustCompile(namePattern)
	hash     = regexp.MustCompile(hashPattern)
	header   = regexp.MustCompile(headerPattern)
	id       = regexp.MustCompile(idPattern)
	hostname = regexp.MustCompile(hostPattern)
	mailHost = regexp.MustCompile(domainPattern)
	word     = regexp.MustCompile(wordPattern)
	plain    = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()*,=:@-]$`)
	urlPath  = regexp.MustCompile(pathPattern)

	endsInNumber = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)$`)
)

// formats are the formats that tags may name. The table is never changed.
var formats = map[string]format{
	"name":         {check: matches(name, "is not a name; write up to 63 lower-case letters, digits and dashes, a letter first"), pattern: namePattern},
	"id":           {check: matches(id, "is not a name; write up to 63 letters, digits, dots, dashes and underscores"), pattern: idPattern},
	"word":         {check: matches(word, "is not one word; write visible ASCII characters without spaces"), pattern: wordPattern},
	"text":         {check: text},
	"secret":       {check: secret},
	"host":         {check: host},
	"hosts":        {check: hosts},
	"hostport":     {check: hostport},
	"cidr":         {check: cidr},
	"origin":       {check: origin, pattern: `^https?://[^/?#]+/?$`},
	"upstream":     {check: origin, pattern: `^https?://[^/?#]+/?$`},
	"https":        {check: https, pattern: `^https?://`},
	"page":         {check: page, pattern: `^https?://`},
	"redirect-uri": {check: redirectURI, pattern: `^[a-z][a-z0-9+.-]*:`},
	"mailbox":      {check: mailbox},
	"path":         {check: canonicalPath, pattern: pathPattern},
	"database":     {check: database},
	"redis":        {check: redis},
	"sha256":       {check: matches(hash, "is not a SHA-256 digest; write 64 lower-case hexadecimal digits, as sha256sum does"), pattern: hashPattern},
	"header":       {check: shownHeader, pattern: headerPattern},
	"egress":       {check: egress, pattern: `^https?://[^/?#@]+$`},
	"domain":       {check: domain, pattern: domainPattern},
	"domains":      {check: trusted, pattern: `^\*$|` + domainPattern},
	"private-key":  {check: privateKey, key: true},
	"public-key":   {check: publicKey, key: true},
	"certificate":  {check: certificate, key: true},
}

func matches(re *regexp.Regexp, wrong string) func(string) error {
	return func(s string) error {
		if !re.MatchString(s) {
			return errors.New(wrong)
		}
		return nil
	}
}

func text(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("is empty; write something")
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return errors.New("holds a control character; write it on one line")
	}
	return nil
}

// secret refuses what was typed rather than made: 32 random characters of the smallest
// usual alphabet (hexadecimal) hold fewer than eight different ones about once in 10^6.
func secret(s string) error {
	if len(s) < 32 {
		return errors.New("is too short; make at least 32 random characters, for instance with: openssl rand -base64 48")
	}
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	if len(seen) < 8 {
		return errors.New("is not random; make it for instance with: openssl rand -base64 48")
	}
	return nil
}

func host(s string) error {
	if len(s) <= 253 && hostname.MatchString(s) || len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' && isIPv6(s[1:len(s)-1]) {
		return nil
	}
	return errors.New("is not a host; write a lower-case name without scheme, port or path, such as api.example.com, and an IPv6 address in brackets")
}

func isIPv6(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6() && addr.Zone() == ""
}

func hosts(s string) error {
	if s == "*" || host(strings.TrimPrefix(s, ".")) == nil {
		return nil
	}
	return errors.New(`is not a host; write api.example.com, .example.com for the domain and all below it, or "*" for any`)
}

func hostport(s string) error {
	wrong := errors.New("is not host:port; write for instance 127.0.0.1:8000, or :8000 for every address")
	h, port, err := net.SplitHostPort(s)
	if err != nil {
		return wrong
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return wrong
	}
	if h != "" && host(h) != nil && !isIPv6(h) {
		return wrong
	}
	return nil
}

func cidr(s string) error {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return errors.New("is not an address or CIDR block; write for instance 10.0.0.0/8")
	}
	if p.Addr().Is4In6() { // addresses are compared without that prefix, so none would be in it
		return errors.New("is a block of IPv4 addresses in IPv6 form; write for instance 10.0.0.0/8")
	}
	if p.Masked() != p {
		return errors.New("has bits set beyond its prefix length; write the block's first address")
	}
	return nil
}

// webURL parses an absolute http or https URL without user information. The errors of
// net/url repeat the URL, so none of them is passed on.
func webURL(s string) (*url.URL, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || u.User != nil {
		return nil, false
	}
	h := u.Hostname()
	if host(strings.ToLower(h)) != nil && !isIPv6(h) || strings.ContainsFunc(s, isSpaceOrControl) {
		return nil, false
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil || strings.HasSuffix(u.Host, ":") {
		return nil, false
	}
	return u, true
}

func isSpaceOrControl(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

func origin(s string) error {
	u, ok := webURL(s)
	if !ok || u.Path != "" && u.Path != "/" || strings.ContainsAny(s, "?#") {
		return errors.New("is not a scheme with a host; write for instance https://api.example.com, without a path")
	}
	return nil
}

// domain is one of e-mail addresses, in the one spelling in which addresses are compared.
func domain(s string) error {
	ascii, err := idna.Lookup.ToASCII(strings.ToLower(s))
	if err != nil || len(ascii) > 253 || !mailHost.MatchString(ascii) {
		return errors.New("is not the domain of an e-mail address; write what stands after the at sign, such as example.com")
	}
	if ascii != s {
		return errors.New("is not as domains are compared; write it in lower case, and letters beyond ASCII in the xn-- form")
	}
	return nil
}

// trusted is a domain, or all of them.
func trusted(s string) error {
	if s == "*" {
		return nil
	}
	return domain(s)
}

// egress is a server that a plugin may reach. A port has one spelling, and so has an address:
// what ends in a number is an IPv4 address to some, and must be one to all.
func egress(s string) error {
	wrong := errors.New("is not a server; write https://login.example.com, https://login.example.com:8443, or https://*.example.com for all below a domain")
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme != "https" && scheme != "http" {
		return wrong
	}
	rest, below := strings.CutPrefix(rest, "*.")
	u, ok := webURL(scheme + "://" + rest)
	if !ok || u.Path != "" || strings.ContainsAny(rest, "?#@*%") || strings.HasPrefix(u.Port(), "0") || rest != strings.ToLower(rest) {
		return wrong
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if below && (err == nil || !strings.Contains(u.Hostname(), ".")) {
		return wrong
	}
	if addr.Is4In6() || err != nil && endsInNumber.MatchString(u.Hostname()) {
		return wrong
	}
	return nil
}

// shownHeader is a header that a plugin may see: not one that carries what the gateway itself
// goes by, which would let a plugin collect the tokens of others.
func shownHeader(s string) error {
	if !header.MatchString(s) {
		return errors.New("is not a header; write its name, in letters, digits and dashes")
	}
	switch strings.ToLower(s) {
	case "authorization", "cookie", "proxy-authorization":
		return errors.New("carries credentials of the gateway; a plugin cannot be shown it")
	}
	return nil
}

func https(s string) error {
	u, ok := webURL(s)
	if !ok || strings.Contains(s, "#") {
		return errors.New("is not a URL; write for instance https://login.example.com/jwks.json")
	}
	if !isPrivate(u) {
		return errors.New("is sent in clear; use https (http is for loopback alone)")
	}
	return nil
}

// page is a page of the operator's that a browser is sent to.
func page(s string) error {
	u, ok := webURL(s)
	if !ok || strings.Contains(s, "#") {
		return errors.New("is not the URL of a page; write for instance https://app.example.com/reset, without a fragment")
	}
	if !isPrivate(u) {
		return errors.New("is sent in clear; use https (http is for loopback alone)")
	}
	return nil
}

// redirectURI is where a browser takes a one-time code to: a page as private as its scheme
// keeps it, or an app that the system knows by a scheme of its own (RFC 8252 §7.1). What is
// appended must be the only one of its name.
func redirectURI(s string) error {
	u, err := url.Parse(s)
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`#*\"<>`, r) }
	if err != nil || u.User != nil || u.Opaque != "" || !strings.HasPrefix(s, u.Scheme+":") || strings.ContainsFunc(s, odd) {
		return errors.New("is not a URI to go back to; write for instance https://app.example.com/signed-in, in ASCII, without a user, a fragment or an asterisk")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || query.Has("code") || query.Has("error") || query.Has("request_id") {
		return errors.New("has a query with code, error or request_id in it, or none that can be read; these are added by the gateway")
	}
	switch {
	case u.Scheme == "http" || u.Scheme == "https":
		return page(s)
	case strings.Contains(u.Scheme, "."):
		return nil
	}
	return errors.New("has a scheme that browsers or other apps know, too; use https, http on loopback, or the reverse domain of an app, such as com.example.app")
}

// isPrivate reports whether what is sent to u cannot be read on the way.
func isPrivate(u *url.URL) bool { return u.Scheme == "https" || isLoopback(u.Hostname()) }

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

func mailbox(s string) error {
	a, err := mail.ParseAddress(s)
	if err != nil || strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsFunc(a.Name, unicode.IsControl) {
		return errors.New("is not a sender; write for instance Example <no-reply@example.com>")
	}
	return nil
}

// canonicalPath demands the one spelling in which requests are matched, so that no route can
// be written that no request would ever reach: escapes only where RFC 3986 §3.3 needs them
// and in upper case, no parameters, no empty and no dot segments.
func canonicalPath(s string) error {
	if !strings.HasPrefix(s, "/") {
		return errors.New("does not begin with /; write for instance /api/documents")
	}
	if !urlPath.MatchString(s) || hasNeedlessEscape(s) {
		return errors.New("is not a canonical path; write what needs no escape as it is, the rest as upper-case %XX, and no query")
	}
	if clean := path.Clean(s); clean != s && clean+"/" != s {
		return errors.New("is not a clean path; remove empty and dot segments")
	}
	return nil
}

// hasNeedlessEscape reports whether a path escapes what must not be escaped: characters that
// stand for themselves in a path, and those that servers disagree about.
func hasNeedlessEscape(s string) bool {
	for i := range len(s) {
		if s[i] != '%' {
			continue
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil || plain.MatchString(string(rune(c))) || strings.ContainsRune("/\\\x7f", rune(c)) {
			return true
		}
	}
	return false
}

func database(s string) error {
	if file, ok := strings.CutPrefix(s, "sqlite:"); ok {
		if strings.TrimPrefix(file, "//") == "" || strings.ContainsAny(file, "?#") {
			return errors.New("names no SQLite file; write for instance sqlite:shield.db")
		}
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" {
		return errors.New("is not a database; write postgres://user:password@host:port/name or sqlite:PATH")
	}
	return nil
}

func redis(s string) error {
	if _, group, err := ParseRedisGroup(s); group {
		return err
	}
	u, err := url.Parse(s)
	wrong := errors.New("is not a Redis server; write redis://, rediss:// or unix:// and where it is")
	if err != nil || u.Opaque != "" {
		return wrong
	}
	switch u.Scheme {
	case "redis", "rediss":
		if u.Host == "" {
			return wrong
		}
	case "unix":
		if u.Path == "" {
			return wrong
		}
	default:
		return wrong
	}
	return nil
}

func privateKey(s string) error {
	block, rest := pem.Decode([]byte(s))
	if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") || strings.TrimSpace(string(rest)) != "" {
		return errors.New("is not one private key; write PEM that begins with -----BEGIN PRIVATE KEY-----")
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return errors.New("is an encrypted private key; decrypt it and mount it as a secret")
	}
	return nil
}

func publicKey(s string) error {
	rest := []byte(s)
	for n := 0; ; n++ {
		block, after := pem.Decode(rest)
		if block == nil && n > 0 && strings.TrimSpace(string(rest)) == "" {
			return nil
		}
		if block == nil {
			return errors.New("is not PEM; write keys that begin with -----BEGIN PUBLIC KEY-----")
		}
		if strings.Contains(block.Type, "PRIVATE") {
			return errors.New("holds a private key; write the public half alone")
		}
		rest = after
	}
}
