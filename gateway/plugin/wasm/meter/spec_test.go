package meter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
)

// TestSpecificationHoldsForRewrittenModules runs the test suite of the WebAssembly
// specification, as wazero carries it, against the rewritten form of each of its modules: what it
// says of answers, traps, and modules that must be refused.
func TestSpecificationHoldsForRewrittenModules(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(wazeroDir(t), "internal/integration_test/spectest/v2/testdata/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var total tally
	for _, file := range files {
		s := newScript(t, file)
		s.run()
		total.add(s.tally)
	}
	if total.Modules < 1500 || total.Answers < 45_000 || total.Traps < 2000 || total.Refused < 2500 {
		t.Errorf("of %d files only %+v was run", len(files), total)
	}
}

// tally counts what was checked.
type tally struct{ Modules, Answers, Traps, Refused int }

func (t *tally) add(o tally) {
	t.Modules += o.Modules
	t.Answers += o.Answers
	t.Traps += o.Traps
	t.Refused += o.Refused
}

// script is one file of the suite.
type script struct {
	*testing.T
	tally
	file     string
	commands []command
	runtime  wazero.Runtime
	modules  map[string]api.Module
	last     api.Module
}

type command struct {
	Type       string  `json:"type"`
	Line       int     `json:"line"`
	Name       string  `json:"name"`
	As         string  `json:"as"`
	Filename   string  `json:"filename"`
	ModuleType string  `json:"module_type"`
	Text       string  `json:"text"`
	Action     action  `json:"action"`
	Expected   []value `json:"expected"`
}

type action struct {
	Type, Module, Field string
	Args                []value
}

type value struct {
	Type     string `json:"type"`
	LaneType string `json:"lane_type"`
	Value    any    `json:"value"`
}

func newScript(t *testing.T, file string) *script {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{T: t, file: file, modules: make(map[string]api.Module)}
	var in struct{ Commands []command }
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	s.commands = in.Commands
	return s
}

func (s *script) run() {
	s.Helper()
	ctx := context.Background()
	// Fuel is short at every payment for a while, and then lasts for some.
	refills := 0
	s.runtime = runtimeWith(s.T, func(context.Context, int64) int64 {
		refills++
		return []int64{0, 0, 0, 17, 50, 100, 1000}[refills%7]
	})
	defer s.runtime.Close(ctx)
	host, err := os.ReadFile(filepath.Join(wazeroDir(s.T), "internal/integration_test/spectest/testdata/spectest.wasm"))
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.runtime.InstantiateWithConfig(ctx, host, wazero.NewModuleConfig()); err != nil {
		s.Fatal(err)
	}
	for i, c := range s.commands {
		as := ""
		if i+1 < len(s.commands) && s.commands[i+1].Type == "register" {
			as = s.commands[i+1].As
		}
		if err := s.do(c, as); err != nil {
			s.Errorf("%s:%d %s: %v", filepath.Base(s.file), c.Line, c.Type, err)
		}
	}
}

func (s *script) do(c command, as string) error {
	switch c.Type {
	case "register":
		return nil
	case "module":
		mod, err := s.instantiate(c.Filename, as)
		if err != nil {
			return err
		}
		s.Modules++
		s.last = mod
		if c.Name != "" {
			s.modules[c.Name] = mod
		}
		return nil
	case "action", "assert_return":
		s.Answers++
		return s.answers(c)
	case "assert_trap", "assert_exhaustion":
		s.Traps++
		return s.traps(c)
	case "assert_uninstantiable", "assert_unlinkable", "assert_invalid", "assert_malformed":
		if c.ModuleType == "text" {
			return nil
		}
		_, err := s.instantiate(c.Filename, "")
		if err == nil && !s.tolerated(c) {
			return fmt.Errorf("%s is accepted: %s", c.Filename, c.Text)
		}
		s.Refused++
		return nil
	}
	return fmt.Errorf("command is unknown")
}

// tolerated reports whether a module that should be refused is known to be accepted.
func (s *script) tolerated(c command) bool {
	// wazero instantiates such a module, so that what it wrote into tables can be called.
	if c.Type == "assert_uninstantiable" && c.Text == "out of bounds table access" {
		return true
	}
	// Custom sections are not copied, so nothing can be wrong with them afterwards.
	return strings.HasPrefix(c.Filename, "utf8-custom-section-id.") || strings.HasPrefix(c.Filename, "custom.") ||
		c.Filename == "binary-leb128.30.wasm" || c.Filename == "binary-leb128.55.wasm"
}

func (s *script) instantiate(name, as string) (api.Module, error) {
	code, err := os.ReadFile(filepath.Join(filepath.Dir(s.file), name))
	if err != nil {
		s.Fatal(err)
	}
	metered, err := meter.Rewrite(code, meter.Options{Call: costly})
	if err != nil {
		return nil, err
	}
	return s.runtime.InstantiateWithConfig(context.Background(), metered, wazero.NewModuleConfig().WithName(as))
}

func (s *script) module(c command) api.Module {
	if c.Action.Module != "" {
		return s.modules[c.Action.Module]
	}
	return s.last
}

func (s *script) invoke(c command) ([]uint64, error) {
	f := s.module(c).ExportedFunction(c.Action.Field)
	if f == nil {
		return nil, fmt.Errorf("%q is not exported", c.Action.Field)
	}
	var args []uint64
	for _, a := range c.Action.Args {
		args = append(args, a.bits()...)
	}
	return f.Call(context.Background(), args...)
}

func (s *script) answers(c command) error {
	var got []uint64
	switch c.Action.Type {
	case "get":
		got = []uint64{s.module(c).ExportedGlobal(c.Action.Field).Get()}
	default:
		var err error
		if got, err = s.invoke(c); err != nil {
			return fmt.Errorf("%s%v: %w", c.Action.Field, c.Action.Args, err)
		}
	}
	for _, want := range c.Expected {
		n := len(want.bits())
		if len(got) < n || !want.equals(got[:n]) {
			return fmt.Errorf("%s%v = %#x, want %+v", c.Action.Field, c.Action.Args, got, want)
		}
		got = got[n:]
	}
	return nil
}

func (s *script) traps(c command) error {
	_, err := s.invoke(c)
	if err == nil {
		return fmt.Errorf("%s%v does not trap, want %q", c.Action.Field, c.Action.Args, c.Text)
	}
	want := c.Text
	switch {
	case strings.HasPrefix(want, "undefined"), strings.HasPrefix(want, "uninitialized"), want == "out of bounds table access":
		want = "invalid table access"
	case strings.HasPrefix(want, "indirect call"):
		want = "indirect call type mismatch"
	case strings.HasSuffix(want, "stack exhausted"):
		want = "stack overflow"
	case want == "invalid conversion to integer", want == "integer overflow", want == "integer divide by zero",
		want == "out of bounds memory access", want == "unreachable":
	default:
		return fmt.Errorf("trap %q is unknown to this test", want)
	}
	if !strings.Contains(err.Error(), want) {
		return fmt.Errorf("%s%v: error %v, want %q", c.Action.Field, c.Action.Args, err, want)
	}
	return nil
}

// lanes are the numbers of a value, and the width of each in bits.
func (v value) lanes() (text []string, width int) {
	widths := map[string]int{"i8": 8, "i16": 16, "i32": 32, "f32": 32, "i64": 64, "f64": 64}
	if v.Type != "v128" {
		s, _ := v.Value.(string)
		return []string{s}, max(widths[v.Type], 64)
	}
	for _, lane := range v.Value.([]any) {
		text = append(text, lane.(string))
	}
	return text, widths[v.LaneType]
}

func (v value) kind() string {
	if v.Type == "v128" {
		return v.LaneType
	}
	return v.Type
}

// bits is a value as wazero passes it.
func (v value) bits() []uint64 {
	text, width := v.lanes()
	out := make([]uint64, max(1, len(text)*width/64))
	for i, s := range text {
		at := i * width
		out[at/64] |= number(s, v.kind()) << (at % 64)
	}
	return out
}

func number(s, kind string) uint64 {
	switch {
	case s == "null", s == "":
		return 0 // of a reference
	case strings.HasPrefix(s, "nan"):
		return 0 // any of several; see equals
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		signed, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			panic(fmt.Sprintf("value %q: %v", s, err))
		}
		n = uint64(signed)
		if kind == "i8" || kind == "i16" || kind == "i32" {
			n &= 1<<(map[string]int{"i8": 8, "i16": 16, "i32": 32}[kind]) - 1
		}
	}
	if kind == "externref" {
		return n + 1 // wazero takes 0 for null
	}
	return n
}

func (v value) equals(got []uint64) bool {
	if v.Value == nil {
		return true // any reference
	}
	text, width := v.lanes()
	for i, s := range text {
		at := i * width
		g := got[at/64] >> (at % 64)
		if width < 64 {
			g &= 1<<width - 1
		}
		if v.kind() == "i32" || v.kind() == "f32" {
			g = uint64(uint32(g))
		}
		if strings.HasPrefix(s, "nan") {
			if !isNaN(g, v.kind(), s == "nan:canonical") {
				return false
			}
			continue
		}
		if g != number(s, v.kind()) {
			return false
		}
	}
	return true
}

func isNaN(bits uint64, kind string, canonical bool) bool {
	quiet := uint64(0x7ff8000000000000)
	sign := uint64(1) << 63
	if kind == "f32" {
		quiet, sign = 0x7fc00000, 1<<31
	}
	if canonical {
		return bits&^sign == quiet
	}
	return bits&quiet == quiet
}

func TestNumbersOfTheSuiteAreRead(t *testing.T) {
	for _, c := range []struct {
		v    value
		want []uint64
	}{
		{value{Type: "i32", Value: "4294967295"}, []uint64{0xffffffff}},
		{value{Type: "i64", Value: "18446744073709551615"}, []uint64{0xffffffffffffffff}},
		{value{Type: "v128", LaneType: "i16", Value: []any{"1", "2", "3", "4", "5", "6", "7", "65535"}}, []uint64{0x0004000300020001, 0xffff000700060005}},
		{value{Type: "v128", LaneType: "i64", Value: []any{"1", "2"}}, []uint64{1, 2}},
	} {
		if got := c.v.bits(); !slices.Equal(got, c.want) {
			t.Errorf("bits of %+v = %#x, want %#x", c.v, got, c.want)
		}
	}
}
