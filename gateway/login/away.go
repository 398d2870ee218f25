package login

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/sdk"
)

// awayTTL is how long somebody may take at another site. RFC 9700 §4.7.1 asks for states that
// live no longer than needed; a second factor that has to be looked for takes minutes.
const awayTTL = 10 * time.Minute

// Forms of the flows that leave the gateway, whichever provider has them.
const (
	FormRedirect    = "redirect"    // begins a login, a link or a logout at the other site
	FormUnsolicited = "unsolicited" // takes an answer that nobody asked for here
	FormLogout      = "slo"         // takes what the other site says of a logout
)

// Away is what a flow needs that goes to another site and comes back.
type Away struct {
	Callback  string  // where the other site sends the person back to
	Browser   string  // what the browser shows to prove itself when it is back
	Return    *Return // nil: the callback answers by itself
	Workspace string  // the workspace that the person asks for, if any

	// Link is the token of [Login.StartLink]. The flow then links, for the user and with the
	// way back that the token was made for.
	Link string
}

// Return is where a browser goes with a one-time code, and what the page there has to know to
// trade it: the verifier of the challenge (S256, RFC 7636 §4.2).
type Return struct {
	URI       string
	Challenge string
}

// Leave is where a browser goes now: by a redirect, or with Fields by a form that submits
// itself.
type Leave struct {
	URL    string
	Fields map[string]string
}

// trip is what the gateway remembers of a flow while it is away, sealed in its row.
type trip struct {
	Callback  string
	Nonce     string
	Verifier  string
	Browser   []byte // SHA-256 of what the browser shows; nil: any browser may bring the answer
	Return    *Return
	Workspace string
	Caller    *Caller
	Subject   string
	Session   string
	Saved     []byte
}

// depart begins a flow that may go to another site.
func (l *Login) depart(ctx context.Context, a Attempt, flow sdk.Flow) (Outcome, error) {
	c := Commit{Now: l.now()}
	t := trip{Callback: a.Away.Callback, Return: a.Away.Return, Workspace: a.Away.Workspace}
	if a.Away.Browser != "" {
		t.Browser = browserHash(a.Away.Browser)
	}
	if a.Away.Link != "" {
		started, err := l.linkOf(ctx, a.Away.Link, a.Provider)
		if err != nil {
			return Outcome{}, err
		}
		a.Kind, a.Caller, flow.Kind = sdk.FlowLink, &started.Caller, sdk.FlowLink
		t.Return, c.SpendFlow = &started.Return, started.flow
	}
	t.Caller, t.Subject, t.Session = a.Caller, flow.Subject, flow.Session
	t.Nonce, t.Verifier = newSecret(), newSecret()
	state, hash := newToken(purposeState)
	flow = t.flow(flow, state)

	answer, err := l.providers.Begin(ctx, a.Provider, flow, l.request(a))
	if err != nil {
		return Outcome{}, err
	}
	var leave Leave
	switch step := answer.Step; {
	case step.Denied != nil:
		return Outcome{}, &Denied{Code: step.Denied.Code, Fields: step.Denied.Fields}
	case step.Redirect != nil:
		leave.URL = step.Redirect.URL
	case step.Post != nil:
		leave = Leave{step.Post.URL, step.Post.Fields}
	default:
		return Outcome{}, l.unsupported(a)
	}
	t.Saved = answer.Step.Save
	sealed, err := sealed(l.trips, flow.ID, t)
	if err != nil {
		return Outcome{}, err
	}
	c.Writes = answer.Writes
	c.NewFlow = &Flow{
		ID: flow.ID, Hash: hash, Provider: a.Provider, Kind: a.Kind, Form: a.Form, Sealed: sealed,
		CreatedAt: c.Now, ExpiresAt: c.Now.Add(awayTTL),
	}
	if a.Caller != nil {
		c.NewFlow.UserID = a.Caller.UserID
	}
	if err := l.commit(ctx, c); err != nil {
		return Outcome{}, err
	}
	return Outcome{Leave: &leave}, nil
}

// flow is the provider's view of a trip, the same before and after it.
func (t trip) flow(f sdk.Flow, state string) sdk.Flow {
	challenge := sha256.Sum256([]byte(t.Verifier))
	f.CallbackURL, f.State, f.Nonce = t.Callback, state, t.Nonce
	f.PKCEVerifier, f.PKCEChallenge = t.Verifier, base64.RawURLEncoding.EncodeToString(challenge[:])
	f.Subject, f.Session, f.Saved = t.Subject, t.Session, t.Saved
	return f
}

// Arrive goes on with a flow that came back from another site with its state. The flow must
// be one of the kinds, at the provider of the attempt, and of the browser that shows what it
// showed in the beginning; any other is as unknown as a forged one ([ErrSpent]), and is left
// alone: whoever found a state must neither use it nor take it from its owner.
//
// The flow is spent before the provider is asked, because what the other site gave can be
// redeemed there once. From then on Outcome.Return is set, also beside an error, if there is
// a page that waits for the person.
func (l *Login) Arrive(ctx context.Context, state, browser string, kinds []sdk.FlowKind, a Attempt) (Outcome, error) {
	a.Kind = kinds[0]
	f, t, err := l.tripOf(ctx, state, browser, kinds, a.Provider)
	if err == nil {
		a.Kind, a.Form, a.Caller = f.Kind, f.Form, t.Caller
		a.Away = &Away{Callback: t.Callback, Return: t.Return, Workspace: t.Workspace}
		_, err = l.store.Commit(ctx, Commit{Now: l.now(), SpendFlow: f.ID})
	}
	if err != nil {
		l.count(a, err)
		return Outcome{}, err
	}
	flow := t.flow(sdk.Flow{ID: f.ID, Kind: f.Kind, Form: f.Form, StartedAt: f.CreatedAt}, state)
	out, err := l.land(ctx, a, flow)
	l.count(a, err)
	out.Return = t.Return
	return out, err
}

// tripOf finds the flow of a state, if it is for this provider and browser.
func (l *Login) tripOf(ctx context.Context, state, browser string, kinds []sdk.FlowKind, provider string) (Flow, trip, error) {
	hash, ok := hashOf(purposeState, state)
	if !ok {
		return Flow{}, trip{}, ErrSpent
	}
	f, err := l.store.Flow(ctx, hash, l.now())
	if err != nil {
		return Flow{}, trip{}, err
	}
	var t trip
	if err := opened(l.trips, f, &t); err != nil {
		return Flow{}, trip{}, err
	}
	// A logout is begun by a program, whose browser shows nothing. Its answer ends no more than
	// what the other site signed.
	bound := f.Kind != sdk.FlowLogout
	if !slices.Contains(kinds, f.Kind) || f.Provider != provider || bound && !t.began(browser) {
		return Flow{}, trip{}, ErrSpent
	}
	return f, t, nil
}

// began reports whether a browser is the one that a trip began in.
func (t trip) began(browser string) bool {
	return browser != "" && subtle.ConstantTimeCompare(t.Browser, browserHash(browser)) == 1
}

// land asks the provider what a flow that is back has come to, and settles the answer. When
// the ground has shifted the same answer is settled again: the provider could not redeem what
// it got another time. Only an entry of its own that changed makes its answer void.
func (l *Login) land(ctx context.Context, a Attempt, flow sdk.Flow) (Outcome, error) {
	var answer plugin.Answer
	asked := false
	return l.repeat(ctx, func() (Outcome, error) {
		if !asked {
			var err error
			if answer, err = l.ask(ctx, l.providers.Continue, a, flow); err != nil {
				return Outcome{}, err
			}
			asked = true
		}
		out, err := l.landed(ctx, a, answer)
		if errors.Is(err, ErrEntryChanged) {
			asked = false
		}
		return out, err
	})
}

// landed turns the answer of a flow that is back into one commit.
func (l *Login) landed(ctx context.Context, a Attempt, answer plugin.Answer) (Outcome, error) {
	a.distrusted = answer.Distrusted
	c := Commit{Now: l.now(), Writes: answer.Writes}
	switch step := answer.Step; {
	case step.Denied != nil:
		return Outcome{}, &Denied{Code: step.Denied.Code, Fields: step.Denied.Fields}
	case step.Done != nil && a.Kind == sdk.FlowLogin && a.Away.Return == nil:
		return l.loggedIn(ctx, c, a, step.Done.Identity)
	case step.Done != nil && a.Kind == sdk.FlowLogin:
		return l.loginCode(ctx, c, a, step.Done.Identity)
	case step.Done != nil && a.Kind == sdk.FlowLink && a.Away.Return != nil && a.Caller != nil:
		return l.linkCode(ctx, c, a, step.Done.Identity)
	case step.Logout != nil && a.Kind == sdk.FlowLogout:
		return l.loggedOut(ctx, c, a, *step.Logout)
	}
	return Outcome{}, l.unsupported(a)
}

// call is how a provider is asked.
type call func(ctx context.Context, provider string, flow sdk.Flow, req sdk.Request) (plugin.Answer, error)

// ask calls a provider with what came from another site, or from a form, and counts how that
// ended if it was a login.
func (l *Login) ask(ctx context.Context, call call, a Attempt, flow sdk.Flow) (plugin.Answer, error) {
	answer, err := call(ctx, a.Provider, flow, l.request(a))
	if flow.Kind != sdk.FlowLogin && flow.Kind != sdk.FlowLink {
		return answer, err
	}
	kind, step := l.providers.Kind(a.Provider), answer.Step
	switch {
	case err != nil:
		l.sites.observe(a.Provider, kind, "", err)
	case step.Denied != nil:
		l.sites.observe(a.Provider, kind, step.Party, &Denied{Code: step.Denied.Code})
	case step.Done != nil:
		l.sites.observe(a.Provider, kind, step.Party, nil)
	}
	return answer, err
}

// Kinds of the providers that speak to other sites, by their manifests.
const (
	KindOAuth = "oauth"
	KindSAML  = "saml"
)

func (l *Login) unsupported(a Attempt) error {
	return fmt.Errorf("provider %s, %s: %w", a.Provider, a.Kind, ErrUnsupported)
}

// browserHash is what is kept of what a browser shows.
func browserHash(shown string) []byte {
	sum := sha256.Sum256([]byte("browser" + shown))
	return sum[:]
}

// newSecret returns 256 random bits as text, which is also a verifier of RFC 7636 §4.1.
func newSecret() string { return base64.RawURLEncoding.EncodeToString(seal.Random(32)) }

// IsToken reports whether s has the form of what newSecret returns, in its one spelling.
func IsToken(s string) bool {
	_, ok := hashOf(purposeMail, s)
	return ok
}

// NewBrowser returns what a browser that shows nothing yet is given to show.
func NewBrowser() string { return newSecret() }

// sealed encrypts what a flow remembers.
func sealed(box *seal.Ring, flowID string, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("flow %s: encode what it remembers: %w", flowID, err)
	}
	return box.Seal(plain, flowID), nil
}

// opened decrypts what sealed made.
func opened(box *seal.Ring, f Flow, v any) error {
	plain, err := box.Open(f.Sealed, f.ID)
	if errors.Is(err, seal.ErrOpen) {
		return fmt.Errorf("flow %s: %w: %w", f.ID, ErrSpent, err) // by a key that is gone
	}
	if err == nil {
		err = json.Unmarshal(plain, v)
	}
	if err != nil {
		return fmt.Errorf("flow %s: %w", f.ID, err)
	}
	return nil
}

// identityOf is the identity that a commit logs in with.
func identityOf(c Commit) string {
	if c.NewIdentity != nil {
		return c.NewIdentity.ID
	}
	return c.TouchIdentity
}

// Logout begins to end, at the other site, the login that a session began with. Its Outcome
// says where the browser takes the request, if anybody there has to be told. It does not end
// the session here: the caller does, before.
func (l *Login) Logout(ctx context.Context, a Attempt) (Outcome, error) {
	s, err := l.store.Session(ctx, a.Caller.SessionID)
	if err != nil {
		return Outcome{}, fmt.Errorf("log out: %w", err)
	}
	linked, err := l.store.IdentitiesOf(ctx, a.Caller.UserID)
	if err != nil {
		return Outcome{}, err
	}
	i := slices.IndexFunc(linked, func(i account.Identity) bool {
		return i.ID == s.IdentityID && i.Provider == a.Provider && i.UserID == s.UserID
	})
	if i < 0 {
		return Outcome{LoggedOut: true}, nil
	}
	a.Kind, a.Form, a.Fields = sdk.FlowLogout, FormRedirect, map[string]string{"issuer": linked[i].Issuer}
	flow := sdk.Flow{
		ID: account.NewID(), Kind: a.Kind, Form: a.Form, StartedAt: l.now(),
		Subject: linked[i].Subject, Session: s.Upstream,
	}
	out, err := l.repeat(ctx, func() (Outcome, error) { return l.depart(ctx, a, flow) })
	if denied, ok := errors.AsType[*Denied](err); ok && denied.Code == sdk.CodeSAMLNotConfigured {
		return Outcome{LoggedOut: true}, nil
	}
	out.LoggedOut = err == nil
	return out, err
}

// loggedOut ends the sessions that the other site says have ended.
func (l *Login) loggedOut(ctx context.Context, c Commit, a Attempt, step sdk.Logout) (Outcome, error) {
	out := Outcome{LoggedOut: true}
	if step.URL != "" {
		out.Leave = &Leave{step.URL, step.Fields}
	}
	if step.Subject != "" {
		user, linked, err := l.store.UserByIdentity(ctx, a.Provider, issuerOf(a.Provider, step.Issuer), step.Subject)
		if err != nil && !errors.Is(err, account.ErrNotFound) {
			return Outcome{}, err
		}
		if err == nil {
			c.RevokeSessions = &RevokeSessions{
				UserID: user.ID, IdentityID: linked.ID, Upstream: step.Sessions,
				Reason: "logout at the identity provider", TokensDead: l.sessions.TokensDead(c.Now),
			}
		}
	}
	if err := l.commit(ctx, c); err != nil {
		return Outcome{}, err
	}
	return out, nil
}
