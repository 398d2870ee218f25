package plugin

import (
	"context"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/process"
	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/gateway/plugin/wasm"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// module is a plugin that runs, whichever way.
type module interface {
	// Call makes one call. The error is one of package sandbox, or that of ctx.
	Call(ctx context.Context, method wire.Method, in []byte, host sandbox.Host) ([]byte, error)
	// Close waits for the calls that run, or until ctx ends, when it stops them.
	Close(ctx context.Context) error
}

// What some transports can tell of a module beside.
type (
	// importer knows which capabilities the module asks for, whatever its manifest says.
	importer interface{ Capabilities() []sdk.Capability }
	// versioned knows which version of the contract the module speaks, whatever its
	// manifest says.
	versioned interface{ ABI() uint32 }
	// supervised knows that the module is gone for now, as a process can be.
	supervised interface {
		Health() error
		Restarts() uint64
	}
)

// origin is what a module is made from.
type origin struct {
	cfg     config.Provider
	file    file
	granted []sdk.Capability
	prepare sandbox.Prepare
}

// transport starts a module.
type transport func(ctx context.Context, o origin) (module, error)

// open is the transport of the host: the one place that knows which ways there are to run
// a plugin.
func (h *Host) open(ctx context.Context, o origin) (module, error) {
	if o.cfg.IsProcess() {
		return process.Open(ctx, process.Options{
			Name: o.cfg.Name, File: o.cfg.Plugin, Digest: o.file.digest, Granted: o.granted, Memory: int64(o.cfg.MemoryBytes),
			Timeout: o.cfg.Timeout, Wait: o.cfg.Wait, Instances: o.cfg.Instances,
			Dir: h.processDir, Log: h.log, Now: h.now, Prepare: o.prepare,
		})
	}
	return wasm.Open(ctx, wasm.Options{
		Name: o.cfg.Name, Code: o.file.code, Granted: o.granted, Memory: int64(o.cfg.MemoryBytes),
		Timeout: o.cfg.Timeout, Wait: o.cfg.Wait, Instances: o.cfg.Instances,
		Interruption: interruption(o.cfg), Fuel: int64(o.cfg.Fuel) * fuelUnit,
		MaxAge: o.cfg.MaxAge, MaxCalls: o.cfg.MaxCalls, PerCall: o.cfg.Isolation == "per_call", Now: h.now,
		CacheDir: h.cacheDir, Log: h.log, Prepare: o.prepare,
	})
}

// fuelUnit is what the fuel of the configuration is counted in: millions of instructions.
const fuelUnit = 1_000_000

func interruption(cfg config.Provider) wasm.Interruption {
	if cfg.Interruption == "deadline" {
		return wasm.Deadline
	}
	return wasm.Metered
}
