package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	netmail "net/mail"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	gomail "github.com/wneessen/go-mail"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/seal"
)

const (
	batch       = 4                // mails that are sent at a time
	poll        = 2 * time.Second  // how often the queue is looked at when nobody wakes the sender
	bookkeeping = 10 * time.Second // for the queue, after a mail was sent or not
	longestWait = time.Hour        // between two tries of a mail
)

// Options are the needs of [New]. All fields are required.
type Options struct {
	Config     config.Mail
	Box        *seal.Box // of a purpose of its own: key.Box("mail")
	Store      Store
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Sender seals mails for the queue and sends what is queued. Several gateways may run one
// each on the same store. It is safe for concurrent use.
type Sender struct {
	cfg       config.Mail
	box       *seal.Box
	store     Store
	now       func() time.Time
	log       *slog.Logger
	metrics   metrics
	from      *netmail.Address
	renderer  *renderer
	transport transport
	lease     time.Duration // how long a claimed mail is this sender's
	wake      chan struct{}
}

// letter is a mail ready to be handed over.
type letter struct {
	id      string
	created time.Time
	msg     *gomail.Msg
}

// transport hands a letter over. It may be called concurrently.
type transport interface {
	deliver(ctx context.Context, l letter) error
}

// New checks the configuration and returns a sender that does nothing until Run. It does
// not connect to the mail server, so a dead one does not hold up the start.
func New(o Options) (*Sender, error) {
	if o.Box == nil || o.Store == nil || o.Now == nil || o.Log == nil || o.Registerer == nil {
		return nil, errors.New("mail: Box, Store, Now, Log and Registerer are required")
	}
	from, err := netmail.ParseAddress(o.Config.From)
	if err != nil {
		return nil, fmt.Errorf("mail.from: %w", err)
	}
	from.Name = oneLine(from.Name)
	brand := from.Name
	if brand == "" {
		brand = domainOf(from.Address)
	}
	renderer, err := newRenderer(brand)
	if err != nil {
		return nil, err
	}
	transport, longest, err := newTransport(o.Config)
	if err != nil {
		return nil, err
	}
	metrics, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Sender{
		cfg: o.Config, box: o.Box, store: o.Store, now: o.Now, log: o.Log, metrics: metrics,
		from: from, renderer: renderer, transport: transport,
		lease: longest + bookkeeping + time.Minute,
		wake:  make(chan struct{}, 1),
	}, nil
}

func newTransport(cfg config.Mail) (t transport, longest time.Duration, err error) {
	switch {
	case cfg.Directory != "" && cfg.SMTP.Host != "":
		return nil, 0, errors.New("mail has both a directory and an SMTP server")
	case cfg.Directory != "":
		t, err = newDirectory(cfg.Directory)
		return t, 0, err
	case cfg.SMTP.Host != "":
		s, err := newServer(cfg.SMTP)
		if err != nil {
			return nil, 0, err
		}
		return s, s.timeout(), nil
	}
	return nil, 0, errors.New("mail has neither a directory nor an SMTP server")
}

// Seal makes a message into a mail for the queue; the caller commits it with what caused
// it, and then calls [Sender.Wake]. The error wraps [ErrMessage] if the message is at
// fault.
func (s *Sender) Seal(m Message) (Queued, error) {
	if err := m.check(); err != nil {
		return Queued{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Queued{}, fmt.Errorf("mail id: %w", err)
	}
	plain, err := json.Marshal(m)
	if err != nil {
		return Queued{}, fmt.Errorf("encode mail: %w", err)
	}
	now := s.now()
	return Queued{ID: id.String(), Sealed: s.box.Seal(plain, id.String()), CreatedAt: now, DueAt: now}, nil
}

// Wake makes Run look at the queue at once. It never blocks.
func (s *Sender) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // it was told already
	}
}

// Run sends what is queued until ctx ends. Mails that are being sent then are finished
// first, which takes no longer than twice the timeout of the mail server.
func (s *Sender) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	lost := false
	for ctx.Err() == nil {
		n, err := s.round(ctx)
		if err != nil && !lost && ctx.Err() == nil {
			s.log.Error("mail queue cannot be read", "error", err)
		}
		lost = err != nil
		if n == batch {
			continue
		}
		timer.Reset(poll)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// round sends up to batch mails that are due and returns how many there were.
func (s *Sender) round(ctx context.Context) (int, error) {
	now := s.now()
	mails, err := s.store.ClaimMail(ctx, now, now.Add(s.lease), batch)
	if err != nil {
		return 0, fmt.Errorf("claim mail: %w", err)
	}
	var sending sync.WaitGroup
	for _, q := range mails {
		sending.Go(func() { s.handle(context.WithoutCancel(ctx), q) })
	}
	sending.Wait()
	waiting, err := s.store.CountMail(ctx)
	if err != nil {
		return len(mails), fmt.Errorf("count mail: %w", err)
	}
	oldest, err := s.store.OldestMail(ctx)
	if err != nil {
		return len(mails), fmt.Errorf("find the oldest mail: %w", err)
	}
	s.metrics.queue.Set(float64(waiting))
	s.metrics.wait(oldest, s.now())
	return len(mails), nil
}

// handle sends one mail and says in the queue how it went. ctx does not end with the
// sender: a mail that was begun is brought to an end.
func (s *Sender) handle(ctx context.Context, q Queued) {
	m, err := s.open(q)
	if err == nil && m.expired(s.now()) {
		s.metrics.expired.Inc()
		s.log.Warn("mail dropped, its link has expired", "mail_id", q.ID, "template", m.Template, "attempts", q.Attempts)
		s.drop(ctx, q)
		return
	}
	if err == nil {
		err = s.send(ctx, q, m)
	}
	if err != nil {
		s.failed(ctx, q, m, err)
		return
	}
	s.metrics.sent.Inc()
	s.log.Info("mail sent", "mail_id", q.ID, "template", m.Template, "attempts", q.Attempts+1)
	s.drop(ctx, q)
}

func (s *Sender) open(q Queued) (Message, error) {
	if _, err := uuid.Parse(q.ID); err != nil {
		return Message{}, errors.New("its id is no UUID")
	}
	plain, err := s.box.Open(q.Sealed, q.ID)
	if err != nil {
		return Message{}, fmt.Errorf("open mail (was the secret key changed?): %w", err)
	}
	var m Message
	if err := json.Unmarshal(plain, &m); err != nil {
		return Message{}, errors.New("decode mail") // the cause may quote the content
	}
	return m, nil
}

func (s *Sender) send(ctx context.Context, q Queued, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	w, err := s.renderer.render(m)
	if err != nil {
		return err
	}
	msg := compose(s.from, m, w, q.ID, q.CreatedAt)
	return s.transport.deliver(ctx, letter{id: q.ID, created: q.CreatedAt, msg: msg})
}

// failed puts a mail back, or gives it up when it is too old. An answer that calls itself
// permanent is no reason to give up sooner: a mail server that is configured wrong refuses
// everything for good until somebody repairs it, and nothing shall be lost by that.
func (s *Sender) failed(ctx context.Context, q Queued, m Message, err error) {
	text := cause(err)
	if m.To != "" {
		text = strings.ReplaceAll(text, m.To, "[recipient]")
	}
	now := s.now()
	log := s.log.With("mail_id", q.ID, "template", m.Template, "attempts", q.Attempts+1, "error", text)
	if now.Sub(q.CreatedAt) >= s.cfg.GiveUp {
		s.metrics.givenUp.Inc()
		log.Error("mail given up")
		s.drop(ctx, q)
		return
	}
	wait := backoff(s.cfg.Retry, q.Attempts)
	s.metrics.retried.Inc()
	log.Warn("mail not sent, it will be tried again", "in", wait)
	ctx, cancel := context.WithTimeout(ctx, bookkeeping)
	defer cancel()
	if err := s.store.DeferMail(ctx, q.ID, now.Add(wait)); err != nil {
		// Nothing is lost: the claim runs out, and the mail is due again.
		s.log.Error("mail cannot be put back", "mail_id", q.ID, "error", err)
	}
}

// backoff returns the pause after a try, of which attempts went before it.
func backoff(first time.Duration, attempts int) time.Duration {
	wait := first
	for range attempts {
		wait *= 2
		if wait >= longestWait {
			return longestWait
		}
	}
	return wait
}

func (s *Sender) drop(ctx context.Context, q Queued) {
	ctx, cancel := context.WithTimeout(ctx, bookkeeping)
	defer cancel()
	if err := s.store.DropMail(ctx, q.ID); err != nil {
		// The claim runs out and the mail goes out again: rather twice than never.
		s.log.Error("mail cannot be taken off the queue", "mail_id", q.ID, "error", err)
	}
}
