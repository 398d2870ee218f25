package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

func TestHostileModulesAreRefusedBeforeTheyRun(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		// The start section of each would trap: an error that says so means that code ran.
		good := func(extra ...part) []byte {
			return tiny(append([]part{abiIs(1), callDoes(nil), func(a *asm) { a.start = []byte{opTrap} }}, extra...)...)
		}
		for _, c := range []struct {
			name string
			code []byte
			want string
		}{
			{"nothing", nil, "not a WASM module"},
			{"text", []byte("#!/bin/sh\nrm -rf /"), "not a WASM module"},
			{"a section longer than the file", append([]byte("\x00asm\x01\x00\x00\x00\x01"), 0xff, 0x7f), "not a WASM module"},
			{"the import that metering adds", good(imports("shield_meter", "refill")), "import of shield_meter.refill"},
			{"four billion locals", locals(), "locals"},
			{"capability that is not granted", good(imports("shield_password", "hash")), `shield_password.hash: capability "password" is not granted`},
			{"capability that does not exist", good(imports("shield_dns", "lookup")), `"shield_dns"."lookup": this gateway has no such function`},
			{"function that does not exist", good(imports("shield_kv", "scan")), `"shield_kv"."scan"`},
			{"sockets", good(imports("wasi_snapshot_preview1", "sock_accept")), "sock_accept"},
			{"older WASI", good(imports("wasi_unstable", "fd_write")), "wasi_unstable"},
			{"any other module", good(imports("env", "system")), `"env"."system"`},
			{"no entry point", good(func(a *asm) { a.exports = []string{"memory", "shield_abi"} }), "does not export shield_call"},
			{"no memory", good(func(a *asm) { a.exports = []string{"shield_abi", "shield_call"} }), "does not export its memory"},
			{"more memory than it may have", good(func(a *asm) { a.memory = 1000 }), "memory"},
			{"a table of a gigabyte", good(func(a *asm) { a.table = join([]byte{1, 0x70, 0}, uleb(1<<27)) }), "table of 134217728 elements"},
			{"very many tables", good(func(a *asm) { a.table = uleb(1 << 30) }), "tables"},
		} {
			t.Run(c.name, func(t *testing.T) {
				opts := options(c.code)
				opts.Granted = []sdk.Capability{sdk.CapabilityKV}
				_, err := Open(context.Background(), opts)
				if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrTrap) {
					t.Errorf("Open() = %v, want %q", err, c.want)
				}
			})
		}
	})
}

// locals is a module with a function of 2^32-1 locals: 32 GiB to who takes it at its word.
func locals() []byte {
	types, function := section(1, []byte{1, 0x60, 0, 0}), section(3, []byte{1, 0})
	body := join([]byte{1}, uleb(1<<32-1), []byte{i32, opEnd})
	return join([]byte("\x00asm\x01\x00\x00\x00"), types, function, section(10, join([]byte{1}, uleb(uint64(len(body))), body)))
}

// The runtime would make room for 2^32 names, which is 100 GiB.
func TestNamesThatAModuleClaimsToHaveCostNothing(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		names := section(0, join(text("name"), []byte{1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f}))
		open(t, options(append(tiny(abiIs(1), callDoes(nil)), names...)))
	})
}

func TestEntryPointOfAnotherTypeIsRefused(t *testing.T) {
	// shield_abi under the name of shield_call.
	code := tiny(abiIs(1), callDoes(nil))
	at := strings.Index(string(code), "shield_call\x00\x01")
	code[at+len("shield_call\x00")] = 0
	if _, err := Open(context.Background(), options(code)); err == nil || !strings.Contains(err.Error(), "wrong type") {
		t.Errorf("Open() = %v, want a refusal of the type", err)
	}
}

func TestHostileStart(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		loop := []byte{opLoop, blockEmpty, opBr, 0, opEnd}
		for _, c := range []struct {
			name string
			code []byte
			want error
		}{
			{"trap in the start section", tiny(abiIs(1), callDoes(nil), func(a *asm) { a.start = []byte{opTrap} }), ErrTrap},
			{"another version of the contract", tiny(abiIs(3), callDoes(nil)), ErrProtocol},
			{"trap in shield_abi", tiny(callDoes(nil), func(a *asm) { a.abi = []byte{opTrap} }), ErrTrap},
			{"endless shield_abi", tiny(callDoes(nil), func(a *asm) { a.abi = join(loop, constant(1)) }), context.DeadlineExceeded},
			{"endless start section", tiny(abiIs(1), callDoes(nil), func(a *asm) { a.start = loop }), context.DeadlineExceeded},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if _, err := Open(ctx, options(c.code)); !errors.Is(err, c.want) {
					t.Errorf("Open() = %v, want %v", err, c.want)
				}
			})
		}
	})
}

func TestModuleThatGrowsItsTableIsStopped(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		// table.grow by 2^27 elements of null answers -1 within the limit that bound gives.
		grow := join([]byte{0xd0, 0x70}, constant(1<<27), []byte{0xfc, 15, 0})
		code := tiny(abiIs(1), callDoes(grow), func(a *asm) { a.table = []byte{1, 0x70, 0, 1} })
		m := open(t, options(code))
		_, err := m.Call(context.Background(), wire.Begin, nil, nil)
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "status -1") {
			t.Errorf("table.grow: error %v, want status -1", err)
		}
	})
}

// endless calls itself for ever.
var endless = join(constant(0), constant(0), []byte{opCall, 1}, []byte{opDrop}, constant(0))

func TestEndlessRecursionIsNoTroubleOfOthers(t *testing.T) {
	for strategy, want := range map[Interruption]error{Metered: ErrMemory, Deadline: ErrTrap} {
		opts := options(tiny(abiIs(1), callDoes(endless)))
		opts.Interruption = strategy
		m := open(t, opts)
		if _, err := m.Call(context.Background(), wire.Begin, nil, nil); !errors.Is(err, want) {
			t.Errorf("endless recursion: error %v, want %v", err, want)
		}
	}
}

// A stack is in no limit of memory, and the runtime lets it grow to 100 MB.
func TestRecursionTakesLittleMemoryWhereverItIs(t *testing.T) {
	for name, code := range map[string][]byte{
		"in a call":              tiny(abiIs(1), callDoes(endless)),
		"in shield_abi":          tiny(callDoes(endless), func(a *asm) { a.abi = endless }),
		"in the start section":   tiny(abiIs(1), callDoes(constant(0)), func(a *asm) { a.start = []byte{opCall, 2} }),
		"with a thousand values": tiny(abiIs(1), callDoes(wide(endless))),
	} {
		t.Run(name, func(t *testing.T) {
			// Compiled before, so that only what the guest takes is counted.
			if m, err := Open(context.Background(), options(code)); err == nil {
				_ = m.Close(context.Background())
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m, err := Open(context.Background(), options(code))
			if err == nil {
				_, err = m.Call(context.Background(), wire.Begin, nil, nil)
				_ = m.Close(context.Background())
			}
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrMemory) {
				t.Errorf("error %v, want %v", err, ErrMemory)
			}
			// All that was ever allocated: a stack of 2n bytes was one of n before.
			if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 80 {
				t.Errorf("%d MiB were allocated", n)
			}
		})
	}
}

// wide keeps a thousand values while code runs.
func wide(code []byte) []byte {
	var out []byte
	for range 1000 {
		out = join(out, []byte{0x20, 0, 0x20, 1, 0x6c}) // the parameters, multiplied
	}
	out = join(out, code)
	for range 1000 {
		out = append(out, 0x6a)
	}
	return out
}

// The bound of a stack rests on a field of the runtime's.
func TestStackOfACompiledFunctionIsFound(t *testing.T) {
	m := open(t, options(tiny(abiIs(1), callDoes(nil))))
	if s := m.idle[0].depth; !s.bytes.IsValid() || s.bytes.Len() == 0 {
		t.Error("the runtime has the stack of a function elsewhere: the bound of it is gone")
	}
}

func TestPointersOutOfBoundsFailTheCall(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		const page = 64 << 10
		functions := [][2]string{{"shield_io", "read"}, {"shield_io", "write"}}
		for _, f := range wire.Functions() {
			functions = append(functions, [2]string{f.Module(), f.Name})
		}
		asked := false
		host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) {
			asked = true
			return nil, nil
		})
		for _, f := range functions {
			for _, at := range []struct{ pointer, length int64 }{
				{page, 1}, {page - 1, 2}, {0, page + 1}, {-1, 1}, {1, -1}, {-1, -1}, {0x7fffffff, 0x7fffffff},
			} {
				body := join(constant(at.pointer), constant(at.length), []byte{opCall, 0, opDrop}, constant(0))
				opts := options(tiny(imports(f[0], f[1]), abiIs(1), callDoes(body)))
				opts.CacheDir = ""
				m := open(t, opts)
				if _, err := m.Call(context.Background(), wire.Begin, []byte("in"), host); !errors.Is(err, ErrProtocol) {
					t.Errorf("%s.%s(%d, %d): error %v, want %v", f[0], f[1], at.pointer, at.length, err, ErrProtocol)
				}
				if len(m.idle) != 0 {
					t.Errorf("%s.%s(%d, %d): the instance is kept", f[0], f[1], at.pointer, at.length)
				}
			}
		}
		if asked {
			t.Error("the host was asked with a request that is no memory of the module")
		}
	})
}

func TestReplyLargerThanAMessageFailsTheCall(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		// Writes its whole page for ever.
		write := join(constant(0), constant(64<<10), []byte{opCall, 0, opDrop})
		body := join([]byte{opLoop, blockEmpty}, write, []byte{opBr, 0, opEnd}, constant(0))
		opts := options(tiny(imports("shield_io", "write"), abiIs(1), callDoes(body)))
		opts.Timeout = 200 * time.Millisecond
		m := open(t, opts)
		if _, err := m.Call(context.Background(), wire.Begin, nil, nil); !errors.Is(err, ErrTimeout) {
			t.Errorf("error %v, want %v", err, ErrTimeout)
		}
		once := join(constant(0), constant(1<<20+1), []byte{opCall, 0, opDrop}, constant(0))
		m = open(t, options(tiny(imports("shield_io", "write"), abiIs(1), callDoes(once), func(a *asm) { a.memory = 20 })))
		if _, err := m.Call(context.Background(), wire.Begin, nil, nil); !errors.Is(err, ErrProtocol) {
			t.Errorf("error %v, want %v", err, ErrProtocol)
		}
	})
}

func TestRequestThatTheHostCannotDecodeFailsTheCall(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		body := join(constant(0), constant(4), []byte{opCall, 0, opDrop}, constant(0))
		host := hostFunc(func(context.Context, wire.Function, []byte) ([]byte, error) { return nil, wire.ErrMalformed })
		m := open(t, options(tiny(imports("shield_kv", "get"), abiIs(1), callDoes(body))))
		if _, err := m.Call(context.Background(), wire.Begin, nil, host); !errors.Is(err, ErrProtocol) {
			t.Errorf("error %v, want %v", err, ErrProtocol)
		}
	})
}

func TestHostIsNotThereBeforeTheFirstCall(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		// shield_abi of a module that asks the host at once and returns what it got, plus one
		// where that is "not granted" (-1).
		ask := join(constant(0), constant(0), []byte{opCall, 0}, constant(2), []byte{0x6a})
		opts := options(tiny(imports("shield_kv", "get"), callDoes(nil), func(a *asm) { a.abi = ask }))
		if _, err := Open(context.Background(), opts); err != nil {
			t.Errorf("Open() = %v, want version -1+2 of the contract", err)
		}
	})
}

func TestStatusOtherThanZeroIsAFault(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		for _, status := range []int64{1, 2, 3, -1, 1 << 30} {
			m := open(t, options(tiny(abiIs(1), callDoes(constant(status)))))
			if _, err := m.Call(context.Background(), wire.Begin, nil, nil); !errors.Is(err, ErrProtocol) {
				t.Errorf("status %d: error %v, want %v", status, err, ErrProtocol)
			}
		}
	})
}

func TestExitCodeCannotPretendToBeADeadline(t *testing.T) {
	both(t, func(t *testing.T, options func([]byte) Options) {
		exit := join(constant(0xefffffff-1<<32), []byte{opCall, 0}, constant(0))
		code := tiny(abiIs(1), callDoes(exit), importsAs("wasi_snapshot_preview1", "proc_exit", typeExit))
		m := open(t, options(code))
		if _, err := m.Call(context.Background(), wire.Begin, nil, nil); !errors.Is(err, ErrExit) || errors.Is(err, ErrTimeout) {
			t.Errorf("error %v, want %v", err, ErrExit)
		}
	})
}

func FuzzBound(f *testing.F) {
	f.Add(tiny(abiIs(1), callDoes(nil)))
	f.Add(tiny(abiIs(1), callDoes(nil), func(a *asm) { a.table = []byte{2, 0x70, 0, 1, 0x70, 1, 1, 2} }))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x04\x04\x01\x70\x00\x01"))
	f.Fuzz(func(t *testing.T, code []byte) {
		out, err := bound(code)
		if err != nil {
			return
		}
		again, err := bound(out)
		if err != nil || string(again) != string(out) {
			t.Errorf("bound of what bound made: %x, %v, want %x", again, err, out)
		}
		for rest := out[8:]; len(rest) > 0; {
			size, n := binary.Uvarint(rest[1:])
			if rest[0] == sectionTable && size > 0 && rest[1+n] > 0 && rest[1+n+2] != 1 {
				t.Errorf("a table has no limit: %x", out)
			}
			rest = rest[1+n+int(size):]
		}
	})
}
