package edge_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/route"
)

func TestErrorsBecomeTheEnvelope(t *testing.T) {
	for name, row := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"own":      {edge.Forbidden("INSUFFICIENT_SCOPE", "No.", errors.New("cause")), 403, "INSUFFICIENT_SCOPE"},
		"wrapped":  {errors.Join(errors.New("x"), edge.NotFound("USER_NOT_FOUND", "No.", nil)), 404, "USER_NOT_FOUND"},
		"route":    {route.ErrNotFound, 404, "NOT_FOUND"},
		"method":   {&route.MethodError{Allow: []string{"GET"}}, 405, "METHOD_NOT_ALLOWED"},
		"unknown":  {errors.New("SELECT secret FROM t"), 500, "INTERNAL_ERROR"},
		"internal": {edge.Internal(errors.New("secret")), 500, "INTERNAL_ERROR"},
		"busy":     {edge.Unavailable("Later.", 1500*time.Millisecond, nil), 503, "SERVICE_UNAVAILABLE"},
		"details":  {&edge.Error{Status: 422, Code: "VALIDATION_ERROR", Details: map[string]string{"a": "b"}}, 422, "VALIDATION_ERROR"},
		"endless":  {&edge.Error{Status: 422, Code: "VALIDATION_ERROR", Details: func() {}}, 422, "VALIDATION_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, func(ctx *fasthttp.RequestCtx) error {
				ctx.Response.Header.Set("X-Half-Done", "1")
				ctx.SetBodyString("half done")
				return row.err
			})
			got := b.send(t, target("/"))
			if got.status != row.status || got.code != row.code {
				t.Errorf("answer = %d %s, want %d %s", got.status, got.code, row.status, row.code)
			}
			if strings.Contains(got.body, "secret") || strings.Contains(got.body, "cause") || strings.Contains(got.body, "half") || got.header.Get("X-Half-Done") != "" {
				t.Errorf("answer tells too much: %s", got.body)
			}
			if name == "method" && got.header.Get("Allow") != "GET" || name == "busy" && got.header.Get("Retry-After") != "2" {
				t.Errorf("header = %v", got.header)
			}
			if name == "details" && !strings.Contains(got.body, `"details":{"a":"b"}`) {
				t.Errorf("body = %s", got.body)
			}
			if log := b.log.records(t, 1)[0]; log["code"] != row.code || row.status >= 500 && log["level"] != "ERROR" {
				t.Errorf("record = %v", log)
			}
		})
	}
}

func TestPanicIsAnInternalErrorAndTheServerLives(t *testing.T) {
	panicking := true
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		if panicking {
			panicking = false
			panic("secret state")
		}
		return ok(ctx)
	})
	got := b.send(t, target("/"))
	if got.status != 500 || got.code != "INTERNAL_ERROR" || strings.Contains(got.body, "secret") || !got.closes {
		t.Errorf("answer = %d %s", got.status, got.body)
	}
	log := b.log.records(t, 1)[0]
	if stack, _ := log["stack"].(string); !strings.Contains(stack, "server_test.go") || log["request_id"] != got.header.Get("X-Request-Id") {
		t.Errorf("record = %v", log)
	}
	if got := b.send(t, target("/")); got.status != 200 {
		t.Errorf("the next request = %d", got.status)
	}
}

type panickingBody struct{ closed chan struct{} }

func (p panickingBody) Read([]byte) (int, error) { panic("in the middle") }
func (p panickingBody) Close() error             { close(p.closed); return nil }

func TestPanicOfAStreamBreaksTheAnswerOff(t *testing.T) {
	closed := make(chan struct{})
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		edge.Stream(ctx, panickingBody{closed}, 100)
		return nil
	})
	c := b.dial(t)
	write(t, c, target("/"))
	data, _ := io.ReadAll(c)
	if _, body, _ := strings.Cut(string(data), "\r\n\r\n"); body != "" {
		t.Errorf("body = %q", body)
	}
	<-closed
	if log := b.log.records(t, 1)[0]; !strings.Contains(log["error"].(string), "panic") {
		t.Errorf("record = %v", log)
	}
}

func TestRecordIsWrittenWhenAStreamEnds(t *testing.T) {
	r, w := io.Pipe()
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		edge.RecordOf(ctx).Endpoint = "stream"
		edge.Stream(ctx, r, -1)
		return nil
	})
	c := b.dial(t)
	write(t, c, target("/"))
	write2(t, w, "hello")
	if strings.Contains(b.log.String(), `"msg":"request"`) {
		t.Error("the record was written before the answer ended")
	}
	w.Close()
	if got := readAnswer(t, bufio.NewReader(c), "GET"); got.body != "hello" {
		t.Errorf("body = %q", got.body)
	}
	if log := b.log.records(t, 1)[0]; log["bytes"] != float64(5) || log["route"] != "stream" {
		t.Errorf("record = %v", log)
	}
}

func write2(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func TestRequestIDIsTakenWhenWellFormed(t *testing.T) {
	b := start(t, ok)
	for id, taken := range map[string]bool{
		"abc-1.2_3": true, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false, "a b": false, "a<b>": false, "": false, "\xff": false,
	} {
		if got := b.send(t, get("X-Request-ID: "+id)).header.Get("X-Request-Id"); (got == id) != taken || !taken && !strings.HasPrefix(got, "req_") {
			t.Errorf("id %q became %q", id, got)
		}
	}
	if got := b.send(t, get("X-Request-ID: one\r\nX-Request-ID: two")).header.Get("X-Request-Id"); !strings.HasPrefix(got, "req_") {
		t.Errorf("two ids became %q", got)
	}
}

func TestMetricsAndRecordsHoldNothingThatAClientMadeUp(t *testing.T) {
	table, err := route.New([]route.Entry[int]{{Name: "things", Prefix: "/things"}})
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		if _, err := edge.Match(ctx, table); err != nil {
			return err
		}
		return ok(ctx)
	})
	b.send(t, target("/things/tok3n?q=tok3n"))
	b.send(t, target("/tok3n"))
	b.send(t, target("/a/../tok3n"))
	b.send(t, "TOK3N / HTTP/1.1\r\nHost: a\r\n\r\n")
	b.send(t, "GET tok3n\r\n\r\n")
	records := b.log.records(t, 5)
	if log := b.log.String(); strings.Contains(strings.ToLower(log), "tok3n") {
		t.Errorf("log holds what a client sent: %s", log)
	}
	if records[0]["route"] != "things" || records[1]["route"] != "unmatched" || records[2]["route"] != "rejected" {
		t.Errorf("records = %v", records)
	}
	want := map[string]float64{
		"rejected GET 400": 1, "rejected other 400": 1, "rejected other 405": 1, "rejected other 503": 0, "things GET 200": 1, "unmatched GET 404": 1,
	}
	if diff := cmp.Diff(want, counted(t, b)); diff != "" {
		t.Errorf("materi_shield_requests_total (-want +got):\n%s", diff)
	}
}

// counted returns the request counter by its labels: endpoint, method, status.
func counted(t *testing.T, b *bed) map[string]float64 {
	t.Helper()
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "materi_shield_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() { // sorted by name
				labels = append(labels, l.GetValue())
			}
			out[strings.Join(labels, " ")] = m.GetCounter().GetValue()
		}
	}
	return out
}

func TestAllowedHosts(t *testing.T) {
	b := start(t, ok, func(o *edge.Options) {
		o.Config.AllowedHosts = []string{"api.Example", ".wild.example", "10.0.0.1"}
		o.AnyHost = []string{"/health/"}
	})
	for host, status := range map[string]int{
		"api.example": 200, "API.example.:443": 200, "wild.example": 200, "a.b.wild.example": 200, "10.0.0.1:80": 200,
		"xapi.example": 421, "example": 421, "evilwild.example": 421, "api.example.evil": 421, "[::1]": 421,
	} {
		got := b.send(t, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if got.status != status || status == 421 && got.code != "MISDIRECTED_REQUEST" {
			t.Errorf("host %s = %d %s, want %d", host, got.status, got.code, status)
		}
	}
	if got := b.send(t, "GET /health/ HTTP/1.1\r\nHost: 10.9.9.9\r\n\r\n"); got.status != 200 {
		t.Errorf("probe = %d", got.status)
	}
	if got := b.send(t, "GET / HTTP/1.0\r\n\r\n"); got.status != 421 {
		t.Errorf("no host = %d", got.status)
	}
}

func TestClientAddressComesFromTrustedProxiesOnly(t *testing.T) {
	var ip, scheme string
	handler := func(ctx *fasthttp.RequestCtx) error {
		ip, scheme = edge.ClientIP(ctx).String(), edge.Scheme(ctx)
		return ok(ctx)
	}
	trusting := start(t, handler, func(o *edge.Options) { o.Config.TrustedProxies = []string{"127.0.0.1", "10.0.0.0/8", "fd00::/8"} })
	plain := start(t, handler)
	for _, row := range []struct {
		b            *bed
		fields       string
		ip, protocol string
	}{
		{plain, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https", "127.0.0.1", "http"},
		{trusting, "X-A: b", "127.0.0.1", "http"},
		{trusting, "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https", "1.2.3.4", "https"},
		{trusting, "X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.1.1.1", "1.2.3.4", "http"},
		{trusting, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 10.1.1.1", "1.2.3.4", "http"},
		{trusting, "X-Forwarded-For: 10.2.2.2, 10.1.1.1", "10.2.2.2", "http"},
		{trusting, "X-Forwarded-For: 6.6.6.6, junk, 10.1.1.1", "10.1.1.1", "http"},
		{trusting, "X-Forwarded-For: 6.6.6.6,", "127.0.0.1", "http"},
		{trusting, "X-Forwarded-For: ::ffff:1.2.3.4", "1.2.3.4", "http"},
		{trusting, "X-Forwarded-For: 2001:db8::1, [fd00::1]:443", "2001:db8::1", "http"},
		{trusting, "X-Forwarded-For: 1.2.3.4:5678", "1.2.3.4", "http"},
		{trusting, "X-Forwarded-For: fe80::1%eth0", "fe80::1", "http"},
		{trusting, "X-Forwarded-For: ", "127.0.0.1", "http"},
		{trusting, "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: gopher", "1.2.3.4", "http"},
	} {
		row.b.send(t, get(row.fields))
		if ip != row.ip || scheme != row.protocol {
			t.Errorf("%q: client %s by %s, want %s by %s", row.fields, ip, scheme, row.ip, row.protocol)
		}
	}
}

func TestNewRefusesWhatItCannotUse(t *testing.T) {
	for name, change := range map[string]func(*edge.Options){
		"no handler":  func(o *edge.Options) { o.Handler = nil },
		"no log":      func(o *edge.Options) { o.Log = nil },
		"no registry": func(o *edge.Options) { o.Registerer = nil },
		"proxy":       func(o *edge.Options) { o.Config.TrustedProxies = []string{"all"} },
		"host":        func(o *edge.Options) { o.Config.AllowedHosts = []string{"a:80"} },
		"header size": func(o *edge.Options) { o.Config.Limits.HeaderBytes = 0 },
		"connections": func(o *edge.Options) { o.Config.Limits.Connections = 0 },
	} {
		o := edge.Options{Config: serverConfig(), Handler: ok, Log: discard(), Registerer: newRegistry()}
		change(&o)
		if _, err := edge.New(o); err == nil {
			t.Errorf("%s: New() accepted it", name)
		}
	}
}

func TestConnectionLimitsAnswerInTheEnvelope(t *testing.T) {
	for name, row := range map[string]struct {
		limits config.Limits
		status int
		code   string
	}{
		"all":     {config.Limits{HeaderBytes: 4096, Connections: 1}, 503, "SERVICE_UNAVAILABLE"},
		"address": {config.Limits{HeaderBytes: 4096, Connections: 9, ConnectionsPerIP: 1}, 429, "RATE_LIMIT_EXCEEDED"},
	} {
		b := start(t, ok, func(o *edge.Options) { o.Config.Limits = row.limits })
		first := b.dial(t)
		br := bufio.NewReader(first)
		write(t, first, target("/"))
		readAnswer(t, br, "GET")

		second := b.dial(t)
		got := readAnswer(t, bufio.NewReader(second), "GET")
		if got.status != row.status || got.code != row.code || got.header.Get("Retry-After") == "" || !got.closes {
			t.Errorf("%s: answer = %d %s %v", name, got.status, got.code, got.header)
		}
		write(t, first, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		readAnswer(t, br, "GET")
		_, _ = br.ReadByte() // closed, and so no longer counted
		if got := b.send(t, target("/")); got.status != 200 {
			t.Errorf("%s: after the first had ended = %d", name, got.status)
		}
	}
}

func TestExpectIsAnsweredAfterTheChecks(t *testing.T) {
	admitted := edge.Unauthorized("INVALID_TOKEN", "No.", nil)
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		if _, err := edge.ReadBody(ctx, 100); err != nil {
			return err
		}
		return ok(ctx)
	}, func(o *edge.Options) {
		o.Admit = func(ctx *fasthttp.RequestCtx) error {
			if edge.Path(ctx) == "/closed" {
				return admitted
			}
			return nil
		}
	})
	const head = " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	got := b.send(t, "POST /closed"+head)
	if got.status != 401 || got.code != "INVALID_TOKEN" || !got.closes || b.calls.Load() != 0 {
		t.Errorf("refused = %d %s", got.status, got.code)
	}
	c := b.dial(t)
	br := bufio.NewReader(c)
	write(t, c, "POST /open"+head)
	if line, _ := br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("first line = %q", line)
	}
	_, _ = br.ReadString('\n')
	write(t, c, "hello")
	if got := readAnswer(t, br, "POST"); got.status != 200 {
		t.Errorf("answer = %d", got.status)
	}
	if n := len(b.log.records(t, 2)); n != 2 {
		t.Errorf("%d records of 2 requests", n)
	}
}

func TestSlowClientsAreTold(t *testing.T) {
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		_, err := edge.ReadBody(ctx, 100)
		return err
	}, func(o *edge.Options) { o.Config.Timeouts.Read = 50 * time.Millisecond })
	for name, raw := range map[string]string{
		"head":            "GET / HTTP/1.1\r\nHost:",
		"body":            post("Content-Length: 10") + "hello",
		"chunked body":    post("Transfer-Encoding: chunked") + "5\r\nhe",
		"only bare LF":    "GET / HTTP/1.1\nHost: a\n\n",
		"nothing at all":  "",
		"never a newline": "GET /",
	} {
		if got := b.send(t, raw); got.status != 408 || got.code != "REQUEST_TIMEOUT" {
			t.Errorf("%s: answer = %d %s, want 408", name, got.status, got.code)
		}
	}
}

// Whoever keeps a connection over the end of the server loses what he sends at that moment.
func TestDrainServesAndLetsConnectionsEnd(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		switch edge.Path(ctx) {
		case "/slow":
			close(running)
			<-release
		case "/fails":
			return edge.BadRequest("BAD", "Bad.", nil)
		case "/stream":
			edge.Stream(ctx, io.NopCloser(strings.NewReader("stream")), -1)
			return nil
		}
		return ok(ctx)
	})
	kept := b.dial(t)
	keptReader := bufio.NewReader(kept)
	write(t, kept, target("/"))
	if got := readAnswer(t, keptReader, "GET"); got.closes {
		t.Error("a connection ends before there is a reason")
	}
	busy := b.dial(t)
	write(t, busy, target("/slow"))
	<-running

	b.server.Drain()
	close(release)
	for name, conn := range map[string]net.Conn{"/slow": busy, "/": kept, "/fails": b.dial(t), "/stream": b.dial(t)} {
		reader := keptReader
		if conn != kept {
			reader = bufio.NewReader(conn)
		}
		if name != "/slow" { // which was sent before
			write(t, conn, target(name))
		}
		got := readAnswer(t, reader, "GET")
		if want := map[bool]int{true: 400, false: 200}[name == "/fails"]; got.status != want || !got.closes {
			t.Errorf("%s = %d, closes %v; want %d and an end", name, got.status, got.closes, want)
		}
		if _, err := reader.ReadByte(); err != io.EOF {
			t.Errorf("%s: then %v, want the connection closed", name, err)
		}
	}
}

func TestShutdownFinishesWhatRuns(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		if edge.Path(ctx) == "/slow" {
			close(running)
			<-release
		}
		return ok(ctx)
	})
	idle := b.dial(t)
	idleReader := bufio.NewReader(idle)
	write(t, idle, target("/"))
	readAnswer(t, idleReader, "GET")
	busy := b.dial(t)
	write(t, busy, target("/slow"))
	<-running

	down := make(chan error, 1)
	go func() { down <- b.server.Shutdown(context.Background()) }()
	if _, err := idleReader.ReadByte(); err != io.EOF {
		t.Errorf("idle connection: %v, want it closed", err)
	}
	if c, err := net.Dial("tcp", b.addr); err == nil {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection was served during the shutdown")
		}
		c.Close()
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown() = %v while a request ran", err)
	default:
	}
	close(release)
	if got := readAnswer(t, bufio.NewReader(busy), "GET"); got.status != 200 || !got.closes {
		t.Errorf("running request = %d, closes %v", got.status, got.closes)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.server.Serve(ln); !errors.Is(err, edge.ErrStopped) {
		t.Errorf("Serve() after Shutdown() = %v", err)
	}
}

func TestShutdownClosesWhatDoesNotEnd(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		close(running)
		<-release
		return ok(ctx)
	})
	defer close(release)
	c := b.dial(t)
	write(t, c, target("/"))
	<-running
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown() = %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}
