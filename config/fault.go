package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a configuration, and what would be right. It never
// holds a secret, nor a value that came from the environment.
type Fault struct {
	File    string // the file, or $NAME for a value that an environment variable gave
	Line    int    // from 1; 0 where File is not a file
	Col     int    // from 1; 0 where File is not a file
	Path    string // the key: routes[0].auth; empty for the file itself
	Message string
}

// String returns the fault as file:line:col: path: message, without what is unknown.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Col)
	}
	if f.Path != "" {
		b.WriteString(": " + f.Path)
	}
	b.WriteString(": " + f.Message)
	return b.String()
}

// Faults is every fault of a configuration, sorted by place. It is the error of [Load] and
// [Parse].
type Faults []Fault

// Error returns one fault a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

func (f Faults) sort() {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Message, b.Message),
		)
	})
}

// alternative returns the candidate that a misspelt word most likely meant, or "".
func alternative(word string, candidates []string) string {
	const longest = 64 // nobody misspells more, and the distance costs the product of lengths
	if len(word) > longest {
		return ""
	}
	fold := func(s string) string {
		return strings.ReplaceAll(strings.ToLower(s), "-", "_")
	}
	best, distance := "", 1+min(2, len(word)/3)
	for _, c := range candidates {
		if d := editDistance(fold(word), fold(c)); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// editDistance is the least number of insertions, deletions and replacements of bytes
// between a and b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
