package gateway

import (
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/access"
	"github.com/materi/shield/gateway/admin"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/identity"
	"github.com/materi/shield/gateway/ratelimit"
	"github.com/materi/shield/gateway/route"
)

// target is what a route leads to: its stages, composed once, and for a request that asks
// before it sends a body, those that can decide without the body.
type target struct {
	serve edge.Handler
	admit edge.Handler
}

type paramsKey struct{}

// serve sends a request down its route.
func serve(table *route.Table[target]) edge.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		m, err := edge.Match(ctx, table)
		if err != nil {
			return err
		}
		if len(m.Params) > 0 {
			ctx.SetUserValue(paramsKey{}, &m)
		}
		return m.Value.serve(ctx)
	}
}

// admit decides whether a client that waits for "100 Continue" may send its body.
func admit(table *route.Table[target]) edge.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		m, err := edge.Match(ctx, table)
		if err != nil {
			return err
		}
		return m.Value.admit(ctx)
	}
}

func param(ctx *fasthttp.RequestCtx) func(string) string {
	m, ok := ctx.UserValue(paramsKey{}).(*route.Match[target])
	if !ok {
		return func(string) string { return "" }
	}
	return m.Param
}

// routes is the table of the public listener: the gateway's own endpoints and the
// configured routes. Whatever would answer a request in two ways is an error.
func (g *Gateway) routes() (*route.Table[target], error) {
	var entries []route.Entry[target]
	own, err := g.ownEndpoints()
	if err != nil {
		return nil, err
	}
	entries = append(entries, own...)
	entries = append(entries, probeEntries(metricsArePublic(g.cfg), g.probed)...)
	for _, r := range g.cfg.Routes {
		t, err := g.proxied(r)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Name, err)
		}
		entries = append(entries, configured(r, t))
	}
	table, err := route.New(entries)
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	return table, nil
}

// privateRoutes is the table of the private listener.
func (g *Gateway) privateRoutes() (*route.Table[target], error) {
	return route.New(probeEntries(true, g.probed))
}

func pass(*fasthttp.RequestCtx) error { return nil }

// guarded composes a guard with what stands behind it.
func (g *Gateway) guarded(rule access.Rule, next edge.Handler) (target, error) {
	serve, err := g.access.Guard(rule, next)
	if err != nil {
		return target{}, err
	}
	admit, err := g.access.Guard(rule, pass)
	return target{serve, admit}, err
}

// proxied composes the stages of a configured route, in the order in which a request meets
// them: limits that need not know who it is, then who, then limits by person, then upstream.
func (g *Gateway) proxied(r config.Route) (target, error) {
	forward, err := g.proxy.Handler(r, g.setIdentity)
	if err != nil {
		return target{}, err
	}
	after, err := g.limiter.After(r.RateLimits, forward)
	if err != nil {
		return target{}, err
	}
	t, err := g.guarded(access.Rule{Auth: access.Auth(r.Auth), Scopes: r.Scopes, Roles: r.Roles}, after)
	if err != nil {
		return target{}, err
	}
	if t.admit, err = g.limiter.Before(r.RateLimits, t.admit); err != nil {
		return target{}, err
	}
	t.serve, err = g.limiter.Before(r.RateLimits, t.serve)
	return t, err
}

// setIdentity tells an upstream who is calling. A user id without more is a user of this
// gateway: the subject of another issuer is told behind the name that the configuration
// gives that issuer, so that no issuer can name the users of another.
func (g *Gateway) setIdentity(ctx *fasthttp.RequestCtx, set func(name, value string)) {
	p, ok := access.PrincipalOf(ctx)
	if !ok {
		return
	}
	subject := p.Subject
	if !p.Own {
		subject = g.issuerName(p.Issuer) + ":" + subject
	}
	set("X-User-ID", subject)
	set("X-User-Email", p.Email)
	set("X-User-Name", p.Name)
	set("X-User-Roles", strings.Join(p.AllRoles(), ","))
	set("X-Workspace-IDs", strings.Join(p.WorkspaceIDs, ","))
	set("X-Session-ID", p.SessionID)
	set("X-Auth-Method", p.Method)
}

func (g *Gateway) issuerName(issuer string) string {
	for _, i := range g.cfg.Issuers {
		if i.Issuer == issuer {
			return i.Name
		}
	}
	return issuer // not reached: tokens of other issuers are not accepted
}

// ownEndpoints are those of package identity, behind their guards.
func (g *Gateway) ownEndpoints() ([]route.Entry[target], error) {
	var entries []route.Entry[target]
	for _, e := range g.api.Endpoints() {
		handler := ratelimit.Headers(func(ctx *fasthttp.RequestCtx) error { return e.Serve(ctx, param(ctx)) })
		rule := access.Rule{Auth: e.Auth, Own: e.Auth != access.Public}
		t, err := g.guarded(rule, handler)
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		entries = append(entries, paths(e, t)...)
	}
	return entries, nil
}

// paths are the entries of an endpoint, with and without the version prefix.
func paths[T any](e identity.Endpoint, value T) []route.Entry[T] {
	var entries []route.Entry[T]
	for _, prefix := range []string{"", "/v1"} {
		entry := route.Entry[T]{Name: e.Name, Methods: []string{e.Method}, Value: value}
		if strings.Contains(e.Pattern, "{") {
			entry.Pattern = prefix + e.Pattern
		} else {
			entry.Path = prefix + e.Pattern
		}
		entries = append(entries, entry)
	}
	return entries
}

// CheckRoutes reports routes of a configuration that would answer what the gateway answers
// itself, which a configuration alone cannot tell.
func CheckRoutes(cfg config.Config) error {
	var entries []route.Entry[struct{}]
	for _, e := range (*identity.API)(nil).Endpoints() {
		entries = append(entries, paths(e, struct{}{})...)
	}
	entries = append(entries, probeEntries(metricsArePublic(cfg), func(probe) struct{} { return struct{}{} })...)
	for _, r := range cfg.Routes {
		entries = append(entries, configured(r, struct{}{}))
	}
	_, err := route.New(entries)
	return err
}

// configured is the entry of a configured route.
func configured[T any](r config.Route, value T) route.Entry[T] {
	return route.Entry[T]{Name: r.Name, Host: r.Host, Path: r.Path, Prefix: r.Prefix, Methods: r.Methods, Value: value}
}

// probe is what operators' machines ask, and how it is answered.
type probe struct {
	name, path string
	anyHost    bool // answered whatever host a request names: a prober knows an address only
	serve      func(*admin.Admin, *fasthttp.RequestCtx) error
}

var probes = []probe{
	{"health", "/health", true, (*admin.Admin).Health},
	{"ready", "/ready", true, (*admin.Admin).Ready},
	{"metrics", "/metrics", false, (*admin.Admin).Metrics},
}

// paths are those of a probe: each answers with and without its slash.
func (p probe) paths() []string { return []string{p.path, p.path + "/"} }

// probePaths are answered whatever host a request names.
func probePaths() []string {
	var all []string
	for _, p := range probes {
		if p.anyHost {
			all = append(all, p.paths()...)
		}
	}
	return all
}

// metricsArePublic reports whether /metrics/ is on the public listener.
func metricsArePublic(cfg config.Config) bool { return cfg.Admin.Listen == "" }

func probeEntries[T any](metrics bool, value func(probe) T) []route.Entry[T] {
	var entries []route.Entry[T]
	for _, p := range probes {
		if p.name == "metrics" && !metrics {
			continue
		}
		for _, path := range p.paths() {
			entries = append(entries, route.Entry[T]{Name: p.name, Path: path, Methods: []string{"GET"}, Value: value(p)})
		}
	}
	return entries
}

func (g *Gateway) probed(p probe) target {
	return target{func(ctx *fasthttp.RequestCtx) error { return p.serve(g.admin, ctx) }, pass}
}
