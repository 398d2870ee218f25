package meter

import (
	"encoding/binary"
	"slices"
)

// Bounds of what a module may declare. Each is far from what compilers make, and keeps what
// the runtime allocates for a declaration in proportion to the bytes that make it.
const (
	maxTypes      = 20_000
	maxValues     = 1_000  // parameters of one type, and results
	maxImports    = 10_000 // also a bound of the functions that are added
	maxFunctions  = 500_000
	maxTables     = 16
	maxGlobals    = 100_000
	maxExports    = 100_000
	maxSegments   = 100_000   // of elements, and of data
	maxReferences = 1 << 20   // in all element segments
	maxBody       = 8 << 20   // bytes of one function
	maxLocals     = 50_000    // of one function
	maxAllLocals  = 4_000_000 // of all functions: a declaration of 50,000 takes four bytes
	maxLabels     = 100_000   // of one br_table
	maxDepth      = 100_000   // of nested blocks
)

// signature is a function type.
type signature struct{ params, results []byte }

func (m *rewriter) typeSection(r *reader) []byte {
	count := r.count(maxTypes, "types")
	from := r.at
	refill := count
	for i := range count {
		r.want(typeFunction, "the form of a type")
		s := signature{params: r.valueTypes(), results: r.valueTypes()}
		m.types = append(m.types, s)
		if refill == count && string(s.params) == "\x7e" && string(s.results) == "\x7e" {
			refill = i
		}
	}
	m.refill = refill
	if refill < count {
		return counted(count, r.b[from:r.at])
	}
	return append(counted(count+1, r.b[from:r.at]), typeFunction, 1, typeI64, 1, typeI64)
}

func (r *reader) valueTypes() []byte {
	count := r.count(maxValues, "values")
	from := r.at
	for range count {
		r.valueType()
	}
	if r.err != nil {
		return nil
	}
	return r.b[from:r.at]
}

// counted is a vector: a count and its entries.
func counted(count uint32, entries []byte) []byte {
	return append(binary.AppendUvarint(make([]byte, 0, len(entries)+16), uint64(count)), entries...)
}

// typeCount is a count of what the original declares: the type that was added is not in it.
func (m *rewriter) typeCount() uint32 { return uint32(len(m.types)) }

// importSection adds the import as the last one, so that other imports keep their indices.
func (m *rewriter) importSection(r *reader) []byte {
	count := r.count(maxImports, "imports")
	from := r.at
	for range count {
		module, name := r.name(), r.name()
		if module == Module {
			r.fail("import of %s.%s: that module is the host's own", module, name)
		}
		switch kind := r.byte(); kind {
		case externFunction:
			m.functions = append(m.functions, r.index(m.typeCount(), "type"))
			m.imported = append(m.imported, m.cost(module, name))
		case externTable:
			r.referenceType()
			r.limits()
		case externMemory:
			r.limits()
		case externGlobal:
			r.valueType()
			r.mutability()
			m.globals++
		default:
			r.at--
			r.fail("import of kind %#x is unknown", kind)
		}
	}
	m.foreign = m.globals
	out := counted(count+1, r.b[from:r.at])
	out = append(append(out, byte(len(Module))), Module...)
	out = append(append(out, byte(len(Function))), Function...)
	return binary.AppendUvarint(append(out, externFunction), uint64(m.refill))
}

func (m *rewriter) cost(module, name string) uint32 {
	if m.call == nil {
		return 0
	}
	return m.call(module, name)
}

// What is imported or exported.
const (
	externFunction = iota
	externTable
	externMemory
	externGlobal
)

func (r *reader) name() string { return string(r.bytes(uint64(r.u32()))) }

// functionSection adds the functions that references to imports are led through.
func (m *rewriter) functionSection(r *reader) []byte {
	count := r.count(maxFunctions, "functions")
	from := r.at
	for range count {
		m.functions = append(m.functions, r.index(m.typeCount(), "type"))
	}
	out := counted(count+uint32(len(m.imported)), r.b[from:r.at])
	for i := range m.imported {
		out = binary.AppendUvarint(out, uint64(m.functions[i]))
	}
	return out
}

// function returns the new index of a function.
func (m *rewriter) function(index uint32) uint32 {
	if index < uint32(len(m.imported)) {
		return index
	}
	return index + 1
}

// reference returns the new index of a function that is to be called through a table: an
// imported one is called by its thunk, which pays.
func (m *rewriter) reference(index uint32) uint32 {
	if index < uint32(len(m.imported)) {
		return uint32(len(m.functions)) + 1 + index
	}
	return index + 1
}

func (r *reader) function(m *rewriter) uint32 {
	return r.index(uint32(len(m.functions)), "function")
}

func (m *rewriter) tableSection(r *reader) []byte {
	from := r.at
	for range r.count(maxTables, "tables") {
		r.referenceType()
		r.limits()
	}
	return r.since(from)
}

func (m *rewriter) memorySection(r *reader) []byte {
	from := r.at
	for range r.count(1, "memories") {
		r.limits()
	}
	return r.since(from)
}

// since returns what was read from an offset on, or nil for the empty vector.
func (r *reader) since(from int) []byte {
	if r.err != nil || r.at-from == 1 && r.b[from] == 0 {
		return nil
	}
	return r.b[from:r.at]
}

// globalSection adds the fuel as the last global. It is empty, so that the first
// instruction of the module asks for more.
func (m *rewriter) globalSection(r *reader) []byte {
	count := r.count(maxGlobals, "globals")
	out := counted(count+1, nil)
	for range count {
		from := r.at
		r.valueType()
		r.mutability()
		out = append(out, r.b[from:r.at]...)
		out = m.constant(r, out)
		m.globals++
	}
	return append(out, typeI64, 1, opI64Const, 0, opEnd)
}

// constant copies a constant expression: one instruction and its end.
func (m *rewriter) constant(r *reader, out []byte) []byte {
	from := r.at
	op := r.byte()
	switch op {
	case opI32Const:
		r.skipSigned(5)
	case opI64Const:
		r.skipSigned(10)
	case opF32Const:
		r.bytes(4)
	case opF64Const:
		r.bytes(8)
	case opVector:
		r.want(vectorConst, "the vector instruction of a constant expression")
		r.bytes(16)
	case opGlobalGet:
		r.index(m.foreign, "imported global")
	case opRefNull:
		r.referenceType()
	case opRefFunc:
		index := r.function(m)
		out = binary.AppendUvarint(append(out, opRefFunc), uint64(m.reference(index)))
		r.want(opEnd, "the end of a constant expression")
		return append(out, opEnd)
	default:
		r.at = from
		r.fail("instruction %#x is not allowed in a constant expression", op)
	}
	r.want(opEnd, "the end of a constant expression")
	return append(out, r.b[from:r.at]...)
}

func (m *rewriter) exportSection(r *reader) []byte {
	count := r.count(maxExports, "exports")
	start := m.exportedStart(r)
	if count == 0 && start == nil {
		return nil
	}
	total := count
	if start != nil {
		total++
	}
	out := counted(total, start)
	for range count {
		from := r.at
		if r.name() == m.start && start != nil {
			r.fail("export %q: that name is the host's own", m.start)
		}
		kind := r.byte()
		out = append(out, r.b[from:r.at]...)
		var index uint32
		switch kind {
		case externFunction:
			index = m.function(r.function(m))
		case externGlobal:
			index = r.index(m.globals, "global")
		case externTable, externMemory:
			index = r.u32()
		default:
			r.at--
			r.fail("export of kind %#x is unknown", kind)
		}
		out = binary.AppendUvarint(out, uint64(index))
	}
	return out
}

// exportedStart is the export of the start function, nil if there is none to export.
func (m *rewriter) exportedStart(r *reader) []byte {
	section := m.in[sectionStart]
	if m.start == "" || section == nil || r.err != nil {
		return nil
	}
	peek := *section
	index := peek.function(m)
	if peek.err != nil {
		r.err = peek.err
		return nil
	}
	if t := m.types[m.functions[index]]; len(t.params)+len(t.results) > 0 {
		r.fail("the start function has parameters or results")
		return nil
	}
	out := append(binary.AppendUvarint(nil, uint64(len(m.start))), m.start...)
	return binary.AppendUvarint(append(out, externFunction), uint64(m.function(index)))
}

func (m *rewriter) startSection(r *reader) []byte {
	index := m.function(r.function(m))
	if m.start != "" {
		return nil
	}
	return binary.AppendUvarint(nil, uint64(index))
}

// elementSection adds a segment that declares the thunks, without which the runtime refuses
// references to them.
func (m *rewriter) elementSection(r *reader) []byte {
	m.segments = r.count(maxSegments, "element segments")
	thunks := len(m.imported)
	if m.segments == 0 && thunks == 0 {
		return nil
	}
	var out []byte
	for range m.segments {
		out = m.elements(r, out)
	}
	if thunks == 0 {
		return counted(m.segments, out)
	}
	out = binary.AppendUvarint(append(out, elementDeclared, 0), uint64(thunks))
	for i := range m.imported {
		out = binary.AppendUvarint(out, uint64(m.reference(uint32(i))))
	}
	return counted(m.segments+1, out)
}

// The bits of an element segment's form; a segment that is neither active nor declared is
// passive. In an active one the second bit says that it names its table.
const (
	elementInactive    = 1
	elementNamed       = 2
	elementExpressions = 4
	elementDeclared    = elementInactive | elementNamed
)

// elements copies an element segment.
func (m *rewriter) elements(r *reader, out []byte) []byte {
	form := r.u32()
	if form > elementDeclared|elementExpressions {
		r.fail("element segment of form %#x is unknown", form)
		return out
	}
	out = append(out, byte(form))
	if form&elementInactive == 0 {
		if form&elementNamed != 0 {
			out = binary.AppendUvarint(out, uint64(r.u32()))
		}
		out = m.constant(r, out)
	}
	expressions := form&elementExpressions != 0
	if form&elementDeclared != 0 {
		from := r.at
		if expressions {
			r.referenceType()
		} else {
			r.want(0, "the kind of an element segment")
		}
		out = append(out, r.b[min(from, r.at):r.at]...)
	}
	count := r.count(maxReferences, "elements")
	if m.references += uint64(count); m.references > maxReferences {
		r.fail("more than %d elements", maxReferences)
	}
	out = binary.AppendUvarint(out, uint64(count))
	for range count {
		if r.err != nil {
			break
		}
		if expressions {
			out = m.constant(r, out)
			continue
		}
		out = binary.AppendUvarint(out, uint64(m.reference(r.function(m))))
	}
	return out
}

func (m *rewriter) dataCountSection(r *reader) []byte {
	count := r.u32()
	if count > maxSegments {
		r.fail("%d data segments, at most %d are allowed", count, maxSegments)
	}
	return binary.AppendUvarint(nil, uint64(count))
}

func (m *rewriter) dataSection(r *reader) []byte {
	count := r.count(maxSegments, "data segments")
	if count == 0 && m.in[sectionData] == nil {
		return nil
	}
	out := slices.Grow(counted(count, nil), r.left())
	for range count {
		form := r.u32()
		out = append(out, byte(form))
		switch form {
		case 0:
			out = m.constant(r, out)
		case 1:
		case 2:
			out = binary.AppendUvarint(out, uint64(r.u32()))
			out = m.constant(r, out)
		default:
			r.fail("data segment of form %#x is unknown", form)
		}
		size := r.u32()
		out = append(binary.AppendUvarint(out, uint64(size)), r.bytes(uint64(size))...)
	}
	return out
}
