package mail

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	sent, retried, givenUp, expired prometheus.Counter
	queue, oldest                   prometheus.Gauge
}

// wait shows how long the oldest mail waits, whose time is zero if there is none.
func (m metrics) wait(oldest, now time.Time) {
	if oldest.IsZero() {
		m.oldest.Set(0)
		return
	}
	m.oldest.Set(max(0, now.Sub(oldest).Seconds()))
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
	oldest := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "materi_mail_oldest_seconds",
		Help: "How long the oldest mail waits, of all gateways; 0 if none does.",
	})
	for _, c := range []prometheus.Collector{mails, queue, oldest} {
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
		oldest:  oldest,
	}, nil
}
