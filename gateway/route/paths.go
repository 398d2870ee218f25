package route

import (
	"errors"
	"fmt"
	"strings"
)

// paths holds the entries of one host.
type paths[T any] struct {
	exact    map[string]*leaf[T]
	prefixes map[string]*leaf[T]
	patterns segment[T]
}

// segment is a node of the tree of patterns; the root stands for the slash at the beginning.
type segment[T any] struct {
	literals map[string]*segment[T]
	open     *segment[T]
	leaf     *leaf[T]
}

func newPaths[T any]() *paths[T] {
	return &paths[T]{exact: map[string]*leaf[T]{}, prefixes: map[string]*leaf[T]{}}
}

func (p *paths[T]) leafOf(e *Entry[T]) (*leaf[T], error) {
	set := 0
	for _, s := range []string{e.Path, e.Prefix, e.Pattern} {
		if s != "" {
			set++
		}
	}
	if set != 1 {
		return nil, errors.New("exactly one of path, prefix and pattern is needed")
	}
	switch {
	case e.Path != "":
		return leafIn(p.exact, e.Path)
	case e.Prefix != "":
		return leafIn(p.prefixes, e.Prefix)
	}
	return p.patterns.leafOf(e.Pattern)
}

func leafIn[T any](m map[string]*leaf[T], path string) (*leaf[T], error) {
	if err := checkCanonical(path); err != nil {
		return nil, err
	}
	l, ok := m[path]
	if !ok {
		l = &leaf[T]{}
		m[path] = l
	}
	return l, nil
}

// checkCanonical refuses a path that no canonical request could match, rather than
// repairing it: the configuration should say what is served.
func checkCanonical(path string) error {
	canonical, err := Canonical(path)
	if err != nil {
		return fmt.Errorf("path %q: %w", path, err)
	}
	if canonical != path {
		return fmt.Errorf("path %q must be written %q", path, canonical)
	}
	return nil
}

func (s *segment[T]) leafOf(pattern string) (*leaf[T], error) {
	seen := map[string]bool{}
	literal := []byte{'/'}
	node := s
	for i, part := range splitPattern(pattern) {
		if i > 0 {
			literal = append(literal, '/')
		}
		name, open := paramName(part)
		if !open {
			literal = append(literal, part...)
			node = node.literal(part)
			continue
		}
		if name == "" || seen[name] {
			return nil, fmt.Errorf("pattern %q: each {name} needs a name of its own", pattern)
		}
		seen[name] = true
		literal = append(literal, 'x')
		if node.open == nil {
			node.open = &segment[T]{}
		}
		node = node.open
	}
	if !strings.HasPrefix(pattern, "/") || len(seen) == 0 {
		return nil, fmt.Errorf("pattern %q: it must begin with a slash and have a {name}", pattern)
	}
	if err := checkCanonical(string(literal)); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	if node.leaf == nil {
		node.leaf = &leaf[T]{}
	}
	return node.leaf, nil
}

func (s *segment[T]) literal(part string) *segment[T] {
	if s.literals == nil {
		s.literals = map[string]*segment[T]{}
	}
	next, ok := s.literals[part]
	if !ok {
		next = &segment[T]{}
		s.literals[part] = next
	}
	return next
}

func splitPattern(pattern string) []string {
	return strings.Split(strings.TrimPrefix(pattern, "/"), "/")
}

func paramName(part string) (name string, open bool) {
	if !strings.HasPrefix(part, "{") || !strings.HasSuffix(part, "}") {
		return "", false
	}
	return part[1 : len(part)-1], true
}

// patternParams returns the names of a pattern in their order.
func patternParams(pattern string) []string {
	if pattern == "" {
		return nil
	}
	var names []string
	for _, part := range splitPattern(pattern) {
		if name, open := paramName(part); open {
			names = append(names, name)
		}
	}
	return names
}

func (p *paths[T]) finish() {
	for _, l := range p.exact {
		l.finish()
	}
	for _, l := range p.prefixes {
		l.finish()
	}
	p.patterns.finish()
}

func (s *segment[T]) finish() {
	if s.leaf != nil {
		s.leaf.finish()
	}
	for _, next := range s.literals {
		next.finish()
	}
	if s.open != nil {
		s.open.finish()
	}
}

// find returns the leaf of the most specific path, and what stands in its open segments.
func (p *paths[T]) find(path string) (*leaf[T], []string) {
	if l, ok := p.exact[path]; ok {
		return l, nil
	}
	if l, values := p.patterns.find(path, nil); l != nil {
		return l, values
	}
	return p.longestPrefix(path), nil
}

// find matches rest, which begins with a slash or is empty at the end of a path.
func (s *segment[T]) find(rest string, values []string) (*leaf[T], []string) {
	if rest == "" {
		return s.leaf, values
	}
	part, next := rest[1:], ""
	if i := strings.IndexByte(part, '/'); i >= 0 {
		part, next = part[:i], part[i:]
	}
	if n, ok := s.literals[part]; ok {
		if l, v := n.find(next, values); l != nil {
			return l, v
		}
	}
	if s.open == nil || part == "" {
		return nil, nil
	}
	return s.open.find(next, append(values, part))
}

func (p *paths[T]) longestPrefix(path string) *leaf[T] {
	if len(p.prefixes) == 0 {
		return nil
	}
	if l, ok := p.prefixes[path]; ok {
		return l
	}
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] != '/' {
			continue
		}
		if l, ok := p.prefixes[path[:i+1]]; ok { // "/a/" and "/"
			return l
		}
		if l, ok := p.prefixes[path[:i]]; ok { // "/a"
			return l
		}
	}
	return nil
}
