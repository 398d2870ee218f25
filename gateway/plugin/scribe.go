package plugin

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// Bounds of what a provider may log: in one call, and in all of its calls together.
const (
	maxRecords   = 32
	maxMessage   = 1024
	maxArgs      = 32
	recordsBurst = 200
)

const recordsPerSecond rate.Limit = 50

// scribe writes into the gateway's log what providers say, as much of it as there is room
// for. It is safe for concurrent use.
type scribe struct {
	log     *slog.Logger
	now     func() time.Time
	dropped *prometheus.CounterVec

	mu     sync.Mutex
	limits map[string]*rate.Limiter // by provider
}

func newScribe(log *slog.Logger, now func() time.Time, dropped *prometheus.CounterVec) *scribe {
	return &scribe{log: log, now: now, dropped: dropped, limits: make(map[string]*rate.Limiter)}
}

// write writes a record of a provider's. The message of the record is ours and constant; the
// provider's own text is an attribute, under a group that cannot shadow ours.
func (s *scribe) write(ctx context.Context, provider string, record wire.Record, r redactor) {
	level := slog.Level(min(max(record.Level, sdk.LevelDebug), sdk.LevelError))
	if !s.admit(provider) {
		s.dropped.WithLabelValues(provider).Inc()
		return
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := []any{slog.String("message", line(r.text(record.Message), maxMessage))}
	args := record.Args[:min(len(record.Args), maxArgs)]
	for i := 0; i+1 < len(args); i += 2 {
		attrs = append(attrs, slog.String(line(r.text(args[i]), maxName), line(r.text(args[i+1]), maxMessage)))
	}
	s.log.Log(ctx, level, "provider says", "provider", provider, slog.Group("plugin", attrs...))
}

// admit reports whether there is room for a record of this provider's.
func (s *scribe) admit(provider string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit, ok := s.limits[provider]
	if !ok {
		limit = rate.NewLimiter(recordsPerSecond, recordsBurst)
		s.limits[provider] = limit
	}
	return limit.AllowN(s.now(), 1)
}
