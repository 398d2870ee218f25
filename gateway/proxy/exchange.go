package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

// exchange is one request and its answer on one connection.
type exchange struct {
	conn    *conn
	timeout time.Duration
	method  string
	sent    bool // the whole request is out, so the connection can be used again
	early   bool // the upstream spoke before that
}

// run sends what stands in buf, the head with the first part of the body, and the rest of the
// body, and reads the head of the answer. The caller owns the response, whose body is still
// to be read from the connection.
func (x *exchange) run(buf *[]byte, body *upload) (*fasthttp.Response, error) {
	sendErr := x.send(buf, body)
	if e, ok := errors.AsType[*edge.Error](sendErr); ok {
		return nil, e // the client's body broke off: the upstream must not see a clean end
	}
	// Who answers before the request is out may not read the rest of it, or read it as the
	// next one.
	x.sent = sendErr == nil && !x.early
	resp, err := x.receive()
	if err == nil {
		return resp, nil // also when the upstream answered before it read everything
	}
	if sendErr != nil {
		return nil, sendErr
	}
	return nil, err
}

// send writes what stands in buf and then the body, piece by piece as it arrives.
func (x *exchange) send(buf *[]byte, body *upload) error {
	if err := x.write(*buf); err != nil {
		return err
	}
	for !body.ended {
		piece, err := body.next(*buf)
		if err != nil {
			return err
		}
		*buf = piece // the pool keeps what grew
		x.early = x.early || !quiet(x.conn.raw)
		if err := x.write(piece); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if _, err := x.conn.Write(p); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	return nil
}

// receive reads the head of the final answer; interim ones are dropped.
func (x *exchange) receive() (*fasthttp.Response, error) {
	resp := fasthttp.AcquireResponse()
	resp.StreamBody = true
	resp.Header.SetNoDefaultContentType(true) // what the upstream does not say is not said for it
	x.conn.headUntil = time.Now().Add(x.timeout)
	err := x.receiveHead(resp)
	x.conn.headUntil = time.Time{}
	if err == nil && x.method != fasthttp.MethodHead && !bodiless(resp.StatusCode()) {
		err = resp.ReadBody(x.conn.reader, 0) // hands the stream out and reads nothing yet
	}
	if err == nil {
		return resp, nil
	}
	fasthttp.ReleaseResponse(resp)
	// The text of an error quotes what there is of the answer, which may hold anything.
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil, fmt.Errorf("read answer: %w", os.ErrDeadlineExceeded)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("read answer: connection closed")
	}
	return nil, errors.New("read answer: broken or malformed")
}

// mostInterim is how many interim answers may come before the final one.
const mostInterim = 100

// receiveHead reads heads until a final one.
func (x *exchange) receiveHead(resp *fasthttp.Response) error {
	for range mostInterim {
		if err := checkStatus(x.conn.reader); err != nil {
			return err
		}
		if err := resp.Header.Read(x.conn.reader); err != nil {
			return err
		}
		switch status := resp.StatusCode(); {
		case status == fasthttp.StatusSwitchingProtocols:
			return errStatus // nobody asked for it
		case status >= 200:
			return nil
		}
	}
	return errStatus
}

// errStatus is the cause of an answer with a status line that cannot be passed on.
var errStatus = errors.New("status out of range")

// checkStatus looks at the status line of the next head: "HTTP/1.1 200", and then its end or
// a space. fasthttp would make 200 of the status 000.
func checkStatus(r *bufio.Reader) error {
	const version, length = len("HTTP/1."), len("HTTP/1.1 200")
	line, err := r.Peek(length + 1)
	if err != nil {
		return err
	}
	code := line[length-len("200") : length]
	framed := string(line[:version]) == "HTTP/1." && isDigit(line[version]) && line[version+1] == ' ' &&
		strings.IndexByte(" \r\n", line[length]) >= 0
	if !framed || code[0] < '1' || code[0] > '5' || !isDigit(code[1]) || !isDigit(code[2]) {
		return errStatus
	}
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// bodiless reports whether answers of a status have no body, whatever their head says.
func bodiless(status int) bool {
	return status == fasthttp.StatusNoContent || status == fasthttp.StatusNotModified
}
