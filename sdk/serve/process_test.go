//go:build !wasip1

package serve

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
	"github.com/materi/shield/sdk/wire/rpc"
)

// behaving is a provider whose Begin is a function.
type behaving struct {
	scripted
	concurrent bool
	begin      func(ctx context.Context, host sdk.Host) (sdk.Step, error)
}

func (b *behaving) Describe() sdk.Manifest {
	return sdk.Manifest{ID: "behaving", ABI: sdk.ABI, Concurrent: b.concurrent}
}

func (b *behaving) Begin(ctx context.Context, host sdk.Host, _ sdk.Flow, _ sdk.Request) (sdk.Step, error) {
	return b.begin(ctx, host)
}

// started returns a process of a provider, what it writes to standard error and the status
// that it exits with.
func started(t *testing.T, p sdk.Provider) (*process, *os.File, chan int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	exits := make(chan int, 1)
	return newProcess(p, w, func(code int) { exits <- code }), r, exits
}

var beginCall = wire.EncodeCall(wire.Call{Flow: sdk.Flow{ID: "flow", Kind: sdk.FlowLogin}})

var denied = sdk.Step{Denied: &sdk.Denied{Code: "X"}}

func TestPanicAnswersItsCallAndEndsTheProcess(t *testing.T) {
	s, stderr, exits := started(t, &behaving{begin: func(context.Context, sdk.Host) (sdk.Step, error) {
		panic("boom \xff" + strings.Repeat("!", 5000))
	}})
	_, err := s.call(context.Background(), sdk.ABI, wire.Begin, beginCall)
	text := status.Convert(err).Message()
	if status.Code(err) != codes.Internal || !strings.HasPrefix(text, "panic: boom ?") || len(text) > 2*maxPrivate {
		t.Errorf("call: %.100v, want the panic", err)
	}
	if _, err := s.call(context.Background(), sdk.ABI, wire.Describe, nil); status.Code(err) != codes.Internal {
		t.Errorf("the next call: %v, want none", err)
	}
	if code := <-exits; code != 2 {
		t.Errorf("exit with %d, want 2", code)
	}
	_ = s.stderr.Close()
	if b, _ := io.ReadAll(stderr); !strings.HasPrefix(string(b), "panic: boom") || !strings.Contains(string(b), "process_test.go") {
		t.Errorf("standard error: %.100q, want the stack", b)
	}
}

func TestStatusesOfCalls(t *testing.T) {
	s, _, _ := started(t, &behaving{begin: func(context.Context, sdk.Host) (sdk.Step, error) { return denied, nil }})
	for _, c := range []struct {
		method wire.Method
		in     []byte
		want   codes.Code
	}{
		{wire.Begin, beginCall, codes.OK},
		{wire.Begin, []byte{0xff}, codes.InvalidArgument},
		{wire.Serve, nil, codes.Unimplemented},
		{wire.Method(9), nil, codes.Unimplemented},
	} {
		if _, err := s.call(context.Background(), sdk.ABI, c.method, c.in); status.Code(err) != c.want {
			t.Errorf("%v of %x: %v, want %v", c.method, c.in, err, c.want)
		}
	}
}

func TestManifestIsOfTheVersionThatIsSpoken(t *testing.T) {
	s, _, _ := started(t, &behaving{})
	for version, want := range map[uint32]uint32{1: 1, 2: 2, 3: sdk.ABI} {
		out, err := s.call(context.Background(), version, wire.Describe, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := wire.DecodeManifest(out); err != nil || m.ABI != want || m.ID != "behaving" {
			t.Errorf("manifest in version %d: %+v, %v, want version %d", version, m, err, want)
		}
	}
}

func TestCallsComeOneAtATimeUnlessTheProviderIsConcurrent(t *testing.T) {
	for _, concurrent := range []bool{false, true} {
		inside, leave := make(chan struct{}, 2), make(chan struct{})
		s, _, _ := started(t, &behaving{concurrent: concurrent, begin: func(context.Context, sdk.Host) (sdk.Step, error) {
			inside <- struct{}{}
			<-leave
			return denied, nil
		}})
		if _, err := s.call(context.Background(), sdk.ABI, wire.Describe, nil); err != nil {
			t.Fatal(err)
		}
		first := make(chan error)
		go func() {
			_, err := s.call(context.Background(), sdk.ABI, wire.Begin, beginCall)
			first <- err
		}()
		<-inside
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		second := make(chan error)
		go func() {
			_, err := s.call(ctx, sdk.ABI, wire.Begin, beginCall)
			second <- err
		}()
		if concurrent {
			<-inside // both are in the provider
			close(leave)
		}
		err := <-second
		if want := codes.DeadlineExceeded; !concurrent && status.Code(err) != want {
			t.Errorf("second call: %v, want %v", err, want)
		}
		if concurrent && err != nil {
			t.Errorf("second call: %v", err)
		}
		if !concurrent {
			close(leave)
		}
		if err := <-first; err != nil {
			t.Errorf("first call: %v", err)
		}
		cancel()
	}
}

func TestContextEndsBeforeTheCallDoes(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	deadline, _ := ctx.Deadline()
	inner, stop := early(ctx)
	defer stop()
	if got, ok := inner.Deadline(); !ok || deadline.Sub(got) != 100*time.Millisecond {
		t.Errorf("the provider has until %v before the end, want 100ms", deadline.Sub(got))
	}
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	deadline, _ = short.Deadline()
	inner, stop = early(short)
	defer stop()
	if got, ok := inner.Deadline(); !ok || deadline.Sub(got) > 10*time.Millisecond || !got.Before(deadline) {
		t.Errorf("of 100ms it loses %v, want a tenth at most", deadline.Sub(got))
	}
	if inner, stop := early(context.Background()); inner.Err() != nil {
		t.Error("a call without a deadline has ended")
	} else {
		stop()
	}
}

func TestHostOfACallThatHasNoTokenOrIsOver(t *testing.T) {
	g := newGateway()
	if _, _, err := g.host(context.Background()).KV().Get(context.Background(), "key"); !errors.Is(err, sdk.ErrNotGranted) {
		t.Errorf("without a token: %v, want %v", err, sdk.ErrNotGranted)
	}
	ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs(rpc.CallKey, "token"))
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	// Nothing is connected: only the end of the call ends this.
	if _, err := g.host(ctx).Passwords().Hash(context.Background(), "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the call: %v, want %v", err, context.Canceled)
	}
}

func TestProcessEndsWithItsConnection(t *testing.T) {
	exits := make(chan int, 1)
	l := lifeline{func(code int) { exits <- code }}
	l.HandleConn(context.Background(), &stats.ConnBegin{})
	if len(exits) != 0 {
		t.Error("it ended at the beginning")
	}
	l.HandleConn(context.Background(), &stats.ConnEnd{})
	if code := <-exits; code != 0 {
		t.Errorf("exit with %d, want 0", code)
	}
}
