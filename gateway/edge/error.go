package edge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/route"
)

// Public codes that this package itself answers with.
const (
	CodeBadRequest       = "BAD_REQUEST"
	CodeInvalidBody      = "INVALID_REQUEST_BODY"
	CodeNotFound         = "NOT_FOUND"
	CodeMethodNotAllowed = "METHOD_NOT_ALLOWED"
	CodeRequestTimeout   = "REQUEST_TIMEOUT"
	CodeTooLarge         = "REQUEST_TOO_LARGE"
	CodeExpectation      = "EXPECTATION_FAILED"
	CodeMisdirected      = "MISDIRECTED_REQUEST"
	CodeVersion          = "HTTP_VERSION_NOT_SUPPORTED"
	CodeInternal         = "INTERNAL_ERROR"
	CodeUnavailable      = "SERVICE_UNAVAILABLE"
)

// Error is an answer that says no. Status, Code, Message, Details and Header go to the
// client; Cause goes to the log alone.
type Error struct {
	Status  int
	Code    string
	Message string
	Details any // encoded as JSON; nil: left out
	Header  [][2]string
	Cause   error
}

// NewError returns an error of any status; the constructors below are for the frequent ones.
func NewError(status int, code, message string, cause error) *Error {
	return &Error{Status: status, Code: code, Message: message, Cause: cause}
}

// BadRequest is a 400.
func BadRequest(code, message string, cause error) *Error {
	return NewError(fasthttp.StatusBadRequest, code, message, cause)
}

// Unauthorized is a 401. Who returns it adds the WWW-Authenticate header that belongs to it.
func Unauthorized(code, message string, cause error) *Error {
	return NewError(fasthttp.StatusUnauthorized, code, message, cause)
}

// Forbidden is a 403.
func Forbidden(code, message string, cause error) *Error {
	return NewError(fasthttp.StatusForbidden, code, message, cause)
}

// NotFound is a 404.
func NotFound(code, message string, cause error) *Error {
	return NewError(fasthttp.StatusNotFound, code, message, cause)
}

// TooLarge is a 413.
func TooLarge(cause error) *Error {
	return NewError(fasthttp.StatusRequestEntityTooLarge, CodeTooLarge, "The request body is too large.", cause)
}

// Unavailable is a 503 that asks the client to come back after retryAfter.
func Unavailable(message string, retryAfter time.Duration, cause error) *Error {
	seconds := max(1, int64((retryAfter+time.Second-1)/time.Second))
	return NewError(fasthttp.StatusServiceUnavailable, CodeUnavailable, message, cause).
		With(fasthttp.HeaderRetryAfter, fmt.Sprint(seconds))
}

// Internal is a 500. The client learns the request id and nothing else.
func Internal(cause error) *Error {
	return NewError(fasthttp.StatusInternalServerError, CodeInternal, "The request could not be served.", cause)
}

// With adds a header to the answer and returns e.
func (e *Error) With(name, value string) *Error {
	e.Header = append(e.Header, [2]string{name, value})
	return e
}

// Error is for the log: the code and the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Code
	}
	return e.Code + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// translate finds the answer in err. The errors of package route are known here, so that
// no handler has to translate them.
func translate(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if m, ok := errors.AsType[*route.MethodError](err); ok {
		return methodNotAllowed(m.Allow, err)
	}
	if errors.Is(err, route.ErrNotFound) {
		return NotFound(CodeNotFound, "There is nothing here.", err)
	}
	return Internal(err)
}

func methodNotAllowed(allow []string, cause error) *Error {
	return NewError(fasthttp.StatusMethodNotAllowed, CodeMethodNotAllowed, "The method is not allowed here.", cause).
		With(fasthttp.HeaderAllow, strings.Join(allow, ", "))
}

type envelope struct {
	Error envelopeError `json:"error"`
}

type envelopeError struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Details   any    `json:"details,omitempty"`
	RequestID string `json:"request_id"`
	Timestamp string `json:"timestamp"`
}

func (e *Error) envelope(requestID string, now time.Time) envelope {
	return envelope{Error: envelopeError{
		Code: e.Code, Message: e.Message, Details: e.Details,
		RequestID: requestID, Timestamp: now.UTC().Format(time.RFC3339),
	}}
}
