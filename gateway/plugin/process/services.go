package process

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
	"github.com/materi/shield/sdk/wire/rpc"
)

// Bounds of what a process may have under way in all of its calls: connections, of which an
// honest one has one, and requests on each, which wait in memory until they are complete.
const (
	maxConnections = 4
	greetingTime   = 2 * time.Second // for the handshakes of one, which the end of the server waits for
	maxStreams     = 64
)

// services are what the gateway does for one process while it makes calls.
type services struct {
	server *grpc.Server
	served chan struct{} // closed when the server has ended
	log    *slog.Logger
	name   string

	mu     sync.Mutex
	visits map[string]*visit // by token
}

// visit is one call with the host that serves it.
type visit struct {
	token string
	ctx   context.Context // of the call
	host  sandbox.Host
	turn  chan struct{} // held by the one request that runs

	over   bool  // no request is served any more; belongs to the holder of turn
	broken error // the first breach of the protocol; belongs to the holder of turn
}

// serveHost offers the granted services to a process. What is not granted is not there.
func serveHost(r *run, broker *goplugin.GRPCBroker, cert *tls.Config) (*services, error) {
	if cert == nil || cert.ClientCAs == nil {
		return nil, fmt.Errorf("%w: it does not say by which certificate it is known", sandbox.ErrProtocol)
	}
	s := &services{visits: make(map[string]*visit), served: make(chan struct{}), log: r.opts.Log, name: r.opts.Name}
	s.server = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(cert)),
		grpc.ConnectionTimeout(greetingTime),
		grpc.ForceServerCodecV2(rpc.Codec()),
		grpc.MaxRecvMsgSize(wire.MaxMessage),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.WaitForHandlers(true))
	services := make(map[sdk.Capability]map[string]rpc.Handler)
	for _, f := range wire.Functions() {
		if !slices.Contains(r.opts.Granted, f.Capability) {
			continue
		}
		if services[f.Capability] == nil {
			services[f.Capability] = make(map[string]rpc.Handler)
		}
		services[f.Capability][rpc.Function(f)] = s.handler(f)
	}
	for capability, handlers := range services {
		rpc.Register(s.server, rpc.Service(capability), handlers)
	}
	l, err := broker.Accept(rpc.Broker)
	if err != nil {
		return nil, fmt.Errorf("offer the services: %w", err)
	}
	go s.serve(l)
	return s, nil
}

func (s *services) serve(l net.Listener) {
	defer close(s.served)
	_ = s.server.Serve(netutil.LimitListener(l, maxConnections)) // ends when the listener or the server is closed
}

func (s *services) close() {
	s.server.Stop()
	<-s.served
}

// admit makes a token for a call. A call without a host gets none.
func (s *services) admit(ctx context.Context, host sandbox.Host) *visit {
	v := &visit{ctx: ctx, host: host, turn: make(chan struct{}, 1)}
	if host == nil {
		return v
	}
	v.token = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.visits[v.token] = v
	return v
}

// metadata returns what the plugin needs to ask for the call.
func (v *visit) metadata() []string {
	if v.host == nil {
		return nil
	}
	return []string{rpc.CallKey, v.token}
}

// dismiss ends a call's right to ask and waits for the request that runs. It returns how
// the plugin broke the protocol, if it did.
func (s *services) dismiss(v *visit) error {
	if v.host == nil {
		return nil
	}
	s.mu.Lock()
	delete(s.visits, v.token)
	s.mu.Unlock()
	v.turn <- struct{}{}
	defer func() { <-v.turn }()
	v.over = true
	return v.broken
}

func (s *services) find(ctx context.Context) *visit {
	md, _ := metadata.FromIncomingContext(ctx)
	tokens := md.Get(rpc.CallKey)
	if len(tokens) != 1 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visits[tokens[0]]
}

// handler returns what serves one function of the host. One request of a call runs at a
// time, as the host expects.
func (s *services) handler(f wire.Function) rpc.Handler {
	return func(ctx context.Context, request []byte) ([]byte, error) {
		v := s.find(ctx)
		if v == nil {
			return nil, rpc.Status(sdk.ErrNotGranted)
		}
		select {
		case v.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, rpc.Status(ctx.Err())
		}
		defer func() { <-v.turn }()
		if v.over {
			return nil, rpc.Status(sdk.ErrNotGranted)
		}
		reply, err := s.ask(ctx, v, f, request)
		return reply, rpc.Status(err)
	}
}

// ask is [visit.serve], but for a panic: in a server of gRPC it would end the gateway, and a
// module of WASM would only see a trap.
func (s *services) ask(ctx context.Context, v *visit, f wire.Function, request []byte) (reply []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.ErrorContext(ctx, "a function of the host panicked", "provider", s.name, "function", f.Name, "stack", string(debug.Stack()))
			v.broken = fmt.Errorf("%w: %s.%s panicked", sandbox.ErrTrap, f.Module(), f.Name)
			err = wire.ErrHost
		}
	}()
	return v.serve(ctx, f, request)
}

// serve asks the host in the context of the call, which ends also with the request.
func (v *visit) serve(ctx context.Context, f wire.Function, request []byte) ([]byte, error) {
	asked, cancel := context.WithCancel(v.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	reply, err := v.host.Serve(asked, f, request)
	if errors.Is(err, wire.ErrMalformed) && v.broken == nil {
		v.broken = fmt.Errorf("%w: a request to the host cannot be decoded", sandbox.ErrProtocol)
	}
	return reply, err
}
