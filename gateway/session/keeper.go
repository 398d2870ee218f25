package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/seal"
)

// Why a session was ended. A caller may have reasons of its own.
const (
	ReasonReuse  = "reuse"  // an old refresh token came back: somebody copied it
	ReasonLogout = "logout" // the person signed out
)

const (
	// deadMargin is added to the time after which the access tokens of an ended session are
	// surely dead, for an answer that is on its way while the session ends, and for clocks.
	deadMargin = time.Minute
	// maxBehind is how many generations a token may be ahead of the database, which a
	// failover can put a few commits back.
	maxBehind = 16
	// maxUserAgent is how many bytes of a User-Agent are kept.
	maxUserAgent = 512
)

// Options is what a [Keeper] is made of. All fields but MaxPending are required.
type Options struct {
	Store      Store
	Key        *seal.Key
	Config     config.Session
	AccessTTL  time.Duration // how long an access token is valid
	Leeway     time.Duration // how much longer it is accepted
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
	MaxPending int // most sessions whose use waits to be recorded; default 65536
}

// Keeper keeps sessions: it starts, refreshes and ends them, and knows at once which have
// ended. It is safe for concurrent use. Its [Keeper.Run] must run for other gateways'
// revocations to be seen.
type Keeper struct {
	store     Store
	key       []byte
	config    config.Session
	tokenLife time.Duration
	now       func() time.Time
	log       *slog.Logger
	metrics   metrics
	revoked   *revocations
	seen      *pending
	feed      feed
	known     chan struct{} // closed after the first poll
}

// New returns a keeper. It fails when a required option is missing or makes no sense.
func New(o Options) (*Keeper, error) {
	if o.Store == nil || o.Key == nil || o.Now == nil || o.Log == nil || o.Registerer == nil {
		return nil, errors.New("session: Store, Key, Now, Log and Registerer are required")
	}
	if o.Config.RefreshTTL <= 0 || o.AccessTTL <= 0 || o.Leeway < 0 || o.Config.Grace < 0 || o.Config.MaxLifetime < 0 {
		return nil, errors.New("session: refresh_ttl and access_ttl must be positive, leeway, grace and max_lifetime not negative")
	}
	if o.MaxPending <= 0 {
		o.MaxPending = 1 << 16
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("session: register metrics: %w", err)
	}
	return &Keeper{
		store:     o.Store,
		key:       o.Key.Derive("refresh"),
		config:    o.Config,
		tokenLife: o.AccessTTL + o.Leeway + deadMargin,
		now:       o.Now,
		log:       o.Log,
		metrics:   m,
		revoked:   newRevocations(),
		seen:      newPending(o.MaxPending),
		known:     make(chan struct{}),
	}, nil
}

// Login is what a new session remembers of the login that made it.
type Login struct {
	Method     string   // kind of the provider
	AMR        []string // RFC 8176
	IdentityID string
	Upstream   string // what the other site calls the login
	IP         string
	UserAgent  string
}

// Start makes a session of a user and its first refresh token. It writes nothing: the
// session belongs into the commit of the login, and the token must not leave before that.
func (k *Keeper) Start(userID string, l Login) (Session, string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Session{}, "", fmt.Errorf("start session: %w", err)
	}
	now := k.now()
	s := Session{
		ID: id.String(), UserID: userID, Counter: 1, Salt: seal.Random(16),
		Method: l.Method, AMR: l.AMR, IdentityID: l.IdentityID, Upstream: l.Upstream, IP: l.IP, UserAgent: printable(l.UserAgent, maxUserAgent),
		CreatedAt: now, RotatedAt: now, LastUsedAt: now,
	}
	s.ExpiresAt = k.expires(s, now)
	return s, mint(k.key, id, s.Counter, s.Salt), nil
}

// Refresh spends a refresh token and returns its session and the token's successor. The
// session's Counter is the generation that the next access token belongs to.
//
// The current token is replaced. The one just before is answered with the same successor as
// the first time, within the grace or as long as nobody was seen using that successor: its
// answer was lost, or two tabs asked at once. A token older than that, or repeated after its
// successor was used, was copied: the session ends for everybody who holds any of its tokens
// ([ErrReused]). Other errors are [ErrInvalid], [ErrExpired], [ErrRevoked] and those of the
// store. RFC 9700 §4.14.
func (k *Keeper) Refresh(ctx context.Context, raw string) (Session, string, error) {
	return k.RefreshIf(ctx, raw, func(string) error { return nil })
}

// RefreshIf is [Keeper.Refresh], but asks admit about the session first, after the token
// was found to be ours: a limit by session must not be spent by somebody who only knows the
// session's id. An error of admit is returned as it is and changes nothing.
func (k *Keeper) RefreshIf(ctx context.Context, raw string, admit func(sessionID string) error) (Session, string, error) {
	s, next, err := k.refresh(ctx, raw, admit)
	k.metrics.count("refresh", err)
	return s, next, err
}

func (k *Keeper) refresh(ctx context.Context, raw string, admit func(string) error) (Session, string, error) {
	t, s, err := k.open(ctx, raw)
	if err != nil {
		return Session{}, "", err
	}
	if err := admit(s.ID); err != nil {
		return Session{}, "", err
	}
	// A turn that is lost to somebody else's rotation is decided anew on what is there now.
	// Each loss means that the session went on, so that old tokens run out of turns.
	for range maxBehind + 2 {
		now := k.now()
		if err := alive(s, now); err != nil {
			return Session{}, "", err
		}
		if t.generation == s.Counter-1 && (now.Sub(s.RotatedAt) <= k.config.Grace || s.Used < s.Counter) {
			return s, mint(k.key, t.session, s.Counter, s.Salt), nil
		}
		if t.generation < s.Counter {
			return Session{}, "", k.reused(ctx, s, now)
		}
		if t.generation-s.Counter > maxBehind {
			return Session{}, "", ErrInvalid
		}
		// The token is the current one, or it is of a generation that the database forgot in a
		// failover. We made it, so that generation was reached: go there first.
		if s, err = k.rotate(ctx, s, now); err != nil {
			return Session{}, "", err
		}
	}
	return Session{}, "", fmt.Errorf("refresh session %s: too many rotations at once", s.ID)
}

// open finds the session of a token and checks that we made the token.
func (k *Keeper) open(ctx context.Context, raw string) (token, Session, error) {
	t, err := parse(raw)
	if err != nil {
		return token{}, Session{}, err
	}
	s, err := k.store.Session(ctx, t.session.String())
	if err != nil {
		return token{}, Session{}, fmt.Errorf("refresh: %w", err)
	}
	if !t.genuine(k.key, s.Salt) {
		return token{}, Session{}, ErrInvalid
	}
	return t, s, nil
}

func alive(s Session, now time.Time) error {
	if !s.RevokedAt.IsZero() {
		return ErrRevoked
	}
	if !now.Before(s.ExpiresAt) {
		return ErrExpired
	}
	return nil
}

// rotate moves a session one generation on and returns what it is afterwards, whoever moved
// it.
func (k *Keeper) rotate(ctx context.Context, s Session, now time.Time) (Session, error) {
	expires := k.expires(s, now)
	won, err := k.store.RotateSession(ctx, s.ID, s.Counter, now, expires)
	if err != nil {
		return Session{}, fmt.Errorf("refresh session %s: %w", s.ID, err)
	}
	if !won {
		s, err = k.store.Session(ctx, s.ID)
		if err != nil {
			return Session{}, fmt.Errorf("refresh session: %w", err)
		}
		return s, nil
	}
	s.Counter++
	s.RotatedAt, s.LastUsedAt, s.ExpiresAt = now, now, expires
	return s, nil
}

// expires says when a refresh token expires that is made at now.
func (k *Keeper) expires(s Session, now time.Time) time.Time {
	at := now.Add(k.config.RefreshTTL)
	if k.config.MaxLifetime == 0 {
		return at
	}
	if end := s.CreatedAt.Add(k.config.MaxLifetime); end.Before(at) {
		return end
	}
	return at
}

// reused ends a session whose old token came back. That must not fail because the caller,
// who may be the thief, hangs up.
func (k *Keeper) reused(ctx context.Context, s Session, now time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := k.end(ctx, s.ID, ReasonReuse, now); err != nil {
		return err
	}
	k.log.Warn("refresh token reused, session revoked", "session", s.ID, "subject", s.UserID)
	return ErrReused
}

// Issued counts an access token that was issued for a session, or that could not be.
func (k *Keeper) Issued(err error) { k.metrics.count("issue", err) }

// RevokeToken ends the session that a refresh token belongs to, of whatever generation the
// token is. A token that is not ours is [ErrInvalid]; RFC 7009 §2.2 has the caller answer that
// like a success.
func (k *Keeper) RevokeToken(ctx context.Context, raw, reason string) error {
	_, s, err := k.open(ctx, raw)
	if err == nil {
		_, err = k.end(ctx, s.ID, reason, k.now())
	}
	k.metrics.count("revoke", err)
	return err
}

// Revoke ends one session of a user. A session that is not that user's is [ErrInvalid], as
// one that does not exist; one that has ended before is no error.
func (k *Keeper) Revoke(ctx context.Context, userID, sessionID, reason string) error {
	s, err := k.store.Session(ctx, sessionID)
	if err == nil && s.UserID != userID {
		err = ErrInvalid
	}
	if err == nil {
		_, err = k.end(ctx, s.ID, reason, k.now())
	}
	k.metrics.count("revoke", err)
	return err
}

// RevokeAll ends all sessions of a user but the one named except, which may be empty, and
// returns their ids.
func (k *Keeper) RevokeAll(ctx context.Context, userID, except, reason string) ([]string, error) {
	now := k.now()
	dead := k.TokensDead(now)
	ids, err := k.store.RevokeSessionsOf(ctx, userID, except, reason, now, dead)
	k.metrics.count("revoke", err)
	if err != nil {
		return nil, fmt.Errorf("revoke sessions: %w", err)
	}
	k.Ended(now, ids...)
	return ids, nil
}

func (k *Keeper) end(ctx context.Context, id, reason string, now time.Time) (bool, error) {
	dead := k.TokensDead(now)
	was, err := k.store.RevokeSession(ctx, id, reason, now, dead)
	if err != nil {
		return false, fmt.Errorf("revoke session %s: %w", id, err)
	}
	k.Ended(now, id)
	return was, nil
}

// TokensDead says when the last access token of a session that ends at now is surely not
// accepted any more.
func (k *Keeper) TokensDead(now time.Time) time.Time { return now.Add(k.tokenLife) }

// Ended makes this gateway refuse the access tokens of sessions that a commit at now ended,
// without waiting for the next poll.
func (k *Keeper) Ended(now time.Time, ids ...string) {
	dead := k.TokensDead(now)
	for _, id := range ids {
		k.revoked.add(id, dead)
	}
}

// List returns the living sessions of a user, newest first.
func (k *Keeper) List(ctx context.Context, userID string) ([]Session, error) {
	return k.store.SessionsOf(ctx, userID, k.now())
}

// Revoked reports whether access tokens of a session must not be accepted. It is for every
// request: it takes well below a microsecond and never blocks on anything but memory.
func (k *Keeper) Revoked(sessionID string) bool { return k.revoked.has(sessionID) }

// Known is closed once the revocations were read for the first time. Until then Revoked knows
// only of sessions that ended in this process.
func (k *Keeper) Known() <-chan struct{} { return k.known }

// Seen notes that an access token of a generation is at work, which proves that the answer
// with that generation's refresh token arrived. It does not block. What does not fit is
// forgotten; that only means that the token before is forgiven longer.
func (k *Keeper) Seen(sessionID string, generation int64) {
	if !k.seen.add(sessionID, generation) {
		k.metrics.unseen.Inc()
	}
}

// printable returns s as text that any database keeps and any page shows: no control
// characters, valid UTF-8, at most n bytes.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s[:min(len(s), n)])
	return strings.ToValidUTF8(s, "")
}
