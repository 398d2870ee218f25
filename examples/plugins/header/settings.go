package header

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

// The names of the secrets.
const (
	secretPepper = "pepper"
	secretProxy  = "proxy"
)

// The kinds of digests.
const (
	kindSHA256 = "sha256"
	kindMAC    = "mac"
)

// Bounds of the window of a proxy's assertion.
const (
	defaultWindow = time.Minute
	minWindow     = 5 * time.Second
	maxWindow     = 10 * time.Minute
)

const maxKeys = 10_000

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "key_header": {"type": "string", "default": "X-Api-Key", "description": "The header with the key. It must be among the provider's headers."},
    "keys": {"type": "array", "maxItems": 10000, "items": {
      "type": "object", "additionalProperties": false, "required": ["subject"],
      "properties": {
        "subject": {"type": "string"}, "name": {"type": "string"}, "email": {"type": "string"},
        "groups": {"type": "array", "items": {"type": "string"}},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of the key."},
        "mac": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "HMAC-SHA-256 of the key under the secret pepper."}
      }
    }},
    "proxy": {
      "type": "object", "additionalProperties": false,
      "properties": {
        "user_header": {"type": "string", "default": "X-Corporate-User"},
        "signature_header": {"type": "string", "default": "X-Corporate-Signature"},
        "window": {"type": "string", "default": "1m", "description": "How far the proxy's clock may be from ours, 5s to 10m."},
        "email_domain": {"type": "string", "description": "If set, a person has the address name@domain. It counts as verified, so the domain must be one whose addresses are the names that the proxy tells."}
      }
    }
  }
}`

// settings are the provider's section of the configuration.
type settings struct {
	keyHeader string
	keys      []key
	proxy     proxy
}

// key is one API key with whom it makes known. It has one of the digests.
type key struct {
	Subject string   `json:"subject"`
	Name    string   `json:"name"`
	Email   string   `json:"email"`
	Groups  []string `json:"groups"`
	SHA256  string   `json:"sha256"`
	MAC     string   `json:"mac"`
}

func (k key) kind() string {
	if k.MAC != "" {
		return kindMAC
	}
	return kindSHA256
}

func (k key) digest() string { return k.MAC + k.SHA256 }

type proxy struct {
	enabled         bool
	window          time.Duration
	UserHeader      string `json:"user_header"`
	SignatureHeader string `json:"signature_header"`
	Window          string `json:"window"`
	EmailDomain     string `json:"email_domain"`
}

func (s settings) uses(kind string) bool {
	return slices.ContainsFunc(s.keys, func(k key) bool { return k.kind() == kind })
}

// Configure takes the settings. With a fault none of them apply.
func (p *Provider) Configure(raw []byte) []sdk.Fault {
	s, faults := parseSettings(raw)
	if faults == nil {
		p.settings = s
	}
	return faults
}

func parseSettings(raw []byte) (settings, []sdk.Fault) {
	var in struct {
		KeyHeader *string `json:"key_header"`
		Keys      []key   `json:"keys"`
		Proxy     *proxy  `json:"proxy"`
	}
	if err := strictly(raw, &in); err != nil {
		return settings{}, []sdk.Fault{{Message: err.Error()}}
	}
	s := settings{keyHeader: "X-Api-Key", keys: in.Keys}
	var faults []sdk.Fault
	if in.KeyHeader != nil {
		s.keyHeader = *in.KeyHeader
	}
	if s.keyHeader == "" {
		faults = append(faults, sdk.Fault{Path: "key_header", Message: "must be the name of a header"})
	}
	if in.Proxy != nil {
		s.proxy = *in.Proxy
		faults = append(faults, s.proxy.complete()...)
	}
	if len(in.Keys) == 0 && in.Proxy == nil {
		faults = append(faults, sdk.Fault{Message: "there must be keys or a proxy, or nobody could log in"})
	}
	return s, append(faults, keyFaults(in.Keys)...)
}

// complete fills in what is left out, and returns what is wrong.
func (p *proxy) complete() []sdk.Fault {
	p.enabled = true
	p.window = defaultWindow
	if p.UserHeader == "" {
		p.UserHeader = "X-Corporate-User"
	}
	if p.SignatureHeader == "" {
		p.SignatureHeader = "X-Corporate-Signature"
	}
	var faults []sdk.Fault
	if p.EmailDomain != "" && !local(p.EmailDomain) {
		faults = append(faults, sdk.Fault{Path: "proxy.email_domain", Message: "is not a domain"})
	}
	if sameName(p.UserHeader, p.SignatureHeader) {
		faults = append(faults, sdk.Fault{Path: "proxy.signature_header", Message: "must not be the header with the name"})
	}
	if p.Window == "" {
		return faults
	}
	window, err := time.ParseDuration(p.Window)
	if err != nil || window < minWindow || window > maxWindow {
		faults = append(faults, sdk.Fault{Path: "proxy.window", Message: "must be a duration from 5s to 10m"})
	}
	p.window = window
	return faults
}

func keyFaults(keys []key) []sdk.Fault {
	if len(keys) > maxKeys {
		return []sdk.Fault{{Path: "keys", Message: "are more than 10000"}}
	}
	var faults []sdk.Fault
	seen := make(map[string]bool)
	for i, k := range keys {
		path := fmt.Sprintf("keys[%d]", i)
		if !plain(k.Subject) || k.Subject == "" {
			faults = append(faults, sdk.Fault{Path: path + ".subject", Message: "is missing or not plain text"})
		}
		if name, domain, ok := strings.Cut(k.Email, "@"); k.Email != "" && (!ok || !local(name) || !local(domain)) {
			faults = append(faults, sdk.Fault{Path: path + ".email", Message: "is not an address"})
		}
		if (k.SHA256 == "") == (k.MAC == "") || !digest(k.digest()) {
			faults = append(faults, sdk.Fault{Path: path, Message: "must have one of sha256 and mac, with 64 hexadecimal digits in lower case"})
		}
		if seen[k.digest()] {
			faults = append(faults, sdk.Fault{Path: path, Message: "has a key that is there already"})
		}
		seen[k.digest()] = true
	}
	return faults
}

func digest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == s
}

// strictly decodes one JSON object, all of whose members are known.
func strictly(raw []byte, into any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return errors.New("is not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("is not valid: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("is more than one JSON object")
	}
	return nil
}
