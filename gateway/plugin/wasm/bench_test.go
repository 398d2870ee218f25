package wasm

import (
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
	"github.com/materi/shield/gateway/plugin/wasmtest"
	"github.com/materi/shield/sdk/wire"
)

// plain is a module that cannot be interrupted: what the strategies are compared with.
const plain Interruption = -1

var strategies = []struct {
	name string
	Interruption
}{{"plain", plain}, {"metered", Metered}, {"deadline", Deadline}}

// each runs a benchmark with each strategy.
func each(b *testing.B, code []byte, run func(b *testing.B, m *Module)) {
	for _, s := range strategies {
		b.Run(s.name, func(b *testing.B) {
			opts := options(code)
			opts.Timeout, opts.Fuel, opts.Interruption = 5*time.Minute, 1<<60, s.Interruption
			if s.Interruption != plain {
				run(b, open(b, opts))
				return
			}
			// What Open does, for a strategy that it refuses.
			bounded, err := bound(code)
			if err != nil {
				b.Fatal(err)
			}
			opts.Now = time.Now
			m := newModule(context.Background(), opts)
			if err := m.open(context.Background(), bounded); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = m.Close(context.Background()) })
			run(b, m)
		})
	}
}

func must(b *testing.B, m *Module, in []byte) {
	if _, err := m.Call(context.Background(), wire.Begin, in, nil); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCall is a call that does nothing: decode a request of 1 KiB and encode a step of the same in the
// guest, and cross the border both ways.
func BenchmarkCall(b *testing.B) {
	in := request("echo", strings.Repeat("x", 1024))
	each(b, guest(b, "guest"), func(b *testing.B, m *Module) {
		b.ReportAllocs()
		for b.Loop() {
			must(b, m, in)
		}
	})
}

// BenchmarkBorder is a call of a guest that does nothing at all.
func BenchmarkBorder(b *testing.B) {
	each(b, tiny(abiIs(1), callDoes(nil)), func(b *testing.B, m *Module) {
		b.ReportAllocs()
		for b.Loop() {
			must(b, m, nil)
		}
	})
}

// BenchmarkDecode is the guest's reading of one request of 1 KiB.
func BenchmarkDecode(b *testing.B) {
	const times = 1000
	in := request("decode", strconv.Itoa(times))
	each(b, guest(b, "guest"), func(b *testing.B, m *Module) {
		for b.Loop() {
			must(b, m, in)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/times, "ns/decode")
	})
}

// BenchmarkLoop is the tightest loop, 100 million times: the worst case of a strategy.
func BenchmarkLoop(b *testing.B) {
	each(b, tiny(abiIs(1), callDoes(counting(100_000_000))), func(b *testing.B, m *Module) {
		for b.Loop() {
			must(b, m, nil)
		}
	})
}

// counting counts a local down to zero and returns zero.
func counting(n int64) []byte {
	return join(constant(n), []byte{0x21, 0, opLoop, blockEmpty, 0x20, 0, opConst, 1, 0x6b, 0x22, 0, 0x0d, 0, opEnd}, constant(0))
}

// BenchmarkRecursion is fib(30), which is three million calls without a loop.
func BenchmarkRecursion(b *testing.B) {
	each(b, recursive(30), func(b *testing.B, m *Module) {
		for b.Loop() {
			must(b, m, nil)
		}
	})
}

// BenchmarkFuel is how much fuel a second takes: code that is stopped when it has used up its own.
func BenchmarkFuel(b *testing.B) {
	const fuel = 2_000_000_000
	for _, c := range []struct {
		name string
		code []byte
		in   []byte
	}{
		{"tight loop", tiny(abiIs(1), callDoes(counting(-1))), nil},
		{"recursion", recursive(90), nil},
		{"Go loop", guest(b, "guest"), request("loop", "")},
		{"Go decode", guest(b, "guest"), request("decode", "100000000")},
	} {
		b.Run(c.name, func(b *testing.B) {
			opts := options(c.code)
			opts.Timeout, opts.Fuel = 5*time.Minute, fuel
			m := open(b, opts)
			for b.Loop() {
				if _, err := m.Call(context.Background(), wire.Begin, c.in, nil); !errors.Is(err, ErrFuel) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(fuel*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gunits/s")
		})
	}
}

// BenchmarkStart is what a fault costs, and each call of a module with an instance for each: a new one.
func BenchmarkStart(b *testing.B) {
	each(b, guest(b, "guest"), func(b *testing.B, m *Module) {
		for b.Loop() {
			inst, err := m.start(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			inst.close()
		}
	})
}

// BenchmarkRewrite is the rewriting of the email plugin.
func BenchmarkRewrite(b *testing.B) {
	file, err := wasmtest.Build("../../../plugins/email/cmd", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(code)))
	b.ReportAllocs()
	var out []byte
	for b.Loop() {
		if out, err = meter.Rewrite(code, meter.Options{Call: costOf}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(code)), "bytes-before")
	b.ReportMetric(float64(len(out)), "bytes-after")
}

// BenchmarkCompile is a cold compilation of the email plugin.
func BenchmarkCompile(b *testing.B) {
	file, err := wasmtest.Build("../../../plugins/email/cmd", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range strategies[1:] {
		b.Run(s.name, func(b *testing.B) {
			opts := options(code)
			opts.CacheDir, opts.Interruption = "", s.Interruption
			for b.Loop() {
				m, err := Open(context.Background(), opts)
				if err != nil {
					b.Fatal(err)
				}
				if err := m.Close(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStop is how long after its deadline an endless guest is stopped.
func BenchmarkStop(b *testing.B) {
	const deadline = 20 * time.Millisecond
	forever := []byte{opLoop, blockEmpty, opBr, 0, opEnd}
	for _, c := range []struct {
		name string
		Interruption
		code []byte
		in   []byte
	}{
		{"metered/loop", Metered, tiny(abiIs(1), callDoes(join(forever, constant(0)))), nil},
		{"metered/recursion", Metered, recursive(90), nil},
		{"metered/Go loop", Metered, guest(b, "guest"), request("loop", "")},
		{"metered/memory.fill", Metered, filling(), nil},
		{"metered/deep stack", Metered, deep(), nil},
		{"deadline/loop", Deadline, tiny(abiIs(1), callDoes(join(forever, constant(0)))), nil},
		{"deadline/Go loop", Deadline, guest(b, "guest"), request("loop", "")},
	} {
		b.Run(c.name, func(b *testing.B) {
			opts := options(c.code)
			opts.Timeout, opts.Fuel, opts.Interruption = deadline, 1<<60, c.Interruption
			m := open(b, opts)
			var worst, sum time.Duration
			for b.Loop() {
				inst, err := m.start(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				if _, err := inst.call(context.Background(), wire.Begin, c.in, nil); !errors.Is(err, ErrTimeout) {
					b.Fatal(err)
				}
				late := time.Since(start) - deadline
				inst.close()
				worst, sum = max(worst, late), sum+late
			}
			b.ReportMetric(float64(sum.Microseconds())/float64(b.N)/1000, "late-ms")
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-late-ms")
		})
	}
}

// BenchmarkStall is the longest that another goroutine waits while a guest loops and the collector runs; and what
// it waits when there is no guest, which is the machine's.
func BenchmarkStall(b *testing.B) {
	const lasts = 300 * time.Millisecond
	measure := func(name string, busy func()) {
		b.Run(name, func(b *testing.B) {
			var worst, collection time.Duration
			for b.Loop() {
				done := make(chan struct{})
				go func() {
					defer close(done)
					busy()
				}()
				stall, gc := watch(done)
				worst, collection = max(worst, stall), max(collection, gc)
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-stall-ms")
			b.ReportMetric(float64(collection.Microseconds())/1000, "worst-gc-ms")
		})
	}
	measure("no guest", func() { <-time.After(lasts) })
	for _, s := range strategies[1:] {
		for kind, code := range map[string][]byte{"loop": tiny(abiIs(1), callDoes(counting(0))), "memory.fill": filling()} {
			opts := options(code)
			opts.Timeout, opts.Fuel, opts.Interruption = lasts, 1<<60, s.Interruption
			m := open(b, opts)
			measure(s.name+"/"+kind, func() { _, _ = m.Call(context.Background(), wire.Begin, nil, nil) })
		}
	}
}

// watch wakes up each millisecond, and runs the collector each tenth time, until done.
func watch(done <-chan struct{}) (stall, gc time.Duration) {
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	collect := make(chan struct{}, 1)
	finished := make(chan time.Duration)
	go func() {
		var worst time.Duration
		for range collect {
			start := time.Now()
			runtime.GC()
			worst = max(worst, time.Since(start))
		}
		finished <- worst
	}()
	last := time.Now()
	for n := 0; ; n++ {
		select {
		case <-done:
			close(collect)
			return stall, <-finished
		case <-ticks.C:
		}
		stall = max(stall, time.Since(last)-time.Millisecond)
		if n%10 == 0 {
			select {
			case collect <- struct{}{}:
			default:
			}
		}
		last = time.Now()
	}
}

// BenchmarkMemory is what 100,000 calls leave behind.
func BenchmarkMemory(b *testing.B) {
	opts := options(guest(b, "guest"))
	opts.Instances = 1
	m := open(b, opts)
	in := request("echo", strings.Repeat("x", 1024))
	for b.Loop() {
		for range 1000 {
			must(b, m, in)
		}
		heap, rss, linear := usage(m)
		for range 100_000 {
			must(b, m, in)
		}
		heapAfter, rssAfter, linearAfter := usage(m)
		b.ReportMetric(mib(heap), "heap-before-MiB")
		b.ReportMetric(mib(heapAfter), "heap-after-MiB")
		b.ReportMetric(mib(rss), "rss-before-MiB")
		b.ReportMetric(mib(rssAfter), "rss-after-MiB")
		b.ReportMetric(mib(linear), "linear-before-MiB")
		b.ReportMetric(mib(linearAfter), "linear-after-MiB")
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// usage returns the heap, the resident memory of this process, and the linear memory of the idle instances.
func usage(m *Module) (heap, rss, linear int64) {
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
		rss = pages * int64(os.Getpagesize())
	}
	for _, inst := range m.idle {
		linear += inst.size()
	}
	return int64(stats.HeapAlloc), rss, linear
}
