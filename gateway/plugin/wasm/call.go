package wasm

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// call is the state of one call. It travels in the context, because the functions of the
// host are made once for all instances.
type call struct {
	host    sandbox.Host // nil: there is none yet
	pending []byte       // what the module may read: the request, then replies of the host
	reply   []byte       // what the module wrote
	broken  error        // the first breach of the protocol; the call has failed whatever follows

	deadline time.Time
	fuel     int64 // that the call may use
	spent    int64 // in whole quanta: what is left of one is the next call's
	stopped  error // why it was stopped, if it was metered
	stack    stack // of the function that was called
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// Breaches of the protocol.
var (
	errPointer = errors.New("a pointer is out of bounds")
	errReply   = errors.New("the reply is too large")
	errRequest = errors.New("a request to the host cannot be decoded")
)

// readPending copies what waits for the module into its memory.
func readPending(ctx context.Context, mem api.Memory, pointer, length uint32) int32 {
	c := callOf(ctx)
	dst, ok := mem.Read(pointer, length)
	if !ok {
		return c.breach(errPointer)
	}
	n := copy(dst, c.pending)
	c.pending = c.pending[n:]
	return int32(n)
}

// writeReply appends to the reply of the call.
func writeReply(ctx context.Context, mem api.Memory, pointer, length uint32) int32 {
	c := callOf(ctx)
	src, ok := mem.Read(pointer, length)
	if !ok {
		return c.breach(errPointer)
	}
	if len(c.reply)+len(src) > wire.MaxMessage {
		return c.breach(errReply)
	}
	c.reply = append(c.reply, src...)
	return 0
}

// askHost returns the function of the host that is imported as f.
func askHost(f wire.Function) hostFunction {
	return func(ctx context.Context, mem api.Memory, pointer, length uint32) int32 {
		c := callOf(ctx)
		if c.host == nil {
			return wire.Code(sdk.ErrNotGranted)
		}
		request, ok := mem.Read(pointer, length)
		if !ok {
			return c.breach(errPointer)
		}
		if len(request) > wire.MaxMessage {
			return c.breach(errRequest)
		}
		// The module's memory must not be shared with what the host keeps.
		reply, err := c.host.Serve(ctx, f, slices.Clone(request))
		if errors.Is(err, wire.ErrMalformed) {
			return c.breach(errRequest)
		}
		if err != nil {
			return wire.Code(err)
		}
		c.pending = reply
		return int32(len(reply))
	}
}

// breach notes that the module broke the protocol. Its call goes on, since stopping it
// here would need a panic, but it has failed.
func (c *call) breach(err error) int32 {
	if c.broken == nil {
		c.broken = err
	}
	return wire.Code(wire.ErrMalformed)
}
