package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk/wire"
	"github.com/materi/shield/sdk/wire/rpc"
)

// run is one life of the process.
type run struct {
	opts       *Options
	child      *child
	client     *goplugin.Client
	conn       *grpc.ClientConn
	services   *services
	output     *output
	listeners  *listeners
	concurrent bool // its manifest says so

	ctx  context.Context // ends with it; the cause is why
	end  context.CancelCauseFunc
	gone chan struct{} // closed when nothing of it is left
}

// newRun starts a process. After an error nothing of it is left.
func newRun(ctx context.Context, p *Process) (*run, error) {
	r := &run{opts: &p.opts, listeners: newListeners(), gone: make(chan struct{})}
	r.output = newOutput(&p.opts, r.listeners.redact)
	r.ctx, r.end = context.WithCancelCause(p.life)
	err := r.connect(ctx, p.home)
	if r.child == nil {
		r.client.Kill()
		r.output.close()
		r.end(err)
		return nil, err
	}
	go r.watch()
	if err == nil {
		err = r.prepare(ctx)
	}
	if err != nil {
		r.end(err)
		<-r.gone
		return nil, r.explain(err)
	}
	return r, nil
}

// connect starts the process, shakes hands and offers the gateway's services.
func (r *run) connect(ctx context.Context, home *home) error {
	s := &starter{run: r, home: home}
	defer context.AfterFunc(ctx, s.abort)()
	cfg := clientConfig(r, s)
	r.client = goplugin.NewClient(cfg)
	protocol, err := r.client.Client()
	r.child = s.child
	if err != nil {
		return s.fault(err)
	}
	raw, err := protocol.Dispense(rpc.Plugin)
	if err != nil {
		return err
	}
	link := raw.(*link)
	r.conn = link.conn
	r.services, err = serveHost(r, link.broker, cfg.TLSConfig)
	return err
}

// prepare makes the process ready for calls.
func (r *run) prepare(ctx context.Context) error {
	if r.opts.Prepare == nil {
		return nil
	}
	return r.opts.Prepare(ctx, func(ctx context.Context, method wire.Method, in []byte) ([]byte, error) {
		out, err := r.call(ctx, method, in, nil)
		if err != nil || method != wire.Describe {
			return out, err
		}
		m, err := wire.DecodeManifest(out)
		if err != nil {
			return nil, fmt.Errorf("%w: manifest: %w", sandbox.ErrProtocol, err)
		}
		r.concurrent = m.Concurrent
		return out, nil
	})
}

// width is how many calls it takes at a time.
func (r *run) width(most int) int {
	if r.concurrent {
		return most
	}
	return 1
}

// stopTime is how long a process has to end by itself when it is told to.
const stopTime = time.Second

// watch waits for the end, or makes it, and clears up.
func (r *run) watch() {
	defer close(r.gone)
	select {
	case <-r.child.done:
	case <-r.ctx.Done():
	}
	if errors.Is(context.Cause(r.ctx), sandbox.ErrClosed) {
		timer := time.AfterFunc(stopTime, r.child.kill)
		r.client.Kill() // asks it to end
		timer.Stop()
	}
	r.child.kill()
	<-r.child.done
	r.output.close()
	r.end(r.exit())
	r.client.Kill() // closes what is left of the connection
	if r.services != nil {
		r.services.close()
	}
}

// exit says how a process ended that nobody ended.
func (r *run) exit() error {
	state, crash := r.child.state, r.output.crash()
	switch {
	case strings.Contains(crash, "out of memory"), strings.Contains(crash, "cannot allocate memory"):
		return fmt.Errorf("%w: %s", sandbox.ErrMemory, crash)
	case crash != "" && !state.Success():
		return fmt.Errorf("%w: %s", sandbox.ErrTrap, crash)
	default:
		return fmt.Errorf("%w: %v", sandbox.ErrExit, state)
	}
}

// explain prefers the reason for which the process ended to what came of it.
func (r *run) explain(err error) error {
	cause := context.Cause(r.ctx)
	if cause == nil || errors.Is(err, cause) || errors.Is(cause, err) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// call makes one call. After an error that is not the caller's the run has ended.
func (r *run) call(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error) {
	if len(in) > wire.MaxMessage {
		return nil, fmt.Errorf("request of %d bytes: at most %d are allowed", len(in), wire.MaxMessage)
	}
	limited, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	defer r.listeners.add(host)()
	visit := r.services.admit(limited, host)
	out, err := rpc.Ask(metadata.AppendToOutgoingContext(limited, visit.metadata()...), r.conn, rpc.Path(method), in)
	broken := r.services.dismiss(visit)
	if err == nil && len(out) > wire.MaxMessage {
		err = fmt.Errorf("%w: reply of %d bytes, at most %d are allowed", sandbox.ErrProtocol, len(out), wire.MaxMessage)
	}
	if err == nil {
		err = broken
	}
	if err != nil {
		return nil, r.fault(ctx, limited, err)
	}
	return out, nil
}

// fault says which error of package sandbox a call failed with, and ends the run. A caller
// that gave up is no fault of the plugin's.
func (r *run) fault(ctx, limited context.Context, err error) error {
	if status.Code(err) == codes.DeadlineExceeded && !r.ours(ctx, limited) {
		// The plugin gave up a moment before the caller, whose deadline it was told.
		select {
		case <-ctx.Done():
		case <-r.ctx.Done():
		}
	}
	if r.ctx.Err() == nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if r.ctx.Err() == nil && lost(err) {
		r.await(r.child.done)
	}
	if r.ctx.Err() == nil {
		r.end(r.verdict(limited, err))
	}
	return context.Cause(r.ctx)
}

// ours reports whether the deadline of a call is that of the options, not the caller's.
func (*run) ours(ctx, limited context.Context) bool {
	callers, ok := ctx.Deadline()
	deadline, _ := limited.Deadline()
	return !ok || deadline.Before(callers)
}

// await waits until the reason is known for which a connection broke. It is known at once,
// unless the process closed it and lives on.
func (r *run) await(exited <-chan struct{}) {
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-exited:
		<-r.ctx.Done() // watch looks at how it exited
	case <-r.ctx.Done():
	case <-timer.C:
	}
}

// lost reports whether an error is that of a connection, not an answer.
func lost(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Canceled
}

func (r *run) verdict(limited context.Context, err error) error {
	text := line(r.listeners.redact(status.Convert(err).Message()), 256)
	switch {
	case errors.Is(err, sandbox.ErrProtocol), errors.Is(err, sandbox.ErrTrap):
		return err
	case limited.Err() != nil, status.Code(err) == codes.DeadlineExceeded:
		return fmt.Errorf("%w: over %v", sandbox.ErrTimeout, r.opts.Timeout)
	case status.Code(err) == codes.Internal:
		return fmt.Errorf("%w: %s", sandbox.ErrTrap, text)
	case status.Code(err) == codes.Unimplemented:
		return fmt.Errorf("%w: %w: %s", sandbox.ErrProtocol, sandbox.ErrUnknownMethod, text)
	default:
		return fmt.Errorf("%w: %v: %s", sandbox.ErrProtocol, status.Code(err), text)
	}
}

// ping asks whether the process is well.
func (r *run) ping(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	reply, err := grpc_health_v1.NewHealthClient(r.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	if err == nil && reply.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return errors.New("not serving")
	}
	return err
}

// line makes text of a plugin one line of at most n bytes.
func line(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		s = s[:n] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
