package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
)

// plain writes what a plugin had a hand in. Its texts are not ours, and a terminal obeys some
// of them.
type plain struct{ to io.Writer }

// Write writes whole characters: b must not end within one.
func (p plain) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.to, escaped(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// escaped spells out what cannot be seen, lines and tabs aside: the sequences that move a
// terminal or write into its input, and what turns the direction of text. The escapes are
// those of JSON, so that JSON stays what it was.
func escaped(text string) string {
	var out strings.Builder
	for _, r := range text {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	return out.String()
}
