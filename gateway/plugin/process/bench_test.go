package process

import (
	"context"
	"strings"
	"testing"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// BenchmarkCall is a call that does nothing, with 1 KiB each way; BenchmarkCallWithRequest
// asks the host for one entry in it.
func BenchmarkCall(b *testing.B) {
	benchmark(b, request("echo", strings.Repeat("x", 1024)), nil)
}

func BenchmarkCallWithRequest(b *testing.B) {
	reply := wire.EncodeEntry(sdk.Entry{Value: []byte(strings.Repeat("x", 1024)), Version: 1}, true)
	benchmark(b, request("get", "key"), hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) {
		return reply, nil
	}))
}

func benchmark(b *testing.B, in []byte, host sandbox.Host) {
	p := opened(b, options(b, guest()), usual())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Call(context.Background(), wire.Begin, in, host); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is what a fault costs: a new process, up to its first call, and its end.
func BenchmarkStart(b *testing.B) {
	p := opened(b, options(b, guest()), usual())
	for b.Loop() {
		r, err := p.start(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		r.end(sandbox.ErrExit)
		<-r.gone
		b.StartTimer()
	}
}
