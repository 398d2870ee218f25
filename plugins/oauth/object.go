package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a JSON object of somebody else's, whose members are looked up by their exact
// name. encoding/json would also take "Sub" for sub, and the last of two members of one name;
// who reads a document twice must not find two things in it.
type object map[string]json.RawMessage

var (
	errNoObject  = errors.New("not a JSON object")
	errDuplicate = errors.New("a member appears twice")
)

// readObject reads a JSON object. What is in its members is read when it is asked for. Of
// encoding/json it takes the check of the grammar alone: what that decodes with takes a guest
// several times as long, and makes the module a tenth larger.
func readObject(data []byte) (object, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errNoObject
	}
	w := walker{data: data}
	if w.next() != '{' {
		return nil, errNoObject
	}
	w.at++
	o := make(object)
	for w.next() != '}' {
		name := nameText(w.value())
		w.next()
		value := w.value()
		if _, twice := o[name]; twice {
			return nil, errDuplicate
		}
		o[name] = value
	}
	return o, nil
}

// readList reads a JSON list, or reports that it is none.
func readList(data []byte) ([]json.RawMessage, bool) {
	if !json.Valid(data) {
		return nil, false
	}
	w := walker{data: data}
	if w.next() != '[' {
		return nil, false
	}
	w.at++
	list := []json.RawMessage{}
	for w.next() != ']' {
		list = append(list, w.value())
	}
	return list, true
}

// walker goes through JSON that is known to be valid, so that it only has to find where values
// end.
type walker struct {
	data []byte
	at   int
}

// next passes white space and separators and returns the byte that follows.
func (w *walker) next() byte {
	for strings.IndexByte(" \t\r\n,:", w.data[w.at]) >= 0 {
		w.at++
	}
	return w.data[w.at]
}

// value passes the value that begins here and returns it.
func (w *walker) value() json.RawMessage {
	start, depth := w.at, 0
	for {
		switch w.data[w.at] {
		case '"':
			w.text()
		case '{', '[':
			depth++
			w.at++
		case '}', ']':
			depth--
			w.at++
		default:
			w.at++
		}
		if depth == 0 && w.ended(start) {
			return json.RawMessage(w.data[start:w.at])
		}
	}
}

// ended reports whether a value that began at start is over: texts, objects and lists are with
// their last byte, numbers and words with what follows them.
func (w *walker) ended(start int) bool {
	switch w.data[start] {
	case '"', '{', '[':
		return true
	}
	return w.at == len(w.data) || strings.IndexByte(" \t\r\n,]}", w.data[w.at]) >= 0
}

// text passes a string.
func (w *walker) text() {
	w.at++
	for w.data[w.at] != '"' {
		if w.data[w.at] == '\\' {
			w.at++
		}
		w.at++
	}
	w.at++
}

// nameText returns the name of a member in the one form that all its spellings stand for.
func nameText(raw json.RawMessage) string {
	if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return string(plain)
	}
	var b strings.Builder
	for i := 1; i < len(raw)-1; i++ {
		if raw[i] != '\\' {
			b.WriteByte(raw[i])
			continue
		}
		i++
		if raw[i] != 'u' {
			b.WriteByte(unescaped[raw[i]])
			continue
		}
		r := unit(raw[i+1:])
		i += 4
		if utf16.IsSurrogate(r) {
			// Half a pair is no character.
			pair := rune(utf8.RuneError)
			if raw[i+1] == '\\' && raw[i+2] == 'u' {
				pair = utf16.DecodeRune(r, unit(raw[i+3:]))
			}
			if r = pair; pair != utf8.RuneError {
				i += 6
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unescaped is what stands for what behind a backslash, but for u.
var unescaped = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unit reads four hexadecimal digits.
func unit(raw []byte) rune {
	n, _ := strconv.ParseUint(string(raw[:4]), 16, 16) // the JSON is valid
	return rune(n)
}

func (o object) has(name string) bool { _, ok := o[name]; return ok }

// text returns a member that is a string, else nothing.
func (o object) text(name string) string { return textOf(o[name]) }

// at returns the member of a configured name, nil if it is not there or null. A name is first
// taken as it is, since those of claims may be URLs; else its dots are a path, as in
// realm_access.roles.
func (o object) at(name string) json.RawMessage {
	if value, ok := o[name]; ok {
		if string(value) == "null" {
			return nil
		}
		return value
	}
	head, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		return nil
	}
	inner, err := readObject(o[head])
	if err != nil {
		return nil
	}
	return inner.at(rest)
}

// textOf returns the text of a JSON string. Of anything else, and of one with half a
// surrogate pair, which would become the same as any other such, it returns nothing.
func textOf(value json.RawMessage) string {
	if !bytes.HasPrefix(value, []byte(`"`)) {
		return ""
	}
	s := nameText(value)
	if strings.ContainsRune(s, utf8.RuneError) {
		return ""
	}
	return s
}

// nameOf returns what names something: a string, or a whole number as it is written.
func nameOf(value json.RawMessage) string {
	const digits = 20 // of the largest number of 64 bits
	if n := string(value); n != "" && len(n) <= digits && strings.Trim(n, "0123456789") == "" {
		return n
	}
	return textOf(value)
}

// isTrue reports whether a claim says yes. Some issuers write their flags as texts or as
// numbers.
func isTrue(value json.RawMessage) bool {
	switch string(value) {
	case `true`, `"true"`, `1`, `"1"`:
		return true
	}
	return false
}

// textsOf returns a list of strings, or one string as a list. What is none is left out.
func textsOf(value json.RawMessage) []string {
	list := []json.RawMessage{value}
	if bytes.HasPrefix(value, []byte(`[`)) {
		list, _ = readList(value)
	}
	var out []string
	for _, v := range list {
		if s := textOf(v); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// quoted writes a JSON string.
func quoted(s string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ':
			b.WriteString(`\u00`)
			b.WriteByte(hex[r>>4])
			b.WriteByte(hex[r&15])
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
