package edge_test

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

func discard() *slog.Logger             { return slog.New(slog.DiscardHandler) }
func newRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

func TestReadJSON(t *testing.T) {
	var got struct{ Email string }
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		got.Email = ""
		if err := edge.ReadJSON(ctx, 64, &got); err != nil {
			return err
		}
		return ok(ctx)
	})
	const good = `{"email":"a@b"}`
	for name, row := range map[string]struct {
		contentType, body string
		status            int
		code              string
	}{
		"plain":              {"application/json", good, 200, ""},
		"charset":            {"Application/JSON; charset=UTF-8", good, 200, ""},
		"unknown members":    {"application/json", `{"email":"a@b","x":[1]}`, 200, ""},
		"no type":            {"", good, 400, "INVALID_REQUEST_BODY"},
		"form":               {"application/x-www-form-urlencoded", "email=a", 400, "INVALID_REQUEST_BODY"},
		"text that is JSON":  {"text/plain", good, 400, "INVALID_REQUEST_BODY"},
		"other charset":      {"application/json; charset=utf-16", good, 400, "INVALID_REQUEST_BODY"},
		"malformed type":     {"application/json; charset", good, 400, "INVALID_REQUEST_BODY"},
		"empty":              {"application/json", "", 400, "INVALID_REQUEST_BODY"},
		"malformed":          {"application/json", `{"email":`, 400, "INVALID_REQUEST_BODY"},
		"wrong type":         {"application/json", `{"email":{"s3cret":1}}`, 400, "INVALID_REQUEST_BODY"},
		"two values":         {"application/json", good + good, 400, "INVALID_REQUEST_BODY"},
		"garbage":            {"application/json", "s3cret", 400, "INVALID_REQUEST_BODY"},
		"array":              {"application/json", "[]", 400, "INVALID_REQUEST_BODY"},
		"over the limit":     {"application/json", `{"email":"` + strings.Repeat("a", 64) + `"}`, 413, "REQUEST_TOO_LARGE"},
		"nested without end": {"application/json", strings.Repeat("[", 64), 400, "INVALID_REQUEST_BODY"},
	} {
		for _, chunked := range []bool{false, true} {
			fields := "Content-Length: " + itoa(len(row.body))
			body := row.body
			if chunked {
				fields = "Transfer-Encoding: chunked"
				body = "0\r\n\r\n"
				if row.body != "" {
					body = hex(len(row.body)) + "\r\n" + row.body + "\r\n0\r\n\r\n"
				}
			}
			if row.contentType != "" {
				fields += "\r\nContent-Type: " + row.contentType
			}
			a := b.send(t, post(fields)+body)
			if a.status != row.status || a.code != row.code {
				t.Errorf("%s (chunked %v): answer = %d %s, want %d %s", name, chunked, a.status, a.code, row.status, row.code)
			}
			if row.status == 200 && got.Email != "a@b" {
				t.Errorf("%s: email = %q", name, got.Email)
			}
		}
	}
	if log := b.log.String(); strings.Contains(log, "s3cret") {
		t.Errorf("log quotes a body: %s", log)
	}
}

func itoa(n int) string { return string(fasthttp.AppendUint(nil, n)) }

func hex(n int) string {
	const digits = "0123456789abcdef"
	if n < 16 {
		return digits[n : n+1]
	}
	return hex(n/16) + digits[n%16:n%16+1]
}

func TestFiveMiBLoginBodyIsRefusedAtItsHead(t *testing.T) {
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		_, err := edge.ReadBody(ctx, 64<<10)
		return err
	})
	c := b.dial(t)
	go func() { _, _ = io.WriteString(c, post("Content-Length: 5242880")+strings.Repeat("a", 5<<20)) }()
	data, _ := io.ReadAll(io.LimitReader(c, 2000))
	if !strings.HasPrefix(string(data), "HTTP/1.1 413 ") || !strings.Contains(string(data), "REQUEST_TOO_LARGE") {
		t.Errorf("answer = %.300q", data)
	}
}

func TestUnreadBodiesDoNotBecomeRequests(t *testing.T) {
	b := start(t, func(ctx *fasthttp.RequestCtx) error { return edge.Unauthorized("INVALID_TOKEN", "No.", nil) })
	c := b.dial(t)
	smuggled := target("/smuggled")
	write(t, c, post("Content-Length: "+itoa(len(smuggled)))+smuggled+"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	data, _ := io.ReadAll(c)
	if n := strings.Count(string(data), "HTTP/1.1 401 "); n != 2 || b.calls.Load() != 2 {
		t.Errorf("%d answers, %d calls, want 2: %s", n, b.calls.Load(), data)
	}
}

func TestStagesWorkWithoutAServer(t *testing.T) {
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetRequestURI("/a/%61?b")
	ctx.Request.Header.SetHost("A:80")
	ctx.Request.Header.SetContentType("application/json")
	ctx.Request.SetBodyString(`{"a":"b"}`)
	var v map[string]string
	if err := edge.ReadJSON(&ctx, 100, &v); err != nil || v["a"] != "b" {
		t.Errorf("ReadJSON() = %v, %v", v, err)
	}
	if edge.Path(&ctx) != "/a/a" || edge.Host(&ctx) != "a" || edge.Query(&ctx) != "b" || edge.Method(&ctx) != "POST" || !edge.ClientIP(&ctx).IsUnspecified() {
		t.Errorf("path %q host %q client %v", edge.Path(&ctx), edge.Host(&ctx), edge.ClientIP(&ctx))
	}
}

func TestOwnershipOf(t *testing.T) {
	for name, want := range map[string]edge.Ownership{
		"X-User-ID": edge.Owned, "x-user-id": edge.Owned, "X-Forwarded-Whatever-It-May-Be-Called-Here": edge.Owned, "Forwarded": edge.Owned,
		"X-Forwarded": edge.Owned, "x_forwarded": edge.Alias, "X-Forwardedx": edge.Foreign,
		"X_User_ID": edge.Alias, "X.User-Id": edge.Alias, "x_forwarded_for": edge.Alias, "Content_Type": edge.Alias, "TRANSFER.ENCODING": edge.Alias,
		"X User ID": edge.Alias, "X!User~ID": edge.Alias, "X'User|ID": edge.Alias, "Content~Length": edge.Alias, "X~Custom": edge.Foreign, "X-Forwarded-Whatever-It-May-Be-Called_Here": edge.Owned,
		"Content-Type": edge.Foreign, "X-User-IDs": edge.Foreign, "X_Custom": edge.Foreign, "": edge.Foreign, "Accept": edge.Foreign,
	} {
		if got := edge.OwnershipOf([]byte(name)); got != want {
			t.Errorf("OwnershipOf(%q) = %d, want %d", name, got, want)
		}
	}
}
