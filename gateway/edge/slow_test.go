package edge_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

func readsBodies(ctx *fasthttp.RequestCtx) error {
	if _, err := edge.ReadBody(ctx, 1<<20); err != nil {
		return err
	}
	return ok(ctx)
}

func patient(read time.Duration) func(*edge.Options) {
	return func(o *edge.Options) { o.Config.Timeouts.Read = read }
}

// dripping writes part at each tick, at most parts times and until the peer is gone.
func dripping(c net.Conn, part string, parts int) {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for range parts {
		<-tick.C
		if _, err := io.WriteString(c, part); err != nil {
			return
		}
	}
}

func TestDrippedBodiesEnd(t *testing.T) {
	b := start(t, readsBodies, patient(200*time.Millisecond))
	for name, row := range map[string]struct{ fields, first, part string }{
		"declared":      {"Content-Length: 100000", "", "a"},
		"after a burst": {"Content-Length: 100000", strings.Repeat("a", 50000), "a"},
		"chunked":       {"Transfer-Encoding: chunked", "", "1\r\na\r\n"},
		"in a trailer":  {"Transfer-Encoding: chunked", "1\r\na\r\n0\r\nA: ", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			c := b.dial(t)
			write(t, c, post(row.fields)+row.first)
			done := make(chan struct{})
			go func() { defer close(done); dripping(c, row.part, 400) }()
			began := time.Now()
			got := readAnswer(t, bufio.NewReader(c), "POST")
			if got.status != 408 || got.code != "REQUEST_TIMEOUT" || !got.closes {
				t.Errorf("answer = %d %s, closes %v, want 408 and the end", got.status, got.code, got.closes)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("answered after %v", took)
			}
			c.Close()
			<-done
		})
	}
}

func TestSlowButHonestBodiesArrive(t *testing.T) {
	const read = 200 * time.Millisecond
	b := start(t, readsBodies, patient(read))
	c := b.dial(t)
	const parts = 40 // of 100 bytes in 25 ms: 4 kB/s for five times the timeout
	write(t, c, post("Content-Length: "+itoa(100*parts)))
	dripping(c, strings.Repeat("a", 100), parts)
	if got := readAnswer(t, bufio.NewReader(c), "POST"); got.status != 200 {
		t.Errorf("answer = %d %s", got.status, got.code)
	}
}

// TestTimeInWhichNobodyReadsIsNotTheClients lets the handler pause for longer than the
// client is waited for, as a slow upstream does.
func TestTimeInWhichNobodyReadsIsNotTheClients(t *testing.T) {
	const read = 100 * time.Millisecond
	resumed := make(chan struct{}, 10)
	b := start(t, func(ctx *fasthttp.RequestCtx) error {
		body, _, err := edge.Body(ctx, 0)
		if err != nil {
			return err
		}
		var one [1]byte
		for range 3 {
			if _, err := io.ReadFull(body, one[:]); err != nil {
				return err
			}
			<-time.After(2 * read)
			resumed <- struct{}{}
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		return ok(ctx)
	}, patient(read))
	c := b.dial(t)
	write(t, c, post("Content-Length: 4")+"a")
	for range 3 {
		<-resumed
		write(t, c, "a")
	}
	if got := readAnswer(t, bufio.NewReader(c), "POST"); got.status != 200 {
		t.Errorf("answer = %d %s", got.status, got.code)
	}
}
