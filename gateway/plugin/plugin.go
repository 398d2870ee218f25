// Package plugin hosts identity providers: it loads them, grants them what the operator
// allows, calls them with a deadline, and keeps one provider's trouble from the others. It
// knows neither HTTP nor users (package login). The transports are packages below it.
//
// A call ends in one of three ways that are never mixed: an [Answer], which has been held
// to the contract; an [*sdk.Error], which is the provider's own; or a [*Fault], which is
// the plugin's breakdown. Any other error is the host's: a [*CircuitOpen], a database that is
// away, the caller's context.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/egress"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// Errors of [Host].
var (
	ErrUnknown = errors.New("no such provider")
	// ErrPending is what [Host.Ready] says of a provider that is still being loaded.
	ErrPending = errors.New("provider is being loaded")
)

// Reader reads the committed key-value entries of a provider that have not expired.
type Reader interface {
	KV(ctx context.Context, provider, key string, now time.Time) (sdk.Entry, bool, error)
}

// Options are what a [Host] needs. CacheDir may be empty: then each start compiles anew.
type Options struct {
	Providers  []config.Provider
	Plugins    config.Plugins
	CacheDir   string // private directory of compiled code, see wasm.Open
	ProcessDir string // private directory of processes, see process.Open
	KV         Reader
	Passwords  sdk.Passwords
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
	Resolver   egress.Resolver // of the names that plugins ask for; nil: the system's
}

// Host holds the configured providers. It is safe for concurrent use.
type Host struct {
	kv         Reader
	passwords  sdk.Passwords
	log        *slog.Logger
	now        func() time.Time
	cacheDir   string
	processDir string
	metrics    *metrics
	scribe     *scribe
	resolver   egress.Resolver
	transport  transport
	linger     time.Duration

	loading sync.Mutex // held while providers are loaded: one load at a time
	trust   trust      // belongs to who loads

	life  context.Context // ends when calls of generations that close must stop
	end   context.CancelFunc
	alive sync.WaitGroup // the generations that are not closed

	mu        sync.RWMutex
	providers []*provider // in configured order
	leaving   []*provider // were removed, and may still finish calls
	stopped   bool
}

// Info is what login pages and the operator see of a provider.
type Info struct {
	Name     string
	Label    string
	Headers  []string // of a request, that it is shown
	Manifest sdk.Manifest

	TrustEmail     []string // domains of whose addresses its word is believed
	AllowedDomains []string // who may log in through it; none: everybody
}

// Answer is what a provider said. Writes belong to it: both are committed together, or
// neither is.
type Answer struct {
	Step   sdk.Step
	Writes []Write
	// Distrusted says that it comes from older settings than those that say whose addresses
	// are believed: of this answer none is.
	Distrusted bool
}

// New returns a host whose providers are not loaded yet; see [Host.Load].
func New(opts Options) (*Host, error) {
	if opts.KV == nil || opts.Passwords == nil || opts.Log == nil || opts.Registerer == nil || opts.Now == nil {
		return nil, errors.New("plugin: KV, Passwords, Log, Registerer and Now are required")
	}
	trust, err := newTrust(opts.Plugins)
	if err != nil {
		return nil, fmt.Errorf("plugin: key %w", err)
	}
	h := &Host{
		kv: opts.KV, passwords: opts.Passwords, log: opts.Log, now: opts.Now,
		cacheDir: opts.CacheDir, processDir: opts.ProcessDir, resolver: opts.Resolver, trust: trust, linger: lingerTime,
	}
	h.transport = h.open
	h.life, h.end = context.WithCancel(context.Background())
	if h.metrics, err = newMetrics(opts.Registerer, h); err != nil {
		return nil, fmt.Errorf("plugin: register metrics: %w", err)
	}
	h.scribe = newScribe(opts.Log, opts.Now, h.metrics.dropped)
	for _, cfg := range opts.Providers {
		h.providers = append(h.providers, h.newProvider(cfg))
	}
	return h, nil
}

func (h *Host) newProvider(cfg config.Provider) *provider {
	h.metrics.know(cfg.Name)
	return &provider{name: cfg.Name, host: h, cfg: cfg, err: ErrPending}
}

// Ready returns for each provider why it cannot be used, or nil if it can.
func (h *Host) Ready() map[string]error {
	ready := make(map[string]error)
	for _, p := range h.list() {
		s := p.state()
		switch {
		case s.current == nil:
			ready[p.name] = s.err
		default:
			ready[p.name] = health(s.current.module)
		}
	}
	return ready
}

// Stale returns the providers that are served by the generation before, with the reason
// why what is configured now could not be loaded.
func (h *Host) Stale() map[string]error {
	stale := make(map[string]error)
	for _, p := range h.list() {
		if s := p.state(); s.current != nil && s.err != nil {
			stale[p.name] = s.err
		}
	}
	return stale
}

// health asks a module that knows whether it is there.
func health(m module) error {
	if s, ok := m.(supervised); ok {
		return s.Health()
	}
	return nil
}

// Providers returns the loaded providers in the order of the configuration.
func (h *Host) Providers() []Info {
	var list []Info
	for _, p := range h.list() {
		if s := p.state(); s.current != nil {
			list = append(list, s.info())
		}
	}
	return list
}

// Info returns what is known of a configured provider. Of one that is not loaded the manifest
// is missing; whom the operator trusts is known all the same.
func (h *Host) Info(name string) (Info, bool) {
	p, ok := h.find(name)
	if !ok {
		return Info{}, false
	}
	return p.state().info(), true
}

func (s state) info() Info {
	i := Info{Name: s.cfg.Name, Label: s.cfg.Label, TrustEmail: s.cfg.TrustEmail, AllowedDomains: s.cfg.AllowedDomains}
	if s.current != nil {
		i.Headers, i.Manifest = s.current.cfg.Headers, s.current.manifest
	}
	return i
}

// Kind returns the kind of a provider, "email" or "oauth" for instance, and "unknown" while
// it is not loaded. It is fit for a metric's label: a manifest's kind is a short name and
// providers are few.
func (h *Host) Kind(name string) string {
	p, ok := h.find(name)
	if !ok {
		return "unknown"
	}
	if s := p.state(); s.current != nil {
		return s.current.manifest.Kind
	}
	return "unknown"
}

// Begin starts a flow at a provider. It returns [ErrUnknown] for one that is not
// configured; see the package comment for the other errors. The answer's writes have to
// be committed, and if that fails because of a checked write the call has to be made anew.
func (h *Host) Begin(ctx context.Context, provider string, flow sdk.Flow, req sdk.Request) (Answer, error) {
	return h.call(ctx, provider, wire.Begin, flow, req)
}

// Continue goes on with a flow, like [Host.Begin].
func (h *Host) Continue(ctx context.Context, provider string, flow sdk.Flow, req sdk.Request) (Answer, error) {
	return h.call(ctx, provider, wire.Continue, flow, req)
}

// Document asks a provider for a plain document, such as metadata. The errors are those of
// [Host.Begin]. A document commits nothing, so a provider that writes for one has failed.
func (h *Host) Document(ctx context.Context, provider string, req sdk.Request) (sdk.Response, error) {
	return h.document(ctx, provider, req)
}

// Stop unloads all providers. It waits for the calls that run until ctx ends, when it
// stops them. It is idempotent, and Load does not undo it.
func (h *Host) Stop(ctx context.Context) error {
	h.mu.Lock()
	h.stopped = true
	var all []*generation
	for _, p := range slices.Concat(h.providers, h.leaving) {
		all = append(all, p.stop()...)
	}
	h.mu.Unlock()
	errs := make([]error, len(all))
	for i, g := range all {
		go func() {
			defer h.alive.Done()
			errs[i] = g.close(ctx)
		}()
	}
	defer context.AfterFunc(ctx, h.end)()
	h.alive.Wait() // also for those that were closing already
	h.end()
	return errors.Join(errs...)
}

// closing closes a generation that was replaced, in the background.
func (h *Host) closing(g *generation) {
	go func() {
		defer h.alive.Done()
		name := g.cfg.Name
		if err := g.close(h.life); err != nil {
			h.log.Warn("cannot close a plugin", "provider", name, "generation", g.number, "error", err.Error())
		} else {
			h.log.Info("plugin closed", "provider", name, "generation", g.number)
		}
		if _, ok := h.find(name); !ok {
			h.metrics.forget(name) // its last calls were counted after it was removed
		}
	}()
}

var (
	errStopped = errors.New("provider is stopped")
	errRemoved = errors.New("provider was removed from the configuration")
)

// list returns the providers in configured order. The list is never changed, only replaced.
func (h *Host) list() []*provider {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.providers
}

// use returns the generation of a provider that takes a call; see [provider.use].
func (h *Host) use(name string, t tag, began bool) (*provider, *generation, error) {
	p, ok := h.find(name)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	g, err := p.use(t, began)
	if errors.Is(err, errRemoved) {
		return nil, nil, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	if err != nil {
		return nil, nil, h.notLoaded(name, err)
	}
	return p, g, nil
}

func (h *Host) find(name string) (*provider, bool) {
	for _, p := range h.list() {
		if p.name == name {
			return p, true
		}
	}
	return nil, false
}

func capabilities(names []string) []sdk.Capability {
	list := make([]sdk.Capability, len(names))
	for i, name := range names {
		list[i] = sdk.Capability(name)
	}
	return list
}
