package mail

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	sent, retried, givenUp, expired prometheus.Counter
	queue                           prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (metrics, error) {
	mails := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "materi_mail_total",
		Help: "Mails by how a try ended: sent, retried, given_up (too old), expired (its link was dead).",
	}, []string{"status"})
	queue := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "materi_mail_queue",
		Help: "Mails that wait, of all gateways.",
	})
	for _, c := range []prometheus.Collector{mails, queue} {
		if err := reg.Register(c); err != nil {
			return metrics{}, fmt.Errorf("mail: register metrics: %w", err)
		}
	}
	return metrics{
		sent:    mails.WithLabelValues("sent"),
		retried: mails.WithLabelValues("retried"),
		givenUp: mails.WithLabelValues("given_up"),
		expired: mails.WithLabelValues("expired"),
		queue:   queue,
	}, nil
}
