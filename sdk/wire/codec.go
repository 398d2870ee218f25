package wire

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// The wire types of protobuf. 3 and 4 are groups, which provider.proto has none of.
const (
	typeVarint  = 0
	typeFixed64 = 1
	typeBytes   = 2
	typeFixed32 = 5
)

// maxNumber is the largest field number of protobuf.
const maxNumber = 1<<29 - 1

func appendTag(b []byte, num, typ int) []byte {
	return binary.AppendUvarint(b, uint64(num)<<3|uint64(typ))
}

func appendUint(b []byte, num int, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(appendTag(b, num, typeVarint), v)
}

func appendInt(b []byte, num int, v int64) []byte { return appendUint(b, num, uint64(v)) }

func appendBool(b []byte, num int, v bool) []byte {
	if !v {
		return b
	}
	return appendUint(b, num, 1)
}

func appendTime(b []byte, num int, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendInt(b, num, t.UnixNano())
}

func appendString[T ~string](b []byte, num int, s T) []byte {
	if s == "" {
		return b
	}
	return appendElement(b, num, s)
}

func appendBytes(b []byte, num int, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return appendMessage(b, num, v)
}

// appendMessage appends an embedded message, also an empty one: that it is there can be
// all that it says.
func appendMessage(b []byte, num int, body []byte) []byte {
	b = binary.AppendUvarint(appendTag(b, num, typeBytes), uint64(len(body)))
	return append(b, body...)
}

// appendElement appends an element of a repeated string field, also an empty one.
func appendElement[T ~string](b []byte, num int, s T) []byte {
	b = binary.AppendUvarint(appendTag(b, num, typeBytes), uint64(len(s)))
	return append(b, s...)
}

func appendStrings[T ~string](b []byte, num int, list []T) []byte {
	for _, s := range list {
		b = appendElement(b, num, s)
	}
	return b
}

func appendBlobs(b []byte, num int, list [][]byte) []byte {
	for _, v := range list {
		b = appendMessage(b, num, v)
	}
	return b
}

// appendMap writes the keys in order, so that equal messages are equal bytes.
func appendMap(b []byte, num int, m map[string]string) []byte {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendMessage(b, num, appendString(appendString(nil, 1, k), 2, m[k]))
	}
	return b
}

// field is one field of a message as it stands in the input.
type field struct {
	num   int
	typ   int
	value uint64 // typeVarint
	bytes []byte // typeBytes; part of the input
}

// each calls visit with every field of a message in order.
func each(b []byte, visit func(field) error) error {
	if len(b) > MaxMessage {
		return malformed{what: "size"}
	}
	for len(b) > 0 {
		f, rest, err := next(b)
		if err != nil {
			return err
		}
		if err := visit(f); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func next(b []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 || tag>>3 > maxNumber {
		return field{}, nil, malformed{what: "tag"}
	}
	b = b[n:]
	f = field{num: int(tag >> 3), typ: int(tag & 7)}
	switch f.typ {
	case typeVarint:
		f.value, n = binary.Uvarint(b)
		if n <= 0 {
			return field{}, nil, f.fault("number")
		}
		return f, b[n:], nil
	case typeBytes:
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return field{}, nil, f.fault("length")
		}
		end := n + int(size)
		f.bytes = b[n:end]
		return f, b[end:], nil
	case typeFixed64:
		return f, b[min(8, len(b)):], f.need(b, 8)
	case typeFixed32:
		return f, b[min(4, len(b)):], f.need(b, 4)
	}
	return field{}, nil, f.fault("wire type")
}

func (f field) need(b []byte, n int) error {
	if len(b) < n {
		return f.fault("length")
	}
	return nil
}

func (f field) fault(what string) error { return malformed{what, f.num} }

// malformed is an [ErrMalformed] that says where. It does without fmt, which would be an
// eighth of a guest that does not use it otherwise.
type malformed struct {
	what  string
	field int // 0: none
}

func (m malformed) Error() string {
	s := ErrMalformed.Error() + ": " + m.what
	if m.field == 0 {
		return s
	}
	return s + " of field " + strconv.Itoa(m.field)
}

func (m malformed) Is(target error) bool { return target == ErrMalformed }

func (f field) is(typ int) error {
	if f.typ != typ {
		return f.fault("wire type")
	}
	return nil
}

func (f field) toUint32(dst *uint32) error {
	*dst = uint32(f.value)
	return f.is(typeVarint)
}

func (f field) toInt(dst *int64) error {
	*dst = int64(f.value)
	return f.is(typeVarint)
}

func (f field) toBool(dst *bool) error {
	*dst = f.value != 0
	return f.is(typeVarint)
}

func (f field) toTime(dst *time.Time) error {
	*dst = time.Time{}
	if f.value != 0 {
		*dst = time.Unix(0, int64(f.value)).UTC()
	}
	return f.is(typeVarint)
}

func (f field) toBytes(dst *[]byte) error {
	*dst = nil
	if len(f.bytes) > 0 {
		*dst = slices.Clone(f.bytes)
	}
	return f.is(typeBytes)
}

func toString[T ~string](f field, dst *T) error {
	if f.typ != typeBytes || !utf8.Valid(f.bytes) {
		return f.fault("text")
	}
	*dst = T(f.bytes)
	return nil
}

func toStrings[T ~string](f field, dst *[]T) error {
	return toList(f, dst, func(b []byte, s *T) error {
		return toString(field{num: f.num, typ: typeBytes, bytes: b}, s)
	})
}

func toBlobs(f field, dst *[][]byte) error {
	return toList(f, dst, func(b []byte, v *[]byte) error {
		*v = slices.Clone(b)
		return nil
	})
}

// toList decodes one element of a repeated field and appends it.
func toList[T any](f field, dst *[]T, decode func([]byte, *T) error) error {
	if err := f.is(typeBytes); err != nil {
		return err
	}
	if len(*dst) >= MaxRepeated {
		return f.fault("number of elements")
	}
	var element T
	if err := decode(f.bytes, &element); err != nil {
		return err
	}
	*dst = append(*dst, element)
	return nil
}

func toMap(f field, dst *map[string]string) error {
	if err := f.is(typeBytes); err != nil {
		return err
	}
	var key, value string
	err := each(f.bytes, func(f field) error {
		switch f.num {
		case 1:
			return toString(f, &key)
		case 2:
			return toString(f, &value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if *dst == nil {
		*dst = make(map[string]string)
	}
	(*dst)[key] = value
	if len(*dst) > MaxRepeated {
		return f.fault("number of entries")
	}
	return nil
}

// toMessage decodes an embedded message into dst, merging it with what is there.
func toMessage[T any](f field, dst *T, decode func([]byte, *T) error) error {
	if err := f.is(typeBytes); err != nil {
		return err
	}
	return decode(f.bytes, dst)
}

// toOption decodes an embedded message that may be absent.
func toOption[T any](f field, dst **T, decode func([]byte, *T) error) error {
	if *dst == nil {
		*dst = new(T)
	}
	return toMessage(f, *dst, decode)
}
