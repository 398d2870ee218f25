//go:build !wasip1

package serve

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
	"github.com/materi/shield/sdk/wire/rpc"
)

// Provider makes p the provider of this plugin. Call it once.
func Provider(p sdk.Provider) *Plugin { return &Plugin{p} }

// byHand is what a plugin says to somebody who starts it.
const byHand = `This is a plugin of Shield: the gateway starts it, a person does not. Name the file in the
gateway's configuration under providers, with "transport: process". To run it in the sandbox
instead, build it with GOOS=wasip1 GOARCH=wasm and -buildmode=c-shared.
`

// Main is the main function of a plugin that runs as a process: it serves the provider to
// the gateway that started it, until that one is done with it or gone. Started by hand it
// says what it is and exits with status 2. A WASM module never calls it.
func (p *Plugin) Main() {
	if os.Getenv(rpc.CookieKey) != rpc.CookieValue {
		_, _ = os.Stderr.WriteString(byHand)
		os.Exit(2)
	}
	if err := keepStdout(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s := newProcess(p.provider, os.Stderr, os.Exit)
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: rpc.CookieKey, MagicCookieValue: rpc.CookieValue},
		VersionedPlugins: s.versions(),
		GRPCServer:       s.server,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
	})
}

// process is a provider that is served over gRPC.
type process struct {
	provider sdk.Provider
	stderr   *os.File // the real one: go-plugin replaces os.Stderr
	exit     func(int)
	gateway  *gateway

	turn       chan struct{} // held by the one call that runs, unless the provider is concurrent
	concurrent atomic.Bool
	broken     atomic.Bool // a call panicked
}

func newProcess(p sdk.Provider, stderr *os.File, exit func(int)) *process {
	return &process{
		provider: p, stderr: stderr, exit: exit,
		gateway: newGateway(), turn: make(chan struct{}, 1),
	}
}

// versions are the versions of the contract that this process can speak.
func (s *process) versions() map[int]goplugin.PluginSet {
	sets := make(map[int]goplugin.PluginSet)
	for v := sdk.OldestABI; v <= sdk.ABI; v++ {
		sets[v] = goplugin.PluginSet{rpc.Plugin: &service{process: s, version: uint32(v)}}
	}
	return sets
}

func (s *process) server(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.ForceServerCodecV2(rpc.Codec()),
		grpc.MaxRecvMsgSize(wire.MaxMessage+rpc.Envelope),
		grpc.MaxSendMsgSize(wire.MaxMessage+rpc.Envelope),
		grpc.StatsHandler(lifeline{s.exit}))...)
}

// service is the provider in one version of the contract.
type service struct {
	goplugin.NetRPCUnsupportedPlugin
	process *process
	version uint32
}

// GRPCServer adds the provider's methods to the server and goes for the gateway's services.
func (s *service) GRPCServer(broker *goplugin.GRPCBroker, server *grpc.Server) error {
	handlers := make(map[string]rpc.Handler)
	for _, m := range rpc.Methods() {
		handlers[rpc.Method(m)] = func(ctx context.Context, in []byte) ([]byte, error) {
			return s.process.call(ctx, s.version, m, in)
		}
	}
	rpc.Register(server, rpc.Provider, handlers)
	go s.process.gateway.dial(broker)
	return nil
}

// GRPCClient is the gateway's side, which is not here.
func (*service) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("a plugin has no client")
}

// call answers one call.
func (s *process) call(ctx context.Context, version uint32, method wire.Method, in []byte) (out []byte, err error) {
	ctx, cancel := early(ctx)
	defer cancel()
	if !s.concurrent.Load() {
		select {
		case s.turn <- struct{}{}:
			defer func() { <-s.turn }()
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	if s.broken.Load() {
		return nil, status.Error(codes.Internal, "an earlier call panicked")
	}
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, s.panicked(r)
		}
	}()
	if method == wire.Describe {
		return wire.EncodeManifest(s.describe(version)), nil
	}
	out, code := dispatch(ctx, s.provider, s.gateway.host(ctx), method, in)
	switch code {
	case wire.StatusOK:
		return out, nil
	case wire.StatusMalformed:
		return nil, status.Error(codes.InvalidArgument, "the request cannot be decoded")
	default:
		return nil, status.Error(codes.Unimplemented, "the provider has no such method")
	}
}

// describe returns the manifest. To a gateway of the version before this SDK's the provider
// is one of that version: nothing changed but what was added.
func (s *process) describe(version uint32) sdk.Manifest {
	m := s.provider.Describe()
	s.concurrent.Store(m.Concurrent)
	m.ABI = min(m.ABI, version)
	return m
}

// grace is how long a process lives after a panic if the gateway does not end it.
const grace = time.Second

// panicked makes a panic the end of the process. The memory of Go is sound after it, but
// what the provider was about is not: locks that are held, state that is half changed. The
// call is answered, so that the gateway learns why, and no other call is.
func (s *process) panicked(r any) error {
	s.broken.Store(true)
	fmt.Fprintf(s.stderr, "panic: %v\n\n%s", r, debug.Stack())
	time.AfterFunc(grace, func() { s.exit(2) })
	text := fmt.Sprint(r)
	return status.Error(codes.Internal, strings.ToValidUTF8("panic: "+text[:min(len(text), maxPrivate)], "?"))
}

// early ends a context a little before its deadline, so that a provider that heeds it can
// still say what it waited for. A call that the gateway has to give up costs the process.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	margin := min(time.Until(deadline)/10, 100*time.Millisecond)
	return context.WithDeadline(ctx, deadline.Add(-margin))
}

// lifeline ends the process when a connection to it ends: only the gateway that started it
// can make one, and makes one. Where the kernel does not end the process with its parent,
// this does.
type lifeline struct{ exit func(int) }

// TagRPC has nothing to add.
func (lifeline) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC has nothing to count.
func (lifeline) HandleRPC(context.Context, stats.RPCStats) {}

// TagConn has nothing to add.
func (lifeline) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn waits for the end.
func (l lifeline) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		l.exit(0)
	}
}

// token returns the token of the call that a request came with, if it has one.
func token(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md.Get(rpc.CallKey); len(values) == 1 {
		return values[0]
	}
	return ""
}
