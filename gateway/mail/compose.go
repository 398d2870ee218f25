package mail

import (
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// compose makes the mail that is handed over. id and created are those of the queue, so
// that a mail that is sent twice (the gateway died between sending and taking it off the
// queue) is the same mail twice, which mailboxes recognise by its Message-ID.
func compose(from *netmail.Address, m Message, w words, id string, created time.Time) *gomail.Msg {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(from)
	msg.ToMailAddress(&netmail.Address{Address: m.To})
	msg.Subject(w.subject)
	msg.SetDateWithValue(created.UTC())
	msg.SetMessageIDWithValue(fmt.Sprintf("%s@%s", id, domainOf(from.Address)))
	// RFC 3834: no vacation notice shall answer, and none shall be answered.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	msg.SetBodyString(gomail.TypeTextPlain, w.text, gomail.WithPartEncoding(encodingOf(w.text)))
	msg.AddAlternativeString(gomail.TypeTextHTML, w.html, gomail.WithPartEncoding(encodingOf(w.html)))
	return msg
}

// encodingOf keeps a part that is plain ASCII in short lines as it is, so that a link
// stands unbroken in the raw mail; quoted-printable would wrap it. Such a part is labelled
// 8bit, which covers ASCII and needs nothing of a server, because go-mail 0.8 encodes what
// it labels 7bit.
func encodingOf(body string) gomail.Encoding {
	for line := range strings.SplitSeq(body, "\r\n") {
		if len(line) > 990 {
			return gomail.EncodingQP
		}
	}
	for i := range len(body) {
		if body[i] > '~' {
			return gomail.EncodingQP
		}
	}
	return gomail.NoEncoding
}

func domainOf(address string) string {
	return address[strings.LastIndexByte(address, '@')+1:]
}
