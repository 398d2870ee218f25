package gatewaytest

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/materi/shield/config"
)

// mailServer is a real SMTP server that keeps what it gets.
type mailServer struct {
	mu  sync.Mutex
	got [][]byte
}

func (m *mailServer) NewSession(*smtp.Conn) (smtp.Session, error) { return mailSession{m}, nil }

type mailSession struct{ server *mailServer }

func (mailSession) Mail(string, *smtp.MailOptions) error { return nil }
func (mailSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (mailSession) Reset()                               {}
func (mailSession) Logout() error                        { return nil }

func (s mailSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.got = append(s.server.got, data)
	return nil
}

func (m *mailServer) serve(t testing.TB, ln net.Listener) {
	server := smtp.NewServer(m)
	server.Domain = "localhost"
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
}

func (m *mailServer) letters(t testing.TB) []letter {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []letter
	for _, data := range m.got {
		all = append(all, readLetter(t, data))
	}
	return all
}

// A mail server that accepts connections and says nothing would hold up whoever waits for
// it; nobody who registers does.
func TestDeadMailServerDelaysNoRequestAndLosesNoMail(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		silent := make(chan net.Conn, 64)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				silent <- c
			}
		}()
		host, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		const timeout = time.Minute // of the mail server; longer than the client of this test waits
		g := in.start(t, func(c *config.Config) {
			c.Mail.Directory = ""
			c.Mail.SMTP = config.SMTP{Host: host, Port: number, TLS: "none", Timeout: timeout}
			c.Mail.Retry = 100 * time.Millisecond
		})
		g.http.Timeout = timeout / 2
		people := []person{somebody(), somebody(), somebody()}
		for _, p := range people {
			g.post(t, "/auth/register", p.registration()).ok(t, http.StatusAccepted)
		}
		hung := <-silent // it is being tried
		g.get(t, "/ready/").ok(t, http.StatusOK)
		if waiting := g.metric(t, "materi_mail_queue"); waiting > 3 {
			t.Errorf("materi_mail_queue = %v", waiting)
		}

		_ = ln.Close()
		<-done
		_ = hung.Close()
		close(silent)
		for c := range silent {
			_ = c.Close()
		}
		back, err := net.Listen("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server := &mailServer{}
		server.serve(t, back)
		eventually(t, "the mails arrive", func() bool { return len(server.letters(t)) == 3 })
		links := map[string]string{}
		for _, l := range server.letters(t) {
			in.secrets.add("token of a mail", l.token)
			links[l.to] = l.link
		}
		for _, p := range people {
			g.get(t, links[p.email]).ok(t, http.StatusOK)
			g.login(t, p)
		}
		s := in.store(t)
		eventually(t, "nothing waits any more", func() bool {
			n, err := s.CountMail(t.Context())
			return err == nil && n == 0
		})
		if n := len(server.letters(t)); n != 3 {
			t.Errorf("%d mails, want 3", n)
		}
	})
}
