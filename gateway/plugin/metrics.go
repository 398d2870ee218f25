package plugin

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/gateway/circuit"
	"github.com/materi/shield/sdk/wire"
)

// metrics are those of the host. A provider's name is configured, and what is told of one
// goes when the provider does.
type metrics struct {
	faults  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	loads   *prometheus.CounterVec
	dropped *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, h *Host) (*metrics, error) {
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
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_plugin_loads_total",
			Help: "Loads of a provider's plugin, by how they ended: success or failure.",
		}, []string{"provider", "status"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_plugin_log_dropped_total",
			Help: "Log records of a provider that there was no room for.",
		}, []string{"provider"}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.faults, m.seconds, m.loads, m.dropped, newStates(h)} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// observe notes how long a call took.
func (m *metrics) observe(provider string, method wire.Method, seconds float64) {
	m.seconds.WithLabelValues(provider, method.String()).Observe(seconds)
}

// know begins to count for a provider: what did not happen yet is zero, not unknown.
func (m *metrics) know(provider string) {
	for _, kind := range []Kind{Trap, Exit, Timeout, Fuel, Memory, Busy, Undecodable, NotLoaded} {
		m.faults.WithLabelValues(provider, string(kind))
	}
	m.loads.WithLabelValues(provider, "success")
	m.loads.WithLabelValues(provider, "failure")
	m.dropped.WithLabelValues(provider)
}

// forget drops what was told of a provider.
func (m *metrics) forget(provider string) {
	labels := prometheus.Labels{"provider": provider}
	m.faults.DeletePartialMatch(labels)
	m.seconds.DeletePartialMatch(labels)
	m.loads.DeletePartialMatch(labels)
	m.dropped.DeletePartialMatch(labels)
}

// states tells how the providers are at the moment of the question.
type states struct {
	host *Host

	mu                                                            sync.Mutex
	up, generation, stale, draining, restarts, circuit, certified *prometheus.GaugeVec
}

func newStates(h *Host) *states {
	return &states{
		host: h,
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "materi_plugin_up",
			Help: "Whether a provider can be used: 1 or 0.",
		}, []string{"provider"}),
		generation: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "materi_plugin_generation",
			Help: "Which start of its plugin serves a provider, counted from 1; 0 for none.",
		}, []string{"provider"}),
		stale: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "materi_plugin_stale",
			Help: "1 while a provider is served by what ran before, since what is configured could not be loaded.",
		}, []string{"provider"}),
		draining: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "materi_plugin_draining",
			Help: "Replaced starts of a provider's plugin that finish what began on them.",
		}, []string{"provider"}),
		restarts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "materi_plugin_restarts",
			Help: "How often the process of a provider was started again since its plugin was loaded.",
		}, []string{"provider"}),
		circuit: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "materi_sso_circuit_state",
			Help: "Whether the servers of a provider are asked: 0 closed, they are; 1 open, one keeps failing; 2 half-open, one request finds out.",
		}, []string{"provider"}),
		certified: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "materi_plugin_certificate_expiry_timestamp_seconds",
			Help: "When the first of the certificates (PEM) in a provider's settings expires. Not there without one.",
		}, []string{"provider"}),
	}
}

func (s *states) gauges() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{s.up, s.generation, s.stale, s.draining, s.restarts, s.circuit, s.certified}
}

// Describe lists the metrics.
func (s *states) Describe(out chan<- *prometheus.Desc) {
	for _, g := range s.gauges() {
		g.Describe(out)
	}
}

// Collect asks each provider.
func (s *states) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.gauges() {
		g.Reset()
	}
	for _, p := range s.host.list() {
		s.note(p.name, p.state())
	}
	for _, g := range s.gauges() {
		g.Collect(out)
	}
}

func (s *states) note(name string, st state) {
	var up, number, stale float64
	if st.current != nil {
		number = float64(st.current.number)
		up = oneIf(health(st.current.module) == nil)
		stale = oneIf(st.err != nil)
	}
	s.up.WithLabelValues(name).Set(up)
	s.generation.WithLabelValues(name).Set(number)
	s.stale.WithLabelValues(name).Set(stale)
	s.draining.WithLabelValues(name).Set(float64(st.old))
	s.noteCircuit(name, st)
	if st.current == nil {
		return
	}
	var restarts uint64 // a module of a sandbox has no process
	if p, ok := st.current.module.(supervised); ok {
		restarts = p.Restarts()
	}
	s.restarts.WithLabelValues(name).Set(float64(restarts))
	if until := st.current.certified; !until.IsZero() {
		s.certified.WithLabelValues(name).Set(float64(until.Unix()))
	}
}

// noteCircuit tells of a provider that may ask servers, from the start.
func (s *states) noteCircuit(name string, st state) {
	if !st.cfg.Grants("http") && !st.cfg.Grants("jwt") {
		return
	}
	worst := circuit.Closed
	if st.current != nil {
		worst, _ = st.current.circuits.Worst()
	}
	s.circuit.WithLabelValues(name).Set(float64(worst))
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
