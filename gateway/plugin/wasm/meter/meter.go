// Package meter rewrites a WASM module so that it pays for what it does. A global that the
// module cannot name holds fuel; code takes from it as it goes, and when it runs out, calls
// an added import that grants more or ends the call. That is where the host looks at
// deadlines and budgets, and where Go's collector can stop a guest that loops.
//
// Fuel is counted in units of about one simple instruction. It is paid at loop heads, at
// function entries and at the latest every [stride] instructions in between, in
// constants that are known before the module runs:
//
//   - a loop head pays for the longest way through the loop's body to its next turn,
//   - a function's entry pays for the call, for its locals, and for the longest way from the
//     last payment to a return,
//   - straight code pays for what was executed since the last payment on the longest way
//     that leads there.
//
// So a module never executes more than it has paid for by more than about one stride, and
// it may pay several times too much where a loop has short and long ways. It costs the same to take 1
// or 64 from a global; taking 1 at loop heads and entries alone would have been simpler, but then a
// function of 100,000 straight instructions costs as much as an empty one, and the time between
// two looks at the deadline is anything.
//
// An instruction whose cost is in an operand (memory.fill, memory.copy, table.grow and the
// like) pays by that operand. A call of an imported function pays what [Options.Call] says, also when it
// is called through a table: references to imports are led through added functions that pay.
//
// Parsing is strict: what this package reads in another way than the runtime could hide a
// loop. So only the canonical form of everything is accepted whose reading is not plain, and only
// WebAssembly 2.0; whatever else there is, known or not, is refused by name and offset. Types are not
// checked: the rewritten module must still be validated by the runtime. But indices are, against what the
// original declares, so that nothing becomes valid by what is added here, and so are all counts,
// so that decoding the module afterwards takes memory in proportion to its size.
package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The import that is added. Its type is (i64) -> i64: it gets what is left of the fuel, which is
// negative, and returns the new fuel.
const (
	Module   = "shield_meter"
	Function = "refill"
)

// Options say what is not in the module.
type Options struct {
	// Call returns how much fuel a call of an imported function costs on top of the
	// instruction. Nil means nothing.
	Call func(module, name string) uint32
	// Start is the name under which the start function is exported, for the host to call it
	// once the module is there. If it is empty the runtime calls it.
	Start string
}

// ErrModule is in the chain of every error of [Rewrite].
var ErrModule = errors.New("not a WASM module that can be metered")

// Version is that of what [Rewrite] makes of a module. It rises whenever that changes, since
// rewritten modules are kept; a test sees to it.
const Version = 1

const header = "\x00asm\x01\x00\x00\x00"

// The sections of a module, and the order that they must have.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
	sections
)

var order = []int{
	sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal, sectionExport,
	sectionStart, sectionElement, sectionDataCount, sectionCode, sectionData,
}

// Rewrite returns the metered form of a module. Custom sections are left out: the names of
// functions and the debug information in them are about indices and offsets that have changed.
func Rewrite(module []byte, o Options) ([]byte, error) {
	m := &rewriter{call: o.Call, start: o.Start}
	if err := m.split(module); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModule, err)
	}
	out := make([]byte, 0, len(module)+len(module)/8+256)
	out = append(out, header...)
	for _, id := range order {
		body, err := m.section(id)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrModule, err)
		}
		if body == nil {
			continue
		}
		out = binary.AppendUvarint(append(out, byte(id)), uint64(len(body)))
		out = append(out, body...)
	}
	return out, nil
}

// rewriter is the state of one rewriting. Sections are done in order, so that each finds
// the counts of those before it.
type rewriter struct {
	call  func(module, name string) uint32
	start string            // see Options
	in    [sections]*reader // nil: the module has no such section

	types     []signature
	imported  []uint32 // cost of a call, for each imported function
	functions []uint32 // types of all functions, imported first
	globals   uint32   // of the original, imported first
	foreign   uint32   // those of the globals that are imported

	refill     uint32 // type of the added import
	segments   uint32 // element segments
	references uint64 // functions and expressions in them
	locals     uint64 // of all functions so far
}

// split finds the sections.
func (m *rewriter) split(module []byte) error {
	if len(module) < len(header) || string(module[:len(header)]) != header {
		return errors.New("it does not begin like one")
	}
	r := &reader{b: module, at: len(header)}
	place := 0
	for r.left() > 0 {
		start := r.at
		id := int(r.byte())
		size := r.u32()
		if r.err == nil && uint64(size) > uint64(r.left()) {
			r.fail("section %d is longer than the module", id)
		}
		if r.err != nil {
			return r.err
		}
		end := r.at + int(size)
		if id != sectionCustom {
			next := placeOf(id)
			if next <= place {
				return fmt.Errorf("section %d at offset %d is unknown, out of order or there twice", id, start)
			}
			place = next
			m.in[id] = &reader{b: module[:end], at: r.at}
		}
		r.at = end
	}
	return nil
}

// placeOf returns a section's place in order from 1, or 0 for one that is unknown.
func placeOf(id int) int {
	for i, known := range order {
		if id == known {
			return i + 1
		}
	}
	return 0
}

// section returns the new body of a section, nil for none.
func (m *rewriter) section(id int) ([]byte, error) {
	r := m.in[id]
	if r == nil {
		r = &reader{b: []byte{0}} // an empty vector is the same as no section
		if id == sectionStart || id == sectionDataCount {
			return nil, nil
		}
	}
	w := m.writers()[id]
	out := w(r)
	if r.err == nil && r.left() > 0 {
		r.fail("section %d has %d bytes too many", id, r.left())
	}
	return out, r.err
}

func (m *rewriter) writers() [sections]func(*reader) []byte {
	return [sections]func(*reader) []byte{
		sectionType: m.typeSection, sectionImport: m.importSection, sectionFunction: m.functionSection,
		sectionTable: m.tableSection, sectionMemory: m.memorySection, sectionGlobal: m.globalSection,
		sectionExport: m.exportSection, sectionStart: m.startSection, sectionElement: m.elementSection,
		sectionDataCount: m.dataCountSection, sectionCode: m.codeSection, sectionData: m.dataSection,
	}
}
