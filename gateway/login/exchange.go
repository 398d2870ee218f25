package login

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/sdk"
)

const (
	codeTTL = time.Minute     // the page that gets a code trades it at once
	linkTTL = 5 * time.Minute // the page that gets the URL of a link goes there at once; somebody may have to click
)

// ErrCaller says that a one-time code links a login, and that nobody is logged in who could
// want that. The code is as good as before.
var ErrCaller = errors.New("code needs the session that began the link")

// claim is what a one-time code stands for, sealed in its row.
type claim struct {
	Challenge string
	Identity  sdk.Identity
	Workspace string
	Caller    *Caller // link: who began it
}

// loginCode ends a login with a one-time code. The user is found or made now, so that what
// the account rules say reaches the page that began; the session waits for the code, so that
// a code which nobody trades leaves none.
func (l *Login) loginCode(ctx context.Context, c Commit, a Attempt, id sdk.Identity) (Outcome, error) {
	user, err := l.admitted(ctx, &c, a, id)
	if err != nil {
		return Outcome{}, err
	}
	return l.code(ctx, c, a, user.ID, claim{Identity: id})
}

// linkCode ends the way to the other site of a link. Nothing is linked yet: whoever gets
// somebody else to follow the URL of a link ends up with a code that is of no use without
// the session of both.
func (l *Login) linkCode(ctx context.Context, c Commit, a Attempt, id sdk.Identity) (Outcome, error) {
	return l.code(ctx, c, a, a.Caller.UserID, claim{Identity: id, Caller: a.Caller})
}

func (l *Login) code(ctx context.Context, c Commit, a Attempt, userID string, w claim) (Outcome, error) {
	w.Challenge, w.Workspace = a.Away.Return.Challenge, a.Away.Workspace
	id := account.NewID()
	sealed, err := sealed(l.claims, id, w)
	if err != nil {
		return Outcome{}, err
	}
	code, hash := newToken(purposeExchange)
	c.NewFlow = &Flow{
		ID: id, Hash: hash, Provider: a.Provider, Kind: a.Kind, Form: a.Form, UserID: userID, Sealed: sealed,
		CreatedAt: c.Now, ExpiresAt: c.Now.Add(codeTTL),
	}
	if err := l.commit(ctx, c); err != nil {
		return Outcome{}, err
	}
	return Outcome{Code: code}, nil
}

// Exchange trades a one-time code for a session, or for the link that it stands for, which
// the caller of the attempt must have begun. It returns [ErrSpent] for a code that is
// unknown, expired or used, and for a verifier or a caller that is not the code's, which
// spends it: there is no second guess.
func (l *Login) Exchange(ctx context.Context, code, verifier string, a Attempt) (Outcome, error) {
	return l.repeat(ctx, func() (Outcome, error) { return l.exchange(ctx, code, verifier, a) })
}

func (l *Login) exchange(ctx context.Context, code, verifier string, a Attempt) (Outcome, error) {
	hash, ok := hashOf(purposeExchange, code)
	if !ok {
		return Outcome{}, ErrSpent
	}
	f, err := l.store.Flow(ctx, hash, l.now())
	if err != nil {
		return Outcome{}, err
	}
	var w claim
	if err := opened(l.claims, f, &w); err != nil {
		return Outcome{}, err
	}
	c := Commit{Now: l.now(), SpendFlow: f.ID}
	if !verifies(verifier, w.Challenge) || w.Caller != nil && a.Caller != nil && *w.Caller != *a.Caller {
		return Outcome{}, l.forfeit(ctx, c)
	}
	caller := a.Caller
	a.Provider, a.Kind, a.Form, a.Caller, a.Away = f.Provider, f.Kind, f.Form, nil, &Away{Workspace: w.Workspace}
	if f.Kind == sdk.FlowLink {
		if caller == nil {
			return Outcome{}, ErrCaller
		}
		return l.linked(ctx, c, a, caller.UserID, w.Identity)
	}
	user, err := l.prove(ctx, &c, a, w.Identity)
	if err != nil {
		return Outcome{}, err
	}
	if user.ID != f.UserID {
		return Outcome{}, l.forfeit(ctx, Commit{Now: c.Now, SpendFlow: f.ID}) // the identity changed hands
	}
	return l.open(ctx, c, a, user, w.Identity)
}

// forfeit spends a code that gets nothing.
func (l *Login) forfeit(ctx context.Context, c Commit) error {
	if err := l.commit(ctx, c); err != nil {
		return err
	}
	return ErrSpent
}

// verifies reports whether a verifier is that of a challenge. RFC 7636 §4.6.
func verifies(verifier, challenge string) bool {
	if !isVerifier(verifier) {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// isVerifier reports whether s has the form of RFC 7636 §4.1.
func isVerifier(s string) bool {
	if len(s) < 43 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}

// IsChallenge reports whether s can be the S256 challenge of a verifier.
func IsChallenge(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == sha256.Size && len(s) == 43
}

// started is a link that waits for its browser.
type started struct {
	Caller Caller
	Return Return

	flow string // id of its row
}

// StartLink prepares a link of a login at a provider to the caller, and returns the one-time
// token by which a browser begins it; see [Away.Link].
func (l *Login) StartLink(ctx context.Context, provider string, caller Caller, back Return) (string, error) {
	now, id := l.now(), account.NewID()
	sealed, err := sealed(l.links, id, started{Caller: caller, Return: back})
	if err != nil {
		return "", err
	}
	token, hash := newToken(purposeLink)
	err = l.commit(ctx, Commit{Now: now, NewFlow: &Flow{
		ID: id, Hash: hash, Provider: provider, Kind: sdk.FlowLink, Form: FormRedirect, UserID: caller.UserID, Sealed: sealed,
		CreatedAt: now, ExpiresAt: now.Add(linkTTL),
	}})
	if err != nil {
		return "", fmt.Errorf("start link: %w", err)
	}
	return token, nil
}

// linkOf finds the link of a token. It is spent when its browser leaves for the other site.
func (l *Login) linkOf(ctx context.Context, token, provider string) (started, error) {
	hash, ok := hashOf(purposeLink, token)
	if !ok {
		return started{}, ErrSpent
	}
	f, err := l.store.Flow(ctx, hash, l.now())
	if err != nil {
		return started{}, err
	}
	if f.Provider != provider {
		return started{}, ErrSpent
	}
	var s started
	err = opened(l.links, f, &s)
	s.flow = f.ID
	return s, err
}
