package mail

import (
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/config"
)

func TestMailIsSentByStartTLSAndLogin(t *testing.T) {
	tlsConfig, ca := certificate(t)
	server := serve(t, "", tlsConfig, false)
	p := newPost(t, server.config(t, "starttls", ca), newMemory())
	q := p.queue(t, verifyMail())
	p.start(t)

	got := server.next(t)
	if got.from != "no-reply@materi.example" || got.to != recipient || got.user != smtpUser || !got.tls {
		t.Errorf("envelope = %+v", got)
	}
	msg, err := netmail.ReadMessage(strings.NewReader(got.data))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"From":                     `"Materi" <no-reply@materi.example>`,
		"To":                       "<" + recipient + ">",
		"Subject":                  "Confirm your e-mail address for Materi",
		"Message-Id":               "<" + q.ID + "@materi.example>",
		"Date":                     "Sat, 21 Nov 2026 12:00:00 +0000",
		"Auto-Submitted":           "auto-generated",
		"X-Auto-Response-Suppress": "All",
		"User-Agent":               "",
		"X-Mailer":                 "",
	} {
		if got := msg.Header.Get(header); got != want {
			t.Errorf("%s = %q, want %q", header, got, want)
		}
	}
	text, html := parts(t, msg)
	link := verifyMail().Link
	if !strings.Contains(text, "\n"+link+"\n") {
		t.Errorf("the text has no line with the link:\n%s", text)
	}
	if !strings.Contains(html, `href="`+link+`"`) {
		t.Errorf("the HTML has no link:\n%s", html)
	}
	eventually(t, "the mail leaving the queue", func() bool { _, waits := p.store.get(q.ID); return !waits })
	eventually(t, "the metric", func() bool {
		return p.metric(t, "materi_mail_total", "sent") == 1 && p.metric(t, "materi_mail_queue", "") == 0
	})
}

// parts returns the two bodies of a mail with LF.
func parts(t *testing.T, msg *netmail.Message) (text, html string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("Content-Type = %q, %v", kind, err)
	}
	r := multipart.NewReader(msg.Body, params["boundary"])
	var bodies []string
	for {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, strings.ReplaceAll(string(b), "\r\n", "\n"))
	}
	if len(bodies) != 2 {
		t.Fatalf("the mail has %d parts", len(bodies))
	}
	return bodies[0], bodies[1]
}

func TestMailIsSentByImplicitTLS(t *testing.T) {
	tlsConfig, ca := certificate(t)
	server := serve(t, "", tlsConfig, true)
	p := newPost(t, server.config(t, "implicit", ca), newMemory())
	p.queue(t, verifyMail())
	p.start(t)
	if got := server.next(t); got.to != recipient || got.user != smtpUser || !got.tls {
		t.Errorf("envelope = %+v", got)
	}
}

func TestMailIsSentInClearOnlyWhereThatIsConfigured(t *testing.T) {
	server := serve(t, "", nil, false)
	p := newPost(t, server.config(t, "none", ""), newMemory())
	p.queue(t, verifyMail())
	p.start(t)
	if got := server.next(t); got.to != recipient || got.user != smtpUser || got.tls {
		t.Errorf("envelope = %+v", got)
	}
}

// TestNothingIsSentToAServerThatCannotBeTrusted is the attacks on the way: STARTTLS taken
// out of the greeting, a certificate of nobody's, a server that speaks no SMTP, one that
// says nothing at all, a wrong password. Nothing may arrive, and the mail must wait.
func TestNothingIsSentToAServerThatCannotBeTrusted(t *testing.T) {
	tlsConfig, ca := certificate(t)
	_, otherCA := certificate(t)
	for name, c := range map[string]struct {
		server *mailServer
		mode   string
		ca     string
		change func(*config.Mail)
		reason string
	}{
		"starttls stripped":       {server: serve(t, "", nil, false), mode: "starttls", ca: ca, reason: "does not support STARTTLS"},
		"certificate of nobody":   {server: serve(t, "", tlsConfig, false), mode: "starttls", reason: "unknown authority"},
		"certificate of others":   {server: serve(t, "", tlsConfig, true), mode: "implicit", ca: otherCA, reason: "unknown authority"},
		"plain server, implicit":  {server: serve(t, "", nil, false), mode: "implicit", ca: ca, reason: "tls"},
		"name of another machine": {server: serve(t, "", tlsConfig, false), mode: "starttls", ca: ca, reason: "certificate", change: func(m *config.Mail) { m.SMTP.Host = "localhost" }},
		"wrong password":          {server: serve(t, "", tlsConfig, false), mode: "starttls", ca: ca, reason: "answered 535", change: func(m *config.Mail) { m.SMTP.Password = config.NewSecret("hunter2-wrong") }},
		"old TLS":                 {server: serve(t, "", &tls.Config{Certificates: tlsConfig.Certificates, MaxVersion: tls.VersionTLS11}, false), mode: "starttls", ca: ca, reason: "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.server.config(t, c.mode, c.ca)
			if c.change != nil {
				c.change(&cfg)
			}
			p := newPost(t, cfg, newMemory())
			q := p.queue(t, verifyMail())
			p.start(t)
			eventually(t, "the failed try", func() bool { q, _ := p.store.get(q.ID); return q.Attempts == 1 })
			if n := len(c.server.inbox); n != 0 {
				t.Errorf("the server got %d mails", n)
			}
			if !strings.Contains(p.logs.String(), c.reason) {
				t.Errorf("the log does not say %q:\n%s", c.reason, p.logs)
			}
			if strings.Contains(p.logs.String(), "hunter2") || strings.Contains(p.logs.String(), recipient) {
				t.Errorf("the log tells a secret:\n%s", p.logs)
			}
		})
	}
}

func TestSilentServerIsLeftAfterTheTimeout(t *testing.T) {
	silent := listenSilently(t)
	cfg := (&mailServer{address: silent}).config(t, "starttls", "")
	cfg.SMTP.Timeout = 100 * time.Millisecond
	p := newPost(t, cfg, newMemory())
	q := p.queue(t, verifyMail())
	p.start(t)
	eventually(t, "the failed try", func() bool { q, _ := p.store.get(q.ID); return q.Attempts == 1 })
}
