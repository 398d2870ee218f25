package wasm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
	both(t, func(t *testing.T, options func([]byte) Options) {
		m := open(t, options(guest(t, "guest")))
		for _, text := range []string{"hello", "", "\u00fc", strings.Repeat("x", 200_000)} {
			got, err := act(m, nil, "echo", text)
			if err != nil || got != text {
				t.Errorf("echo of %.20q (%d bytes) = %.20q, %v", text, len(text), got, err)
			}
		}
	})
}

func TestGuestImportsOnlyWhatItsProviderUses(t *testing.T) {
	if got := open(t, options(guest(t, "guest"))).Capabilities(); len(got) != 3 {
		t.Errorf("a provider that uses all capabilities imports %v", got)
	}
	opts := options(guest(t, "quiet"))
	opts.Granted = nil
	if got := open(t, opts).Capabilities(); len(got) != 0 {
		t.Errorf("a provider that uses no capability imports %v", got)
	}
}

func TestImportThatIsNotGrantedIsRefusedByName(t *testing.T) {
	opts := options(guest(t, "guest"))
	opts.Granted = []sdk.Capability{sdk.CapabilityKV, sdk.CapabilityLog}
	_, err := Open(context.Background(), opts)
	if err == nil || !strings.Contains(err.Error(), `capability "password" is not granted`) {
		t.Errorf("Open() = %v, want a refusal that names the capability", err)
	}
}

func TestGuestFaultsAreNamed(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		for _, c := range []struct {
			what string
			want error
		}{
			{"panic", ErrTrap},
			{"exit", ErrExit},
			{"deadlock", ErrTrap},
			{"hoard", ErrMemory},
		} {
			t.Run(c.what, func(t *testing.T) {
				t.Parallel()
				opts := options(guest(t, "guest"))
				opts.Instances = 1
				m := open(t, opts)
				if _, err := act(m, nil, c.what, ""); !errors.Is(err, c.want) {
					t.Errorf("%s: error %v, want %v", c.what, err, c.want)
				}
				if got, err := act(m, nil, "calls", ""); got != "1" {
					t.Errorf("after %s: %s calls of this instance (%v), want a new instance", c.what, got, err)
				}
			})
		}
	})
}

func TestEndlessLoopEndsAtTheDeadline(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		opts := options(guest(t, "guest"))
		opts.Timeout = 100 * time.Millisecond
		m := open(t, opts)
		start := time.Now()
		if _, err := act(m, nil, "loop", ""); !errors.Is(err, ErrTimeout) {
			t.Errorf("loop: error %v, want %v", err, ErrTimeout)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("loop took %v, want about %v", took, opts.Timeout)
		}
	})
}

func TestSleepEndsAtTheDeadline(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		opts := options(guest(t, "guest"))
		opts.Timeout = 100 * time.Millisecond
		m := open(t, opts)
		start := time.Now()
		if _, err := act(m, nil, "sleep", "1h"); !errors.Is(err, ErrTimeout) {
			t.Errorf("sleep: error %v, want %v", err, ErrTimeout)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("sleep took %v, want about %v", took, opts.Timeout)
		}
	})
}

func TestSleepIsReal(t *testing.T) {
	m := open(t, options(guest(t, "guest")))
	start := time.Now()
	if _, err := act(m, nil, "sleep", "30ms"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("a sleep of 30ms took %v", took)
	}
}

func TestCallerThatGivesUpIsNoFaultOfTheModule(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		m := open(t, options(guest(t, "guest")))
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := actContext(ctx, m, nil, "loop", ""); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrTimeout) {
			t.Errorf("loop with the caller's deadline: error %v, want the context's", err)
		}
	})
}

func TestClockAndRandomnessAreReal(t *testing.T) {
	opts := options(guest(t, "guest"))
	m := open(t, opts)
	before := time.Now()
	got, err := act(m, nil, "clock", "")
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.ParseInt(got, 10, 64)
	if at := time.Unix(0, n); at.Before(before.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("the guest's clock says %v at %v", at, before)
	}
	seen := make(map[string]bool)
	for range 4 {
		// A module of its own each time: a fixed seed would repeat with the instance.
		r, err := act(open(t, opts), nil, "random", "")
		if err != nil || seen[r] || len(r) != 32 {
			t.Errorf("random = %q, %v after %v", r, err, seen)
		}
		seen[r] = true
	}
}

func TestGuestSeesNeitherFilesNorEnvironment(t *testing.T) {
	t.Setenv("SHIELD_TEST_SECRET", "value")
	m := open(t, options(guest(t, "guest")))
	got, err := act(m, nil, "surroundings", "")
	if err != nil || got != "env=0 args=0 file=false" {
		t.Errorf("surroundings = %q, %v", got, err)
	}
}

func TestConcurrentCallsNeverShareAnInstance(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		opts := options(guest(t, "guest"))
		opts.Instances = 4
		m := open(t, opts)
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for n := range 20 {
					text := strconv.Itoa(g*1000 + n)
					if got, err := act(m, nil, "echo", text); err != nil || got != text {
						t.Errorf("echo of %s = %q, %v", text, got, err)
					}
				}
			})
		}
		wg.Wait()
		if n := len(m.idle); n > opts.Instances {
			t.Errorf("%d idle instances, want at most %d", n, opts.Instances)
		}
	})
}

func TestInstanceIsReusedAfterASuccess(t *testing.T) {
	m := open(t, options(guest(t, "guest")))
	for _, want := range []string{"1", "2", "3"} {
		if got, err := act(m, nil, "calls", ""); err != nil || got != want {
			t.Errorf("calls = %q, %v, want %s", got, err, want)
		}
	}
}

func TestCallGivesUpWaitingForAnInstance(t *testing.T) {
	opts := options(guest(t, "guest"))
	opts.Instances, opts.Wait = 1, 10*time.Millisecond
	m := open(t, opts)
	inside, leave := make(chan struct{}), make(chan struct{})
	host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) {
		close(inside)
		<-leave
		return wire.EncodeEntry(sdk.Entry{}, false), nil
	})
	done := make(chan error, 1)
	go func() {
		_, err := act(m, host, "get", "key")
		done <- err
	}()
	<-inside
	if _, err := act(m, nil, "echo", ""); !errors.Is(err, ErrBusy) {
		t.Errorf("second call: error %v, want %v", err, ErrBusy)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := actContext(ctx, m, nil, "echo", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("call with an ended context: error %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Errorf("first call: %v", err)
	}
}

func TestCloseWaitsForTheCallThatRuns(t *testing.T) {
	m := open(t, options(guest(t, "guest")))
	inside, leave := make(chan struct{}), make(chan struct{})
	host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) {
		close(inside)
		<-leave
		return wire.EncodeEntry(sdk.Entry{Value: []byte("v"), Version: 7}, true), nil
	})
	answer := make(chan string, 1)
	go func() {
		got, err := act(m, host, "get", "key")
		if err != nil {
			got = err.Error()
		}
		answer <- got
	}()
	<-inside
	closed := make(chan error, 1)
	go func() { closed <- m.Close(context.Background()) }()
	close(leave)
	if got := <-answer; got != "true v 7" {
		t.Errorf("the call that ran got %q", got)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := act(m, nil, "echo", ""); !errors.Is(err, ErrClosed) {
		t.Errorf("call after Close: error %v, want %v", err, ErrClosed)
	}
	if err := m.Close(context.Background()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestCloseStopsACallThatTakesTooLong(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		m := open(t, options(guest(t, "guest")))
		running := make(chan error, 1)
		go func() {
			_, err := act(m, nil, "loop", "")
			running <- err
		}()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-running; !errors.Is(err, ErrClosed) {
			t.Errorf("the endless call: error %v, want %v", err, ErrClosed)
		}
	})
}

func TestPrepareRunsOnceForEachInstance(t *testing.T) {
	opts := options(guest(t, "guest"))
	opts.Instances = 1
	prepared := 0
	opts.Prepare = func(ctx context.Context, call sandbox.Caller) error {
		prepared++
		_, err := call(ctx, wire.Configure, wire.EncodeSettings([]byte(`{"a":1}`)))
		return err
	}
	m := open(t, opts)
	for range 3 {
		if got, err := act(m, nil, "settings", ""); got != `{"a":1}` {
			t.Errorf("settings = %q, %v", got, err)
		}
	}
	if prepared != 1 {
		t.Errorf("%d instances prepared, want 1", prepared)
	}
	_, _ = act(m, nil, "panic", "")
	if got, err := act(m, nil, "settings", ""); got != `{"a":1}` || prepared != 2 {
		t.Errorf("after a fault: settings = %q, %v with %d prepared", got, err, prepared)
	}
}

func TestStandardErrorNeedsTheLogCapability(t *testing.T) {
	for _, granted := range []bool{true, false} {
		var out strings.Builder
		opts := options(guest(t, "guest"))
		opts.Log = textLog(&out)
		m := open(t, opts)
		if !granted {
			m.opts.Granted = nil // after the import check, which would refuse this guest
		}
		_, _ = act(m, nil, "panic", "burst"+strings.Repeat("!", 10_000))
		if got := strings.Contains(out.String(), "guest: burst"); got != granted {
			t.Errorf("with log granted %v: standard error in the log is %v", granted, got)
		}
		if out.Len() > 3*maxStderr {
			t.Errorf("the log record has %d bytes", out.Len())
		}
	}
}

func TestCacheDirectoryThatOthersMayWriteIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	opts := options(guest(t, "quiet"))
	opts.CacheDir = dir
	if _, err := Open(context.Background(), opts); err == nil || !strings.Contains(err.Error(), "may be written by others") {
		t.Errorf("Open() = %v, want a refusal", err)
	}
}

func TestCacheIsPrivateAndSurvivesDamage(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		dir := filepath.Join(t.TempDir(), "cache")
		opts := options(tiny(abiIs(1), callDoes(nil)))
		opts.CacheDir = dir
		open(t, opts)
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("cache directory: %v, %v, want mode 0700", info.Mode(), err)
		}
		damaged := 0
		err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			damaged++
			return os.WriteFile(path, []byte("damaged"), 0o600)
		})
		if err != nil || damaged == 0 {
			t.Fatalf("%d cache files damaged, %v", damaged, err)
		}
		open(t, opts)
	})
}
