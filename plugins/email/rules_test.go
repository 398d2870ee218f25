package email

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk/providertest"
)

func TestRulesOfPasswords(t *testing.T) {
	plain, composed := defaults(), defaults()
	composed.composition = true
	long := defaults()
	long.minLength, long.maxLength = 16, 64
	host := providertest.New().Call()
	for name, c := range map[string]struct {
		rules    settings
		password string
		broken   []string
	}{
		"eight characters":           {plain, "kq7vz2mw", nil},
		"seven characters":           {plain, "kq7vz2m", []string{"too_short"}},
		"eight of four bytes":        {plain, strings.Repeat("\U0001f40e", 8), nil},
		"seven of four bytes":        {plain, strings.Repeat("\U0001f40e", 7), []string{"too_short"}},
		"spaces are characters":      {plain, "a b c d e", nil},
		"longest":                    {plain, strings.Repeat("\U0001f40e", 256), nil},
		"too long":                   {plain, strings.Repeat("x", 257), []string{"too_long"}},
		"not UTF-8":                  {plain, "kq7vz2mw\xff", []string{"encoding"}},
		"common":                     {plain, "password1", []string{"common"}},
		"common in capitals":         {plain, "PASSWORD1", []string{"common"}},
		"the address":                {plain, "Ann.Lee1@example.com", []string{"is_address"}},
		"the address before the at":  {plain, "ann.lee1", []string{"is_address"}},
		"set longer":                 {long, "fifteen letters", []string{"too_short"}},
		"set shorter":                {long, strings.Repeat("x", 65), []string{"too_long"}},
		"composed":                   {composed, "Kq7vz-mw", nil},
		"composed beyond ASCII":      {composed, "Äß٣vz→mw", nil},
		"composed, no upper case":    {composed, "kq7vz-mw", []string{"composition"}},
		"composed, no lower case":    {composed, "KQ7VZ-MW", []string{"composition"}},
		"composed, no digit":         {composed, "Kqxvz-mw", []string{"composition"}},
		"composed, no symbol":        {composed, "Kq7vz2mw", []string{"composition"}},
		"every broken rule is named": {long, "password", []string{"too_short", "common"}},
	} {
		no, err := c.rules.choose(t.Context(), host, fieldPassword, c.password, "ann.lee1@example.com")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var broken []string
		if no != nil {
			for _, f := range no.Denied.Fields {
				broken = append(broken, f.Code)
			}
		}
		if diff := cmp.Diff(c.broken, broken); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
