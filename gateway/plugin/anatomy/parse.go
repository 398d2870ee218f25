package anatomy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

var errDamaged = errors.New("a section ends in the middle of something")

// The sections that are read, and the kinds of what is imported and exported (WebAssembly
// Core §5.5).
const (
	sectionCustom = 0
	sectionImport = 2
	sectionMemory = 5
	sectionExport = 7

	kindFunction = 0
	kindTable    = 1
	kindMemory   = 2
	kindGlobal   = 3
	kindTag      = 4
)

const (
	pageSize = 64 << 10
	maxPages = 1 << 46 // more are not told: their bytes would not fit into 63 bits
)

// parse walks the sections of a module.
func parse(code []byte) (Anatomy, error) {
	var a Anatomy
	rest := code[8:]
	for len(rest) > 0 {
		id := rest[0]
		size, body, err := uvarint(rest[1:])
		if err != nil || int64(size) > int64(len(body)) {
			return a, fmt.Errorf("section %d is longer than the file", id)
		}
		body, rest = body[:size], body[size:]
		switch id {
		case sectionCustom:
			if name, _, err := readName(body); err == nil {
				a.Sections = append(a.Sections, name)
			}
		case sectionImport:
			err = each(body, a.readImport)
		case sectionMemory:
			err = each(body, a.readMemory)
		case sectionExport:
			err = each(body, a.readExport)
		}
		if err != nil {
			return a, err
		}
	}
	return a, nil
}

// each reads the elements of a section, which must take all of it.
func each(body []byte, read func([]byte) ([]byte, error)) error {
	n, body, err := uvarint(body)
	for range n {
		if err != nil {
			break
		}
		body, err = read(body)
	}
	if err == nil && len(body) > 0 {
		return errDamaged
	}
	return err
}

func readName(b []byte) (string, []byte, error) {
	n, b, err := uvarint(b)
	if err != nil || int64(n) > int64(len(b)) || !utf8.Valid(b[:n]) {
		return "", nil, errDamaged
	}
	return string(b[:n]), b[n:], nil
}

func (a *Anatomy) readImport(b []byte) ([]byte, error) {
	module, b, err := readName(b)
	if err != nil {
		return nil, err
	}
	name, b, err := readName(b)
	if err != nil || len(b) == 0 {
		return nil, errDamaged
	}
	kind, b := b[0], b[1:]
	if kind == kindFunction {
		a.Imports = append(a.Imports, Import{module, name})
		_, b, err = uvarint(b)
		return b, err
	}
	a.otherImports = append(a.otherImports, Import{module, name}.String())
	switch kind {
	case kindTable:
		if len(b) == 0 {
			return nil, errDamaged
		}
		_, _, b, err = readLimits(b[1:])
		return b, err
	case kindMemory:
		_, _, b, err = readLimits(b)
		return b, err
	case kindGlobal:
		if len(b) < 2 {
			return nil, errDamaged
		}
		return b[2:], nil
	case kindTag:
		if len(b) == 0 {
			return nil, errDamaged
		}
		_, b, err = uvarint(b[1:])
		return b, err
	}
	return nil, errDamaged
}

func (a *Anatomy) readMemory(b []byte) ([]byte, error) {
	least, most, b, err := readLimits(b)
	if err != nil {
		return nil, err
	}
	if !a.memories {
		a.MemoryMin, a.MemoryMax = least*pageSize, most*pageSize
	}
	a.memories = true
	return b, nil
}

func (a *Anatomy) readExport(b []byte) ([]byte, error) {
	name, b, err := readName(b)
	if err != nil || len(b) == 0 {
		return nil, errDamaged
	}
	kind := b[0]
	_, b, err = uvarint(b[1:])
	switch kind {
	case kindFunction:
		a.Exports = append(a.Exports, name)
	case kindMemory:
		a.exportedMemory = a.exportedMemory || name == "memory"
	}
	return b, err
}

// readLimits reads the least and the most of a table or memory, 0 for no most.
func readLimits(b []byte) (least, most int64, rest []byte, err error) {
	if len(b) == 0 || b[0] > 7 {
		return 0, 0, nil, errDamaged
	}
	flags := b[0]
	read := func(b []byte) (int64, []byte, error) {
		n, size := binary.Uvarint(b) // 64 bits: a memory may be indexed by them
		if size <= 0 || n > 1<<48 {
			return 0, nil, errDamaged
		}
		return int64(n), b[size:], nil
	}
	least, rest, err = read(b[1:])
	if err == nil && flags&1 != 0 {
		most, rest, err = read(rest)
	}
	return min(least, maxPages), min(most, maxPages), rest, err
}
