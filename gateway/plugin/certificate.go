package plugin

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"time"
)

// certifiedUntil returns when the first of the certificates expires that stand in the
// settings of a provider as PEM, whatever they are for: a SAML provider has its own and
// those of its identity providers. It is zero if there is none. What cannot be read is the
// plugin's to complain of.
func certifiedUntil(settings []byte) time.Time {
	var all any
	if err := json.Unmarshal(settings, &all); err != nil {
		return time.Time{}
	}
	var first time.Time
	eachText(all, func(text string) {
		for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err == nil && (first.IsZero() || c.NotAfter.Before(first)) {
				first = c.NotAfter
			}
		}
	})
	return first
}

// eachText calls do for each string in a value of JSON.
func eachText(v any, do func(string)) {
	switch v := v.(type) {
	case string:
		do(v)
	case []any:
		for _, each := range v {
			eachText(each, do)
		}
	case map[string]any:
		for _, each := range v {
			eachText(each, do)
		}
	}
}
