package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// errBodyTooLarge is the cause of [TooLarge] when a body turned out longer than allowed.
var errBodyTooLarge = errors.New("request body over the limit")

// Body returns the request's body as a stream that ends with a 413 [*Error] after limit
// bytes and with a 400 when the client broke its framing; limit 0 is unlimited. A declared
// length over the limit is refused at once, before anything is read. Size is the declared
// length, or -1 when only the end of the stream tells. The reader is nil when there is no
// body. It must not be used after the handler returned, nor by two goroutines.
func Body(ctx *fasthttp.RequestCtx, limit int64) (body io.Reader, size int64, err error) {
	stream := ctx.RequestBodyStream()
	size = int64(ctx.Request.Header.ContentLength()) // -1: chunked
	if stream == nil {                               // no body, or a test that set one
		data := ctx.Request.Body()
		stream, size = bytes.NewReader(data), int64(len(data))
	}
	if limit > 0 && size > limit {
		return nil, 0, TooLarge(errBodyTooLarge)
	}
	if size == 0 {
		return nil, 0, nil
	}
	patience := RecordOf(ctx).readTime
	return &bodyReader{ctx: ctx, from: stream, limit: limit, declared: size, most: patience, patience: patience}, size, nil
}

// leastRate is how many bytes a second of waiting has to bring on average; who sends fewer
// holds a connection, and maybe one to an upstream, and not an upload. The slowest mobile
// networks that are left (GPRS, EDGE) carry 2 to 10 KiB/s, and an outage as long as
// Timeouts.Read is forgiven at any time, so 1 KiB/s cuts off nobody who would ever arrive.
const leastRate = 1 << 10

// bodyReader counts what the client sends and gives it time for each read. fasthttp sets
// one read deadline for a whole request, which would cut off any long upload. Here the
// client has Timeouts.Read, spends it while it is waited for, and earns it back with what it
// sends, but no more than that: what came fast in the beginning is no right to be slow for
// hours. While nobody reads, because an upstream does not take the bytes, nothing is spent.
type bodyReader struct {
	ctx   *fasthttp.RequestCtx
	from  io.Reader
	limit int64
	read  int64
	err   error

	declared int64 // -1: the framing tells

	most     time.Duration // 0: the client is waited for without end
	patience time.Duration // what is left of it
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.wait(p)
	b.read += int64(n)
	switch {
	case b.limit > 0 && b.read > b.limit:
		b.err = TooLarge(errBodyTooLarge)
		return 0, b.err
	case err == io.EOF:
		b.err = b.end()
	case err != nil:
		b.err = bodyError(err)
	}
	return n, b.err
}

// wait reads once, for as long as there is patience.
func (b *bodyReader) wait(p []byte) (int, error) {
	if b.most <= 0 || b.ctx.Conn() == nil {
		return b.from.Read(p)
	}
	began := time.Now()
	_ = b.ctx.Conn().SetReadDeadline(began.Add(b.patience)) // a dead connection shows at the read
	n, err := b.from.Read(p)
	earned := time.Duration(n) * time.Second / leastRate
	b.patience = min(b.most, b.patience-time.Since(began)+earned)
	return n, err
}

// end tells a body that is complete from one that the client broke off: fasthttp's stream
// may end with io.EOF in both cases, also between two chunks.
func (b *bodyReader) end() error {
	if b.read < b.declared || b.declared < 0 && endedEarly(b.ctx.Conn()) {
		return bodyError(io.ErrUnexpectedEOF)
	}
	return io.EOF
}

// errBodyFraming is the cause of a body whose chunks or trailers are malformed.
var errBodyFraming = errors.New("malformed chunk or trailer")

// bodyError keeps the kind of an error and drops its text: fasthttp quotes trailers.
func bodyError(cause error) *Error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(cause, &timeout) && timeout.Timeout():
		return NewError(fasthttp.StatusRequestTimeout, CodeRequestTimeout, "The request body did not arrive in time.", os.ErrDeadlineExceeded)
	case errors.Is(cause, io.EOF), errors.Is(cause, io.ErrUnexpectedEOF):
		cause = io.ErrUnexpectedEOF
	default:
		cause = errBodyFraming
	}
	return BadRequest(CodeInvalidBody, "The request body is broken.", fmt.Errorf("read body: %w", cause))
}

// ReadBody returns the whole body of a request, at most limit bytes of it. Its errors are
// [*Error] values: 413 for a longer body, 400 for a broken one, 408 for one too slow.
func ReadBody(ctx *fasthttp.RequestCtx, limit int64) ([]byte, error) {
	body, size, err := Body(ctx, limit)
	if err != nil || body == nil {
		return nil, err
	}
	var buf bytes.Buffer
	buf.Grow(int(min(max(size, 0), 64<<10)) + bytes.MinRead)
	if _, err := buf.ReadFrom(body); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// ReadJSON decodes the body of a request, a single JSON value of at most limit bytes sent
// as application/json, into v. Everything else is a 400 INVALID_REQUEST_BODY, or a 413.
// Members that v does not have are ignored.
func ReadJSON(ctx *fasthttp.RequestCtx, limit int64, v any) error {
	if err := checkJSONType(string(ctx.Request.Header.ContentType())); err != nil {
		return BadRequest(CodeInvalidBody, "The request body must be JSON, sent as application/json.", err)
	}
	data, err := ReadBody(ctx, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return BadRequest(CodeInvalidBody, "The request body is not the JSON that is expected here.", jsonFault(err))
	}
	return nil
}

func checkJSONType(contentType string) error {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "application/json" {
		return errors.New("content type is not application/json")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return errors.New("charset is not utf-8")
	}
	return nil
}

// jsonFault keeps the place of a fault and drops its text: encoding/json quotes the body.
func jsonFault(err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("syntax error at byte %d", e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("wrong type at byte %d", e.Offset)
	}
	return errors.New("JSON does not fit")
}

// WriteJSON answers with status and v as JSON. Unless the handler said otherwise the answer
// is not to be stored: what the gateway itself answers is about one person.
func WriteJSON(ctx *fasthttp.RequestCtx, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return Internal(fmt.Errorf("encode answer: %w", err))
	}
	h := &ctx.Response.Header
	ctx.Response.ResetBody()
	ctx.SetStatusCode(status)
	h.SetContentType("application/json")
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	if len(h.Peek(fasthttp.HeaderCacheControl)) == 0 {
		h.Set(fasthttp.HeaderCacheControl, "no-store")
	}
	ctx.Response.SetBodyRaw(data)
	return nil
}
