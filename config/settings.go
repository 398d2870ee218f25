package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// Settings are a plugin's own settings. They may hold secrets that came in by ${VAR}, and
// only the plugin knows which, so whatever prints or encodes them sees [redacted];
// [Settings.JSON] tells.
type Settings map[string]any

// JSON returns the settings as the JSON object that the plugin is given; {} for none. Use
// it for that alone.
func (s Settings) JSON() ([]byte, error) {
	if s == nil {
		return []byte("{}"), nil
	}
	b, err := json.Marshal(map[string]any(s))
	if err != nil {
		return nil, fmt.Errorf("encode plugin settings: %w", err)
	}
	return b, nil
}

// String returns [redacted], or nothing where there are no settings.
func (s Settings) String() string {
	if len(s) == 0 {
		return ""
	}
	return redacted
}

// GoString is [Settings.String], so that %#v does not tell either.
func (s Settings) GoString() string { return s.String() }

// Format is [Settings.String] for every verb.
func (s Settings) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, s.String()) }

// LogValue is [Settings.String] for log/slog.
func (s Settings) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON is [Settings.String] for encoding/json.
func (s Settings) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalYAML is [Settings.String] for YAML encoders.
func (s Settings) MarshalYAML() (any, error) { return s.String(), nil }
