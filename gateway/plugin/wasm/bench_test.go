package wasm

import (
	"context"
	"testing"

	"github.com/materi/shield/sdk/wire"
)

// BenchmarkCall is a call that does nothing: decode a request and encode a step in the
// guest, and cross the border both ways.
func BenchmarkCall(b *testing.B) {
	m := open(b, options(guest(b, "guest")))
	in := request("echo", "hello")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Call(context.Background(), wire.Begin, in, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is what a fault costs: a new instance.
func BenchmarkStart(b *testing.B) {
	m := open(b, options(guest(b, "guest")))
	for b.Loop() {
		inst, err := m.start(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		inst.close()
	}
}
