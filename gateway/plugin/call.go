package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	t, saved, began := unmark(flow.Saved)
	flow.Saved = saved
	p, g, err := h.use(name, t, began)
	if err != nil {
		return Answer{}, err
	}
	waiting := false
	defer func() { p.done(g, waiting) }()
	if flow.ID == "" {
		return Answer{}, errors.New("plugin: the flow has no id")
	}
	req, err = admissible(req)
	if err != nil {
		return Answer{}, err
	}
	if method == wire.Begin {
		if err := h.useless(g, flow.Kind); err != nil {
			return Answer{}, err
		}
	}
	var step sdk.Step
	s, err := h.repeat(ctx, g, method, wire.Call{Flow: flow, Request: req}, func(out []byte) (err error) {
		step, err = judge(out, flow)
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	if waiting = waits(step); waiting {
		step.Save = g.tag.mark(step.Save)
	}
	return Answer{Step: step, Writes: s.kv.writes(), Distrusted: p.distrusts(g)}, nil
}

// maxDocument is the most that a document may have, in bytes.
const maxDocument = 512 << 10

func (h *Host) document(ctx context.Context, name string, req sdk.Request) (sdk.Response, error) {
	p, g, err := h.use(name, tag{}, false)
	if err != nil {
		return sdk.Response{}, err
	}
	defer p.done(g, false)
	req, err = admissible(req)
	if err != nil {
		return sdk.Response{}, err
	}
	var document sdk.Response
	s, err := h.repeat(ctx, g, wire.Serve, wire.Call{Request: req}, func(out []byte) (err error) {
		document, err = judgeDocument(out)
		return err
	})
	if err != nil {
		return sdk.Response{}, err
	}
	if slices.ContainsFunc(s.kv.writes(), func(w Write) bool { return !w.ReadOnly }) {
		return sdk.Response{}, h.fault(ctx, name, errors.New("it wrote for a document, which commits nothing"))
	}
	return document, nil
}

// repeat makes a call, and makes it anew while others change what it compares.
func (h *Host) repeat(ctx context.Context, g *generation, method wire.Method, c wire.Call, judge func([]byte) error) (*session, error) {
	in := encode(method, c)
	for n := 1; ; n++ {
		s := h.newSession(g, c)
		err := h.try(ctx, g, method, in, s, judge)
		if !s.conflicted || !internal(err) || n == attempts {
			return s, err
		}
	}
}

// internal reports whether err is a provider's that it did not mean for the public. After
// a comparison that did not hold, that is how the provider hands [sdk.ErrConflict] on.
func internal(err error) bool {
	e, ok := errors.AsType[*sdk.Error](err)
	return ok && e.Code == sdk.CodeInternal
}

func encode(method wire.Method, c wire.Call) []byte {
	if method == wire.Serve {
		return wire.EncodeServe(c.Request)
	}
	return wire.EncodeCall(c)
}

// try makes the call once and lets judge hold the answer to the contract.
func (h *Host) try(ctx context.Context, g *generation, method wire.Method, in []byte, s *session, judge func([]byte) error) error {
	name := g.cfg.Name
	start := time.Now() // a duration of the real world, whatever the clock of the gateway says
	out, err := g.module.Call(ctx, method, in, s)
	h.metrics.observe(name, method, time.Since(start).Seconds())
	if err != nil {
		return h.fault(ctx, name, s.words(err))
	}
	if s.expired {
		return h.fault(ctx, name, fmt.Errorf("%w: in a function of the host", sandbox.ErrTimeout))
	}
	if s.failure != nil {
		// Whatever the provider made of it: an answer that was computed from a failure of
		// the host is no answer.
		return fmt.Errorf("call provider %s: %w", name, s.failure)
	}
	err = judge(out)
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		e.Private = s.redactor().text(e.Private) // it goes to the log
		return circuitOpen(s, e)
	}
	return h.fault(ctx, name, s.words(err))
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

// judgeDocument is judge for a document.
func judgeDocument(out []byte) (sdk.Response, error) {
	reply, err := wire.DecodeDocument(out)
	if err != nil {
		return sdk.Response{}, err
	}
	if reply.Error != nil {
		if err := contract.Error(*reply.Error); err != nil {
			return sdk.Response{}, fmt.Errorf("error: %w", err)
		}
		return sdk.Response{}, reply.Error
	}
	if reply.Response == nil {
		return sdk.Response{}, errors.New("the answer is neither a document nor an error")
	}
	if err := contract.Response(*reply.Response); err != nil {
		return sdk.Response{}, err
	}
	if n := len(reply.Response.Body); n > maxDocument {
		return sdk.Response{}, fmt.Errorf("a document of %d bytes, at most %d are allowed", n, maxDocument)
	}
	return *reply.Response, nil
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
