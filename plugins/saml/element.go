package saml

import (
	"bytes"
	"strings"
)

// is reports whether an element has a name.
func (el *element) is(space, local string) bool { return el.space == space && el.local == local }

// get returns an attribute without a namespace, empty if there is none.
func (el *element) get(local string) string {
	value, _ := el.lookup(local)
	return value
}

func (el *element) lookup(local string) (value string, ok bool) {
	for _, a := range el.attributes {
		if a.space == "" && a.local == local {
			return a.value, true
		}
	}
	return "", false
}

// all returns the children of a name.
func (el *element) all(space, local string) []*element {
	var found []*element
	for _, n := range el.nodes {
		if n.child != nil && n.child.is(space, local) {
			found = append(found, n.child)
		}
	}
	return found
}

// only returns the child of a name, nil if there is none. Two are a fault of the document,
// whose readers might take either.
func (el *element) only(space, local string) (*element, error) {
	found := el.all(space, local)
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	return nil, refuse("an element twice")
}

// text returns what an element says that has no children.
func (el *element) text() (string, bool) {
	var out strings.Builder
	for _, n := range el.nodes {
		if n.child != nil {
			return "", false
		}
		out.WriteString(n.text)
	}
	return out.String(), true
}

// blank reports whether an element says nothing beside its children.
func (el *element) blank() bool {
	for _, n := range el.nodes {
		if strings.Trim(n.text, " \t\r\n") != "" {
			return false
		}
	}
	return true
}

// count returns how many elements below and with el have one of the names, in any namespace.
func (el *element) count(locals ...string) int {
	n := 0
	for _, local := range locals {
		if el.local == local {
			n++
		}
	}
	for _, nd := range el.nodes {
		if nd.child != nil {
			n += nd.child.count(locals...)
		}
	}
	return n
}

// readSigned reads the bytes that a signature covered. They are canonical, so what is written
// from what was read must be the same bytes: nothing in them went unseen.
func readSigned(data []byte) (*element, error) {
	el, err := read(data, strict)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(el.append(nil), data) {
		return nil, refuse("it changes when it is read and written")
	}
	return el, nil
}

var (
	textEscapes  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")
	valueEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
)

// append writes an element in the form of Canonical XML §2.3, its attributes in the order in
// which they were read.
func (el *element) append(b []byte) []byte {
	b = append(append(b, '<'), el.raw...)
	for _, a := range el.attributes {
		b = append(append(append(b, ' '), a.raw...), `="`...)
		b = append(append(b, valueEscapes.Replace(a.value)...), '"')
	}
	b = append(b, '>')
	for _, n := range el.nodes {
		if n.child != nil {
			b = n.child.append(b)
			continue
		}
		b = append(b, textEscapes.Replace(n.text)...)
	}
	b = append(append(b, "</"...), el.raw...)
	return append(b, '>')
}
