package email

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/materi/shield/sdk"
)

// Bounds of the lengths of a password. The least is what NIST SP 800-63B demands; the
// most is what the host hashes, at four bytes a character.
const (
	leastMinLength   = 8
	leastMaxLength   = 64
	mostMaxLength    = 256
	maxPasswordBytes = 1024
)

// schema describes the settings for editors. A test holds it to Configure.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "min_length": {"type": "integer", "minimum": 8, "maximum": 64, "default": 8,
      "description": "Least characters of a password."},
    "max_length": {"type": "integer", "minimum": 64, "maximum": 256, "default": 256,
      "description": "Most characters of a password."},
    "composition": {"type": "boolean", "default": false,
      "description": "Demand an upper-case letter, a lower-case letter, a digit and a symbol. NIST SP 800-63B advises against it."}
  }
}`

type settings struct {
	minLength, maxLength int // characters
	composition          bool
}

func defaults() settings {
	return settings{minLength: leastMinLength, maxLength: mostMaxLength}
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
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return settings{}, []sdk.Fault{{Message: "is not a JSON object"}}
	}
	s := defaults()
	var faults []sdk.Fault
	for name, value := range members {
		if want := s.set(name, value); want != "" {
			faults = append(faults, sdk.Fault{Path: name, Message: want})
		}
	}
	slices.SortFunc(faults, func(a, b sdk.Fault) int { return strings.Compare(a.Path, b.Path) })
	return s, faults
}

// set takes one setting, or returns what is wrong with it.
func (s *settings) set(name string, value json.RawMessage) (want string) {
	switch name {
	case "min_length":
		if !decode(value, &s.minLength) || s.minLength < leastMinLength || s.minLength > leastMaxLength {
			return "must be a whole number from 8 to 64"
		}
	case "max_length":
		if !decode(value, &s.maxLength) || s.maxLength < leastMaxLength || s.maxLength > mostMaxLength {
			return "must be a whole number from 64 to 256"
		}
	case "composition":
		if !decode(value, &s.composition) {
			return "must be true or false"
		}
	default:
		return "is unknown; there are min_length, max_length and composition"
	}
	return ""
}

// decode reads one value. encoding/json takes null for anything and leaves it as it is.
func decode(value json.RawMessage, into any) bool {
	return string(value) != "null" && json.Unmarshal(value, into) == nil
}
