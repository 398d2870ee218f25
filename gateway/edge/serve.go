package edge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"
)

// serve is called by fasthttp for each request whose head it could parse.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	r, refusal := s.begin(ctx)
	if refusal != nil {
		s.reject(ctx, r, refusal)
		return
	}
	if err := s.call(ctx, s.handler); err != nil {
		s.answer(ctx, r, err)
	}
	s.end(ctx, r)
}

// expect decides whether a client that waits with its body may send it. The answer of a
// refusal is already in ctx when it returns; fasthttp closes the connection after it.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	r, refusal := s.begin(ctx)
	if refusal != nil {
		s.reject(ctx, r, refusal)
		return r.status
	}
	var err error
	if s.admit != nil {
		err = s.call(ctx, s.admit)
	}
	if err == nil {
		r.askedAt = s.now()
		return fasthttp.StatusContinue
	}
	s.answer(ctx, r, err)
	s.end(ctx, r)
	return r.status
}

// begin makes the record of a request and checks its head, once per request.
func (s *Server) begin(ctx *fasthttp.RequestCtx) (*Record, *Error) {
	if r, ok := ctx.UserValue(recordKey{}).(*Record); ok {
		r.waited = s.now().Sub(r.askedAt)
		return r, nil
	}
	r := s.newRecord(ctx)
	h, refusal := readHead(&ctx.Request.Header)
	if refusal == nil && bareRequestLine(ctx.Conn()) {
		refusal = malformed(errLineEnd)
	}
	if h.requestID != "" {
		r.RequestID = h.requestID
	}
	r.take(h)
	if s.trusted.contains(r.client) {
		r.client = s.trusted.client(r.client, h.forwarded.chain)
		if h.forwarded.proto == "https" {
			r.scheme = "https"
		}
	}
	if refusal == nil && !s.anyHost[r.path] && !s.hosts.allow(r.host) {
		refusal = NewError(fasthttp.StatusMisdirectedRequest, CodeMisdirected, "This host is not served here.", nil)
	}
	return r, refusal
}

func (s *Server) newRecord(ctx *fasthttp.RequestCtx) *Record {
	r := &Record{
		RequestID: newID(),
		now:       s.now,
		start:     s.now(),
		scheme:    "http",
		client:    remoteAddr(ctx),
		readTime:  s.read,
	}
	if ctx.IsTLS() {
		r.scheme = "https"
	}
	ctx.SetUserValue(recordKey{}, r)
	return r
}

func newID() string { return "req_" + rand.Text() }

// call runs a handler; a panic becomes an error with its stack.
func (s *Server) call(ctx *fasthttp.RequestCtx, h Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			ctx.SetConnectionClose() // what the handler left unread is unknown
			err = &panicError{value: fmt.Sprint(p), stack: string(debug.Stack())}
		}
	}()
	return h(ctx)
}

type panicError struct{ value, stack string }

func (p *panicError) Error() string { return "panic: " + p.value }

// reject answers a request that is not routed. The connection ends with it: where the next
// request begins is no longer certain.
func (s *Server) reject(ctx *fasthttp.RequestCtx, r *Record, refusal *Error) {
	r.Endpoint = endpointRejected
	ctx.SetConnectionClose()
	s.answer(ctx, r, refusal)
	s.end(ctx, r)
}

// refuse is called by fasthttp when a request could not be read.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	r, ok := ctx.UserValue(recordKey{}).(*Record)
	if !ok {
		r = s.newRecord(ctx)
		r.Endpoint = endpointRejected
	}
	s.answer(ctx, r, readError(err))
	s.end(ctx, r)
}

func readError(err error) *Error {
	if _, ok := errors.AsType[*fasthttp.ErrSmallBuffer](err); ok {
		return NewError(fasthttp.StatusRequestHeaderFieldsTooLarge, CodeTooLarge, "The request header is too large.", nil)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return NewError(fasthttp.StatusRequestTimeout, CodeRequestTimeout, "The request did not arrive in time.", nil)
	}
	// The text of err may quote what the client sent, so it is not kept.
	return malformed(errors.New("request could not be parsed"))
}

// answer writes an error as the envelope.
func (s *Server) answer(ctx *fasthttp.RequestCtx, r *Record, err error) {
	e := translate(err)
	r.Code, r.cause = e.Code, err
	closing := ctx.Response.ConnectionClose()
	ctx.Response.Reset()
	r.stream = nil // closed, if there was one
	if closing {
		ctx.SetConnectionClose()
	}
	for _, h := range e.Header {
		ctx.Response.Header.Set(h[0], h[1])
	}
	body := e.envelope(r.RequestID, s.now())
	if err := WriteJSON(ctx, e.Status, body); err != nil { // details that cannot be encoded
		r.cause = errors.Join(r.cause, err)
		body.Error.Details = nil
		_ = WriteJSON(ctx, e.Status, body) // strings always can
	}
}

// end completes the answer, and writes the record unless a stream will do so when it ends.
func (s *Server) end(ctx *fasthttp.RequestCtx, r *Record) {
	r.status = ctx.Response.StatusCode()
	ctx.Response.Header.Set("X-Request-ID", r.RequestID)
	if s.leaving.Load() {
		ctx.SetConnectionClose()
	}
	if r.stream != nil {
		r.stream.finish = func() { s.write(r) }
		return
	}
	r.bytes = int64(len(ctx.Response.Body()))
	s.write(r)
}

// write counts a request and logs it, once.
func (s *Server) write(r *Record) {
	if r.written {
		return
	}
	r.written = true
	took := s.now().Sub(r.start)
	s.metrics.observe(r, took)
	level := slog.LevelInfo
	if max(r.status, r.failed) >= 500 && (r.Code != "" || r.cause != nil) {
		level = slog.LevelError // not for what an upstream or a probe says: nothing failed here
	}
	if !s.access && level < slog.LevelError {
		return
	}
	ctx := context.Background()
	if s.log.Enabled(ctx, level) {
		s.log.LogAttrs(ctx, level, "request", r.attrs(took)...)
	}
}

func (r *Record) attrs(took time.Duration) []slog.Attr {
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("request_id", r.RequestID),
		slog.String("method", methodLabel(r.method)),
		slog.String("route", endpointLabel(r.Endpoint)),
		slog.Int("status", r.status),
		slog.Float64("duration", took.Round(time.Microsecond).Seconds()),
		slog.Int64("bytes", r.bytes),
		slog.String("ip", r.client.String()),
	)
	for _, a := range [...][2]string{
		{"host", r.host}, {"path", r.Path}, {"code", r.Code}, {"subject", r.Subject}, {"session", r.SessionID},
		{"provider", r.Provider}, {"upstream", r.Upstream}, {"trace_id", r.TraceID},
	} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	if r.cause != nil {
		attrs = append(attrs, slog.String("error", r.cause.Error()))
	}
	if p, ok := errors.AsType[*panicError](r.cause); ok {
		attrs = append(attrs, slog.String("stack", p.stack))
	}
	return attrs
}
