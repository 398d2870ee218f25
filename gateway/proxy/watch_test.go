package proxy_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/valyala/fasthttp"
)

// clock is moved by hand.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(1_800_000_000, c.at.Load()) }
func (c *clock) move(d time.Duration) { c.at.Add(int64(d)) }

// gathered returns the one metric of a family.
func (b *bed) gathered(t *testing.T, name string) *dto.Metric {
	t.Helper()
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0]
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

// TestGatewayTimeIsWithoutClientAndUpstream lets the clock stand still but where somebody is
// said to take their time.
func TestGatewayTimeIsWithoutClientAndUpstream(t *testing.T) {
	const own = 3 * time.Millisecond
	for name, answer := range map[string]struct{ head, body string }{
		"short body":  {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello"},
		"long body":   {"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", strings.Repeat("x", 100_000)},
		"no body":     {"HTTP/1.1 204 No Content\r\n\r\n", ""},
		"broken off":  {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "hello"},
		"broken head": {"HTTP/1.1 000 OK\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{}
			u := newUpstream(t, func(conn net.Conn, br *bufio.Reader) {
				_, _ = readRequest(br)
				c.move(time.Second)
				_, _ = io.WriteString(conn, answer.head)
				c.move(time.Second)
				_, _ = io.WriteString(conn, answer.body)
			})
			b := start(t, u.addr, func(s *setup) {
				s.now = c.now
				s.identity = func(*fasthttp.RequestCtx, func(name, value string)) { c.move(own) }
			})
			client := b.dial(t)
			br := bufio.NewReader(client)
			write(t, client, request("POST", "/", "", "Content-Length: 4", "Expect: 100-continue"))
			if line, err := br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
				t.Fatalf("the answer to Expect is %q, %v", line, err)
			}
			_, _ = br.ReadString('\n')
			c.move(time.Second)
			write(t, client, "body")
			readAnswer(t, br, "POST")

			h := b.gathered(t, "materi_shield_gateway_duration_seconds").GetHistogram()
			if n, sum := h.GetSampleCount(), h.GetSampleSum(); n != 1 || sum < own.Seconds()*.999 || sum > own.Seconds()*1.001 {
				t.Errorf("%d requests took the gateway %v s, want 1 and %v", n, sum, own)
			}
		})
	}
}

func TestMetricsAreThereBeforeTheFirstRequest(t *testing.T) {
	b := start(t, "127.0.0.1:1")
	m := b.gathered(t, "materi_shield_gateway_duration_seconds")
	if m.GetHistogram().GetSampleCount() != 0 || m.GetLabel()[0].GetValue() != "r" {
		t.Errorf("the gateway's time = %v, want none, of endpoint r", m)
	}
	held := false
	for _, bucket := range m.GetHistogram().GetBucket() {
		held = held || bucket.GetUpperBound() == .005
	}
	if !held {
		t.Error("no bucket for the 5 ms that are promised")
	}
	if m := b.gathered(t, "materi_shield_upstream_failures_total"); m.GetCounter().GetValue() != 0 {
		t.Errorf("failures = %v, want zero", m)
	}
	if m := b.gathered(t, "materi_shield_requests_total"); m.GetCounter().GetValue() != 0 {
		t.Errorf("requests = %v, want zero", m)
	}
}
