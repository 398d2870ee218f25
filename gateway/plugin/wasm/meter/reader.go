package meter

import (
	"fmt"
)

// reader reads a part of a module. After an error it returns zeros; loops over counts are
// bounded by [reader.count], so nobody has to look at err in between.
type reader struct {
	b   []byte // the module up to the end of the part, so that offsets are those of the file
	at  int
	err error
}

func (r *reader) left() int { return len(r.b) - r.at }

// fail keeps the first error and leaves nothing to read.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s at offset %d", fmt.Sprintf(format, args...), r.at)
	}
	r.at = len(r.b)
}

func (r *reader) byte() byte {
	if r.left() < 1 {
		r.fail("something is cut off")
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// want reads a byte that can have only one value.
func (r *reader) want(b byte, what string) {
	if got := r.byte(); r.err == nil && got != b {
		r.at--
		r.fail("%s is %#x", what, got)
	}
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(r.left()) {
		r.fail("%d bytes are cut off", n)
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at]
}

// u32 reads an unsigned number of at most 32 bits.
func (r *reader) u32() uint32 {
	var n uint32
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		if shift == 28 && b > 0x0f {
			break
		}
		n |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	r.fail("a number has more than 32 bits")
	return 0
}

// skipSigned reads a signed number of at most so many bytes, and leaves it to the runtime
// whether its last byte is canonical.
func (r *reader) skipSigned(most int) {
	for range most {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail("a number is too long")
}

// count reads how many entries follow, each of which takes at least one byte.
func (r *reader) count(most uint32, what string) uint32 {
	n := r.u32()
	if n > most {
		r.fail("%d %s, at most %d are allowed", n, what, most)
		return 0
	}
	if int64(n) > int64(r.left()) {
		r.fail("%d %s do not fit", n, what)
		return 0
	}
	return n
}

// index reads an index that must be below a count.
func (r *reader) index(count uint32, what string) uint32 {
	n := r.u32()
	if r.err == nil && n >= count {
		r.fail("%s %d does not exist", what, n)
		return 0
	}
	return n
}

func (r *reader) valueType() byte {
	switch t := r.byte(); t {
	case typeI32, typeI64, typeF32, typeF64, typeV128, typeFuncref, typeExternref:
		return t
	default:
		r.at--
		r.fail("value type %#x is unknown", t)
		return 0
	}
}

func (r *reader) referenceType() byte {
	t := r.byte()
	if t != typeFuncref && t != typeExternref {
		r.at--
		r.fail("reference type %#x is unknown", t)
	}
	return t
}

// limits reads the size of a memory or table.
func (r *reader) limits() {
	flag := r.byte()
	if flag > 1 {
		r.at--
		r.fail("limits of kind %#x are unknown", flag)
	}
	r.u32()
	if flag == 1 {
		r.u32()
	}
}

func (r *reader) mutability() {
	if b := r.byte(); b > 1 {
		r.at--
		r.fail("mutability %#x is unknown", b)
	}
}

// Value types.
const (
	typeI32       = 0x7f
	typeI64       = 0x7e
	typeF32       = 0x7d
	typeF64       = 0x7c
	typeV128      = 0x7b
	typeFuncref   = 0x70
	typeExternref = 0x6f
	typeFunction  = 0x60
)
