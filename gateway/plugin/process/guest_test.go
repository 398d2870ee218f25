package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

func TestGoGuestAnswers(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	for _, text := range []string{"hello", "", "\u00fc", strings.Repeat("x", 200_000)} {
		got, err := act(p, nil, "echo", text)
		if err != nil || got != text {
			t.Errorf("echo of %.20q (%d bytes) = %.20q, %v", text, len(text), got, err)
		}
	}
	for _, want := range []string{"5", "6"} {
		if got, err := act(p, nil, "calls", ""); err != nil || got != want {
			t.Errorf("calls = %q, %v, want %s: it is one process", got, err, want)
		}
	}
}

func TestHostIsAskedInTheContextOfTheCall(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	type key struct{}
	ctx := context.WithValue(context.Background(), key{}, "request 1")
	host := hostFunc(func(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
		k, err := wire.DecodeKey(in)
		if _, ok := ctx.Deadline(); !ok || ctx.Value(key{}) != "request 1" {
			t.Error("the host was asked in another context")
		}
		return wire.EncodeEntry(sdk.Entry{Value: []byte(f.Name + " " + k), Version: 7}, true), err
	})
	if got, err := actContext(ctx, p, host, "get", "key"); err != nil || got != "true get key 7" {
		t.Errorf("get = %q, %v", got, err)
	}
}

func TestErrorsOfTheHostReachTheProvider(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	for _, want := range []error{sdk.ErrConflict, sdk.ErrTooLarge, sdk.ErrInvalid, wire.ErrHost} {
		host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) { return nil, want })
		_, err := act(p, host, "get", "key")
		if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Private != want.Error() {
			t.Errorf("the provider said %v, want %v", err, want)
		}
	}
	if _, err := act(p, nil, "get", "key"); err == nil || !strings.Contains(err.Error(), sdk.ErrNotGranted.Error()) {
		t.Errorf("without a host: error %v, want %v", err, sdk.ErrNotGranted)
	}
}

func TestGuestFaultsAreNamed(t *testing.T) {
	for _, c := range []struct {
		what string
		want error
	}{
		{"panic", sandbox.ErrTrap},
		{"exit", sandbox.ErrExit},
		{"hoard", sandbox.ErrMemory},
		{"loop", sandbox.ErrTimeout},
		{"deadlock", sandbox.ErrTimeout},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			opts := options(t, guest())
			if errors.Is(c.want, sandbox.ErrTimeout) {
				opts.Timeout = 300 * time.Millisecond
			}
			p := opened(t, opts, quick())
			if _, err := act(p, nil, c.what, "at once"); !errors.Is(err, c.want) {
				t.Errorf("%s: error %v, want %v", c.what, err, c.want)
			}
			eventually(t, "it is back", func() bool { return p.Health() == nil })
			if got, err := act(p, nil, "calls", ""); got != "1" {
				t.Errorf("after %s: %s calls of this process (%v), want a new one", c.what, got, err)
			}
			if n := p.Restarts(); n != 1 {
				t.Errorf("after %s: started again %d times, want once", c.what, n)
			}
		})
	}
}

func TestPanicNamesItsReasonAndIsLogged(t *testing.T) {
	var out logged
	opts := options(t, guest())
	opts.Log = textLog(&out)
	p := opened(t, opts, quick())
	_, err := act(p, nil, "panic", "burst")
	if err == nil || !strings.Contains(err.Error(), "guest: burst") {
		t.Errorf("error %v, want the reason", err)
	}
	eventually(t, "the stack is in the log", func() bool { return strings.Contains(out.String(), "main.go:") })
}

// confidant is the host of a call that showed something to the plugin.
type confidant struct{ shown string }

func (confidant) Serve(context.Context, wire.Function, []byte) ([]byte, error) {
	return nil, sdk.ErrNotGranted
}
func (confidant) Stderr(context.Context, string) {}

func (c confidant) Redact(text string) string { return strings.ReplaceAll(text, c.shown, "[redacted]") }

// The supervisor logs why a process ended, and readiness tells it: neither knows of a call.
func TestWordsOfTheProcessAreRedactedWhereverTheyAppear(t *testing.T) {
	const password = "hunter22"
	var out logged
	opts := options(t, guest())
	opts.Log = textLog(&out)
	pace := quick()
	pace.first, pace.ceiling = time.Hour, time.Hour // it stays down
	p := opened(t, opts, pace)
	if _, err := act(p, confidant{password}, "echo", password); err != nil {
		t.Fatal(err)
	}
	// Another call ends the process: what it says may be of the one before.
	_, err := act(p, confidant{"nothing"}, "panic", "cannot log in "+password+" today")
	if err == nil || !strings.Contains(err.Error(), "cannot log in [redacted] today") {
		t.Errorf("the call: error %v, want the reason without the password", err)
	}
	eventually(t, "the supervisor says so", func() bool { return strings.Contains(out.String(), "plugin process ended") })
	eventually(t, "the stack is in the log", func() bool { return strings.Contains(out.String(), "main.go:") })
	if strings.Contains(out.String(), password) {
		t.Errorf("the log has the password:\n%s", out.String())
	}
	if err := p.Health(); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("Health() = %v", err)
	}
}

func TestCallsThatEndedLongAgoAreForgotten(t *testing.T) {
	l := newListeners()
	ended := func(shown string) { l.add(confidant{shown})() }
	ended("first")
	defer l.add(confidant{"running"})()
	for range remembered {
		ended("later")
	}
	if got, want := l.redact("first later running"), "first [redacted] [redacted]"; got != want {
		t.Errorf("redact() = %q, want %q", got, want)
	}
}

func TestCallerThatGivesUpIsNoFaultOfTheProcess(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := actContext(ctx, p, nil, "sleep", "200ms"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sandbox.ErrTimeout) {
		t.Errorf("sleep with the caller's deadline: error %v, want the context's", err)
	}
	if got, err := act(p, nil, "calls", ""); err != nil || got != "2" {
		t.Errorf("calls = %q, %v, want 2: the process lives on", got, err)
	}
}

// TestCallerWithLittleTimeCannotEndTheProcess is about a deadline that is over before the
// plugin gets its turn: it is told of it and gives up first.
func TestCallerWithLittleTimeCannotEndTheProcess(t *testing.T) {
	opts := options(t, guest())
	p := opened(t, opts, quick())
	r, err := p.current()
	if err != nil {
		t.Fatal(err)
	}
	host, inside, leave := blocked()
	first := make(chan error, 1)
	go func() {
		_, err := act(p, host, "get", "key")
		first <- err
	}()
	<-inside
	// Past the gateway's own queue, as a call that comes right after an abandoned one.
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := r.call(ctx, wire.Begin, request("echo", ""), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the caller's", err)
	}
	close(leave)
	if err := <-first; err != nil || p.Restarts() != 0 {
		t.Errorf("the other call: %v, after %d restarts", err, p.Restarts())
	}
}

// TestProcessThatHangsIsEndedAlsoIfEveryCallerGaveUp is about callers that are less patient
// than Timeout: what hangs must not hang for ever.
func TestProcessThatHangsIsEndedAlsoIfEveryCallerGaveUp(t *testing.T) {
	opts := options(t, guest())
	opts.Timeout = 300 * time.Millisecond
	p := opened(t, opts, quick())
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := actContext(ctx, p, nil, "deadlock", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want the context's", err)
	}
	eventually(t, "it is started again", func() bool { return p.Restarts() == 1 && p.Health() == nil })
	if got, err := act(p, nil, "calls", ""); err != nil || got != "1" {
		t.Errorf("calls = %q, %v, want 1", got, err)
	}
}

func TestOneCallAtATimeAndTheNextGivesUpWaiting(t *testing.T) {
	opts := options(t, guest())
	opts.Instances, opts.Wait = 8, 10*time.Millisecond
	p := opened(t, opts, quick())
	host, inside, leave := blocked()
	done := make(chan error, 1)
	go func() {
		_, err := act(p, host, "get", "key")
		done <- err
	}()
	<-inside
	if _, err := act(p, nil, "echo", ""); !errors.Is(err, sandbox.ErrBusy) {
		t.Errorf("second call: error %v, want %v", err, sandbox.ErrBusy)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := actContext(ctx, p, nil, "echo", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("call with an ended context: error %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Errorf("first call: %v", err)
	}
}

// blocked is a host whose first answer waits for leave.
func blocked() (host hostFunc, inside, leave chan struct{}) {
	inside, leave = make(chan struct{}), make(chan struct{})
	var first sync.Once
	return func(context.Context, wire.Function, []byte) ([]byte, error) {
		first.Do(func() { close(inside) })
		<-leave
		return wire.EncodeEntry(sdk.Entry{Value: []byte("v"), Version: 7}, true), nil
	}, inside, leave
}

func TestManyCallsAtOnce(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	host := hostFunc(func(_ context.Context, _ wire.Function, in []byte) ([]byte, error) {
		key, err := wire.DecodeKey(in)
		return wire.EncodeEntry(sdk.Entry{Value: []byte(key), Version: 1}, true), err
	})
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for n := range 5 {
				key := strconv.Itoa(g*1000 + n)
				if got, err := act(p, host, "get", key); err != nil || got != "true "+key+" 1" {
					t.Errorf("get %s = %q, %v", key, got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestConcurrentPluginTakesSeveralCallsAtATime(t *testing.T) {
	opts := options(t, rogue(t, "concurrent"))
	opts.Instances, opts.Wait = 3, 10*time.Millisecond
	opts.Prepare = describe(nil)
	p := opened(t, opts, quick())
	leave := make(chan struct{})
	inside := make(chan struct{}, opts.Instances)
	host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) {
		inside <- struct{}{}
		<-leave
		return nil, nil
	})
	var wg sync.WaitGroup
	for range opts.Instances {
		wg.Go(func() {
			if got, err := act(p, host, "get", "key"); err != nil || got != "0 bytes" {
				t.Errorf("get = %q, %v", got, err)
			}
		})
	}
	for range opts.Instances {
		<-inside // all of them are in the host at once
	}
	if _, err := act(p, nil, "sleep", "0s"); !errors.Is(err, sandbox.ErrBusy) {
		t.Errorf("one call more: error %v, want %v", err, sandbox.ErrBusy)
	}
	close(leave)
	wg.Wait()
}

// describe is a Prepare that lets the manifest pass only if it is the first one's.
func describe(first *[]byte) sandbox.Prepare {
	return func(ctx context.Context, call sandbox.Caller) error {
		m, err := call(ctx, wire.Describe, nil)
		if err != nil {
			return err
		}
		if first != nil && *first == nil {
			*first = m
		}
		if first != nil && !bytes.Equal(*first, m) {
			return fmt.Errorf("%w: another provider", sandbox.ErrProtocol)
		}
		return nil
	}
}

func TestPrepareRunsForEachProcess(t *testing.T) {
	opts := options(t, guest())
	opts.Prepare = func(ctx context.Context, call sandbox.Caller) error {
		_, err := call(ctx, wire.Configure, wire.EncodeSettings([]byte(`{"a":1}`)))
		return err
	}
	p := opened(t, opts, quick())
	for range 2 {
		if got, err := act(p, nil, "settings", ""); got != `{"a":1}` {
			t.Errorf("settings = %q, %v", got, err)
		}
		_, _ = act(p, nil, "exit", "")
		eventually(t, "it is back", func() bool { return p.Health() == nil })
	}
}

func TestProcessThatBecameAnotherProviderIsRefused(t *testing.T) {
	opts := options(t, rogue(t, "changing"))
	var first []byte
	opts.Prepare = describe(&first)
	p := opened(t, opts, quick())
	kill(t, p)
	eventually(t, "it was tried again", func() bool { return p.Restarts() >= 3 })
	if err := p.Health(); !errors.Is(err, sandbox.ErrDown) || !strings.Contains(err.Error(), "another provider") {
		t.Errorf("Health() = %v, want %v and why", err, sandbox.ErrDown)
	}
	if _, err := act(p, nil, "sleep", "0s"); !errors.Is(err, sandbox.ErrDown) {
		t.Errorf("call: error %v, want %v", err, sandbox.ErrDown)
	}
}

func TestCloseWaitsForTheCallThatRuns(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	host, inside, leave := blocked()
	answer := make(chan string, 1)
	go func() {
		got, err := act(p, host, "get", "key")
		if err != nil {
			got = err.Error()
		}
		answer <- got
	}()
	<-inside
	closed := make(chan error, 1)
	go func() { closed <- p.Close(context.Background()) }()
	close(leave)
	if got := <-answer; got != "true v 7" {
		t.Errorf("the call that ran got %q", got)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := act(p, nil, "echo", ""); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("call after Close: error %v, want %v", err, sandbox.ErrClosed)
	}
	if err := p.Health(); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("Health() = %v, want %v", err, sandbox.ErrClosed)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCloseStopsACallThatTakesTooLong(t *testing.T) {
	p := opened(t, options(t, guest()), quick())
	running := make(chan error, 1)
	go func() {
		_, err := act(p, nil, "loop", "")
		running <- err
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-running; !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("the endless call: error %v, want %v", err, sandbox.ErrClosed)
	}
}

func TestPluginStartedByHandSaysWhatItIs(t *testing.T) {
	out, err := exec.Command(guest()).CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), "This is a plugin of Shield") {
		t.Errorf("started by hand: %v, %q", err, out)
	}
}

// TestPluginSpeaksTheVersionOfAnOlderGateway shakes hands with it as such a gateway would.
func TestPluginSpeaksTheVersionOfAnOlderGateway(t *testing.T) {
	for versions, want := range map[string]string{"1": "1|1|", "1,2": "1|2|", "2,3": "1|2|"} {
		cmd := exec.Command(guest())
		cmd.Env = []string{"SHIELD_PLUGIN=provider.v1", "PLUGIN_PROTOCOL_VERSIONS=" + versions, "TMPDIR=" + t.TempDir()}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, len(want))
		_, _ = out.Read(line)
		if string(line) != want {
			t.Errorf("to a gateway of %s it says %q, want %q", versions, line, want)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
