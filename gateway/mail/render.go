package mail

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
)

//go:embed templates
var files embed.FS

// renderer makes the words of a mail. It is safe for concurrent use.
type renderer struct {
	brand string // what the operator's service is called
	texts map[string]*texttemplate.Template
	html  *htmltemplate.Template
}

// words are a rendered mail.
type words struct {
	subject    string
	text, html string // lines end with CR LF
}

func newRenderer(brand string) (*renderer, error) {
	layout, err := htmltemplate.ParseFS(files, "templates/layout.html")
	if err != nil {
		return nil, fmt.Errorf("mail layout: %w", err)
	}
	r := &renderer{brand: oneLine(brand), texts: map[string]*texttemplate.Template{}, html: layout}
	for _, name := range []string{TemplateVerify, TemplateReset, TemplateMagicLink, TemplateAccountExists, TemplatePasswordChanged} {
		t, err := texttemplate.ParseFS(files, "templates/"+name+".txt")
		if err != nil {
			return nil, fmt.Errorf("mail template %s: %w", name, err)
		}
		r.texts[name] = t
	}
	return r, nil
}

// render fills a template. There is one source of the words: the text, whose first line is
// the subject. The HTML holds the same paragraphs, so that the two cannot say different
// things, and html/template escapes them.
func (r *renderer) render(m Message) (words, error) {
	t, ok := r.texts[m.Template]
	if !ok {
		return words{}, fmt.Errorf("%w: no template %.32q", ErrMessage, m.Template)
	}
	data := struct{ Brand, Name, Link, Code, Until string }{Brand: r.brand, Name: salutation(m.Vars["name"])}
	if isURL(m.Link) {
		data.Link = m.Link
	} else {
		data.Code = m.Link
	}
	if !m.Expires.IsZero() {
		data.Until = m.Expires.UTC().Format("2 January 2006 at 15:04 UTC")
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return words{}, fmt.Errorf("mail template %s: %w", m.Template, err)
	}
	subject, body, _ := strings.Cut(b.String(), "\n\n")

	page := struct {
		Subject, Link, Code string
		Paragraphs          []string
	}{Subject: subject, Link: data.Link, Code: data.Code}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(body), "\n\n") {
		page.Paragraphs = append(page.Paragraphs, strings.TrimSpace(paragraph))
	}
	var h strings.Builder
	if err := r.html.Execute(&h, page); err != nil {
		return words{}, fmt.Errorf("mail layout: %w", err)
	}
	return words{subject: subject, text: crlf(body), html: crlf(h.String())}, nil
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// maxName is the most that a mail says of a name, in characters.
const maxName = 64

// salutation returns a name as a mail may repeat it, or nothing. The name is the person's
// own words, and the mail carries the operator's signature: a name that could be read as an
// address, a link or an advertisement's first line is left out. Mails to addresses that
// nobody has proven yet have no name at all (see the templates).
func salutation(name string) string {
	name = oneLine(name)
	if strings.ContainsAny(name, `/\:@<>[](){}&%#?!=|*_~`+"`") || strings.Contains(strings.ToLower(name), "www") {
		return ""
	}
	if len([]rune(name)) > maxName || looksLikeHost(name) {
		return ""
	}
	return name
}

// looksLikeHost reports whether a dot stands between two letters or digits, as in
// evil.example, which mail programs make into a link; "J. R. Smith" has none.
func looksLikeHost(s string) bool {
	runes := []rune(s)
	for i := 1; i+1 < len(runes); i++ {
		isDot := runes[i] == '.' || runes[i] == '。' || runes[i] == '．' || runes[i] == '｡'
		if isDot && !unicode.IsSpace(runes[i-1]) && !unicode.IsSpace(runes[i+1]) {
			return true
		}
	}
	return false
}

// oneLine returns s with every run of spaces and control characters made one space, and
// without characters that are not seen, such as those that turn the direction of writing.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case !unicode.IsGraphic(r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// expired reports whether the mail comes too late to be of use.
func (m Message) expired(now time.Time) bool { return !m.Expires.IsZero() && !now.Before(m.Expires) }
