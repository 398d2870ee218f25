package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/config"
)

// Options is what a [Server] needs. Handler, Log and Registerer are required.
type Options struct {
	Config     config.Server
	Handler    Handler
	Admit      Handler  // decides on "Expect: 100-continue" before the client sends its body; nil: always goes on
	AnyHost    []string // canonical paths that are answered whatever host a request names: probes
	AccessLog  bool     // one record for each request; requests that fail with 5xx are logged anyway
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // nil: time.Now
}

// Server accepts connections and serves requests on them. It is safe for concurrent use.
type Server struct {
	handler Handler
	admit   Handler
	read    time.Duration
	anyHost map[string]bool
	hosts   hostList
	trusted proxyList
	access  bool
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	conns   *connections
	http    *fasthttp.Server
	leaving atomic.Bool
	stopped atomic.Bool
}

// streamWindow is how much of a body fasthttp waits for before it calls the handler: as
// little as it can, so that the checks do not wait for a body that they may refuse.
const streamWindow = 1

// New builds a server. It fails when the configuration holds an address, a host or a size
// that cannot be used.
func New(o Options) (*Server, error) {
	if o.Handler == nil || o.Log == nil || o.Registerer == nil {
		return nil, errors.New("edge: Handler, Log and Registerer are required")
	}
	if o.Config.Limits.HeaderBytes <= 0 || o.Config.Limits.Connections <= 0 {
		return nil, errors.New("edge: limits.header_bytes and limits.connections must be positive")
	}
	trusted, err := parseProxies(o.Config.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("edge: trusted_proxies: %w", err)
	}
	hosts, err := parseHosts(o.Config.AllowedHosts)
	if err != nil {
		return nil, fmt.Errorf("edge: allowed_hosts: %w", err)
	}
	metrics, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	s := &Server{
		handler: o.Handler, admit: o.Admit, anyHost: map[string]bool{}, hosts: hosts, trusted: trusted,
		access: o.AccessLog, log: o.Log, now: o.Now, metrics: metrics,
		read: o.Config.Timeouts.Read,
	}
	if s.now == nil {
		s.now = time.Now
	}
	for _, path := range o.AnyHost {
		s.anyHost[path] = true
	}
	s.conns = newConnections(o.Config.Limits, o.Config.Timeouts.Write, s.now, metrics.refused)
	s.http = s.server(o.Config)
	return s, nil
}

func (s *Server) server(c config.Server) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:       s.serve,
		ExpectHandler: s.expect,
		ErrorHandler:  s.refuse,
		ConnState:     s.conns.state,
		Logger:        quiet{s.log},

		// Everything that fasthttp would bound by a default of its own is said here.
		ReadBufferSize:     int(c.Limits.HeaderBytes),
		MaxRequestBodySize: streamWindow,                // streamed beyond that; [Body] counts
		Concurrency:        c.Limits.Connections + 1024, // ours answers first, in the envelope
		ReadTimeout:        c.Timeouts.Read,
		IdleTimeout:        c.Timeouts.Idle,

		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true, // it would write uploads to disk
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
	}
}

// ErrStopped is what Serve returns when the server was shut down before.
var ErrStopped = errors.New("edge: server was shut down")

// Serve serves the connections of ln until Shutdown, and then returns nil. It may be called
// with several listeners. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	if s.stopped.Load() {
		_ = ln.Close()
		return ErrStopped
	}
	if err := s.http.Serve(s.conns.limit(ln)); err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Drain makes every answer from now on the last one of its connection, while requests are
// served as before. A client that is told so opens its next connection, which a load balancer
// takes elsewhere; one that is not may have its request on the way when [Server.Shutdown]
// closes the connection, and has to guess whether it was served.
func (s *Server) Drain() { s.leaving.Store(true) }

// Shutdown stops accepting, closes idle connections, waits until the running requests are
// answered, and then returns. When ctx ends first it closes what is left and returns its
// error. It may be called more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopped.Store(true)
	err := s.http.ShutdownWithContext(ctx)
	if err == nil {
		return nil
	}
	s.conns.closeAll()
	return fmt.Errorf("shut down: %w", err)
}

// quiet passes what fasthttp logs on as debug records, without the text: it may quote what
// a client sent.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, _ ...any) {
	q.log.Debug("http server", "event", format)
}
