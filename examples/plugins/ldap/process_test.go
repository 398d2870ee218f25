package ldap

import (
	"testing"

	"github.com/materi/shield/gateway/plugin/trial"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
)

// TestPeopleLogInAtAProcess runs the executable as the gateway does, against a directory.
func TestPeopleLogInAtAProcess(t *testing.T) {
	s := start(t)
	file, err := wasmtest.BuildProcess("./cmd", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := trial.Open(t.Context(), trial.Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	w := worldOf(t, p.Provider(), searching(s, nil))
	if id := w.lets("ann", "correct horse"); id.Name != "Ann Example" || !uuid.MatchString(id.Subject) {
		t.Errorf("identity = %+v", id)
	}
	w.denies("ann", "correct horses", sdk.CodeInvalidCredentials)
	w.denies("nobody", "correct horse", sdk.CodeInvalidCredentials)
	w.denies("*", "correct horse", sdk.CodeInvalidCredentials)
}
