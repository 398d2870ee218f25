package wasm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
	"github.com/materi/shield/sdk/wire"
)

// instance is one running copy of the module. It belongs to one call at a time: run
// concurrently, a guest's memory is corrupted without an error.
type instance struct {
	m      *Module
	mod    api.Module
	abi    api.Function
	invoke api.Function
	stack  [2]uint64 // what is passed to invoke
	depth  stack     // of invoke
	stderr head
	ctx    context.Context // of the call that runs, for what WASI gives no context
	born   time.Time
	calls  int
}

// start makes an instance and prepares it.
func (m *Module) start(ctx context.Context) (*instance, error) {
	inst := &instance{m: m, born: m.opts.Now()}
	start, c, cancel := m.limit(ctx, startTimeout)
	defer cancel()
	inst.ctx = start
	cfg := wazero.NewModuleConfig().
		WithName("").
		WithStartFunctions().
		WithSysWalltime().
		WithSysNanotime().
		WithNanosleep(inst.sleep).
		WithRandSource(random{inst}).
		WithStdout(sink{inst, io.Discard}).
		WithStderr(sink{inst, &inst.stderr})
	mod, err := m.runtime.InstantiateModule(start, m.compiled, cfg)
	if err != nil {
		return nil, fmt.Errorf("start: %w", inst.fault(ctx, start, c, err))
	}
	inst.mod, inst.abi, inst.invoke = mod, mod.ExportedFunction("shield_abi"), mod.ExportedFunction("shield_call")
	inst.depth = stackOf(inst.invoke)
	for _, name := range []string{startExport, "_initialize"} {
		if err := inst.run(start, c, name); err != nil {
			err = inst.fault(ctx, start, c, err)
			inst.close()
			return nil, fmt.Errorf("start: %w", err)
		}
	}
	if err := inst.prepare(ctx); err != nil {
		inst.close()
		return nil, fmt.Errorf("start: %w", err)
	}
	return inst, nil
}

// run calls a function of the module that takes and returns nothing, if it is there.
func (i *instance) run(ctx context.Context, c *call, name string) error {
	f := i.mod.ExportedFunction(name)
	if f == nil {
		return nil
	}
	c.stack = stackOf(f)
	_, err := f.Call(ctx)
	return err
}

// limit returns the context of a call, with the call in it: it ends with ctx, after d, or when the
// module is stopped.
func (m *Module) limit(ctx context.Context, d time.Duration) (context.Context, *call, context.CancelFunc) {
	limited, cancel := context.WithTimeout(ctx, d)
	unhook := context.AfterFunc(m.life, cancel)
	c := &call{deadline: time.Now().Add(d), fuel: m.opts.Fuel}
	return withCall(limited, c), c, func() {
		unhook()
		cancel()
	}
}

func (i *instance) prepare(ctx context.Context) error {
	if err := i.speaks(ctx); err != nil {
		return err
	}
	if i.m.opts.Prepare == nil {
		return nil
	}
	return i.m.opts.Prepare(ctx, func(ctx context.Context, method wire.Method, in []byte) ([]byte, error) {
		return i.call(ctx, method, in, nil)
	})
}

// speaks asks for the version of the contract.
func (i *instance) speaks(ctx context.Context) error {
	limited, c, cancel := i.m.limit(ctx, startTimeout)
	defer cancel()
	i.ctx = limited
	c.stack = stackOf(i.abi)
	result, err := i.abi.Call(limited)
	if err != nil {
		return i.fault(ctx, limited, c, err)
	}
	abi := api.DecodeU32(result[0])
	if err := contract.ABI(abi); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if before := i.m.abi.Swap(abi); before != 0 && before != abi {
		return fmt.Errorf("%w: it speaks another version of the contract than at the start", ErrProtocol)
	}
	return nil
}

// call makes one call. After an error the instance must not be used again: its memory may
// be anything.
func (i *instance) call(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error) {
	if len(in) > wire.MaxMessage {
		return nil, fmt.Errorf("request of %d bytes: at most %d are allowed", len(in), wire.MaxMessage)
	}
	limited, c, cancel := i.m.limit(ctx, i.m.opts.Timeout)
	defer cancel()
	c.host, c.pending, c.stack = host, in, i.depth
	i.ctx = limited
	i.stderr.reset()
	// The parameters, and then the result.
	i.stack = [2]uint64{api.EncodeU32(uint32(method)), api.EncodeU32(uint32(len(in)))}
	if err := i.invoke.CallWithStack(limited, i.stack[:]); err != nil {
		return nil, i.fault(ctx, limited, c, err)
	}
	if c.broken != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, c.broken)
	}
	status := wire.Status(api.DecodeI32(i.stack[0]))
	if status == wire.StatusUnknownMethod {
		return nil, fmt.Errorf("%w: %w: %v", ErrProtocol, sandbox.ErrUnknownMethod, method)
	}
	if status != wire.StatusOK {
		return nil, fmt.Errorf("%w: %v returned status %d", ErrProtocol, method, status)
	}
	return c.reply, nil
}

// fault says which error of this package stopped the module. A caller that gave up is no
// fault of the module's. The exit code is not asked who was first, since the module could
// have chosen it.
func (i *instance) fault(ctx, limited context.Context, c *call, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if i.m.life.Err() != nil {
		return ErrClosed
	}
	i.report(ctx, c.host)
	if errors.Is(c.stopped, ErrFuel) || errors.Is(c.stopped, ErrMemory) {
		return c.stopped
	}
	if c.stopped != nil || limited.Err() != nil {
		return fmt.Errorf("%w: over %v", ErrTimeout, i.m.opts.Timeout)
	}
	reason, _, _ := strings.Cut(err.Error(), "\n") // the rest is a stack of the module's own
	if i.exhausted() {
		return fmt.Errorf("%w: %s", ErrMemory, reason)
	}
	if _, ok := errors.AsType[*sys.ExitError](err); ok {
		return fmt.Errorf("%w: %s", ErrExit, reason)
	}
	return fmt.Errorf("%w: %s", ErrTrap, reason)
}

// exhausted guesses whether the module stopped for want of memory, from how near it is to
// its limit and from what a Go guest says when it ends. It only names a fault; nothing
// depends on it.
func (i *instance) exhausted() bool {
	return i.size() > i.m.opts.Memory/8*7 || bytes.Contains(i.stderr.b, []byte("out of memory"))
}

// report hands on what a failed module wrote to standard error. It is the plugin's text, so
// it needs the capability for the log. Before there is a host, nothing of a person's can be
// in it.
func (i *instance) report(ctx context.Context, host sandbox.Host) {
	if len(i.stderr.b) == 0 || !i.m.grants(sdk.CapabilityLog) {
		return
	}
	text := strings.ToValidUTF8(string(i.stderr.b), "?")
	if l, ok := host.(sandbox.Listener); ok {
		l.Stderr(ctx, text)
		return
	}
	i.m.opts.Log.WarnContext(ctx, "plugin wrote to standard error and failed", "provider", i.m.opts.Name, "stderr", text)
}

func (m *Module) grants(c sdk.Capability) bool {
	for _, g := range m.opts.Granted {
		if g == c {
			return true
		}
	}
	return false
}

func (i *instance) size() int64 {
	if i.mod == nil || i.mod.Memory() == nil {
		return 0
	}
	return int64(i.mod.Memory().Size())
}

// random is the random source of a module. It fills what it is given in parts, so that a request
// of gigabytes ends with the call.
type random struct{ i *instance }

const randomPart = 64 << 10

func (r random) Read(p []byte) (int, error) {
	if err := r.i.ctx.Err(); err != nil {
		return 0, err
	}
	return rand.Read(p[:min(len(p), randomPart)])
}

// sink is an output of a module. It fails when the call has ended: a module can write its whole memory
// in each of a million parts.
type sink struct {
	i *instance
	w io.Writer
}

func (s sink) Write(p []byte) (int, error) {
	if err := s.i.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

// sleep lets a module sleep no longer than its call may last.
func (i *instance) sleep(nanoseconds int64) {
	timer := time.NewTimer(time.Duration(nanoseconds))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-i.ctx.Done():
	}
}

func (i *instance) close() { _ = i.mod.Close(context.WithoutCancel(i.ctx)) }

// head keeps the beginning of what is written to it: a runtime says first why it ends.
type head struct{ b []byte }

const maxStderr = 4 << 10

// Write keeps what there is room for and claims to have kept all.
func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), maxStderr-len(h.b))]...)
	return len(p), nil
}

func (h *head) reset() { h.b = h.b[:0] }
