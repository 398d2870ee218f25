package email

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
)

func (w world) forget(subject string) {
	w.t.Helper()
	f := flow(forgetSubject)
	f.Subject = subject
	step, err := w.host.Begin(w.t.Context(), w.p, f, sdk.Request{})
	if diff := cmp.Diff(sdk.Step{Changed: &sdk.Changed{Subject: subject}}, step); err != nil || diff != "" {
		w.t.Errorf("forget: %v (-want +got):\n%s", err, diff)
	}
}

func TestWhoIsForgottenCannotLogInByAnything(t *testing.T) {
	w := newWorld(t)
	subject := w.enrolled(ann, good)
	bob := w.enrolled("bob@example.com", good)
	magic := w.begin(loginMagicLink, fields(fieldEmail, ann))
	reset := w.begin(recoverPassword, fields(fieldEmail, ann))

	w.forget(subject)
	if diff := cmp.Diff([]string{"addr/bob@example.com", "sub/" + bob}, w.host.Keys()); diff != "" {
		t.Errorf("what is kept (-want +got):\n%s", diff)
	}
	w.wants(sdk.CodeInvalidCredentials, w.login(ann, good))
	w.wants(sdk.CodeInvalidToken, w.follow(loginMagicLink, magic, nil))
	w.wants(sdk.CodeInvalidToken, w.follow(recoverPassword, reset, fields(fieldPassword, other)))
	w.wants(sdk.CodeUserNotFound, w.change(subject, good, other))
	for _, form := range []string{loginMagicLink, recoverPassword, verifyResend} {
		w.wants(sdk.CodeUserNotFound, w.begin(form, fields(fieldEmail, ann)))
	}
	w.wantsLogin(bob, w.login("bob@example.com", good))
	w.forget(subject) // once more
	w.forget("nobody")
}

func TestALinkOfARegistrationThatWasForgottenIsDead(t *testing.T) {
	w := newWorld(t)
	first := w.register(ann, good)
	subject := first.Mail.Identity.Subject
	resent := w.begin(verifyResend, fields(fieldEmail, ann))
	w.forget(subject)
	w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, first, nil))
	w.wants(sdk.CodeInvalidToken, w.follow(verifyResend, resent, nil))

	// The address is free, for whoever proves it next, and the links of before stay dead.
	next := w.register(ann, other)
	if next.Mail.Identity.Subject == subject {
		t.Error("the subject came back")
	}
	w.wants(sdk.CodeInvalidToken, w.follow(registerPassword, first, nil))
	w.forget(subject) // is somebody else
	if w.follow(registerPassword, next, nil).Done == nil {
		t.Error("forgetting the one before took the new one along")
	}
}

func TestForgettingGivesWayToAChangeInBetween(t *testing.T) {
	w := newWorld(t)
	subject := w.enrolled(ann, good)
	call := w.host.Call()
	f := flow(forgetSubject)
	f.Subject = subject
	if _, err := w.p.Begin(t.Context(), call, f, sdk.Request{}); err != nil {
		t.Fatal(err)
	}
	w.change(subject, good, other)
	if err := call.Commit(); !errors.Is(err, sdk.ErrConflict) {
		t.Errorf("Commit() = %v, want ErrConflict: the record is another", err)
	}
}

func TestNobodyInParticularIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	w.enrolled(ann, good)
	if step, err := w.host.Begin(t.Context(), w.p, flow(forgetSubject), sdk.Request{}); err == nil {
		t.Errorf("Begin(forget) without a subject = %+v, want an error", step)
	}
}
