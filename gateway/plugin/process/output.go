package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
)

// Bounds of what a process prints.
const (
	maxGreeting = 8 << 10 // bytes of the first line
	maxLine     = 1 << 10 // bytes of a line in the log
	maxRaw      = 4 << 10 // bytes of it that are looked at
	linesBurst  = 32      // lines at once
	linesPerSec = 8       // and then
	bytesPerSec = 1 << 20 // that are read at all; the process waits to write more
	drainTime   = 100 * time.Millisecond
)

// output is what a process prints. Its lines go to the log if the plugin has the capability
// for that, no faster than a log can take them.
type output struct {
	log     *slog.Logger // nil: not granted
	name    string
	now     func() time.Time
	redact  func(string) string
	ended   context.Context
	end     context.CancelFunc
	pumps   sync.WaitGroup
	readers []*os.File

	mu      sync.Mutex
	lines   bucket
	bytes   bucket
	dropped int
	last    string // the last line that a runtime begins its end with
}

func newOutput(opts *Options, redact func(string) string) *output {
	o := &output{name: opts.Name, now: opts.Now, redact: redact}
	o.ended, o.end = context.WithCancel(context.Background())
	o.lines = bucket{rate: linesPerSec, burst: linesBurst, level: linesBurst}
	o.bytes = bucket{rate: bytesPerSec, burst: bytesPerSec, level: bytesPerSec}
	if slices.Contains(opts.Granted, sdk.CapabilityLog) {
		o.log = opts.Log
	}
	return o
}

// follow reads what a child writes to standard error, until close.
func (o *output) follow(c *child) {
	o.readers = append(o.readers, c.stderr, c.stdout)
	o.pumps.Go(func() { _, _ = io.Copy(o.stream(), c.stderr) })
}

// close reads what is left of a child that is gone. Something that it left behind may still
// hold the other end, so this does not wait for that.
func (o *output) close() {
	for _, r := range o.readers {
		_ = r.SetReadDeadline(time.Now().Add(drainTime))
	}
	timer := time.AfterFunc(drainTime, o.end)
	o.pumps.Wait()
	timer.Stop()
	o.end()
	for _, r := range o.readers {
		_ = r.Close()
	}
}

// crash returns how a runtime began to say that it ends, if it did.
func (o *output) crash() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// stream returns a writer for one of the ways on which a process prints.
func (o *output) stream() io.Writer { return &stream{output: o} }

type stream struct {
	output *output
	rest   []byte // of a line that is not complete, at most maxRaw
}

// Write takes what is printed. It lets the process wait if that is too much.
func (s *stream) Write(p []byte) (int, error) {
	n := len(p)
	s.output.slow(n)
	for {
		text, rest, complete := bytes.Cut(p, []byte("\n"))
		s.rest = append(s.rest, text[:min(len(text), maxRaw-len(s.rest))]...)
		if !complete {
			return n, nil
		}
		s.output.line(string(s.rest))
		s.rest, p = s.rest[:0], rest
	}
}

// slow waits until n bytes more may have come.
func (o *output) slow(n int) {
	o.mu.Lock()
	wait := o.bytes.take(float64(n), time.Now())
	o.mu.Unlock()
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-o.ended.Done():
	}
}

func (o *output) line(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, prefix := range []string{"panic: ", "fatal error: ", "runtime: out of memory", "runtime: cannot allocate memory"} {
		if strings.HasPrefix(text, prefix) && o.last == "" {
			o.last = line(o.redact(text), 256)
		}
	}
	if o.log == nil || strings.TrimSpace(text) == "" {
		return
	}
	if now := o.now(); o.lines.level < 1 && o.lines.after(now) < 1 {
		o.dropped++
		return
	} else {
		o.lines.take(1, now)
	}
	o.log.WarnContext(o.ended, "plugin printed", "provider", o.name, "text", line(o.redact(text), maxLine), "dropped", o.dropped)
	o.dropped = 0
}

// bucket counts what may pass: burst at once, and rate in a second.
type bucket struct {
	rate, burst, level float64
	at                 time.Time
}

// after returns what it holds at a time.
func (b *bucket) after(now time.Time) float64 {
	return min(b.burst, b.level+b.rate*max(0, now.Sub(b.at).Seconds()))
}

// take takes n out and returns how long to wait until that was there.
func (b *bucket) take(n float64, now time.Time) time.Duration {
	b.level, b.at = b.after(now)-n, now
	if b.level >= 0 {
		return 0
	}
	return time.Duration(-b.level / b.rate * float64(time.Second))
}

// greeting is the first line that a process prints, by which it says how it is reached.
type greeting struct {
	read chan struct{} // closed when err is known
	err  error
}

// greet passes the first line on, if it looks like a greeting. Whatever follows is none of
// go-plugin's business.
func greet(stdout io.Reader, handshake *io.PipeWriter, o *output) *greeting {
	g := &greeting{read: make(chan struct{})}
	o.pumps.Go(func() {
		defer handshake.Close()
		r := bufio.NewReaderSize(stdout, maxGreeting)
		text, err := r.ReadSlice('\n')
		g.err = checkGreeting(string(text), err)
		close(g.read)
		if g.err != nil {
			return
		}
		_, _ = handshake.Write(text)
		_, _ = io.Copy(o.stream(), r)
	})
	return g
}

// fault returns what is wrong with the greeting, if it came.
func (g *greeting) fault() error {
	select {
	case <-g.read:
		return g.err
	default:
		return nil
	}
}

// checkGreeting says what is wrong with a first line: it has to be one of go-plugin's
// protocol 1 over gRPC, with a certificate.
func checkGreeting(text string, err error) error {
	parts := strings.Split(strings.TrimSpace(text), "|")
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("%w: its first line is longer than %d bytes: is it a plugin?", sandbox.ErrProtocol, maxGreeting)
	case err != nil && text == "":
		return fmt.Errorf("%w: it ended before it said how it is reached", sandbox.ErrExit)
	case err != nil || len(parts) < 6 || parts[0] != "1":
		return fmt.Errorf("%w: its first line is %q: is it a plugin, built with package serve?", sandbox.ErrProtocol, line(text, 128))
	case parts[4] != "grpc":
		return fmt.Errorf("%w: it speaks %q, not gRPC", sandbox.ErrProtocol, line(parts[4], 32))
	}
	return nil
}
