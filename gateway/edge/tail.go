package edge

import (
	"errors"
	"io"

	"github.com/valyala/fasthttp"
)

// tail sends a stream of unknown length to a client of HTTP/1.0, which does not know chunks:
// the end of the connection is the end of the body (RFC 9112 §6.3, 8). fasthttp frames every
// stream, so it is given an answer that is a head alone, and the stream follows when
// fasthttp lets go of the request: it closes the values of a request in any case, after the
// answer was flushed, and before it closes the connection or counts it as ended. (A hijacked
// connection would not be waited for by a shutdown, and its handler is not always called.)
type tail struct {
	conn   *conn
	stream *stream
}

type tailKey struct{}

// follow makes s the tail of the answer, or reports that the answer needs none.
func follow(ctx *fasthttp.RequestCtx, s *stream, size int64) bool {
	c, ok := ctx.Conn().(*conn)
	if !ok || size >= 0 || ctx.Request.Header.IsHTTP11() || ctx.IsHead() {
		return false
	}
	ctx.SetUserValue(tailKey{}, &tail{conn: c, stream: s})
	ctx.Response.SkipBody = true
	ctx.Response.Header.SetContentLength(-2) // neither a length nor chunks, and the connection closes
	return true
}

// Close sends the stream. It is called by fasthttp, once.
func (t *tail) Close() error {
	err := t.send()
	_ = t.stream.CloseWithError(err)
	if err != nil {
		t.conn.reset()
	}
	return err
}

var errNoHead = errors.New("the head of the answer did not reach the client")

func (t *tail) send() error {
	if t.stream.record.stream != t.stream { // another answer took its place
		return nil
	}
	if t.conn.failed {
		return errNoHead
	}
	_, err := io.Copy(t.conn, t.stream)
	return err
}
