package mail

import (
	"bytes"
	"errors"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/config"
)

// attacks are what people put where an address, a name or a link belongs.
var attacks = []string{
	"a@b.example\r\nBcc: evil@example.net",
	"a@b.example\nBcc: evil@example.net",
	"a@b.example\r\n\r\nbody",
	"a@b.example, evil@example.net",
	"a@b.example;evil@example.net",
	"Ada <a@b.example>",
	"<a@b.example>",
	"\"a\r\nBcc: x\"@b.example",
	`"a b"@b.example`,
	"a@b.example (comment)",
	"undisclosed:a@b.example;",
	"a@b.example\x00",
	"a@b.example\u2028Bcc: evil@example.net",
	"a @b.example",
	"a@b.example> SIZE=1",
	"@relay.example:a@b.example",
	"",
	"a",
	strings.Repeat("a", 300) + "@b.example",
}

func TestSealRefusesAnAddressThatIsMore(t *testing.T) {
	p := newPost(t, config.Mail{Directory: t.TempDir()}, newMemory())
	for _, to := range attacks {
		m := verifyMail()
		m.To = to
		_, err := p.Seal(m)
		if !errors.Is(err, ErrMessage) {
			t.Errorf("Seal(to %q) = %v, want ErrMessage", to, err)
			continue
		}
		if strings.Contains(err.Error(), "example") {
			t.Errorf("Seal(to %q) tells the address: %v", to, err)
		}
	}
	for _, to := range []string{"a@b.example", "o'brien+tag@sub.b.example", "a=b@b.example", "jörg@bücher.example"} {
		m := verifyMail()
		m.To = to
		if _, err := p.Seal(m); err != nil {
			t.Errorf("Seal(to %q) = %v", to, err)
		}
	}
}

func TestSealRefusesAWrongLinkOrTemplate(t *testing.T) {
	p := newPost(t, config.Mail{Directory: t.TempDir()}, newMemory())
	for _, m := range []Message{
		{To: recipient, Template: TemplateVerify},
		{To: recipient, Template: TemplateVerify, Link: "javascript:alert(1)"},
		{To: recipient, Template: TemplateVerify, Link: "https://a.example/hunter2\r\n\r\nx"},
		{To: recipient, Template: TemplateVerify, Link: "https://a.example/hunter2 x"},
		{To: recipient, Template: TemplateVerify, Link: "https:///hunter2"},
		{To: recipient, Template: TemplateVerify, Link: "https://a.example/" + strings.Repeat("x", 1000)},
		{To: recipient, Template: TemplateVerify, Link: "two words"},
		{To: recipient, Template: TemplateAccountExists, Link: "https://a.example/"},
		{To: recipient, Template: "../layout"},
		{To: recipient},
	} {
		if _, err := p.Seal(m); !errors.Is(err, ErrMessage) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Seal(%+v) = %v, want ErrMessage", m, err)
		}
	}
}

func TestSealedMailTellsNothing(t *testing.T) {
	p := newPost(t, config.Mail{Directory: t.TempDir()}, newMemory())
	q, err := p.Seal(verifyMail())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{recipient, secretToken, TemplateVerify} {
		if bytes.Contains(q.Sealed, []byte(part)) {
			t.Errorf("the sealed mail holds %q", part)
		}
	}
	if !q.CreatedAt.Equal(p.clock.now()) || !q.DueAt.Equal(p.clock.now()) || q.Attempts != 0 {
		t.Errorf("Seal() = %+v, want it due now", q)
	}
}

func TestNamesCannotWriteTheMail(t *testing.T) {
	p := newPost(t, config.Mail{Directory: t.TempDir()}, newMemory())
	for name, want := range map[string]string{
		"Ada":                                "Hello Ada,",
		"Ada  Lovelace":                      "Hello Ada Lovelace,",
		"J. R. Müller-O'Neil":                "Hello J. R. Müller-O'Neil,",
		"Ada\r\nBcc: evil@example.net":       "Hello,",
		"Ada\r\n\r\nYou have won":            "Hello Ada You have won,",
		"Ada\u202Eoge":                       "Hello Adaoge,",
		"visit evil.example":                 "Hello,",
		"evil。example":                       "Hello,",
		"https://evil.example":               "Hello,",
		"<script>alert(1)</script>":          "Hello,",
		"{{.Link}}":                          "Hello,",
		"www evil com":                       "Hello,",
		strings.Repeat("a", 65):              "Hello,",
		"":                                   "Hello,",
		"\x00\x1b":                           "Hello,",
		"call 0900-123 now for your free gi": "Hello call 0900-123 now for your free gi,",
	} {
		m := Message{To: recipient, Template: TemplateReset, Link: "https://a.example/x", Vars: map[string]string{"name": name}}
		w, err := p.renderer.render(m)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(w.text, "\r\n")
		if first != want {
			t.Errorf("name %q greets %q, want %q", name, first, want)
		}
		if strings.Contains(w.html, "<script") || strings.Contains(w.html, "evil.example") {
			t.Errorf("name %q is in the HTML:\n%s", name, w.html)
		}
	}
}

// TestUnprovenAddressesGetNoWordsOfOthers: whoever registers somebody else's address must
// not be able to write to it over the operator's name.
func TestUnprovenAddressesGetNoWordsOfOthers(t *testing.T) {
	p := newPost(t, config.Mail{Directory: t.TempDir()}, newMemory())
	for _, template := range []string{TemplateVerify, TemplateAccountExists} {
		m := Message{To: recipient, Template: template, Vars: map[string]string{"name": "WINNER", "brand": "WINNER", "Link": "WINNER"}}
		w, err := p.renderer.render(m)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(w.subject+w.text+w.html, "WINNER") {
			t.Errorf("%s repeats the words of the one who registered:\n%s", template, w.text)
		}
	}
}

func TestEveryTemplateIsAWholeMail(t *testing.T) {
	p := newPost(t, config.Mail{Directory: t.TempDir(), From: `"Müller & Söhne" <post@b.example>`}, newMemory())
	expires := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	for _, m := range []Message{
		{Template: TemplateVerify, Link: "https://a.example/x?a=1&b=2", Expires: expires},
		{Template: TemplateReset, Link: "https://a.example/x#token=abc", Expires: expires},
		{Template: TemplateReset, Link: "abc-DEF_123", Expires: expires},
		{Template: TemplateMagicLink, Link: "https://a.example/x"},
		{Template: TemplateAccountExists},
		{Template: TemplatePasswordChanged},
	} {
		m.To = recipient
		if err := m.check(); err != nil {
			t.Fatal(err)
		}
		w, err := p.renderer.render(m)
		if err != nil {
			t.Fatal(err)
		}
		var raw bytes.Buffer
		if _, err := compose(p.from, m, w, "id", expires).WriteTo(&raw); err != nil {
			t.Fatal(err)
		}
		msg, err := netmail.ReadMessage(&raw)
		if err != nil {
			t.Fatalf("%s: %v", m.Template, err)
		}
		if from, err := netmail.ParseAddress(msg.Header.Get("From")); err != nil || from.Name != "Müller & Söhne" {
			t.Errorf("%s: From = %v, %v", m.Template, from, err)
		}
		text, _ := parts(t, msg)
		if m.Link != "" && !strings.Contains(text, "\n"+m.Link+"\n") {
			t.Errorf("%s: the link does not stand on a line of its own:\n%s", m.Template, text)
		}
		if !m.Expires.IsZero() && !strings.Contains(text, "until 22 November 2026 at 09:30 UTC") {
			t.Errorf("%s: the mail does not say how long its link works:\n%s", m.Template, text)
		}
		for _, bad := range []string{"<no value>", "{{", "\n\n\n"} {
			if strings.Contains(w.text, bad) || strings.Contains(strings.ReplaceAll(w.text, "\r\n", "\n"), bad) {
				t.Errorf("%s: the text holds %q:\n%s", m.Template, bad, w.text)
			}
		}
		if !strings.Contains(w.html, "Müller &amp; Söhne") {
			t.Errorf("%s: the HTML is not escaped:\n%s", m.Template, w.html)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, a := range attacks {
		f.Add(a, a, "https://a.example/x")
	}
	f.Add(recipient, "Ada", "https://a.example/x")
	renderer, err := newRenderer("Materi")
	if err != nil {
		f.Fatal(err)
	}
	from := &netmail.Address{Name: "Materi", Address: "no-reply@materi.example"}
	f.Fuzz(func(t *testing.T, to, name, link string) {
		m := Message{To: to, Template: TemplateReset, Vars: map[string]string{"name": name}, Link: link}
		if m.check() != nil {
			return
		}
		w, err := renderer.render(m)
		if err != nil {
			t.Fatal(err)
		}
		var raw bytes.Buffer
		if _, err := compose(from, m, w, "id", time.Unix(0, 0)).WriteTo(&raw); err != nil {
			t.Fatal(err)
		}
		msg, err := netmail.ReadMessage(&raw)
		if err != nil {
			t.Fatal(err)
		}
		for header := range msg.Header {
			switch header {
			case "From", "To", "Subject", "Date", "Message-Id", "Mime-Version", "Content-Type", "Auto-Submitted", "X-Auto-Response-Suppress":
			default:
				t.Errorf("header %s came in by %q, %q, %q", header, to, name, link)
			}
		}
		rcpt, err := msg.Header.AddressList("To")
		if err != nil || len(rcpt) != 1 || rcpt[0].Address != to {
			t.Errorf("To = %v, %v, want %q alone", rcpt, err, to)
		}
	})
}
