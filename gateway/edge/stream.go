package edge

import (
	"fmt"
	"io"

	"github.com/valyala/fasthttp"
)

// Stream makes body the answer's body; size is its length, or -1 when only its end tells.
// Body is closed when it was sent or when the client is gone. A read that fails breaks the
// connection, so that the client never takes a part for the whole. The request's record is
// written when the stream ends. Nothing may change the answer's body after it.
func Stream(ctx *fasthttp.RequestCtx, body io.ReadCloser, size int64) {
	r := RecordOf(ctx)
	r.stream = &stream{record: r, body: body}
	if !follow(ctx, r.stream, size) {
		ctx.Response.SetBodyStream(r.stream, int(size))
	}
}

// stream counts a body on its way to the client.
type stream struct {
	record *Record
	body   io.ReadCloser
	finish func() // nil as long as the handler runs
	closed bool
}

// Read turns a panic into an error: it runs on fasthttp's goroutine, outside of any handler.
func (s *stream) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, fmt.Errorf("panic: %v", v)
		}
		s.record.bytes += int64(n)
		if err != nil && err != io.EOF {
			s.record.cause = err
		}
	}()
	return s.body.Read(p)
}

// Close closes the body. fasthttp calls it first and CloseWithError right after it.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.body.Close()
}

// CloseWithError ends the answer, with the error that broke it off.
func (s *stream) CloseWithError(cause error) error {
	err := s.Close()
	if cause != nil && s.record.cause == nil {
		s.record.cause = cause
	}
	if s.finish != nil {
		s.finish()
	}
	return err
}
