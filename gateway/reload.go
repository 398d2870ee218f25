package gateway

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
)

// ErrStopping says that a reload came too late.
var ErrStopping = errors.New("the gateway is stopping")

// reloaded are the sections that a reload applies. The others are read at the start.
var reloaded = []string{"plugins", "providers"}

// ReloadFrom reads a configuration and applies it as [Gateway.Reload] does. A configuration
// that cannot be read changes nothing; its faults are logged.
func (g *Gateway) ReloadFrom(ctx context.Context, read func() (config.Config, error)) error {
	cfg, err := read()
	if err != nil {
		return g.refuse(err)
	}
	return g.Reload(ctx, cfg)
}

// Reload applies the sections plugins and providers of a configuration that [config.Load]
// accepted, and says which of the others have changed and need a restart. It blocks until
// the providers are loaded; reloads run one after another. A provider that cannot be loaded
// is served by what ran before.
//
// A configuration that could not be started with is refused as a whole.
func (g *Gateway) Reload(ctx context.Context, cfg config.Config) error {
	g.reload.Lock()
	defer g.reload.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.run, cancel)()

	if err := CheckRoutes(cfg); err != nil {
		return g.refuse(err)
	}
	if g.outbox == nil && len(cfg.Providers) > 0 {
		return g.refuse(errors.New("the gateway was started without mail, which providers need: restart it"))
	}
	for _, name := range changedSections(g.cfg, cfg) {
		g.log.Warn("a section of the configuration has changed that is read at the start alone: restart to apply it", "section", name)
	}
	err := g.plugins.Reload(ctx, cfg.Providers, cfg.Plugins)
	if g.run.Err() != nil {
		return ErrStopping
	}
	if err != nil {
		g.reloads.count(reloadPartial)
		g.log.Error("configuration reloaded, but not every provider could be loaded")
		return fmt.Errorf("reload: %w", err)
	}
	g.pluginsLoaded.Store(true)
	g.reloads.count(reloadDone)
	g.log.Info("configuration reloaded")
	return nil
}

// refuse says why a configuration is not taken, each fault by itself.
func (g *Gateway) refuse(err error) error {
	g.reloads.count(reloadRefused)
	reasons := []string{err.Error()}
	if faults, ok := errors.AsType[config.Faults](err); ok {
		reasons = reasons[:0]
		for _, f := range faults {
			reasons = append(reasons, f.String())
		}
	}
	for _, reason := range reasons {
		g.log.Error("configuration refused, nothing has changed", "error", reason)
	}
	return fmt.Errorf("reload: %w", err)
}

// changedSections names the sections that differ and that a reload does not apply. Their
// values are compared and never told.
func changedSections(before, after config.Config) []string {
	var names []string
	a, b := reflect.ValueOf(before), reflect.ValueOf(after)
	for i := range a.NumField() {
		name := a.Type().Field(i).Tag.Get("yaml")
		if slices.Contains(reloaded, name) || reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			continue
		}
		names = append(names, name)
	}
	return names
}

// How a reload may end.
const (
	reloadDone    = "success"
	reloadRefused = "refused" // the configuration has faults; nothing has changed
	reloadPartial = "partial" // a provider could not be loaded
)

// reloads counts them.
type reloads struct {
	total *prometheus.CounterVec
	last  prometheus.Gauge
}

func newReloads(reg prometheus.Registerer) (*reloads, error) {
	r := &reloads{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_config_reloads_total",
			Help: "Reloads of the configuration: success, partial if a provider could not be loaded, refused if the file has faults.",
		}, []string{"status"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "materi_config_last_reload_success",
			Help: "Whether the last reload, or the start, applied all of the configuration: 1 or 0.",
		}),
	}
	for _, status := range []string{reloadDone, reloadRefused, reloadPartial} {
		r.total.WithLabelValues(status)
	}
	r.last.Set(1)
	if err := errors.Join(reg.Register(r.total), reg.Register(r.last)); err != nil {
		return nil, fmt.Errorf("reload: register metrics: %w", err)
	}
	return r, nil
}

func (r *reloads) count(status string) {
	r.total.WithLabelValues(status).Inc()
	r.last.Set(0)
	if status == reloadDone {
		r.last.Set(1)
	}
}
