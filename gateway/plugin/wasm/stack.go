package wasm

import (
	"reflect"

	"github.com/tetratelabs/wazero/api"
)

// maxStack is the most bytes that the stack of a function may have in the end. The runtime doubles a
// stack as it is needed, up to 100 MB, which no limit of memory knows of: each guest that recurses would
// take them from the gateway, and as much again in copies of it that wait for the collector. With
// [Metered] the stack is looked at after each quantum, in which it grows by no more than some MiB.
const maxStack = 16 << 20

// startExport is the name under which a metered module exports its start function: the
// runtime would call it on a stack that cannot be seen.
const startExport = "shield_meter.start"

// stack is that of a function which a module exports: the runtime makes one for each
// [api.Function], and does not tell how large it is.
type stack struct{ bytes reflect.Value }

// stackOf looks for the stack of a function where the runtime has it. That is a field which is
// not exported, whose length can be read all the same; a test shows that it is there. An interpreted
// function has none, and a bound of its own.
func stackOf(f api.Function) stack {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return stack{}
	}
	field := v.Elem().FieldByName("stack")
	if !field.IsValid() || field.Type() != reflect.TypeFor[[]byte]() {
		return stack{}
	}
	return stack{field}
}

func (s stack) tooLarge() bool { return s.bytes.IsValid() && s.bytes.Len() > maxStack }
