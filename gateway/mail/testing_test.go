package mail

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a queue as the database keeps one.
type memory struct {
	mu          sync.Mutex
	mails       map[string]Queued
	broken      error // of every call
	undroppable error // of DropMail alone
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
	if m.undroppable != nil {
		return m.undroppable
	}
	delete(m.mails, id)
	return m.broken
}

func (m *memory) CountMail(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.mails)), m.broken
}

func (m *memory) OldestMail(context.Context) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var oldest time.Time
	for _, q := range m.mails {
		if oldest.IsZero() || q.CreatedAt.Before(oldest) {
			oldest = q.CreatedAt
		}
	}
	return oldest, m.broken
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
