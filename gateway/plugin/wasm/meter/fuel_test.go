package meter_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
)

// spent runs the exported function "f" of a module and returns the fuel that it took.
func spent(t *testing.T, code []byte) int64 {
	t.Helper()
	var granted, left int64
	r := runtimeWith(t, func(_ context.Context, l int64) int64 {
		granted += 1 - l
		left = 1
		return left
	})
	defer r.Close(context.Background())
	mod := start(t, r, code)
	if _, err := mod.ExportedFunction("f").Call(context.Background()); err != nil {
		t.Fatal(err)
	}
	return granted
}

func start(t *testing.T, r wazero.Runtime, code []byte) api.Module {
	t.Helper()
	metered, err := meter.Rewrite(code, meter.Options{Call: costly})
	if err != nil {
		t.Fatal(err)
	}
	mod, err := r.InstantiateWithConfig(context.Background(), metered, wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

// What is executed is counted by hand here, in instructions or in what the package promises for bulk
// instructions.
func TestFuelFollowsTheWork(t *testing.T) {
	nops := func(n int) []byte { return repeat(n, 0x01) }
	oneLocal := []byte{1, 1, 0x7f}
	call := func(f byte) []byte { return []byte{0x10, f} }
	block := func(code ...[]byte) []byte {
		return slices.Concat([]byte{0x02, 0x40}, slices.Concat(code...), []byte{0x0b})
	}
	// Each block leaves itself in front of what it would pay after a stride.
	dodge := slices.Repeat(block(nops(60), []byte{0x0c, 0}, nops(100)), 500)
	// The same through a table that is always 0.
	dodgeTable := slices.Repeat(block(nops(60), i32(0), []byte{0x0e, 1, 0, 0}, nops(100)), 500)
	for _, c := range []struct {
		name        string
		code        []byte
		least, most int64
	}{
		{"nothing", simple(function(noLocals)), 1, 16},
		{"straight code", simple(function(noLocals, nops(100_000))), 100_000, 102_000},
		{"straight code of a function that is called", simple(
			function(oneLocal, loop(1000, 0, call(1))), function(noLocals, nops(10_000))), 10_000_000, 10_200_000},
		{"code below a stride of a function that is called", simple(
			function(oneLocal, loop(1000, 0, call(1))), function(noLocals, nops(50))), 56_000, 80_000},
		{"a tight loop", simple(function(oneLocal, loop(1_000_000, 0))), 5_000_000, 10_000_000},
		{"a long loop", simple(function(oneLocal, loop(1000, 0, nops(1000)))), 1_000_000, 1_100_000},
		{"a loop in a loop", simple(function([]byte{1, 2, 0x7f}, loop(1000, 0, nops(15), loop(1000, 1)))), 5_000_000, 30_000_000},
		{"branches around payments", simple(function(noLocals, dodge)), 30_000, 90_000},
		{"branches around payments by table", simple(function(noLocals, dodgeTable)), 30_000, 90_000},
		{"branches around payments in a loop", simple(function(oneLocal, loop(100, 0, dodge))), 3_000_000, 9_000_000},
		{"else", simple(function(noLocals, slices.Repeat(slices.Concat(
			i32(0), []byte{0x04, 0x40, 0x01, 0x05}, nops(60), []byte{0x0b}), 100))), 6000, 9000},
		{"returns from the middle", simple(
			function(oneLocal, loop(1000, 0, call(1))), function(noLocals, nops(60), []byte{0x0f}, nops(60))), 61_000, 90_000},
		{"division", simple(function(noLocals, slices.Repeat(slices.Concat(i32(7), i32(3), []byte{0x6d, 0x1a}), 1000))), 8000, 13_000},
		{"locals", simple(function(oneLocal, loop(1000, 0, call(1))), function([]byte{1, 0x90, 0x4e, 0x7e})), 2_500_000, 2_600_000},
		{"memory.fill", simple(function(noLocals, i32(0), i32(1), i32(65536), []byte{0xfc, 11, 0})), 8192, 8300},
		{"memory.copy", simple(function(noLocals, i32(0), i32(0), i32(65536), []byte{0xfc, 10, 0, 0})), 8192, 8300},
		{"memory.fill in a loop", simple(function(oneLocal, loop(1000, 0, i32(0), i32(1), i32(65536), []byte{0xfc, 11, 0}))), 8_192_000, 8_300_000},
		{"memory.grow", simple(function(noLocals, i32(1), []byte{0x40, 0, 0x1a})), 8192, 12_000},
		{"table.fill", simple(function(noLocals, i32(0), []byte{0xd0, 0x70}, i32(20), []byte{0xfc, 17, 0})), 20, 50},
		{"table.copy", simple(function(noLocals, i32(0), i32(0), i32(20), []byte{0xfc, 14, 0, 0})), 20, 50},
		{"table.grow", simple(function(noLocals, []byte{0xd0, 0x70}, i32(5000), []byte{0xfc, 15, 0, 0x1a})), 5000, 5050},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := spent(t, c.code); got < c.least || got > c.most {
				t.Errorf("spent %d, want %d to %d", got, c.least, c.most)
			}
		})
	}
}

// importing is a module that imports a function as 0, with a table whose first element is that.
func importing(code ...[]byte) []byte {
	return module(
		section(1, vector([]byte{0x60, 0, 0})),
		section(2, vector(slices.Concat(text("env"), text("g"), []byte{0, 0}))),
		section(3, vector([]byte{0})),
		section(4, []byte{1, 0x70, 0, 1}),
		section(7, vector(slices.Concat(text("f"), []byte{0, 1}))),
		section(9, vector(slices.Concat([]byte{0}, i32(0), []byte{0x0b, 1, 0}))),
		section(10, vector(function([]byte{1, 1, 0x7f}, code...))),
	)
}

func TestCallsOfTheHostArePaidFor(t *testing.T) {
	for name, call := range map[string][]byte{
		"direct":        {0x10, 0},
		"through table": slices.Concat(i32(0), []byte{0x11, 0, 0}),
		"through a reference that is put into a table": slices.Concat(
			i32(0), []byte{0xd2, 0, 0x26, 0}, i32(0), []byte{0x11, 0, 0}),
	} {
		t.Run(name, func(t *testing.T) {
			var granted int64
			r := runtimeWith(t, func(_ context.Context, l int64) int64 {
				granted += 1 - l
				return 1
			})
			ctx := context.Background()
			defer r.Close(ctx)
			calls := 0
			if _, err := r.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func() { calls++ }).Export("g").Instantiate(ctx); err != nil {
				t.Fatal(err)
			}
			mod := start(t, r, importing(loop(100, 0, call)))
			if _, err := mod.ExportedFunction("f").Call(ctx); err != nil {
				t.Fatal(err)
			}
			if calls != 100 || granted < 100_000 || granted > 105_000 {
				t.Errorf("%d calls for %d fuel, want 100 for 1000 each", calls, granted)
			}
		})
	}
}

var errSpent = errors.New("spent")

// limited returns a runtime that gives fuel until a moment.
func limited(t testing.TB, d time.Duration) wazero.Runtime {
	end := time.Now().Add(d)
	return runtimeWith(t, func(context.Context, int64) int64 {
		if time.Now().After(end) {
			panic(errSpent)
		}
		return grant
	})
}

// fibonacci is the recursive function without a loop: fib(n) = fib(n-1) + fib(n-2), and "f" asks for
// fib(60), which would take hours. The recursion is direct, or through a table.
func fibonacci(indirect bool) []byte {
	call := []byte{0x10, 1}
	if indirect {
		call = slices.Concat(i32(0), []byte{0x11, 1, 0})
	}
	return module(
		section(1, vector([]byte{0x60, 0, 0}, []byte{0x60, 1, 0x7f, 1, 0x7f})),
		section(3, vector([]byte{0}, []byte{1})),
		section(4, []byte{1, 0x70, 0, 1}),
		section(7, vector(slices.Concat(text("f"), []byte{0, 0}))),
		section(9, vector(slices.Concat([]byte{0}, i32(0), []byte{0x0b, 1, 1}))),
		section(10, vector(
			function(noLocals, i32(60), []byte{0x10, 1, 0x1a}),
			function(noLocals,
				[]byte{0x20, 0}, i32(2), []byte{0x48, 0x04, 0x7f, 0x20, 0, 0x05}, // n < 2: n
				[]byte{0x20, 0}, i32(1), []byte{0x6b}, call,
				[]byte{0x20, 0}, i32(2), []byte{0x6b}, call,
				[]byte{0x6a, 0x0b}),
		)),
	)
}

// endless are modules whose "f" does not end by itself, with the start section that does not end.
func endless() map[string][]byte {
	forever := func(code ...[]byte) []byte {
		return slices.Concat([]byte{0x03, 0x40}, slices.Concat(code...), []byte{0x0c, 0, 0x0b})
	}
	return map[string][]byte{
		"loop":               simple(function(noLocals, forever())),
		"recursion":          fibonacci(false),
		"indirect recursion": fibonacci(true),
		"memory.fill":        simple(function(noLocals, forever(i32(0), i32(0), i32(65536), []byte{0xfc, 11, 0}))),
		"loop by br_if":      simple(function(noLocals, []byte{0x03, 0x40}, i32(1), []byte{0x0d, 0, 0x0b})),
		"loop by br_table":   simple(function(noLocals, []byte{0x03, 0x40}, i32(1), []byte{0x0e, 1, 0, 0, 0x0b})),
		"two functions that call each other in a loop": simple(
			function(noLocals, forever([]byte{0x10, 1})), function(noLocals, repeat(30, 0x01))),
	}
}

func TestEndlessCodeIsStopped(t *testing.T) {
	for name, code := range endless() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := limited(t, 100*time.Millisecond)
			defer r.Close(context.Background())
			_, err := start(t, r, code).ExportedFunction("f").Call(context.Background())
			if !errors.Is(err, errSpent) {
				t.Errorf("error %v, want %v", err, errSpent)
			}
		})
	}
}

func TestEndlessStartIsStopped(t *testing.T) {
	code := module(
		section(1, vector([]byte{0x60, 0, 0})),
		section(3, vector([]byte{0})),
		section(8, []byte{0}),
		section(10, vector(function(noLocals, []byte{0x03, 0x40, 0x0c, 0, 0x0b}))),
	)
	metered, err := meter.Rewrite(code, meter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := limited(t, 50*time.Millisecond)
	defer r.Close(context.Background())
	if _, err := r.InstantiateWithConfig(context.Background(), metered, wazero.NewModuleConfig()); !errors.Is(err, errSpent) {
		t.Errorf("error %v, want %v", err, errSpent)
	}
}

// Go's collector stops the world, for which every goroutine must come by.
func TestCollectorInterruptsEndlessCode(t *testing.T) {
	for name, code := range endless() {
		t.Run(name, func(t *testing.T) {
			stop := make(chan struct{})
			running := make(chan struct{})
			first := true
			r := runtimeWith(t, func(context.Context, int64) int64 {
				if first {
					close(running)
				}
				first = false
				select {
				case <-stop:
					panic(errSpent)
				default:
					return grant
				}
			})
			defer r.Close(context.Background())
			mod := start(t, r, code)
			done := make(chan error)
			go func() {
				_, err := mod.ExportedFunction("f").Call(context.Background())
				done <- err
			}()
			<-running
			runtime.GC() // returns while the module runs, or not at all
			close(stop)
			if err := <-done; !errors.Is(err, errSpent) {
				t.Errorf("error %v, want %v", err, errSpent)
			}
		})
	}
}
