package identity

import (
	"errors"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

// Bounds of a query or a form.
const (
	maxPairs = 60 // the plugin host takes 64, and some are added
	maxName  = 128
)

// Faults of a query or a form. They never quote it.
var (
	errPairs     = errors.New("too many parameters")
	errPairTwice = errors.New("a parameter is there twice")
	errPair      = errors.New("a parameter is not form-encoded UTF-8")
	errSemicolon = errors.New("a semicolon, which separates parameters for some")
)

// parsePairs reads a query or a form (WHATWG URL §5.1) that can be read in one way only: each
// name once, UTF-8, no NUL. Other servers take the first of two or the last, and what one
// checked the other would not use.
func parsePairs(raw string) (map[string]string, error) {
	values := map[string]string{}
	if strings.Contains(raw, ";") {
		return nil, errSemicolon
	}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		if len(values) == maxPairs {
			return nil, errPairs
		}
		name, value, _ := strings.Cut(pair, "=")
		name, ok := decoded(name)
		value, ok2 := decoded(value)
		if !ok || !ok2 || name == "" || len(name) > maxName {
			return nil, errPair
		}
		if _, twice := values[name]; twice {
			return nil, errPairTwice
		}
		values[name] = value
	}
	return values, nil
}

func decoded(s string) (string, bool) {
	s, err := url.QueryUnescape(s)
	return s, err == nil && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// query reads the query of a request.
func query(ctx *fasthttp.RequestCtx) (map[string]string, error) {
	values, err := parsePairs(edge.Query(ctx))
	if err != nil {
		return nil, edge.BadRequest(edge.CodeBadRequest, "The query is malformed, or names a parameter twice.", err)
	}
	return values, nil
}

const formType = "application/x-www-form-urlencoded"

// readPairs reads a form from the body of a request.
func readPairs(ctx *fasthttp.RequestCtx, limit int64) (map[string]string, error) {
	if !isForm(ctx) {
		return nil, edge.BadRequest(edge.CodeInvalidBody, "The request body must be a form, sent as "+formType+".", nil)
	}
	data, err := edge.ReadBody(ctx, limit)
	if err != nil {
		return nil, err
	}
	values, err := parsePairs(string(data))
	if err != nil {
		return nil, edge.BadRequest(edge.CodeInvalidBody, "The form is malformed, or names a field twice.", err)
	}
	return values, nil
}

// isForm reports whether the body of a request is said to be a form.
func isForm(ctx *fasthttp.RequestCtx) bool {
	kind, params, err := mime.ParseMediaType(string(ctx.Request.Header.ContentType()))
	charset, ok := params["charset"]
	return err == nil && kind == formType && (!ok || strings.EqualFold(charset, "utf-8"))
}
