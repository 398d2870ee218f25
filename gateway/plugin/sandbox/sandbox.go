// Package sandbox is what package plugin and the transports below it agree on: how a plugin
// that runs is asked, what it may ask back, and in which ways it can break down. It knows
// nothing of WASM or of processes; those are packages beside it.
package sandbox

import (
	"context"
	"errors"

	"github.com/materi/shield/sdk/wire"
)

// Errors of a call. Whatever ran the call is gone after any of them but ErrBusy, ErrClosed
// and ErrDown.
var (
	ErrTrap     = errors.New("plugin trapped")
	ErrExit     = errors.New("plugin exited")
	ErrTimeout  = errors.New("plugin took too long")
	ErrFuel     = errors.New("plugin used up its fuel")
	ErrMemory   = errors.New("plugin ran out of memory")
	ErrProtocol = errors.New("plugin broke the protocol")
	ErrBusy     = errors.New("no instance became free")
	ErrDown     = errors.New("plugin is being restarted") // a process that ended and is not back yet
	ErrClosed   = errors.New("plugin is closed")
)

// ErrUnknownMethod is the ErrProtocol of a plugin that does not know the method, such as one
// that serves no documents.
var ErrUnknownMethod = errors.New("plugin has no such method")

// Host serves what a plugin asks during one call. It is asked by one goroutine at a time.
type Host interface {
	// Serve returns the reply to a request. An error reaches the plugin as its wire.Code.
	Serve(ctx context.Context, function wire.Function, request []byte) ([]byte, error)
}

// Listener is a [Host] that knows what must not be repeated of the words of a plugin.
type Listener interface {
	// Stderr takes what the plugin wrote to standard error in a call that broke down.
	Stderr(ctx context.Context, text string)
	// Redact returns words of the plugin without that. It may be called at any time, also
	// when the call has ended, and concurrently.
	Redact(text string) string
}

// Caller makes one call of an instance.
type Caller func(ctx context.Context, method wire.Method, in []byte) ([]byte, error)

// Prepare makes a new instance ready before its first call: it asks what the plugin is and
// hands over its settings. Its calls have no host.
type Prepare func(ctx context.Context, call Caller) error
