package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/edge"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's clock for the Date header runs as long as the process.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// Its worker pools look for idle workers every ten seconds and end after Serve did.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// bed is a server on a real socket.
type bed struct {
	server *edge.Server
	addr   string
	reg    *prometheus.Registry
	log    *logBuffer
	served chan error
	calls  atomic.Int64 // of the handler
}

// logBuffer collects records and may be waited on.
type logBuffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	news chan struct{}
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	select {
	case l.news <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// records waits for n access records.
func (l *logBuffer) records(t *testing.T, n int) []map[string]any {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		var out []map[string]any
		for line := range bytes.SplitSeq([]byte(l.String()), []byte("\n")) {
			var r map[string]any
			if json.Unmarshal(line, &r) == nil && r["msg"] == "request" {
				out = append(out, r)
			}
		}
		if len(out) >= n {
			return out
		}
		select {
		case <-l.news:
		case <-deadline:
			t.Fatalf("%d access records, want %d:\n%s", len(out), n, l.String())
		}
	}
}

func serverConfig() config.Server {
	return config.Server{
		Limits:   config.Limits{HeaderBytes: 32 * config.KiB, Connections: 100},
		Timeouts: config.Timeouts{Read: 5 * time.Second, Write: 5 * time.Second, Idle: 5 * time.Second},
	}
}

func start(t *testing.T, h edge.Handler, change ...func(*edge.Options)) *bed {
	t.Helper()
	b := &bed{reg: prometheus.NewRegistry(), log: &logBuffer{news: make(chan struct{}, 1)}, served: make(chan error, 1)}
	o := edge.Options{
		Config: serverConfig(), AccessLog: true, Registerer: b.reg,
		Log: slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Handler: func(ctx *fasthttp.RequestCtx) error {
			b.calls.Add(1)
			return h(ctx)
		},
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if b.server, err = edge.New(o); err != nil {
		t.Fatalf("New() = %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = ln.Addr().String()
	go func() { b.served <- b.server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		_ = b.server.Shutdown(ctx) // closes what is left
		if err := <-b.served; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return b
}

func (b *bed) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// answer is what came back for one request.
type answer struct {
	status int
	header http.Header
	body   string
	code   string
	closes bool // the connection ends with it
}

func readAnswer(t *testing.T, br *bufio.Reader, method string) answer {
	t.Helper()
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read body: %v", err)
	}
	var e struct {
		Error struct {
			Code      string `json:"code"`
			RequestID string `json:"request_id"`
			Timestamp string `json:"timestamp"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &e)
	if resp.Header.Get("X-Request-ID") == "" {
		t.Errorf("answer %d has no X-Request-ID", resp.StatusCode)
	}
	if resp.StatusCode >= 400 && method != "HEAD" {
		if e.Error.RequestID != resp.Header.Get("X-Request-ID") || e.Error.Timestamp == "" {
			t.Errorf("answer %d is not the envelope: %s", resp.StatusCode, body)
		}
	}
	return answer{resp.StatusCode, resp.Header, string(body), e.Error.Code, resp.Close}
}

// send writes raw bytes and reads one answer.
func (b *bed) send(t *testing.T, raw string) answer {
	t.Helper()
	c := b.dial(t)
	write(t, c, raw)
	return readAnswer(t, bufio.NewReader(c), "GET")
}

func write(t *testing.T, c net.Conn, raw string) {
	t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func ok(ctx *fasthttp.RequestCtx) error {
	return edge.WriteJSON(ctx, 200, map[string]string{"path": edge.Path(ctx)})
}
