// Package proxy forwards a request to an upstream and the answer back, streaming both ways.
// It owns the connections to the upstreams and what of a message crosses the gateway: the
// head that goes out is built anew, so that nothing hop-by-hop, nothing that pretends to be
// the gateway's and nothing ambiguous gets through. Who may send a request was decided
// before; the proxy only writes down who it is.
//
// A request is sent once. A connection that was closed while it lay idle is noticed before
// anything is written to it; whatever fails later may have been acted on and is not retried.
package proxy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/edge"
)

// Options is what a [Proxy] needs. Registerer is required.
type Options struct {
	Upstreams   []config.Upstream
	HeaderBytes int64 // most bytes of the head of an upstream's answer; 0: 32 KiB
	BodyBytes   int64 // most bytes of a request body where the route does not say; 0: unlimited
	Trace       bool  // begin a W3C trace for each request
	// OwnCookies names the cookies of the gateway itself, which no upstream gets: one is worth
	// more than the access token that is kept from them.
	OwnCookies []string
	Registerer prometheus.Registerer
}

// Identity calls set for each identity header of a request. It may call it for headers that
// belong to the gateway alone (see [edge.Owned]); any other name is a mistake in the
// program and panics.
type Identity func(ctx *fasthttp.RequestCtx, set func(name, value string))

// Proxy forwards requests. It is safe for concurrent use.
type Proxy struct {
	upstreams  map[string]*upstream
	headBytes  int
	bodyBytes  int64
	trace      bool
	ownCookies [][]byte
	failures   *prometheus.CounterVec
	own        *prometheus.HistogramVec
}

// defaultTimeout is for routes that do not say: without one a dead upstream would hold its
// requests for ever.
const defaultTimeout = 30 * time.Second

// New builds a proxy. It connects to nothing yet.
func New(o Options) (*Proxy, error) {
	if o.Registerer == nil {
		return nil, errors.New("proxy: Registerer is required")
	}
	p := &Proxy{
		upstreams: map[string]*upstream{}, headBytes: int(o.HeaderBytes), bodyBytes: o.BodyBytes,
		trace: o.Trace,
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "materi_shield_upstream_failures_total",
			Help: "Requests that an upstream did not answer, by upstream and kind.",
		}, []string{"upstream", "kind"}),
		own: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "materi_shield_gateway_duration_seconds",
			Help:    "Time that the gateway itself spent on a proxied request, without its client and its upstream.",
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1},
		}, []string{"endpoint"}),
	}
	for _, name := range o.OwnCookies {
		p.ownCookies = append(p.ownCookies, []byte(name))
	}
	if p.headBytes <= 0 {
		p.headBytes = 32 << 10
	}
	for _, c := range o.Upstreams {
		if _, ok := p.upstreams[c.Name]; ok {
			return nil, fmt.Errorf("proxy: upstream %q is named twice", c.Name)
		}
		u, err := newUpstream(c, p.headBytes)
		if err != nil {
			return nil, fmt.Errorf("proxy: upstream %q: %w", c.Name, err)
		}
		p.upstreams[c.Name] = u
		for _, kind := range failureKinds {
			p.failures.WithLabelValues(c.Name, kind)
		}
	}
	if err := errors.Join(o.Registerer.Register(p.failures), o.Registerer.Register(p.own)); err != nil {
		return nil, fmt.Errorf("proxy: register metrics: %w", err)
	}
	return p, nil
}

// Close closes the idle connections to all upstreams. Running requests end by themselves
// and close theirs. It may be called more than once.
func (p *Proxy) Close() {
	for _, u := range p.upstreams {
		u.close()
	}
}

// forwarder is the handler of one route.
type forwarder struct {
	*Proxy
	upstream  *upstream
	own       prometheus.Observer
	identity  Identity
	strip     string
	limit     int64
	timeout   time.Duration
	authorize bool // the client's Authorization goes on to the upstream
}

// Handler returns the handler that forwards the requests of a route. identity may be nil.
//
// The gateway ends authentication: a token that was checked here does not go upstream,
// where it could be stolen. On public routes, where tokens are not looked at, Authorization
// is the upstream's business and is passed on.
func (p *Proxy) Handler(route config.Route, identity Identity) (edge.Handler, error) {
	u, ok := p.upstreams[route.Upstream]
	if !ok {
		return nil, fmt.Errorf("proxy: route %q: there is no upstream %q", route.Name, route.Upstream)
	}
	f := &forwarder{
		Proxy: p, upstream: u, own: p.own.WithLabelValues(route.Name), identity: identity,
		strip: strings.TrimSuffix(route.StripPrefix, "/"), limit: int64(route.BodyBytes),
		timeout: route.Timeout, authorize: route.Auth == "public",
	}
	if path := route.Path + route.Prefix; !under(path, f.strip) {
		return nil, fmt.Errorf("proxy: route %q: %q does not begin with strip_prefix %q", route.Name, path, route.StripPrefix)
	}
	if f.limit == 0 {
		f.limit = p.bodyBytes
	}
	if f.timeout <= 0 {
		f.timeout = defaultTimeout
	}
	return f.serve, nil
}

// under reports whether path is prefix or below it.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

func (f *forwarder) serve(ctx *fasthttp.RequestCtx) error {
	r := edge.RecordOf(ctx)
	r.Path, r.Upstream = edge.Path(ctx), f.upstream.name
	body, size, err := edge.Body(ctx, f.limit)
	if err != nil {
		return err
	}
	buf := pieces.Get().(*[]byte)
	defer pieces.Put(buf)
	*buf = f.appendHead((*buf)[:0], ctx, body != nil, size)
	w := &watch{ctx: ctx}
	defer func() { f.own.Observe(w.total().Seconds()) }()
	w.stop()
	up := &upload{body: body, chunked: size < 0}
	if *buf, err = up.begin(*buf); err != nil {
		return err
	}

	c, err := f.upstream.acquire(f.timeout)
	if err != nil {
		return f.failure(err)
	}
	handedOver := false
	defer func() {
		if !handedOver {
			c.discard()
		}
	}()
	x := &exchange{conn: c, timeout: f.timeout, method: edge.Method(ctx)}
	resp, err := x.run(buf, up)
	if err != nil {
		return f.failure(err)
	}
	handedOver = true
	return f.answer(ctx, w, x, resp)
}

// How an upstream may fail to answer.
const (
	failedBroken  = "broken"
	failedBusy    = "busy"
	failedConnect = "connect"
	failedTimeout = "timeout"
)

var failureKinds = []string{failedBroken, failedBusy, failedConnect, failedTimeout}

// failure translates once what went wrong between the gateway and the upstream. An error
// about the client's own body is already the answer.
func (f *forwarder) failure(err error) error {
	if e, ok := errors.AsType[*edge.Error](err); ok {
		return e
	}
	kind, answer := failedBroken, edge.NewError(fasthttp.StatusBadGateway, "BAD_GATEWAY", "The service behind the gateway failed.", err)
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, errBusy):
		kind, answer = failedBusy, edge.Unavailable("The service behind the gateway is busy.", time.Second, err)
	case errors.Is(err, errConnect):
		kind = failedConnect
	case errors.As(err, &timeout) && timeout.Timeout():
		kind = failedTimeout
		answer = edge.NewError(fasthttp.StatusGatewayTimeout, "GATEWAY_TIMEOUT", "The service behind the gateway did not answer in time.", err)
	}
	f.failures.WithLabelValues(f.upstream.name, kind).Inc()
	return answer
}
