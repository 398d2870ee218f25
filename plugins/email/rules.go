package email

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
)

// Bounds of a name. The second is the gateway's.
const (
	maxNameRunes = 100
	maxNameBytes = 256
)

// choose checks a password that somebody wants to have for an address against the rules,
// which are those of NIST SP 800-63B: length, and not one that is guessed first. It
// returns the step that refuses the password with every rule that it breaks, or nil.
func (s settings) choose(ctx context.Context, host sdk.Host, field, password, address string) (*sdk.Step, error) {
	var faults []sdk.FieldError
	broken := func(code, message string) {
		faults = append(faults, sdk.FieldError{Field: field, Code: code, Message: message})
	}
	n := utf8.RuneCountInString(password)
	if n < s.minLength {
		broken("too_short", "The password needs at least "+strconv.Itoa(s.minLength)+" characters.")
	}
	if n > s.maxLength || len(password) > maxPasswordBytes {
		broken("too_long", "The password can have at most "+strconv.Itoa(s.maxLength)+" characters.")
	}
	if !utf8.ValidString(password) {
		broken("encoding", "The password is not valid text.")
	}
	if s.composition && !composed(password) {
		broken("composition", "The password needs an upper-case letter, a lower-case letter, a digit and a symbol.")
	}
	if isAddress(password, address) {
		broken("is_address", "The password must not be the e-mail address.")
	}
	common, err := host.Passwords().Common(ctx, password)
	if err != nil {
		return nil, fmt.Errorf("look up common passwords: %w", err)
	}
	if common {
		broken("common", "The password is one of the most common. Choose another.")
	}
	if faults == nil {
		return nil, nil
	}
	no := deny(sdk.CodeWeakPassword, faults...)
	return &no, nil
}

// composed is the rule of old: one each of the four classes.
func composed(password string) bool {
	var upper, lower, digit, symbol bool
	for _, r := range password {
		switch {
		case unicode.IsUpper(r):
			upper = true
		case unicode.IsLower(r):
			lower = true
		case unicode.IsDigit(r):
			digit = true
		case !unicode.IsLetter(r):
			symbol = true
		}
	}
	return upper && lower && digit && symbol
}

// isAddress reports whether the password is the address or the part before the at sign.
func isAddress(password, address string) bool {
	local, _, _ := strings.Cut(address, "@")
	return strings.EqualFold(password, address) || strings.EqualFold(password, local)
}

// nameOf returns the name of a registration, or the step that refuses it. What it lets
// through can stand in a header, a mail and a page: one line, without control characters
// and without the marks that turn text around.
func nameOf(req sdk.Request) (string, *sdk.Step) {
	name := strings.TrimSpace(req.Fields[fieldName])
	plain := utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
	})
	if plain && len(name) <= maxNameBytes && utf8.RuneCountInString(name) <= maxNameRunes {
		return name, nil
	}
	no := deny(sdk.CodeValidation, sdk.FieldError{
		Field: fieldName, Code: "format", Message: "The name must be one line of at most " + strconv.Itoa(maxNameRunes) + " characters.",
	})
	return "", &no
}
