package edge

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Endpoints of requests that no route of the configuration named.
const (
	endpointUnmatched = "unmatched" // in good form, but for nothing that is served
	endpointRejected  = "rejected"  // refused before routing
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_shield_requests_total",
			Help: "Requests that were answered, by method, endpoint and status.",
		}, []string{"method", "endpoint", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "materi_shield_request_duration_seconds",
			Help:    "Time from the head of a request to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"method", "endpoint"}),
	}
	// The rate of errors is to be known, and zero, before there is one.
	m.requests.WithLabelValues(methodLabel(""), endpointRejected, "503")
	for _, c := range []prometheus.Collector{m.requests, m.seconds} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(r *Record, took time.Duration) {
	method, endpoint := methodLabel(r.method), endpointLabel(r.Endpoint)
	m.requests.WithLabelValues(method, endpoint, strconv.Itoa(r.status)).Inc()
	m.seconds.WithLabelValues(method, endpoint).Observe(took.Seconds())
}

// refused counts a connection that was turned away before it sent anything.
func (m *metrics) refused(status int) {
	m.requests.WithLabelValues(methodLabel(""), endpointRejected, strconv.Itoa(status)).Inc()
}

// methodLabel keeps what a client made up out of labels and the log.
func methodLabel(method string) string {
	if method == "" {
		return "other"
	}
	return method
}

func endpointLabel(endpoint string) string {
	if endpoint == "" {
		return endpointUnmatched
	}
	return endpoint
}
