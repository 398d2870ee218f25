package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk/wire"
)

// Kind says how a plugin broke down.
type Kind string

// The kinds of fault.
const (
	Trap        Kind = "trap"        // it panicked or did what its sandbox forbids
	Exit        Kind = "exit"        // it ended itself
	Timeout     Kind = "timeout"     // it took too long
	Fuel        Kind = "fuel"        // it computed more than it may
	Memory      Kind = "memory"      // it wanted more than it may have
	Busy        Kind = "busy"        // no instance became free in time
	Undecodable Kind = "undecodable" // its answer is none
	NotLoaded   Kind = "not_loaded"  // it is still loading, failed to, or was stopped
)

// Fault is the breakdown of a plugin: 503 for its provider, and never anything else.
type Fault struct {
	Provider string
	Kind     Kind
	Err      error
}

// Error returns provider, kind and reason, for the log.
func (f *Fault) Error() string { return fmt.Sprintf("plugin %s: %s: %v", f.Provider, f.Kind, f.Err) }

// Unwrap returns the reason.
func (f *Fault) Unwrap() error { return f.Err }

// kinds tells which of the transport's errors is which kind of fault.
var kinds = []struct {
	err  error
	kind Kind
}{
	{sandbox.ErrTrap, Trap},
	{sandbox.ErrExit, Exit},
	{sandbox.ErrTimeout, Timeout},
	{sandbox.ErrFuel, Fuel},
	{sandbox.ErrMemory, Memory},
	{sandbox.ErrBusy, Busy},
	{sandbox.ErrDown, NotLoaded},
	{sandbox.ErrClosed, NotLoaded},
}

// fault counts err, an error of the transport, and returns it as a Fault. The caller's own
// context is no fault of the plugin's.
func (h *Host) fault(ctx context.Context, p *provider, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("call provider %s: %w", p.cfg.Name, ctx.Err())
	}
	f := &Fault{Provider: p.cfg.Name, Kind: Undecodable, Err: err}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			f.Kind = k.kind
			break
		}
	}
	h.metrics.faults.WithLabelValues(f.Provider, string(f.Kind)).Inc()
	return f
}

func (h *Host) notLoaded(p *provider, err error) error {
	h.metrics.faults.WithLabelValues(p.cfg.Name, string(NotLoaded)).Inc()
	return &Fault{Provider: p.cfg.Name, Kind: NotLoaded, Err: err}
}

type metrics struct {
	faults  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	dropped *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_plugin_faults_total",
			Help: "Calls of a provider that ended in a breakdown of its plugin.",
		}, []string{"provider", "kind"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "materi_plugin_call_seconds",
			Help:    "Time of calls of a provider, with the wait for an instance.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"provider", "call"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_plugin_log_dropped_total",
			Help: "Log records of a provider that there was no room for.",
		}, []string{"provider"}),
	}
	return m, errors.Join(reg.Register(m.faults), reg.Register(m.seconds), reg.Register(m.dropped))
}

// observe notes how long a call took.
func (m *metrics) observe(provider string, method wire.Method, seconds float64) {
	m.seconds.WithLabelValues(provider, method.String()).Observe(seconds)
}
