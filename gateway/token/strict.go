package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth bounds how deep the JSON of a token may nest.
const maxDepth = 16

// object is a JSON object whose members are looked up by their exact name. encoding/json
// would also take "Exp" for exp, and the last of two members of one name; both have let
// two readers of one token see different claims.
type object map[string]json.RawMessage

// parseObject reads a JSON object and refuses what is ambiguous in it, at every depth.
func parseObject(data []byte) (object, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	if !json.Valid(data) {
		return nil, errors.New("not JSON")
	}
	s := scanner{data: data}
	if s.next() != '{' {
		return nil, errors.New("not a JSON object")
	}
	o := make(object, 24) // our own tokens have 18 claims
	err := s.members(0, func(name string, value []byte) bool {
		before := len(o)
		o[name] = value
		return len(o) > before
	})
	return o, err
}

// scanner walks through JSON that is known to be valid, so it only has to find where
// values end. It exists for the sake of misses of the token cache: json.Decoder allocates
// for each of its tokens, some 400 times for one JWT.
type scanner struct {
	data []byte
	pos  int
}

var errDuplicate = errors.New("a member appears twice")

// next skips white space and separators and returns the byte that a value, a name or an
// end begins with, without passing it.
func (s *scanner) next() byte {
	for {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			s.pos++
		default:
			return c
		}
	}
}

// members walks through an object that begins at next. add reports whether a name is new.
func (s *scanner) members(depth int, add func(name string, value []byte) bool) error {
	s.pos++
	for s.next() != '}' {
		name, err := s.name()
		if err != nil {
			return err
		}
		s.next()
		start := s.pos
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if !add(name, s.data[start:s.pos]) {
			return errDuplicate
		}
	}
	s.pos++
	return nil
}

// name reads the name of a member, in the one form that all its spellings stand for.
func (s *scanner) name() (string, error) {
	start := s.pos
	s.text()
	raw := s.data[start:s.pos]
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var name string
	err := json.Unmarshal(raw, &name)
	return name, err
}

// value passes the value that begins at next.
func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	switch s.next() {
	case '{':
		seen := map[string]bool{}
		return s.members(depth, func(name string, _ []byte) bool {
			twice := seen[name]
			seen[name] = true
			return !twice
		})
	case '[':
		s.pos++
		for s.next() != ']' {
			if err := s.value(depth + 1); err != nil {
				return err
			}
		}
		s.pos++
	case '"':
		s.text()
	default: // a number, true, false or null
		for s.pos < len(s.data) && strings.IndexByte(" \t\r\n,]}", s.data[s.pos]) < 0 {
			s.pos++
		}
	}
	return nil
}

// text passes a string.
func (s *scanner) text() {
	s.pos++
	for s.data[s.pos] != '"' {
		if s.data[s.pos] == '\\' {
			s.pos++
		}
		s.pos++
	}
	s.pos++
}

func (o object) has(name string) bool { _, ok := o[name]; return ok }

// decode puts a member into dst and reports whether there is one. null is not a value.
func (o object) decode(name string, dst any) (bool, error) {
	raw, ok := o[name]
	if !ok {
		return false, nil
	}
	if bytes.Equal(raw, []byte("null")) {
		return false, fmt.Errorf("%s is null", name)
	}
	if err := json.Unmarshal(raw, dst); err != nil {
		return false, fmt.Errorf("%s has the wrong type", name)
	}
	return true, nil
}

// text returns a string member, empty if there is none.
func (o object) text(name string) (s string, err error) {
	_, err = o.decode(name, &s)
	return s, err
}

// moment returns a NumericDate (RFC 7519 §2), the zero time if there is none.
func (o object) moment(name string) (time.Time, error) {
	raw, ok := o[name]
	if !ok {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	const year9999 = 253402300799
	if err != nil || seconds < 0 || seconds > year9999 {
		return time.Time{}, fmt.Errorf("%s is not a date", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}

// words returns a member that is a string of words or an array of strings, as scope (RFC
// 8693 §4.2) and its relatives are.
func (o object) words(name string) ([]string, error) {
	raw, ok := o[name]
	if !ok {
		return nil, nil
	}
	if bytes.HasPrefix(raw, []byte(`"`)) {
		s, err := o.text(name)
		return strings.Fields(s), err
	}
	var list []string
	_, err := o.decode(name, &list)
	return list, err
}

// holds reports whether a member is the string want or an array with it, as aud is (RFC
// 7519 §4.1.3).
func (o object) holds(name, want string) (bool, error) {
	list, err := o.list(name)
	return slices.Contains(list, want), err
}

// list returns a member that is one string or an array of strings.
func (o object) list(name string) (list []string, err error) {
	if bytes.HasPrefix(o[name], []byte(`"`)) {
		s, err := o.text(name)
		return []string{s}, err
	}
	_, err = o.decode(name, &list)
	return list, err
}

// at finds the object that holds a claim of a configured name, and the claim's name in it.
// A name is first taken as it is, since claims may be URLs; else its dots are a path, as
// in realm_access.roles.
func (o object) at(name string) (object, string) {
	if name == "" || o.has(name) {
		return o, name
	}
	head, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		return o, name
	}
	var inner object
	if found, err := o.decode(head, &inner); !found || err != nil {
		return nil, rest
	}
	return inner.at(rest)
}
