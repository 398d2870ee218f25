package meter_test

import (
	"context"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
)

// FuzzFuelCoversTheWork makes modules that count what they execute themselves, in a global, and holds the fuel
// that they pay to that count. They have blocks, loops and branches of every kind and always end.
func FuzzFuelCoversTheWork(f *testing.F) {
	f.Add([]byte{})
	for _, seed := range []string{
		"\x00\x20\x01\x05\x00\x10\x09\x02\x30\x05\x01\x09", "\x02\x00\x3c\x05\x07\x00\x3c\x09\x06\x06",
		"\x02\x01\x02\x01\x02\x05\x09\x05\x0a\x00\x3f\x09\x05\x03\x03\x09\x09\x09", "\x06\x09\x02\x06\x05\x00\x09\x06",
		"\x03\x00\x3d\x08\x00\x01\x09\x00\x20", "\x02\x04\x01\x00\x28\x05\x00\x09\x05\x02\x07",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		code := generate(in)
		if err := compiles(t, code); err != nil {
			t.Fatalf("the test makes invalid modules: %v\n%x", err, code)
		}
		var granted int64
		r := runtimeWith(t, func(_ context.Context, left int64) int64 {
			granted += 1 - left
			return 1
		})
		defer r.Close(context.Background())
		metered, err := meter.Rewrite(code, meter.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want, executed := count(t, r, code), count(t, r, metered)
		if executed != want {
			t.Errorf("the rewritten module executes %d instructions, want %d\n%x", executed, want, code)
		}
		if granted < executed || granted > 100*(executed+100) {
			t.Errorf("%d instructions were executed for %d fuel\n%x", executed, granted, code)
		}
	})
}

// count runs a generated module and returns how many instructions it says it has executed.
func count(t *testing.T, r wazero.Runtime, code []byte) int64 {
	t.Helper()
	ctx := context.Background()
	mod, err := r.InstantiateWithConfig(ctx, code, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mod.ExportedFunction("f").Call(ctx); err != nil {
		t.Fatal(err)
	}
	return int64(mod.ExportedGlobal("executed").Get())
}

const (
	turns     = 300 // branches that a generated module may take backwards, or by table
	functions = 4   // each calls only later ones
	deepest   = 8   // open blocks
)

// generator makes one function from bytes. Global 0 counts what was executed, and global 1 down from turns.
type generator struct {
	in      []byte
	out     []byte
	index   int    // of the function
	loops   []bool // of the open blocks: which are loops
	pending int    // instructions that were executed and are not counted
	size    int
}

func generate(in []byte) []byte {
	bodies := make([][]byte, functions)
	g := &generator{in: in}
	for i := range bodies {
		*g = generator{in: g.in, index: i}
		g.block()
		g.count(1)
		bodies[i] = function(noLocals, g.out)
	}
	return module(
		section(1, vector([]byte{0x60, 0, 0})),
		section(3, vector(slices.Repeat([][]byte{{0}}, functions)...)),
		section(6, vector([]byte{0x7e, 1, 0x42, 0, 0x0b}, slices.Concat([]byte{0x7f, 1}, i32(turns), []byte{0x0b}))),
		section(7, vector(slices.Concat(text("f"), []byte{0, 0}), slices.Concat(text("executed"), []byte{3, 0}))),
		section(10, vector(bodies...)),
	)
}

func (g *generator) next() int {
	if len(g.in) == 0 {
		return 9
	}
	b := g.in[0]
	g.in = g.in[1:]
	return int(b)
}

// emit adds instructions that are executed one after the other, n of them.
func (g *generator) emit(n int, code ...byte) {
	g.out = append(g.out, code...)
	g.pending += n
}

// count adds to the counter what is pending and the next n instructions.
func (g *generator) count(n int) {
	g.out = append(g.out, 0x23, 0, 0x42)
	g.out = append(g.out, sleb(int64(g.pending+4+n))...)
	g.out = append(g.out, 0x7c, 0x24, 0)
	g.pending = 0
}

// block adds statements until the bytes say that it is enough.
func (g *generator) block() {
	for g.size < 500 && g.statement() {
		g.size++
	}
}

// condition is a number that changes with the turns.
func (g *generator) condition() []byte { return []byte{0x23, 1, 0x41, byte(1 + g.next()%8), 0x71} }

func (g *generator) statement() bool {
	switch g.next() % 10 {
	case 0:
		n := g.next() % 100
		g.emit(n, repeat(n, 0x01)...)
	case 1:
		g.enclose(0x02)
	case 2:
		g.enclose(0x03)
	case 3:
		if len(g.loops) < deepest {
			g.count(4)
			g.out = append(g.out, g.condition()...)
			g.enclose(0x04)
		}
	case 4:
		g.branch(0x0d)
	case 5:
		g.table()
	case 6:
		if g.index+1 < functions {
			g.emit(1, 0x10, byte(g.index+1))
		}
	case 7:
		g.count(1)
		g.out = append(g.out, 0x0f)
	case 8:
		g.branch(0x0c)
	default:
		return false
	}
	return true
}

// enclose adds a block, a loop, or an if with or without else.
func (g *generator) enclose(op byte) {
	if len(g.loops) >= deepest {
		return
	}
	if op == 0x03 {
		g.count(0) // once, and not in each turn
	}
	g.emit(1, op, 0x40)
	if op == 0x04 {
		g.pending = 0
	}
	g.loops = append(g.loops, op == 0x03)
	g.block()
	g.count(0)
	if op == 0x04 && g.next()%2 == 0 {
		g.out = append(g.out, 0x05)
		g.block()
		g.count(0)
	}
	g.loops = g.loops[:len(g.loops)-1]
	g.out = append(g.out, 0x0b)
}

// branch adds a branch out of a block that is no loop, with or without a condition.
func (g *generator) branch(op byte) {
	label := g.next() % (len(g.loops) + 1)
	if label < len(g.loops) && g.loops[len(g.loops)-1-label] {
		return
	}
	condition := g.condition()
	if op == 0x0c {
		g.count(1)
	} else {
		g.count(4)
		g.out = append(g.out, condition...)
	}
	g.out = append(g.out, op, byte(label))
}

// table adds a branch to any labels, as long as there are turns left.
func (g *generator) table() {
	g.count(11)
	g.out = append(g.out, 0x23, 1, 0x41, 1, 0x6b, 0x24, 1)                // turns--
	g.out = append(g.out, 0x23, 1, 0x41, 0, 0x48, 0x04, 0x40, 0x0f, 0x0b) // turns < 0: return
	n := g.next() % 4
	g.out = append(g.out, 0x23, 1, 0x41, 3, 0x71, 0x0e, byte(n))
	for range n + 1 {
		g.out = append(g.out, byte(g.next()%(len(g.loops)+1)))
	}
}
