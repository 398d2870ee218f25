package meter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
)

// patience is the fuel that a call may take before its answer is not asked for any more.
const patience = 2_000_000

// answers runs all exported functions of a module in the order of their names, and says what came of each.
// It stops at a call that takes too much fuel or stack, of which nothing can be compared.
func answers(t testing.TB, code []byte, deadline time.Duration) (out []string, whole bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	spent := 0
	cfg := wazero.NewRuntimeConfig().WithMemoryLimitPages(64).WithCloseOnContextDone(true)
	r := runtimeConfigured(t, cfg, func(context.Context, int64) int64 {
		if spent += 1000; spent > patience {
			panic(errSpent)
		}
		return 1000
	})
	defer r.Close(context.Background())
	compiled, err := r.CompileModule(ctx, code)
	if err != nil {
		return nil, false, err
	}
	if err := imitate(ctx, r, compiled); err != nil {
		return nil, false, err
	}
	mod, err := r.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if beyond(err) {
		return out, false, nil
	}
	out = append(out, "start: "+outcome(nil, err))
	if err != nil {
		return out, true, nil
	}
	for _, name := range slices.Sorted(maps.Keys(compiled.ExportedFunctions())) {
		f := mod.ExportedFunction(name)
		for _, arg := range []uint64{0, 3} {
			spent = 0
			got, err := f.Call(ctx, words(f.Definition().ParamTypes(), arg)...)
			if beyond(err) {
				return out, false, nil
			}
			hide(got, f.Definition().ResultTypes())
			out = append(out, fmt.Sprintf("%s(%d): %s", name, arg, outcome(got, err)))
		}
	}
	for name := range compiled.ExportedMemories() {
		mem := mod.ExportedMemory(name)
		b, _ := mem.Read(0, mem.Size())
		out = append(out, "memory: "+string(b))
	}
	return out, true, nil
}

// beyond reports whether a call ended by a bound of this test, or by that of the stack: a rewritten function
// may need more of it.
func beyond(err error) bool {
	return err != nil && (errors.Is(err, errSpent) || strings.Contains(err.Error(), "stack overflow"))
}

// outcome is what came of a call, without the index of the start function, which is another one.
func outcome(got []uint64, err error) string {
	if err == nil {
		return fmt.Sprintf("%#x", got)
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	if start, reason, ok := strings.Cut(line, " failed: "); ok && strings.HasPrefix(start, "start function[") {
		line = reason
	}
	return line
}

const (
	typeV128    = 0x7b
	typeFuncref = 0x70
)

// words are arguments of the types, all of the same value. A funcref is an address to wazero, so it is null.
func words(types []api.ValueType, value uint64) []uint64 {
	var out []uint64
	for _, t := range types {
		switch t {
		case typeV128:
			out = append(out, value, value)
		case typeFuncref:
			out = append(out, 0)
		default:
			out = append(out, value)
		}
	}
	return out
}

// hide makes results comparable that are addresses.
func hide(results []uint64, types []api.ValueType) {
	for i := 0; len(types) > 0 && len(results) > 0; types = types[1:] {
		if types[0] == typeFuncref {
			results[i] = min(results[i], 1)
		}
		if i++; types[0] == typeV128 {
			i++
		}
	}
}

// imitate makes functions for a module to import, which return zeros.
func imitate(ctx context.Context, r wazero.Runtime, compiled wazero.CompiledModule) error {
	hosts := make(map[string]wazero.HostModuleBuilder)
	seen := make(map[string]bool)
	for _, f := range compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == meter.Module || seen[module+"\x00"+name] {
			continue
		}
		seen[module+"\x00"+name] = true
		if hosts[module] == nil {
			hosts[module] = r.NewHostModuleBuilder(module)
		}
		clear := api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
			for i := range stack {
				stack[i] = 0
			}
		})
		hosts[module].NewFunctionBuilder().WithGoModuleFunction(clear, f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	for _, h := range hosts {
		if _, err := h.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// compare holds a module's rewritten form to the module. It reports whether there was anything to compare.
func compare(t *testing.T, code []byte) bool {
	t.Helper()
	metered, err := meter.Rewrite(code, meter.Options{Call: costly})
	if err != nil {
		return false
	}
	got, whole, err := answers(t, metered, time.Minute)
	if err != nil {
		if _, _, original := answers(t, code, time.Minute); original == nil {
			t.Errorf("wazero takes the module and refuses its rewritten form: %v", err)
		}
		return false
	}
	want := got
	if whole {
		want, _, err = answers(t, code, 10*time.Second)
		if err != nil && aboutCustomSections(err) {
			return false
		}
		if err != nil {
			t.Errorf("wazero refuses the module and takes its rewritten form: %v", err)
			return false
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("rewritten module answers %q, want %q", short(got), short(want))
	}
	return len(got) > 0
}

func short(in []string) []string {
	var out []string
	for _, s := range in {
		out = append(out, s[:min(len(s), 200)])
	}
	return out
}

// corpus calls use for every module that wazero carries.
func corpus(t testing.TB, use func(name string, code []byte)) {
	t.Helper()
	err := filepath.WalkDir(wazeroDir(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".wasm") {
			return err
		}
		code, err := os.ReadFile(path)
		use(strings.TrimPrefix(path, wazeroDir(t)), code)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRewrittenModulesGiveTheSameAnswers(t *testing.T) {
	compared := 0
	seen := make(map[string]bool)
	corpus(t, func(name string, code []byte) {
		// The suite of version 2 has all of version 1; what is large, or hundreds of times
		// almost the same, takes long.
		base := filepath.Base(name)
		if strings.Contains(name, "/spectest/v1/") || len(code) > 200_000 || seen[string(code)] ||
			strings.HasPrefix(base, "const.") || strings.HasPrefix(base, "simd_const.") || strings.HasPrefix(base, "utf8-") {
			return
		}
		seen[string(code)] = true
		if compare(t, code) {
			compared++
		}
		if t.Failed() {
			t.Fatalf("above: %s", name)
		}
	})
	if compared < 700 {
		t.Errorf("only %d modules were compared", compared)
	}
}

// seeds adds modules of wazero that a fuzzer can work with.
func seeds(f *testing.F) {
	n := 0
	corpus(f, func(name string, code []byte) {
		// One of each kind of test is enough to begin with.
		if len(code) < 4096 && !strings.Contains(name, "/v1/") && strings.HasSuffix(name, ".0.wasm") || strings.Contains(name, "/engine/") {
			f.Add(code)
			n++
		}
	})
	if n < 100 {
		f.Fatalf("only %d seeds", n)
	}
	for _, c := range hostile() {
		f.Add(c.code)
	}
	for _, code := range endless() {
		f.Add(code)
	}
	f.Add(importing(loop(100, 0, []byte{0x10, 0})))
}

func FuzzRewrite(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 64<<10 {
			return
		}
		out, err := meter.Rewrite(code, meter.Options{Call: costly})
		if err != nil {
			if !errors.Is(err, meter.ErrModule) || out != nil {
				t.Errorf("Rewrite() = %x, %v", out, err)
			}
			return
		}
		if !bytes.HasPrefix(out, []byte("\x00asm\x01\x00\x00\x00")) {
			t.Errorf("Rewrite() = %x", out)
		}
		original, rewritten := compiles(t, code), compiles(t, out)
		if original == nil && rewritten != nil {
			t.Errorf("wazero takes the module and refuses its rewritten form: %v\n%x", rewritten, out)
		}
		if original != nil && rewritten == nil && !aboutCustomSections(original) {
			t.Errorf("wazero refuses the module, %v, and takes its rewritten form\n%x", original, out)
		}
		if _, err := meter.Rewrite(out, meter.Options{}); err == nil {
			t.Error("a module was rewritten twice")
		}
	})
}

// aboutCustomSections reports whether wazero refused a module for what rewriting leaves out.
func aboutCustomSections(err error) bool { return strings.Contains(err.Error(), "custom") }

func FuzzSameAnswers(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) < 64<<10 {
			compare(t, code)
		}
	})
}
