package mail

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a queue as the database keeps one.
type memory struct {
	mu     sync.Mutex
	mails  map[string]Queued
	broken error // of every call
	deferr error // of DropMail alone
}

func newMemory() *memory { return &memory{mails: map[string]Queued{}} }

func (m *memory) put(q Queued) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mails[q.ID] = q
}

func (m *memory) ClaimMail(_ context.Context, now, until time.Time, n int) ([]Queued, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, m.broken
	}
	var due []Queued
	for id, q := range m.mails {
		if len(due) < n && !q.DueAt.After(now) {
			due = append(due, q)
			q.DueAt = until
			m.mails[id] = q
		}
	}
	return due, nil
}

func (m *memory) DeferMail(_ context.Context, id string, due time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	q, ok := m.mails[id]
	if ok {
		q.Attempts++
		q.DueAt = due
		m.mails[id] = q
	}
	return m.broken
}

func (m *memory) DropMail(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deferr != nil {
		return m.deferr
	}
	delete(m.mails, id)
	return m.broken
}

func (m *memory) CountMail(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.mails)), m.broken
}

func (m *memory) get(id string) (Queued, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q, ok := m.mails[id]
	return q, ok
}

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// logs is a log that many write.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// post is a sender with everything around it.
type post struct {
	*Sender
	store *memory
	clock *clock
	logs  *logs
	reg   *prometheus.Registry
}

func newPost(t *testing.T, cfg config.Mail, store *memory) post {
	t.Helper()
	key, err := seal.NewKey(strings.Repeat("0123456789abcdef", 2))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.From == "" {
		cfg.From = "Materi <no-reply@materi.example>"
	}
	cfg.Retry, cfg.GiveUp = 30*time.Second, 24*time.Hour
	p := post{store: store, clock: newClock(), logs: &logs{}, reg: prometheus.NewRegistry()}
	p.Sender, err = New(Options{
		Config: cfg, Box: key.Box("mail"), Store: store, Now: p.clock.now,
		Log: slog.New(slog.NewJSONHandler(p.logs, nil)), Registerer: p.reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// queue seals a message and puts it into the queue.
func (p post) queue(t *testing.T, m Message) Queued {
	t.Helper()
	q, err := p.Seal(m)
	if err != nil {
		t.Fatalf("Seal() = %v", err)
	}
	p.store.put(q)
	return q
}

// start runs the sender until the test ends.
func (p post) start(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// metric returns the value of a counter or gauge.
func (p post) metric(t *testing.T, name, status string) float64 {
	t.Helper()
	families, err := p.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() != status {
				continue
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s{status=%q}", name, status)
	return 0
}

// received is a mail as the server got it.
type received struct {
	from, to string
	user     string // who was logged in
	tls      bool
	data     string
}

// mailServer is a real SMTP server.
type mailServer struct {
	address string
	inbox   chan received
	refuse  func() error // answers RCPT, nil: taken
	stop    func()       // returns when nothing is answered any more
}

const (
	smtpUser     = "shield"
	smtpPassword = "hunter2-smtp"
)

// serve starts a server on address; an empty one is a free port.
func serve(t *testing.T, address string, tlsConfig *tls.Config, implicit bool) *mailServer {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	m := &mailServer{address: l.Addr().String(), inbox: make(chan received, 1000)}
	server := smtp.NewServer(m)
	server.Domain = "localhost"
	server.AllowInsecureAuth = true
	server.ErrorLog = quiet{}
	if implicit {
		l = tls.NewListener(l, tlsConfig)
	} else {
		server.TLSConfig = tlsConfig
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	m.stop = func() {
		_ = l.Close() // the server may not have come to know it yet
		_ = server.Close()
		<-done
	}
	t.Cleanup(m.stop)
	return m
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// NewSession implements smtp.Backend.
func (m *mailServer) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, isTLS := c.TLSConnectionState()
	return &mailSession{server: m, mail: received{tls: isTLS}}, nil
}

type mailSession struct {
	server *mailServer
	mail   received
}

func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != smtpUser || password != smtpPassword {
			return smtp.ErrAuthFailed
		}
		s.mail.user = user
		return nil
	}), nil
}

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	s.mail.from = from
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = to
	if s.server.refuse != nil {
		return s.server.refuse()
	}
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.data = string(b)
	s.server.inbox <- s.mail
	return nil
}

func (s *mailSession) Reset()        {}
func (s *mailSession) Logout() error { return nil }

// config returns the section that reaches the server.
func (m *mailServer) config(t *testing.T, tlsMode, caFile string) config.Mail {
	t.Helper()
	host, port, err := net.SplitHostPort(m.address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return config.Mail{SMTP: config.SMTP{
		Host: host, Port: n, TLS: tlsMode, CAFile: caFile, Timeout: 5 * time.Second,
		Username: smtpUser, Password: config.NewSecret(smtpPassword),
	}}
}

// certificate returns a server's certificate for 127.0.0.1 and the file of its authority.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not happen within 20 s", what)
		}
	}
}

// next returns the next mail that the server got.
func (m *mailServer) next(t *testing.T) received {
	t.Helper()
	select {
	case r := <-m.inbox:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("no mail within 20 s")
		return received{}
	}
}

// sorted lists the mails of a directory.
func sorted(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}
