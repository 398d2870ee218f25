// Package process runs plugins as child processes, over gRPC by go-plugin. It owns the
// process, from a private copy of its file to the last of its children, its supervision,
// and the border between plugin and gateway: what crosses it are bytes of sdk/wire, which
// it neither reads nor believes, but for whether the plugin takes several calls at a time.
// What the bytes mean is the business of package plugin.
//
// A process is not a sandbox. It runs as the gateway's user, with no privileges, no
// environment, no capabilities of the host but the granted ones, and limits; that keeps its
// breakdowns from the gateway. Where the kernel has landlock it cannot write outside of its own
// directory, nor trace or signal other processes. It can still read what that user can
// read, the keys of the gateway among it. Code that is not trusted that far belongs into
// package wasm.
package process

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// Options are what a [Process] needs. All but Granted, Wait and Prepare are required.
type Options struct {
	Name      string            // in the log and in lists of processes
	File      string            // the executable
	Digest    [sha256.Size]byte // that it must have: of what the caller read and checked
	Granted   []sdk.Capability
	Memory    int64         // most memory of its own in bytes, over what any Go process has
	Timeout   time.Duration // most time of one call
	Wait      time.Duration // how long a call waits for its turn
	Instances int           // most calls at a time, if the plugin takes several
	Dir       string        // holds copies of plugins and their sockets; private, see [Open]
	Log       *slog.Logger
	Now       func() time.Time

	// Prepare makes each new process ready before its first call.
	Prepare sandbox.Prepare
}

// pace is how a process is watched and started again.
type pace struct {
	start    time.Duration // most time from the start to the first call
	first    time.Duration // pause before it is started again, doubled each time
	ceiling  time.Duration // longest pause
	healthy  time.Duration // up for so long, the pauses begin anew
	every    time.Duration // between two health checks
	patience time.Duration // for the answer to one
}

func usual() pace {
	return pace{
		start: 10 * time.Second, first: 100 * time.Millisecond, ceiling: 30 * time.Second,
		healthy: time.Minute, every: 3 * time.Second, patience: 3 * time.Second,
	}
}

// Process is a plugin that runs as a child process and is started again when it ends. It is
// safe for concurrent use.
type Process struct {
	opts Options
	pace pace
	home *home

	life context.Context // ends when calls must stop
	stop context.CancelCauseFunc
	done chan struct{} // closed when nothing of it runs any more

	slots    chan struct{} // one for each call that may run
	restarts atomic.Uint64

	mu     sync.Mutex
	run    *run  // the one that serves
	down   error // why there is none
	closed bool
}

// Open copies the plugin's file, starts it and makes it ready. The copy is what runs: what
// becomes of File later does not matter, and if it is no longer what Digest says, Open
// fails.
//
// The copy and the sockets are in a directory below Dir, which is made if need be. Whoever
// can write there can run code as this user, so Open refuses a directory that others may
// write to. What gateways that are gone left there is removed.
func Open(ctx context.Context, opts Options) (*Process, error) { return open(ctx, opts, usual()) }

func open(ctx context.Context, opts Options, pace pace) (*Process, error) {
	if opts.Name == "" || opts.File == "" || opts.Digest == [sha256.Size]byte{} || opts.Memory < 1 || opts.Timeout <= 0 ||
		opts.Instances < 1 || opts.Dir == "" || opts.Log == nil || opts.Now == nil {
		return nil, errors.New("process: Name, File, Digest, Memory, Timeout, Instances, Dir, Log and Now are required")
	}
	if err := hide(); err != nil {
		return nil, err
	}
	home, err := openHome(opts.Dir, opts.File, opts.Digest)
	if err != nil {
		return nil, err
	}
	p := &Process{opts: opts, pace: pace, home: home, done: make(chan struct{})}
	p.life, p.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	first, err := p.start(ctx)
	if err != nil {
		p.stop(sandbox.ErrClosed)
		return nil, errors.Join(err, home.close())
	}
	p.run = first
	p.slots = make(chan struct{}, first.width(opts.Instances))
	go p.supervise(first)
	return p, nil
}

// Call makes one call. It waits for its turn. The error is one of package sandbox, or that
// of ctx if the caller gave up first. After any other than ErrBusy, ErrDown and ErrClosed
// the process is being replaced, and so is whatever else ran in it.
func (p *Process) Call(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error) {
	if _, err := p.current(); err != nil {
		return nil, err // at once: there is nothing to wait for
	}
	if err := p.acquire(ctx); err != nil {
		return nil, err
	}
	r, err := p.current()
	if err != nil {
		<-p.slots
		return nil, err
	}
	out, err := r.call(ctx, method, in, host)
	if err != nil && ctx.Err() != nil && !r.concurrent {
		go p.settle(r)
		return nil, err
	}
	<-p.slots
	return out, err
}

// settle holds the turn of a call whose caller gave up until the plugin is done with it: it
// is asked something that it answers after that. If it does not, it hangs, and is ended as
// it would be had the caller waited.
func (p *Process) settle(r *run) {
	defer func() { <-p.slots }()
	_, _ = r.call(r.ctx, wire.Describe, nil, nil)
}

// acquire waits for the right to make a call.
func (p *Process) acquire(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(p.opts.Wait)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w within %v", sandbox.ErrBusy, p.opts.Wait)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// current returns what serves now.
func (p *Process) current() (*run, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, sandbox.ErrClosed
	}
	if p.run == nil {
		return nil, p.down
	}
	if p.run.ctx.Err() != nil {
		return nil, downFor(context.Cause(p.run.ctx))
	}
	return p.run, nil
}

// Health returns nil while the process serves, or sandbox.ErrDown with the reason, or
// sandbox.ErrClosed.
func (p *Process) Health() error {
	_, err := p.current()
	return err
}

// Restarts returns how often it was tried to start the process again.
func (p *Process) Restarts() uint64 { return p.restarts.Load() }

// Close waits for the calls that run, or until ctx ends, when it stops them. Then it ends
// the process and removes what is on disk. It is idempotent; calls that come later get
// sandbox.ErrClosed.
func (p *Process) Close(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		<-p.done
		return nil
	}
	taken := 0
	for taken < cap(p.slots) && ctx.Err() == nil {
		select {
		case p.slots <- struct{}{}:
			taken++
		case <-ctx.Done():
		}
	}
	p.stop(sandbox.ErrClosed)
	for range cap(p.slots) - taken {
		p.slots <- struct{}{} // calls that were stopped end at once
	}
	for range cap(p.slots) {
		<-p.slots // late callers find it closed
	}
	<-p.done
	return p.home.close()
}

func downFor(err error) error {
	if errors.Is(err, sandbox.ErrClosed) {
		return err
	}
	return down{err}
}

// down is sandbox.ErrDown with the reason. It is not also the error that is the reason: the
// call that meets it has no part in that fault.
type down struct{ why error }

// Error returns what is wrong.
func (d down) Error() string { return fmt.Sprintf("%v: %v", sandbox.ErrDown, d.why) }

// Unwrap returns sandbox.ErrDown.
func (d down) Unwrap() error { return sandbox.ErrDown }
