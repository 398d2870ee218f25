package email

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

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
