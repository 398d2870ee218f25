package egress

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// Bounds of headers: of a request's, and how many fields of an answer's are handed on.
const (
	maxFields      = 64
	maxHeaderBytes = 16 << 10
)

// connection are the fields that belong to a connection or a message, both of which are
// this side's; those that begin with "proxy-" do so, too.
var connection = []string{
	"connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
}

// cookies are not kept, so none are sent: a plugin has an Authorization, or nothing.
var cookies = []string{"cookie", "cookie2", "set-cookie", "set-cookie2"}

// harmless are the fields that a redirect takes to another origin. Any other may be a
// credential, whatever its name.
var harmless = []string{"Accept", "Accept-Encoding", "Accept-Language", "User-Agent"}

// requestHeader checks what a plugin wants to send. Errors name fields by their position.
func requestHeader(fields []Header) (http.Header, error) {
	if len(fields) > maxFields {
		return nil, fmt.Errorf("%w: request has more than %d header fields", ErrTooLarge, maxFields)
	}
	out := make(http.Header, len(fields)+2)
	size := 0
	for i, f := range fields {
		size += len(f.Name) + len(f.Value)
		if size > maxHeaderBytes {
			return nil, fmt.Errorf("%w: header of the request is longer than %d bytes", ErrTooLarge, maxHeaderBytes)
		}
		if !httpguts.ValidHeaderFieldName(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
			return nil, fmt.Errorf("%w: header field %d has a character that it may not have", ErrInvalid, i)
		}
		if !settable(f.Name) {
			return nil, fmt.Errorf("%w: header field %d is not the plugin's to set", ErrInvalid, i)
		}
		name := http.CanonicalHeaderKey(f.Name)
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%w: header field %d is there already", ErrInvalid, i)
		}
		out[name] = []string{f.Value}
	}
	if _, set := out["User-Agent"]; !set {
		out["User-Agent"] = []string{"Shield"}
	}
	if _, set := out["Accept-Encoding"]; !set {
		out["Accept-Encoding"] = []string{"identity"} // without it any coding would do (RFC 9110 §12.5.3)
	}
	return out, nil
}

// settable reports whether a plugin may set a field. Underscores and dots count as dashes,
// since some servers behind the first read them so.
func settable(name string) bool {
	name = strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
	return !slices.Contains(connection, name) && !slices.Contains(cookies, name) && !strings.HasPrefix(name, "proxy-")
}

// responseHeader hands on the fields of an answer, or reports that there are too many.
// Values that are not text are left out: the wire to a plugin holds text alone.
func responseHeader(header http.Header) ([]Header, bool) {
	var out []Header
	for _, name := range slices.Sorted(maps.Keys(header)) {
		lower := strings.ToLower(name)
		if !handedOn(lower) {
			continue
		}
		for _, value := range header[name] {
			if utf8.ValidString(value) && httpguts.ValidHeaderFieldValue(value) {
				out = append(out, Header{lower, value})
			}
		}
	}
	return out, len(out) <= maxFields
}

func handedOn(name string) bool {
	if name == "content-length" {
		return true
	}
	return httpguts.ValidHeaderFieldName(name) && name != "alt-svc" && settable(name)
}
