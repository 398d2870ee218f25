package mail

import (
	"context"
	"errors"
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
	eventually(t, "the gauge", func() bool { return p.metric(t, "materi_mail_queue", "") == mails })
	p.clock.move(29 * time.Second)
	p.Wake()
	eventually(t, "the age of the oldest", func() bool { return p.metric(t, "materi_mail_oldest_seconds", "") == 29 })

	again := serve(t, first.address, tlsConfig, false)
	p.clock.move(2 * time.Second)
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
	eventually(t, "no oldest", func() bool { p.Wake(); return p.metric(t, "materi_mail_oldest_seconds", "") == 0 })
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
	eventually(t, "the honest mail", func() bool { return p.metric(t, "materi_mail_total", "sent") == 1 })
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
