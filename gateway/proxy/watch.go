package proxy

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

// watch takes the gateway's own time of one request: from its head on, but for what passes
// between stop and start, which is the client's and the upstream's. Most requests stop it
// once, so that it costs three looks at the clock. What is computed while a body streams
// is not told from the waiting around it.
type watch struct {
	ctx     *fasthttp.RequestCtx
	own     time.Duration
	since   time.Duration
	stopped bool
}

func (w *watch) stop() {
	w.own, w.stopped = w.own+edge.Held(w.ctx)-w.since, true
}

func (w *watch) start() {
	w.since, w.stopped = edge.Held(w.ctx), false
}

// total ends it. A request that failed while the watch was stopped took no more than until
// then.
func (w *watch) total() time.Duration {
	if !w.stopped {
		w.stop()
	}
	return w.own
}
