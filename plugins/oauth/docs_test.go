package oauth

import (
	"os"
	"strings"
	"testing"
)

// The page for operators has every setting.
func TestSettingsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## The OAuth provider")
	for _, name := range names {
		if !strings.Contains(section, "| `"+name+"`") && !strings.Contains(section, ", `"+name+"`") {
			t.Errorf("docs/providers.md does not say what %s is", name)
		}
	}
}
