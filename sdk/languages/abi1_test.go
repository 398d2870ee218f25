package languages_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk"
)

// Whether a gateway runs it is tested there; here is shown that it is what it says: nothing
// in it is of version 2.
func TestAModuleOfVersion1HasNothingOfVersion2(t *testing.T) {
	file, err := wasmtest.ABI1(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range sdk.Capabilities() {
		name := "shield_" + string(c)
		// An import begins with the module's name behind its length.
		imports := bytes.Contains(code, append([]byte{byte(len(name))}, name...))
		if imports != (c.Since() == 1) {
			t.Errorf("the module imports %s: %v", name, imports)
		}
	}
}
