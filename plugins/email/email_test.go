package email

import (
	"errors"
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

const (
	ann   = "ann@example.com"
	good  = "correct horse"
	other = "battery staple"
)

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Suite{
		New:      func() sdk.Provider { return New() },
		Settings: `{"min_length": 10, "composition": true}`,
		BadSettings: []string{
			`{"min_length": 7}`, `{"min_length": "8"}`, `{"min_lenght": 8}`, `{"composition": null}`,
		},
		Fields: map[string]map[string]string{
			formPassword: {
				fieldEmail: ann, fieldPassword: "Correct-horse-1", fieldName: "Ann", fieldCurrent: "Correct-horse-1", fieldNew: "Battery-staple-2",
			},
			formMagicLink: {fieldEmail: ann},
			formResend:    {fieldEmail: ann},
		},
	})
}

// world is a provider in a gateway that remembers what it must.
type world struct {
	t    *testing.T
	host *providertest.Host
	p    *Provider
}

func newWorld(t *testing.T) world {
	t.Helper()
	return world{t, providertest.New(sdk.CapabilityKV, sdk.CapabilityPassword), New()}
}

func fields(pairs ...string) map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// flow is a flow of one of the forms.
func flow(form string) sdk.Flow {
	kind, name, _ := strings.Cut(form, "/")
	return sdk.Flow{ID: "flow", Kind: sdk.FlowKind(kind), Form: name}
}

func (w world) begin(form string, fields map[string]string) sdk.Step {
	w.t.Helper()
	step, err := w.host.Begin(w.t.Context(), w.p, flow(form), sdk.Request{Fields: fields})
	if err != nil {
		w.t.Fatalf("Begin(%s) = %v", form, err)
	}
	return step
}

// follow goes on with the link that a step mailed.
func (w world) follow(form string, mailed sdk.Step, fields map[string]string) sdk.Step {
	w.t.Helper()
	if mailed.Mail == nil || mailed.Save == nil {
		w.t.Fatalf("%s mailed no link: %+v", form, mailed)
	}
	f := flow(form)
	f.Saved = mailed.Save
	step, err := w.host.Continue(w.t.Context(), w.p, f, sdk.Request{Fields: fields})
	if err != nil {
		w.t.Fatalf("Continue(%s) = %v", form, err)
	}
	return step
}

func (w world) register(address, password string) sdk.Step {
	w.t.Helper()
	return w.begin(registerPassword, fields(fieldEmail, address, fieldPassword, password, fieldName, "Ann"))
}

// enrolled makes a verified address and returns its subject.
func (w world) enrolled(address, password string) string {
	w.t.Helper()
	step := w.follow(registerPassword, w.register(address, password), nil)
	if step.Done == nil {
		w.t.Fatalf("following the link = %+v, want Done", step)
	}
	return step.Done.Identity.Subject
}

func (w world) login(address, password string) sdk.Step {
	w.t.Helper()
	return w.begin(loginPassword, fields(fieldEmail, address, fieldPassword, password))
}

func (w world) change(subject, current, next string) sdk.Step {
	w.t.Helper()
	f := flow(changePassword)
	f.Subject = subject
	step, err := w.host.Begin(w.t.Context(), w.p, f, sdk.Request{Fields: fields(fieldCurrent, current, fieldNew, next)})
	if err != nil {
		w.t.Fatalf("Begin(change) = %v", err)
	}
	return step
}

// wants demands a denial with a code.
func (w world) wants(code string, step sdk.Step) {
	w.t.Helper()
	if step.Denied == nil || step.Denied.Code != code {
		w.t.Errorf("step = %+v, want %s", step, code)
	}
	if step.Denied != nil && step.Save != nil {
		w.t.Errorf("a denial saves %d bytes", len(step.Save))
	}
}

func (w world) wantsLogin(subject string, step sdk.Step) {
	w.t.Helper()
	if step.Done == nil || step.Done.Identity.Subject != subject {
		w.t.Errorf("step = %+v, want Done for the subject", step)
	}
}

// The time of an answer must not tell of an account, so every answer to one question does
// the same number of hashes.
func TestKnownAndUnknownAddressesCostTheSame(t *testing.T) {
	w := newWorld(t)
	w.enrolled("verified@example.com", good)
	w.register("pending@example.com", good)
	w.register("contested@example.com", good)
	w.register("contested@example.com", other)
	cost := func(step func()) int {
		before := w.host.Checks()
		step()
		return w.host.Checks() - before
	}
	for _, address := range []string{"verified@example.com", "pending@example.com", "contested@example.com", "unknown@example.com"} {
		if n := cost(func() { w.wants(sdk.CodeInvalidCredentials, w.login(address, "wrong password")) }); n != 1 {
			t.Errorf("login %s with a wrong password costs %d hashes, want 1", address, n)
		}
		if n := cost(func() { w.begin(loginMagicLink, fields(fieldEmail, address)) }); n != 0 {
			t.Errorf("magic link for %s costs %d hashes, want 0", address, n)
		}
		if n := cost(func() { w.begin(recoverPassword, fields(fieldEmail, address)) }); n != 0 {
			t.Errorf("recovery of %s costs %d hashes, want 0", address, n)
		}
		if n := cost(func() { w.begin(verifyResend, fields(fieldEmail, address)) }); n != 0 {
			t.Errorf("resend to %s costs %d hashes, want 0", address, n)
		}
		if n := cost(func() { w.register(address, "another password") }); n != 1 {
			t.Errorf("register %s costs %d hashes, want 1", address, n)
		}
	}
}

func TestHostTroubleIsAnErrorAndNoAnswer(t *testing.T) {
	w := newWorld(t)
	subject := w.enrolled(ann, good)
	mailed := map[string]sdk.Step{
		registerPassword: w.register("new@example.com", good),
		loginMagicLink:   w.begin(loginMagicLink, fields(fieldEmail, ann)),
		recoverPassword:  w.begin(recoverPassword, fields(fieldEmail, ann)),
	}
	all := fields(fieldEmail, ann, fieldPassword, good, fieldCurrent, good, fieldNew, other)
	broken := errors.New("broken")
	w.host.Fail(broken)
	for _, form := range []string{loginPassword, loginMagicLink, registerPassword, verifyResend, recoverPassword, changePassword, forgetSubject} {
		f := flow(form)
		f.Subject = subject
		step, err := w.host.Begin(t.Context(), w.p, f, sdk.Request{Fields: all})
		if !errors.Is(err, broken) || step.Done != nil {
			t.Errorf("Begin(%s) = %+v, %v, want the host's error", form, step, err)
		}
	}
	for form, step := range mailed {
		f := flow(form)
		f.Saved = step.Save
		step, err := w.host.Continue(t.Context(), w.p, f, sdk.Request{Fields: all})
		if !errors.Is(err, broken) || step.Done != nil {
			t.Errorf("Continue(%s) = %+v, %v, want the host's error", form, step, err)
		}
	}
}

func TestErrorsHoldNothingSecret(t *testing.T) {
	w := newWorld(t)
	call := w.host.Call()
	if err := errors.Join(call.KV().Set(t.Context(), prefixAddress+ann, []byte("1\nsecret-hash"), 0), call.Commit()); err != nil {
		t.Fatal(err)
	}
	_, err := w.host.Begin(t.Context(), w.p, flow(loginPassword),
		sdk.Request{Fields: fields(fieldEmail, ann, fieldPassword, good)})
	if err == nil {
		t.Fatal("a malformed record is no error")
	}
	for _, secret := range []string{ann, good, "secret-hash"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells %q: %v", secret, err)
		}
	}
}
