package email

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
)

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
