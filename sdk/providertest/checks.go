package providertest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
)

func (s Suite) hostileFields(t T) {
	p, m, h := s.ready(t)
	for _, form := range m.Forms {
		for _, input := range hostile(form, s.Fields[form.Name]) {
			a := attempt{flow(form, h.Now()), request(input.fields)}
			step, err := try(t, h, p.Begin, a)
			if err == nil && step.Done != nil && !input.harmless {
				t.Errorf("%v: Begin() = Done, want no identity", a)
			}
		}
		if good, ok := s.Fields[form.Name]; ok {
			try(t, h, p.Begin, attempt{flow(form, h.Now()), request(good)})
		}
	}
}

// hostileHeaders sends headers alone, all of them odd at once: one that the provider looks
// at in passing may be anything.
func (s Suite) hostileHeaders(t T) {
	p, m, h := s.ready(t)
	for _, form := range m.Forms {
		for _, value := range odd {
			value = value[:min(len(value), 8<<10)] // no server takes longer ones
			headers := map[string]string{"x-user": value, "x-remote-user": value, "x-api-key": value, "": value, value: "x"}
			for name := range s.Headers {
				headers[name] = value
			}
			a := attempt{flow(form, h.Now()), request(nil)}
			a.req.Headers = headers
			step, err := try(t, h, p.Begin, a)
			if err == nil && step.Done != nil {
				t.Errorf("%v: Begin() with the headers %.80q = Done, want no identity", a, value)
			}
		}
		a := attempt{flow(form, h.Now()), s.good(form)}
		try(t, h, p.Begin, a)
	}
}

func (s Suite) unknownFlows(t T) {
	p, _, h := s.ready(t)
	flows := []sdk.Flow{{ID: "f", Kind: "nonsense"}, {ID: "f"}}
	for _, kind := range []sdk.FlowKind{
		sdk.FlowLogin, sdk.FlowRegister, sdk.FlowVerify, sdk.FlowRecover,
		sdk.FlowChange, sdk.FlowLink, sdk.FlowLogout, sdk.FlowForget,
	} {
		flows = append(flows, sdk.Flow{ID: "f", Kind: kind, Form: "nonsense"})
	}
	for _, flow := range flows {
		for _, f := range []function{p.Begin, p.Continue} {
			step, err := h.call(context.Background(), f, flow, request(nil))
			if err == nil && step.Denied == nil {
				t.Errorf("flow %q with form %q: step %q, want a denial or an error", flow.Kind, flow.Form, step.Kind())
			}
		}
	}
}

func (s Suite) garbageState(t T) {
	p, m, h := s.ready(t)
	for _, form := range m.Forms {
		for _, saved := range []string{"", "x", "{}", "null", "\x00", "\xff\xfe", strings.Repeat("a", sdk.MaxSave)} {
			a := attempt{flow(form, h.Now()), s.good(form)}
			a.flow.Saved = []byte(saved)
			step, err := h.call(context.Background(), p.Continue, a.flow, a.req)
			if err == nil && proof(step) {
				t.Errorf("%v: Continue() with state %.20q = %q, want no proof", a, saved, step.Kind())
			}
		}
	}
}

// proof reports whether a step says who somebody is, or that they may have changed it.
func proof(s sdk.Step) bool { return s.Done != nil || s.Changed != nil }

// failingHost looks at the calls that needed the host: who never asks it can know without.
func (s Suite) failingHost(t T) {
	p, m, h := s.ready(t)
	h.Fail(errors.New("the database is away"))
	for _, form := range m.Forms {
		for _, f := range []function{p.Begin, p.Continue} {
			a := attempt{flow(form, h.Now()), s.good(form)}
			before := h.inVain()
			step, err := h.call(context.Background(), f, a.flow, a.req)
			if err == nil && proof(step) && h.inVain() > before {
				t.Errorf("%v: %q while the host fails, want no proof", a, step.Kind())
			}
		}
	}
}

// inVain returns how often something that a proof may hang on was asked in vain.
func (h *Host) inVain(of ...sdk.Capability) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for c, times := range h.refused {
		if c != sdk.CapabilityLog && (len(of) == 0 || slices.Contains(of, c)) {
			n += times
		}
	}
	return n
}

// checking are the capabilities whose yes is a proof.
func checking() []sdk.Capability {
	return []sdk.Capability{sdk.CapabilityPassword, sdk.CapabilityJWT, sdk.CapabilityXMLDSig}
}

// refusingHost lets one capability after another refuse in each way that it can.
func (s Suite) refusingHost(t T) {
	p, m, _ := s.ready(t)
	for _, c := range m.Capabilities {
		for _, refusal := range []error{
			sdk.ErrNotGranted, sdk.ErrTooLarge, sdk.ErrInvalid, sdk.ErrDenied, sdk.ErrUnreachable, sdk.ErrExhausted,
		} {
			h := s.host(m)
			h.FailOnly(c, refusal)
			for _, form := range m.Forms {
				s.refused(t, p, h, form, c, refusal)
			}
		}
	}
}

func (s Suite) refused(t T, p sdk.Provider, h *Host, form sdk.Form, c sdk.Capability, refusal error) {
	a := attempt{flow(form, h.Now()), s.good(form)}
	before := h.inVain(c) // by the forms that were tried before
	step, err := h.call(context.Background(), p.Begin, a.flow, a.req)
	if h.inVain(c) == before {
		return
	}
	if err == nil && slices.Contains(checking(), c) && proof(step) {
		t.Errorf("%v: %q although %s says %q, want no proof", a, step.Kind(), c, refusal)
	}
	if err == nil {
		if err := contract.Step(a.flow.Kind, step); err != nil {
			t.Errorf("%v: step when %s says %q is not valid: %v", a, c, refusal, err)
		}
		return
	}
	e, public := errors.AsType[*sdk.Error](err)
	outside := refusal == sdk.ErrUnreachable && (c == sdk.CapabilityHTTP || c == sdk.CapabilityJWT)
	if outside && (!public || e.Code == sdk.CodeInternal) {
		t.Errorf("%v: error %v when another server is away; want a public code, such as %s", a, err, sdk.CodeProviderError)
	}
}

// forgetful makes each call with a provider of its own and again with one that has served
// other calls; the kinds of the answers must be the same.
func (s Suite) forgetful(t T) {
	used, m, a := s.ready(t)
	b := s.host(m)
	for _, form := range m.Forms {
		if _, ok := s.Fields[form.Name]; !ok && s.Headers == nil {
			continue
		}
		for range 2 {
			attempt := attempt{flow(form, a.Now()), s.good(form)}
			fresh, errFresh := try(t, a, s.configured(t).Begin, attempt)
			again, errAgain := try(t, b, used.Begin, attempt)
			if fresh.Kind() != again.Kind() || (errFresh == nil) != (errAgain == nil) {
				t.Errorf("%v: a new instance answers %q (%v), a used one %q (%v)",
					attempt, fresh.Kind(), errFresh, again.Kind(), errAgain)
			}
		}
	}
}

func (s Suite) declared(t T) {
	p, m, h := s.ready(t)
	for _, form := range m.Forms {
		for _, f := range []function{p.Begin, p.Continue} {
			_, _ = h.call(context.Background(), f, flow(form, h.Now()), s.good(form))
		}
	}
	for _, c := range sdk.Capabilities() {
		if times, _ := h.Asked(c); times > 0 && !slices.Contains(m.Capabilities, c) {
			t.Errorf("the host was asked for %q, which the manifest does not declare", c)
		}
	}
}

func (s Suite) documents(t T) {
	p, _, h := s.ready(t)
	server, ok := p.(sdk.Server)
	if !ok {
		return
	}
	for _, path := range append([]string{"metadata", "/", "../../etc/passwd", "a/b?c=d"}, odd...) {
		c := h.Call()
		r := request(map[string]string{"path": path})
		r.Path, r.Now = path, h.Now()
		response, err := server.Serve(context.Background(), c, r)
		if err == nil {
			err = contract.Response(response)
		} else if e, ok := errors.AsType[*sdk.Error](err); ok {
			err = contract.Error(*e)
		}
		if err != nil {
			t.Errorf("Serve(%.40q): the answer is not valid: %v", path, err)
		}
		if err := c.Commit(); err != nil {
			t.Errorf("Serve(%.40q): Commit() = %v", path, err)
		}
	}
}

func (s Suite) quietLog(t T) {
	p, m, h := s.ready(t)
	for _, form := range m.Forms {
		good := s.good(form)
		_, _ = h.call(context.Background(), p.Begin, flow(form, h.Now()), good)
		said := make(map[string]string)
		maps.Copy(said, h.scripted())
		maps.Copy(said, good.Headers)
		maps.Copy(said, good.Fields)
		for _, r := range h.Records() {
			for name, value := range said {
				line := r.Message + " " + strings.Join(r.Args, " ")
				if value != "" && strings.Contains(line, value) {
					t.Errorf("form %q: the log record %q holds the value of %q", form.Name, r.Message, name)
				}
			}
		}
	}
}

// scripted returns the secrets.
func (h *Host) scripted() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.secrets)
}

// good returns the request that the suite was told is good for a form.
func (s Suite) good(form sdk.Form) sdk.Request {
	r := request(s.Fields[form.Name])
	r.Headers = maps.Clone(s.Headers)
	return r
}

func flow(form sdk.Form, now time.Time) sdk.Flow {
	return sdk.Flow{
		ID: "0190f3c2-0000-7000-8000-000000000001", Kind: form.Flow, Form: form.Name,
		CallbackURL: "https://id.example.test/callback", State: "state", Nonce: "nonce",
		PKCEVerifier: "verifier", PKCEChallenge: "challenge", Subject: "no-such-subject", StartedAt: now,
	}
}

func request(fields map[string]string) sdk.Request {
	return sdk.Request{Fields: fields, IP: "192.0.2.1", UserAgent: "providertest", Locale: "en"}
}

// odd are values that no honest person sends.
var odd = []string{
	"", " ", "\x00", "a\r\nBcc: x@example.test", "\u202e\u2028", strings.Repeat("a", 100_000),
	"<script>alert(1)</script>", "' OR 1=1 --", "{{.}}", "@", "a@b@c", "\"@\"@example.test", "../../x",
}

// input is what the suite sends in a form. It is harmless if all that the form requires is
// good, so that it may well be a login.
type input struct {
	fields   map[string]string
	harmless bool
}

// hostile returns inputs that no honest person sends: nothing, one field of good or of
// made-up input replaced by something odd, and fields that the form does not have.
func hostile(form sdk.Form, good map[string]string) []input {
	base := make(map[string]string)
	for _, f := range form.Fields {
		base[f.Name] = "made-up"
		if v, ok := good[f.Name]; ok {
			base[f.Name] = v
		}
	}
	out := []input{{}, {fields: map[string]string{}}, {fields: map[string]string{"is_admin": "true"}}}
	for _, f := range form.Fields {
		for _, value := range odd {
			fields := maps.Clone(base)
			fields[f.Name] = value
			if value == "" {
				delete(fields, f.Name)
			}
			out = append(out, input{fields, good != nil && !f.Required})
		}
	}
	return out
}
