package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/materi/shield/config"
)

const (
	secretToken = "hunter2-token"
	recipient   = "ada.lovelace@example.org"
)

func verifyMail() Message {
	return Message{To: recipient, Template: TemplateVerify, Link: "https://api.materi.example/auth/verify/" + secretToken}
}

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

func TestDeadServerLosesNothing(t *testing.T) {
	tlsConfig, ca := certificate(t)
	first := serve(t, "", tlsConfig, false)
	cfg := first.config(t, "starttls", ca)
	first.stop()
	p := newPost(t, cfg, newMemory())
	const mails = 10
	for range mails {
		p.queue(t, verifyMail())
	}
	p.start(t)
	eventually(t, "ten failed tries", func() bool { return p.metric(t, "materi_mail_total", "retried") == mails })
	if got := p.metric(t, "materi_mail_queue", ""); got != mails {
		eventually(t, "the gauge", func() bool { return p.metric(t, "materi_mail_queue", "") == mails })
	}

	again := serve(t, first.address, tlsConfig, false)
	p.clock.move(31 * time.Second)
	p.Wake()
	ids := map[string]bool{}
	for range mails {
		msg, err := netmail.ReadMessage(strings.NewReader(again.next(t).data))
		if err != nil {
			t.Fatal(err)
		}
		ids[msg.Header.Get("Message-Id")] = true
	}
	if len(ids) != mails {
		t.Errorf("%d different mails arrived, want %d", len(ids), mails)
	}
	eventually(t, "the empty queue", func() bool { n, _ := p.store.CountMail(t.Context()); return n == 0 })
}

func TestPauseDoublesAndMailIsGivenUp(t *testing.T) {
	server := serve(t, "", nil, false)
	server.refuse = func() error {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "<" + recipient + "> unknown here"}
	}
	p := newPost(t, server.config(t, "none", ""), newMemory())
	q := p.queue(t, verifyMail())
	made := q.CreatedAt
	p.start(t)
	var pauses []time.Duration
	for attempts := 1; ; attempts++ {
		var waits bool
		eventually(t, "the next try", func() bool {
			q, waits = p.store.get(q.ID)
			return !waits || q.Attempts == attempts
		})
		if !waits {
			break
		}
		pause := q.DueAt.Sub(p.clock.now())
		pauses = append(pauses, pause)
		p.clock.move(pause)
		p.Wake()
	}
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		if pauses[i] != want {
			t.Errorf("pause %d = %v, want %v", i, pauses[i], want)
		}
	}
	if age := p.clock.now().Sub(made); age < 24*time.Hour || age > 25*time.Hour {
		t.Errorf("given up at the age of %v", age)
	}
	eventually(t, "the metric", func() bool { return p.metric(t, "materi_mail_total", "given_up") == 1 })
	text := p.logs.String()
	if !strings.Contains(text, "mail given up") || !strings.Contains(text, "answered 550 5.1.1") {
		t.Errorf("the log does not tell:\n%s", text)
	}
	if strings.Contains(text, "example.org") {
		t.Errorf("the log tells the address:\n%s", text)
	}
}

func TestTwoSendersSendEachMailOnce(t *testing.T) {
	server := serve(t, "", nil, false)
	store := newMemory()
	a := newPost(t, server.config(t, "none", ""), store)
	b := newPost(t, server.config(t, "none", ""), store)
	const mails = 60
	want := map[string]int{}
	for range mails {
		want["<"+a.queue(t, verifyMail()).ID+"@materi.example>"] = 1
	}
	a.start(t)
	b.start(t)
	eventually(t, "the empty queue", func() bool { n, _ := store.CountMail(t.Context()); return n == 0 })
	if n := len(server.inbox); n != mails {
		t.Errorf("%d mails arrived, want %d", n, mails)
	}
	for range len(server.inbox) {
		msg, err := netmail.ReadMessage(strings.NewReader(server.next(t).data))
		if err != nil {
			t.Fatal(err)
		}
		want[msg.Header.Get("Message-Id")]--
	}
	for id, n := range want {
		if n != 0 {
			t.Errorf("mail %s arrived %d times too few", id, n)
		}
	}
}

func TestMailWhoseLinkHasExpiredIsNotSent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	p := newPost(t, config.Mail{Directory: dir}, newMemory())
	m := verifyMail()
	m.Expires = p.clock.now().Add(time.Hour)
	late := p.queue(t, m)
	p.clock.move(time.Hour)
	p.start(t)
	eventually(t, "the mail leaving the queue", func() bool { _, waits := p.store.get(late.ID); return !waits })
	if files := sorted(t, dir); len(files) != 0 {
		t.Errorf("files = %v, want none", files)
	}
	eventually(t, "the metric", func() bool { return p.metric(t, "materi_mail_total", "expired") == 1 })
}

func TestMailIsWrittenIntoAPrivateFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "mail")
	p := newPost(t, config.Mail{Directory: dir}, newMemory())
	q := p.queue(t, verifyMail())
	p.start(t)
	eventually(t, "the file", func() bool { _, waits := p.store.get(q.ID); return !waits })

	name := "20261121T120000.000Z-" + q.ID + ".eml"
	if files := sorted(t, dir); len(files) != 1 || files[0] != name {
		t.Fatalf("files = %v, want %s alone", files, name)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, name): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("mode of %s = %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte("\n"+verifyMail().Link+"\n")) {
		t.Errorf("the link does not stand on a line of its own:\n%s", raw)
	}
	if strings.Contains(p.logs.String(), "hunter2") || strings.Contains(p.logs.String(), "ada") {
		t.Errorf("the log tells the mail:\n%s", p.logs)
	}
}

func TestSecondTryWritesTheSameFile(t *testing.T) {
	dir := t.TempDir()
	store := newMemory()
	p := newPost(t, config.Mail{Directory: dir}, store)
	q := p.queue(t, verifyMail())
	store.deferr = errors.New("database gone")
	p.start(t)
	eventually(t, "the first copy", func() bool { return strings.Contains(p.logs.String(), "cannot be taken off") })
	store.mu.Lock()
	store.deferr = nil
	store.mu.Unlock()
	p.clock.move(p.lease)
	p.Wake()
	eventually(t, "the empty queue", func() bool { _, waits := store.get(q.ID); return !waits })
	if files := sorted(t, dir); len(files) != 1 {
		t.Errorf("files = %v, want one", files)
	}
}

func TestUnwritableDirectoryKeepsTheMail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	p := newPost(t, config.Mail{Directory: dir}, newMemory())
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	q := p.queue(t, verifyMail())
	p.start(t)
	eventually(t, "the failed try", func() bool { q, waits := p.store.get(q.ID); return waits && q.Attempts == 1 })
}

func TestForeignMailStaysClosed(t *testing.T) {
	dir := t.TempDir()
	p := newPost(t, config.Mail{Directory: dir}, newMemory())
	sealed := p.queue(t, verifyMail())
	moved := sealed
	moved.ID = "01234567-89ab-7def-8123-456789abcdef" // the content of one row under another's id
	p.store.put(moved)
	p.store.put(Queued{ID: "../../etc/passwd", Sealed: sealed.Sealed, CreatedAt: p.clock.now()})
	p.start(t)
	eventually(t, "two failed tries", func() bool { return p.metric(t, "materi_mail_total", "retried") == 2 })
	if files := sorted(t, dir); len(files) != 1 {
		t.Errorf("files = %v, want that of the honest mail alone", files)
	}
}

func TestBrokenQueueIsLoggedOnceAndRecovers(t *testing.T) {
	store := newMemory()
	p := newPost(t, config.Mail{Directory: t.TempDir()}, store)
	q := p.queue(t, verifyMail())
	store.broken = errors.New("database gone")
	p.start(t)
	for range 3 {
		p.Wake()
		eventually(t, "the wake being taken", func() bool { return len(p.wake) == 0 })
	}
	store.mu.Lock()
	store.broken = nil
	store.mu.Unlock()
	p.Wake()
	eventually(t, "the mail leaving", func() bool { _, waits := store.get(q.ID); return !waits })
	if n := strings.Count(p.logs.String(), "cannot be read"); n != 1 {
		t.Errorf("the outage was logged %d times, want once", n)
	}
}

// TestStopFinishesWhatWasBegun holds the server inside DATA while the sender is stopped.
func TestStopFinishesWhatWasBegun(t *testing.T) {
	server := serve(t, "", nil, false)
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server.refuse = func() error {
		once.Do(func() { close(entered) })
		<-release
		return nil
	}
	p := newPost(t, server.config(t, "none", ""), newMemory())
	q := p.queue(t, verifyMail())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	<-entered
	cancel()
	close(release)
	<-done
	if _, waits := p.store.get(q.ID); waits || len(server.inbox) != 1 {
		t.Errorf("after the stop the mail waits = %v, %d arrived; want it sent", waits, len(server.inbox))
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

func TestNewRefusesWhatCannotWork(t *testing.T) {
	good := newPost(t, config.Mail{Directory: t.TempDir()}, newMemory())
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]config.Mail{
		"no way out":     {From: "a@b.example"},
		"two ways":       {From: "a@b.example", Directory: "x", SMTP: config.SMTP{Host: "h"}},
		"no sender":      {Directory: t.TempDir()},
		"no such CA":     {From: "a@b.example", SMTP: config.SMTP{Host: "h", Port: 25, TLS: "starttls", Timeout: time.Second, CAFile: "/nonexistent"}},
		"CA of nothing":  {From: "a@b.example", SMTP: config.SMTP{Host: "h", Port: 25, TLS: "starttls", Timeout: time.Second, CAFile: empty}},
		"no TLS mode":    {From: "a@b.example", SMTP: config.SMTP{Host: "h", Port: 25, Timeout: time.Second}},
		"port too large": {From: "a@b.example", SMTP: config.SMTP{Host: "h", Port: 70000, TLS: "starttls", Timeout: time.Second}},
	} {
		_, err := New(Options{Config: cfg, Box: good.box, Store: good.store, Now: good.now, Log: good.log, Registerer: good.reg})
		if err == nil {
			t.Errorf("%s: New() = nil error", name)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("New() without options = nil error")
	}
}
