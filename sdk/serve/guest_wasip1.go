package serve

import (
	"context"
	"os"
	"unsafe"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// guest is the one provider of this module. It is a global because what a module exports
// are functions without a receiver.
var guest Plugin

// Provider makes p the provider of this plugin. Call it once.
func Provider(p sdk.Provider) *Plugin {
	guest.provider = p
	return &guest
}

// Main is the main function of a plugin that runs as a process. A module whose main runs was
// not built as the library that the gateway needs: it says so and exits with status 2.
func (*Plugin) Main() {
	_, _ = os.Stderr.WriteString("This is a plugin of Shield, built as a program. Build it with -buildmode=c-shared, " +
		"and name the file in the gateway's configuration.\n")
	os.Exit(2)
}

//go:wasmimport shield_io read
func ioRead(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_io write
func ioWrite(p unsafe.Pointer, n uint32) int32

//go:wasmexport shield_abi
func shieldABI() int32 { return sdk.ABI }

//go:wasmexport shield_call
func shieldCall(method, length int32) int32 {
	if guest.provider == nil {
		return int32(wire.StatusNoProvider)
	}
	in := pull(length)
	// The deadline is the gateway's: it stops the module.
	out, status := dispatch(context.Background(), guest.provider, host{}, wire.Method(method), in)
	if len(out) > 0 {
		ioWrite(unsafe.Pointer(unsafe.SliceData(out)), uint32(len(out)))
	}
	return int32(status)
}

// pull takes what the gateway holds ready, which is n bytes.
func pull(n int32) []byte {
	if n <= 0 {
		return nil
	}
	b := make([]byte, n)
	got := ioRead(unsafe.Pointer(unsafe.SliceData(b)), uint32(n))
	return b[:max(got, 0)]
}
