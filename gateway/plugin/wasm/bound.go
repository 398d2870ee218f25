package wasm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of what a module may declare.
const (
	maxCode   = 64 << 20 // bytes of the file
	maxTables = 16
	maxTable  = 1 << 18 // elements; a large Go guest has some ten thousand
)

var errModule = errors.New("not a WASM module")

// bound gives every table of a module a limit, and drops its custom sections. The runtime
// caps linear memory but not tables, which could otherwise take a gigabyte by a declaration
// of a few bytes, or grow by table.grow; and it makes room for as many names as a custom
// section claims to hold. Everything else is left as it is.
func bound(code []byte) ([]byte, error) {
	if len(code) > maxCode {
		return nil, fmt.Errorf("module has %d bytes, at most %d are allowed", len(code), maxCode)
	}
	header := []byte("\x00asm\x01\x00\x00\x00")
	if !bytes.HasPrefix(code, header) {
		return nil, errModule
	}
	out := append(make([]byte, 0, len(code)+64), header...)
	for rest := code[len(header):]; len(rest) > 0; {
		id := rest[0]
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || size > uint64(len(rest)-1-n) {
			return nil, errModule
		}
		end := 1 + n + int(size)
		body := rest[1+n : end]
		if id == sectionCustom {
			rest = rest[end:]
			continue
		}
		if id == sectionTable {
			bounded, err := boundTables(body)
			if err != nil {
				return nil, err
			}
			body = bounded
		}
		out = binary.AppendUvarint(append(out, id), uint64(len(body)))
		out = append(out, body...)
		rest = rest[end:]
	}
	return out, nil
}

// The sections that are not left as they are.
const (
	sectionCustom = 0
	sectionTable  = 4
)

// boundTables rewrites a table section: a type, a flag that tells whether there is a
// maximum, the minimum, and the maximum, for each table.
func boundTables(body []byte) ([]byte, error) {
	count, n := binary.Uvarint(body)
	if n <= 0 || count > maxTables {
		return nil, fmt.Errorf("module has more than %d tables", maxTables)
	}
	body = body[n:]
	out := binary.AppendUvarint(nil, count)
	for range count {
		if len(body) < 2 || body[1] > 1 {
			return nil, errModule
		}
		kind, limited := body[0], body[1] == 1
		body = body[2:]
		least, n := binary.Uvarint(body)
		if n <= 0 {
			return nil, errModule
		}
		body = body[n:]
		most := uint64(maxTable)
		if limited {
			if most, n = binary.Uvarint(body); n <= 0 {
				return nil, errModule
			}
			body = body[n:]
		}
		if least > maxTable {
			return nil, fmt.Errorf("module has a table of %d elements, at most %d are allowed", least, maxTable)
		}
		out = append(out, kind, 1)
		out = binary.AppendUvarint(out, least)
		out = binary.AppendUvarint(out, min(most, maxTable))
	}
	if len(body) > 0 {
		return nil, errModule
	}
	return out, nil
}
