package grant

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/materi/shield/config"
)

// configured returns the provider of a configuration with these lists. YAML is a superset of
// JSON, so no value can break out of its place.
func configured(allow, address string) (config.Provider, bool) {
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	text := fmt.Sprintf(`
server: {public_url: https://api.example.com}
mail: {from: no-reply@example.com, directory: mail}
providers: [{name: one, plugin: one.wasm, capabilities: [http], http: {allow: [%s], addresses: [%s]}}]
`, quote(allow), quote(address))
	c, err := config.Parse("shield.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		return config.Provider{}, false
	}
	return c.Providers[0], true
}

func TestConfigTakesPlainListsOfServers(t *testing.T) {
	for _, allow := range []string{
		"https://login.example.com", "http://10.0.0.1:8080", "https://*.example.com:8443", "https://[2001:db8::1]:8443", "http://host-1:80", "https://a.1b",
	} {
		for _, address := range []string{"127.0.0.1", "10.0.0.0/8", "::1", "fd00:1::/64"} {
			if _, ok := configured(allow, address); !ok {
				t.Errorf("config refuses allow %q, addresses %q", allow, address)
			}
		}
	}
}

// What a configuration may list the plugin host must take: a disagreement would be found by
// no check of the file, and only when the plugin is loaded.
func FuzzWhatConfigTakesCanBeGranted(f *testing.F) {
	for _, allow := range []string{
		"https://login.example.com", "http://10.0.0.1:8080", "https://*.example.com", "https://[2001:db8::1]:8443",
		"https://127.1", "https://1.2.3", "https://a.0x7f", "https://2130706433", "https://login.example.com:0443",
		"https://2001:db8::1", "https://::1", "https://[::ffff:10.0.0.1]", "https://[fe80::1%25eth0]", "https://*.1.2.3.4", "https://*.[::1]",
		"https://login.example.com:00", "https://login.example.com:65536", "https://*.1.2", "https://[::0001]", "https://",
	} {
		f.Add(allow, "10.0.0.0/8")
	}
	for _, address := range []string{"127.0.0.1", "::1", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "0.0.0.0/0", "::/0", "fe80::1%eth0", "10.0.0.1/8"} {
		f.Add("https://login.example.com", address)
	}
	f.Fuzz(func(t *testing.T, allow, address string) {
		p, ok := configured(allow, address)
		if !ok {
			return
		}
		g, err := New(options(t, p))
		if err != nil {
			t.Fatalf("allow %q, addresses %q: config takes it, and here it is %v", allow, address, err)
		}
		g.Close()
	})
}
