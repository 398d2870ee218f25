// Package plugin hosts identity providers: it loads them, grants them what the operator
// allows, calls them with a deadline, and keeps one provider's trouble from the others. It
// knows neither HTTP nor users (package login). The transports are packages below it.
//
// A call ends in one of three ways that are never mixed: an [Answer], which has been held
// to the contract; an [*sdk.Error], which is the provider's own; or a [*Fault], which is
// the plugin's breakdown. Any other error is the host's, for instance a database that is
// away, or the caller's context.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/gateway/plugin/wasm"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
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
	CacheDir   string // private directory of compiled code, see wasm.Open
	KV         Reader
	Passwords  sdk.Passwords
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Host holds the configured providers. It is safe for concurrent use.
type Host struct {
	kv        Reader
	passwords sdk.Passwords
	log       *slog.Logger
	now       func() time.Time
	cacheDir  string
	metrics   *metrics
	scribe    *scribe
	providers []*provider // in configured order
}

// module is a plugin that runs, whichever way.
type module interface {
	// Call makes one call. The error is one of package sandbox, or that of ctx.
	Call(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error)
	// Close waits for the calls that run, or until ctx ends, when it stops them.
	Close(ctx context.Context) error
}

// provider is one configured provider. The module is nil until it is loaded.
type provider struct {
	cfg config.Provider

	mu       sync.RWMutex
	module   module
	manifest sdk.Manifest
	err      error // why it is not loaded
}

// Info is what login pages and the operator see of a provider.
type Info struct {
	Name     string
	Label    string
	Headers  []string // of a request, that it is shown
	Manifest sdk.Manifest
}

// Answer is what a provider said. Writes belong to it: both are committed together, or
// neither is.
type Answer struct {
	Step   sdk.Step
	Writes []Write
}

// New returns a host whose providers are not loaded yet; see [Host.Load].
func New(opts Options) (*Host, error) {
	if opts.KV == nil || opts.Passwords == nil || opts.Log == nil || opts.Registerer == nil || opts.Now == nil {
		return nil, errors.New("plugin: KV, Passwords, Log, Registerer and Now are required")
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("plugin: register metrics: %w", err)
	}
	h := &Host{
		kv: opts.KV, passwords: opts.Passwords, log: opts.Log, now: opts.Now,
		cacheDir: opts.CacheDir, metrics: m, scribe: newScribe(opts.Log, opts.Now, m.dropped),
	}
	for _, cfg := range opts.Providers {
		h.providers = append(h.providers, &provider{cfg: cfg, err: ErrPending})
	}
	return h, nil
}

// Load compiles and starts all providers in parallel. It blocks until the last is ready
// or has failed, which can take seconds when nothing is cached; so call it once, beside
// the listener. It returns all failures; a provider that failed does not keep the others.
// Called again it tries those anew that failed.
func (h *Host) Load(ctx context.Context) error {
	errs := make([]error, len(h.providers))
	var wg sync.WaitGroup
	for i, p := range h.providers {
		if _, err := p.get(); err == nil {
			continue
		}
		wg.Go(func() {
			if err := h.load(ctx, p); err != nil {
				errs[i] = fmt.Errorf("load provider %s: %w", p.cfg.Name, err)
				p.fail(errs[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (h *Host) load(ctx context.Context, p *provider) error {
	code, err := os.ReadFile(p.cfg.Plugin)
	if err != nil {
		return err
	}
	settings, err := p.cfg.Config.JSON()
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	granted := capabilities(p.cfg.Capabilities)
	l := &loader{settings: settings, granted: granted}
	m, err := wasm.Open(ctx, wasm.Options{
		Name: p.cfg.Name, Code: code, Granted: granted, Memory: int64(p.cfg.MemoryBytes),
		Timeout: p.cfg.Timeout, Wait: p.cfg.Wait, Instances: p.cfg.Instances,
		CacheDir: h.cacheDir, Log: h.log, Prepare: l.prepare,
	})
	if err != nil {
		return err
	}
	manifest, err := l.admit(m.Capabilities())
	if err == nil {
		err = p.set(m, manifest)
	}
	if err != nil {
		return errors.Join(err, m.Close(ctx))
	}
	h.log.InfoContext(ctx, "provider loaded", "provider", p.cfg.Name,
		"plugin", manifest.ID, "version", manifest.Version)
	return nil
}

// Ready returns for each provider why it cannot be used, or nil if it can.
func (h *Host) Ready() map[string]error {
	ready := make(map[string]error, len(h.providers))
	for _, p := range h.providers {
		p.mu.RLock()
		ready[p.cfg.Name] = p.err
		p.mu.RUnlock()
	}
	return ready
}

// Providers returns the loaded providers in the order of the configuration.
func (h *Host) Providers() []Info {
	var list []Info
	for _, p := range h.providers {
		p.mu.RLock()
		if p.module != nil {
			list = append(list, Info{Name: p.cfg.Name, Label: p.cfg.Label, Headers: p.cfg.Headers, Manifest: p.manifest})
		}
		p.mu.RUnlock()
	}
	return list
}

// Kind returns the kind of a provider, "email" or "oauth" for instance, and "unknown" while
// it is not loaded. It is fit for a metric's label: a manifest's kind is a short name and
// providers are few.
func (h *Host) Kind(name string) string {
	p, ok := h.find(name)
	if !ok {
		return "unknown"
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.manifest.Kind == "" {
		return "unknown"
	}
	return p.manifest.Kind
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

// Stop unloads all providers. It waits for the calls that run until ctx ends, when it
// stops them. It is idempotent, and Load does not undo it.
func (h *Host) Stop(ctx context.Context) error {
	errs := make([]error, len(h.providers))
	var wg sync.WaitGroup
	for i, p := range h.providers {
		m := p.unset()
		if m == nil {
			continue
		}
		wg.Go(func() { errs[i] = m.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

var errStopped = errors.New("provider is stopped")

// set makes the provider usable, unless it was stopped in the meantime.
func (p *provider) set(m module, manifest sdk.Manifest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(p.err, errStopped) {
		return p.err
	}
	p.module, p.manifest, p.err = m, manifest, nil
	return nil
}

func (p *provider) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *provider) unset() module {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.module
	p.module, p.err = nil, errStopped
	return m
}

func (p *provider) get() (module, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.module, p.err
}

func (h *Host) find(name string) (*provider, bool) {
	for _, p := range h.providers {
		if p.cfg.Name == name {
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

// checkManifest holds a manifest to the contract.
func checkManifest(b []byte) (sdk.Manifest, error) {
	m, err := wire.DecodeManifest(b)
	if err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	if err := contract.Manifest(m); err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}
