package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
	"github.com/materi/shield/sdk/wire"
)

// attempts is how often a call is made when others keep changing what it compares.
const attempts = 4

// Bounds of what a person can hand to a provider.
const (
	maxFields   = 64
	maxName     = 128
	maxFieldsOf = 768 << 10 // all fields together: a SAML response can be large
	maxHeader   = 512       // user agent and locale, which are cut
)

func (h *Host) call(ctx context.Context, name string, method wire.Method, flow sdk.Flow, req sdk.Request) (Answer, error) {
	p, ok := h.find(name)
	if !ok {
		return Answer{}, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	m, err := p.get()
	if err != nil {
		return Answer{}, h.notLoaded(p, err)
	}
	if flow.ID == "" {
		return Answer{}, errors.New("plugin: the flow has no id")
	}
	req, err = admissible(req)
	if err != nil {
		return Answer{}, err
	}
	in := wire.EncodeCall(wire.Call{Flow: flow, Request: req})
	for n := 1; ; n++ {
		answer, s, err := h.try(ctx, p, m, method, flow, req, in)
		if !s.conflicted || !internal(err) || n == attempts {
			return answer, err
		}
	}
}

// internal reports whether err is a provider's that it did not mean for the public. After
// a comparison that did not hold, that is how the provider hands [sdk.ErrConflict] on.
func internal(err error) bool {
	e, ok := errors.AsType[*sdk.Error](err)
	return ok && e.Code == sdk.CodeInternal
}

// try makes the call once.
func (h *Host) try(
	ctx context.Context, p *provider, m module, method wire.Method, flow sdk.Flow, req sdk.Request, in []byte,
) (Answer, *session, error) {
	s := h.newSession(p.cfg.Name, flow, req)
	start := time.Now() // a duration of the real world, whatever the clock of the gateway says
	out, err := m.Call(ctx, method, in, s)
	h.metrics.observe(p.cfg.Name, method, time.Since(start).Seconds())
	if err != nil {
		return Answer{}, s, h.fault(ctx, p, err)
	}
	if s.expired {
		return Answer{}, s, h.fault(ctx, p, fmt.Errorf("%w: in a function of the host", sandbox.ErrTimeout))
	}
	if s.failure != nil {
		// Whatever the provider made of it: an answer that was computed from a failure of
		// the host is no answer.
		return Answer{}, s, fmt.Errorf("call provider %s: %w", p.cfg.Name, s.failure)
	}
	step, err := judge(out, flow)
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		e.Private = s.redactor().text(e.Private) // it goes to the log
		return Answer{}, s, err
	}
	if err != nil {
		return Answer{}, s, h.fault(ctx, p, err)
	}
	return Answer{Step: step, Writes: s.kv.writes()}, s, nil
}

// judge decodes a reply and holds it to the contract. The error is an *sdk.Error if that
// is what the provider said.
func judge(out []byte, flow sdk.Flow) (sdk.Step, error) {
	reply, err := wire.DecodeReply(out)
	if err != nil {
		return sdk.Step{}, err
	}
	if reply.FlowID != flow.ID {
		return sdk.Step{}, errors.New("the answer is to another flow")
	}
	if reply.Error != nil {
		if err := contract.Error(*reply.Error); err != nil {
			return sdk.Step{}, fmt.Errorf("error: %w", err)
		}
		return sdk.Step{}, reply.Error
	}
	if reply.Step == nil {
		return sdk.Step{}, errors.New("the answer is neither a step nor an error")
	}
	if err := contract.Step(flow.Kind, *reply.Step); err != nil {
		return sdk.Step{}, err
	}
	return *reply.Step, nil
}

// admissible returns a request that the wire can carry. Fields must be text, since a
// provider is to see what the person sent or nothing; what browsers say of themselves is
// mended instead.
func admissible(req sdk.Request) (sdk.Request, error) {
	if len(req.Fields) > maxFields {
		return req, invalid("Too many fields.")
	}
	size := 0
	for _, v := range req.Headers {
		if !utf8.ValidString(v) {
			return req, invalid("A header is not valid UTF-8.")
		}
		size += len(v)
	}
	for k, v := range req.Fields {
		if len(k) > maxName || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return req, invalid("A field is not valid UTF-8, or its name is too long.")
		}
		size += len(k) + len(v)
	}
	if size > maxFieldsOf {
		return req, invalid("The fields are too large.")
	}
	req.UserAgent = mend(req.UserAgent)
	req.Locale = mend(req.Locale)
	req.Path = strings.ToValidUTF8(req.Path, "?")
	return req, nil
}

func invalid(public string) error {
	return &sdk.Error{Code: sdk.CodeValidation, Public: public, Private: "refused before the provider was called"}
}

func mend(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxHeader)], "?")
}
