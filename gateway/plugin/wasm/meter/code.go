package meter

import (
	"encoding/binary"
	"math"
)

// Costs in fuel.
const (
	stride     = 64     // the most straight work between two payments
	owed       = 16     // debts below this are paid by the next loop head instead of in front of it
	callCost   = 4      // of a function's entry and return
	growCost   = 10_000 // of memory.grow, which may move the whole memory
	byteShift  = 3      // eight bytes of a bulk instruction cost one unit; an element of a table also
	localShift = 2      // locals are set to zero, four for a unit
)

// An edit replaces bytes of a function's body.
type edit struct {
	at, end int // what is replaced, in offsets of the file
	kind    int
	n       uint64 // of pay: fuel; of number: the number
}

const (
	pay     = iota // insert a payment
	payBulk        // insert a payment by the number on top of the stack, an i32
	number         // replace a number
)

// frame is a block that is open.
type frame struct {
	op    byte // of the block; 0 for the function itself
	edit  int  // of a loop and of the function: its payment
	start int  // of an if: the debt at its condition
	in    int  // the largest debt of those who branch to the label
}

// body is the state of rewriting one function.
type body struct {
	m      *rewriter
	r      *reader
	locals uint32
	edits  []edit
	frames []frame
	debt   int // what the longest way here has not paid
	text   []byte
}

func (m *rewriter) codeSection(r *reader) []byte {
	count := r.count(maxFunctions, "bodies")
	thunks := len(m.imported)
	if declared := len(m.functions) - thunks; r.err == nil && int(count) != declared {
		r.fail("%d bodies for %d functions", count, declared)
	}
	if r.err != nil {
		return nil
	}
	out := make([]byte, 0, r.left()+r.left()/8+64)
	out = binary.AppendUvarint(out, uint64(count)+uint64(thunks))
	b := &body{m: m}
	for i := range count {
		out = b.rewrite(r, m.types[m.functions[thunks+int(i)]], out)
		if r.err != nil {
			return nil
		}
	}
	for i, cost := range m.imported {
		out = m.thunk(uint32(i), cost, out)
	}
	return out
}

// thunk appends a function that calls an imported one and pays for it.
func (m *rewriter) thunk(index, cost uint32, out []byte) []byte {
	code := []byte{0} // no locals
	for i := range m.types[m.functions[index]].params {
		code = binary.AppendUvarint(append(code, opLocalGet), uint64(i))
	}
	code = binary.AppendUvarint(append(code, opCall), uint64(index))
	code = m.payment(code, uint64(cost)+callCost)
	code = append(code, opEnd)
	return append(binary.AppendUvarint(out, uint64(len(code))), code...)
}

// rewrite appends the metered form of a function.
func (b *body) rewrite(r *reader, t signature, out []byte) []byte {
	size := r.u32()
	if size > maxBody {
		r.fail("a function has %d bytes, at most %d are allowed", size, maxBody)
	}
	if uint64(size) > uint64(r.left()) {
		r.fail("a function is longer than its section")
	}
	if r.err != nil {
		return nil
	}
	whole := r.b
	r.b = whole[:r.at+int(size)]
	groups, declared, locals := b.m.localTypes(r)
	b.r, b.locals = r, uint32(len(t.params))+locals
	start := r.at
	b.walk(locals)
	if r.err != nil {
		return nil
	}
	end := r.at
	r.b = whole
	return b.emit(groups, declared, whole[start:end], start, out)
}

// localTypes reads the locals of a function: their groups, the bytes of these, and how many they are.
func (m *rewriter) localTypes(r *reader) (groups uint32, declared []byte, locals uint32) {
	groups = r.count(maxLocals, "groups of locals")
	from := r.at
	var n uint64
	for range groups {
		n += uint64(r.u32())
		r.valueType()
	}
	m.locals += n
	if n > maxLocals || m.locals > maxAllLocals {
		r.fail("%d locals, %d in all functions so far", n, m.locals)
		return 0, nil, 0
	}
	return groups, r.b[from:r.at], uint32(n)
}

// walk reads the instructions of a function up to its end and collects the edits.
func (b *body) walk(locals uint32) {
	b.edits, b.frames, b.debt = b.edits[:0], b.frames[:0], 0
	b.insert(pay, callCost+uint64(locals>>localShift))
	b.frames = append(b.frames, frame{edit: 0})
	for len(b.frames) > 0 && b.r.err == nil {
		b.instruction()
		if b.debt >= stride && len(b.frames) > 0 {
			b.insert(pay, uint64(b.debt))
			b.debt = 0
		}
	}
	if b.r.err == nil && b.r.left() > 0 {
		b.r.fail("%d bytes after the end of a function", b.r.left())
	}
}

func (b *body) insert(kind int, n uint64) {
	b.edits = append(b.edits, edit{at: b.r.at, end: b.r.at, kind: kind, n: n})
}

// index reads the index of a function and replaces it.
func (b *body) function(place func(uint32) uint32) uint32 {
	at := b.r.at
	index := b.r.function(b.m)
	b.edits = append(b.edits, edit{at: at, end: b.r.at, kind: number, n: uint64(place(index))})
	return index
}

func (b *body) instruction() {
	r := b.r
	at := r.at
	op := r.byte()
	b.debt += costOf(op)
	switch {
	case op >= opPlainFirst && op <= opPlainLast:
	case op >= opLocalGet && op <= opLocalTee:
		r.index(b.locals, "local")
	case op >= opMemoryFirst && op <= opMemoryLast:
		r.memory()
	case op <= opCallIndirect:
		b.control(op, at)
	case op == 0x1a, op == 0x1b, op == opRefIsNull: // drop, select
	case op == opSelectTyped:
		r.want(1, "the number of types of a select")
		r.valueType()
	case op == opGlobalGet, op == opGlobalSet:
		r.index(b.m.globals, "global")
	case op == opTableGet, op == opTableSet:
		r.u32()
	case op == opMemorySize:
		r.want(0, "the memory of memory.size")
	case op == opMemoryGrow:
		b.debt += growCost
		r.want(0, "the memory of memory.grow")
	case op == opI32Const:
		r.skipSigned(5)
	case op == opI64Const:
		r.skipSigned(10)
	case op == opF32Const:
		r.bytes(4)
	case op == opF64Const:
		r.bytes(8)
	case op == opRefNull:
		r.referenceType()
	case op == opRefFunc:
		b.function(b.m.reference)
	case op == opMisc:
		b.misc(at)
	case op == opVector:
		r.vector()
	default:
		r.at = at
		r.fail("instruction %#x is unknown", op)
	}
}

// misc reads an instruction behind opMisc, which begins at an offset.
func (b *body) misc(at int) {
	r := b.r
	op := r.u32()
	switch op {
	case miscMemoryInit:
		r.u32()
		r.want(0, "the memory of memory.init")
		b.payBulk(at, byteShift)
	case miscDataDrop:
		r.u32()
	case miscMemoryCopy:
		r.want(0, "the memory of memory.copy")
		r.want(0, "the memory of memory.copy")
		b.payBulk(at, byteShift)
	case miscMemoryFill:
		r.want(0, "the memory of memory.fill")
		b.payBulk(at, byteShift)
	case miscTableInit:
		r.index(b.m.segments, "element segment")
		r.u32()
		b.payBulk(at, 0)
	case miscElemDrop:
		r.index(b.m.segments, "element segment")
	case miscTableCopy:
		r.u32()
		r.u32()
		b.payBulk(at, 0)
	case miscTableGrow, miscTableFill:
		r.u32()
		b.payBulk(at, 0)
	case miscTableSize:
		r.u32()
	default:
		if op >= miscMemoryInit {
			r.at = at
			r.fail("instruction 0xfc %#x is unknown", op)
		}
	}
}

// payBulk inserts a payment in front of an instruction.
func (b *body) payBulk(at, shift int) {
	b.edits = append(b.edits, edit{at: at, end: at, kind: payBulk, n: uint64(shift)})
}

// control reads an instruction that begins or ends a block, or leaves one.
func (b *body) control(op byte, at int) {
	r := b.r
	switch op {
	case opUnreachable:
		b.debt = 0
	case 0x01: // nop
	case opBlock, opIf:
		r.blockType(b.m.typeCount())
		b.push(frame{op: op, start: b.debt})
	case opLoop:
		b.loop(at)
	case opElse:
		b.otherwise()
	case opEnd:
		b.end()
	case opBr:
		b.branch(r.u32())
		b.debt = 0
	case opBrIf:
		b.branch(r.u32())
	case opBrTable:
		for range r.count(maxLabels, "labels") {
			b.branch(r.u32())
		}
		b.branch(r.u32())
		b.debt = 0
	case opReturn:
		b.branch(uint32(len(b.frames) - 1))
		b.debt = 0
	case opCall:
		if index := b.function(b.m.function); index < uint32(len(b.m.imported)) {
			b.debt += int(b.m.imported[index])
		}
	case opCallIndirect:
		r.index(b.m.typeCount(), "type")
		r.u32()
		b.debt += callCost
	default:
		r.at = at
		r.fail("instruction %#x is unknown", op)
	}
}

func (b *body) push(f frame) {
	if len(b.frames) > maxDepth {
		b.r.fail("more than %d nested blocks", maxDepth)
	}
	b.frames = append(b.frames, f)
}

// loop begins a loop. What is owed at it is paid in front of it, or by its head each turn if that is
// little.
func (b *body) loop(at int) {
	if b.debt >= owed {
		b.edits = append(b.edits, edit{at: at, end: at, kind: pay, n: uint64(b.debt)})
		b.debt = 0
	}
	b.r.blockType(b.m.typeCount())
	b.push(frame{op: opLoop, edit: len(b.edits)})
	b.insert(pay, uint64(1+b.debt))
	b.debt = 0
}

func (b *body) otherwise() {
	f := &b.frames[len(b.frames)-1]
	if f.op != opIf {
		b.r.fail("else without if")
		return
	}
	f.op = opElse
	f.in = max(f.in, b.debt)
	b.debt = f.start
}

func (b *body) end() {
	f := b.frames[len(b.frames)-1]
	b.frames = b.frames[:len(b.frames)-1]
	switch f.op {
	case opLoop:
		b.edits[f.edit].n += uint64(f.in)
		return
	case 0:
		b.edits[f.edit].n += uint64(max(f.in, b.debt))
		return
	case opIf: // without else
		b.debt = max(b.debt, f.start)
	}
	b.debt = max(b.debt, f.in)
}

func (b *body) branch(label uint32) {
	if uint64(label) >= uint64(len(b.frames)) {
		b.r.fail("label %d does not exist", label)
		return
	}
	f := &b.frames[len(b.frames)-1-int(label)]
	f.in = max(f.in, b.debt)
}

// emit appends the function with its edits. The code began at an offset of the file.
func (b *body) emit(groups uint32, declared, code []byte, start int, out []byte) []byte {
	text := b.text[:0]
	if b.needsLocal() {
		text = append(binary.AppendUvarint(text, uint64(groups)+1), declared...)
		text = append(text, 1, typeI32)
	} else {
		text = append(binary.AppendUvarint(text, uint64(groups)), declared...)
	}
	at := start
	for _, e := range b.edits {
		text = append(text, code[at-start:e.at-start]...)
		switch e.kind {
		case pay:
			text = b.m.payment(text, e.n)
		case payBulk:
			text = b.m.bulkPayment(text, b.locals, byte(e.n))
		case number:
			text = binary.AppendUvarint(text, e.n)
		}
		at = e.end
	}
	b.text = append(text, code[at-start:]...)
	return append(binary.AppendUvarint(out, uint64(len(b.text))), b.text...)
}

func (b *body) needsLocal() bool {
	for _, e := range b.edits {
		if e.kind == payBulk {
			return true
		}
	}
	return false
}

// payment appends code that takes fuel and asks for more if there is none left.
func (m *rewriter) payment(out []byte, n uint64) []byte {
	out = binary.AppendUvarint(append(out, opGlobalGet), uint64(m.globals))
	out = appendSigned(append(out, opI64Const), int64(min(n, math.MaxInt32)))
	return m.settle(out)
}

// bulkPayment appends code that takes fuel by the number on top of the stack, which it leaves there.
func (m *rewriter) bulkPayment(out []byte, local uint32, shift byte) []byte {
	out = binary.AppendUvarint(append(out, opLocalTee), uint64(local))
	out = binary.AppendUvarint(append(out, opGlobalGet), uint64(m.globals))
	out = binary.AppendUvarint(append(out, opLocalGet), uint64(local))
	if shift > 0 {
		out = append(out, opI32Const, shift, opI32ShrU)
	}
	return m.settle(append(out, opI64ExtendI32))
}

// settle appends the end of a payment: the fuel and what is to be taken are on the stack.
func (m *rewriter) settle(out []byte) []byte {
	fuel := uint64(m.globals)
	out = binary.AppendUvarint(append(out, opI64Sub, opGlobalSet), fuel)
	out = binary.AppendUvarint(append(out, opGlobalGet), fuel)
	out = append(out, opI64Const, 0, opI64LtS, opIf, blockEmpty)
	out = binary.AppendUvarint(append(out, opGlobalGet), fuel)
	out = binary.AppendUvarint(append(out, opCall), uint64(len(m.imported)))
	out = binary.AppendUvarint(append(out, opGlobalSet), fuel)
	return append(out, opEnd)
}

// appendSigned appends a number in signed LEB128.
func appendSigned(out []byte, n int64) []byte {
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}
