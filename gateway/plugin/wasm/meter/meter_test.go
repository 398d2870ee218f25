package meter_test

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
)

// wazeroDir is where the source of wazero is, which carries many modules.
func wazeroDir(t testing.TB) string {
	t.Helper()
	dir, err := locate()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return dir
}

var locate = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	return strings.TrimSpace(string(out)), err
})

// costly makes every call of an import cost something.
func costly(string, string) uint32 { return 1000 }

// grant is how much a refill gives.
const grant = 100_000

// newRuntime returns a runtime that has the import that rewriting adds. It grants without end.
func newRuntime(t testing.TB) wazero.Runtime {
	t.Helper()
	return runtimeWith(t, func(context.Context, int64) int64 { return grant })
}

func runtimeWith(t testing.TB, refill func(ctx context.Context, left int64) int64) wazero.Runtime {
	t.Helper()
	return runtimeConfigured(t, wazero.NewRuntimeConfig().WithMemoryLimitPages(1024), refill)
}

func runtimeConfigured(t testing.TB, cfg wazero.RuntimeConfig, refill func(ctx context.Context, left int64) int64) wazero.Runtime {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, cfg)
	_, err := r.NewHostModuleBuilder(meter.Module).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, stack []uint64) {
			stack[0] = uint64(refill(ctx, int64(stack[0])))
		}), []api.ValueType{api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64}).
		Export(meter.Function).Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
