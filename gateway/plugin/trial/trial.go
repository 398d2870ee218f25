// Package trial runs a plugin file on its own, without a gateway, for those who write it: as
// an [sdk.Provider] behind its real transport, so that the suite for providers runs on the
// file as it does on source, with the host that the caller gives. It watches what goes over
// the border, and compares what one plugin does behind two transports.
//
// A trial grants everything when it links a plugin. What the plugin gets is up to the host
// that answers, as [sdk.ErrNotGranted].
package trial

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/materi/shield/gateway/plugin/anatomy"
	"github.com/materi/shield/gateway/plugin/process"
	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/gateway/plugin/wasm"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// Way is how a plugin is run.
type Way string

// The ways.
const (
	Compiler    Way = "compiler"
	Interpreter Way = "interpreter"
	Process     Way = "process"
)

// Defaults of [Options].
const (
	Memory  = 64 << 20
	Timeout = 10 * time.Second
)

// slower is how much more time the interpreter has.
const slower = 12

// instances is how many providers may be in use at a time.
const instances = 256

// Options are what a [Plugin] needs. Only File is required.
type Options struct {
	File     string
	Way      Way           // empty: Compiler for a module, Process for an executable
	Memory   int64         // of one instance, in bytes; 0: [Memory]
	Timeout  time.Duration // of one call; 0: [Timeout], longer in the interpreter
	CacheDir string        // of compiled code, see wasm.Open
	// Watch, if set, is told of each call when it is over.
	Watch func(Exchange)
}

// Exchange is one call with what went over the border.
type Exchange struct {
	Method wire.Method
	In     []byte
	Asked  []Asked
	Out    []byte
	Err    error // of the transport: the plugin broke down
}

// Asked is one request of a plugin to its host. It got a reply or an error.
type Asked struct {
	Function wire.Function
	Request  []byte
	Reply    []byte
	Err      error
}

// Plugin is a plugin file that is open. Its methods are not safe for concurrent use.
type Plugin struct {
	opts         Options
	ctx          context.Context
	log          *notes
	capabilities []sdk.Capability
	documents    bool
	start        func() (running, error)
	stop         func() error
	made         []*provider
}

// running is one instance behind its transport. After an error it is gone.
type running interface {
	Call(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error)
	Close()
}

// Open loads the file, starts one instance, and asks it once for a document, to know whether
// it serves some. The plugin is not configured yet. All calls of it end with ctx.
func Open(ctx context.Context, opts Options) (*Plugin, error) {
	code, err := os.ReadFile(opts.File)
	if err != nil {
		return nil, err
	}
	if opts.Way == "" {
		opts.Way = Compiler
		if anatomy.Kind(code) == anatomy.Executable {
			opts.Way = Process
		}
	}
	if opts.Memory == 0 {
		opts.Memory = Memory
	}
	if opts.Timeout == 0 {
		opts.Timeout = Timeout
		if opts.Way == Interpreter {
			opts.Timeout *= slower
		}
	}
	p := &Plugin{opts: opts, ctx: ctx, log: &notes{}}
	switch opts.Way {
	case Compiler, Interpreter:
		err = p.openModule(code)
	case Process:
		err = p.openProcess(code)
	default:
		err = fmt.Errorf("no such way to run a plugin: %q", opts.Way)
	}
	if err != nil {
		return nil, p.explained(err)
	}
	if err := p.probe(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// openModule runs the file in the sandbox.
func (p *Plugin) openModule(code []byte) error {
	if _, err := anatomy.Read(code); err != nil {
		return err // it says more than the runtime would
	}
	m, err := wasm.Open(p.ctx, wasm.Options{
		Name: p.opts.File, Code: code, Granted: sdk.Capabilities(), Memory: p.opts.Memory,
		Timeout: p.opts.Timeout, Instances: instances, CacheDir: p.opts.CacheDir,
		Interpreter: p.opts.Way == Interpreter, Log: slog.New(p.log),
	})
	if err != nil {
		return err
	}
	p.capabilities = m.Capabilities()
	p.start = func() (running, error) { return m.Single(p.ctx) }
	p.stop = func() error { return m.Close(p.ctx) }
	return nil
}

// openProcess runs the file as child processes, in a directory of their own.
func (p *Plugin) openProcess(code []byte) error {
	base := os.TempDir()
	if len(base)+len("/shield-trial-1234567890") > process.MaxDir {
		base = "/tmp" // the paths of sockets are short
	}
	dir, err := os.MkdirTemp(base, "shield-trial-") // mode 0700, as package process wants it
	if err != nil {
		return err
	}
	opts := process.Options{
		Name: p.opts.File, File: p.opts.File, Digest: sha256.Sum256(code), Granted: sdk.Capabilities(), Memory: p.opts.Memory,
		Timeout: p.opts.Timeout, Wait: p.opts.Timeout, Instances: 1, Dir: dir, Log: slog.New(p.log), Now: time.Now,
	}
	p.start = func() (running, error) {
		started, err := process.Open(p.ctx, opts)
		if err != nil {
			return nil, err
		}
		return child{started}, nil
	}
	p.stop = func() error { return os.RemoveAll(dir) }
	return nil
}

// child is a process that serves one provider of the trial.
type child struct{ *process.Process }

// Close ends the process.
func (c child) Close() { _ = c.Process.Close(context.Background()) }

// probe looks whether the plugin knows the method for documents.
func (p *Plugin) probe() error {
	r, err := p.start()
	if err != nil {
		return p.explained(err)
	}
	defer r.Close()
	_, err = r.Call(p.ctx, wire.Serve, wire.EncodeServe(sdk.Request{}), nil)
	p.documents = !errors.Is(err, sandbox.ErrUnknownMethod)
	p.log.take()
	return nil
}

// Way returns how the plugin is run.
func (p *Plugin) Way() Way { return p.opts.Way }

// Capabilities returns those that a module imports. A process can ask for any.
func (p *Plugin) Capabilities() []sdk.Capability { return p.capabilities }

// Provider returns a new instance of the plugin as a provider that is not configured. It is
// started by its first call, and anew after a breakdown, with the settings that it had. It
// has a method Fault, which returns its breakdowns, and is an [sdk.Server] if the plugin
// serves documents.
func (p *Plugin) Provider() sdk.Provider {
	made := &provider{plugin: p}
	p.made = append(p.made, made)
	if p.documents {
		return server{made}
	}
	return made
}

// Release ends the instances of all providers that were made so far.
func (p *Plugin) Release() {
	for _, made := range p.made {
		made.end()
	}
	p.made = nil
}

// Close ends all instances and frees the plugin.
func (p *Plugin) Close() error {
	p.Release()
	return p.stop()
}

// explained adds to an error what the transport logged about it, such as what the plugin
// wrote to standard error.
func (p *Plugin) explained(err error) error {
	if text := p.log.take(); text != "" {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return err
}

// notes is a log whose records are taken out as text.
type notes struct {
	mu   sync.Mutex
	text []byte
}

// maxNotes bounds what is kept of them, in bytes.
const maxNotes = 16 << 10

func (n *notes) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	text := string(n.text)
	n.text = nil
	return text
}

// Enabled keeps what an operator would have to look at.
func (*notes) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle keeps the record, with standard error as it was written.
func (n *notes) Handle(_ context.Context, r slog.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.text) > maxNotes {
		return nil
	}
	w := (*grower)(&n.text)
	_, _ = fmt.Fprintln(w, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "provider" {
			_, _ = fmt.Fprintf(w, "%s: %v\n", a.Key, a.Value)
		}
		return true
	})
	return nil
}

// WithAttrs drops the attributes: they name the plugin, of which there is one.
func (n *notes) WithAttrs([]slog.Attr) slog.Handler { return n }

// WithGroup drops the group.
func (n *notes) WithGroup(string) slog.Handler { return n }

type grower []byte

func (g *grower) Write(b []byte) (int, error) {
	*g = append(*g, b...)
	return len(b), nil
}

var _ io.Writer = (*grower)(nil)
