package wasm

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk/wire"
)

// forever repeats code.
func forever(code ...[]byte) []byte {
	return join([]byte{opLoop, blockEmpty}, join(code...), []byte{opBr, 0, opEnd})
}

func TestFuelIsABudgetOfEachCall(t *testing.T) {
	opts := options(tiny(abiIs(1), callDoes(counting(1_000_000))))
	opts.Fuel = 20_000_000 // two such calls, nearly three
	m := open(t, opts)
	for range 20 {
		if _, err := m.Call(context.Background(), wire.Begin, nil, nil); err != nil {
			t.Fatalf("a call within its fuel: %v", err)
		}
	}
	if len(m.idle) != 1 {
		t.Errorf("%d idle instances, want the one that made all calls", len(m.idle))
	}
}

func TestCallThatUsesUpItsFuelIsStopped(t *testing.T) {
	for name, c := range map[string]struct{ code, in []byte }{
		"loop":      {tiny(abiIs(1), callDoes(join(forever(), constant(0)))), nil},
		"recursion": {recursive(90), nil},
		"Go loop":   {guest(t, "guest"), request("loop", "")},
		"calls of the host": {tiny(imports("shield_io", "read"), abiIs(1),
			callDoes(join(forever(constant(0), constant(0), []byte{opCall, 0, opDrop}), constant(0)))), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(c.code)
			opts.Fuel, opts.Timeout = 500_000_000, time.Hour
			m := open(t, opts)
			if _, err := m.Call(context.Background(), wire.Begin, c.in, nil); !errors.Is(err, ErrFuel) {
				t.Errorf("error %v, want %v", err, ErrFuel)
			}
			if len(m.idle) != 0 {
				t.Error("the instance is kept")
			}
		})
	}
}

func TestGuestWorksAfterItUsedUpItsFuel(t *testing.T) {
	opts := options(guest(t, "guest"))
	opts.Fuel = 500_000_000
	m := open(t, opts)
	if _, err := act(m, nil, "loop", ""); !errors.Is(err, ErrFuel) {
		t.Errorf("loop: error %v, want %v", err, ErrFuel)
	}
	if got, err := act(m, nil, "calls", ""); got != "1" || err != nil {
		t.Errorf("afterwards: %q calls of this instance, %v, want a new instance", got, err)
	}
}

func TestStartHasABudgetToo(t *testing.T) {
	endless := join(forever(), constant(1))
	for name, code := range map[string][]byte{
		"start section": tiny(abiIs(1), callDoes(nil), func(a *asm) { a.start = forever() }),
		"shield_abi":    tiny(callDoes(nil), func(a *asm) { a.abi = endless }),
		"Prepare":       tiny(abiIs(1), callDoes(endless)),
	} {
		opts := options(code)
		opts.Fuel, opts.Timeout = 100_000_000, time.Hour
		opts.Prepare = func(ctx context.Context, call sandbox.Caller) error {
			_, err := call(ctx, wire.Describe, nil)
			return err
		}
		if _, err := Open(context.Background(), opts); !errors.Is(err, ErrFuel) {
			t.Errorf("%s: Open() = %v, want %v", name, err, ErrFuel)
		}
	}
}

func TestDefaultFuelIsEnoughForAGuest(t *testing.T) {
	opts := options(guest(t, "guest"))
	opts.Fuel = 0
	m := open(t, opts)
	if _, err := act(m, nil, "decode", "1000"); err != nil {
		t.Error(err)
	}
}

// What WithCloseOnContextDone does not stop: it looks at loop heads alone.
func TestRecursionEndsAtTheDeadline(t *testing.T) {
	opts := options(recursive(90))
	opts.Timeout = 100 * time.Millisecond
	m := open(t, opts)
	if _, err := m.Call(context.Background(), wire.Begin, nil, nil); !errors.Is(err, ErrTimeout) {
		t.Errorf("error %v, want %v", err, ErrTimeout)
	}
	if len(m.idle) != 0 {
		t.Error("the instance is kept")
	}
}

func TestDeepStackEndsAtTheDeadline(t *testing.T) {
	opts := options(deep())
	opts.Timeout = 100 * time.Millisecond
	m := open(t, opts)
	if _, err := m.Call(context.Background(), wire.Begin, nil, nil); !errors.Is(err, ErrTimeout) {
		t.Errorf("error %v, want %v", err, ErrTimeout)
	}
}

func TestRecursionEndsWithItsCaller(t *testing.T) {
	m := open(t, options(recursive(90)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := m.Call(ctx, wire.Begin, nil, nil)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestCloseStopsRecursion(t *testing.T) {
	m := open(t, options(recursive(90)))
	running := make(chan error, 1)
	go func() {
		_, err := m.Call(context.Background(), wire.Begin, nil, nil)
		running <- err
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-running; !errors.Is(err, ErrClosed) {
		t.Errorf("the endless call: error %v, want %v", err, ErrClosed)
	}
}

// The collector stops all goroutines for a moment, so a guest that does not let it would
// stop them for as long as it likes.
func TestCollectorDoesNotWaitForTheGuest(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		read := join(constant(0), constant(0), []byte{opCall, 0, opDrop})
		// It says that it runs by asking the host, and loops then.
		code := tiny(imports("shield_kv", "get"), abiIs(1), callDoes(join(read, forever(), constant(0))))
		running := make(chan struct{})
		host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) {
			close(running)
			return nil, nil
		})
		m := open(t, options(code))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan error)
		go func() {
			_, err := m.Call(ctx, wire.Begin, nil, host)
			done <- err
		}()
		<-running
		for range 3 {
			runtime.GC() // returns while the guest loops, or not before its deadline
		}
		if ctx.Err() != nil {
			t.Error("the call ended by itself")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v: did the guest run at all?", err, context.Canceled)
		}
	})
}

// Functions of WASI work on what the guest says is how large, which is at most its memory; and
// it can repeat them.
func TestHostileSizesEndAtTheDeadline(t *testing.T) {
	const (
		wasi  = "wasi_snapshot_preview1"
		pages = 480 // of the 512 that options gives
		size  = pages << 16
	)
	drop := []byte{opCall, 0, opDrop}
	store := func(at, value int64) []byte { return join(constant(at), constant(value), []byte{0x36, 2, 0}) }
	// Every vector of eight bytes is the whole memory: 0 and its size.
	vectors := join(
		constant(size-8), []byte{0x21, 0}, // local 0: from the end of the memory down to 0
		[]byte{opLoop, blockEmpty, 0x20, 0}, constant(size), []byte{0x36, 2, 4}, // store size at 4 of it
		[]byte{0x20, 0}, constant(8), []byte{0x6b, 0x22, 0}, constant(8), []byte{0x4e, 0x0d, 0, opEnd}, // >= 8: again
	)
	for _, c := range []struct {
		name string
		part
		body []byte
	}{
		{"random_get of the whole memory", imports(wasi, "random_get"), forever(constant(0), constant(size), drop)},
		{"fd_write to standard error of the whole memory in four million parts", importsAs(wasi, "fd_write", typeFour),
			join(vectors, forever(constant(2), constant(0), constant(size/8-1), constant(0), drop))},
		{"fd_write to standard output of the same", importsAs(wasi, "fd_write", typeFour),
			join(vectors, forever(constant(1), constant(0), constant(size/8-1), constant(0), drop))},
		{"fd_write of four million empty parts", importsAs(wasi, "fd_write", typeFour),
			forever(constant(2), constant(0), constant(size/8-1), constant(0), drop)},
		{"fd_read into four million empty parts", importsAs(wasi, "fd_read", typeFour),
			forever(constant(0), constant(0), constant(size/8-1), constant(0), drop)},
		{"poll_oneoff of half a million clocks", importsAs(wasi, "poll_oneoff", typeFour),
			forever(constant(0), constant(0), constant(size/48), constant(0), drop)},
		{"poll_oneoff of a century", importsAs(wasi, "poll_oneoff", typeFour),
			forever(store(20, 0), store(24, 0), store(28, 1<<29), constant(0), constant(4096), constant(1), constant(0), drop)},
		{"sched_yield", importsAs(wasi, "sched_yield", typeNone), forever(drop)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, options func([]byte) Options) {
				opts := options(tiny(c.part, abiIs(1), callDoes(join(c.body, constant(0))), func(a *asm) { a.memory = pages }))
				opts.Timeout = 100 * time.Millisecond
				m := open(t, opts)
				if _, err := m.Call(context.Background(), wire.Begin, nil, nil); !errors.Is(err, ErrTimeout) {
					t.Errorf("error %v, want %v", err, ErrTimeout)
				}
			})
		})
	}
}

// A size that wraps around 32 bits makes the runtime's own code fail; that is a trap like any other.
func TestSizesThatWrapAroundAreATrap(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		poll := join(constant(0), constant(64), constant(1<<28+1), constant(32), []byte{opCall, 0, opDrop}, constant(0))
		m := open(t, options(tiny(importsAs("wasi_snapshot_preview1", "poll_oneoff", typeFour), abiIs(1), callDoes(poll))))
		if _, err := m.Call(context.Background(), wire.Begin, nil, nil); !errors.Is(err, ErrTrap) {
			t.Errorf("error %v, want %v", err, ErrTrap)
		}
	})
}
