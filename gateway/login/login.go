// Package login runs flows: it asks a provider who somebody is, and turns the answer into
// users, sessions, mails and one-time links, all in one commit. It owns what a provider
// must not be able to forget: single use, deadlines, the account rules, equal answers for
// known and unknown addresses. It knows nothing of HTTP (package identity) nor of how a
// provider is run (package plugin).
package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/mail"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/sdk"
)

// providers is what login needs of the plugin host.
type providers interface {
	Begin(ctx context.Context, provider string, flow sdk.Flow, req sdk.Request) (plugin.Answer, error)
	Continue(ctx context.Context, provider string, flow sdk.Flow, req sdk.Request) (plugin.Answer, error)
	Kind(provider string) string
	// Info returns what is known of a configured provider; its manifest is missing while it is
	// not loaded.
	Info(provider string) (plugin.Info, bool)
}

// sessions is what login needs of the sessions.
type sessions interface {
	// Start makes a session and its first refresh token without writing them.
	Start(userID string, l session.Login) (session.Session, string, error)
	// TokensDead says when the access tokens of a session that ends now are dead anyway.
	TokensDead(now time.Time) time.Time
	// Ended makes this process refuse the access tokens of ended sessions at once.
	Ended(now time.Time, ids ...string)
}

// Outbox is what login needs of the mail queue.
type Outbox interface {
	Seal(m mail.Message) (mail.Queued, error)
	Wake()
}

// Options are the needs of [New]. All fields but Previous are required.
type Options struct {
	Store      Store
	Providers  providers
	Sessions   sessions
	Outbox     Outbox
	Key        *seal.Key
	Previous   []*seal.Key // open what was sealed before Key, and seal nothing
	Config     config.Login
	PublicURL  string
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Login runs flows. It is safe for concurrent use.
type Login struct {
	store     Store
	providers providers
	sessions  sessions
	outbox    Outbox
	saves     *seal.Ring // mailed links
	trips     *seal.Ring // flows that are away
	claims    *seal.Ring // one-time codes
	tokens    *seal.Ring // those of other sites that are kept
	links     *seal.Ring // links that wait for their browser
	cfg       config.Login
	publicURL string
	now       func() time.Time
	log       *slog.Logger
	attempts  *prometheus.CounterVec
	sites     *sites
}

// New returns a Login.
func New(o Options) (*Login, error) {
	if o.Store == nil || o.Providers == nil || o.Sessions == nil || o.Outbox == nil || o.Key == nil || o.Now == nil || o.Log == nil || o.Registerer == nil {
		return nil, errors.New("login: every option is required")
	}
	l := &Login{
		store:     o.Store,
		providers: o.Providers,
		sessions:  o.Sessions,
		outbox:    o.Outbox,
		saves:     seal.NewRing("flow", o.Key, o.Previous...),
		tokens:    seal.NewRing("tokens", o.Key, o.Previous...),
		trips:     seal.NewRing("flow/away", o.Key, o.Previous...),
		claims:    seal.NewRing("flow/code", o.Key, o.Previous...),
		links:     seal.NewRing("flow/link", o.Key, o.Previous...),
		cfg:       o.Config,
		publicURL: o.PublicURL,
		now:       o.Now,
		log:       o.Log,
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_auth_attempts_total",
			Help: "Attempts to log in, by kind of provider and outcome.",
		}, []string{"method", "status"}),
	}
	if err := o.Registerer.Register(l.attempts); err != nil {
		return nil, fmt.Errorf("login: register metrics: %w", err)
	}
	var err error
	if l.sites, err = newSites(o.Registerer); err != nil {
		return nil, err
	}
	return l, nil
}

// Attempt is what a person asks for.
type Attempt struct {
	Provider string
	Kind     sdk.FlowKind
	Form     string
	Fields   map[string]string
	Headers  map[string]string // those that the provider is shown
	Client   Client
	// Caller is set for flows of somebody who is logged in (change, link, logout).
	Caller *Caller
	// Away is set for flows that go to another site.
	Away *Away
	// Place is where on the gateway another site sent a message by itself. The message has to
	// say that it is for there.
	Place string

	mailed string // the canonical address whose mailed link was followed

	distrusted bool // the provider's answer joins no accounts, see [plugin.Answer]
}

// Client is where an attempt comes from.
type Client struct {
	IP        string
	UserAgent string
	Locale    string
}

// Caller is the principal of an attempt.
type Caller struct {
	UserID    string
	SessionID string
}

// Outcome is how an attempt went. At most one of its parts is set, but for Return.
type Outcome struct {
	LoggedIn *LoggedIn
	// Leave says that the flow goes on at another site; or with LoggedOut, that the answer of
	// the logout has to be taken there.
	Leave     *Leave
	LoggedOut bool
	// Code is a one-time code for the page of Return; see [Login.Exchange].
	Code   string
	Linked *Linked
	Return *Return
	// Mailed says that a mail goes out, or would for an address that is known. User is the
	// person who registered, unless the answer must not tell.
	Mailed bool
	User   *account.User
	// Verified says that an address was proven. Changed says that credentials changed.
	Verified bool
	Changed  bool
}

// LoggedIn is a new session.
type LoggedIn struct {
	User    account.User
	Session session.Session
	Refresh string // the refresh token
}

// Denied is a provider's or the account rules' no. It is a domain answer: no fault of
// anybody's.
type Denied struct {
	Code   string
	Fields []sdk.FieldError
	// Link says that the account is there, and that the login can be linked from inside.
	Link bool
}

// Error returns the code.
func (d *Denied) Error() string { return "denied: " + d.Code }

// Codes of [Denied] beside those of package sdk.
const (
	CodeSuspended = account.CodeSuspended
	CodeDuplicate = "DUPLICATE_RESOURCE" // the login is linked to another user
)

// ErrUnsupported says that a provider answered with a step that its flow cannot take.
var ErrUnsupported = errors.New("step not possible in this flow")

// tries is how often a call is made anew after its ground shifted between reading and
// committing. Each lost race means that another attempt won, so few are enough.
const tries = 4

// Begin starts a flow. Attempts whose answer must not tell whether an address is known
// take at least [config.Login.UniformDelay].
func (l *Login) Begin(ctx context.Context, a Attempt) (Outcome, error) {
	start := l.now()
	out, err := l.repeat(ctx, func() (Outcome, error) { return l.begin(ctx, a) })
	out, err = l.hush(ctx, a, out, err)
	if out.Leave == nil { // else it has only begun
		l.count(a, err)
	}
	if l.tellsOfAddress(a) {
		l.wait(ctx, start)
	}
	return out, err
}

// Continue goes on with the flow of a one-time token, for the purposes given: a token of
// another purpose is as unknown as a forged one. It returns [ErrSpent] for a token that
// is unknown, expired or used.
func (l *Login) Continue(ctx context.Context, token string, purposes []sdk.FlowKind, a Attempt) (Outcome, error) {
	out, err := l.repeat(ctx, func() (Outcome, error) {
		f, err := l.flowOf(ctx, token, purposes)
		if err != nil {
			return Outcome{}, err
		}
		a.Provider, a.Kind, a.Form = f.Provider, f.Kind, f.Form
		return l.resume(ctx, f, a)
	})
	l.count(a, err)
	return out, err
}

func (l *Login) begin(ctx context.Context, a Attempt) (Outcome, error) {
	flow := sdk.Flow{ID: account.NewID(), Kind: a.Kind, Form: a.Form, CallbackURL: a.Place, StartedAt: l.now()}
	if a.Away != nil {
		return l.depart(ctx, a, flow)
	}
	if a.Caller != nil {
		var err error
		if flow.Subject, err = l.subjectOf(ctx, a.Caller.UserID, a.Provider); err != nil {
			return Outcome{}, err
		}
	}
	answer, err := l.ask(ctx, l.providers.Begin, a, flow)
	if err != nil {
		return Outcome{}, err
	}
	return l.settle(ctx, a, flow, Flow{}, answer)
}

func (l *Login) resume(ctx context.Context, f Flow, a Attempt) (Outcome, error) {
	var written letter
	if err := opened(l.saves, f, &written); err != nil {
		return Outcome{}, err
	}
	a.mailed = account.CanonicalEmail(written.To)
	flow := sdk.Flow{ID: f.ID, Kind: f.Kind, Form: f.Form, Saved: written.Saved, StartedAt: f.CreatedAt}
	answer, err := l.providers.Continue(ctx, f.Provider, flow, l.request(a))
	if err != nil {
		return Outcome{}, err
	}
	return l.settle(ctx, a, flow, f, answer)
}

// letter is what the gateway remembers of a mailed link, sealed in the row of its flow. To
// is what the link proves when it is followed, whatever the provider says then.
type letter struct {
	To    string
	Saved []byte
}

// repeat runs an attempt again while its commit finds that the state it was computed from
// has changed.
func (l *Login) repeat(ctx context.Context, attempt func() (Outcome, error)) (Outcome, error) {
	for try := 1; ; try++ {
		out, err := attempt()
		if !lost(err) || try == tries || ctx.Err() != nil {
			return out, err
		}
	}
}

// lost reports whether an attempt's commit found its ground shifted.
func lost(err error) bool {
	return errors.Is(err, ErrChanged) || errors.Is(err, account.ErrConflict)
}

// flowOf finds the flow of a one-time token.
func (l *Login) flowOf(ctx context.Context, token string, purposes []sdk.FlowKind) (Flow, error) {
	hash, ok := hashOf(purposeMail, token)
	if !ok {
		return Flow{}, ErrSpent
	}
	f, err := l.store.Flow(ctx, hash, l.now())
	if err != nil {
		return Flow{}, err
	}
	for _, p := range purposes {
		if f.Kind == p {
			return f, nil
		}
	}
	return Flow{}, ErrSpent
}

// subjectOf returns the subject by which a provider knows a user.
func (l *Login) subjectOf(ctx context.Context, userID, provider string) (string, error) {
	ids, err := l.store.IdentitiesOf(ctx, userID)
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		if id.Provider == provider {
			return id.Subject, nil
		}
	}
	return "", &Denied{Code: sdk.CodeUserNotFound}
}

func (l *Login) request(a Attempt) sdk.Request {
	return sdk.Request{
		Fields:    a.Fields,
		Headers:   a.Headers,
		IP:        a.Client.IP,
		UserAgent: a.Client.UserAgent,
		Locale:    a.Client.Locale,
		Now:       l.now(),
	}
}

// tellsOfAddress reports whether an attempt's answer could tell that an address is known.
func (l *Login) tellsOfAddress(a Attempt) bool {
	switch a.Kind {
	case sdk.FlowVerify, sdk.FlowRecover:
		return true
	case sdk.FlowRegister:
		return l.cfg.ExistingAccount != "conflict"
	case sdk.FlowLogin:
		return a.Form == FormMagicLink
	}
	return false
}

// FormMagicLink names the login form that asks for an address alone.
const FormMagicLink = "magic_link"

// hush makes the answer for an unknown address that of a known one. Only a no that speaks
// of the account is hushed: a malformed address is still refused. So is an attempt that
// lost every race, since only addresses that are not yet verified have races: the attempts
// that won have mailed the address.
func (l *Login) hush(ctx context.Context, a Attempt, out Outcome, err error) (Outcome, error) {
	if !l.tellsOfAddress(a) {
		return out, err
	}
	out.User = nil
	if lost(err) {
		return Outcome{Mailed: true}, nil
	}
	var denied *Denied
	if errors.As(err, &denied) {
		switch denied.Code {
		case sdk.CodeUserNotFound, sdk.CodeInvalidCredentials, sdk.CodeEmailNotVerified, sdk.CodeEmailExists, CodeSuspended:
			return l.pretend(ctx, a)
		}
	}
	return out, err
}

// pretend answers like an attempt whose mail was queued. It writes to the database as that
// does, and leaves nothing there: one that can be read but not written, or only slowly,
// must not tell the two apart.
func (l *Login) pretend(ctx context.Context, a Attempt) (Outcome, error) {
	nothing := plugin.Write{Provider: a.Provider, Key: "pretend/" + account.NewID(), Delete: true, Checked: true}
	if _, err := l.store.Commit(ctx, Commit{Now: l.now(), Writes: []plugin.Write{nothing}}); err != nil {
		return Outcome{}, err
	}
	return Outcome{Mailed: true}, nil
}

// wait holds an answer back until the uniform delay since start is over.
func (l *Login) wait(ctx context.Context, start time.Time) {
	left := l.cfg.UniformDelay - l.now().Sub(start)
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (l *Login) count(a Attempt, err error) {
	if a.Kind != sdk.FlowLogin {
		return
	}
	status := "success"
	if err != nil {
		status = "failure"
	}
	l.attempts.WithLabelValues(l.providers.Kind(a.Provider), status).Inc()
}

// Purposes of one-time tokens. A token is known for its own alone.
const (
	purposeMail     = ""
	purposeState    = "state"
	purposeExchange = "exchange"
	purposeLink     = "link"
)

// newToken returns a one-time token of 256 random bits and the hash that is stored.
func newToken(purpose string) (token string, hash []byte) {
	token = newSecret()
	hash, _ = hashOf(purpose, token)
	return token, hash
}

// hashOf returns the stored hash of a token, if the string can be one. Decoding is strict,
// so that a token has one spelling.
func hashOf(purpose, token string) ([]byte, bool) {
	if len(token) != 43 {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return nil, false
	}
	sum := sha256.Sum256(append([]byte(purpose), raw...))
	return sum[:], true
}
