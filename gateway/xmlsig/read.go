package xmlsig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"
)

// document is XML that was read and found to have one meaning.
type document struct {
	root     *etree.Element
	elements []*etree.Element          // in the order of the document
	space    map[*etree.Element]string // the namespace of each
	ids      map[string]*etree.Element
}

// read reads a document, or refuses it with ErrDocument. scope is the namespaces that are
// declared around it, by prefix; most often there are none.
func read(data []byte, scope map[string]string) (*document, error) {
	d, err := parse(data)
	if err == nil {
		err = d.walk(d.root, scope, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return d, nil
}

func parse(data []byte) (*document, error) {
	// Some metadata begins with a byte order mark.
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if err := checkBytes(data); err != nil {
		return nil, err
	}
	doc := etree.NewDocument()
	doc.ReadSettings = etree.ReadSettings{
		MaxDepth:               maxDepth,
		PreserveDuplicateAttrs: true, // to be seen and refused
		CharsetReader: func(string, io.Reader) (io.Reader, error) {
			return nil, errors.New("not UTF-8")
		},
	}
	if err := doc.ReadFromBytes(data); err != nil {
		return nil, errors.New("not well-formed") // its text would repeat the document
	}
	d := &document{space: map[*etree.Element]string{}, ids: map[string]*etree.Element{}}
	for _, token := range doc.Child {
		switch t := token.(type) {
		case *etree.ProcInst: // checkBytes allows none but the declaration
		case *etree.Element:
			if d.root != nil {
				return nil, errors.New("more than one root")
			}
			d.root = t
		case *etree.CharData:
			if !blank(t.Data) {
				return nil, errors.New("text outside of the root")
			}
		default:
			return nil, errors.New("neither element nor text")
		}
	}
	if d.root == nil {
		return nil, errors.New("no root")
	}
	return d, nil
}

// checkBytes refuses what must not reach a parser: a DTD could define entities, a comment
// could split a value in two, of which many readers take the first, and CDATA has the same
// beginning and no use here.
func checkBytes(data []byte) error {
	if len(data) > maxBytes {
		return fmt.Errorf("longer than %d bytes", maxBytes)
	}
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	if bytes.Contains(data, []byte("<!")) {
		return errors.New("a comment, CDATA or a DTD")
	}
	body, err := afterDeclaration(data)
	if err != nil {
		return err
	}
	if bytes.Contains(body, []byte("<?")) {
		return errors.New("a processing instruction")
	}
	return nil
}

// afterDeclaration returns what follows the XML declaration, if there is one.
func afterDeclaration(data []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(data, []byte("<?xml"))
	if !ok {
		return data, nil
	}
	declaration, body, ok := bytes.Cut(rest, []byte("?>"))
	if !ok || len(declaration) == 0 || !blank(string(declaration[:1])) {
		return nil, errors.New("XML declaration broken")
	}
	wanted := []string{`version="1.0"`, `encoding="utf-8"`, `standalone="yes"`, `standalone="no"`}
	for _, field := range bytes.Fields(declaration) {
		field = bytes.ReplaceAll(bytes.ToLower(field), []byte("'"), []byte(`"`))
		i := slices.Index(wanted, string(field))
		if i < 0 {
			return nil, errors.New("XML declaration is not of XML 1.0 in UTF-8")
		}
		wanted = wanted[i+1:]
	}
	return body, nil
}

func blank(s string) bool { return strings.Trim(s, " \t\r\n") == "" }

// walk checks an element with all below it, and notes what it is.
func (d *document) walk(el *etree.Element, outer map[string]string, depth int) error {
	if depth > maxDepth || len(d.elements) >= maxElements || len(el.Attr) > maxAttributes {
		return errors.New("too deep or too large")
	}
	scope, err := declared(el, outer)
	if err != nil {
		return err
	}
	space, ok := scope[el.Space]
	if !plain(el.Tag) || !ok && el.Space != "" {
		return errors.New("name of an element")
	}
	d.elements = append(d.elements, el)
	d.space[el] = space
	if err := d.attributes(el, scope); err != nil {
		return err
	}
	for _, token := range el.Child {
		switch t := token.(type) {
		case *etree.CharData:
		case *etree.Element:
			if err := d.walk(t, scope, depth+1); err != nil {
				return err
			}
		default:
			return errors.New("neither element nor text")
		}
	}
	return nil
}

// declared returns the namespaces that are in scope in an element, by prefix.
func declared(el *etree.Element, outer map[string]string) (map[string]string, error) {
	scope := outer
	for _, a := range el.Attr {
		prefix, ok := declares(a)
		if !ok {
			continue
		}
		// The two that are always declared may neither be declared anew nor be given another
		// name (Namespaces in XML §3). A prefix cannot be taken back in XML 1.0.
		reserved := prefix == "xml" || prefix == "xmlns" || a.Value == nsXML || a.Value == nsXMLNS
		if reserved || len(a.Value) > maxNamespace || a.Value == "" && prefix != "" || prefix != "" && !plain(prefix) {
			return nil, errors.New("declaration of a namespace")
		}
		if len(scope) == len(outer) || scope == nil {
			scope = clone(scope)
		}
		scope[prefix] = a.Value
	}
	if len(scope) > maxScope {
		return nil, errors.New("too many namespaces")
	}
	return scope, nil
}

func clone(m map[string]string) map[string]string {
	out := make(map[string]string, len(m)+4)
	for k, v := range m {
		out[k] = v
	}
	return out
}

// declares returns the prefix that an attribute declares, empty for the default.
func declares(a etree.Attr) (prefix string, ok bool) {
	if a.Space == "xmlns" {
		return a.Key, true
	}
	return "", a.Space == "" && a.Key == "xmlns"
}

// attributes checks the attributes of an element, and notes its identifiers. Readers differ
// in which attributes they take for identifiers, so all that may be one must be unique.
func (d *document) attributes(el *etree.Element, scope map[string]string) error {
	seen := map[Name]bool{}
	for _, a := range el.Attr {
		name := Name{a.Space, a.Key}
		if _, declaration := declares(a); !declaration && a.Space != "" {
			space, ok := scope[a.Space]
			if a.Space == "xml" {
				space, ok = nsXML, true
			}
			if !ok {
				return errors.New("prefix of an attribute is not declared")
			}
			name.Space = space
		}
		if !plain(a.Key) || seen[name] {
			return errors.New("an attribute twice, or its name")
		}
		seen[name] = true
		if !strings.EqualFold(a.Key, "id") && a.Key != "AssertionID" {
			continue
		}
		if d.ids[a.Value] != nil {
			return errors.New("an identifier twice")
		}
		d.ids[a.Value] = el
	}
	return nil
}

// plain reports whether a name is one of the letters that SAML uses. XML allows more, and
// readers disagree about which, and about where a colon may be.
func plain(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		other := '0' <= c && c <= '9' || c == '-' || c == '.'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return true
}

func (d *document) is(el *etree.Element, space, local string) bool {
	return el.Tag == local && d.space[el] == space
}

// all returns the elements of a name.
func (d *document) all(space, local string) []*etree.Element {
	var found []*etree.Element
	for _, el := range d.elements {
		if d.is(el, space, local) {
			found = append(found, el)
		}
	}
	return found
}

// attribute returns an attribute without a namespace, empty if there is none.
func attribute(el *etree.Element, key string) string {
	for _, a := range el.Attr {
		if a.Space == "" && a.Key == key {
			return a.Value
		}
	}
	return ""
}

// around returns the namespaces that are declared around an element, by prefix.
func around(el *etree.Element) map[string]string {
	scope := map[string]string{}
	for p := el.Parent(); p != nil; p = p.Parent() {
		for _, a := range p.Attr {
			prefix, ok := declares(a)
			if _, inner := scope[prefix]; ok && !inner {
				scope[prefix] = a.Value
			}
		}
	}
	return scope
}

// content returns the text of an element that holds nothing else.
func content(el *etree.Element) (string, bool) {
	var text strings.Builder
	for _, token := range el.Child {
		t, ok := token.(*etree.CharData)
		if !ok {
			return "", false
		}
		text.WriteString(t.Data)
	}
	return text.String(), true
}

// parts returns the children of an element that holds no text besides.
func parts(el *etree.Element) ([]*etree.Element, bool) {
	var children []*etree.Element
	for _, token := range el.Child {
		switch t := token.(type) {
		case *etree.Element:
			children = append(children, t)
		case *etree.CharData:
			if !blank(t.Data) {
				return nil, false
			}
		}
	}
	return children, true
}
