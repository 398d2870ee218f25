package edge

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/route"
)

// head is the canonical form of a request's head.
type head struct {
	method    string
	path      string // canonical, see route.Canonical
	query     string // as sent, without the question mark
	authority string // host, and port where one was named
	host      string
	requestID string // as sent, where well-formed
	forwarded forwarded
}

// forwarded is what proxies in front of the gateway say; it is believed only of trusted ones.
type forwarded struct {
	chain []string // X-Forwarded-For, the fields joined in their order
	proto string   // X-Forwarded-Proto
}

// readHead checks a head that fasthttp parsed, and returns its canonical form or the answer
// that refuses it. fasthttp repairs much that two servers may read differently, so the
// fields are read again from the raw bytes that it kept.
func readHead(h *fasthttp.RequestHeader) (head, *Error) {
	var out head
	switch string(h.Protocol()) {
	case "HTTP/1.1", "HTTP/1.0":
	default:
		return out, NewError(fasthttp.StatusHTTPVersionNotSupported, CodeVersion, "HTTP/1.1 and HTTP/1.0 are spoken here.", nil)
	}
	fields, err := scanFields(h.RawHeaders())
	if err != nil {
		return out, malformed(err)
	}
	if fields.expect != "" && !strings.EqualFold(fields.expect, "100-continue") {
		return out, NewError(fasthttp.StatusExpectationFailed, CodeExpectation, "The expectation cannot be met.", nil)
	}
	out.requestID = fields.requestID
	out.forwarded = fields.forwarded
	if out.method = knownMethod(h.Method()); out.method == "" {
		return out, methodNotAllowed(route.Methods(), errors.New("unknown method"))
	}
	if err := out.readTarget(string(h.RequestURI()), string(h.Host())); err != nil {
		return out, malformed(err)
	}
	return out, nil
}

func malformed(cause error) *Error {
	return BadRequest(CodeBadRequest, "The request is malformed.", cause)
}

// knownMethod returns a method without an allocation, or nothing.
func knownMethod(method []byte) string {
	switch string(method) {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case "HEAD":
		return "HEAD"
	case "PUT":
		return "PUT"
	case "PATCH":
		return "PATCH"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	}
	return ""
}

// readTarget takes a request target apart (RFC 9112 §3.2): the origin form, or the absolute
// form when it names the same host as the Host header. Which of two hosts is meant must not
// be a question.
func (h *head) readTarget(target, host string) error {
	if host != "" {
		name, port, err := route.SplitAuthority(host)
		if err != nil {
			return err
		}
		h.host, h.authority = name, joinAuthority(name, port)
	}
	if !strings.HasPrefix(target, "/") {
		rest, err := h.cutAuthority(target)
		if err != nil {
			return err
		}
		target = rest
	}
	path, query, _ := strings.Cut(target, "?")
	if strings.IndexByte(query, '#') >= 0 {
		return errors.New("fragment in the request target")
	}
	canonical, err := route.Canonical(path)
	if err != nil {
		return err
	}
	h.path, h.query = canonical, query
	return nil
}

// cutAuthority returns what follows the authority of a target in absolute form.
func (h *head) cutAuthority(target string) (string, error) {
	scheme, rest, found := strings.Cut(target, "://")
	if !found || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", errors.New("request target of an unknown form")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	name, port, err := route.SplitAuthority(rest[:end])
	if err != nil {
		return "", err
	}
	if joinAuthority(name, port) != h.authority {
		return "", errors.New("request target and Host header differ")
	}
	if rest = rest[end:]; rest == "" || rest[0] == '?' {
		rest = "/" + rest
	}
	return rest, nil
}

func joinAuthority(host, port string) string {
	if port == "" {
		return host
	}
	return host + ":" + port
}

// Faults of header fields.
var (
	errLineEnd   = errors.New("header line without CRLF")
	errFold      = errors.New("folded header line")
	errName      = errors.New("header name with a forbidden character")
	errAlias     = errors.New("header name that some servers read as a managed one")
	errDuplicate = errors.New("header field sent twice that may be sent once")
	errFraming   = errors.New("both Content-Length and Transfer-Encoding")
	errCoding    = errors.New("transfer coding other than chunked")
)

// fields is what the head's own fields say that readHead needs.
type fields struct {
	expect    string
	requestID string
	forwarded forwarded
}

// single are the fields whose repetition would leave it to each server which one counts.
var single = [...]string{
	"host", "authorization", "content-length", "content-type", "expect", "origin",
	"proxy-authorization", "referer", "transfer-encoding", "user-agent",
}

// scanFields reads the raw header block line by line.
func scanFields(raw []byte) (fields, error) {
	var out fields
	var seen, ids int
	var length, coding bool
	for len(raw) > 0 {
		line, rest, ok := bytes.Cut(raw, []byte("\r\n"))
		if !ok || bytes.IndexByte(line, '\n') >= 0 || bytes.IndexByte(line, '\r') >= 0 {
			return out, errLineEnd
		}
		raw = rest
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			return out, errFold
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) {
			return out, errName
		}
		if OwnershipOf(name) == Alias {
			return out, errAlias
		}
		value = bytes.Trim(value, " \t")
		for i, s := range single {
			if !equalFold(name, s) {
				continue
			}
			if seen&(1<<i) != 0 {
				return out, errDuplicate
			}
			seen |= 1 << i
		}
		switch {
		case equalFold(name, "content-length"):
			length = true
		case equalFold(name, "transfer-encoding"):
			if !equalFold(value, "chunked") {
				return out, errCoding
			}
			coding = true
		case equalFold(name, "expect"):
			out.expect = string(value)
		case equalFold(name, "x-request-id"):
			ids++
			out.requestID = wellFormedID(value)
		case equalFold(name, "x-forwarded-for"):
			out.forwarded.chain = append(out.forwarded.chain, string(value))
		case equalFold(name, "x-forwarded-proto"):
			out.forwarded.proto = string(value)
		}
	}
	if length && coding {
		return out, errFraming
	}
	if ids > 1 {
		out.requestID = ""
	}
	return out, nil
}

// wellFormedID returns a request id that a client may choose: it is written into the log
// and sent upstream.
func wellFormedID(id []byte) string {
	if len(id) == 0 || len(id) > 128 {
		return ""
	}
	for _, c := range id {
		if !isAlphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return ""
		}
	}
	return string(id)
}

func isToken(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	return !slices.ContainsFunc(name, func(c byte) bool {
		return !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0
	})
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// equalFold compares name with a lower-case ASCII word.
func equalFold[S ~[]byte | ~string](name S, word string) bool {
	if len(name) != len(word) {
		return false
	}
	for i := range len(name) {
		if lower(name[i]) != word[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
