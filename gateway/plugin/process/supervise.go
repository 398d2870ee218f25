package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/materi/shield/gateway/plugin/sandbox"
)

// supervise watches a process and starts it again whenever it ended, until the end of life.
func (p *Process) supervise(r *run) {
	defer close(p.done)
	pause := p.pace.first
	for r != nil {
		began := p.opts.Now()
		p.tend(r)
		why := context.Cause(r.ctx)
		if p.life.Err() != nil {
			return
		}
		if p.opts.Now().Sub(began) >= p.pace.healthy {
			pause = p.pace.first
		}
		p.opts.Log.WarnContext(p.life, "plugin process ended", "provider", p.opts.Name, "error", why, "pause", pause.String())
		p.set(nil, downFor(why))
		r = p.again(&pause)
	}
}

// again starts the process until that works, with longer and longer pauses. It returns nil
// at the end of life.
func (p *Process) again(pause *time.Duration) *run {
	for {
		timer := time.NewTimer(*pause)
		select {
		case <-timer.C:
		case <-p.life.Done():
			timer.Stop()
			return nil
		}
		*pause = min(2**pause, p.pace.ceiling)
		p.restarts.Add(1)
		r, err := p.start(p.life)
		if err == nil {
			p.opts.Log.InfoContext(p.life, "plugin process started again", "provider", p.opts.Name)
			p.set(r, nil)
			return r
		}
		if p.life.Err() != nil {
			return nil
		}
		p.opts.Log.ErrorContext(p.life, "plugin process does not start", "provider", p.opts.Name, "error", err, "pause", pause.String())
		p.set(nil, downFor(err))
	}
}

func (p *Process) set(r *run, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run, p.down = r, err
}

// misses is how many health checks in a row a process may miss.
const misses = 2

// maxFamily is how many processes a plugin may have at a time.
const maxFamily = 64

// tend asks a process from time to time whether it is well, and returns when it is gone.
func (p *Process) tend(r *run) {
	tick := time.NewTicker(p.pace.every)
	defer tick.Stop()
	missed := 0
	for {
		select {
		case <-r.gone:
			return
		case <-tick.C:
		}
		if n := r.child.family(); n > maxFamily {
			r.end(fmt.Errorf("%w: it has %d processes, at most %d are allowed", sandbox.ErrProtocol, n, maxFamily))
			continue
		}
		if err := r.ping(p.pace.patience); err == nil {
			missed = 0
			continue
		}
		if missed++; missed >= misses {
			r.end(fmt.Errorf("%w: it does not answer health checks", sandbox.ErrTimeout))
		}
	}
}

// start starts a process and makes it ready.
func (p *Process) start(ctx context.Context) (*run, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.pace.start, fmt.Errorf("%w: over %v to start", sandbox.ErrTimeout, p.pace.start))
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	r, err := newRun(ctx, p)
	if err == nil {
		return r, nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return nil, fmt.Errorf("start: %w", err)
}
