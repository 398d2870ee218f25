package meter_test

import (
	"encoding/binary"
	"slices"
)

// A small assembler for modules that no compiler would make.

func module(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x01\x00\x00\x00"), slices.Concat(sections...)...)
}

func uleb(n uint64) []byte { return binary.AppendUvarint(nil, n) }

func section(id byte, body ...[]byte) []byte {
	all := slices.Concat(body...)
	return slices.Concat([]byte{id}, uleb(uint64(len(all))), all)
}

// vector is a count and its entries.
func vector(entries ...[]byte) []byte {
	return append(uleb(uint64(len(entries))), slices.Concat(entries...)...)
}

func text(s string) []byte { return append(uleb(uint64(len(s))), s...) }

// function is an entry of the code section: groups of locals, and code without its end.
func function(locals []byte, code ...[]byte) []byte {
	body := slices.Concat(locals, slices.Concat(code...), []byte{0x0b})
	return append(uleb(uint64(len(body))), body...)
}

var noLocals = []byte{0}

func i32(n int64) []byte { return append([]byte{0x41}, sleb(n)...) }

func sleb(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func repeat(n int, code ...byte) []byte { return slices.Repeat(code, n) }

// simple is a module with functions of type () -> () and a memory of one page. Function 0 is exported as
// "f".
func simple(bodies ...[]byte) []byte {
	types := make([][]byte, len(bodies))
	for i := range types {
		types[i] = []byte{0}
	}
	return module(
		section(1, vector([]byte{0x60, 0, 0})),
		section(3, vector(types...)),
		section(4, []byte{1, 0x70, 0, 20}),
		section(5, []byte{1, 0, 1}),
		section(7, vector(slices.Concat(text("f"), []byte{0, 0}))),
		section(10, vector(bodies...)),
	)
}

// loop is a loop of n turns around code, counted in a local of type i32.
func loop(n int64, local byte, code ...[]byte) []byte {
	return slices.Concat(
		i32(n), []byte{0x21, local, 0x03, 0x40},
		slices.Concat(code...),
		[]byte{0x20, local, 0x41, 1, 0x6b, 0x22, local, 0x0d, 0, 0x0b},
	)
}
