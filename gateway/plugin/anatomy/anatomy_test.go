package anatomy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero"

	"github.com/materi/shield/sdk"
)

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func name(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

func section(id byte, body ...[]byte) []byte {
	b := join(body...)
	return join([]byte{id}, binary.AppendUvarint(nil, uint64(len(b))), b)
}

// module is a module of these sections, after a type () -> () and, for what is exported, one
// function of it.
func module(sections ...[]byte) []byte {
	return join([]byte("\x00asm\x01\x00\x00\x00"), section(1, []byte{1, 0x60, 0, 0}), join(sections...))
}

// imported is an import section with functions.
func imported(names ...string) []byte {
	body := []byte{byte(len(names) / 2)}
	for i := 0; i < len(names); i += 2 {
		body = join(body, name(names[i]), name(names[i+1]), []byte{kindFunction, 0})
	}
	return section(sectionImport, body)
}

var (
	functions = section(3, []byte{1, 0})
	memory    = section(sectionMemory, []byte{1, 1, 2, 8})
	code      = section(10, []byte{1, 2, 0, 0x0b})
)

func exported(names ...string) []byte {
	body := []byte{byte(len(names))}
	for _, n := range names {
		kind := byte(kindFunction)
		if n == "memory" {
			kind = kindMemory
		}
		body = join(body, name(n), []byte{kind, 0})
	}
	return section(sectionExport, body)
}

// plugin is a module with the exports of a plugin.
func plugin(imports []byte) []byte {
	return module(imports, functions, memory, exported("memory", "shield_abi", "shield_call"), code)
}

// A memory may be declared with numbers whose bytes no 64 bits hold.
func TestReadTellsMemoryThatCannotBe(t *testing.T) {
	for _, pages := range []uint64{1 << 46, 1 << 47, 1 << 48} {
		n := binary.AppendUvarint(nil, pages)
		a, err := Read(module(section(sectionMemory, []byte{1, 5}, n, n)))
		if !errors.Is(err, ErrNoPlugin) || a.MemoryMin < 1<<61 || a.MemoryMax < 1<<61 {
			t.Errorf("%d pages: %d to %d bytes, %v", pages, a.MemoryMin, a.MemoryMax, err)
		}
	}
}

func TestReadTellsWhatAModuleHas(t *testing.T) {
	a, err := Read(join(plugin(imported("shield_io", "read", "shield_secret", "get", "shield_kv", "get", "shield_kv", "set",
		"wasi_snapshot_preview1", "fd_write")), section(sectionCustom, name("producers"), []byte("x"))))
	want := Anatomy{
		Imports: []Import{{"shield_io", "read"}, {"shield_secret", "get"}, {"shield_kv", "get"}, {"shield_kv", "set"},
			{"wasi_snapshot_preview1", "fd_write"}},
		Exports:   []string{"shield_abi", "shield_call"},
		MemoryMin: 2 * pageSize, MemoryMax: 8 * pageSize,
		Capabilities: []sdk.Capability{sdk.CapabilityKV, sdk.CapabilitySecret},
		Sections:     []string{"producers"},
		memories:     true, exportedMemory: true,
	}
	if diff := cmp.Diff(want, a, cmp.AllowUnexported(Anatomy{})); diff != "" || err != nil {
		t.Errorf("Read() = %v (-want +got):\n%s", err, diff)
	}
}

func TestWhatIsNoPluginIsToldWhy(t *testing.T) {
	io := imported("shield_io", "read")
	for _, c := range []struct {
		name string
		code []byte
		want string
	}{
		{"nothing", nil, "not a WASM module"},
		{"words", []byte("hello"), "not a WASM module"},
		{"half a header", []byte("\x00asm\x01\x00"), "not a WASM module"},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00rest"), "it is a component"},
		{"text", []byte("\n  (module (func))"), "turn it into a module with wat2wasm"},
		{"an executable", []byte("\x7fELF\x02"), "an executable"},
		{"a script", []byte("#!/bin/sh"), "an executable"},
		{"a module of nothing", module(), "it exports nothing"},
		{"a program", module(io, functions, memory, exported("memory", "_start"), code), "-buildmode=c-shared"},
		{"another library", module(functions, memory, exported("memory", "add"), code), "serve.Provider"},
		{"half a plugin", module(functions, memory, exported("memory", "shield_call"), code), "does not export shield_abi"},
		{"no memory", module(functions, memory, exported("shield_abi", "shield_call"), code), "its memory under the name memory"},
		{"for browsers", plugin(imported("gojs", "runtime.wasmExit")), "GOOS=js"},
		{"preview 2", plugin(imported("wasi:cli/stderr@0.2.0", "get-stderr")), "WASI preview 1 alone"},
		{"preview 0", plugin(imported("wasi_unstable", "fd_write")), "WASI preview 1 alone"},
		{"sockets", plugin(imported("wasi_snapshot_preview1", "sock_accept")), "wasi_snapshot_preview1.sock_accept"},
		{"AssemblyScript's abort", plugin(imported("env", "abort")), "--use abort="},
		{"a capability that there is not", plugin(imported("shield_exec", "run")), "shield_exec.run: the gateway has no such function"},
		{"a function that there is not", plugin(imported("shield_kv", "scan")), "shield_kv.scan"},
		{"a memory of another", plugin(section(sectionImport, []byte{1}, name("env"), name("memory"), []byte{kindMemory, 0, 1})), "env.memory, which is no function"},
		{"a section that is cut", plugin(io)[:20], "damaged"},
		{"a section longer than the file", join(module(), []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f}), "damaged"},
		{"imports that are cut", module(section(sectionImport, []byte{2}, name("a"), name("b"), []byte{kindFunction, 0})), "damaged"},
		{"more than the imports", module(section(sectionImport, []byte{0, 0})), "damaged"},
		{"very many imports", module(section(sectionImport, []byte{0xff, 0xff, 0xff, 0xff, 0x0f})), "damaged"},
		{"a name that is no text", module(section(sectionImport, []byte{1, 1, 0xff, 1, 'b', kindFunction, 0})), "damaged"},
		{"an import of no kind", module(section(sectionImport, []byte{1}, name("a"), name("b"), []byte{9, 0})), "damaged"},
	} {
		a, err := Read(c.code)
		if Kind(c.code) == Module && !strings.Contains(c.want, "damaged") {
			agree(t, c.code, a)
		}
		if !errors.Is(err, ErrNoPlugin) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Read() = %v, want %q", c.name, err, c.want)
		}
	}
}

func TestReadAgreesWithTheRuntimeOnARealModule(t *testing.T) {
	file := filepath.Join(t.TempDir(), "email.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", file, "github.com/materi/shield/plugins/email/cmd")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, b, a)
	if !slices.Equal(a.Capabilities, []sdk.Capability{sdk.CapabilityKV, sdk.CapabilityPassword}) {
		t.Errorf("capabilities %v", a.Capabilities)
	}
}

// agree compares with what the runtime reads of a module that it takes. It is not asked about
// fuzz: it believes the counts in a file and would allocate for all of them.
func agree(t *testing.T, code []byte, a Anatomy) {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	compiled, err := r.CompileModule(ctx, code)
	if err != nil {
		return
	}
	var imports []Import
	for _, f := range compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		imports = append(imports, Import{module, name})
	}
	if diff := cmp.Diff(imports, a.Imports); diff != "" {
		t.Errorf("imports (-runtime +ours):\n%s", diff)
	}
	exports := compiled.ExportedFunctions()
	for _, name := range a.Exports {
		if _, ok := exports[name]; !ok {
			t.Errorf("we read the export %q, which the runtime does not", name)
		}
	}
	if len(exports) != len(a.Exports) {
		t.Errorf("we read exports %q, the runtime %d", a.Exports, len(exports))
	}
	if m, ok := compiled.ExportedMemories()["memory"]; ok && len(a.otherImports) == 0 && int64(m.Min())*pageSize != a.MemoryMin {
		t.Errorf("memory of %d bytes, the runtime reads %d pages", a.MemoryMin, m.Min())
	}
}

func TestBuildInfoIsThatOfAGoExecutable(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if Kind(self) != Executable {
		t.Errorf("Kind() = %s", Kind(self))
	}
	if version, path := BuildInfo(self); !strings.HasPrefix(version, "go1.") || !strings.Contains(path, "anatomy") {
		t.Errorf("BuildInfo() = %q, %q", version, path)
	}
	if version, path := BuildInfo([]byte("\x7fELF")); version != "" || path != "" {
		t.Errorf("BuildInfo() of garbage = %q, %q", version, path)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(plugin(imported("shield_io", "read", "shield_kv", "get")))
	f.Add(plugin(section(sectionImport, []byte{2}, name("env"), name("memory"), []byte{kindMemory, 0, 1}, name("a"), name("b"), []byte{kindGlobal, 0x7f, 0})))
	f.Add(module(section(sectionCustom, name("name"))))
	f.Add(module(section(sectionMemory, []byte{1, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f})))
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 1<<16 {
			return
		}
		a, err := Read(code)
		if err != nil && (!errors.Is(err, ErrNoPlugin) || len(err.Error()) < len("not a plugin: it")) {
			t.Errorf("Read() = %v", err)
		}
		if a.MemoryMin < 0 || a.MemoryMax < 0 {
			t.Errorf("memory %d to %d", a.MemoryMin, a.MemoryMax)
		}
		for _, i := range a.Imports {
			if !bytes.Contains(code, []byte(i.Module)) || !bytes.Contains(code, []byte(i.Name)) {
				t.Errorf("import %v is not in the file", i)
			}
		}
	})
}
