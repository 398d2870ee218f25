package meter

// Instructions that are more than a byte to this package.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemoryFirst  = 0x28 // i32.load
	opMemoryLast   = 0x3e // i64.store32
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI64LtS       = 0x53
	opPlainFirst   = 0x45 // i32.eqz: from here on without operands in the code
	opPlainLast    = 0xc4 // i64.extend32_s
	opI64Sub       = 0x7d
	opI32ShrU      = 0x76
	opI64ExtendI32 = 0xad // unsigned
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd
)

// Instructions behind opMisc. Those below miscMemoryInit have no operands in the code.
const (
	miscMemoryInit = 0x08
	miscDataDrop   = 0x09
	miscMemoryCopy = 0x0a
	miscMemoryFill = 0x0b
	miscTableInit  = 0x0c
	miscElemDrop   = 0x0d
	miscTableCopy  = 0x0e
	miscTableGrow  = 0x0f
	miscTableSize  = 0x10
	miscTableFill  = 0x11
)

// Instructions behind opVector.
const (
	vectorLoadLast      = 0x0b // with v128.store, from 0 on
	vectorConst         = 0x0c
	vectorShuffle       = 0x0d
	vectorLaneFirst     = 0x15 // extract_lane and replace_lane
	vectorLaneLast      = 0x22
	vectorLoadLaneFirst = 0x54 // load_lane and store_lane
	vectorLoadLaneLast  = 0x5b
	vectorLoadZeroFirst = 0x5c
	vectorLoadZeroLast  = 0x5d
)

// vectorUnknown are the numbers behind opVector that WebAssembly 2.0 leaves free.
var vectorUnknown = [...]byte{
	0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee,
}

// vector reads what follows opVector. The runtime reads the number as one byte and takes the second
// byte of its LEB128 form for a nop, so any other form would be read in two ways.
func (r *reader) vector() {
	op := r.byte()
	if op >= 0x80 {
		r.want(1, "the second byte of a vector instruction")
	}
	for _, unknown := range vectorUnknown {
		if op == unknown {
			r.fail("vector instruction %#x is unknown", op)
		}
	}
	switch {
	case op <= vectorLoadLast, op >= vectorLoadZeroFirst && op <= vectorLoadZeroLast:
		r.memory()
	case op == vectorConst, op == vectorShuffle:
		r.bytes(16)
	case op >= vectorLaneFirst && op <= vectorLaneLast:
		r.byte()
	case op >= vectorLoadLaneFirst && op <= vectorLoadLaneLast:
		r.memory()
		r.byte()
	}
}

// memory reads the alignment and the offset of an access to memory.
func (r *reader) memory() {
	if align := r.u32(); align > 4 {
		r.fail("alignment 2^%d is not possible", align)
	}
	r.u32()
}

// blockType reads the type of a block: one byte for none or one value, or else the index of a type.
func (r *reader) blockType(types uint32) {
	b := r.byte()
	switch b {
	case blockEmpty, typeI32, typeI64, typeF32, typeF64, typeV128, typeFuncref, typeExternref:
		return
	}
	if b >= 0x40 && b < 0x80 {
		r.at--
		r.fail("block type %#x is unknown", b)
		return
	}
	// A signed number of 33 bits that is not negative.
	r.at--
	from := r.at
	n := r.u32()
	if r.err == nil && (r.b[r.at-1] >= 0x40 || n >= types) {
		r.at = from
		r.fail("block type %d does not exist", n)
	}
}

const blockEmpty = 0x40

// costOf returns the fuel of a plain instruction: those that a processor divides for are
// dear, the others are not told apart.
func costOf(op byte) int {
	switch op {
	case 0x6d, 0x6e, 0x6f, 0x70, // i32.div_s, div_u, rem_s, rem_u
		0x7f, 0x80, 0x81, 0x82, // i64
		0x91, 0x95, 0x9f, 0xa3: // f32.sqrt, f32.div, f64.sqrt, f64.div
		return 8
	}
	return 1
}
