package edge_test

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/route"
)

// FuzzHead feeds heads to fasthttp's parser and to the check behind it. What passes must be
// in canonical form, framed in one way, and free of every alias.
func FuzzHead(f *testing.F) {
	for _, row := range refused {
		if len(row.raw) < 4096 {
			f.Add([]byte(row.raw))
		}
	}
	for _, row := range accepted {
		f.Add([]byte(row.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var ctx fasthttp.RequestCtx
		if ctx.Request.Header.Read(bufio.NewReader(bytes.NewReader(raw))) != nil {
			return
		}
		path, host := edge.Path(&ctx), edge.Host(&ctx)
		if path == "" {
			return // refused
		}
		if c, err := route.Canonical(path); err != nil || c != path {
			t.Errorf("path %q is not canonical", path)
		}
		if h, _, err := route.SplitAuthority(host); host != "" && (err != nil || h != host) {
			t.Errorf("host %q is not canonical", host)
		}
		if strings.Contains(edge.Authority(&ctx), "@") || strings.ContainsAny(edge.Query(&ctx), "\r\n\x00#") {
			t.Errorf("authority %q, query %q", edge.Authority(&ctx), edge.Query(&ctx))
		}
		seen := map[string]int{}
		for name, value := range edge.Fields(&ctx) {
			seen[strings.ToLower(string(name))]++
			if edge.OwnershipOf(name) == edge.Alias || bytes.ContainsAny(name, " \t_\r\n\x00") && edge.OwnershipOf(bytes.ReplaceAll(name, []byte("_"), []byte("-"))) == edge.Owned {
				t.Errorf("alias %q passed", name)
			}
			if bytes.ContainsAny(value, "\r\n\x00") {
				t.Errorf("value %q passed", value)
			}
		}
		if seen["content-length"] > 1 || seen["host"] > 1 || seen["authorization"] > 1 || seen["content-length"] > 0 && seen["transfer-encoding"] > 0 {
			t.Errorf("fields %v passed", seen)
		}
	})
}

// BenchmarkHead is the cost of the check, without fasthttp's own parsing.
func BenchmarkHead(b *testing.B) {
	const raw = "GET /api/v2/things?limit=20 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.1\r\nAccept: application/json\r\n" +
		"Accept-Encoding: gzip, br\r\nAccept-Language: en\r\nAuthorization: Bearer abc\r\nCookie: a=b\r\nX-Request-ID: 0123456789\r\n\r\n"
	var ctx fasthttp.RequestCtx
	if err := ctx.Request.Header.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ctx.ResetUserValues()
		if edge.Path(&ctx) == "" {
			b.Fatal("refused")
		}
	}
}
