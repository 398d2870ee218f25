// Package admin answers the questions of operators' machines: is the process alive, may it
// have traffic, and what do its metrics say. It asks the other packages and owns nothing.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/materi/shield/gateway/edge"
)

// Bounds of a readiness probe: an answer within a second is promised, and many probes
// at once must not become a load on what they ask.
const (
	checkTimeout = 800 * time.Millisecond
	checkReuse   = 500 * time.Millisecond
)

// Verdict is how one check went.
type Verdict string

// The verdicts.
const (
	OK       Verdict = "ok"
	Failed   Verdict = "error"
	Pending  Verdict = "pending"
	Disabled Verdict = "disabled"
)

// What a check may return beside other errors.
var (
	// ErrPending says that the subject is not ready yet but on its way.
	ErrPending = errors.New("pending")
	// ErrDegraded says that the subject serves, though not all of it or not as configured.
	// It is told as an error and keeps the traffic, whether the check is needed or not:
	// another replica would be no better.
	ErrDegraded = errors.New("degraded")
	// ErrUnused says that there is nothing to ask about at the moment.
	ErrUnused = errors.New("unused")
)

// Check asks about one dependency. Ask is nil for what the configuration does not use. It
// must respect ctx; one that does not is answered for with an error in time all the same.
type Check struct {
	Name string
	// Public says what is wrong in words that may be shown to anybody.
	Public string
	// Degraded is Public for [ErrDegraded].
	Degraded string
	// Needed says that the process must not have traffic while the check fails. A check that
	// is not needed is told all the same.
	Needed bool
	Ask    func(ctx context.Context) error
}

// Options are the needs of [New].
type Options struct {
	Version  string
	Checks   []Check
	Metrics  bool
	Gatherer prometheus.Gatherer
	Log      *slog.Logger
	Now      func() time.Time
}

// Admin serves the probes and the metrics. It is safe for concurrent use.
type Admin struct {
	version  string
	checks   []*check
	metrics  fasthttp.RequestHandler // nil: off
	log      *slog.Logger
	now      func() time.Time
	draining atomic.Bool
}

// New returns the endpoints.
func New(o Options) (*Admin, error) {
	if o.Gatherer == nil || o.Log == nil || o.Now == nil {
		return nil, errors.New("admin: Gatherer, Log and Now are required")
	}
	a := &Admin{version: o.Version, log: o.Log, now: o.Now}
	for _, c := range o.Checks {
		a.checks = append(a.checks, &check{Check: c, now: o.Now})
	}
	if o.Metrics {
		a.metrics = fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{}))
	}
	return a, nil
}

// Drain makes readiness say no from now on.
func (a *Admin) Drain() { a.draining.Store(true) }

// Health says that the process is alive. It asks nobody.
func (a *Admin) Health(ctx *fasthttp.RequestCtx) error {
	return edge.WriteJSON(ctx, fasthttp.StatusOK, struct {
		Status    string `json:"status"`
		Version   string `json:"version"`
		Timestamp string `json:"timestamp"`
	}{"healthy", a.version, a.now().UTC().Format(time.RFC3339)})
}

type readiness struct {
	Status string             `json:"status"`
	Checks map[string]Verdict `json:"checks"`
	Errors []string           `json:"errors,omitempty"`
}

// Ready says whether the process should have traffic.
func (a *Admin) Ready(ctx *fasthttp.RequestCtx) error {
	answer := readiness{Status: "ready", Checks: make(map[string]Verdict, len(a.checks))}
	verdicts := make([]Verdict, len(a.checks))
	errs := make([]error, len(a.checks))
	var wg sync.WaitGroup
	for i, c := range a.checks {
		wg.Go(func() { verdicts[i], errs[i] = a.ask(c) })
	}
	wg.Wait()
	ready := true
	for i, c := range a.checks {
		answer.Checks[c.Name] = verdicts[i]
		switch {
		case verdicts[i] != Failed && verdicts[i] != Pending:
		case errors.Is(errs[i], ErrDegraded):
			answer.Errors = append(answer.Errors, c.Degraded)
		default:
			answer.Errors = append(answer.Errors, c.Public)
			ready = ready && !c.Needed
		}
	}
	if a.draining.Load() {
		answer.Errors = append(answer.Errors, "The gateway is shutting down")
		ready = false
	}
	if !ready {
		answer.Status = "not_ready"
		return edge.WriteJSON(ctx, fasthttp.StatusServiceUnavailable, answer)
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, answer)
}

// Metrics writes the metrics in the Prometheus text format, or answers 404 where they are
// switched off.
func (a *Admin) Metrics(ctx *fasthttp.RequestCtx) error {
	if a.metrics == nil {
		return edge.NotFound(edge.CodeNotFound, "There is nothing here.", nil)
	}
	// The adaptor reads whatever body there is into memory, and nobody asked for one.
	if err := ctx.Request.CloseBodyStream(); err != nil {
		return edge.BadRequest(edge.CodeBadRequest, "The request is malformed.", err)
	}
	a.metrics(ctx)
	return nil
}

func (a *Admin) ask(c *check) (Verdict, error) {
	if c.Ask == nil {
		return Disabled, nil
	}
	verdict, changed, err := c.verdict()
	if changed && verdict != Disabled && err != nil {
		a.log.Warn("readiness check failed", "check", c.Name, "error", err.Error())
	}
	return verdict, err
}

// check is a Check with its last answer.
type check struct {
	Check
	now func() time.Time

	mu      sync.Mutex
	at      time.Time
	last    error
	asked   bool
	running chan struct{} // closed when the running question is answered
}

// verdict asks, or takes the answer of a moment ago. A question that outlives its time is
// left running, alone: while it runs no other is asked.
func (c *check) verdict() (v Verdict, changed bool, err error) {
	c.mu.Lock()
	if c.asked && c.running == nil && c.now().Sub(c.at) < checkReuse {
		defer c.mu.Unlock()
		return verdictOf(c.last), false, c.last
	}
	if c.running == nil {
		c.running = make(chan struct{})
		go c.question(c.running)
	}
	running, before, asked := c.running, c.last, c.asked
	c.mu.Unlock()

	timer := time.NewTimer(checkTimeout + 50*time.Millisecond)
	defer timer.Stop()
	select {
	case <-running:
		c.mu.Lock()
		err = c.last
		c.mu.Unlock()
	case <-timer.C:
		err = fmt.Errorf("no answer within %s", checkTimeout)
	}
	return verdictOf(err), !asked || verdictOf(before) != verdictOf(err), err
}

func (c *check) question(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	err := c.Ask(ctx)
	c.mu.Lock()
	c.last, c.at, c.asked, c.running = err, c.now(), true, nil
	c.mu.Unlock()
	close(done)
}

func verdictOf(err error) Verdict {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, ErrPending):
		return Pending
	case errors.Is(err, ErrUnused):
		return Disabled
	}
	return Failed
}
