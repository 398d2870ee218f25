package process

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// counted is a host that counts what it is asked.
func counted(asked *atomic.Int32) hostFunc {
	return func(_ context.Context, _ wire.Function, in []byte) ([]byte, error) {
		asked.Add(1)
		_, err := wire.DecodeKey(in)
		return wire.EncodeEntry(sdk.Entry{}, false), err
	}
}

func TestHostServesOnlyTheCallThatIsItsOwn(t *testing.T) {
	p := opened(t, options(t, rogue(t, "concurrent")), quick())
	var first, second atomic.Int32
	if got, err := act(p, counted(&first), "get", "key"); err != nil || got != "0 bytes" || first.Load() != 1 {
		t.Fatalf("its own token: %q, %v", got, err)
	}
	refused := codes.Unimplemented.String()
	for _, c := range []struct{ what, arg string }{
		{"get by the first token", "key"}, // the call is over
		{"get by a token of its own", ""},
		{"get by a token of its own", strings.Repeat("A", 26)},
		{"get by two tokens", ""},
		{"secret", "client_secret"}, // not granted
	} {
		if got, err := act(p, counted(&second), c.what, c.arg); err != nil || got != refused {
			t.Errorf("%s %s: %q, %v, want %s", c.what, c.arg, got, err, refused)
		}
	}
	if first.Load() != 1 || second.Load() != 0 {
		t.Errorf("the hosts were asked %d and %d times, want once and never", first.Load(), second.Load())
	}
	if got, err := act(p, nil, "get", "key"); err != nil || got != refused {
		t.Errorf("a call without a host: %q, %v, want %s", got, err, refused)
	}
}

func TestTokenOfACallThatRunsServesThatCallOnly(t *testing.T) {
	opts := options(t, rogue(t, "concurrent"))
	opts.Prepare = describe(nil)
	p := opened(t, opts, quick())
	host, inside, leave := blocked()
	done := make(chan error, 1)
	go func() {
		_, err := act(p, host, "get", "key")
		done <- err
	}()
	<-inside
	// The other call's host must hear nothing of it; what it serves waits for its own turn.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	var mine atomic.Int32
	_, _ = actContext(ctx, p, counted(&mine), "get by the first token", "key")
	if n := mine.Load(); n != 0 {
		t.Errorf("the host of the second call was asked %d times", n)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Errorf("the first call: %v", err)
	}
}

func TestRequestsOfOneCallComeOneAfterAnother(t *testing.T) {
	p := opened(t, options(t, rogue(t, "")), quick())
	var inside, most, total atomic.Int32
	host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) {
		most.Store(max(most.Load(), inside.Add(1)))
		defer inside.Add(-1)
		total.Add(1)
		return nil, nil
	})
	if got, err := act(p, host, "get many times at once", "100"); err != nil || got != "done" {
		t.Fatalf("%q, %v", got, err)
	}
	if most.Load() != 1 || total.Load() != 100 {
		t.Errorf("%d requests, %d at once, want 100, one at once", total.Load(), most.Load())
	}
}

func TestHostIsNotInUseAfterTheCallReturned(t *testing.T) {
	p := opened(t, options(t, rogue(t, "")), quick())
	var inside atomic.Int32
	host := hostFunc(func(ctx context.Context, _ wire.Function, _ []byte) ([]byte, error) {
		inside.Add(1)
		defer inside.Add(-1)
		timer := time.NewTimer(300 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return nil, nil
	})
	if got, err := act(p, host, "get and answer before the reply", "key"); err != nil || got != "done" {
		t.Fatalf("%q, %v", got, err)
	}
	if n := inside.Load(); n != 0 {
		t.Errorf("%d requests are still in the host", n)
	}
}

// A bug of the host must not be the end of the gateway.
func TestPanicOfTheHostFailsTheCallAlone(t *testing.T) {
	var out logged
	opts := options(t, guest())
	opts.Log = textLog(&out)
	p := opened(t, opts, quick())
	host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) { panic("key of a person") })
	if _, err := act(p, host, "swallow", "key"); !errors.Is(err, sandbox.ErrTrap) {
		t.Errorf("error %v, want %v", err, sandbox.ErrTrap)
	}
	if !strings.Contains(out.String(), "services_test.go") || strings.Contains(out.String(), "key of a person") {
		t.Errorf("the log has not the stack alone:\n%s", out.String())
	}
	eventually(t, "it is back", func() bool { return p.Health() == nil })
}

func TestConnectionsOfAProcessAreBounded(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &services{server: grpc.NewServer(grpc.ConnectionTimeout(greetingTime)), served: make(chan struct{})}
	go s.serve(l)
	defer s.close()
	connect := func() net.Conn {
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	// The server speaks first, once it has accepted.
	heard := func(c net.Conn, patience time.Duration) error {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 1))
		return err
	}
	var first net.Conn
	for range maxConnections {
		first = connect()
		if err := heard(first, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	more := connect()
	if err := heard(more, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more connection than there may be: %v, want no answer", err)
	}
	_ = first.Close()
	if err := heard(more, 10*time.Second); err != nil {
		t.Errorf("once another has gone: %v", err)
	}
}

func TestRequestsThatAreNoneFailTheCall(t *testing.T) {
	p := opened(t, options(t, rogue(t, "")), quick())
	var asked atomic.Int32
	if _, err := act(p, counted(&asked), "garbage", ""); !errors.Is(err, sandbox.ErrProtocol) {
		t.Errorf("garbage: error %v, want %v", err, sandbox.ErrProtocol)
	}
	eventually(t, "it is back", func() bool { return p.Health() == nil })
	asked.Store(0)
	if got, err := act(p, counted(&asked), "large request", ""); err != nil || got != codes.ResourceExhausted.String() || asked.Load() != 0 {
		t.Errorf("a request of 2 MiB: %q, %v, the host was asked %d times", got, err, asked.Load())
	}
}
