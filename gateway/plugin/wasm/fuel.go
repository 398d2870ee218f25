package wasm

import (
	"context"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
)

// Interruption says how a module that runs is stopped. Either way the collector of this process
// gets its turn while a module loops, or one guest would stop every goroutine.
type Interruption int

const (
	// Metered rewrites the module so that it pays for what it does in fuel; see package meter.
	Metered Interruption = iota
	// Deadline leaves the module as it is and lets the runtime look for its deadline at each
	// loop head. Loops are several times slower, there is no budget of fuel, and recursion
	// without loops runs to its end.
	Deadline
)

// DefaultFuel is the fuel of a call, and of the start of an instance, if Options.Fuel is 0.
//
// A unit is about one instruction of WebAssembly, or more of them than were executed: see
// package meter. Measured, code takes 5 to 12 thousand million units in a second, and a
// short loop of a Go guest, which pays for the whole function that it is in, 30. So the
// default is one or two seconds of computing, or a third of one in such a loop; a Go guest
// takes a thousandth of it for a call that decodes and encodes some KiB.
const DefaultFuel = 10_000_000_000

// quantum is how much fuel a module gets at a time: what it may do between two looks at its
// deadline. It takes 20 to 200 microseconds, and some milliseconds if each instruction
// waits for memory. A larger one would save nothing that can be measured.
const quantum = 250_000

// hostCall is what a call of the host costs, unless its time is in the hands of the module: then
// it costs a whole quantum, so that the deadline is looked at after each.
const hostCall = 1000

// quick are the functions of WASI whose time a module cannot stretch.
var quick = map[string]bool{
	"args_get": true, "args_sizes_get": true, "clock_res_get": true, "clock_time_get": true,
	"environ_get": true, "environ_sizes_get": true, "fd_close": true, "fd_fdstat_get": true,
	"fd_prestat_get": true, "proc_exit": true, "sched_yield": true,
}

func costOf(module, name string) uint32 {
	if module == wasi_snapshot_preview1.ModuleName && !quick[name] {
		return quantum
	}
	return hostCall
}

// metered returns what of a module is to be compiled. The module is read strictly whatever
// the strategy: the runtime allocates whatever counts a module claims to have.
func (m *Module) metered(code []byte) ([]byte, error) {
	out, err := m.rewritten(code)
	if err != nil {
		return nil, err
	}
	if m.opts.Interruption == Metered {
		return out, nil
	}
	return code, nil
}

// linkMeter makes the function that a metered module calls when its fuel runs out.
func linkMeter(ctx context.Context, r wazero.Runtime) error {
	one := []api.ValueType{api.ValueTypeI64}
	_, err := r.NewHostModuleBuilder(meter.Module).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(refill), one, one).Export(meter.Function).Instantiate(ctx)
	return err
}

// refill gives a module its next quantum, or stops it by a panic, which the runtime turns into
// the error of the call.
func refill(ctx context.Context, _ api.Module, stack []uint64) {
	c := callOf(ctx)
	left := int64(stack[0]) // negative: it is overdrawn
	c.spent += quantum - left
	if err := c.stop(ctx); err != nil {
		panic(err)
	}
	stack[0] = quantum
}

// stop says whether a call must end.
func (c *call) stop(ctx context.Context) error {
	if c.stopped != nil {
		return c.stopped
	}
	switch {
	case c.stack.tooLarge():
		c.stopped = fmt.Errorf("%w: its stack has more than %d MiB", ErrMemory, maxStack>>20)
	case c.spent > c.fuel:
		c.stopped = fmt.Errorf("%w: over %d units", ErrFuel, c.fuel)
	case ctx.Err() != nil:
		c.stopped = ErrTimeout // unless fault knows better
	case time.Now().After(c.deadline):
		// The timer of the context is late when processors are busy with guests.
		c.stopped = ErrTimeout
	}
	return c.stopped
}
