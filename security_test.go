package shield_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest  = regexp.MustCompile("`([a-z0-9/]+): (Test[A-Za-z0-9]+)`")
	namedCheck = regexp.MustCompile("`(deploy/verify/[a-z-]+\\.sh)`: ([^,|]+)")
)

// Each threat of docs/security.md names what shows that it is stopped, and that is there: a
// test of a package, or a script of deploy/verify that prints the row in quotation.
func TestEveryThreatIsHeldToATest(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	threats := 0
	for line := range strings.Lines(string(page)) {
		cell := strings.Split(strings.TrimSpace(line), "|")
		if len(cell) != 5 || strings.HasPrefix(cell[1], "---") || strings.TrimSpace(cell[3]) == "Shown by" {
			continue
		}
		threats++
		threat, shown := strings.TrimSpace(cell[1]), cell[3]
		tests, checks := namedTest.FindAllStringSubmatch(shown, -1), namedCheck.FindAllStringSubmatch(shown, -1)
		if len(tests)+len(checks) != strings.Count(shown, "`")/2 || len(tests)+len(checks) == 0 {
			t.Errorf("%q is shown by %q, which is not a list of tests and checks", threat, shown)
		}
		for _, m := range tests {
			if !declares(t, m[1], m[2]) {
				t.Errorf("%q: there is no test %s in %s", threat, m[2], m[1])
			}
		}
		for _, m := range checks {
			script, err := os.ReadFile(m[1])
			if err != nil || !strings.Contains(string(script), strings.TrimSpace(m[2])) {
				t.Errorf("%q: %s has no row %q", threat, m[1], m[2])
			}
		}
	}
	if threats < 40 {
		t.Errorf("found %d threats: the page is not read as it is written", threats)
	}
}

// declares reports whether a test is declared in a package's directory.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "\nfunc "+name+"(t *testing.T) {") {
			return true
		}
	}
	return false
}
