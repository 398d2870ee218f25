package gatewaytest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// What all gateways of the process share, since making it takes seconds: the plugin, and
// the machine code that it is compiled to.
var emailPlugin, compileCache string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gatewaytest-*") // mode 0700, as the compile cache must be
	if err == nil {
		compileCache = filepath.Join(dir, "cache")
		err = os.Mkdir(compileCache, 0o700)
	}
	if err == nil {
		emailPlugin, err = wasmtest.Build("../../plugins/email/cmd", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare the tests:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, append(ownedByFasthttp(), goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))...)
}

// ownedByFasthttp are goroutines that nobody can stop: its clock for the Date header, which
// runs as long as the process, and its look for idle workers, which ends some seconds after
// Serve did.
func ownedByFasthttp() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	}
}
