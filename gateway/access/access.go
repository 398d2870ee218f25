// Package access decides who sends a request and whether they may: it turns a bearer token
// into a [Principal], remembers verdicts, and guards handlers with the rule of their route.
// It does not check signatures (package token) nor know why a session ended (package
// session).
package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/token"
)

// Principal is who sends a request. It is shared by all requests with the same token, so
// it must not be changed.
type Principal struct {
	// Own tells a principal that this gateway named from one of another issuer. Subject and
	// SessionID are a user and a session of this gateway only if it is true.
	Own     bool
	Issuer  string
	Subject string
	TokenID string

	SessionID  string // empty for other issuers
	Generation int64
	Method     string // how they logged in: "email"; empty for other issuers

	Email        string
	Name         string
	Scopes       []string
	Roles        map[string]string // workspace id to role
	RoleNames    []string          // roles of another issuer that are bound to no workspace
	WorkspaceIDs []string
	ExpiresAt    time.Time
}

type principalKey struct{}

// PrincipalOf returns who sends the request, and false if a [Guard] let it through without
// a token or did not look.
func PrincipalOf(ctx *fasthttp.RequestCtx) (*Principal, bool) {
	p, ok := ctx.UserValue(principalKey{}).(*Principal)
	return p, ok
}

// Subject names the sender in a way that no two issuers share, for whoever keeps a budget
// for each. It is empty without a principal.
func Subject(ctx *fasthttp.RequestCtx) string {
	p, ok := PrincipalOf(ctx)
	if !ok {
		return ""
	}
	return p.Issuer + "\x00" + p.Subject
}

// verifier is what this package needs of token.Verifier.
type verifier interface {
	Verify(ctx context.Context, raw string) (token.Claims, error)
}

// Options is what [New] needs. All but the sizes are required.
type Options struct {
	Verifier verifier
	// Version changes whenever a verdict of Verifier may have changed.
	Version func() uint64
	// Revoked reports whether a session of this gateway has ended. It is asked for every
	// request, so it must be fast.
	Revoked func(sessionID string) bool
	// Seen is told the first time that a token of this gateway is seen at work.
	Seen func(sessionID string, generation int64)

	CacheSize  int // most tokens that are remembered; 0: none
	CacheBytes int // most bytes that they take; 0: 64 MiB
	Now        func() time.Time
	Registerer prometheus.Registerer
}

const defaultCacheBytes = 64 << 20

// verifyTimeout bounds how long a request waits for a verdict.
const verifyTimeout = 5 * time.Second

// retryAfter is what a client is told whose token cannot be judged now.
const retryAfter = 5 * time.Second

// Access authenticates requests. It is safe for concurrent use.
type Access struct {
	verifier verifier
	version  func() uint64
	revoked  func(string) bool
	seen     func(string, int64)
	now      func() time.Time
	cache    *cache
	metrics  *metrics
}

// New returns an Access that remembers verdicts within the given bounds.
func New(o Options) (*Access, error) {
	if o.Verifier == nil || o.Version == nil || o.Revoked == nil || o.Seen == nil || o.Now == nil || o.Registerer == nil {
		return nil, errors.New("access: Verifier, Version, Revoked, Seen, Now and Registerer are required")
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCacheBytes
	}
	cache := newCache(o.CacheSize, o.CacheBytes)
	m, err := newMetrics(o.Registerer, cache)
	if err != nil {
		return nil, fmt.Errorf("access: register metrics: %w", err)
	}
	return &Access{
		verifier: o.Verifier, version: o.Version, revoked: o.Revoked, seen: o.Seen, now: o.Now,
		cache: cache, metrics: m,
	}, nil
}

// authenticate returns the principal of a token.
//
// A hit costs two looks into maps and no allocation. Only good verdicts are remembered:
// bad tokens are free to make, so remembering them would let anybody push out the good
// ones. Nor is a verdict shared by requests that wait for it at the same time: it costs
// some 50 microseconds, less than what would be held to share it.
func (a *Access) authenticate(raw []byte) (*Principal, error) {
	version := a.version() // before the verdict, so that it never counts for too new a one
	p := a.cache.get(raw, version, a.now())
	if p != nil {
		a.metrics.hits.Inc()
		return a.unlessRevoked(p)
	}
	a.metrics.misses.Inc()
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	text := string(raw)
	claims, err := a.verifier.Verify(ctx, text)
	if err != nil {
		return nil, refusal(err)
	}
	p, err = a.unlessRevoked(newPrincipal(claims))
	if err != nil {
		return nil, err
	}
	if p.Own {
		a.seen(p.SessionID, p.Generation)
	}
	a.cache.put(text, version, a.now(), p)
	return p, nil
}

// unlessRevoked refuses the tokens of sessions that have ended. They stay in the cache:
// refusing one from there is cheaper than verifying it again.
func (a *Access) unlessRevoked(p *Principal) (*Principal, error) {
	if p.Own && a.revoked(p.SessionID) {
		return nil, challenge(edge.Unauthorized(codeRevoked, "The session has ended. Sign in again.", errRevoked), invalidToken)
	}
	return p, nil
}

func newPrincipal(c token.Claims) *Principal {
	return &Principal{
		Own: c.Own, Issuer: c.Issuer, Subject: c.Subject, TokenID: c.ID,
		SessionID: c.SessionID, Generation: c.Generation, Method: c.Method,
		Email: c.Email, Name: c.Name, Scopes: c.Scopes, Roles: c.Roles, RoleNames: c.RoleNames,
		WorkspaceIDs: c.WorkspaceIDs, ExpiresAt: c.ExpiresAt,
	}
}

type metrics struct {
	hits, misses prometheus.Counter
	refused      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, c *cache) (*metrics, error) {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "materi_access_cache_lookups_total",
		Help: "Access tokens that were looked up among the remembered ones.",
	}, []string{"result"})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "materi_access_refused_total",
		Help: "Requests that were refused, by the public code of the answer.",
	}, []string{"code"})
	entries := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "materi_access_cache_entries",
		Help: "Access tokens that are remembered.",
	}, func() float64 { n, _ := c.size(); return float64(n) })
	for _, code := range []string{codeInvalid, codeExpired, codeRevoked, codeScope, codePermissions} {
		refused.WithLabelValues(code)
	}
	m := &metrics{hits: lookups.WithLabelValues("hit"), misses: lookups.WithLabelValues("miss"), refused: refused}
	return m, errors.Join(reg.Register(lookups), reg.Register(refused), reg.Register(entries))
}
