package plugin

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/materi/shield/sdk"
)

// How long a value must be to be taken out wherever it stands: a shorter one is part of
// ordinary words, unless a digit shows that it is a code.
const (
	leastSecret = 6
	leastCode   = 4
)

const redacted = "[redacted]"

// looks is what is taken out by its looks: a PEM block, a JWT, an address, and any run of
// characters that is as long as a digest or a token.
var looks = regexp.MustCompile(`-----BEGIN [^-]*-----[^-]*(-----END [^-]*-----)?` +
	`|eyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){1,4}` +
	`|[^\s@"'<>]+@[^\s@"'<>]+` +
	`|[A-Za-z0-9+/_=-]{40,}`)

// redactor takes out of a provider's own words what no log may hold. It helps an honest
// author; a plugin that wants to smuggle something out of a call that it was shown can spell
// it in any way.
type redactor struct{ values []string }

// redactorOf knows what one call shows to the provider, and the provider's secrets.
func redactorOf(flow sdk.Flow, req sdk.Request, secrets []string) redactor {
	var r redactor
	for _, v := range req.Fields {
		r.add(v)
	}
	for _, v := range req.Headers {
		r.add(v)
	}
	for _, v := range secrets {
		r.add(v)
	}
	for _, v := range []string{flow.State, flow.Nonce, flow.PKCEVerifier, string(flow.Saved)} {
		r.add(v)
	}
	// The longest first: one value can be part of another.
	slices.SortFunc(r.values, func(a, b string) int { return len(b) - len(a) })
	return r
}

func (r *redactor) add(value string) {
	value = strings.TrimSpace(value)
	if !telling(value) {
		return
	}
	r.values = append(r.values, value)
	if escaped := url.QueryEscape(value); escaped != value {
		r.values = append(r.values, escaped)
	}
	r.values = append(r.values, base64.RawStdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value)))
}

func telling(value string) bool {
	return len(value) >= leastSecret || len(value) >= leastCode && strings.ContainsAny(value, "0123456789")
}

// text returns s without what must not be told.
func (r redactor) text(s string) string {
	for _, v := range r.values {
		s = strings.ReplaceAll(s, v, redacted)
	}
	return looks.ReplaceAllString(s, redacted)
}
