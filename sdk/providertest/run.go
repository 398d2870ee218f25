package providertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
	"github.com/materi/shield/sdk/wire"
)

// Suite is a provider with what [Run] must know of it.
type Suite struct {
	// New makes a provider that is not configured yet.
	New func() sdk.Provider
	// Settings is a configuration that is good. Empty stands for {}.
	Settings string
	// BadSettings are configurations that must be refused.
	BadSettings []string
	// Fields are good inputs by form name, so that the suite comes past the first check of
	// a form. A form without an entry is tried with made-up inputs alone.
	Fields map[string]map[string]string
}

// Run holds a provider to the contract: whatever a person, a link or the host's trouble
// brings, its answer is a valid step or an error that the gateway knows, never a panic, and
// never an identity made out of garbage.
func Run(t *testing.T, s Suite) {
	t.Run("manifest is valid and does not change", s.manifest)
	t.Run("settings are checked", s.settings)
	t.Run("hostile fields get a valid answer", s.hostileFields)
	t.Run("unknown flows are refused", s.unknownFlows)
	t.Run("a saved state of garbage proves nobody", s.garbageState)
	t.Run("a failing host proves nobody", s.failingHost)
	t.Run("nothing is remembered outside the host", s.forgetful)
	t.Run("the log holds no input", s.quietLog)
}

// configured returns a provider that is ready.
func (s Suite) configured(t *testing.T) sdk.Provider {
	t.Helper()
	p := s.New()
	if faults := p.Configure(s.good()); len(faults) > 0 {
		t.Fatalf("Configure(%s) = %v, want no faults", s.good(), faults)
	}
	return p
}

func (s Suite) good() []byte {
	if s.Settings == "" {
		return []byte("{}")
	}
	return []byte(s.Settings)
}

func (s Suite) manifest(t *testing.T) {
	p := s.New()
	m := p.Describe()
	if err := contract.Manifest(m); err != nil {
		t.Errorf("Describe() is not valid: %v", err)
	}
	if again := p.Describe(); !reflect.DeepEqual(m, again) {
		t.Errorf("Describe() = %v, then %v", m, again)
	}
	p.Configure(s.good())
	if configured := p.Describe(); !reflect.DeepEqual(m, configured) {
		t.Errorf("Describe() = %v, after Configure %v", m, configured)
	}
}

func (s Suite) settings(t *testing.T) {
	s.configured(t)
	bad := append([]string{"", "{", "[]", "null", `"text"`, "{} {}", "\xff", strings.Repeat("[", 1<<16)}, s.BadSettings...)
	for _, settings := range bad {
		faults := s.New().Configure([]byte(settings))
		if len(faults) == 0 {
			t.Errorf("Configure(%.40q) found no fault", settings)
		}
		for _, f := range faults {
			if f.Message == "" {
				t.Errorf("Configure(%.40q): a fault without a message", settings)
			}
		}
	}
}

// attempt is one call that the suite makes.
type attempt struct {
	flow sdk.Flow
	req  sdk.Request
}

func (a attempt) String() string {
	return fmt.Sprintf("%s/%s %.80q", a.flow.Kind, a.flow.Form, fmt.Sprint(a.req.Fields))
}

// check makes a call and holds its answer to the contract.
func check(t *testing.T, h *Host, f function, a attempt) (sdk.Step, error) {
	t.Helper()
	step, err := h.call(context.Background(), f, a.flow, a.req)
	if err != nil {
		e, ok := errors.AsType[*sdk.Error](err)
		if !ok {
			t.Errorf("%v: error %v is no *sdk.Error: the person would see an internal error", a, err)
			return step, err
		}
		if err := contract.Error(*e); err != nil {
			t.Errorf("%v: error is not valid: %v", a, err)
		}
		return step, err
	}
	if err := contract.Step(a.flow.Kind, step); err != nil {
		t.Errorf("%v: step is not valid: %v", a, err)
	}
	reply := wire.EncodeReply(wire.Reply{FlowID: a.flow.ID, Step: &step})
	if decoded, err := wire.DecodeReply(reply); err != nil || decoded.Step.Kind() != step.Kind() {
		t.Errorf("%v: step does not survive the wire: %v", a, err)
	}
	return step, nil
}

func (s Suite) hostileFields(t *testing.T) {
	p, h := s.configured(t), New()
	for _, form := range p.Describe().Forms {
		for _, fields := range hostile(form, s.Fields[form.Name]) {
			a := attempt{flow(form, h.Now()), request(fields)}
			step, err := check(t, h, p.Begin, a)
			if err == nil && step.Done != nil {
				t.Errorf("%v: Begin() = Done, want no identity", a)
			}
		}
		if good, ok := s.Fields[form.Name]; ok {
			check(t, h, p.Begin, attempt{flow(form, h.Now()), request(good)})
		}
	}
}

func (s Suite) unknownFlows(t *testing.T) {
	p, h := s.configured(t), New()
	flows := []sdk.Flow{{ID: "f", Kind: "nonsense"}, {ID: "f"}}
	for _, kind := range []sdk.FlowKind{
		sdk.FlowLogin, sdk.FlowRegister, sdk.FlowVerify, sdk.FlowRecover,
		sdk.FlowChange, sdk.FlowLink, sdk.FlowLogout,
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

func (s Suite) garbageState(t *testing.T) {
	p, h := s.configured(t), New()
	for _, form := range p.Describe().Forms {
		for _, saved := range []string{"", "x", "{}", "null", "\x00", "\xff\xfe", strings.Repeat("a", sdk.MaxSave)} {
			a := attempt{flow(form, h.Now()), request(s.Fields[form.Name])}
			a.flow.Saved = []byte(saved)
			step, err := h.call(context.Background(), p.Continue, a.flow, a.req)
			if err == nil && (step.Done != nil || step.Changed != nil) {
				t.Errorf("%v: Continue() with state %.20q = %q, want no proof", a, saved, step.Kind())
			}
		}
	}
}

func (s Suite) failingHost(t *testing.T) {
	p, h := s.configured(t), New()
	broken := errors.New("the database is away")
	h.Fail(broken)
	for _, form := range p.Describe().Forms {
		for _, f := range []function{p.Begin, p.Continue} {
			a := attempt{flow(form, h.Now()), request(s.Fields[form.Name])}
			step, err := h.call(context.Background(), f, a.flow, a.req)
			if err == nil && (step.Done != nil || step.Changed != nil) {
				t.Errorf("%v: %q while the host fails, want no proof", a, step.Kind())
			}
		}
	}
}

// forgetful makes each call with a provider of its own and again with one that has served
// other calls; the kinds of the answers must be the same.
func (s Suite) forgetful(t *testing.T) {
	used := s.configured(t)
	a, b := New(), New()
	for _, form := range used.Describe().Forms {
		good, ok := s.Fields[form.Name]
		if !ok {
			continue
		}
		for range 2 {
			try := attempt{flow(form, a.Now()), request(good)}
			fresh, errFresh := check(t, a, s.configured(t).Begin, try)
			again, errAgain := check(t, b, used.Begin, try)
			if fresh.Kind() != again.Kind() || (errFresh == nil) != (errAgain == nil) {
				t.Errorf("%v: a new instance answers %q (%v), a used one %q (%v)",
					try, fresh.Kind(), errFresh, again.Kind(), errAgain)
			}
		}
	}
}

func (s Suite) quietLog(t *testing.T) {
	p, h := s.configured(t), New()
	for _, form := range p.Describe().Forms {
		good := s.Fields[form.Name]
		_, _ = h.call(context.Background(), p.Begin, flow(form, h.Now()), request(good))
		for _, r := range h.Records() {
			for field, value := range good {
				line := r.Message + " " + strings.Join(r.Args, " ")
				if value != "" && strings.Contains(line, value) {
					t.Errorf("form %q: the log record %q holds the field %q", form.Name, r.Message, field)
				}
			}
		}
	}
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

// hostile returns inputs that no honest person sends: nothing, one field of good or of
// made-up input replaced by something odd, and fields that the form does not have.
func hostile(form sdk.Form, good map[string]string) []map[string]string {
	base := make(map[string]string)
	for _, f := range form.Fields {
		base[f.Name] = "made-up"
		if v, ok := good[f.Name]; ok {
			base[f.Name] = v
		}
	}
	out := []map[string]string{nil, {}, {"is_admin": "true"}}
	for _, f := range form.Fields {
		for _, odd := range []string{
			"", " ", "\x00", "a\r\nBcc: x@example.test", "\u202e\u2028", strings.Repeat("a", 100_000),
			"<script>alert(1)</script>", "' OR 1=1 --", "{{.}}", "@", "a@b@c", "\"@\"@example.test", "../../x",
		} {
			fields := make(map[string]string, len(base))
			for k, v := range base {
				fields[k] = v
			}
			fields[f.Name] = odd
			if odd == "" {
				delete(fields, f.Name)
			}
			out = append(out, fields)
		}
	}
	return out
}
