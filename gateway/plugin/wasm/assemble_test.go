package wasm

import (
	"encoding/binary"
	"io"
	"log/slog"
)

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// A small assembler: enough of the binary format to write modules that no compiler would.
// Every function has the type (i32, i32) -> i32 but shield_abi, which takes nothing, the start
// function, and imports that say otherwise.

const (
	i32        = 0x7f
	opEnd      = 0x0b
	opDrop     = 0x1a
	opConst    = 0x41
	opCall     = 0x10
	opLoop     = 0x03
	opBr       = 0x0c
	opTrap     = 0x00
	typePair   = 0 // (i32, i32) -> i32
	typeNone   = 1 // () -> i32
	typeStart  = 2 // () -> ()
	typeFour   = 3 // (i32, i32, i32, i32) -> i32
	typeExit   = 4 // (i32) -> ()
	blockEmpty = 0x40
)

// asm is a module under construction; imported functions come first in the index space.
type asm struct {
	imports []imported
	abi     []byte
	call    []byte
	start   []byte // start section: runs while the module is instantiated
	memory  uint64 // pages
	table   []byte // table section, nil for none
	exports []string
}

type imported struct {
	module, name string
	kind         byte // of its types
}

type part func(*asm)

// tiny assembles a module.
func tiny(parts ...part) []byte {
	a := &asm{memory: 1, exports: []string{"memory", "shield_abi", "shield_call"}}
	for _, p := range parts {
		p(a)
	}
	return a.bytes()
}

func imports(module, name string) part { return importsAs(module, name, typePair) }

func importsAs(module, name string, kind byte) part {
	return func(a *asm) { a.imports = append(a.imports, imported{module, name, kind}) }
}

func abiIs(n int64) part { return func(a *asm) { a.abi = constant(n) } }

// callDoes is the body of shield_call; nil returns 0.
func callDoes(body []byte) part {
	return func(a *asm) {
		a.call = body
		if body == nil {
			a.call = constant(0)
		}
	}
}

func uleb(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// constant is i32.const n.
func constant(n int64) []byte {
	out := []byte{opConst}
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func section(id byte, body []byte) []byte {
	return join([]byte{id}, uleb(uint64(len(body))), body)
}

func text(s string) []byte { return join(uleb(uint64(len(s))), []byte(s)) }

func (a *asm) bytes() []byte {
	n := uint64(len(a.imports))
	imported := uleb(n)
	for _, i := range a.imports {
		imported = join(imported, text(i.module), text(i.name), []byte{0, i.kind})
	}
	functions, bodies := []byte{2, typeNone, typePair}, [][]byte{a.abi, a.call}
	if a.start != nil {
		functions = []byte{3, typeNone, typePair, typeStart}
		bodies = append(bodies, a.start)
	}
	code := uleb(uint64(len(bodies)))
	for _, body := range bodies {
		body = join([]byte{0}, body, []byte{opEnd})
		code = join(code, uleb(uint64(len(body))), body)
	}
	exported := uleb(uint64(len(a.exports)))
	for _, name := range a.exports {
		kind, index := byte(0), n
		switch name {
		case "memory":
			kind, index = 2, 0
		case "shield_call":
			index = n + 1
		}
		exported = join(exported, text(name), []byte{kind}, uleb(index))
	}
	types := join([]byte{5}, []byte{0x60, 2, i32, i32, 1, i32}, []byte{0x60, 0, 1, i32}, []byte{0x60, 0, 0},
		[]byte{0x60, 4, i32, i32, i32, i32, 1, i32}, []byte{0x60, 1, i32, 0})
	out := join([]byte("\x00asm\x01\x00\x00\x00"), section(1, types), section(2, imported), section(3, functions))
	if a.table != nil {
		out = join(out, section(4, a.table))
	}
	out = join(out, section(5, join([]byte{1, 0}, uleb(a.memory))), section(7, exported))
	if a.start != nil {
		out = join(out, section(8, uleb(n+2)))
	}
	return join(out, section(10, code))
}

// recursive is a module whose shield_call(a, b) calls itself as fib(n) does, without a loop: it returns 0
// from fib(n) of its first parameter, or of n where that is the method of a call.
func recursive(n int64) []byte {
	// The second parameter is n+1 within the recursion and the length of the request, 0, at
	// the entry.
	again := func(less int64) []byte {
		return join(constant(0), []byte{0x20, 1}, constant(less), []byte{0x6b, opCall, 1})
	}
	body := join(
		[]byte{0x20, 1, 0x45, 0x04, blockEmpty}, constant(n+1), []byte{0x21, 1, opEnd}, // b == 0: b = n + 1
		[]byte{0x20, 1}, constant(3), []byte{0x48, 0x04, i32}, constant(0), // n < 2: 0
		[]byte{0x05}, again(1), again(2), []byte{0x6a, opEnd},
	)
	return tiny(abiIs(1), callDoes(body))
}

// filling is a module that fills 16 MiB of memory for ever.
func filling() []byte {
	fill := join(constant(0), constant(0), constant(16<<20), []byte{0xfc, 11, 0})
	return tiny(abiIs(1), callDoes(join([]byte{opLoop, blockEmpty}, fill, []byte{opBr, 0, opEnd}, constant(0))),
		func(a *asm) { a.memory = 256 })
}

// deep is a module that recurses a hundred thousand calls deep and loops there for ever.
func deep() []byte {
	body := join(
		[]byte{0x20, 1, 0x45, 0x04, blockEmpty}, constant(100_000), []byte{0x21, 1, opEnd},
		[]byte{0x20, 1}, constant(1), []byte{0x46, 0x04, blockEmpty, opLoop, blockEmpty, opBr, 0, opEnd, opEnd},
		constant(0), []byte{0x20, 1}, constant(1), []byte{0x6b, opCall, 1},
	)
	return tiny(abiIs(1), callDoes(body))
}
