// Package wasm runs plugins as WASM modules in a sandbox. It owns the compiled module, its
// pool of instances, and the border between guest and host: what crosses it are bytes of
// sdk/wire, which it neither reads nor believes. What the bytes mean is the business of
// package plugin.
//
// A module reaches nothing but the functions that its imports name and the operator
// granted. WASI is there because language runtimes need it: the clocks, the random source
// and standard error are real; there are no files, sockets, arguments or environment.
package wasm

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// Errors of a call, those of package sandbox. After any of them but ErrBusy and ErrClosed
// the instance is gone.
var (
	ErrTrap     = sandbox.ErrTrap
	ErrExit     = sandbox.ErrExit
	ErrTimeout  = sandbox.ErrTimeout
	ErrFuel     = sandbox.ErrFuel
	ErrMemory   = sandbox.ErrMemory
	ErrProtocol = sandbox.ErrProtocol
	ErrBusy     = sandbox.ErrBusy
	ErrClosed   = sandbox.ErrClosed
)

// startTimeout bounds the start of an instance up to its first call. A Go guest takes some
// milliseconds, more on a machine that is busy.
const startTimeout = 10 * time.Second

// stopTimeout bounds how long [Module.Close] waits for calls that it has stopped. They end
// within milliseconds, but for those of [Deadline] that recurse without loops.
const stopTimeout = 5 * time.Second

// Options are what a [Module] needs. What has no default is required.
type Options struct {
	Name      string // in the log
	Code      []byte // the .wasm file
	Granted   []sdk.Capability
	Memory    int64         // most linear memory of one instance in bytes, whole pages
	Timeout   time.Duration // most time of one call
	Wait      time.Duration // how long a call waits for a free instance
	Instances int           // most instances, which is also most calls at a time
	CacheDir  string        // holds compiled code; private, see [Open]; "": compile each time
	Log       *slog.Logger

	Interruption Interruption // how a call is stopped; Metered by default
	Fuel         int64        // most fuel of one call that is metered; 0: DefaultFuel

	// An instance is thrown away when it is that old, or has made so many calls; 0: never.
	MaxAge   time.Duration
	MaxCalls int
	// PerCall gives each call an instance of its own, so that nothing that one call leaves
	// in memory is there in the next. One instance is kept ready in the meantime.
	PerCall bool
	Now     func() time.Time // for MaxAge; nil: time.Now

	// Interpreter runs the module without compiling it, some eighty times as slow. It is there
	// to compare answers, not to serve.
	Interpreter bool

	// Prepare makes each new instance ready before its first call.
	Prepare sandbox.Prepare
}

// Module is a compiled plugin with its instances. It is safe for concurrent use.
type Module struct {
	opts     Options
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
	imported []sdk.Capability
	abi      atomic.Uint32 // 0: no instance was asked yet

	life context.Context // ends when calls must stop
	stop context.CancelFunc

	slots  chan struct{}  // one for each call that may run
	wanted chan struct{}  // PerCall: the instance that was ready is gone
	warmer sync.WaitGroup // of keepWarm
	mu     sync.Mutex
	idle   []*instance // the last one in is the first one out: its memory is warm
	closed bool
}

// Open compiles a module. It checks imports and exports before any of the module's code
// runs, and then starts one instance, so that a module that cannot start is found here.
//
// Compiled code is kept in CacheDir, which is made if need be. Whoever can write there can
// run code in this process, so Open refuses a directory that others may write to.
func Open(ctx context.Context, opts Options) (*Module, error) {
	if opts.Name == "" || opts.Memory < pageSize || opts.Timeout <= 0 || opts.Instances < 1 || opts.Log == nil {
		return nil, errors.New("wasm: Name, Memory, Timeout, Instances and Log are required")
	}
	if opts.MaxAge < 0 || opts.MaxCalls < 0 {
		return nil, errors.New("wasm: MaxAge or MaxCalls is negative")
	}
	if opts.Fuel < 0 || opts.Interruption != Metered && opts.Interruption != Deadline {
		return nil, errors.New("wasm: Fuel is negative, or Interruption unknown")
	}
	if opts.Fuel == 0 {
		opts.Fuel = DefaultFuel
	}
	if opts.PerCall {
		opts.MaxCalls = 1
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	code, err := bound(opts.Code)
	if err != nil {
		return nil, err
	}
	opts.Code = nil // it is not needed again, and can be large
	m := newModule(ctx, opts)
	if err := m.open(ctx, code); err != nil {
		_ = m.release(context.WithoutCancel(ctx))
		return nil, err
	}
	return m, nil
}

func newModule(ctx context.Context, opts Options) *Module {
	m := &Module{opts: opts, slots: make(chan struct{}, opts.Instances), wanted: make(chan struct{}, 1)}
	m.life, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	return m
}

func (m *Module) open(ctx context.Context, code []byte) error {
	code, err := m.metered(code)
	if err != nil {
		return err
	}
	if err := m.compile(ctx, code); err != nil {
		return err
	}
	imported, err := check(m.compiled, m.opts.Granted)
	if err != nil {
		return err
	}
	m.imported = imported
	if err := m.link(ctx); err != nil {
		return err
	}
	first, err := m.start(ctx)
	if err != nil {
		return err
	}
	m.idle = append(m.idle, first)
	if m.opts.PerCall {
		m.warmer.Go(m.keepWarm)
	}
	return nil
}

// ABI returns the version of the contract that the module says it speaks.
func (m *Module) ABI() uint32 { return m.abi.Load() }

// Capabilities returns those that the module imports.
func (m *Module) Capabilities() []sdk.Capability { return m.imported }

// Call makes one call on an instance of its own. It waits for a free one, starts one if
// none is idle, and throws it away unless the call went well. The error is one of this
// package's, or that of ctx if the caller gave up first.
func (m *Module) Call(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error) {
	if err := m.acquire(ctx); err != nil {
		return nil, err
	}
	defer func() { <-m.slots }()
	inst, err := m.take(ctx)
	if err != nil {
		return nil, err
	}
	out, err := inst.call(ctx, method, in, host)
	if err != nil {
		m.discard(inst)
		return nil, err
	}
	m.give(inst)
	return out, nil
}

// Close waits for the calls that run, or until ctx ends, when it stops them. It is
// idempotent; calls that come later get [ErrClosed].
func (m *Module) Close(ctx context.Context) error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	taken := drain(m.slots, ctx.Done(), 0)
	if taken < cap(m.slots) {
		m.stop()
		taken = drain(m.slots, time.After(stopTimeout), taken)
	}
	// Late callers find the module closed instead of waiting for a slot.
	for range taken {
		<-m.slots
	}
	return m.release(context.WithoutCancel(ctx))
}

// release frees the runtime with all instances.
func (m *Module) release(ctx context.Context) error {
	m.stop()
	m.warmer.Wait()
	var err error
	if m.runtime != nil {
		err = m.runtime.Close(ctx)
	}
	if m.cache != nil {
		err = errors.Join(err, m.cache.Close(ctx))
	}
	return err
}
