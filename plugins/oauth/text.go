package oauth

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
)

// Bounds of what the gateway takes of an identity, in bytes and elements. What is about a
// person and does not fit is made to fit or left out: nobody is kept from logging in by an odd
// name. Who the person is, is never changed.
const (
	maxSubject = 255
	maxLine    = 256
	maxSession = 1024
	maxEmail   = 254
	maxPicture = 2048
	maxGroups  = 1000
	maxMethods = 64
	maxMethod  = 64
)

// isText reports whether s is plain text: UTF-8 without control characters, line breaks and
// the marks that reverse its direction.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, isOdd) }

func isOdd(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// lineOf returns a name for people, without what has no place in a line and not longer than
// one may be.
func lineOf(value json.RawMessage) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case isOdd(r):
			return -1
		}
		return r
	}, textOf(value))
	s = strings.Join(strings.Fields(s), " ")
	for len(s) > maxLine {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return strings.TrimSpace(s)
}

// plainOf returns a text that means something to a program: as it is, or not at all.
func plainOf(value json.RawMessage, most int) string {
	if s := textOf(value); len(s) <= most && isText(s) {
		return s
	}
	return ""
}

// namesOf returns the names of a list that can be taken as they are, up to most of them. A
// group whose name was mended would be another group.
func namesOf(value json.RawMessage, most, length int) []string {
	var out []string
	for _, s := range textsOf(value) {
		if len(s) <= length && isText(s) && len(out) < most {
			out = append(out, s)
		}
	}
	return out
}

// addressOf returns an e-mail address, or nothing if it is none.
func addressOf(value json.RawMessage) string {
	s := plainOf(value, maxEmail)
	at := strings.IndexByte(s, '@')
	if at <= 0 || at == len(s)-1 || strings.Count(s, "@") != 1 || strings.ContainsAny(s, " ,;:<>()[]\\\"") {
		return ""
	}
	return s
}

// pictureOf returns the URL of a picture that can be shown on a page, which is https.
func pictureOf(value json.RawMessage) string {
	s := plainOf(value, maxPicture)
	if !strings.HasPrefix(s, "https://") || strings.ContainsAny(s, `\ `) {
		return ""
	}
	if u, err := url.Parse(s); err != nil || u.Host == "" || u.User != nil {
		return ""
	}
	return s
}

var errTemplate = errors.New("not a template")

// piece is a part of a template: text, or the name of a claim.
type piece struct{ text, claim string }

// templateOf reads what a subject is made of: "sub" is the claim of that name, "{tid}.{oid}"
// is of two claims with a dot in between.
func templateOf(s string) ([]piece, error) {
	if !strings.ContainsAny(s, "{}") {
		return []piece{{claim: s}}, nil
	}
	var out []piece
	for s != "" {
		text, rest, found := strings.Cut(s, "{")
		if strings.Contains(text, "}") {
			return nil, errTemplate
		}
		if text != "" {
			out = append(out, piece{text: text})
		}
		if !found {
			break
		}
		claim, after, closed := strings.Cut(rest, "}")
		if !closed || claim == "" || strings.Contains(claim, "{") {
			return nil, errTemplate
		}
		out = append(out, piece{claim: claim})
		s = after
	}
	return out, nil
}

// subjectOf returns what names the person. Where it is made of several claims, each is of
// letters, digits, dashes and underscores, so that no two people can have one name.
func subjectOf(template string, claims object) (string, error) {
	pieces, err := templateOf(template)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range pieces {
		value := p.text
		if p.claim != "" {
			value = nameOf(claims.at(p.claim))
			if value == "" {
				return "", failed("there is no claim %s, of which the subject is made; look at scopes and claims", p.claim)
			}
			if len(pieces) > 1 && strings.Trim(value, partBytes) != "" {
				return "", refuse("a claim of the subject has a character that it may not have")
			}
		}
		b.WriteString(value)
	}
	subject := b.String()
	if len(subject) > maxSubject || !isText(subject) {
		return "", refusal{sdk.CodeOAuthCode, "the subject is too long or not plain text"}
	}
	return subject, nil
}

const partBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
