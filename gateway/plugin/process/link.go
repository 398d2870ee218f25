package process

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
	"github.com/materi/shield/sdk/wire/rpc"
)

// maxHeader bounds what a process sends as headers of a reply.
const maxHeader = rpc.Envelope

// link is what go-plugin hands over when it is connected.
type link struct {
	goplugin.NetRPCUnsupportedPlugin
	broker *goplugin.GRPCBroker
	conn   *grpc.ClientConn
}

// GRPCServer is the plugin's side, which is not here.
func (*link) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the gateway is no plugin")
}

// GRPCClient returns the link with its connection.
func (*link) GRPCClient(_ context.Context, broker *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &link{broker: broker, conn: conn}, nil
}

// clientConfig is how go-plugin talks to the process. How it is started and ended is the
// starter's.
func clientConfig(r *run, s *starter) *goplugin.ClientConfig {
	versions := make(map[int]goplugin.PluginSet)
	for v := sdk.OldestABI; v <= sdk.ABI; v++ {
		versions[v] = goplugin.PluginSet{rpc.Plugin: &link{}}
	}
	return &goplugin.ClientConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: rpc.CookieKey, MagicCookieValue: rpc.CookieValue},
		VersionedPlugins: versions,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: s.home.dir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, sockets string) (runner.Runner, error) {
			s.env, s.sockets = cmd.Env, sockets
			return s, nil
		},
		SyncStdout: r.output.stream(),
		SyncStderr: r.output.stream(),
		Logger:     debugLog(r),
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(
				grpc.ForceCodecV2(rpc.Codec()),
				grpc.MaxCallRecvMsgSize(wire.MaxMessage),
				grpc.MaxCallSendMsgSize(wire.MaxMessage)),
			grpc.WithMaxHeaderListSize(maxHeader),
			grpc.WithDisableServiceConfig(),
			grpc.WithChainStreamInterceptor(deaf(r)),
		},
	}
}

// debugLog is go-plugin's logger: what it says is of use to whoever looks for a fault in
// this package, and to nobody else.
func debugLog(r *run) hclog.Logger {
	level := hclog.Off
	if r.opts.Log.Enabled(r.ctx, slog.LevelDebug) {
		level = hclog.Debug
	}
	return hclog.New(&hclog.LoggerOptions{Level: level, Output: debugWriter{r}, DisableTime: true})
}

type debugWriter struct{ run *run }

// Write logs one record of go-plugin's.
func (w debugWriter) Write(p []byte) (int, error) {
	w.run.opts.Log.DebugContext(w.run.ctx, "go-plugin", "provider", w.run.opts.Name, "message", line(string(p), maxLine))
	return len(p), nil
}

// deaf ends a run whose process offers services over the broker. The gateway asks for none,
// and go-plugin keeps a goroutine for each offer.
func deaf(r *run) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		stream, err := next(ctx, desc, conn, method, opts...)
		if err != nil || !strings.HasSuffix(method, ".GRPCBroker/StartStream") {
			return stream, err
		}
		return deafStream{stream, r}, nil
	}
}

type deafStream struct {
	grpc.ClientStream
	run *run
}

// RecvMsg waits for what must not come.
func (s deafStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	err := fmt.Errorf("%w: it offers services to the gateway", sandbox.ErrProtocol)
	s.run.end(err)
	return err
}

// starter starts the process for go-plugin.
type starter struct {
	run  *run
	home *home

	env     []string // what go-plugin tells the process
	sockets string   // the directory for sockets of both sides

	mu      sync.Mutex
	child   *child
	aborted bool

	greeting      *greeting
	handshake     *io.PipeReader // the greeting, for go-plugin
	handshakeDone *io.PipeWriter
}

// Start starts the process, if its file is still what was checked.
func (s *starter) Start(context.Context) error {
	same, err := (&goplugin.SecureConfig{Checksum: s.home.digest[:], Hash: sha256.New()}).Check(s.home.file)
	if err != nil {
		return fmt.Errorf("check the copy of the plugin: %w", err)
	}
	if !same {
		return errors.New("the copy of the plugin was changed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		return context.Canceled
	}
	c, err := launch(command{
		name: s.run.opts.Name, file: s.home.file, dir: s.home.dir, memory: s.run.opts.Memory,
		env: append(s.env, "TMPDIR="+s.home.dir, "GOMEMLIMIT="+strconv.FormatInt(s.run.opts.Memory, 10)),
	})
	if err != nil {
		return fmt.Errorf("start the plugin: %w", err)
	}
	s.child = c
	s.handshake, s.handshakeDone = io.Pipe()
	s.greeting = greet(c.stdout, s.handshakeDone, s.run.output)
	s.run.output.follow(c)
	return nil
}

// abort ends the process at once, or keeps it from being started.
func (s *starter) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	if s.child != nil {
		s.child.kill()
	}
}

// fault says why there was no connection.
func (s *starter) fault(err error) error {
	if s.child == nil {
		return err
	}
	if bad := s.greeting.fault(); bad != nil {
		return bad
	}
	return fmt.Errorf("%w: %s", sandbox.ErrProtocol, line(err.Error(), 512))
}

// Stdout has the greeting and nothing else.
func (s *starter) Stdout() io.ReadCloser { return s.handshake }

// Stderr has nothing: what the process prints is not go-plugin's business.
func (*starter) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is what go-plugin calls the process.
func (s *starter) Name() string { return s.run.opts.Name }

// ID tells go-plugin that there is something to end.
func (s *starter) ID() string { return s.run.opts.Name }

// Diagnose has nothing to add.
func (*starter) Diagnose(context.Context) string { return "" }

// Wait waits until the process is gone.
func (s *starter) Wait(context.Context) error {
	<-s.child.done
	return nil
}

// Kill ends the process.
func (s *starter) Kill(context.Context) error {
	s.abort()
	return nil
}

// PluginToHost lets the process be reached by a socket in the directory that it was given
// and nowhere else: what it says is an address that the gateway will connect to.
func (s *starter) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(filepath.Clean(address)) != s.sockets {
		return "", "", fmt.Errorf("the plugin listens at %q, not in the directory for its socket", line(network+" "+address, 128))
	}
	return network, address, nil
}

// HostToPlugin has nothing to translate.
func (*starter) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
