package email

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
)

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
