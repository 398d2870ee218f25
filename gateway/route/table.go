// Package route decides which entry of a table a request belongs to, by host, path and
// method. It knows nothing of HTTP messages, of who may send a request, or of what is done
// with it: the value of an entry is its caller's. It also owns the canonical form of paths
// and hosts, so that configuration and requests are put into the same form by the same code.
package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNotFound says that no entry is for the host and path.
var ErrNotFound = errors.New("no route")

// MethodError says that entries are for the host and path, but none for the method.
type MethodError struct {
	Allow []string // the methods that there are entries for, sorted
}

func (e *MethodError) Error() string { return "no route for this method" }

// Methods are all methods that a table knows; an entry without methods is for all of them.
// The slice is the caller's own.
func Methods() []string { return slices.Clone(methods[:]) }

var methods = [...]string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}

// Entry is one line of a table. Exactly one of Path, Prefix and Pattern is set.
type Entry[T any] struct {
	Name    string   // for logs and metrics
	Host    string   // empty: any host
	Path    string   // this path alone
	Prefix  string   // "/a": that path and all below it, "/a/b" but not "/ab"; "/a/": all below alone
	Pattern string   // "/a/{name}": each {name} stands for one segment that is not empty
	Methods []string // empty: all; GET includes HEAD where no other entry takes it
	Value   T
}

// Match is the entry that a request belongs to.
type Match[T any] struct {
	Name   string
	Value  T
	Params []Param // of a Pattern, in its order; still in canonical, escaped form
}

// Param is one segment that a pattern left open.
type Param struct{ Name, Value string }

// Param returns the segment of that name, or nothing.
func (m *Match[T]) Param(name string) string {
	for _, p := range m.Params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Table is a set of entries. It does not change and is safe for concurrent use.
//
// The most specific path decides, whatever the order of the entries: entries of the named
// host come before those of any host, an exact path before a pattern, a pattern before a
// prefix, a longer prefix before a shorter one, and in patterns a literal segment before an
// open one, from left to right. The method has no part in that choice: a request that the
// most specific path has no entry for is a [*MethodError] and never falls through to a
// wider entry, which might be open to more people.
type Table[T any] struct {
	hosts map[string]*paths[T]
	any   *paths[T]
}

// New builds a table. The error joins everything that is wrong with the entries: malformed
// ones, and pairs that would answer the same requests.
func New[T any](entries []Entry[T]) (*Table[T], error) {
	t := &Table[T]{hosts: map[string]*paths[T]{}, any: newPaths[T]()}
	var faults []error
	for i := range entries {
		if err := t.add(&entries[i]); err != nil {
			faults = append(faults, fmt.Errorf("route %q: %w", entries[i].Name, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	t.any.finish()
	for _, p := range t.hosts {
		p.finish()
	}
	return t, nil
}

// Match returns the entry for a canonical host (see [SplitAuthority]), a canonical path (see
// [Canonical]) and a method. It fails with [ErrNotFound] or a [*MethodError]. It does not
// allocate unless the entry is a pattern.
func (t *Table[T]) Match(host, path, method string) (Match[T], error) {
	if p, ok := t.hosts[host]; ok {
		if l, params := p.find(path); l != nil {
			return l.match(method, params)
		}
	}
	if l, params := t.any.find(path); l != nil {
		return l.match(method, params)
	}
	return Match[T]{}, ErrNotFound
}

func (t *Table[T]) add(e *Entry[T]) error {
	for _, m := range e.Methods {
		if !slices.Contains(methods[:], m) {
			return fmt.Errorf("method %q is none of %s", m, strings.Join(methods[:], ", "))
		}
	}
	p, err := t.pathsOf(e.Host)
	if err != nil {
		return err
	}
	l, err := p.leafOf(e)
	if err != nil {
		return err
	}
	return l.add(e)
}

func (t *Table[T]) pathsOf(host string) (*paths[T], error) {
	if host == "" {
		return t.any, nil
	}
	name, port, err := SplitAuthority(host)
	if err != nil {
		return nil, fmt.Errorf("host %q: %w", host, err)
	}
	if port != "" {
		return nil, fmt.Errorf("host %q: a port is not part of a route", host)
	}
	p, ok := t.hosts[name]
	if !ok {
		p = newPaths[T]()
		t.hosts[name] = p
	}
	return p, nil
}

// leaf holds the entries of one path, by method.
type leaf[T any] struct {
	entries [len(methods)]*Entry[T]
	refusal *MethodError
}

func (l *leaf[T]) add(e *Entry[T]) error {
	wanted := e.Methods
	if len(wanted) == 0 {
		wanted = methods[:]
	}
	for _, m := range wanted {
		i := slices.Index(methods[:], m)
		if other := l.entries[i]; other != nil {
			return fmt.Errorf("%s of the same host and path is already taken by route %q", m, other.Name)
		}
		l.entries[i] = e
	}
	return nil
}

func (l *leaf[T]) finish() {
	get, head := slices.Index(methods[:], "GET"), slices.Index(methods[:], "HEAD")
	if l.entries[head] == nil {
		l.entries[head] = l.entries[get]
	}
	l.refusal = &MethodError{}
	for i, e := range l.entries {
		if e != nil {
			l.refusal.Allow = append(l.refusal.Allow, methods[i])
		}
	}
}

func (l *leaf[T]) match(method string, values []string) (Match[T], error) {
	for i := range methods {
		if methods[i] != method {
			continue
		}
		e := l.entries[i]
		if e == nil {
			break
		}
		m := Match[T]{Name: e.Name, Value: e.Value}
		for j, name := range patternParams(e.Pattern) {
			m.Params = append(m.Params, Param{name, values[j]})
		}
		return m, nil
	}
	return Match[T]{}, l.refusal
}
