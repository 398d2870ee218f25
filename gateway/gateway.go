// Package gateway assembles Shield: the one place where everything is built and handed
// what it needs. It decides nothing; it is wiring, a start and a stop.
package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/access"
	"github.com/materi/shield/gateway/admin"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/identity"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/mail"
	"github.com/materi/shield/gateway/password"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/plugin/process"
	"github.com/materi/shield/gateway/proxy"
	"github.com/materi/shield/gateway/ratelimit"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/gateway/store/postgres"
	"github.com/materi/shield/gateway/store/sqlite"
	"github.com/materi/shield/gateway/token"
)

// Options are the needs of [New].
type Options struct {
	Config  config.Config
	Version string
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Gateway is a whole gateway. New builds it, Serve runs it, Stop ends it.
type Gateway struct {
	cfg      config.Config
	log      *slog.Logger
	now      func() time.Time
	registry *prometheus.Registry

	store    *store.Store
	redis    redis.UniversalClient // nil: not configured
	keys     *token.Keyring
	verifier *token.Verifier
	limiter  *ratelimit.Limiter
	plugins  *plugin.Host
	sessions *session.Keeper
	outbox   *mail.Sender // nil: no mail is configured
	login    *login.Login
	api      *identity.API
	access   *access.Access
	proxy    *proxy.Proxy
	admin    *admin.Admin
	public   *edge.Server
	private  *edge.Server // probes and metrics on a listener of their own; nil: not configured

	schemaReady   atomic.Bool // the schema is up to date and its readers run
	pluginsLoaded atomic.Bool // all providers were there at some moment

	reload  sync.Mutex // one at a time
	reloads *reloads

	unsure   context.Context // ends when tokens are judged by the revocations that are known, if any
	run      context.Context // ends when the background work must end
	end      context.CancelFunc
	work     sync.WaitGroup
	start    sync.Once
	cleanups []func(context.Context) error // run last in, first out
	stop     sync.Once
	stopErr  error
}

// New builds a gateway from a configuration that [config.Load] accepted. It makes the data
// directory and what is missing in it, but neither listens nor waits for a database, a
// Redis or a plugin. A gateway that was built must be stopped.
func New(o Options) (g *Gateway, err error) {
	g = &Gateway{cfg: o.Config, log: o.Log, now: o.Now, registry: prometheus.NewRegistry()}
	if g.now == nil {
		g.now = time.Now
	}
	g.run, g.end = context.WithCancel(context.Background())
	unsure, sure := context.WithTimeout(g.run, unsureAtMost)
	g.unsure = unsure
	g.cleanup(func(context.Context) error { sure(); return nil })
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Stop(context.Background()))
			g = nil
		}
	}()
	g.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	if g.reloads, err = newReloads(g.registry); err != nil {
		return g, err
	}
	if err := os.MkdirAll(g.cfg.DataDir, 0o700); err != nil {
		return g, fmt.Errorf("data directory: %w", err)
	}
	key, err := secretKey(g.cfg)
	if err != nil {
		return g, err
	}
	for _, build := range []func(*seal.Key) error{
		g.buildStore, g.buildTokens, g.buildLimits, g.buildPlugins, g.buildIdentity, g.buildAccess,
	} {
		if err := build(key); err != nil {
			return g, err
		}
	}
	return g, g.buildServers(o.Version)
}

// OpenStore opens the database that a configuration names, without waiting for it.
func OpenStore(ctx context.Context, cfg config.Database) (*store.Store, error) {
	url := cfg.URL.Reveal()
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("directory of the database: %w", err)
		}
		return sqlite.Open(ctx, path)
	}
	return postgres.Open(ctx, url, cfg.PoolSize)
}

// KeysDir is where a gateway keeps its signing keys if the configuration gives none.
func KeysDir(cfg config.Config) string { return filepath.Join(cfg.DataDir, "keys") }

func (g *Gateway) buildStore(*seal.Key) (err error) {
	if g.store, err = OpenStore(g.run, g.cfg.Database); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	g.cleanup(func(context.Context) error { g.store.Close(); return nil })
	return nil
}

func (g *Gateway) buildTokens(*seal.Key) (err error) {
	g.keys, err = token.OpenKeyring(token.KeyringOptions{
		Config: g.cfg.Token, Dir: KeysDir(g.cfg), Now: g.now, Log: g.log, Registerer: g.registry,
	})
	if err != nil {
		return err
	}
	g.verifier, err = token.NewVerifier(token.VerifierOptions{
		Keyring: g.keys, Config: g.cfg.Token, Issuers: g.cfg.Issuers, Now: g.now, Log: g.log, Registerer: g.registry,
	})
	return err
}

func (g *Gateway) buildLimits(key *seal.Key) (err error) {
	if !g.cfg.Redis.URL.Empty() {
		if g.redis, err = ratelimit.Dial(g.cfg.Redis); err != nil {
			return err
		}
		g.cleanup(func(context.Context) error { return g.redis.Close() })
	}
	g.limiter, err = ratelimit.New(ratelimit.Options{
		Limits: g.cfg.RateLimits, Redis: g.redis, Prefix: g.cfg.Redis.KeyPrefix,
		Key: key.Derive("limits"), Subject: access.Subject, Now: g.now, Log: g.log, Registerer: g.registry,
	})
	return err
}

func (g *Gateway) buildPlugins(*seal.Key) error {
	hasher, err := password.New(password.Options{Log: g.log})
	if err != nil {
		return err
	}
	g.plugins, err = plugin.New(plugin.Options{
		Providers: g.cfg.Providers, Plugins: g.cfg.Plugins, CacheDir: filepath.Join(g.cfg.DataDir, "cache"), ProcessDir: processDir(g.cfg.DataDir), KV: g.store, Passwords: hasher,
		Log: g.log, Registerer: g.registry, Now: g.now,
	})
	if err != nil {
		return err
	}
	g.cleanup(g.plugins.Stop)
	return nil
}

// processDir is where plugins that are processes have their copies and sockets: in the data
// directory, unless its path is too long for that of a socket.
func processDir(dataDir string) string {
	dir := filepath.Join(dataDir, "processes")
	if len(dir) <= process.MaxDir {
		return dir
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(os.TempDir(), fmt.Sprintf("shield-%x", sum[:8]))
}

func (g *Gateway) buildIdentity(key *seal.Key) (err error) {
	g.sessions, err = session.New(session.Options{
		Store: g.store, Key: key, Config: g.cfg.Session, AccessTTL: g.cfg.Token.AccessTTL, Leeway: g.cfg.Token.Leeway,
		Now: g.now, Log: g.log, Registerer: g.registry,
	})
	if err != nil {
		return err
	}
	outbox, err := g.buildMail(key)
	if err != nil {
		return err
	}
	previous, err := previousKeys(g.cfg)
	if err != nil {
		return err
	}
	g.login, err = login.New(login.Options{
		Store: g.store, Providers: g.plugins, Sessions: g.sessions, Outbox: outbox, Key: key, Previous: previous,
		Config: g.cfg.Login, PublicURL: g.cfg.Server.PublicURL, Now: g.now, Log: g.log, Registerer: g.registry,
	})
	if err != nil {
		return err
	}
	issuer, err := token.NewIssuer(g.keys, g.cfg.Token, g.now)
	if err != nil {
		return err
	}
	g.api, err = identity.New(identity.Options{
		Flows: g.login, Sessions: g.sessions, Users: g.store, Issuer: issuer, JWKS: g.keys.JWKS,
		Providers: g.plugins.Providers, Loading: g.loading, Document: g.plugins.Document, Limiter: g.limiter,
		Proven:      g.login.Proven,
		Unavailable: func(err error) bool { return errors.Is(err, store.ErrUnavailable) },
		PublicURL:   g.cfg.Server.PublicURL, Token: g.cfg.Token, Session: g.cfg.Session, Login: g.cfg.Login,
		BodyBytes: int64(g.cfg.Server.Limits.IdentityBytes), Now: g.now,
	})
	return err
}

// buildMail returns where login leaves its mails. Only a gateway without providers may have
// no way to send them.
func (g *Gateway) buildMail(key *seal.Key) (login.Outbox, error) {
	if g.cfg.Mail.Directory == "" && g.cfg.Mail.SMTP.Host == "" {
		return mail.None{}, nil
	}
	sender, err := mail.New(mail.Options{
		Config: g.cfg.Mail, Box: key.Box("mail"), Store: g.store, Now: g.now, Log: g.log, Registerer: g.registry,
	})
	if err != nil {
		return nil, err
	}
	g.outbox = sender
	return sender, nil
}

func (g *Gateway) buildAccess(*seal.Key) (err error) {
	g.access, err = access.New(access.Options{
		Verifier: g.verifier, Version: g.verifier.Version, Revoked: g.revoked, Seen: g.sessions.Seen,
		CacheSize: g.cfg.Token.CacheSize, Now: g.now, Registerer: g.registry,
	})
	if err != nil {
		return err
	}
	g.proxy, err = proxy.New(proxy.Options{
		Upstreams: g.cfg.Upstreams, BodyBytes: int64(g.cfg.Server.Limits.BodyBytes), Trace: g.cfg.Tracing.Enabled,
		OwnCookies: identity.Cookies(g.cfg.Server.PublicURL), Registerer: g.registry,
	})
	if err != nil {
		return err
	}
	g.cleanup(func(context.Context) error { g.proxy.Close(); return nil })
	return nil
}

func (g *Gateway) buildServers(version string) (err error) {
	g.admin, err = admin.New(admin.Options{
		Version: version, Checks: g.checks(), Metrics: g.cfg.Admin.Metrics, Gatherer: g.registry, Log: g.log, Now: g.now,
	})
	if err != nil {
		return err
	}
	table, err := g.routes()
	if err != nil {
		return err
	}
	g.public, err = edge.New(edge.Options{
		Config: g.cfg.Server, Handler: serve(table), Admit: admit(table), AnyHost: probePaths(),
		AccessLog: g.cfg.Log.Access, Log: g.log, Registerer: g.registry, Now: g.now,
	})
	if err != nil || g.cfg.Admin.Listen == "" {
		return err
	}
	probes, err := g.privateRoutes()
	if err != nil {
		return err
	}
	section := g.cfg.Server
	section.AllowedHosts = []string{"*"} // probes name the pod, not a host
	g.private, err = edge.New(edge.Options{
		Config: section, Handler: serve(probes), Log: g.log, Now: g.now,
		Registerer: prometheus.NewRegistry(), // its requests are no traffic
	})
	return err
}

// Run listens where the configuration says and serves until ctx ends, then drains and
// stops. It returns nil after a clean end.
func (g *Gateway) Run(ctx context.Context) error {
	public, err := net.Listen("tcp", g.cfg.Server.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("listen: %w", err), g.Stop(context.Background()))
	}
	failed := make(chan error, 2)
	var serving sync.WaitGroup
	serving.Go(func() { failed <- g.Serve(public) })
	if g.private != nil {
		private, err := net.Listen("tcp", g.cfg.Admin.Listen)
		if err != nil {
			err = errors.Join(fmt.Errorf("listen: %w", err), g.Stop(context.Background()))
			serving.Wait()
			return err
		}
		serving.Go(func() { failed <- g.private.Serve(private) })
	}
	g.log.Info("listening", "address", public.Addr().String())
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	g.log.Info("draining")
	g.admin.Drain()
	g.public.Drain()
	wait(g.cfg.Server.Timeouts.Grace)
	bound, cancel := context.WithTimeout(context.Background(), g.cfg.Server.Timeouts.Drain)
	defer cancel()
	err = errors.Join(err, g.Stop(bound))
	serving.Wait()
	g.log.Info("stopped")
	return err
}

// Serve starts the background work, and serves on a listener until [Gateway.Stop]. It may
// be called for several listeners.
func (g *Gateway) Serve(ln net.Listener) error {
	g.start.Do(g.background)
	return g.public.Serve(ln)
}

// Stop makes readiness say no, stops accepting, lets running requests finish for as long
// as ctx allows, ends the background work and closes what was opened. It is idempotent.
func (g *Gateway) Stop(ctx context.Context) error {
	g.stop.Do(func() { g.stopErr = g.shutdown(ctx) })
	return g.stopErr
}

func (g *Gateway) shutdown(ctx context.Context) error {
	var errs []error
	if g.admin != nil {
		g.admin.Drain()
	}
	if g.public != nil {
		errs = append(errs, g.public.Shutdown(ctx))
	}
	g.end()
	g.work.Wait()
	for i := len(g.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, g.cleanups[i](ctx))
	}
	if g.private != nil { // last, so that probes see the end
		errs = append(errs, g.private.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

func (g *Gateway) cleanup(f func(context.Context) error) { g.cleanups = append(g.cleanups, f) }

func wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}
