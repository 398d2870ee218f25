package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/materi/shield/gateway/plugin/sandbox"
)

// Kind says how a plugin broke down.
type Kind string

// The kinds of fault.
const (
	Trap        Kind = "trap"        // it panicked or did what its sandbox forbids
	Exit        Kind = "exit"        // it ended itself
	Timeout     Kind = "timeout"     // it took too long
	Fuel        Kind = "fuel"        // it computed more than it may
	Memory      Kind = "memory"      // it wanted more than it may have
	Busy        Kind = "busy"        // no instance became free in time
	Undecodable Kind = "undecodable" // its answer is none
	NotLoaded   Kind = "not_loaded"  // it is still loading, failed to, or was stopped
)

// Fault is the breakdown of a plugin: 503 for its provider, and never anything else.
type Fault struct {
	Provider string
	Kind     Kind
	Err      error
}

// Error returns provider, kind and reason, for the log.
func (f *Fault) Error() string { return fmt.Sprintf("plugin %s: %s: %v", f.Provider, f.Kind, f.Err) }

// Unwrap returns the reason.
func (f *Fault) Unwrap() error { return f.Err }

// kinds tells which of the transport's errors is which kind of fault.
var kinds = []struct {
	err  error
	kind Kind
}{
	{sandbox.ErrTrap, Trap},
	{sandbox.ErrExit, Exit},
	{sandbox.ErrTimeout, Timeout},
	{sandbox.ErrFuel, Fuel},
	{sandbox.ErrMemory, Memory},
	{sandbox.ErrBusy, Busy},
	{sandbox.ErrDown, NotLoaded},
	{sandbox.ErrClosed, NotLoaded},
}

// fault counts err, an error of the transport, and returns it as a Fault. The caller's own
// context is no fault of the plugin's.
func (h *Host) fault(ctx context.Context, provider string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("call provider %s: %w", provider, ctx.Err())
	}
	f := &Fault{Provider: provider, Kind: Undecodable, Err: err}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			f.Kind = k.kind
			break
		}
	}
	h.metrics.faults.WithLabelValues(f.Provider, string(f.Kind)).Inc()
	return f
}

func (h *Host) notLoaded(provider string, err error) error {
	h.metrics.faults.WithLabelValues(provider, string(NotLoaded)).Inc()
	return &Fault{Provider: provider, Kind: NotLoaded, Err: err}
}
