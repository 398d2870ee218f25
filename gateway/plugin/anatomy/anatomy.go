// Package anatomy reads what a plugin file is without running any of it: what a WASM module
// imports and exports, how much memory it declares, and which capabilities that asks for. It
// says in words why a file is no plugin. Whether a module is valid is for package wasm to
// say; what is read here is not believed there.
package anatomy

import (
	"bytes"
	"debug/buildinfo"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// FileKind is what kind of file it is.
type FileKind string

// The kinds.
const (
	Module     FileKind = "module"     // a core WASM module
	Component  FileKind = "component"  // of the WASM component model, which is another format
	Text       FileKind = "wat"        // WASM as text
	Executable FileKind = "executable" // of this or another operating system, or a script
	Unknown    FileKind = "unknown"
)

// magic are the first bytes of files.
var magic = []struct {
	prefix string
	kind   FileKind
}{
	{"\x00asm\x01\x00\x00\x00", Module},
	{"\x00asm\x0d\x00\x01\x00", Component},
	{"\x7fELF", Executable},
	{"\xcf\xfa\xed\xfe", Executable}, // Mach-O, 64 bits
	{"\xca\xfe\xba\xbe", Executable}, // Mach-O, several machines
	{"MZ", Executable},
	{"#!", Executable},
}

// Kind returns the kind of a file by its first bytes.
func Kind(code []byte) FileKind {
	for _, m := range magic {
		if bytes.HasPrefix(code, []byte(m.prefix)) {
			return m.kind
		}
	}
	if bytes.HasPrefix(bytes.TrimSpace(code[:min(len(code), 256)]), []byte("(module")) {
		return Text
	}
	return Unknown
}

// Import is a function that a module takes from the host.
type Import struct {
	Module, Name string
}

// String returns module and name with a dot between.
func (i Import) String() string { return i.Module + "." + i.Name }

// Anatomy is what a module is made of.
type Anatomy struct {
	Imports      []Import // functions, in the order of the file
	Exports      []string // functions
	MemoryMin    int64    // bytes of its own memory at the start
	MemoryMax    int64    // 0: it declares no maximum
	Capabilities []sdk.Capability
	Sections     []string // names of custom sections, such as "name" or "producers"

	memories, exportedMemory bool
	otherImports             []string // that are no functions
}

// ErrNoPlugin is in every error of [Read].
var ErrNoPlugin = errors.New("not a plugin")

// Read returns the anatomy of a module, with an error if it cannot be a plugin. The error
// says why and what to do.
func Read(code []byte) (Anatomy, error) {
	switch Kind(code) {
	case Module:
	case Component:
		return Anatomy{}, refuse("it is a component; a plugin is a core module. Leave out the step that makes a component of it (wasm-tools component new, cargo component, jco)")
	case Text:
		return Anatomy{}, refuse("it is WASM as text; turn it into a module with wat2wasm")
	case Executable:
		return Anatomy{}, refuse("it is an executable, not a module")
	default:
		return Anatomy{}, refuse("it is not a WASM module")
	}
	a, err := parse(code)
	if err != nil {
		return a, refuse("the file is damaged: %v", err)
	}
	a.Capabilities = a.capabilities()
	return a, a.fault()
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNoPlugin, fmt.Sprintf(format, args...))
}

// capabilities returns those whose functions the module imports, in the order of the sdk.
func (a Anatomy) capabilities() []sdk.Capability {
	var list []sdk.Capability
	for _, f := range wire.Functions() {
		if slices.Contains(a.Imports, Import{f.Module(), f.Name}) && !slices.Contains(list, f.Capability) {
			list = append(list, f.Capability)
		}
	}
	return list
}

// goJS is where a Go module that was built for browsers imports from.
const goJS = "gojs"

// fault returns why the gateway would not take the module, or nil.
func (a Anatomy) fault() error {
	for _, i := range a.Imports {
		if err := a.foreign(i); err != nil {
			return err
		}
	}
	if len(a.otherImports) > 0 {
		return refuse("it imports %s, which is no function; a plugin has a memory of its own and imports functions alone", a.otherImports[0])
	}
	call, abi := slices.Contains(a.Exports, "shield_call"), slices.Contains(a.Exports, "shield_abi")
	switch {
	case call && abi && !a.exportedMemory:
		return refuse("it does not export its memory under the name memory")
	case call && abi:
		return nil
	case slices.Contains(a.Exports, "_start"):
		return refuse("it is a program with _start, and does not export shield_call; a plugin is a library: build it with -buildmode=c-shared (Go), -mexec-model=reactor (C), crate-type cdylib (Rust)")
	case len(a.Exports) == 0:
		return refuse("it exports nothing; a plugin exports shield_abi and shield_call")
	case call:
		return refuse("it does not export shield_abi")
	}
	return refuse("it does not export shield_call; does its main package make one with serve.Provider?")
}

// foreign returns what is wrong with an import of something that no gateway has.
func (a Anatomy) foreign(i Import) error {
	known := slices.ContainsFunc(wire.Functions(), func(f wire.Function) bool { return f.Module() == i.Module && f.Name == i.Name })
	switch {
	case known, i.Module == "shield_io" && (i.Name == "read" || i.Name == "write"):
		return nil
	case i.Module == "wasi_snapshot_preview1" && !strings.HasPrefix(i.Name, "sock_"):
		return nil
	case i.Module == goJS:
		return refuse("it was built for browsers (GOOS=js); build it with GOOS=wasip1 GOARCH=wasm")
	case strings.HasPrefix(i.Module, "wasi:"), i.Module == "wasi_unstable":
		return refuse("it imports %v: the gateway has WASI preview 1 alone (wasi_snapshot_preview1)", i)
	case i.Module == "env" && i.Name == "abort":
		return refuse("it imports env.abort, which AssemblyScript does unless it is built with --use abort=")
	}
	return refuse("it imports %v: the gateway has no such function", i)
}

// BuildInfo returns what the Go toolchain wrote into an executable: the version of Go and the
// path of the main package. It is empty for what Go did not build.
func BuildInfo(code []byte) (goVersion, path string) {
	info, err := buildinfo.Read(bytes.NewReader(code))
	if err != nil {
		return "", ""
	}
	return info.GoVersion, info.Path
}

// uvarint reads an unsigned number of at most 32 bits.
func uvarint(b []byte) (uint32, []byte, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 5 || n > 1<<32-1 {
		return 0, nil, errDamaged
	}
	return uint32(n), b[size:], nil
}
