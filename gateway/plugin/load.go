package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/grant"
)

// renewal is what a load makes of one provider.
type renewal struct {
	p    *provider
	cfg  config.Provider
	next *generation // nil: err says why, or what runs goes on
	err  error
	took time.Duration
}

// Load starts all providers in parallel. It blocks until the last is ready or has failed,
// which can take seconds when nothing is cached; so call it beside the listener. It returns
// all failures; a provider that failed does not keep the others. Called again it tries
// those anew that have never been loaded.
func (h *Host) Load(ctx context.Context) error {
	h.loading.Lock()
	defer h.loading.Unlock()
	list := h.list()
	var changes []*renewal
	for _, p := range list {
		if s := p.state(); s.current == nil {
			changes = append(changes, &renewal{p: p, cfg: s.cfg})
		}
	}
	h.openAll(ctx, changes)
	return h.apply(ctx, list, changes)
}

// Reload makes the configured providers those that are given. What has changed of a
// provider, also its file, is started beside what runs and takes its place once it has
// passed every check; what has not changed runs on. A provider that cannot be loaded is
// served by what ran before, see [Host.Stale]. All change at one moment, after the last of
// them was tried. It returns all failures.
func (h *Host) Reload(ctx context.Context, providers []config.Provider, plugins config.Plugins) error {
	h.loading.Lock()
	defer h.loading.Unlock()
	trust, err := newTrust(plugins)
	if err != nil {
		return fmt.Errorf("plugins.keys: %w", err)
	}
	h.trust = trust
	var list []*provider
	var changes []*renewal
	for _, cfg := range providers {
		p, ok := h.find(cfg.Name)
		if !ok {
			p = h.newProvider(cfg)
		}
		list = append(list, p)
		changes = append(changes, &renewal{p: p, cfg: cfg})
	}
	h.openAll(ctx, changes)
	err = h.apply(ctx, list, changes)
	for _, c := range changes {
		h.complain(ctx, c)
	}
	return err
}

// complain logs why a reload could not load a provider.
func (h *Host) complain(ctx context.Context, c *renewal) {
	if c.err == nil || ctx.Err() != nil {
		return
	}
	serving := 0
	if s := c.p.state(); s.current != nil {
		serving = s.current.number
	}
	h.log.ErrorContext(ctx, "provider cannot be loaded", "provider", c.cfg.Name, "serving_generation", serving, "error", c.err.Error())
}

func (h *Host) openAll(ctx context.Context, changes []*renewal) {
	var wg sync.WaitGroup
	for _, c := range changes {
		wg.Go(func() {
			start := time.Now() // a duration of the real world
			c.next, c.err = h.generation(ctx, c.cfg, c.p.state().current)
			c.took = time.Since(start)
			if c.err != nil {
				c.err = fmt.Errorf("load provider %s: plugin %s: %w", c.cfg.Name, c.cfg.Plugin, c.err)
			}
		})
	}
	wg.Wait()
}

// generation starts a provider's plugin, in this order: read the file, once; its digest,
// its pin, its signature; its imports; its start and the version of the contract; its
// manifest; its settings; a call to see that it answers. It returns nil if what runs is
// what would be started.
func (h *Host) generation(ctx context.Context, cfg config.Provider, running *generation) (*generation, error) {
	f, err := h.trust.check(cfg)
	if err != nil {
		return nil, err
	}
	in, err := inputsOf(cfg, f)
	if err != nil {
		return nil, err
	}
	if running != nil && running.same(cfg, in) {
		return nil, nil
	}
	settings, err := cfg.Config.JSON()
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	l := &loader{settings: settings, granted: capabilities(cfg.Capabilities)}
	m, err := h.transport(ctx, origin{cfg: cfg, file: f, granted: l.granted, prepare: l.prepare})
	if err != nil {
		return nil, err
	}
	g := &generation{
		cfg: cfg, inputs: in, tag: tagOf(f, settings), signedBy: f.signedBy, module: m, certified: certifiedUntil(settings),
	}
	if err := h.furnish(ctx, g, l, running); err != nil {
		return nil, errors.Join(err, m.Close(ctx))
	}
	return g, nil
}

// furnish gives a generation whose module runs what depends on its manifest, and tries it.
func (h *Host) furnish(ctx context.Context, g *generation, l *loader, running *generation) (err error) {
	if g.manifest, err = l.agree(g.module); err != nil {
		return err
	}
	if g.circuits, err = h.circuits(g, running); err != nil {
		return err
	}
	g.grant, err = grant.New(grant.Options{Provider: g.cfg, Circuits: g.circuits, Log: h.log, Now: h.now, Resolver: h.resolver})
	if err != nil {
		return err
	}
	if err := selfTest(ctx, g.module); err != nil {
		g.grant.Close()
		return err
	}
	return nil
}

// apply puts the changes into force, unless the host was stopped in the meantime.
func (h *Host) apply(ctx context.Context, list []*provider, changes []*renewal) error {
	removed, ok := h.install(list, changes)
	var errs []error
	for _, c := range changes {
		if !ok && c.next != nil {
			c.err = errors.Join(fmt.Errorf("load provider %s: %w", c.cfg.Name, errStopped), c.next.close(ctx))
		}
		errs = append(errs, c.err)
	}
	if !ok {
		return errors.Join(errors.Join(errs...), errStopped)
	}
	for _, c := range changes {
		h.tell(ctx, c)
	}
	for _, p := range removed {
		h.metrics.forget(p.name)
		h.log.InfoContext(ctx, "provider removed", "provider", p.name)
	}
	return errors.Join(errs...)
}

// install makes list the providers, each with its change, and returns those that are no
// longer among them. It changes nothing and returns false after a stop.
func (h *Host) install(list []*provider, changes []*renewal) (removed []*provider, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return nil, false
	}
	h.leaving = slices.DeleteFunc(h.leaving, (*provider).gone)
	for _, p := range h.providers {
		if !slices.Contains(list, p) {
			p.remove()
			removed = append(removed, p)
		}
	}
	h.providers, h.leaving = list, append(h.leaving, removed...)
	for _, c := range changes {
		if c.next == nil {
			c.p.keep(c.cfg, c.err)
			continue
		}
		h.alive.Add(1)
		c.p.swap(c.next)
	}
	return removed, true
}

// tell counts what became of one provider, and logs it if it went well.
func (h *Host) tell(ctx context.Context, c *renewal) {
	if c.err != nil {
		h.metrics.loads.WithLabelValues(c.cfg.Name, "failure").Inc()
		return
	}
	if c.next == nil {
		h.log.InfoContext(ctx, "provider is unchanged", "provider", c.cfg.Name)
		return
	}
	h.metrics.loads.WithLabelValues(c.cfg.Name, "success").Inc()
	g := c.next
	h.log.InfoContext(ctx, "provider loaded", "provider", c.cfg.Name, "generation", g.number,
		"plugin", g.manifest.ID, "version", g.manifest.Version, "abi", g.manifest.ABI,
		"sha256", fmt.Sprintf("%x", g.inputs.plugin), "signed_by", g.signedBy, "seconds", c.took.Seconds())
}
