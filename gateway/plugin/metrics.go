package plugin

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

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
	for _, c := range []prometheus.Collector{m.faults, m.seconds, m.loads, m.dropped, states{h}} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// observe notes how long a call took.
func (m *metrics) observe(provider string, method wire.Method, seconds float64) {
	m.seconds.WithLabelValues(provider, method.String()).Observe(seconds)
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
type states struct{ host *Host }

var (
	upDesc = prometheus.NewDesc("materi_plugin_up",
		"Whether a provider can be used: 1 or 0.", []string{"provider"}, nil)
	generationDesc = prometheus.NewDesc("materi_plugin_generation",
		"Which start of its plugin serves a provider, counted from 1; 0 for none.", []string{"provider"}, nil)
	staleDesc = prometheus.NewDesc("materi_plugin_stale",
		"Whether a provider is served by what ran before, since what is configured could not be loaded: 1 or 0.", []string{"provider"}, nil)
	drainingDesc = prometheus.NewDesc("materi_plugin_draining",
		"Replaced starts of a provider's plugin that finish what began on them.", []string{"provider"}, nil)
	restartsDesc = prometheus.NewDesc("materi_plugin_restarts_total",
		"Times that a provider's process ended and was started again, since its plugin was loaded.", []string{"provider"}, nil)
)

// Describe lists the metrics.
func (states) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{upDesc, generationDesc, staleDesc, drainingDesc, restartsDesc} {
		out <- d
	}
}

// Collect asks each provider.
func (s states) Collect(out chan<- prometheus.Metric) {
	for _, p := range s.host.list() {
		st := p.state()
		var up, number, stale float64
		if st.current != nil {
			number = float64(st.current.number)
			up = oneIf(health(st.current.module) == nil)
			stale = oneIf(st.err != nil)
		}
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, p.name)
		}
		gauge(upDesc, up)
		gauge(generationDesc, number)
		gauge(staleDesc, stale)
		gauge(drainingDesc, float64(st.old))
		if st.current == nil {
			continue
		}
		if s, ok := st.current.module.(supervised); ok {
			out <- prometheus.MustNewConstMetric(restartsDesc, prometheus.CounterValue, float64(s.Restarts()), p.name)
		}
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
