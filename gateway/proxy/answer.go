package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

// smallAnswer is the longest body that is read at once, so that its connection is free for
// the next request before the client has taken it.
const smallAnswer = 16 << 10

// answer copies the head of an upstream's answer and lets its body follow.
func (f *forwarder) answer(ctx *fasthttp.RequestCtx, w *watch, x *exchange, resp *fasthttp.Response) error {
	b := &answerBody{
		conn: x.conn, resp: resp, from: resp.BodyStream(), declared: resp.Header.ContentLength(),
		reusable: x.sent && !resp.ConnectionClose(),
	}
	if b.from == nil { // HEAD, 204, 304
		w.start()
		copyHead(ctx, resp)
		if ctx.IsHead() && b.declared >= 0 {
			ctx.Response.Header.SetContentLength(b.declared)
		}
		ctx.Response.SkipBody = true
		b.complete = true
		return b.Close()
	}
	if b.declared >= 0 && b.declared <= smallAnswer {
		data := make([]byte, b.declared)
		if _, err := io.ReadFull(b, data); err != nil {
			_ = b.Close()
			return f.failure(err)
		}
		w.start()
		copyHead(ctx, resp)
		ctx.Response.SetBodyRaw(data)
		b.complete = true
		return b.Close()
	}
	w.start()
	copyHead(ctx, resp)
	ctx.Response.ImmediateHeaderFlush = true
	edge.Stream(ctx, b, int64(max(b.declared, -1)))
	return nil
}

// copyHead copies status and fields, without those of the upstream's connection and those
// that tell what it runs. Names that are no tokens are dropped: fasthttp lets spaces in
// them pass.
func copyHead(ctx *fasthttp.RequestCtx, resp *fasthttp.Response) {
	ctx.Response.SetStatusCode(resp.StatusCode())
	var listed [][]byte
	for name, value := range resp.Header.All() {
		if bytes.EqualFold(name, []byte("Connection")) {
			listed = appendList(listed, value)
		}
	}
	slices.SortFunc(listed, compareFold)
	h := &ctx.Response.Header
	h.SetNoDefaultContentType(true)
	for name, value := range resp.Header.All() {
		switch {
		case isHopByHop(name), contains(listed, name), bytes.IndexByte(name, ' ') >= 0,
			bytes.EqualFold(name, []byte("Server")), bytes.EqualFold(name, []byte("X-Request-ID")):
			continue
		}
		h.AddBytesKV(name, value)
	}
}

// answerBody is the body of an answer. Closing it ends the exchange.
type answerBody struct {
	conn     *conn
	resp     *fasthttp.Response
	from     io.Reader
	declared int // Content-Length; negative: its framing tells
	read     int
	reusable bool
	complete bool
	closed   bool
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.read += n
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		return n, fmt.Errorf("read answer: %w", brokenOff(err))
	case b.read < b.declared, b.declared == -1 && b.conn.ended:
		// fasthttp takes the end of the connection for the end of the body, also between
		// two chunks.
		return n, fmt.Errorf("read answer: %w", io.ErrUnexpectedEOF)
	}
	b.complete = true
	return n, io.EOF
}

// brokenOff keeps the kind of an error and drops its text, which may quote the answer.
func brokenOff(err error) error {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return os.ErrDeadlineExceeded
	}
	return io.ErrUnexpectedEOF
}

// Close frees the connection for the next request if the body was read to its end.
func (b *answerBody) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	_ = b.resp.CloseBodyStream()
	fasthttp.ReleaseResponse(b.resp)
	if b.complete && b.reusable {
		b.conn.release()
	} else {
		b.conn.discard()
	}
	return nil
}
