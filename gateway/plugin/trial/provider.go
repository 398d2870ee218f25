package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// provider is one instance of the plugin, seen as package sdk has it.
type provider struct {
	plugin     *Plugin
	running    running // nil before the first call and after a breakdown
	settings   []byte
	configured bool
	faults     []error
}

// Describe returns the manifest, or none after a breakdown.
func (p *provider) Describe() sdk.Manifest {
	out, err := p.call(p.plugin.ctx, wire.Describe, nil, nil)
	if err != nil {
		return sdk.Manifest{}
	}
	m, err := wire.DecodeManifest(out)
	p.note(wire.Describe, err)
	return m
}

// Configure hands the settings over. A breakdown is no fault of the settings; see Fault.
func (p *provider) Configure(settings []byte) []sdk.Fault {
	p.settings, p.configured = slices.Clone(settings), false
	faults, err := p.configure(settings)
	p.configured = err == nil && len(faults) == 0
	return faults
}

func (p *provider) configure(settings []byte) ([]sdk.Fault, error) {
	out, err := p.call(p.plugin.ctx, wire.Configure, wire.EncodeSettings(settings), nil)
	if err != nil {
		return nil, err
	}
	faults, err := wire.DecodeFaults(out)
	p.note(wire.Configure, err)
	return faults, err
}

// Begin starts a flow.
func (p *provider) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	return p.step(ctx, wire.Begin, host, flow, req)
}

// Continue goes on with a flow.
func (p *provider) Continue(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	return p.step(ctx, wire.Continue, host, flow, req)
}

func (p *provider) step(ctx context.Context, method wire.Method, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	watched := &watched{host: sandbox.Answer(host)}
	out, err := p.call(ctx, method, wire.EncodeCall(wire.Call{Flow: flow, Request: req}), watched)
	if err != nil {
		return sdk.Step{}, err
	}
	reply, err := wire.DecodeReply(out)
	if err == nil && reply.FlowID != flow.ID {
		err = fmt.Errorf("the answer is to flow %q, not to %q", reply.FlowID, flow.ID)
	}
	if err == nil && reply.Step == nil && reply.Error == nil {
		err = errors.New("the answer is neither a step nor an error")
	}
	if err != nil {
		return sdk.Step{}, p.note(method, err)
	}
	if reply.Error != nil {
		return sdk.Step{}, watched.failure(reply.Error)
	}
	return *reply.Step, nil
}

// server is a provider that serves documents too.
type server struct{ *provider }

// Serve returns a document.
func (s server) Serve(ctx context.Context, host sdk.Host, req sdk.Request) (sdk.Response, error) {
	watched := &watched{host: sandbox.Answer(host)}
	out, err := s.call(ctx, wire.Serve, wire.EncodeServe(req), watched)
	if err != nil {
		return sdk.Response{}, err
	}
	document, err := wire.DecodeDocument(out)
	if err == nil && document.Response == nil && document.Error == nil {
		err = errors.New("the answer is neither a document nor an error")
	}
	if err != nil {
		return sdk.Response{}, s.note(wire.Serve, err)
	}
	if document.Error != nil {
		return sdk.Response{}, watched.failure(document.Error)
	}
	return *document.Response, nil
}

// call makes one call, on a new instance if there is none.
func (p *provider) call(ctx context.Context, method wire.Method, in []byte, host *watched) ([]byte, error) {
	if len(in) > wire.MaxMessage {
		return nil, p.note(method, fmt.Errorf("the request has %d bytes, at most %d fit into a message", len(in), wire.MaxMessage))
	}
	if err := p.run(method); err != nil {
		return nil, p.note(method, err)
	}
	var served sandbox.Host // not a nil *watched in an interface
	if host != nil {
		served = host
	}
	out, err := p.running.Call(ctx, method, in, served)
	if watch := p.plugin.opts.Watch; watch != nil {
		e := Exchange{Method: method, In: in, Out: out, Err: err}
		if host != nil {
			e.Asked = host.asked
		}
		watch(e)
	}
	if err != nil {
		p.end()
		return nil, p.note(method, p.plugin.explained(err))
	}
	return out, nil
}

// run starts an instance if there is none, and hands it the settings that its predecessor
// had.
func (p *provider) run(next wire.Method) error {
	if p.running != nil {
		return nil
	}
	r, err := p.plugin.start()
	if err != nil {
		return p.plugin.explained(err)
	}
	p.running = r
	if p.configured && next != wire.Configure {
		_, err = p.configure(p.settings)
	}
	return err
}

// note keeps err as a breakdown and returns it.
func (p *provider) note(method wire.Method, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%v: %w", method, err)
	p.faults = append(p.faults, err)
	return err
}

// Fault returns the breakdowns so far, each once, or nil.
func (p *provider) Fault() error {
	var seen []string
	var errs []error
	for _, err := range p.faults {
		if !slices.Contains(seen, err.Error()) {
			seen = append(seen, err.Error())
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (p *provider) end() {
	if p.running != nil {
		p.running.Close()
		p.running = nil
	}
}

// watched is a host that notes what it is asked.
type watched struct {
	host  sandbox.Host
	asked []Asked
}

// Serve asks the host.
func (w *watched) Serve(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	out, err := w.host.Serve(ctx, f, in)
	w.asked = append(w.asked, Asked{Function: f, Request: in, Reply: out, Err: err})
	return out, err
}

// failure returns a provider's error. One that is internal after a comparison did not hold is
// that conflict, for which the call is made anew.
func (w *watched) failure(e *sdk.Error) error {
	conflicted := slices.ContainsFunc(w.asked, func(a Asked) bool { return errors.Is(a.Err, sdk.ErrConflict) })
	if conflicted && e.Code == sdk.CodeInternal {
		return fmt.Errorf("%w: %w", sdk.ErrConflict, e)
	}
	return e
}
