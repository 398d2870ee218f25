package meter_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
)

// The payment of n units from global g when the import is function f; n is below 64.
func payment(g, n, f byte) []byte {
	return []byte{
		0x23, g, 0x42, n, 0x7d, 0x24, g, // fuel -= n
		0x23, g, 0x42, 0, 0x53, 0x04, 0x40, // if fuel < 0
		0x23, g, 0x10, f, 0x24, g, 0x0b, // fuel = refill(fuel)
	}
}

var refillImport = slices.Concat(text("shield_meter"), text("refill"), []byte{0})

func TestRewrittenModulesAreWhatIsPromised(t *testing.T) {
	fuel := []byte{0x7e, 1, 0x42, 0, 0x0b}
	refillType := []byte{0x60, 1, 0x7e, 1, 0x7e}
	for _, c := range []struct {
		name     string
		in, want []byte
	}{
		{"empty module", module(), module(
			section(1, vector(refillType)),
			section(2, vector(slices.Concat(refillImport, []byte{0}))),
			section(3, []byte{0}),
			section(6, vector(fuel)),
			section(10, []byte{0}),
		)},
		{"custom sections go", module(section(0, text("name"), []byte("x")), section(0, text("linking"))), module(
			section(1, vector(refillType)),
			section(2, vector(slices.Concat(refillImport, []byte{0}))),
			section(3, []byte{0}),
			section(6, vector(fuel)),
			section(10, []byte{0}),
		)},
		{"a function that calls itself, beside a global",
			module(
				section(1, vector([]byte{0x60, 0, 0})),
				section(3, vector([]byte{0})),
				section(6, vector([]byte{0x7f, 0, 0x41, 7, 0x0b})),
				section(7, vector(slices.Concat(text("f"), []byte{0, 0}), slices.Concat(text("g"), []byte{3, 0}))),
				section(8, []byte{0}),
				section(10, vector(function(noLocals, []byte{0x10, 0}))),
			),
			module(
				section(1, vector([]byte{0x60, 0, 0}, refillType)),
				section(2, vector(slices.Concat(refillImport, []byte{1}))),
				section(3, vector([]byte{0})),
				section(6, vector([]byte{0x7f, 0, 0x41, 7, 0x0b}, fuel)),
				section(7, vector(slices.Concat(text("f"), []byte{0, 1}), slices.Concat(text("g"), []byte{3, 0}))),
				section(8, []byte{1}),
				// 4 for the call, 1 each for call and end.
				section(10, vector(function(noLocals, payment(1, 6, 0), []byte{0x10, 1}))),
			)},
		{"an import that is called, in every kind of element segment, with its type reused",
			module(
				section(1, vector(refillType)),
				section(2, vector(slices.Concat(text("m"), text("f"), []byte{0, 0}))),
				section(3, vector([]byte{0})),
				section(4, []byte{1, 0x70, 0, 8}),
				section(9, vector(
					[]byte{0, 0x41, 0, 0x0b, 2, 0, 1},
					[]byte{1, 0, 2, 0, 1},
					[]byte{2, 0, 0x41, 2, 0x0b, 0, 2, 1, 0},
					[]byte{3, 0, 1, 1},
					[]byte{4, 0x41, 4, 0x0b, 2, 0xd2, 0, 0x0b, 0xd0, 0x70, 0x0b},
					[]byte{5, 0x70, 1, 0xd2, 1, 0x0b},
					[]byte{6, 0, 0x41, 6, 0x0b, 0x70, 1, 0xd2, 1, 0x0b},
					[]byte{7, 0x70, 1, 0xd2, 0, 0x0b},
				)),
				section(10, vector(function(noLocals, []byte{0x20, 0, 0x10, 0}))),
			),
			module(
				section(1, vector(refillType)),
				section(2, vector(slices.Concat(text("m"), text("f"), []byte{0, 0}), slices.Concat(refillImport, []byte{0}))),
				section(3, vector([]byte{0}, []byte{0})),
				section(4, []byte{1, 0x70, 0, 8}),
				section(6, vector(fuel)),
				// Function 1 is 2 now, and 0 is led through 3.
				section(9, vector(
					[]byte{0, 0x41, 0, 0x0b, 2, 3, 2},
					[]byte{1, 0, 2, 3, 2},
					[]byte{2, 0, 0x41, 2, 0x0b, 0, 2, 2, 3},
					[]byte{3, 0, 1, 2},
					[]byte{4, 0x41, 4, 0x0b, 2, 0xd2, 3, 0x0b, 0xd0, 0x70, 0x0b},
					[]byte{5, 0x70, 1, 0xd2, 2, 0x0b},
					[]byte{6, 0, 0x41, 6, 0x0b, 0x70, 1, 0xd2, 2, 0x0b},
					[]byte{7, 0x70, 1, 0xd2, 3, 0x0b},
					[]byte{3, 0, 1, 3},
				)),
				section(10, vector(
					// 4 for the call, 1 each for local.get, call and end.
					function(noLocals, payment(0, 7, 1), []byte{0x20, 0, 0x10, 0}),
					function(noLocals, []byte{0x20, 0, 0x10, 0}, payment(0, 4, 1)),
				)),
			)},
		{"a loop and a bulk instruction, with the local that it needs",
			module(
				section(1, vector([]byte{0x60, 1, 0x7f, 0})),
				section(3, vector([]byte{0})),
				section(5, []byte{1, 0, 1}),
				section(10, vector(function([]byte{1, 1, 0x7e},
					[]byte{0x03, 0x40, 0x41, 0, 0x41, 0, 0x20, 0, 0xfc, 11, 0, 0x0c, 0, 0x0b}))),
			),
			module(
				section(1, vector([]byte{0x60, 1, 0x7f, 0}, refillType)),
				section(2, vector(slices.Concat(refillImport, []byte{1}))),
				section(3, vector([]byte{0})),
				section(5, []byte{1, 0, 1}),
				section(6, vector(fuel)),
				section(10, vector(function([]byte{2, 1, 0x7e, 1, 0x7f},
					payment(0, 6, 0), // 4 for the call, 2 ends
					[]byte{0x03, 0x40},
					payment(0, 7, 0), // 1, the loop, and 5 up to br
					[]byte{0x41, 0, 0x41, 0, 0x20, 0},
					[]byte{0x22, 2, 0x23, 0, 0x20, 2, 0x41, 3, 0x76, 0xad}, // tee; fuel - (n >> 3)
					[]byte{0x7d, 0x24, 0, 0x23, 0, 0x42, 0, 0x53, 0x04, 0x40, 0x23, 0, 0x10, 0, 0x24, 0, 0x0b},
					[]byte{0xfc, 11, 0, 0x0c, 0, 0x0b},
				))),
			)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := meter.Rewrite(c.in, meter.Options{})
			if err != nil || string(got) != string(c.want) {
				t.Fatalf("Rewrite() =\n%x, %v, want\n%x", got, err, c.want)
			}
			if err := compiles(t, got); err != nil {
				t.Errorf("wazero: %v", err)
			}
		})
	}
}

func compiles(t testing.TB, code []byte) error {
	t.Helper()
	ctx := context.Background()
	r := newRuntime(t)
	defer r.Close(ctx)
	_, err := r.CompileModule(ctx, code)
	return err
}

// hostile are modules with what they must be refused for. The indices are those that rewriting adds: one
// too many in the original, and there afterwards.
func hostile() map[string]struct {
	code []byte
	want string
} {
	type entry = struct {
		code []byte
		want string
	}
	code := func(parts ...[]byte) []byte { return simple(function(noLocals, parts...)) }
	nullary := section(1, vector([]byte{0x60, 0, 0}))
	one := section(3, vector([]byte{0}))
	empty := section(10, vector(function(noLocals)))
	table := section(4, []byte{1, 0x70, 0, 1})
	imported := slices.Concat(text("m"), text("f"), []byte{0, 0})
	return map[string]entry{
		"nothing":                      {nil, "does not begin"},
		"text":                         {[]byte("#!/bin/sh"), "does not begin"},
		"another version":              {[]byte("\x00asm\x02\x00\x00\x00"), "does not begin"},
		"a component":                  {[]byte("\x00asm\x0d\x00\x01\x00"), "does not begin"},
		"section longer than the file": {append(module(), 1, 0xff, 0x7f), "longer than the module"},
		"section twice":                {module(nullary, nullary), "section 1 at offset 14"},
		"sections out of order":        {module(section(3, []byte{0}), nullary), "section 1"},
		"tag section":                  {module(section(13, []byte{0})), "section 13"},
		"bytes behind a section":       {module(section(1, []byte{0, 0})), "1 bytes too many"},

		"import of our own":         {module(nullary, section(2, vector(slices.Concat(text("shield_meter"), text("refill"), []byte{0, 0})))), "import of shield_meter.refill"},
		"other import of our own":   {module(nullary, section(2, vector(slices.Concat(text("shield_meter"), text("x"), []byte{3, 0x7e, 1})))), "import of shield_meter.x"},
		"import of a tag":           {module(nullary, section(2, vector(slices.Concat(text("m"), text("t"), []byte{4, 0, 0})))), "import of kind 0x4"},
		"import of a shared memory": {module(nullary, section(2, vector(slices.Concat(text("m"), text("t"), []byte{2, 3, 1, 1})))), "limits of kind 0x3"},

		"type that is added, of a function":                {module(nullary, section(3, vector([]byte{1})), empty), "type 1 does not exist"},
		"type that is added, of an import":                 {module(nullary, section(2, vector(slices.Concat(text("m"), text("f"), []byte{0, 1})))), "type 1 does not exist"},
		"type that is added, of a block":                   {code([]byte{0x02, 1, 0x0b}), "block type 1 does not exist"},
		"type that is added, of call_indirect":             {code(i32(0), []byte{0x11, 1, 0}), "type 1 does not exist"},
		"function that is added, called":                   {code([]byte{0x10, 1}), "function 1 does not exist"},
		"function that is added, exported":                 {module(nullary, one, section(7, vector(slices.Concat(text("f"), []byte{0, 1}))), empty), "function 1 does not exist"},
		"function that is added, started":                  {module(nullary, one, section(8, []byte{1}), empty), "function 1 does not exist"},
		"function that is added, in an element":            {module(nullary, one, table, section(9, []byte{1, 0, 0x41, 0, 0x0b, 1, 1}), empty), "function 1 does not exist"},
		"function that is added, in an element expression": {module(nullary, one, table, section(9, []byte{1, 5, 0x70, 1, 0xd2, 1, 0x0b}), empty), "function 1 does not exist"},
		"function that is added, referenced":               {code([]byte{0xd2, 1, 0x1a}), "function 1 does not exist"},
		"function that is added, in a global":              {module(nullary, one, section(6, vector([]byte{0x70, 0, 0xd2, 1, 0x0b})), empty), "function 1 does not exist"},
		"thunk of an import, called":                       {module(nullary, section(2, vector(imported)), one, section(10, vector(function(noLocals, []byte{0x10, 2})))), "function 2 does not exist"},
		"fuel, read":                                       {code([]byte{0x23, 0, 0x1a}), "global 0 does not exist"},
		"fuel, written":                                    {code([]byte{0x42, 1, 0x24, 0}), "global 0 does not exist"},
		"fuel, exported":                                   {module(section(7, vector(slices.Concat(text("f"), []byte{3, 0})))), "global 0 does not exist"},
		"fuel, in a global":                                {module(section(6, vector([]byte{0x7e, 0, 0x23, 0, 0x0b}))), "imported global 0 does not exist"},
		"fuel, as an offset":                               {module(section(5, []byte{1, 0, 1}), section(11, []byte{1, 0, 0x23, 0, 0x0b, 0})), "imported global 0 does not exist"},
		"local that is added":                              {code([]byte{0x20, 0, 0x1a}, i32(0), i32(0), i32(0), []byte{0xfc, 11, 0}), "local 0 does not exist"},
		"segment that is added":                            {module(nullary, section(2, vector(imported)), one, table, section(10, vector(function(noLocals, []byte{0xfc, 13, 0})))), "element segment 0 does not exist"},
		"label beyond the function":                        {code([]byte{0x0c, 1}), "label 1 does not exist"},

		"more bodies than functions":   {module(nullary, empty), "1 bodies for 0 functions"},
		"fewer bodies than functions":  {module(nullary, one), "0 bodies for 1 functions"},
		"body longer than its section": {module(nullary, one, section(10, []byte{1, 9, 0, 0x0b})), "longer than its section"},
		"body without end":             {module(nullary, one, section(10, []byte{1, 2, 0, 0x01})), "cut off"},
		"code after the end":           {code([]byte{0x0b}), "1 bytes after the end"},
		"block without end":            {code([]byte{0x02, 0x40}), "cut off"},
		"else without if":              {code([]byte{0x05}), "else without if"},
		"else twice":                   {code(i32(0), []byte{0x04, 0x40, 0x05, 0x05, 0x0b}), "else without if"},

		"tail call":                       {code([]byte{0x12, 0}), "instruction 0x12 is unknown at offset 41"},
		"tail call through a table":       {code(i32(0), []byte{0x13, 0, 0}), "instruction 0x13"},
		"call_ref":                        {code([]byte{0x14, 0}), "instruction 0x14"},
		"try_table":                       {code([]byte{0x1f, 0x40, 0, 0x0b}), "instruction 0x1f"},
		"throw":                           {code([]byte{0x08, 0}), "instruction 0x8"},
		"legacy try":                      {code([]byte{0x06, 0x40, 0x0b}), "instruction 0x6"},
		"atomic":                          {code([]byte{0xfe, 0x03, 0}), "instruction 0xfe"},
		"garbage collection":              {code([]byte{0xfb, 0, 0}), "instruction 0xfb"},
		"unknown instruction behind 0xfc": {code([]byte{0xfc, 18, 0}), "instruction 0xfc 0x12"},
		"relaxed SIMD":                    {code([]byte{0xfd, 0x80, 2}), "second byte of a vector instruction"},
		"unknown vector instruction":      {code([]byte{0xfd, 0x9a, 1}), "vector instruction 0x9a"},
		// wazero reads 0x8c and takes the rest for instructions: here a loop in what would
		// be sixteen bytes of a v128.const.
		"vector instruction of two readings": {code([]byte{0xfd, 0x8c, 0, 0x03, 0x40, 0x0c, 0, 0x0b}, repeat(11, 0x01)), "second byte of a vector instruction"},
		"memory of another number":           {code([]byte{0x3f, 1, 0x1a}), "memory of memory.size"},
		"block type in a long form":          {code([]byte{0x02, 0xc0, 0x7f, 0x0b}), "block type"},
		"typed select of two types":          {code([]byte{0x1c, 2, 0x7f, 0x7f}), "number of types"},
		"reference type of another proposal": {code([]byte{0xd0, 0x6e}), "reference type 0x6e"},
		"reference to a type":                {module(section(1, vector([]byte{0x60, 1, 0x64, 0, 0}))), "value type 0x64"},
		"extended constant":                  {module(section(6, vector([]byte{0x7f, 0, 0x41, 1, 0x41, 1, 0x6a, 0x0b}))), "the end of a constant expression"},
		"table with an initial value":        {module(section(4, []byte{1, 0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b})), "reference type 0x40"},

		// What the runtime would allocate for a count before it finds that nothing follows.
		"four billion types":                          {module(section(1, uleb(1<<32-1))), "types"},
		"four billion imports":                        {module(section(2, uleb(1<<32-1))), "imports"},
		"four billion functions":                      {module(section(3, uleb(1<<32-1))), "functions"},
		"half a million functions that are not there": {module(nullary, section(3, uleb(500_000))), "500000 functions do not fit"},
		"four billion globals":                        {module(section(6, uleb(1<<32-1))), "globals"},
		"four billion exports":                        {module(section(7, uleb(1<<32-1))), "exports"},
		"four billion elements":                       {module(nullary, table, section(9, []byte{1, 1, 0}, uleb(1<<32-1))), "elements"},
		"four billion bodies":                         {module(nullary, section(10, uleb(1<<32-1))), "bodies"},
		"four billion data segments":                  {module(section(11, uleb(1<<32-1))), "data segments"},
		"data segment of four gigabytes":              {module(section(5, []byte{1, 0, 1}), section(11, []byte{1, 1}, uleb(1<<32-1))), "4294967295 bytes are cut off"},
		"four billion parameters":                     {module(section(1, []byte{1, 0x60}, uleb(1<<32-1))), "values"},
		"four billion locals":                         {simple(function(append([]byte{1}, append(uleb(1<<32-1), 0x7f)...))), "locals"},
		"locals that overflow":                        {simple(function(slices.Concat([]byte{2}, uleb(1<<31), []byte{0x7f}, uleb(1<<31), []byte{0x7f}))), "locals"},
		"many functions with many locals":             {simple(slices.Repeat([][]byte{function([]byte{1, 0xd0, 0x86, 3, 0x7f})}, 100)...), "in all functions"},
		"four billion labels":                         {code(i32(0), []byte{0x0e}, uleb(1<<32-1)), "labels"},
		"deep nesting":                                {code(slices.Repeat([]byte{0x02, 0x40}, 100_001)), "nested blocks"},
		"number of more than 32 bits":                 {module(section(1, []byte{0xff, 0xff, 0xff, 0xff, 0x1f})), "32 bits"},
		"number without end":                          {module(section(1, slices.Repeat([]byte{0x80}, 20))), "32 bits"},
		"constant without end":                        {code(append([]byte{0x41}, slices.Repeat([]byte{0x80}, 20)...)), "too long"},
	}
}

func TestHostileModulesAreRefused(t *testing.T) {
	for name, c := range hostile() {
		t.Run(name, func(t *testing.T) {
			_, err := meter.Rewrite(c.code, meter.Options{})
			if !errors.Is(err, meter.ErrModule) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Rewrite() = %v, want a refusal with %q", err, c.want)
			}
		})
	}
}

func TestStartFunctionCanBeLeftToTheHost(t *testing.T) {
	const name = "begin"
	nullary := section(1, vector([]byte{0x60, 0, 0}))
	body := section(10, vector(function(noLocals, []byte{0x00}))) // unreachable
	of := func(sections ...[]byte) ([]byte, error) {
		all := append([][]byte{nullary, section(3, vector([]byte{0}))}, sections...)
		return meter.Rewrite(module(append(all, body)...), meter.Options{Start: name})
	}
	ctx := context.Background()
	for what, exports := range map[string][]byte{"alone": nil, "with others": section(7, vector(slices.Concat(text("f"), []byte{0, 0})))} {
		r := newRuntime(t)
		out, err := of(exports, section(8, []byte{0}))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		mod, err := r.Instantiate(ctx, out)
		if err != nil {
			t.Fatalf("%s: it was started: %v", what, err)
		}
		if _, err := mod.ExportedFunction(name).Call(ctx); err == nil || !strings.Contains(err.Error(), "unreachable") {
			t.Errorf("%s: the start function: error %v, want its trap", what, err)
		}
		if f := mod.ExportedFunction("f"); (f != nil) != (exports != nil) {
			t.Errorf("%s: the other export is %v", what, f)
		}
	}
	if out, err := of(); err != nil || bytes.Contains(out, []byte(name)) {
		t.Errorf("without a start function: %x, %v", out, err)
	}
	own := section(7, vector(slices.Concat(text(name), []byte{0, 0})))
	if _, err := of(own, section(8, []byte{0})); err == nil || !strings.Contains(err.Error(), "the host's own") {
		t.Errorf("a module that has the name: error %v", err)
	}
	if _, err := of(section(8, []byte{1})); err == nil || !strings.Contains(err.Error(), "function 1 does not exist") {
		t.Errorf("a start function that is not there: error %v", err)
	}
	typed := module(section(1, vector([]byte{0x60, 1, 0x7f, 0})), section(3, vector([]byte{0})), section(8, []byte{0}), body)
	if _, err := meter.Rewrite(typed, meter.Options{Start: name}); err == nil || !strings.Contains(err.Error(), "parameters or results") {
		t.Errorf("a start function with a parameter: error %v", err)
	}
}

// The hostile modules differ in one thing from one that is fine: without it they would be refused for
// something else.
func TestModulesAtTheBoundsAreAccepted(t *testing.T) {
	for name, code := range map[string][]byte{
		"the simple module":                 simple(function(noLocals)),
		"deep nesting":                      simple(function(noLocals, slices.Repeat([]byte{0x02, 0x40}, 5000), repeat(5000, 0x0b))),
		"many locals":                       simple(function([]byte{1, 0xd0, 0x86, 3, 0x7f})),
		"block with a type":                 simple(function(noLocals, []byte{0x02, 0, 0x0b})),
		"block with a type in two bytes":    simple(function(noLocals, []byte{0x02, 0x80, 0, 0x0b})),
		"vector instruction in two bytes":   simple(function(noLocals, []byte{0xfd, 12}, repeat(16, 0), []byte{0xfd, 0x80, 1, 0x1a})),
		"long forms of numbers":             simple(function(noLocals, []byte{0x41, 0x80, 0x80, 0x80, 0x80, 0x00, 0x1a, 0x10, 0x80, 0x80, 0x00})),
		"branch out of a loop in dead code": simple(function(noLocals, []byte{0x03, 0x40, 0x0c, 1, 0x0c, 0, 0x0b})),
	} {
		out, err := meter.Rewrite(code, meter.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := compiles(t, out); err != nil {
			t.Errorf("%s: wazero refuses what was made: %v", name, err)
		}
	}
}

func TestTruncatedModulesAreRefused(t *testing.T) {
	whole := importing(loop(100, 0, []byte{0x10, 0}))
	for n := range len(whole) {
		out, err := meter.Rewrite(whole[:n], meter.Options{})
		if err != nil {
			continue
		}
		// It was cut between two sections: then it is a module, if one that lacks something.
		if err := compiles(t, whole[:n]); err != nil {
			t.Errorf("the first %d bytes are accepted, which wazero refuses: %v, %x", n, err, out)
		}
	}
}

// What wazero does with numbers and the host is the same through a thunk: parameters and results of every kind.
func TestReferencesToImportsCarryValues(t *testing.T) {
	kinds := []byte{0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x6f}
	sum := slices.Concat([]byte{0x60}, vector(split(kinds)...), vector(split(kinds)...))
	code := module(
		section(1, vector(sum)),
		section(2, vector(slices.Concat(text("env"), text("g"), []byte{0, 0}))),
		section(3, vector([]byte{0})),
		section(4, []byte{1, 0x70, 0, 1}),
		section(7, vector(slices.Concat(text("f"), []byte{0, 1}))),
		section(9, vector(slices.Concat([]byte{0}, i32(0), []byte{0x0b, 1, 0}))),
		section(10, vector(function(noLocals,
			[]byte{0x20, 0, 0x20, 1, 0x20, 2, 0x20, 3, 0x20, 4, 0x20, 5}, i32(0), []byte{0x11, 0, 0}))),
	)
	ctx := context.Background()
	r := newRuntime(t)
	defer r.Close(ctx)
	// The host's function is a module's that returns what it gets.
	host := module(
		section(1, vector(sum)), section(3, vector([]byte{0})),
		section(7, vector(slices.Concat(text("g"), []byte{0, 0}))),
		section(10, vector(function(noLocals, []byte{0x20, 0, 0x20, 1, 0x20, 2, 0x20, 3, 0x20, 4, 0x20, 5}))),
	)
	if _, err := r.InstantiateWithConfig(ctx, host, wazero.NewModuleConfig().WithName("env")); err != nil {
		t.Fatal(err)
	}
	in := []uint64{1, 2, 3, 4, 5, 6, 7}
	got, err := start(t, r, code).ExportedFunction("f").Call(ctx, in...)
	if err != nil || !slices.Equal(got, in) {
		t.Errorf("f(%v) = %v, %v", in, got, err)
	}
}

func split(b []byte) [][]byte {
	var out [][]byte
	for i := range b {
		out = append(out, b[i:i+1])
	}
	return out
}
