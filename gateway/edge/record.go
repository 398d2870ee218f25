package edge

import (
	"bytes"
	"iter"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/route"
)

// Record is what is known about one request. The stages fill it in as they learn; the
// server writes it to the access log and counts by it. It belongs to the goroutine that
// serves the request.
type Record struct {
	RequestID string
	Endpoint  string // name of the route from the configuration; the metrics' label
	Path      string // for the log; empty until a stage knows that it holds no secret
	Subject   string
	SessionID string
	Provider  string
	Upstream  string
	TraceID   string
	Code      string // public code of an error answer

	method    string
	path      string
	query     string
	authority string
	host      string
	scheme    string
	client    netip.Addr
	now       func() time.Time // nil without a [Server]
	start     time.Time
	askedAt   time.Time     // when the client was told to send its body; zero: it was not
	waited    time.Duration // for that body to begin
	readTime  time.Duration
	status    int
	bytes     int64
	cause     error
	failed    int // status of an error that another page is told
	stream    *stream
	written   bool
}

type recordKey struct{}

// RecordOf returns the record of a request. Without a [Server] in front, as in tests of a
// single stage, it makes one from what the client sent.
func RecordOf(ctx *fasthttp.RequestCtx) *Record {
	if r, ok := ctx.UserValue(recordKey{}).(*Record); ok {
		return r
	}
	r := &Record{scheme: "http", client: remoteAddr(ctx)}
	ctx.SetUserValue(recordKey{}, r)
	if h, refusal := readHead(&ctx.Request.Header); refusal == nil {
		r.take(h)
	}
	return r
}

// Fail notes an error that is told in another way than by the envelope, for instance to the
// page that a redirect leads to, so that the log has it. It returns what may be told of it.
func (r *Record) Fail(err error) *Error {
	e := translate(err)
	r.Code, r.cause, r.failed = e.Code, err, e.Status
	return e
}

// Path returns the canonical path of a request (see [route.Canonical]): the only form that
// may be matched, logged or sent on.
func Path(ctx *fasthttp.RequestCtx) string { return RecordOf(ctx).path }

// Query returns the query of a request as it was sent, without the question mark. It may
// hold secrets and does not belong into a log.
func Query(ctx *fasthttp.RequestCtx) string { return RecordOf(ctx).query }

// Host returns the host that the request names, in lower case and without its port. It is
// empty for an HTTP/1.0 request that names none.
func Host(ctx *fasthttp.RequestCtx) string { return RecordOf(ctx).host }

// Authority returns the host that the request names, with its port where it named one.
func Authority(ctx *fasthttp.RequestCtx) string { return RecordOf(ctx).authority }

// Method returns the method of a request, one of the few that the server lets through.
func Method(ctx *fasthttp.RequestCtx) string { return RecordOf(ctx).method }

// Scheme returns "https" or "http": how the client reached the gateway, or the outermost
// trusted proxy in front of it.
func Scheme(ctx *fasthttp.RequestCtx) string { return RecordOf(ctx).scheme }

// ClientIP returns the address of the client: the peer of the connection or, behind trusted
// proxies only, what they say. It is never an IPv4 address in IPv6 form and has no zone.
func ClientIP(ctx *fasthttp.RequestCtx) netip.Addr { return RecordOf(ctx).client }

// Held returns how long the gateway has had a request: since its head was there, without
// the wait for a body that the client was told to send. It is zero without a [Server].
func Held(ctx *fasthttp.RequestCtx) time.Duration {
	r := RecordOf(ctx)
	if r.now == nil {
		return 0
	}
	return r.now().Sub(r.start) - r.waited
}

// Match looks a request up in a table by its canonical host, path and method, and names the
// endpoint in the record.
func Match[T any](ctx *fasthttp.RequestCtx, table *route.Table[T]) (route.Match[T], error) {
	r := RecordOf(ctx)
	m, err := table.Match(r.host, r.path, r.method)
	if err != nil {
		return route.Match[T]{}, err
	}
	r.Endpoint = m.Name
	return m, nil
}

func (r *Record) take(h head) {
	r.method, r.path, r.query = h.method, h.path, h.query
	r.authority, r.host = h.authority, h.host
}

// Fields returns the header fields of a request as the client sent them, in their order.
// The server has checked them: names are tokens, values hold no control characters. Names
// and values are valid until the handler returns.
func Fields(ctx *fasthttp.RequestCtx) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		raw := ctx.Request.Header.RawHeaders()
		for len(raw) > 0 {
			line, rest, _ := bytes.Cut(raw, []byte("\r\n"))
			raw = rest
			name, value, found := bytes.Cut(line, []byte(":"))
			if !found {
				return // the empty line
			}
			if !yield(name, bytes.Trim(value, " \t")) {
				return
			}
		}
	}
}
