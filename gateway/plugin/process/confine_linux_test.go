package process

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A process is the gateway's user, who may do all of this.
func TestProcessCannotReachIntoTheGatewayOrItsFiles(t *testing.T) {
	if landlockAsk(unix.LANDLOCK_CREATE_RULESET_VERSION) < 6 {
		t.Log("this kernel cannot forbid all of it: only what of the gateway can be read is looked at")
	}
	p := opened(t, options(t, rogue(t, "")), quick())
	do := func(what, arg, want string) {
		t.Helper()
		if got, err := act(p, nil, what, arg); err != nil || got != want {
			t.Errorf("%s %s: %q, %v, want %q", what, arg, got, err, want)
		}
	}
	do("spy", "", "refused")
	do("memory", "", "refused")
	do("change", filepath.Join(p.home.dir, "own"), "done")
	do("remove", filepath.Join(p.home.dir, "own"), "done")
	do("change", os.DevNull, "done")
	if landlockAsk(unix.LANDLOCK_CREATE_RULESET_VERSION) < 6 {
		return
	}
	// As the compile cache is, and the copy of another plugin.
	beside := filepath.Join(filepath.Dir(p.home.dir), "beside")
	do("change", beside, "refused")
	if err := os.WriteFile(beside, []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	do("change", beside, "refused")
	do("remove", beside, "refused")
	if b, err := os.ReadFile(beside); err != nil || string(b) != "ours" {
		t.Errorf("the file beside it is %q, %v", b, err)
	}
	do("signal", strconv.Itoa(os.Getpid()), "refused")
}
