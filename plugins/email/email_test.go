package email

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

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

func TestRegisterVerifyLogin(t *testing.T) {
	w := newWorld(t)
	mailed := w.begin(registerPassword, fields(fieldEmail, " Ann@Example.COM ", fieldPassword, good, fieldName, " Ann Lee "))
	if mailed.Mail == nil {
		t.Fatalf("register = %+v, want a mail", mailed)
	}
	subject := mailed.Mail.Identity.Subject
	if len(subject) < 26 {
		t.Errorf("subject %q has fewer than 128 random bits", subject)
	}
	want := &sdk.Mail{Template: "verify", To: ann, Identity: &sdk.Identity{Subject: subject, Email: ann, Name: "Ann Lee"}}
	if diff := cmp.Diff(want, mailed.Mail); diff != "" {
		t.Errorf("mail (-want +got):\n%s", diff)
	}
	if strings.Contains(string(mailed.Save), good) {
		t.Error("the password itself is saved")
	}

	w.wants(sdk.CodeEmailNotVerified, w.login(ann, good))
	w.wants(sdk.CodeInvalidCredentials, w.login(ann, other))

	done := w.follow(registerPassword, mailed, nil)
	verified := &sdk.Done{Identity: sdk.Identity{Subject: subject, Email: ann, EmailVerified: true, Name: "Ann Lee"}}
	if diff := cmp.Diff(verified, done.Done); diff != "" {
		t.Errorf("verified (-want +got):\n%s", diff)
	}

	w.wants(sdk.CodeInvalidCredentials, w.login(ann, other))
	in := w.login("ANN@example.com", good)
	loggedIn := &sdk.Done{Identity: sdk.Identity{Subject: subject, Email: ann, EmailVerified: true, AMR: []string{"pwd"}}}
	if diff := cmp.Diff(loggedIn, in.Done); diff != "" {
		t.Errorf("login (-want +got):\n%s", diff)
	}
}

func TestVerifyLinkWorksOnce(t *testing.T) {
	w := newWorld(t)
	mailed := w.register(ann, good)
	w.follow(registerPassword, mailed, nil)
	w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, mailed, nil))
}

func TestRegisterRefusesBadInput(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		email, password, name string
		code                  string
		fields                []string
	}{
		"nothing":          {"", "", "", sdk.CodeMissingField, []string{"email required", "password required"}},
		"no password":      {ann, "", "", sdk.CodeMissingField, []string{"password required"}},
		"no address":       {"ann", good, "", sdk.CodeInvalidEmail, []string{"email format"}},
		"header injection": {"ann@example.com\r\nBcc: eve@example.com", good, "", sdk.CodeInvalidEmail, []string{"email format"}},
		"name of lines":    {ann, good, "Ann\nBcc: eve@example.com", sdk.CodeValidation, []string{"name format"}},
		"name turned":      {ann, good, "Ann \u202etxt.exe", sdk.CodeValidation, []string{"name format"}},
		"name not UTF-8":   {ann, good, "Ann\xff", sdk.CodeValidation, []string{"name format"}},
		"name too long":    {ann, good, strings.Repeat("x", 101), sdk.CodeValidation, []string{"name format"}},
		"weak password":    {ann, "1234567", "", sdk.CodeWeakPassword, []string{"password too_short"}},
	} {
		step := w.begin(registerPassword, fields(fieldEmail, c.email, fieldPassword, c.password, fieldName, c.name))
		w.wants(c.code, step)
		var got []string
		for _, f := range step.Denied.Fields {
			got = append(got, f.Field+" "+f.Code)
			if f.Message == "" {
				t.Errorf("%s: field %s has no message", name, f.Field)
			}
		}
		if diff := cmp.Diff(c.fields, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if keys := w.host.Keys(); len(keys) != 0 {
		t.Errorf("refused registrations left %v", keys)
	}
	if n := w.host.Checks(); n != 0 {
		t.Errorf("refused registrations cost %d hashes", n)
	}
}

func TestRegisterOfVerifiedAddressDoesNotTell(t *testing.T) {
	w := newWorld(t)
	w.enrolled(ann, good)
	step := w.register(ann, other)
	if diff := cmp.Diff(sdk.Step{Mail: &sdk.Mail{Template: "account_exists", To: ann}}, step); diff != "" {
		t.Errorf("register again (-want +got):\n%s", diff)
	}
	w.wants(sdk.CodeInvalidCredentials, w.login(ann, other))
	if w.login(ann, good).Done == nil {
		t.Error("the owner's password no longer works")
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

func TestPasswordBecomesValidOnlyByItsOwnLink(t *testing.T) {
	const eve = "eve's password"
	setup := func(t *testing.T) (w world, eveMailed, annMailed sdk.Step) {
		w = newWorld(t)
		eveMailed = w.register(ann, eve)
		annMailed = w.register(ann, good)
		if eveMailed.Mail.Identity.Subject != annMailed.Mail.Identity.Subject {
			t.Fatal("two registrations of an address are two persons")
		}
		return w, eveMailed, annMailed
	}
	t.Run("the second registration's", func(t *testing.T) {
		w, eveMailed, annMailed := setup(t)
		w.follow(registerPassword, annMailed, nil)
		w.wants(sdk.CodeInvalidCredentials, w.login(ann, eve))
		if w.login(ann, good).Done == nil {
			t.Error("the password of the followed link does not log in")
		}
		w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, eveMailed, nil))
		w.wants(sdk.CodeInvalidCredentials, w.login(ann, eve))
	})
	t.Run("the first registration's, after somebody registered again", func(t *testing.T) {
		w := newWorld(t)
		annMailed := w.register(ann, good)
		eveMailed := w.register(ann, eve)
		w.follow(registerPassword, annMailed, nil)
		w.wants(sdk.CodeInvalidCredentials, w.login(ann, eve))
		w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, eveMailed, nil))
		if w.login(ann, good).Done == nil {
			t.Error("the password of the followed link does not log in")
		}
	})
	t.Run("no password is valid before", func(t *testing.T) {
		w, _, _ := setup(t)
		w.wants(sdk.CodeInvalidCredentials, w.login(ann, eve))
		w.wants(sdk.CodeInvalidCredentials, w.login(ann, good))
	})
	t.Run("none by a link that was sent again after two registrations", func(t *testing.T) {
		w, eveMailed, _ := setup(t)
		again := w.begin(verifyResend, fields(fieldEmail, ann))
		step := w.follow(verifyResend, again, nil)
		if step.Done == nil || !step.Done.Identity.EmailVerified {
			t.Fatalf("step = %+v, want the address verified", step)
		}
		for _, password := range []string{eve, good} {
			w.wants(sdk.CodeInvalidCredentials, w.login(ann, password))
		}
		w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, eveMailed, nil))

		reset := w.begin(recoverPassword, fields(fieldEmail, ann))
		w.follow(recoverPassword, reset, fields(fieldPassword, other))
		if w.login(ann, other).Done == nil {
			t.Error("the owner cannot recover")
		}
	})
	t.Run("none of a stranger's by recovering", func(t *testing.T) {
		w, eveMailed, _ := setup(t)
		reset := w.begin(recoverPassword, fields(fieldEmail, ann))
		w.follow(recoverPassword, reset, fields(fieldPassword, other))
		w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, eveMailed, nil))
		w.wants(sdk.CodeInvalidCredentials, w.login(ann, eve))
	})
}

func TestResendMailsTheLinkAgain(t *testing.T) {
	w := newWorld(t)
	first := w.register(ann, good)
	again := w.begin(verifyResend, fields(fieldEmail, ann))
	if again.Mail == nil || again.Mail.Template != "verify" || again.Mail.Identity.Subject != first.Mail.Identity.Subject {
		t.Fatalf("resend = %+v, want the mail of the registration", again)
	}
	if w.follow(verifyResend, again, nil).Done == nil {
		t.Fatal("the link that was sent again does not verify")
	}
	if w.login(ann, good).Done == nil {
		t.Error("the password of the registration does not log in")
	}
	w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, first, nil))
	w.wants(sdk.CodeUserNotFound, w.begin(verifyResend, fields(fieldEmail, ann)))
	w.wants(sdk.CodeUserNotFound, w.begin(verifyResend, fields(fieldEmail, "unknown@example.com")))
}

func TestMagicLinkLogsIn(t *testing.T) {
	w := newWorld(t)
	subject := w.enrolled(ann, good)
	mailed := w.begin(loginMagicLink, fields(fieldEmail, "Ann@example.com"))
	if diff := cmp.Diff(&sdk.Mail{Template: "magic_link", To: ann}, mailed.Mail); diff != "" {
		t.Errorf("mail (-want +got):\n%s", diff)
	}
	step := w.follow(loginMagicLink, mailed, nil)
	w.wantsLogin(subject, step)
	if diff := cmp.Diff([]string{"otp"}, step.Done.Identity.AMR); diff != "" {
		t.Errorf("AMR (-want +got):\n%s", diff)
	}
}

func TestMagicLinkGoesToVerifiedAddressesAlone(t *testing.T) {
	w := newWorld(t)
	w.register(ann, good)
	w.wants(sdk.CodeUserNotFound, w.begin(loginMagicLink, fields(fieldEmail, ann)))
	w.wants(sdk.CodeUserNotFound, w.begin(loginMagicLink, fields(fieldEmail, "unknown@example.com")))
}

func TestRecoverSetsThePasswordAndEndsOlderLinks(t *testing.T) {
	w := newWorld(t)
	subject := w.enrolled(ann, good)
	magic := w.begin(loginMagicLink, fields(fieldEmail, ann))
	older := w.begin(recoverPassword, fields(fieldEmail, ann))
	mailed := w.begin(recoverPassword, fields(fieldEmail, ann))
	if diff := cmp.Diff(&sdk.Mail{Template: "reset", To: ann}, mailed.Mail); diff != "" {
		t.Errorf("mail (-want +got):\n%s", diff)
	}
	w.wants(sdk.CodeMissingField, w.follow(recoverPassword, mailed, nil))
	w.wants(sdk.CodeWeakPassword, w.follow(recoverPassword, mailed, fields(fieldPassword, "password1")))
	step := w.follow(recoverPassword, mailed, fields(fieldPassword, other))
	if diff := cmp.Diff(sdk.Step{Changed: &sdk.Changed{Subject: subject}}, step); diff != "" {
		t.Errorf("recover (-want +got):\n%s", diff)
	}
	w.wants(sdk.CodeInvalidCredentials, w.login(ann, good))
	w.wantsLogin(subject, w.login(ann, other))
	w.wants(sdk.CodeInvalidToken, w.follow(recoverPassword, mailed, fields(fieldPassword, good)))
	w.wants(sdk.CodeInvalidToken, w.follow(recoverPassword, older, fields(fieldPassword, good)))
	w.wants(sdk.CodeInvalidToken, w.follow(loginMagicLink, magic, nil))
}

func TestRecoverOfUnknownAddressMailsNobody(t *testing.T) {
	w := newWorld(t)
	w.wants(sdk.CodeUserNotFound, w.begin(recoverPassword, fields(fieldEmail, ann)))
}

func TestRecoverVerifiesTheAddress(t *testing.T) {
	w := newWorld(t)
	w.register(ann, good)
	reset := w.begin(recoverPassword, fields(fieldEmail, ann))
	if w.follow(recoverPassword, reset, fields(fieldPassword, other)).Changed == nil {
		t.Fatal("an address that is not verified cannot recover")
	}
	if w.login(ann, other).Done == nil {
		t.Error("the recovered address cannot log in")
	}
}

// A link serves its own purpose alone. The gateway keeps the kinds apart; that the saved
// bytes of one mean little to another is the second lock.
func TestLinksOfOtherPeopleAndPurposesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.enrolled(ann, good)
	w.register("bob@example.com", good)
	reset := w.begin(recoverPassword, fields(fieldEmail, "bob@example.com"))
	w.wants(sdk.CodeInvalidToken, w.follow(loginMagicLink, reset, nil))
	magic := w.begin(loginMagicLink, fields(fieldEmail, ann))
	w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, magic, nil))

	moved := magic
	moved.Save = []byte(strings.Replace(string(magic.Save), ann, "bob@example.com", 1))
	w.wants(sdk.CodeInvalidToken, w.follow(loginMagicLink, moved, nil))
	unknown := magic
	unknown.Save = []byte(strings.Replace(string(magic.Save), ann, "gone@example.com", 1))
	for _, f := range []string{loginMagicLink, registerPassword, verifyResend} {
		w.wants(sdk.CodeInvalidToken, w.follow(f, unknown, nil))
	}
	w.wants(sdk.CodeInvalidToken, w.follow(recoverPassword, unknown, fields(fieldPassword, other)))
}

func TestChangeNeedsTheCurrentPassword(t *testing.T) {
	w := newWorld(t)
	subject := w.enrolled(ann, good)
	w.wants(sdk.CodeMissingField, w.change(subject, "", other))
	w.wants(sdk.CodeMissingField, w.change(subject, good, ""))
	w.wants(sdk.CodeInvalidCredentials, w.change(subject, "wrong password", other))
	w.wants(sdk.CodeWeakPassword, w.change(subject, good, "12345678"))
	w.wants(sdk.CodeWeakPassword, w.change(subject, good, ann))
	w.wants(sdk.CodeUserNotFound, w.change("nobody", good, other))
	w.wants(sdk.CodeUserNotFound, w.change("", good, other))
	if w.login(ann, good).Done == nil {
		t.Fatal("a refused change changed the password")
	}
	step := w.change(subject, good, other)
	if diff := cmp.Diff(sdk.Step{Changed: &sdk.Changed{Subject: subject}}, step); diff != "" {
		t.Errorf("change (-want +got):\n%s", diff)
	}
	w.wants(sdk.CodeInvalidCredentials, w.login(ann, good))
	w.wantsLogin(subject, w.login(ann, other))
}

func TestChangeOfUnverifiedAddressIsRefused(t *testing.T) {
	w := newWorld(t)
	mailed := w.register(ann, good)
	w.wants(sdk.CodeUserNotFound, w.change(mailed.Mail.Identity.Subject, good, other))
}

func TestLoginReplacesStaleHash(t *testing.T) {
	w := newWorld(t)
	subject := w.enrolled(ann, good)
	call := w.host.Call()
	r, err := load(t.Context(), call, ann)
	if err != nil {
		t.Fatal(err)
	}
	r.hash = w.host.StaleHash(good)
	if err := errors.Join(r.store(t.Context(), call, ann), call.Commit()); err != nil {
		t.Fatal(err)
	}
	magic := w.begin(loginMagicLink, fields(fieldEmail, ann))

	w.wants(sdk.CodeInvalidCredentials, w.login(ann, other))
	before := w.host.Checks()
	w.wantsLogin(subject, w.login(ann, good))
	if n := w.host.Checks() - before; n != 2 {
		t.Errorf("login with a stale hash costs %d hashes, want 2", n)
	}
	before = w.host.Checks()
	w.wantsLogin(subject, w.login(ann, good))
	if n := w.host.Checks() - before; n != 1 {
		t.Errorf("the login after costs %d hashes, want 1", n)
	}
	w.wantsLogin(subject, w.follow(loginMagicLink, magic, nil))
}

func TestRehashGivesWayToAChangeInBetween(t *testing.T) {
	w := newWorld(t)
	subject := w.enrolled(ann, good)
	call := w.host.Call()
	r, err := load(t.Context(), call, ann)
	if err != nil {
		t.Fatal(err)
	}
	w.change(subject, good, other)
	if err := rehash(t.Context(), call, ann, r, good); err != nil {
		t.Errorf("rehash() = %v, want it to give way", err)
	}
	if err := call.Commit(); err != nil {
		t.Errorf("Commit() = %v", err)
	}
	w.wants(sdk.CodeInvalidCredentials, w.login(ann, good))
	w.wantsLogin(subject, w.login(ann, other))
}

func TestRacingRegistrationsAreOnePerson(t *testing.T) {
	w := newWorld(t)
	const n = 8
	mailed := make([]sdk.Step, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			p := New() // the gateway calls no instance concurrently
			for {
				step, err := w.host.Begin(t.Context(), p, flow(registerPassword), sdk.Request{Fields: fields(fieldEmail, ann, fieldPassword, good)})
				if errors.Is(err, sdk.ErrConflict) {
					continue
				}
				if err != nil {
					t.Errorf("Begin: %v", err)
				}
				mailed[i] = step
				return
			}
		})
	}
	all.Wait()
	subjects := make(map[string]bool)
	for _, step := range mailed {
		if step.Mail == nil || step.Mail.Identity == nil {
			t.Fatalf("step = %+v, want a mail", step)
		}
		subjects[step.Mail.Identity.Subject] = true
	}
	if len(subjects) != 1 {
		t.Errorf("%d subjects for one address", len(subjects))
	}
	if keys := w.host.Keys(); len(keys) != 2 {
		t.Errorf("keys = %v, want one record and one subject", keys)
	}
}

func TestOnlyOneOfRacingLinksVerifies(t *testing.T) {
	w := newWorld(t)
	first, second := w.register(ann, good), w.register(ann, other)
	one, two := w.host.Call(), w.host.Call()
	for call, mailed := range map[*providertest.Call]sdk.Step{one: first, two: second} {
		f := flow(registerPassword)
		f.Saved = mailed.Save
		step, err := w.p.Continue(t.Context(), call, f, sdk.Request{})
		if err != nil || step.Done == nil {
			t.Fatalf("Continue = %+v, %v", step, err)
		}
	}
	if err := one.Commit(); err != nil {
		t.Fatalf("first commit: %v", err)
	}
	if err := two.Commit(); !errors.Is(err, sdk.ErrConflict) {
		t.Fatalf("second commit: %v, want ErrConflict", err)
	}
	w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, second, nil)) // made anew
	if w.login(ann, good).Done == nil {
		t.Error("the winner's password does not log in")
	}
	w.wants(sdk.CodeInvalidCredentials, w.login(ann, other))
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
	for _, form := range []string{loginPassword, loginMagicLink, registerPassword, verifyResend, recoverPassword, changePassword} {
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
	for secret := range maps.Values(fields("a", ann, "b", good, "c", "secret-hash")) {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells %q: %v", secret, err)
		}
	}
}
