package wasm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

const pageSize = 64 << 10 // of linear memory, in bytes

// compile makes the runtime and the compiled module, from the cache if it is there. A
// cache that cannot be read, after a crash for instance, costs time and nothing else.
func (m *Module) compile(ctx context.Context, code []byte) error {
	if m.opts.CacheDir != "" {
		cache, err := openCache(m.opts.CacheDir)
		if err != nil {
			return err
		}
		m.cache = cache
		m.runtime = m.newRuntime(ctx)
		m.compiled, err = m.runtime.CompileModule(ctx, code)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_ = m.runtime.Close(ctx)
		_ = m.cache.Close(ctx)
		m.cache = nil
	}
	m.runtime = m.newRuntime(ctx)
	compiled, err := m.runtime.CompileModule(ctx, code)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	m.compiled = compiled
	if m.opts.CacheDir != "" {
		m.opts.Log.WarnContext(ctx, "compile cache of plugins cannot be used", "provider", m.opts.Name)
	}
	return nil
}

func (m *Module) newRuntime(ctx context.Context) wazero.Runtime {
	cfg := wazero.NewRuntimeConfig()
	if m.opts.Interpreter {
		cfg = wazero.NewRuntimeConfigInterpreter()
	}
	cfg = cfg.
		WithCloseOnContextDone(m.opts.Interruption == Deadline).
		WithMemoryLimitPages(uint32(min(m.opts.Memory/pageSize, 65536))).
		WithDebugInfoEnabled(false)
	if m.cache != nil {
		cfg = cfg.WithCompilationCache(m.cache)
	}
	return wazero.NewRuntimeWithConfig(ctx, cfg)
}

// The module that WASI functions are imported from, and the one that is always granted.
const (
	wasiModule = wasi_snapshot_preview1.ModuleName
	ioModule   = "shield_io"
)

// check compares what a module imports with what is granted and looks for what it must
// export. None of its code has run when it does. It returns the imported capabilities.
func check(c wazero.CompiledModule, granted []sdk.Capability) ([]sdk.Capability, error) {
	if len(c.ImportedMemories()) > 0 {
		return nil, fmt.Errorf("module imports a memory: it must have its own")
	}
	var imported []sdk.Capability
	for _, f := range c.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == meter.Module {
			continue // the rewriting's: a module that imports it itself is refused there
		}
		capability, err := checkImport(module, name, granted)
		if err != nil {
			return nil, err
		}
		if capability != "" && !slices.Contains(imported, capability) {
			imported = append(imported, capability)
		}
	}
	return imported, checkExports(c)
}

func checkImport(module, name string, granted []sdk.Capability) (sdk.Capability, error) {
	switch module {
	case ioModule:
		if name == "read" || name == "write" {
			return "", nil
		}
	case wasiModule:
		// What is left of WASI without sockets is harmless, as there are no files either.
		if !strings.HasPrefix(name, "sock_") {
			return "", nil
		}
	}
	for _, f := range wire.Functions() {
		if f.Module() != module || f.Name != name {
			continue
		}
		if !slices.Contains(granted, f.Capability) {
			return "", fmt.Errorf("module imports %s.%s: capability %q is not granted", module, name, f.Capability)
		}
		return f.Capability, nil
	}
	return "", fmt.Errorf("module imports %q.%q: this gateway has no such function", module, name)
}

// exports are the functions that the host calls, with their types.
var exports = []struct {
	name            string
	params, results []api.ValueType
	optional        bool
}{
	{name: "shield_abi", results: []api.ValueType{api.ValueTypeI32}},
	{
		name:    "shield_call",
		params:  []api.ValueType{api.ValueTypeI32, api.ValueTypeI32},
		results: []api.ValueType{api.ValueTypeI32},
	},
	{name: "_initialize", optional: true},
}

func checkExports(c wazero.CompiledModule) error {
	functions := c.ExportedFunctions()
	for _, e := range exports {
		f, ok := functions[e.name]
		if !ok && e.optional {
			continue
		}
		if !ok {
			return fmt.Errorf("module does not export %s: is it a plugin, built with -buildmode=c-shared?", e.name)
		}
		if !slices.Equal(f.ParamTypes(), e.params) || !slices.Equal(f.ResultTypes(), e.results) {
			return fmt.Errorf("module exports %s with a wrong type", e.name)
		}
	}
	if _, ok := c.ExportedMemories()["memory"]; !ok {
		return fmt.Errorf("module does not export its memory")
	}
	return nil
}

// link makes the modules that the guest may import: WASI, shield_io, and one for each
// capability that it imports.
func (m *Module) link(ctx context.Context) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, m.runtime); err != nil {
		return fmt.Errorf("link WASI: %w", err)
	}
	io := m.runtime.NewHostModuleBuilder(ioModule)
	export(io, "read", readPending)
	export(io, "write", writeReply)
	if _, err := io.Instantiate(ctx); err != nil {
		return fmt.Errorf("link %s: %w", ioModule, err)
	}
	if err := linkMeter(ctx, m.runtime); err != nil {
		return fmt.Errorf("link %s: %w", meter.Module, err)
	}
	for _, capability := range m.imported {
		var module wazero.HostModuleBuilder
		for _, f := range wire.Functions() {
			if f.Capability != capability {
				continue
			}
			if module == nil {
				module = m.runtime.NewHostModuleBuilder(f.Module())
			}
			export(module, f.Name, askHost(f))
		}
		if _, err := module.Instantiate(ctx); err != nil {
			return fmt.Errorf("link capability %s: %w", capability, err)
		}
	}
	return nil
}

// hostFunction is a function of the host: it gets a pointer and a length and returns a
// number, which is a length or one of wire's negative codes.
type hostFunction func(ctx context.Context, mem api.Memory, pointer, length uint32) int32

func export(b wazero.HostModuleBuilder, name string, f hostFunction) {
	two, one := []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, []api.ValueType{api.ValueTypeI32}
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(
		func(ctx context.Context, mod api.Module, stack []uint64) {
			stack[0] = api.EncodeI32(f(ctx, mod.Memory(), api.DecodeU32(stack[0]), api.DecodeU32(stack[1])))
		}), two, one).Export(name)
}
