package password

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

//go:generate go run generate.go

// common.txt.gz holds the 100,000 most common passwords of SecLists' "10 million" list,
// in lower case, sorted, one a line. LICENSE-common.txt is its licence; generate.go says
// where it comes from. It is text so that anyone can read what is refused.
//
//go:embed common.txt.gz
var commonGZ []byte

// list is a sorted list of strings, packed: a map of the same would take five times the
// memory, and a search takes under a microsecond.
type list struct {
	text string
	end  []uint32 // where each line ends in text
}

func loadCommon() (*list, error) {
	zr, err := gzip.NewReader(bytes.NewReader(commonGZ))
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	l := &list{text: string(text), end: make([]uint32, 0, bytes.Count(text, []byte("\n")))}
	for i, c := range text {
		if c == '\n' {
			l.end = append(l.end, uint32(i))
		}
	}
	if len(l.end) == 0 {
		return nil, errors.New("empty")
	}
	return l, nil
}

func (l *list) line(i int) string {
	if i == 0 {
		return l.text[:l.end[0]]
	}
	return l.text[l.end[i-1]+1 : l.end[i]]
}

func (l *list) has(s string) bool {
	_, found := sort.Find(len(l.end), func(i int) int { return strings.Compare(s, l.line(i)) })
	return found
}

// fold is the form in which passwords are compared with the list.
func fold(password string) string { return strings.ToLower(string(normal(password))) }
