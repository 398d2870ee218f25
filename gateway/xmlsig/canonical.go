package xmlsig

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/beevik/etree"
	"github.com/russellhaering/goxmldsig/etreeutils"
)

// canonical brings an element of a document into exclusive canonical form, as it stands
// there, without one of its children if that is not nil. The document does not change.
func canonical(el *etree.Element, without *etree.Element, prefixes string) ([]byte, error) {
	c := detach(el)
	if without != nil {
		c.RemoveChildAt(without.Index())
	}
	if err := etreeutils.TransformExcC14n(c, prefixes, false); err != nil {
		return nil, fmt.Errorf("canonical form: %w", err)
	}
	settle(c, map[string]string{})
	return write(c)
}

// detach copies an element and declares on the copy what is declared around the element.
func detach(el *etree.Element) *etree.Element {
	c := el.Copy()
	for prefix, space := range around(el) {
		inherit(c, prefix, space)
	}
	return c
}

// inherit declares a namespace on an element, unless that declares the prefix itself.
func inherit(el *etree.Element, prefix, space string) {
	for _, a := range el.Attr {
		if own, ok := declares(a); ok && own == prefix {
			return
		}
	}
	a := etree.Attr{Space: "xmlns", Key: prefix, Value: space}
	if prefix == "" {
		a = etree.Attr{Key: "xmlns", Value: space}
	}
	el.Attr = append(el.Attr, a)
}

// settle puts right in what the library differs from the standard: it orders attributes by
// their prefixes in place of their namespaces (Canonical XML §2.2), and writes xmlns="" where
// there is nothing to take back (Exclusive XML Canonicalization §3).
func settle(el *etree.Element, outer map[string]string) {
	el.Attr = slices.DeleteFunc(el.Attr, func(a etree.Attr) bool {
		prefix, ok := declares(a)
		return ok && prefix == "" && a.Value == "" && outer[""] == ""
	})
	scope := clone(outer)
	for _, a := range el.Attr {
		if prefix, ok := declares(a); ok {
			scope[prefix] = a.Value
		}
	}
	slices.SortFunc(el.Attr, func(a, b etree.Attr) int { return compare(a, b, scope) })
	for _, child := range el.ChildElements() {
		settle(child, scope)
	}
}

// compare orders attributes: declarations by their prefix, then the others by namespace and
// name.
func compare(a, b etree.Attr, scope map[string]string) int {
	first, declaresA := declares(a)
	second, declaresB := declares(b)
	if declaresA && declaresB {
		return cmp.Compare(first, second)
	}
	if declaresA {
		return -1
	}
	if declaresB {
		return 1
	}
	return cmp.Or(cmp.Compare(namespace(a, scope), namespace(b, scope)), cmp.Compare(a.Key, b.Key))
}

func namespace(a etree.Attr, scope map[string]string) string {
	switch a.Space {
	case "":
		return ""
	case "xml":
		return nsXML
	}
	return scope[a.Space]
}

// write writes an element in the form that reads back as what it is.
func write(el *etree.Element) ([]byte, error) {
	doc := etree.NewDocumentWithRoot(el.Copy())
	doc.WriteSettings = etree.WriteSettings{CanonicalAttrVal: true, CanonicalEndTags: true, CanonicalText: true}
	data, err := doc.WriteToBytes()
	if err != nil {
		return nil, fmt.Errorf("write XML: %w", err)
	}
	return data, nil
}

// reread reads the canonical form of an element anew. It must be canonical already, and
// encoding/xml, with which plugins read, must understand the same by it.
func reread(data []byte, prefixes string) (*document, error) {
	d, err := read(data, nil)
	if err != nil {
		return nil, err
	}
	again, err := canonical(d.root, nil, prefixes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: it changes when it is read and written", ErrDocument)
	}
	theirs, err := understood(data)
	if err != nil || !slices.Equal(theirs, d.understood(d.root, nil, nil)) {
		return nil, fmt.Errorf("%w: readers disagree about it", ErrDocument)
	}
	return d, nil
}

// understood lists what an element says: names in full, attributes, text.
func (d *document) understood(el *etree.Element, outer map[string]string, list []string) []string {
	scope, err := declared(el, outer)
	if err != nil {
		return nil // it was read, so this cannot be
	}
	list = append(list, "<", d.space[el], el.Tag)
	for _, a := range el.Attr {
		space := namespace(a, scope)
		if a.Space == "xmlns" {
			space = a.Space
		}
		list = append(list, space, a.Key, a.Value)
	}
	for _, token := range el.Child {
		switch t := token.(type) {
		case *etree.CharData:
			list = appendText(list, t.Data)
		case *etree.Element:
			list = d.understood(t, scope, list)
		}
	}
	return append(list, ">")
}

// understood does the same by encoding/xml alone.
func understood(data []byte) (list []string, err error) {
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			list = append(list, "<", t.Name.Space, t.Name.Local)
			for _, a := range t.Attr {
				list = append(list, a.Name.Space, a.Name.Local, a.Value)
			}
		case xml.EndElement:
			list = append(list, ">")
		case xml.CharData:
			list = appendText(list, string(t))
		default:
			return nil, errors.New("neither element nor text")
		}
	}
}

// appendText adds text as one item, however it was cut. Text is marked, so that no text looks
// like an end.
func appendText(list []string, text string) []string {
	if last := len(list) - 1; last >= 0 && strings.HasPrefix(list[last], "text:") {
		list[last] += text
		return list
	}
	return append(list, "text:"+text)
}
