package edge_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

// The rows are what fasthttp lets through or answers in its own way, found by sending it,
// and what was decided here. Each raw request must get exactly this status and code,
// must not reach the handler, and must end its connection; a second, harmless request sent
// right behind it must never be answered.
var refused = []struct {
	name   string
	raw    string
	status int
	code   string
}{
	// Framing: exactly one reading of where the request ends.
	{"content-length and transfer-encoding", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "BAD_REQUEST"},
	{"transfer-encoding and content-length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "BAD_REQUEST"},
	{"xchunked", post("Transfer-Encoding: xchunked"), 400, "BAD_REQUEST"},
	{"chunked, identity", post("Transfer-Encoding: chunked, identity"), 400, "BAD_REQUEST"},
	{"gzip, chunked", post("Transfer-Encoding: gzip, chunked"), 400, "BAD_REQUEST"},
	{"quoted chunked", post("Transfer-Encoding: \"chunked\""), 400, "BAD_REQUEST"},
	{"transfer-encoding twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400, "BAD_REQUEST"},
	{"transfer-encoding behind VT", post("Transfer-Encoding: \vchunked"), 400, "BAD_REQUEST"},
	{"transfer-encoding identity", post("Transfer-Encoding: identity"), 400, "BAD_REQUEST"},
	{"transfer-encoding identity and length", post("Transfer-Encoding: identity\r\nContent-Length: 0"), 400, "BAD_REQUEST"},
	{"transfer-encoding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "BAD_REQUEST"},
	{"folded transfer-encoding", post("Transfer-Encoding:\r\n chunked"), 400, "BAD_REQUEST"},
	{"same length twice", post("Content-Length: 0\r\nContent-Length: 0"), 400, "BAD_REQUEST"},
	{"two lengths", post("Content-Length: 0\r\nContent-Length: 1"), 400, "BAD_REQUEST"},
	{"length list", post("Content-Length: 5, 5"), 400, "BAD_REQUEST"},
	{"negative length", post("Content-Length: -1"), 400, "BAD_REQUEST"},
	{"signed length", post("Content-Length: +5"), 400, "BAD_REQUEST"},
	{"hexadecimal length", post("Content-Length: 0x5"), 400, "BAD_REQUEST"},
	{"length with underscore", post("Content-Length: 5_0"), 400, "BAD_REQUEST"},
	{"length with space", post("Content-Length: 5 5"), 400, "BAD_REQUEST"},
	{"empty length", post("Content-Length:"), 400, "BAD_REQUEST"},
	{"overflowing length", post("Content-Length: 99999999999999999999"), 400, "BAD_REQUEST"},

	// Lines and names.
	{"obs-fold", get("X-A: b\r\n c"), 400, "BAD_REQUEST"},
	{"obs-fold with tab", get("X-A: b\r\n\tc"), 400, "BAD_REQUEST"},
	{"fold in the first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "BAD_REQUEST"},
	{"bare LF in the head", "GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n", 400, "BAD_REQUEST"},
	{"bare LF at the end of the head", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\n\r\n\r\n", 400, "BAD_REQUEST"},
	{"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "BAD_REQUEST"},
	{"bare LF before the request line", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "BAD_REQUEST"},
	{"bare CR in a value", get("X-A: b\rc"), 400, "BAD_REQUEST"},
	{"NUL in a value", get("X-A: b\x00c"), 400, "BAD_REQUEST"},
	{"control character in a value", get("X-A: b\x01c"), 400, "BAD_REQUEST"},
	{"space before the colon", get("X-A : b"), 400, "BAD_REQUEST"},
	{"space in a name", get("X A: b"), 400, "BAD_REQUEST"},
	{"NUL in a name", get("X\x00A: b"), 400, "BAD_REQUEST"},
	{"at sign in a name", get("X@A: b"), 400, "BAD_REQUEST"},
	{"parenthesis in a name", get("X(A: b"), 400, "BAD_REQUEST"},
	{"non-ASCII name", get("X-\xc3\xa4: b"), 400, "BAD_REQUEST"},
	{"empty name", get(": b"), 400, "BAD_REQUEST"},
	{"no colon", get("X-A b"), 400, "BAD_REQUEST"},

	// Aliases of fields that the gateway owns or frames by.
	{"X_User_ID", get("X_User_ID: admin"), 400, "BAD_REQUEST"},
	{"X.User.Id", get("X.User.Id: admin"), 400, "BAD_REQUEST"},
	{"X!User~Id", get("X!User~Id: admin"), 400, "BAD_REQUEST"},
	{"Content~Length", get("Content~Length: 5"), 400, "BAD_REQUEST"},
	{"x-user_id", get("x-user_id: admin"), 400, "BAD_REQUEST"},
	{"X_Forwarded_For", get("X_Forwarded_For: 1.2.3.4"), 400, "BAD_REQUEST"},
	{"X_Forwarded_Something_Long_Enough_To_Be_Cut", get("X_Forwarded_Something_Long_Enough_To_Be_Cut: 1"), 400, "BAD_REQUEST"},
	{"Content_Length", get("Content_Length: 5"), 400, "BAD_REQUEST"},
	{"Transfer_Encoding", get("Transfer_Encoding: chunked"), 400, "BAD_REQUEST"},

	// Fields that count once.
	{"two Authorization", get("Authorization: Bearer a\r\nAuthorization: Bearer b"), 400, "BAD_REQUEST"},
	{"two Content-Type", post("Content-Length: 0\r\nContent-Type: a/b\r\ncontent-type: c/d"), 400, "BAD_REQUEST"},
	{"two User-Agent", get("User-Agent: a\r\nUser-Agent: b"), 400, "BAD_REQUEST"},
	{"two Origin", get("Origin: a\r\nOrigin: b"), 400, "BAD_REQUEST"},
	{"two Host", get("Host: b"), 400, "BAD_REQUEST"},
	{"the same Host twice", get("Host: a"), 400, "BAD_REQUEST"},

	// Host and request target.
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"},
	{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "BAD_REQUEST"},
	{"Host with slash", host("a/b"), 400, "BAD_REQUEST"},
	{"Host with space", host("a b"), 400, "BAD_REQUEST"},
	{"Host with user", host("u@evil"), 400, "BAD_REQUEST"},
	{"Host with user and password", host("u:p@evil"), 400, "BAD_REQUEST"},
	{"Host with escape", host("a%2eb"), 400, "BAD_REQUEST"},
	{"Host with comma", host("a,b"), 400, "BAD_REQUEST"},
	{"Host with empty port", host("a:"), 400, "BAD_REQUEST"},
	{"Host with impossible port", host("a:65536"), 400, "BAD_REQUEST"},
	{"Host with broken IPv6", host("[::1"), 400, "BAD_REQUEST"},
	{"Host with zone", host("[fe80::1%25eth0]"), 400, "BAD_REQUEST"},
	{"absolute form of another host", target("http://evil/x"), 400, "BAD_REQUEST"},
	{"absolute form with user", target("http://u@a/x"), 400, "BAD_REQUEST"},
	{"absolute form with another port", target("http://a:81/x"), 400, "BAD_REQUEST"},
	{"absolute form of another scheme", target("ftp://a/x"), 400, "BAD_REQUEST"},
	{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "BAD_REQUEST"},
	{"two slashes", target("//evil/x"), 400, "BAD_REQUEST"},
	{"two slashes inside", target("/a//b"), 400, "BAD_REQUEST"},
	{"dot segments", target("/a/../admin"), 400, "BAD_REQUEST"},
	{"dot segments at the end", target("/a/.."), 400, "BAD_REQUEST"},
	{"single dot", target("/./a"), 400, "BAD_REQUEST"},
	{"escaped dot segments", target("/a/%2e%2E/admin"), 400, "BAD_REQUEST"},
	{"half-escaped dot segments", target("/a/.%2e/admin"), 400, "BAD_REQUEST"},
	{"dot segment with parameter", target("/a/..;/admin"), 400, "BAD_REQUEST"},
	{"path parameter", target("/a;x=1/b"), 400, "BAD_REQUEST"},
	{"escaped slash", target("/a%2fb"), 400, "BAD_REQUEST"},
	{"escaped backslash", target("/a%5Cb"), 400, "BAD_REQUEST"},
	{"escaped NUL", target("/a%00b"), 400, "BAD_REQUEST"},
	{"escaped CR LF", target("/a%0d%0ab"), 400, "BAD_REQUEST"},
	{"backslash", target("/a\\b"), 400, "BAD_REQUEST"},
	{"broken escape", target("/a%zz"), 400, "BAD_REQUEST"},
	{"short escape", target("/a%2"), 400, "BAD_REQUEST"},
	{"fragment", target("/a#b"), 400, "BAD_REQUEST"},
	{"fragment in the query", target("/a?b#c"), 400, "BAD_REQUEST"},
	{"NUL in the path", target("/a\x00b"), 400, "BAD_REQUEST"},
	{"space in the path", target("/a b"), 400, "BAD_REQUEST"},
	{"tab in the path", target("/a\tb"), 400, "BAD_REQUEST"},
	{"no leading slash", target("a"), 400, "BAD_REQUEST"},

	// Methods and versions.
	{"lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "METHOD_NOT_ALLOWED"},
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "METHOD_NOT_ALLOWED"},
	{"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "METHOD_NOT_ALLOWED"},
	{"unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "METHOD_NOT_ALLOWED"},
	{"control character in the method", "GE\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "BAD_REQUEST"},
	{"HTTP/0.9", "GET /\r\n\r\n", 400, "BAD_REQUEST"},
	{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "HTTP_VERSION_NOT_SUPPORTED"},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "HTTP_VERSION_NOT_SUPPORTED"},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "BAD_REQUEST"},
	{"version of three digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "BAD_REQUEST"},
	{"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, "BAD_REQUEST"},

	// Sizes and expectations.
	{"40 KiB header", get("X-A: " + strings.Repeat("a", 40<<10)), 431, "REQUEST_TOO_LARGE"},
	{"40 KiB of small headers", get(strings.TrimSuffix(strings.Repeat("X-A: aaaaaaaaaa\r\n", 2500), "\r\n")), 431, "REQUEST_TOO_LARGE"},
	{"40 KiB path", target("/" + strings.Repeat("a", 40<<10)), 431, "REQUEST_TOO_LARGE"},
	{"unknown expectation", post("Content-Length: 1\r\nExpect: 200-ok"), 417, "EXPECTATION_FAILED"},
	{"expectation on a bad path", "POST /a/../b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", 400, "BAD_REQUEST"},
}

func get(field string) string  { return "GET / HTTP/1.1\r\nHost: a\r\n" + field + "\r\n\r\n" }
func post(field string) string { return "POST / HTTP/1.1\r\nHost: a\r\n" + field + "\r\n\r\n" }
func host(h string) string     { return "GET / HTTP/1.1\r\nHost: " + h + "\r\n\r\n" }
func target(t string) string   { return "GET " + t + " HTTP/1.1\r\nHost: a\r\n\r\n" }

func TestServerRefusesWhatIsAmbiguous(t *testing.T) {
	b := start(t, ok)
	for _, row := range refused {
		t.Run(row.name, func(t *testing.T) {
			calls := b.calls.Load()
			c := b.dial(t)
			write(t, c, row.raw)
			_, _ = io.WriteString(c, "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n") // may meet a closed connection
			br := bufio.NewReader(c)
			got := readAnswer(t, br, "GET")
			if got.status != row.status || got.code != row.code {
				t.Errorf("answer = %d %s, want %d %s", got.status, got.code, row.status, row.code)
			}
			if !got.closes {
				t.Error("the connection stays open")
			}
			if rest, _ := io.ReadAll(br); len(rest) > 0 {
				t.Errorf("more than one answer: %q", rest)
			}
			if n := b.calls.Load() - calls; n != 0 {
				t.Errorf("handler was called %d times", n)
			}
			for _, secret := range []string{"evil", "admin", "Bearer", "aaaa"} {
				if strings.Contains(got.body, secret) {
					t.Errorf("answer quotes the request: %s", got.body)
				}
			}
		})
	}
	if log := b.log.String(); strings.Contains(log, "evil") || strings.Contains(log, "Bearer") || strings.Contains(log, "aaaa") {
		t.Error("the log quotes a request")
	}
}

// What looks odd and is fine, and the one form in which the handler sees it.
var accepted = []struct {
	name string
	raw  string
	path string
	host string
}{
	{"plain", target("/a/b"), "/a/b", "a"},
	{"escaped letters", target("/%61%2Db"), "/a-b", "a"},
	{"lower-case digits of an escape", target("/%c3%a4"), "/%C3%A4", "a"},
	{"raw UTF-8", target("/\xc3\xa4"), "/%C3%A4", "a"},
	{"escaped percent sign stays", target("/%252e%252e/a"), "/%252e%252e/a", "a"},
	{"characters of no path", target("/a|{b}"), "/a%7C%7Bb%7D", "a"},
	{"trailing slash", target("/a/"), "/a/", "a"},
	{"dots in names", target("/a..b/..c"), "/a..b/..c", "a"},
	{"query with everything", target("/a?b=../../%2f%00//;"), "/a", "a"},
	{"absolute form of the same host", target("http://A/x"), "/x", "a"},
	{"absolute form without path", target("http://a?x"), "/", "a"},
	{"upper-case host with port and dot", host("A.Example.:8080"), "/", "a.example"},
	{"IPv6 host", host("[0:0::1]:80"), "/", "[::1]"},
	{"HTTP/1.0 without host", "GET /a HTTP/1.0\r\n\r\n", "/a", ""},
	{"empty lines before", "\r\n\r\n" + target("/a"), "/a", "a"},
	{"header of another tradition", get("X_Custom.Name: 1"), "/", "a"},
	{"obs-text in a value", get("X-A: \xff"), "/", "a"},
	{"chunked in mixed case", post("Transfer-Encoding: ChUnKeD") + "0\r\n\r\n", "/", "a"},
	{"length with a leading zero", post("Content-Length: 05") + "hello", "/", "a"},
	{"identity header of a client, which the proxy drops", get("X-User-ID: admin"), "/", "a"},
	{"body on GET", get("Content-Length: 5") + "hello", "/", "a"},
	{"two cookies fields", get("Cookie: a=1\r\nCookie: b=2"), "/", "a"},
}

func TestServerGivesTheHandlerOneForm(t *testing.T) {
	var path, name string
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		path, name = edge.Path(ctx), edge.Host(ctx)
		return ok(ctx)
	})
	for _, row := range accepted {
		t.Run(row.name, func(t *testing.T) {
			got := b.send(t, row.raw)
			if got.status != http.StatusOK || path != row.path || name != row.host {
				t.Errorf("status %d path %q host %q, want 200 %q %q: %s", got.status, path, name, row.path, row.host, got.body)
			}
		})
	}
}

func TestConnectionStaysInStepOverRequests(t *testing.T) {
	b := start(t, ok)
	c := b.dial(t)
	br := bufio.NewReader(c)
	write(t, c, target("/1")+"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-User-ID: admin\r\n\r\n"+
		"POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+target("/4"))
	for _, want := range []string{"/1", "/2", "/3", "/4"} {
		if got := readAnswer(t, br, "GET"); !strings.Contains(got.body, `"`+want+`"`) {
			t.Fatalf("answer = %d %s, want that of %s", got.status, got.body, want)
		}
	}
	write(t, c, target("/5"))
	if got := readAnswer(t, br, "GET"); got.status != 200 {
		t.Errorf("request after an idle time = %d", got.status)
	}
}

func TestBrokenChunksAreBadRequests(t *testing.T) {
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		if _, err := edge.ReadBody(ctx, 1<<20); err != nil {
			return err
		}
		return ok(ctx)
	})
	for name, body := range map[string]string{
		"bare LF":                    "5\nhello\r\n0\r\n\r\n",
		"LF in extension":            "5;\nhello\r\n0\r\n\r\n",
		"CR in extension":            "5;a\rb\r\nhello\r\n0\r\n\r\n",
		"0x":                         "0x5\r\nhello\r\n0\r\n\r\n",
		"plus":                       "+5\r\nhello\r\n0\r\n\r\n",
		"minus":                      "-5\r\nhello\r\n0\r\n\r\n",
		"overflow":                   "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
		"no CRLF after data":         "5\r\nhello0\r\n\r\n",
		"trailer Authorization":      "0\r\nAuthorization: Bearer x\r\n\r\n",
		"trailer Content-Length":     "0\r\nContent-Length: 5\r\n\r\n",
		"trailer with a broken name": "0\r\nX(A: b\r\n\r\n",
		"trailer with a NUL":         "0\r\nX-A: s3cret\x00\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := b.dial(t)
			write(t, c, post("Transfer-Encoding: chunked")+body+target("/smuggled"))
			br := bufio.NewReader(c)
			got := readAnswer(t, br, "GET")
			if got.status != 400 || got.code != "INVALID_REQUEST_BODY" {
				t.Errorf("answer = %d %s, want 400 INVALID_REQUEST_BODY", got.status, got.code)
			}
			if rest, _ := io.ReadAll(br); len(rest) > 0 {
				t.Errorf("the request behind was answered: %q", rest)
			}
		})
	}
	if log := b.log.String(); strings.Contains(log, "s3cret") {
		t.Errorf("the log quotes the body: %s", log)
	}
}
