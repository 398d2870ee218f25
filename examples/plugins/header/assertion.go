package header

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
)

// What a corporate proxy says of a person is in two headers:
//
//	X-Corporate-User:      ann
//	X-Corporate-Signature: t=1767355200,n=5d41402abc4b2a76,s=<64 hexadecimal digits>
//
// s is the HMAC-SHA-256 under the secret "proxy" of these lines: "shield-proxy-1", the
// person, t, and n. t is the time in seconds and n a number that is used once. The proxy has
// to remove both headers from what clients send.
const assertionLabel = "shield-proxy-1"

const (
	maxUser      = 255
	minNonce     = 16
	maxNonce     = 64
	signatureHex = 64
)

// byProxy logs in whom the proxy names.
func (p *Provider) byProxy(ctx context.Context, host sdk.Host, req sdk.Request) (sdk.Step, error) {
	if !p.settings.proxy.enabled {
		return deny(sdk.CodeValidation), nil
	}
	user, named := header(req, p.settings.proxy.UserHeader)
	signature, signed := header(req, p.settings.proxy.SignatureHeader)
	if !named || !signed {
		return deny(sdk.CodeMissingField), nil
	}
	a, ok := parseAssertion(signature)
	if !ok || !plain(user) {
		return deny(sdk.CodeInvalidCredentials), nil
	}
	mac, err := host.Secrets().MAC(ctx, secretProxy, a.message(user))
	if err != nil {
		return sdk.Step{}, trouble(err)
	}
	if subtle.ConstantTimeCompare(mac, a.mac) != 1 || !a.fresh(req.Now, p.settings.proxy.window) {
		return deny(sdk.CodeInvalidCredentials), nil
	}
	fresh, err := p.use(ctx, host, a.nonce)
	if err != nil {
		return sdk.Step{}, trouble(err)
	}
	if !fresh {
		return deny(sdk.CodeInvalidCredentials), nil
	}
	identity := sdk.Identity{Subject: user}
	if p.settings.proxy.EmailDomain != "" && local(user) {
		identity.Email, identity.EmailVerified = user+"@"+p.settings.proxy.EmailDomain, true
	}
	return sdk.Step{Done: &sdk.Done{Identity: identity}}, nil
}

// assertion is what the signature's header says.
type assertion struct {
	at    int64
	nonce string
	mac   []byte
}

// parseAssertion reads the three parts in their one order: two ways to write one assertion
// would be two assertions.
func parseAssertion(s string) (assertion, bool) {
	if len(s) > 256 {
		return assertion{}, false
	}
	parts := strings.Split(s, ",")
	if len(parts) != 3 {
		return assertion{}, false
	}
	at, okAt := strings.CutPrefix(parts[0], "t=")
	nonce, okNonce := strings.CutPrefix(parts[1], "n=")
	digits, okMAC := strings.CutPrefix(parts[2], "s=")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if !okAt || !okNonce || !okMAC || err != nil || strconv.FormatInt(seconds, 10) != at {
		return assertion{}, false
	}
	if len(nonce) < minNonce || len(nonce) > maxNonce || !word(nonce) || len(digits) != signatureHex {
		return assertion{}, false
	}
	mac, err := hex.DecodeString(digits)
	return assertion{seconds, nonce, mac}, err == nil
}

// message is what is signed. No part can hold the line break that keeps them apart.
func (a assertion) message(user string) []byte {
	return []byte(strings.Join([]string{assertionLabel, user, strconv.FormatInt(a.at, 10), a.nonce}, "\n"))
}

// fresh reports whether the assertion was made within the window around now. The numbers are
// compared without a difference, which could overflow.
func (a assertion) fresh(now time.Time, window time.Duration) bool {
	return a.at >= now.Add(-window).Unix() && a.at <= now.Add(window).Unix()
}

// use notes a number and reports whether it is new. It is kept until the last moment at
// which an assertion with it could be fresh.
func (p *Provider) use(ctx context.Context, host sdk.Host, nonce string) (bool, error) {
	key := "nonce/" + nonce
	_, found, err := host.KV().Get(ctx, key)
	if err != nil || found {
		return false, err
	}
	return true, host.KV().CompareAndSet(ctx, key, 0, []byte("1"), 2*p.settings.proxy.window+time.Minute)
}

// plain reports whether a name can be a subject: text on one line.
func plain(s string) bool {
	return len(s) <= maxUser && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// local reports whether a name can stand before the @ of an address as it is.
func local(s string) bool {
	return !slices.ContainsFunc(strings.Split(s, "."), func(part string) bool { return part == "" || !word(part) })
}

func word(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	})
}
