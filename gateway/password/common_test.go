package password

import (
	"strings"
	"testing"
)

func TestCommonKnowsThe100000(t *testing.T) {
	h, runs := hasher(t)
	for password, want := range map[string]bool{
		"password":                           true,
		"PassWord":                           true,
		"123456":                             true,
		"qwertyuiop":                         true,
		"\uff50assword":                      true, // full-width p
		"trustno1":                           true,
		"":                                   false,
		"\n":                                 false,
		"password\n":                         false,
		"passwork5":                          false,
		"!":                                  false,
		"~":                                  false,
		"\xff":                               false,
		"correct horse battery staple":       false,
		strings.Repeat("password", 1<<10):    false,
		h.common.line(0):                     true,
		h.common.line(len(h.common.end) - 1): true,
	} {
		got, err := h.Common(t.Context(), password)
		if err != nil || got != want {
			t.Errorf("Common(%.40q) = %v, %v, want %v", password, got, err, want)
		}
	}
	if len(runs()) != 0 {
		t.Error("Common hashes")
	}
}

func TestCommonListIsSortedFoldedAndWhole(t *testing.T) {
	h, _ := hasher(t)
	if n := len(h.common.end); n < 96_000 || n > 100_000 {
		t.Errorf("%d entries: 100,000 lines fold to a little fewer", n)
	}
	before := ""
	for i := range h.common.end {
		line := h.common.line(i)
		if line <= before {
			t.Fatalf("line %d %q is not after %q", i, line, before)
		}
		if fold(line) != line {
			t.Errorf("line %d %q is not folded", i, line)
		}
		before = line
	}
}

func BenchmarkCommon(b *testing.B) {
	h, _ := hasher(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Common(b.Context(), "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
