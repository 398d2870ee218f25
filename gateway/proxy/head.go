package proxy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

// appendHead writes the head of the request that goes upstream: the client's fields without
// those that end here, and the gateway's own.
func (f *forwarder) appendHead(out []byte, ctx *fasthttp.RequestCtx, body bool, size int64) []byte {
	out = append(out, edge.Method(ctx)...)
	out = append(out, ' ')
	out = append(out, f.target(ctx)...)
	out = append(out, " HTTP/1.1\r\n"...)
	out = appendField(out, "Host", f.upstream.authority)
	listed := listedInConnection(ctx)
	for name, value := range edge.Fields(ctx) {
		if f.ends(name) || contains(listed, name) {
			continue
		}
		if len(f.ownCookies) > 0 && bytes.EqualFold(name, []byte("Cookie")) {
			for _, own := range f.ownCookies {
				value = withoutCookie(value, own)
			}
			if len(value) == 0 {
				continue
			}
		}
		out = append(out, name...)
		out = append(out, ": "...)
		out = append(out, value...)
		out = append(out, '\r', '\n')
	}
	switch method := edge.Method(ctx); {
	case body && size >= 0:
		out = appendField(out, "Content-Length", strconv.FormatInt(size, 10))
	case body:
		out = appendField(out, "Transfer-Encoding", "chunked")
	case method == fasthttp.MethodPost || method == fasthttp.MethodPut || method == fasthttp.MethodPatch:
		out = appendField(out, "Content-Length", "0") // RFC 9110 §8.6
	}
	out = f.appendOwn(out, ctx)
	return append(out, '\r', '\n')
}

// target is the canonical path, less the prefix, and the query.
func (f *forwarder) target(ctx *fasthttp.RequestCtx) string {
	path := strings.TrimPrefix(edge.Path(ctx), f.strip)
	if path == "" {
		path = "/"
	}
	if query := edge.Query(ctx); query != "" {
		return path + "?" + query
	}
	return path
}

// appendOwn writes the fields that are the gateway's alone.
func (f *forwarder) appendOwn(out []byte, ctx *fasthttp.RequestCtx) []byte {
	r := edge.RecordOf(ctx)
	out = appendField(out, "X-Request-ID", r.RequestID)
	if client := edge.ClientIP(ctx); client.IsValid() {
		out = appendField(out, "X-Forwarded-For", client.String())
	}
	out = appendField(out, "X-Forwarded-Proto", edge.Scheme(ctx))
	if authority := edge.Authority(ctx); authority != "" {
		out = appendField(out, "X-Forwarded-Host", authority)
	}
	if f.trace {
		var trace string
		trace, r.TraceID = newTrace()
		out = appendField(out, "Traceparent", trace)
	}
	if f.identity == nil {
		return out
	}
	f.identity(ctx, func(name, value string) {
		if edge.OwnershipOf([]byte(name)) != edge.Owned {
			panic("BUG: identity header " + name + " is not the gateway's own")
		}
		if value != "" {
			out = appendField(out, name, Encode(value))
		}
	})
	return out
}

func appendField(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, ": "...)
	out = append(out, value...)
	return append(out, '\r', '\n')
}

// Encode makes any text fit for an identity header: printable ASCII stands for itself, and
// every other byte of its UTF-8, and the percent sign, becomes %XX, and so does a space at
// either end, which would get lost and make two subjects one. Upstreams read it back with
// any percent-decoder. Nothing that a person chose as a name can end a header line.
func Encode(value string) string {
	plain := func(i int) bool {
		c := value[i]
		return c > 0x20 && c < 0x7f && c != '%' || c == ' ' && i > 0 && i < len(value)-1
	}
	n := 0
	for n < len(value) && plain(n) {
		n++
	}
	if n == len(value) {
		return value
	}
	const digits = "0123456789ABCDEF"
	out := append(make([]byte, 0, len(value)+16), value[:n]...)
	for i := n; i < len(value); i++ {
		if c := value[i]; plain(i) {
			out = append(out, c)
		} else {
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(out)
}

// withoutCookie returns the value of a Cookie field without the pairs of one name. It is
// value itself if there are none.
func withoutCookie(value, name []byte) []byte {
	if !bytes.Contains(value, name) {
		return value
	}
	var kept [][]byte
	for pair := range bytes.SplitSeq(value, []byte(";")) {
		pair = bytes.Trim(pair, " \t")
		if n, _, _ := bytes.Cut(pair, []byte("=")); !bytes.Equal(bytes.TrimRight(n, " \t"), name) {
			kept = append(kept, pair)
		}
	}
	return bytes.Join(kept, []byte("; "))
}

// newTrace begins a trace: version 00, sampled (W3C Trace Context §3.2).
func newTrace() (parent, id string) {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	id = hex.EncodeToString(b[:16])
	return "00-" + id + "-" + hex.EncodeToString(b[16:]) + "-01", id
}

// hopByHop are the fields of one connection (RFC 9110 §7.6.1), the framing that is written
// anew, and Expect, which was answered here.
var hopByHop = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "proxy-authenticate": true,
	"proxy-authorization": true, "proxy-authentication-info": true, "te": true, "trailer": true,
	"transfer-encoding": true, "upgrade": true, "http2-settings": true,
	"content-length": true, "expect": true,
}

// ends reports whether a field of the client stops at the gateway.
func (f *forwarder) ends(name []byte) bool {
	if edge.OwnershipOf(name) != edge.Foreign || isHopByHop(name) || bytes.EqualFold(name, []byte("Host")) {
		return true
	}
	return !f.authorize && bytes.EqualFold(name, []byte("Authorization"))
}

func isHopByHop(name []byte) bool {
	var folded [32]byte
	if len(name) > len(folded) {
		return false
	}
	for i, c := range name {
		folded[i] = lower(c)
	}
	return hopByHop[string(folded[:len(name)])]
}

// listedInConnection returns the names that the client declared to be of this connection,
// in the order of compareFold: a head has room for thousands of them and as many fields, so
// they are not compared each with each.
func listedInConnection(ctx *fasthttp.RequestCtx) [][]byte {
	var listed [][]byte
	for name, value := range edge.Fields(ctx) {
		if bytes.EqualFold(name, []byte("Connection")) {
			listed = appendList(listed, value)
		}
	}
	slices.SortFunc(listed, compareFold)
	return listed
}

func appendList(list [][]byte, value []byte) [][]byte {
	for item := range bytes.SplitSeq(value, []byte(",")) {
		if item = bytes.Trim(item, " \t"); len(item) > 0 {
			list = append(list, item)
		}
	}
	return list
}

// contains reports whether a list in the order of compareFold holds a name.
func contains(list [][]byte, name []byte) bool {
	_, found := slices.BinarySearchFunc(list, name, compareFold)
	return found
}

// compareFold orders names by their length and then by their letters, whatever their case.
func compareFold(a, b []byte) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	for i := range a {
		if d := int(lower(a[i])) - int(lower(b[i])); d != 0 {
			return d
		}
	}
	return 0
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
