// Package contract says which manifests and answers of a provider are valid. The gateway
// holds every provider to it, and package providertest tells an author before the gateway
// does; that both ask this package is what keeps them of one mind.
package contract

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
)

// Bounds of texts and lists, in bytes and elements.
const (
	maxName     = 64   // identifiers
	maxLabel    = 256  // short texts for people
	maxText     = 1024 // longer texts for people, values of mail variables
	maxPrivate  = 4096 // texts for the log
	maxURL      = 8192
	maxEmail    = 254 // RFC 5321 §4.5.3.1.3
	maxSubject  = 255
	maxFields   = 64
	maxForms    = 32
	maxGroups   = 1000
	maxSchema   = 64 << 10
	maxPostForm = 512 << 10
)

// Manifest returns what is wrong with a manifest, or nil.
func Manifest(m sdk.Manifest) error {
	if err := ABI(m.ABI); err != nil {
		return err
	}
	if !name(m.ID, maxLabel, "._-") {
		return fmt.Errorf("id %q: want letters, digits, dots and dashes", clip(m.ID))
	}
	if !name(m.Version, maxName, ".-+") {
		return fmt.Errorf("version %q: want a semantic version", clip(m.Version))
	}
	if !name(m.Kind, maxName, "_-") {
		return fmt.Errorf("kind %q: want letters, digits and dashes", clip(m.Kind))
	}
	for i, c := range m.Capabilities {
		if c.Since() == 0 {
			return fmt.Errorf("capability %q is unknown", clip(string(c)))
		}
		if c.Since() > m.ABI {
			return fmt.Errorf("capability %q came with version %d of the contract, and the manifest is of version %d", c, c.Since(), m.ABI)
		}
		if slices.Contains(m.Capabilities[:i], c) {
			return fmt.Errorf("capability %q is named twice", c)
		}
	}
	if len(m.ConfigSchema) > maxSchema || len(m.ConfigSchema) > 0 && !json.Valid(m.ConfigSchema) {
		return fmt.Errorf("config schema: want JSON of at most %d bytes", maxSchema)
	}
	return forms(m.Forms)
}

// ABI returns why a gateway of this version cannot run a plugin of that version of the
// contract, or nil.
func ABI(version uint32) error {
	if version < sdk.OldestABI || version > sdk.ABI {
		return fmt.Errorf("abi is %d, this gateway speaks %d to %d", version, sdk.OldestABI, sdk.ABI)
	}
	return nil
}

func forms(list []sdk.Form) error {
	if len(list) > maxForms {
		return fmt.Errorf("%d forms: at most %d are allowed", len(list), maxForms)
	}
	type id struct {
		flow sdk.FlowKind
		name string
	}
	seen := make(map[id]bool)
	for _, f := range list {
		if _, known := stepsOf[f.Flow]; !known {
			return fmt.Errorf("form %q: flow %q is unknown", clip(f.Name), clip(string(f.Flow)))
		}
		if !name(f.Name, maxName, "_-") {
			return fmt.Errorf("form %q: want letters, digits, dashes and underscores", clip(f.Name))
		}
		if seen[id{f.Flow, f.Name}] {
			return fmt.Errorf("form %q of flow %q is there twice", f.Name, f.Flow)
		}
		seen[id{f.Flow, f.Name}] = true
		if !text(f.Label, maxLabel) {
			return fmt.Errorf("form %q: label is too long or not plain text", f.Name)
		}
		if err := fields(f.Fields); err != nil {
			return fmt.Errorf("form %q: %w", f.Name, err)
		}
	}
	return nil
}

func fields(list []sdk.Field) error {
	if len(list) > maxFields {
		return fmt.Errorf("%d fields: at most %d are allowed", len(list), maxFields)
	}
	seen := make(map[string]bool)
	for _, f := range list {
		if !name(f.Name, maxName, "_-") || seen[f.Name] {
			return fmt.Errorf("field %q: want a name of its own of letters, digits, dashes and underscores", clip(f.Name))
		}
		seen[f.Name] = true
		if !slices.Contains(fieldTypes, f.Type) {
			return fmt.Errorf("field %q: type %q is unknown", f.Name, clip(f.Type))
		}
		if !text(f.Label, maxLabel) {
			return fmt.Errorf("field %q: label is too long or not plain text", f.Name)
		}
	}
	return nil
}

// Error returns what is wrong with a provider's error, or nil.
func Error(e sdk.Error) error {
	if !slices.Contains(codes, e.Code) {
		return fmt.Errorf("code %q is not one of the gateway's", clip(e.Code))
	}
	if !text(e.Public, maxText) {
		return fmt.Errorf("public text is too long or not plain text")
	}
	if len(e.Private) > maxPrivate || !utf8.ValidString(e.Private) {
		return fmt.Errorf("private text is longer than %d bytes or not UTF-8", maxPrivate)
	}
	return nil
}

// Response returns what is wrong with a provider's document, or nil.
func Response(r sdk.Response) error {
	if r.Status < 200 || r.Status > 599 {
		return fmt.Errorf("status %d: want 200 to 599", r.Status)
	}
	if !text(r.ContentType, maxLabel) {
		return fmt.Errorf("content type is too long or not plain text")
	}
	return nil
}

// name reports whether s is an identifier of ASCII letters, digits and the characters of
// extra.
func name(s string, limit int, extra string) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune(extra, r) {
			return false
		}
	}
	return true
}

// text reports whether s is plain text that can go into a header, a mail or a page: UTF-8
// without control characters, line breaks or the marks that reverse its direction.
func text(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
	})
}

// address reports whether s can stand for an e-mail address. Its syntax is the provider's
// business; what matters here is that it is one line and one address.
func address(s string) bool {
	return len(s) <= maxEmail && text(s, maxEmail) && strings.Count(s, "@") == 1 &&
		!strings.HasPrefix(s, "@") && !strings.HasSuffix(s, "@") && !strings.ContainsAny(s, " ,;:<>()[]\\\"")
}

// location returns what is wrong with the address of another site, or nil.
func location(s string) error {
	if len(s) > maxURL || !text(s, maxURL) {
		return fmt.Errorf("URL is longer than %d bytes or not plain text", maxURL)
	}
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("URL cannot be read")
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Contains(s, `\`) {
		return fmt.Errorf("URL: want http or https, a host, and no user")
	}
	return nil
}

// clip shortens what a provider sent to what an error text can hold.
func clip(s string) string {
	if len(s) > maxName {
		s = s[:maxName] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
