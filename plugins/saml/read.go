package saml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a document.
const (
	maxDocument   = 256 << 10
	maxDepth      = 64
	maxElements   = 10_000
	maxAttributes = 64 // of one element
	maxName       = 128
	maxNamespace  = 512 // bytes of a namespace, which are compared often
	maxSpaces     = 64  // namespaces that are declared at one place
)

// Namespaces that are always declared.
const (
	nsXML   = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS = "http://www.w3.org/2000/xmlns/"
)

// element is an element of a document that was read.
type element struct {
	space, local string // its name in full
	raw          string // its name as it stands there
	attributes   []attribute
	nodes        []node // what is in it, in order
}

// attribute is an attribute or the declaration of a namespace.
type attribute struct {
	space, local string // of a declaration: nsXMLNS and its prefix
	raw          string
	value        string
}

// node is a child, or text where there is none.
type node struct {
	child *element
	text  string
}

// errXML says that a document is not XML in the narrow sense of this reader.
var errXML = errors.New("document refused")

func refuse(why string) error { return fmt.Errorf("%w: %s", errXML, why) }

// lenience is what a reader overlooks.
type lenience struct {
	size     int  // most bytes
	comments bool // between elements, where people write metadata by hand
}

// strict is for what comes with a person.
var strict = lenience{size: maxDocument}

// read reads a document that has one meaning, or refuses it: there is no DTD, no processing
// instruction, no CDATA, no entity but the five, no comment, no identifier twice, and no name
// beyond ASCII. It is the third reader of what a signature covered, after those of the
// gateway, and shares no code with them: they and it must understand the same.
func read(data []byte, l lenience) (*element, error) {
	if len(data) > l.size {
		return nil, refuse("too long")
	}
	if !utf8.Valid(data) {
		return nil, refuse("not UTF-8")
	}
	r := &reader{rest: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), comments: l.comments, ids: map[string]bool{}}
	if err := r.declaration(); err != nil {
		return nil, err
	}
	if err := r.outside(); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(r.rest, []byte("<")) {
		return nil, refuse("no root")
	}
	root, err := r.element(nil, 0)
	if err != nil {
		return nil, err
	}
	if err := r.outside(); err != nil {
		return nil, err
	}
	if len(r.rest) > 0 {
		return nil, refuse("more than one root")
	}
	return root, nil
}

// reader reads from front to back.
type reader struct {
	rest     []byte
	comments bool
	elements int
	ids      map[string]bool
}

// declaration takes the XML declaration, if there is one: of XML 1.0 in UTF-8.
func (r *reader) declaration() error {
	rest, ok := bytes.CutPrefix(r.rest, []byte("<?xml"))
	if !ok {
		return nil
	}
	text, after, ok := bytes.Cut(rest, []byte("?>"))
	if !ok || len(text) == 0 || !isSpace(text[0]) {
		return refuse("XML declaration")
	}
	wanted := []string{`version="1.0"`, `encoding="utf-8"`, `standalone="yes"`, `standalone="no"`}
	for _, field := range bytes.Fields(text) {
		found := false
		for i, want := range wanted {
			if strings.EqualFold(strings.ReplaceAll(string(field), "'", `"`), want) {
				wanted, found = wanted[i+1:], true
				break
			}
		}
		if !found {
			return refuse("XML declaration")
		}
	}
	r.rest = after
	return nil
}

// outside takes what may stand beside the root.
func (r *reader) outside() error {
	for {
		r.spaces()
		taken, err := r.comment()
		if err != nil || !taken {
			return err
		}
	}
}

// comment takes a comment where they are overlooked.
func (r *reader) comment() (taken bool, err error) {
	rest, ok := bytes.CutPrefix(r.rest, []byte("<!--"))
	if !ok || !r.comments {
		return false, nil
	}
	text, after, ok := bytes.Cut(rest, []byte("--"))
	if !ok || !bytes.HasPrefix(after, []byte(">")) || !allowed(text) {
		return false, refuse("comment")
	}
	r.rest = after[1:]
	return true, nil
}

func (r *reader) spaces() {
	for len(r.rest) > 0 && isSpace(r.rest[0]) {
		r.rest = r.rest[1:]
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// scope is the namespaces that are declared at one place, the innermost last.
type scope []struct{ prefix, space string }

func (s scope) of(prefix string) (space string, ok bool) {
	if prefix == "xml" {
		return nsXML, true
	}
	for i := len(s) - 1; i >= 0; i-- {
		if s[i].prefix == prefix {
			return s[i].space, true
		}
	}
	return "", prefix == ""
}

// element takes an element with all that is in it.
func (r *reader) element(outer scope, depth int) (*element, error) {
	r.elements++
	if depth > maxDepth || r.elements > maxElements {
		return nil, refuse("too deep or too large")
	}
	r.rest = r.rest[1:] // the caller saw it
	el := &element{}
	var err error
	if el.raw, err = r.name(); err != nil {
		return nil, err
	}
	empty, err := r.startTag(el)
	if err != nil {
		return nil, err
	}
	inner, err := el.resolve(outer)
	if err != nil {
		return nil, err
	}
	if err := r.identify(el); err != nil {
		return nil, err
	}
	if empty {
		return el, nil
	}
	return el, r.content(el, inner, depth)
}

// startTag takes the attributes up to the end of the tag.
func (r *reader) startTag(el *element) (empty bool, err error) {
	for {
		before := len(r.rest)
		r.spaces()
		if rest, ok := bytes.CutPrefix(r.rest, []byte(">")); ok {
			r.rest = rest
			return false, nil
		}
		if rest, ok := bytes.CutPrefix(r.rest, []byte("/>")); ok {
			r.rest = rest
			return true, nil
		}
		if before == len(r.rest) || len(el.attributes) >= maxAttributes {
			return false, refuse("start tag")
		}
		var a attribute
		if a.raw, err = r.name(); err != nil {
			return false, err
		}
		if a.value, err = r.attributeValue(); err != nil {
			return false, err
		}
		el.attributes = append(el.attributes, a)
	}
}

func (r *reader) attributeValue() (string, error) {
	r.spaces()
	rest, ok := bytes.CutPrefix(r.rest, []byte("="))
	if !ok {
		return "", refuse("attribute")
	}
	r.rest = rest
	r.spaces()
	if len(r.rest) == 0 || r.rest[0] != '"' && r.rest[0] != '\'' {
		return "", refuse("attribute")
	}
	value, after, ok := bytes.Cut(r.rest[1:], r.rest[:1])
	if !ok || bytes.IndexByte(value, '<') >= 0 {
		return "", refuse("attribute")
	}
	r.rest = after
	// What stands for a space is one (XML 1.0 §3.3.3); what is written as a reference stays.
	return unescape(bytes.ReplaceAll(value, []byte("\r\n"), []byte("\n")), func(c byte) byte {
		if isSpace(c) {
			return ' '
		}
		return c
	})
}

// name takes a name with at most one prefix.
func (r *reader) name() (string, error) {
	n := 0
	for n < len(r.rest) && isName(r.rest[n], n > 0 && r.rest[n-1] != ':') {
		n++
	}
	name := string(r.rest[:n])
	if n == 0 || n > maxName || strings.HasSuffix(name, ":") || strings.Count(name, ":") > 1 {
		return "", refuse("name")
	}
	r.rest = r.rest[n:]
	return name, nil
}

// isName reports whether a byte may stand in a name; later, whether it may not begin it. XML
// allows more than these letters, and readers disagree about which.
func isName(c byte, later bool) bool {
	letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
	return letter || later && ('0' <= c && c <= '9' || c == '-' || c == '.' || c == ':')
}

// resolve gives names their namespaces, and returns those that are declared in the element.
func (el *element) resolve(outer scope) (scope, error) {
	inner := outer[:len(outer):len(outer)]
	for i := range el.attributes {
		a := &el.attributes[i]
		prefix, ok := strings.CutPrefix(a.raw, "xmlns:")
		if !ok && a.raw != "xmlns" {
			continue
		}
		if !ok {
			prefix = ""
		}
		// The two that are always declared have no other name, and a prefix cannot be taken
		// back (Namespaces in XML §3, §6.1). A namespace that is called xmlns would look to
		// encoding/xml like declarations.
		if len(a.value) > maxNamespace || prefix == "xml" || prefix == "xmlns" ||
			a.value == nsXML || a.value == nsXMLNS || a.value == "xmlns" || ok && a.value == "" {
			return nil, refuse("declaration of a namespace")
		}
		a.space, a.local = nsXMLNS, prefix
		inner = append(inner, struct{ prefix, space string }{prefix, a.value})
	}
	if len(inner) > maxSpaces {
		return nil, refuse("too many namespaces")
	}
	prefix, local := splitName(el.raw)
	space, ok := inner.of(prefix)
	if !ok {
		return nil, refuse("prefix is not declared")
	}
	el.space, el.local = space, local
	return inner, el.resolveAttributes(inner)
}

func (el *element) resolveAttributes(inner scope) error {
	for i := range el.attributes {
		a := &el.attributes[i]
		if a.space == "" {
			var prefix string
			if prefix, a.local = splitName(a.raw); prefix != "" {
				space, ok := inner.of(prefix)
				if !ok {
					return refuse("prefix is not declared")
				}
				a.space = space
			}
		}
		for _, b := range el.attributes[:i] {
			if a.local == b.local && a.space == b.space {
				return refuse("an attribute twice")
			}
		}
	}
	return nil
}

func splitName(raw string) (prefix, local string) {
	if prefix, local, ok := strings.Cut(raw, ":"); ok {
		return prefix, local
	}
	return "", raw
}

// identify notes the identifiers of an element. Readers differ in which attributes they take
// for some, so all that may be one must be unique.
func (r *reader) identify(el *element) error {
	for _, a := range el.attributes {
		if !strings.EqualFold(a.local, "id") && a.local != "AssertionID" || a.space == nsXMLNS {
			continue
		}
		if r.ids[a.value] {
			return refuse("an identifier twice")
		}
		r.ids[a.value] = true
	}
	return nil
}

// content takes what is between the tags, and the end tag.
func (r *reader) content(el *element, inner scope, depth int) error {
	commented := false
	for {
		text, err := r.text()
		if err != nil {
			return err
		}
		if text != "" {
			el.nodes = append(el.nodes, node{text: text})
		}
		if rest, ok := bytes.CutPrefix(r.rest, []byte("</")); ok {
			r.rest = rest
			if commented && !el.blank() {
				return refuse("comment in a value")
			}
			return r.endTag(el)
		}
		taken, err := r.comment()
		if err != nil {
			return err
		}
		if taken {
			commented = true
			continue
		}
		if len(r.rest) < 2 || !isName(r.rest[1], false) {
			return refuse("neither element nor text")
		}
		child, err := r.element(inner, depth+1)
		if err != nil {
			return err
		}
		el.nodes = append(el.nodes, node{child: child})
	}
}

func (r *reader) endTag(el *element) error {
	name, err := r.name()
	if err != nil || name != el.raw {
		return refuse("end tag")
	}
	r.spaces()
	rest, ok := bytes.CutPrefix(r.rest, []byte(">"))
	if !ok {
		return refuse("end tag")
	}
	r.rest = rest
	return nil
}

// text takes text up to the next tag.
func (r *reader) text() (string, error) {
	n := bytes.IndexByte(r.rest, '<')
	if n < 0 {
		return "", refuse("no end tag")
	}
	raw := r.rest[:n]
	r.rest = r.rest[n:]
	if bytes.Contains(raw, []byte("]]>")) {
		return "", refuse("text")
	}
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	return unescape(raw, func(c byte) byte {
		if c == '\r' {
			return '\n'
		}
		return c
	})
}

// unescape resolves references. plain is applied to bytes that are none.
func unescape(raw []byte, plain func(byte) byte) (string, error) {
	if !allowed(raw) {
		return "", refuse("character")
	}
	var out strings.Builder
	for len(raw) > 0 {
		if raw[0] != '&' {
			out.WriteByte(plain(raw[0]))
			raw = raw[1:]
			continue
		}
		name, after, ok := bytes.Cut(raw[1:], []byte(";"))
		if !ok {
			return "", refuse("reference")
		}
		c, ok := reference(string(name))
		if !ok {
			return "", refuse("reference")
		}
		out.WriteRune(c)
		raw = after
	}
	return out.String(), nil
}

// reference returns what a reference stands for.
func reference(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, false
	}
	base := rune(10)
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	if digits == "" || len(digits) > 8 {
		return 0, false
	}
	var c rune
	for _, d := range []byte(digits) {
		value, ok := digit(d)
		if !ok || value >= base {
			return 0, false
		}
		c = c*base + value
		if c > utf8.MaxRune {
			return 0, false
		}
	}
	return c, isChar(c)
}

func digit(d byte) (rune, bool) {
	switch {
	case '0' <= d && d <= '9':
		return rune(d - '0'), true
	case 'a' <= d && d <= 'f':
		return rune(d-'a') + 10, true
	case 'A' <= d && d <= 'F':
		return rune(d-'A') + 10, true
	}
	return 0, false
}

// allowed reports whether text holds characters of XML alone (XML 1.0 §2.2).
func allowed(text []byte) bool {
	for _, c := range string(text) {
		if !isChar(c) {
			return false
		}
	}
	return true
}

func isChar(c rune) bool {
	return c == '\t' || c == '\n' || c == '\r' || c >= 0x20 && c <= 0xd7ff || c >= 0xe000 && c <= 0xfffd || c >= 0x10000
}
