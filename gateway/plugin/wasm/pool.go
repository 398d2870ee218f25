package wasm

import (
	"context"
	"fmt"
	"time"
)

// acquire waits for the right to make a call.
func (m *Module) acquire(ctx context.Context) error {
	select {
	case m.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(m.opts.Wait)
	defer timer.Stop()
	select {
	case m.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w within %v", ErrBusy, m.opts.Wait)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take returns an idle instance, or a new one. The caller has a slot.
func (m *Module) take(ctx context.Context) (*instance, error) {
	inst, err := m.pop()
	for inst != nil && m.retired(inst) {
		inst.close()
		inst, err = m.pop()
	}
	if inst == nil && err == nil {
		inst, err = m.start(ctx)
	}
	if err != nil {
		return nil, err
	}
	inst.calls++
	return inst, nil
}

// pop returns an idle instance, or nil.
func (m *Module) pop() (*instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	n := len(m.idle)
	if n == 0 {
		return nil, nil
	}
	inst := m.idle[n-1]
	m.idle = m.idle[:n-1]
	return inst, nil
}

// retired reports whether an instance must make no more calls: by its age or its calls, or since it
// has grown so much that the next might fail for want of memory, which never shrinks.
func (m *Module) retired(inst *instance) bool {
	return m.opts.MaxCalls > 0 && inst.calls >= m.opts.MaxCalls ||
		m.opts.MaxAge > 0 && m.opts.Now().Sub(inst.born) >= m.opts.MaxAge ||
		inst.size() > m.opts.Memory/4*3
}

// give puts an instance back that made a call, unless it is retired.
func (m *Module) give(inst *instance) {
	if m.retired(inst) {
		m.discard(inst)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle = append(m.idle, inst)
}

// discard closes an instance, and asks for another one where there should always be one.
func (m *Module) discard(inst *instance) {
	inst.close()
	select {
	case m.wanted <- struct{}{}:
	default:
	}
}

// keepWarm starts an instance whenever one is wanted and none is idle, until the module is stopped.
func (m *Module) keepWarm() {
	for {
		select {
		case <-m.wanted:
			m.warm()
		case <-m.life.Done():
			return
		}
	}
}

// warm starts an instance in a slot of its own, so that there are never more of them than
// Options.Instances. If it fails, the next call tries again and says why.
func (m *Module) warm() {
	select {
	case m.slots <- struct{}{}:
	case <-m.life.Done():
		return
	}
	defer func() { <-m.slots }()
	m.mu.Lock()
	enough := m.closed || len(m.idle) > 0
	m.mu.Unlock()
	if enough {
		return
	}
	inst, err := m.start(m.life)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle = append(m.idle, inst)
}

// drain takes all slots, of which it has some already, until the channel says enough. It
// returns how many it has.
func drain[T any](slots chan<- struct{}, enough <-chan T, taken int) int {
	for taken < cap(slots) {
		select {
		case slots <- struct{}{}:
			taken++
		case <-enough:
			return taken
		}
	}
	return taken
}
