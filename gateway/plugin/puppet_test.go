package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// puppet is a module whose file says what it is: its first word is its version, the
// others what is wrong with it. It is prepared and called like any other.
type puppet struct {
	version  string
	wrong    map[string]bool
	imported []sdk.Capability
	abi      uint32
	stage    *stage

	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	running int
	idle    chan struct{} // closed when it is closed and nothing runs
	closed  bool
	cut     bool // it was closed under a call
	sick    error
}

// stage is where puppets play: a host whose transport makes them.
type stage struct {
	*bed
	t      *testing.T
	file   string
	held   chan string   // the version of each call that is held
	hold   chan struct{} // closed to let them go on
	onOpen func()

	mu      sync.Mutex
	puppets []*puppet
}

func newStage(t *testing.T, log io.Writer, text string, providers ...config.Provider) *stage {
	t.Helper()
	return newStageWith(t, log, config.Plugins{}, text, providers...)
}

func newStageWith(t *testing.T, log io.Writer, plugins config.Plugins, text string, providers ...config.Provider) *stage {
	t.Helper()
	s := &stage{t: t, file: filepath.Join(t.TempDir(), "puppet"), held: make(chan string), hold: make(chan struct{})}
	s.write(text)
	if providers == nil {
		providers = []config.Provider{s.provider("one")}
	}
	for i := range providers {
		providers[i].Plugin = s.file
	}
	s.bed = newBedWith(t, log, plugins, providers...)
	s.transport = s.open
	return s
}

func (s *stage) provider(name string) config.Provider {
	cfg := configured(name)
	cfg.Plugin = s.file
	return cfg
}

func (s *stage) write(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) open(ctx context.Context, o origin) (module, error) {
	words := strings.Fields(string(o.file.code))
	p := &puppet{
		version: words[0], wrong: make(map[string]bool), stage: s, abi: sdk.ABI, imported: []sdk.Capability{"kv"},
		idle: make(chan struct{}),
	}
	p.life, p.end = context.WithCancel(context.Background())
	for _, w := range words[1:] {
		p.wrong[w] = true
	}
	if p.wrong["abi"] {
		p.abi = sdk.OldestABI
	}
	if s.onOpen != nil {
		s.onOpen()
	}
	if p.wrong["module"] {
		return nil, errors.New("compile: invalid magic number")
	}
	err := o.prepare(ctx, func(ctx context.Context, m wire.Method, in []byte) ([]byte, error) { return p.Call(ctx, m, in, nil) })
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puppets = append(s.puppets, p)
	return p, nil
}

// alive returns the versions of the modules that are not closed, the oldest first.
func (s *stage) alive() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, p := range s.puppets {
		p.mu.Lock()
		if !p.closed {
			list = append(list, p.version)
		}
		p.mu.Unlock()
	}
	return list
}

// reload writes the plugin anew and reloads.
func (s *stage) reload(text string, providers ...config.Provider) error {
	s.t.Helper()
	s.write(text)
	if providers == nil {
		providers = []config.Provider{s.provider("one")}
	}
	return s.Reload(context.Background(), providers, config.Plugins{})
}

// eventually waits for what happens in the background.
func (s *stage) eventually(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// noneWasCut fails if a module was closed under a call.
func (s *stage) noneWasCut() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.puppets {
		p.mu.Lock()
		if p.cut {
			s.t.Errorf("%s was closed under a call", p.version)
		}
		p.mu.Unlock()
	}
}

func (s *stage) aliveAre(want ...string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%v are open", want), func() bool { return fmt.Sprint(s.alive()) == fmt.Sprint(want) })
}

// Capabilities, ABI and Health are what a transport knows.
func (p *puppet) Capabilities() []sdk.Capability { return p.imported }
func (p *puppet) ABI() uint32                    { return p.abi }
func (p *puppet) Restarts() uint64               { return 0 }
func (p *puppet) Health() error                  { p.mu.Lock(); defer p.mu.Unlock(); return p.sick }

func (p *puppet) Call(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, sandbox.ErrClosed
	}
	p.running++
	p.mu.Unlock()
	defer p.done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()
	switch method {
	case wire.Describe:
		return wire.EncodeManifest(p.manifest()), nil
	case wire.Configure:
		if p.wrong["settings"] {
			return wire.EncodeFaults([]sdk.Fault{{Path: "a", Message: "must be b"}}), nil
		}
		return nil, nil
	case wire.Serve:
		return p.document(ctx, in, host)
	}
	return p.step(ctx, method, in, host)
}

func (p *puppet) manifest() sdk.Manifest {
	m := sdk.Manifest{ID: "puppet", Version: "1.0.0", ABI: sdk.ABI, Kind: "test", Capabilities: []sdk.Capability{"kv"}}
	for _, kind := range []string{"oauth", "saml"} {
		if p.wrong[kind] {
			m.Kind, m.Capabilities = kind, []sdk.Capability{"kv", "http", "jwt"}
		}
	}
	if p.wrong["manifest"] {
		m.ID = "no name!"
	}
	if p.wrong["needs"] {
		m.Capabilities = append(m.Capabilities, "secret")
	}
	if p.wrong["declares"] {
		m.Capabilities = nil
	}
	return m
}

func (p *puppet) step(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error) {
	call, err := wire.DecodeCall(in)
	if err != nil {
		return nil, err
	}
	say := func(s sdk.Step) ([]byte, error) {
		return wire.EncodeReply(wire.Reply{FlowID: call.Flow.ID, Step: &s}), nil
	}
	subject := p.version
	if method == wire.Continue {
		subject += " goes on with " + strings.ReplaceAll(string(call.Flow.Saved), "\x01", "^A")
	}
	if call.Flow.Form == "self-test" {
		switch {
		case p.wrong["traps"]:
			return nil, fmt.Errorf("%w: unreachable", sandbox.ErrTrap)
		case p.wrong["babbles"]:
			return []byte("\xff\xff"), nil
		case p.wrong["fails"]:
			return wire.EncodeReply(wire.Reply{FlowID: call.Flow.ID, Error: &sdk.Error{Code: sdk.CodeInternal}}), nil
		case p.wrong["asks"]:
			if _, err := host.Serve(ctx, wire.KVSet, wire.EncodePut(wire.Put{Key: "k"})); !errors.Is(err, sdk.ErrNotGranted) {
				return nil, fmt.Errorf("%w: a self-test could write: %v", sandbox.ErrTrap, err)
			}
		}
	}
	switch call.Request.Fields["act"] {
	case "ask":
		if e := p.ask(ctx, call.Request.Fields, host); e != nil {
			return wire.EncodeReply(wire.Reply{FlowID: call.Flow.ID, Error: e}), nil
		}
	case "mail":
		return say(sdk.Step{Mail: &sdk.Mail{Template: "magic_link", To: "a@example.com"}, Save: []byte("state of " + p.version)})
	case "hold":
		select {
		case p.stage.held <- p.version:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		select {
		case <-p.stage.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return say(sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: subject}}})
}

// ask asks a server, or verifies a token with its keys, and fails as a field says if that fails.
func (p *puppet) ask(ctx context.Context, fields map[string]string, host sandbox.Host) *sdk.Error {
	f, in := wire.HTTPFetch, wire.EncodeFetch(sdk.HTTPRequest{Method: "GET", URL: fields["url"]})
	if fields["token"] != "" {
		f, in = wire.JWTVerify, wire.EncodeJWTVerify(sdk.JWTVerification{
			Token: fields["token"], Issuer: "i", Audience: "a", Nonce: "n", Algorithms: []string{"RS256"}, KeysURL: fields["url"],
		})
	}
	out, err := host.Serve(ctx, f, in)
	if err == nil && f == wire.HTTPFetch {
		r, _ := wire.DecodeFetched(out)
		if r.Status >= 300 {
			err = fmt.Errorf("status %d", r.Status)
		}
	}
	if err == nil || fields["code"] == "" {
		return nil
	}
	return &sdk.Error{Code: fields["code"], Private: err.Error()}
}

func (p *puppet) document(ctx context.Context, in []byte, host sandbox.Host) ([]byte, error) {
	req, err := wire.DecodeServe(in)
	if err != nil {
		return nil, err
	}
	r := sdk.Response{Status: 200, ContentType: "text/plain", Body: []byte(p.version)}
	switch req.Path {
	case "large":
		r.Body = make([]byte, maxDocument+1)
	case "status":
		r.Status = 99
	case "header":
		r.ContentType = "text/plain\r\nSet-Cookie: a=b"
	case "nonsense":
		return []byte("\xff\xff"), nil
	case "nothing":
		return wire.EncodeDocument(wire.Document{}), nil
	case "error":
		return wire.EncodeDocument(wire.Document{Error: &sdk.Error{Code: sdk.CodeUserNotFound, Private: "no such metadata"}}), nil
	case "strange":
		return wire.EncodeDocument(wire.Document{Error: &sdk.Error{Code: "OPEN_SESAME"}}), nil
	case "ask":
		if e := p.ask(ctx, req.Fields, host); e != nil {
			return wire.EncodeDocument(wire.Document{Error: e}), nil
		}
	case "read":
		_, err = host.Serve(ctx, wire.KVGet, wire.EncodeKey("k"))
	case "write":
		_, err = host.Serve(ctx, wire.KVSet, wire.EncodePut(wire.Put{Key: "k", Value: []byte("v")}))
	}
	if err != nil {
		return nil, err
	}
	return wire.EncodeDocument(wire.Document{Response: &r}), nil
}

func (p *puppet) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if p.closed && p.running == 0 {
		close(p.idle)
	}
}

// Close waits for the calls that run, or until ctx ends, when it stops them.
func (p *puppet) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed, p.cut = true, p.running > 0
	if p.running == 0 {
		close(p.idle)
	}
	p.mu.Unlock()
	defer p.end()
	select {
	case <-p.idle:
	case <-ctx.Done():
		p.end()
		<-p.idle
	}
	return nil
}
