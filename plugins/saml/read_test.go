package saml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestReadTakesWhatIsPlain(t *testing.T) {
	for name, doc := range map[string]string{
		"least":                 `<a/>`,
		"declaration":           `<?xml version="1.0" encoding="UTF-8" standalone="no"?>` + "\n<a></a>\n",
		"declaration in quotes": `<?xml version='1.0' encoding='utf-8'?><a/>`,
		"byte order mark":       "\xef\xbb\xbf<a/>",
		"namespaces":            `<a xmlns="urn:a" xmlns:b="urn:b" b:x="1" x="2"><b:a/><c xmlns=""/></a>`,
		"references":            `<a b="&quot;&apos;&#x41;&#66;">&lt;&gt;&amp;</a>`,
		"other letters":         `<a>ümläut ✓ 漢字 🐎</a>`,
		"spaces in tags":        "<a\n\tb = 'c'\r\n></a >",
		"xml:lang":              `<a xml:lang="de"/>`,
		"quotes in quotes":      `<a b='"' c="'"/>`,
	} {
		if _, err := read([]byte(doc), strict); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadRefusesWhatIsNot(t *testing.T) {
	for name, doc := range map[string]string{
		"nothing": "", "text": "a", "no end": "<a>", "another end": "<a></b>", "two roots": "<a/><b/>", "text behind": "<a/>b", "text before": "b<a/>",
		"comment": "<a><!-- --></a>", "comment before": "<!-- --><a/>", "CDATA": "<a><![CDATA[b]]></a>", "end of CDATA": "<a>]]></a>",
		"DTD": "<!DOCTYPE a><a/>", "instruction": "<a><?b?></a>", "instruction before": "<?b?><a/>", "declaration later": ` <?xml version="1.0"?><a/>`,
		"XML 1.1": `<?xml version="1.1"?><a/>`, "Latin 1": `<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, "declaration odd": `<?xml encoding="UTF-8" version="1.0"?><a/>`,
		"declaration of nothing": `<?xmlfoo?><a/>`, "bytes": "<a>\xff</a>", "NUL": "<a>\x00</a>", "escape": "<a>\x1b</a>", "FFFE": "<a>\ufffe</a>",
		"NUL by reference": "<a>&#0;</a>", "half a pair": "<a>&#xD800;</a>", "too high": "<a>&#x110000;</a>", "far too high": "<a>&#99999999999;</a>",
		"entity": "<a>&b;</a>", "entity of HTML": "<a>&nbsp;</a>", "no semicolon": "<a>&amp</a>", "ampersand": "<a>&</a>", "capital X": "<a>&#X41;</a>", "no digits": "<a>&#;</a>",
		"less in a value": `<a b="<"/>`, "no quotes": `<a b=c/>`, "no value": `<a b/>`, "no space": `<a b="c"d="e"/>`, "no end of value": `<a b="c/>`,
		"attribute twice": `<a b="" b=""/>`, "attribute twice by namespace": `<a xmlns:x="u" xmlns:y="u" x:b="" y:b=""/>`, "declared twice": `<a xmlns:x="u" xmlns:x="v"/>`,
		"prefix": "<x:a/>", "prefix of an attribute": `<a x:b=""/>`, "prefix of xmlns": `<a xmlns:xmlns="u"/>`, "prefix of xml": `<a xmlns:xml="u"/>`,
		"another name for xml": `<a xmlns:x="` + nsXML + `"/>`, "xmlns as default": `<a xmlns="` + nsXMLNS + `"/>`, "prefix taken back": `<a xmlns:x=""/>`, "element of xmlns": `<xmlns:a/>`,
		"two colons": `<a:b:c xmlns:a="u"/>`, "colon first": "<:a/>", "colon last": "<a:/>", "digit first": "<1/>", "digit after the colon": `<a:1 xmlns:a="u"/>`, "other letters": "<ä/>",
		"ID twice": `<a ID="1"><b ID="1"/></a>`, "ID and id": `<a ID="1"><b id="1"/></a>`, "Id and xml:id": `<a Id="1"><b xml:id="1"/></a>`, "AssertionID": `<a ID="1"><b AssertionID="1"/></a>`,
		"namespace named xmlns": `<a xmlns:x="xmlns" x:b=""/>`, "default named xmlns": `<a xmlns="xmlns"/>`,
		"end in the end": "<a></a", "end with attributes": `<a></a b="c">`, "less at the end": "<a><", "space before the name": "< a/>",
		"deep": strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100), "wide": "<a>" + strings.Repeat("<b/>", 10_001) + "</a>",
		"many attributes": "<a" + func() string {
			var b strings.Builder
			for n := range 65 {
				b.WriteString(" " + strings.Repeat("b", n+1) + `=""`)
			}
			return b.String()
		}() + "/>",
		"long name": "<" + strings.Repeat("a", 200) + "/>", "long": "<a>" + strings.Repeat(" ", maxDocument) + "</a>",
	} {
		if el, err := read([]byte(doc), strict); !errors.Is(err, errXML) {
			t.Errorf("%s: read() = %v, %v, want it refused", name, el, err)
		}
	}
}

func TestCommentsAreOverlookedBetweenElementsAlone(t *testing.T) {
	l := lenience{size: 1000, comments: true}
	for doc, good := range map[string]bool{
		"<!-- a --><a/><!-- b -->": true, "<a> <!-- <b/> --> <c/></a>": true, "<a><!----></a>": true, "<a><!-->--></a>": true,
		"<a>b<!-- --></a>": false, "<a><!-- -->b</a>": false, "<a>b<!-- -->c</a>": false, "<a><b>c<!-- -->d</b></a>": false,
		"<a><!-- -- --></a>": false, "<a><!-- ---></a>": false, "<a><!-- </a>": false, "<a><!-- \x00 --></a>": false,
	} {
		if _, err := read([]byte(doc), l); (err == nil) != good {
			t.Errorf("read(%q) = %v, want good: %v", doc, err, good)
		}
	}
}

func TestSignedBytesHaveToBeCanonical(t *testing.T) {
	for doc, good := range map[string]bool{
		`<a xmlns="u" b="c">d</a>`: true, "<a b=\"&quot;&#xA;\">&lt;&gt;&#xD;</a>": true,
		`<a/>`: false, `<a b='c'></a>`: false, "<a>\r</a>": false, "<a b=\"\n\"></a>": false, `<a>&#65;</a>`: false, `<a  b="c"></a>`: false, "<a></a>\n": false,
	} {
		if _, err := readSigned([]byte(doc)); (err == nil) != good {
			t.Errorf("readSigned(%q) = %v, want good: %v", doc, err, good)
		}
	}
}

// said lists what a document says, in the words of this reader.
func (el *element) words(list []string) []string {
	list = append(list, "<", el.space, el.local)
	for _, a := range el.attributes {
		list = append(list, a.space, a.local, a.value)
	}
	for _, n := range el.nodes {
		if n.child != nil {
			list = n.child.words(list)
			continue
		}
		list = spoken(list, n.text)
	}
	return append(list, ">")
}

// words does the same by encoding/xml.
func words(data []byte) (list []string, err error) {
	depth := 0
	for decoder := xml.NewDecoder(bytes.NewReader(data)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			list = append(list, "<", t.Name.Space, t.Name.Local)
			for _, a := range t.Attr {
				space, local := a.Name.Space, a.Name.Local
				switch {
				case space == "xmlns":
					space = nsXMLNS
				case space == "" && local == "xmlns":
					space, local = nsXMLNS, ""
				}
				list = append(list, space, local, a.Value)
			}
		case xml.EndElement:
			depth--
			list = append(list, ">")
		case xml.CharData:
			if depth > 0 {
				list = spoken(list, string(t))
			}
		}
	}
}

func spoken(list []string, text string) []string {
	if text == "" {
		return list
	}
	if last := len(list) - 1; last >= 0 && strings.HasPrefix(list[last], "text:") {
		list[last] += text
		return list
	}
	return append(list, "text:"+text)
}

// FuzzRead holds the reader to encoding/xml: what both take they understand alike, and what
// is written reads back as what it was.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`<a/>`, `<?xml version="1.0"?><a b="c">d</a>`, `<a xmlns="urn:a" xmlns:b="urn:b" b:x="1"><b:a/>&amp;&#x41;</a>`, "<a b='\"'>\r\n</a>",
		`<a ID="1"><b id="1"/></a>`, "<a><!-- --></a>", `<a xmlns:x="xmlns" x:b=""/>`, `<a b="&#9;	"/>`, `<a>]]></a>`, `<x:a xmlns:x="u" xml:lang="de"></x:a>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		el, err := read(data, strict)
		if err != nil {
			if !errors.Is(err, errXML) || el != nil {
				t.Fatalf("read(%q) = %v, %v", data, el, err)
			}
			return
		}
		ours := el.words(nil)
		written := el.append(nil)
		again, err := readSigned(written)
		if err != nil || !slices.Equal(again.words(nil), ours) {
			t.Fatalf("%q is written as %q, which reads as %v: %v", data, written, again, err)
		}
		// encoding/xml leaves the spaces in values as they are; in what we wrote there are none.
		if theirs, err := words(written); err != nil || !slices.Equal(theirs, ours) {
			t.Fatalf("encoding/xml understands %q as %q, %v, want %q", written, theirs, err, ours)
		}
		if !bytes.ContainsAny(data, "\t\r\n") {
			if theirs, err := words(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))); err != nil || !slices.Equal(theirs, ours) {
				t.Fatalf("encoding/xml understands %q as %q, %v, want %q", data, theirs, err, ours)
			}
		}
	})
}
