// Package hostile makes plugins that attack the gateway, for tests.
//
// The module of [Acts] does what the fields "act" and "arg" of its login form "act" say:
//
//	loop, recursion N, deep, hoard, hoard and loop, trap, exit CODE, sleep    to hold the gateway
//	pointer, length, both, garbage, large garbage                             at each function of the host
//	flood log, flood stderr, insist, fill kv, large, million fields           to fill it up
//	read key KEY, write key KEY, fetch URL                                    what it may not reach
//	other issuer S, other subject S, long subject, other email S,             what it may not say
//	reserved claim NAME, many attributes, million elements,
//	other flow ID, undecodable, truncated, silent, status N
//	echo TEXT                                                                 that it is alive
//
// Those of [Load] attack before they are asked anything.
package hostile

import (
	"fmt"
	"path/filepath"

	"github.com/materi/shield/gateway/plugin/wasmtest"
)

// Attack is one of those of [Load].
type Attack int

// The attacks while a module is loaded. They are those of testdata/load.c.
const (
	TrapInDescribe Attack = iota + 1
	LoopInDescribe
	TrapInConfigure
	LoopAtStart
	TrapAtStart
	ExitAtStart
	ExitInABI
	LoopInABI
	GarbageManifest
	HugeManifest
	EmptyManifest
	ABIOfTomorrow
	ABIOfNever
	AsksInDescribe
	UnknownImport
	OpensASocket
	NotDeclared // it uses kv, and does not name it in its manifest
)

// Attacks is how many there are.
const Attacks = int(NotDeclared)

// Acts compiles the module that does what it is told into the directory dir and returns the
// name of the file.
func Acts(dir string) (string, error) {
	source, err := source("hostile.c")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "hostile.wasm")
	return file, wasmtest.Clang(file, source)
}

// Load compiles the module of an attack into the directory dir and returns the name of the
// file.
func Load(dir string, a Attack) (string, error) {
	source, err := source("load.c")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, fmt.Sprintf("load-%d.wasm", a))
	return file, wasmtest.Clang(file, fmt.Sprintf("-DATTACK=%d", a), source)
}

func source(name string) (string, error) {
	root, err := wasmtest.Root()
	return filepath.Join(root, "gateway/plugin/hostile/testdata", name), err
}

// Memory returns a module that is complete but for its memory, of which it declares that it
// needs all that 32 bits can address from the start.
func Memory() []byte {
	return []byte("\x00asm\x01\x00\x00\x00" +
		"\x01\x0b\x02\x60\x00\x01\x7f\x60\x02\x7f\x7f\x01\x7f" + // types: () -> i32, (i32, i32) -> i32
		"\x03\x03\x02\x00\x01" + // functions
		"\x05\x05\x01\x00\x80\x80\x04" + // memory: at least 65536 pages
		"\x07\x25\x03\x06memory\x02\x00\x0ashield_abi\x00\x00\x0bshield_call\x00\x01" +
		"\x0a\x0b\x02\x04\x00\x41\x02\x0b\x04\x00\x41\x00\x0b") // code: 2, and 0
}
