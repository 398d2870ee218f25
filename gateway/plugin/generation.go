package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/circuit"
	"github.com/materi/shield/gateway/plugin/grant"
	"github.com/materi/shield/gateway/plugin/signature"
	"github.com/materi/shield/sdk"
)

// Bounds of what is kept for flows that began before a swap.
const (
	// maxOld is how many generations of a provider may finish flows beside the current one.
	maxOld = 2
	// lingerTime is how long one of them does.
	lingerTime = 15 * time.Minute
)

// generation is one start of a provider's plugin. What changes of it belongs to its
// provider's mutex.
//
// New flows go to the current generation. A generation that was replaced takes the further
// calls of the flows that began on it, if it left any waiting for their person, for
// lingerTime and while there are not more than maxOld of them; then it ends when the last
// call that runs has ended. A flow knows where it began by the tag in what is saved with
// it, see [generation.mark], so nothing is kept in memory for flows, and the tag means the
// same in every replica and after a restart.
type generation struct {
	number   int // 1 is the first of the provider since the start
	cfg      config.Provider
	inputs   inputs
	tag      tag
	signedBy string // the name of a key
	module   module
	grant    *grant.Grant
	circuits *circuit.Set // those of the generation before, if they follow the same rule
	manifest sdk.Manifest
	// certified is when the first certificate of the settings expires; zero: there is none.
	certified time.Time

	running int  // calls
	waited  bool // a flow was left waiting for its person
	retired bool // another is the current one
	over    bool // it takes no calls any more
	closed  bool
	timer   *time.Timer // ends its lingering
}

// close waits for the calls that run, or until ctx ends, when it stops them.
func (g *generation) close(ctx context.Context) error {
	defer g.grant.Close()
	return g.module.Close(ctx)
}

// inputs are the files that a generation was made from. It goes on as it is while these
// and its section of the configuration stay the same.
type inputs struct{ plugin, authorities signature.Digest }

// maxAuthorities is the most bytes that a file of authorities may have: all that browsers know are a
// quarter of a MiB.
const maxAuthorities = 4 << 20

func inputsOf(cfg config.Provider, f file) (inputs, error) {
	in := inputs{plugin: f.digest}
	if cfg.HTTP.CAFile == "" {
		return in, nil
	}
	pem, err := readFile(cfg.HTTP.CAFile, maxAuthorities)
	if err != nil {
		return in, fmt.Errorf("http.ca_file: %w", err)
	}
	in.authorities = sha256.Sum256(pem)
	return in, nil
}

// same reports whether a generation that is made anew would be no other than g.
func (g *generation) same(cfg config.Provider, in inputs) bool {
	running := g.cfg
	running.Label, cfg.Label = "", "" // it is for people, and changes without a start
	running.Plugin, cfg.Plugin = "", ""
	running.TrustEmail, cfg.TrustEmail = nil, nil // these two are for the account rules
	running.AllowedDomains, cfg.AllowedDomains = nil, nil
	return g.inputs == in && reflect.DeepEqual(running, cfg)
}

// tag names the code and the settings of a generation, which are what the bytes that a
// provider saves mean something to.
type tag [8]byte

func tagOf(f file, settings []byte) tag {
	sum := sha256.Sum256(append(f.digest[:], settings...))
	return tag(sum[:])
}

// marked stands before the tag. Providers save text, so it also tells what was saved before
// there were tags.
const marked = 1

// mark puts the tag before what is saved.
func (t tag) mark(saved []byte) []byte {
	return append(append([]byte{marked}, t[:]...), saved...)
}

// unmark takes the tag off, if there is one.
func unmark(b []byte) (t tag, saved []byte, ok bool) {
	if len(b) < 1+len(t) || b[0] != marked {
		return tag{}, b, false
	}
	return tag(b[1 : 1+len(t)]), bytes.Clone(b[1+len(t):]), true
}

// waits reports whether a step leaves its flow waiting for the person.
func waits(s sdk.Step) bool {
	return s.Redirect != nil || s.Post != nil || s.Prompt != nil || s.Mail != nil
}

// provider is one configured provider with its generations.
type provider struct {
	name string
	host *Host

	mu      sync.Mutex
	cfg     config.Provider // as the configuration has it, whatever runs
	current *generation     // nil: none was ever loaded, or the provider was stopped
	old     []*generation   // finish what began on them, the oldest first
	made    int             // generations so far
	err     error           // why the last load failed, or why there is no current one
}

// use returns the generation that takes a call of a new flow, or of the flow that began on
// the one with a tag. The call must be ended with done.
func (p *provider) use(t tag, began bool) (*generation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return nil, p.err
	}
	g := p.current
	if began && g.tag != t {
		g = p.lingering(t)
	}
	g.running++
	return g, nil
}

// lingering returns the newest older generation with a tag, or else the current one: the
// provider then has to make what it can of what another version or another replica saved.
// p.mu is held.
func (p *provider) lingering(t tag) *generation {
	for _, o := range slices.Backward(p.old) {
		if o.tag == t && !o.over {
			return o
		}
	}
	return p.current
}

// distrusts reports whether a generation is not the one of which the operator says now whose
// addresses to believe: the settings that it runs with may name another issuer.
func (p *provider) distrusts(g *generation) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	superseded := g != p.current || p.err != nil
	return superseded && !slices.Equal(g.cfg.TrustEmail, p.cfg.TrustEmail)
}

// done ends a call. waiting says that it left its flow waiting for the person.
func (p *provider) done(g *generation, waiting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g.running--
	g.waited = g.waited || waiting
	p.settle(g)
}

// swap makes a generation the current one and lets the one before it finish.
func (p *provider) swap(next *generation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.current
	p.made++
	next.number = p.made
	p.current, p.cfg, p.err = next, next.cfg, nil
	if before == nil {
		return
	}
	before.retired = true
	before.timer = time.AfterFunc(p.host.linger, func() { p.expire(before) })
	p.old = append(p.old, before)
	p.settle(before)
	p.crowd()
}

// crowd ends the lingering of the oldest when there are too many. p.mu is held.
func (p *provider) crowd() {
	lingering := 0
	for _, g := range slices.Backward(slices.Clone(p.old)) {
		if g.over {
			continue
		}
		if lingering++; lingering > maxOld {
			p.finish(g)
		}
	}
}

// keep notes how a load went that made no new generation: err, or nothing to change.
func (p *provider) keep(cfg config.Provider, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg, p.err = cfg, err
}

// expire ends the lingering of a generation.
func (p *provider) expire(g *generation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(g)
}

// remove takes a provider out of service: calls that run may end, no others begin.
func (p *provider) remove() {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Clone(p.old)
	if p.current != nil {
		p.current.retired = true
		p.old = append(p.old, p.current)
		all = append(all, p.current)
	}
	p.current, p.err = nil, errRemoved
	for _, g := range all {
		p.finish(g)
	}
}

// gone reports whether nothing of a removed provider is left.
func (p *provider) gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current == nil && len(p.old) == 0
}

// stop takes a provider out of service and returns its generations, which the caller has to
// close: calls may run on them.
func (p *provider) stop() []*generation {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.old
	if p.current != nil {
		all = append(all, p.current)
	}
	for _, g := range all {
		g.over, g.closed = true, true
		if g.timer != nil {
			g.timer.Stop()
		}
	}
	p.current, p.old, p.err = nil, nil, errStopped
	return all
}

// finish lets a generation take no more calls. p.mu is held.
func (p *provider) finish(g *generation) {
	g.over = true
	p.settle(g)
}

// settle closes a generation that was replaced once nothing needs it. p.mu is held.
func (p *provider) settle(g *generation) {
	if !g.retired || g.closed || g.running > 0 || g.waited && !g.over {
		return
	}
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
	p.old = slices.DeleteFunc(p.old, func(o *generation) bool { return o == g })
	p.host.closing(g)
}

// state is what others see of a provider.
type state struct {
	cfg     config.Provider
	current *generation // nil: it cannot be used
	old     int
	err     error // why the last load failed
}

func (p *provider) state() state {
	p.mu.Lock()
	defer p.mu.Unlock()
	return state{p.cfg, p.current, len(p.old), p.err}
}
