package identity

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestPairsAreReadInOneWay(t *testing.T) {
	type pairs = map[string]string
	for raw, want := range map[string]pairs{
		"":                           {},
		"&&":                         {},
		"code=a&state=b":             {"code": "a", "state": "b"},
		"code=a+b%20c&":              {"code": "a b c"},
		"flag&x=":                    {"flag": "", "x": ""},
		"a=b=c":                      {"a": "b=c"},
		"SAMLResponse=PD94%2B%0D%0A": {"SAMLResponse": "PD94+\r\n"},
		"%63ode=%C3%A4":              {"code": "ä"},
		"Code=a&code=b":              {"Code": "a", "code": "b"},
	} {
		if got, err := parsePairs(raw); err != nil || !cmp.Equal(got, want) {
			t.Errorf("parsePairs(%q) = %q, %v, want %q", raw, got, err, want)
		}
	}
	var many []string
	for i := range maxPairs + 1 {
		many = append(many, "p"+strings.Repeat("x", i))
	}
	for raw, want := range map[string]error{
		"code=a&code=b":          errPairTwice,
		"code=a&code=a":          errPairTwice,
		"code=a&%63%6fde=b":      errPairTwice,
		"code&code":              errPairTwice,
		"code=%ff":               errPair,
		"code=\xff":              errPair,
		"%ff=a":                  errPair,
		"code=%":                 errPair,
		"code=%zz":               errPair,
		"code=a%00":              errPair,
		"=a":                     errPair,
		strings.Repeat("n", 129): errPair,
		"a=1;b=2":                errSemicolon,
		strings.Join(many, "&"):  errPairs,
	} {
		if got, err := parsePairs(raw); err != want {
			t.Errorf("parsePairs(%.60q) = %q, %v, want %v", raw, got, err, want)
		}
	}
}

// FuzzPairs reads what a strict parser takes as the standard library does.
func FuzzPairs(f *testing.F) {
	for _, seed := range []string{"", "code=a&state=b", "code=a&code=b", "a=%zz", "a;b", "SAMLResponse=PD94%2B%0D%0A&RelayState=x", "&=&", "%00", "a=%ff", "code=SplxlOBeZQQYbYS6WxSbIA&state=xyz&iss=https%3A%2F%2Fidp.example&session_state=1.2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parsePairs(raw)
		if err != nil {
			if got != nil {
				t.Errorf("parsePairs(%q) = %q beside an error", raw, got)
			}
			return
		}
		want, err := url.ParseQuery(raw)
		if err != nil || len(want) != len(got) {
			t.Fatalf("parsePairs(%q) = %q, and others read %q, %v", raw, got, want, err)
		}
		for name, value := range got {
			if all := want[name]; len(all) != 1 || all[0] != value || !utf8.ValidString(name+value) || strings.Contains(value, "\x00") {
				t.Errorf("parsePairs(%q)[%q] = %q, and others read %q", raw, name, value, all)
			}
		}
	})
}

func TestOnlyOriginsGoIntoAPolicy(t *testing.T) {
	for target, want := range map[string]string{
		"https://idp.example/sso?a=b": "https://idp.example",
		"http://127.0.0.1:8080/":      "http://127.0.0.1:8080",
		"https://[::1]:8443/sso":      "https://[::1]:8443",
		"https://a;script-src/":       "",
		"https://a,b/":                "",
		"https://*/":                  "",
		"https://'unsafe-inline'/":    "",
		"javascript:alert(1)":         "",
		"//idp.example":               "",
		"https:///sso":                "",
		"data:text/html,x":            "",
	} {
		if got, err := originOf(target); got != want || (err == nil) != (want != "") {
			t.Errorf("originOf(%q) = %q, %v, want %q", target, got, err, want)
		}
	}
}

func TestParametersAreAddedToAURI(t *testing.T) {
	for uri, want := range map[string]string{
		"https://app.example.com/in":        "https://app.example.com/in?code=a%26b&x=%3C",
		"https://app.example.com/in?from=a": "https://app.example.com/in?from=a&code=a%26b&x=%3C",
		"com.example.app:/in":               "com.example.app:/in?code=a%26b&x=%3C",
	} {
		if got := with(uri, "code", "a&b", "x", "<"); got != want {
			t.Errorf("with(%q) = %q, want %q", uri, got, want)
		}
	}
}
