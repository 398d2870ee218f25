package wasm

import (
	"context"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk/wire"
)

// Single is one instance of a module, for tools that must know which one they call. The
// gateway has no use for it: it calls the [Module]. It is not safe for concurrent use.
type Single struct {
	m    *Module
	inst *instance // nil: it is gone
}

// Single takes an instance out of the module. A module that is called in this way must not be
// called in the other, or a single could be one that has served before. It counts as a call
// that runs until it is closed.
func (m *Module) Single(ctx context.Context) (*Single, error) {
	if err := m.acquire(ctx); err != nil {
		return nil, err
	}
	inst, err := m.take(ctx)
	if err != nil {
		<-m.slots
		return nil, err
	}
	return &Single{m, inst}, nil
}

// Call makes one call like [Module.Call]. After an error the single is closed.
func (s *Single) Call(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error) {
	if s.inst == nil {
		return nil, ErrClosed
	}
	out, err := s.inst.call(ctx, method, in, host)
	if err != nil {
		s.Close()
	}
	return out, err
}

// Close ends the instance. It is idempotent.
func (s *Single) Close() {
	if s.inst == nil {
		return
	}
	s.inst.close()
	s.inst = nil
	<-s.m.slots
}
