package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
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
	var o object
	if err := json.Unmarshal(data, &o); err != nil || o == nil {
		return nil, errors.New("not a JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := refuseDuplicates(decoder, 0); err != nil {
		return nil, err
	}
	return o, nil
}

// refuseDuplicates reads one value of JSON that is known to be well-formed.
func refuseDuplicates(d *json.Decoder, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	start, err := d.Token()
	if err != nil {
		return err
	}
	delim, composite := start.(json.Delim)
	if !composite {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if seen[name.(string)] {
				return errors.New("a member appears twice")
			}
			seen[name.(string)] = true
		}
		if err := refuseDuplicates(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing delimiter
	return err
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
	raw := o[name]
	if bytes.HasPrefix(raw, []byte(`"`)) {
		s, err := o.text(name)
		return s == want, err
	}
	var list []string
	if _, err := o.decode(name, &list); err != nil {
		return false, err
	}
	for _, s := range list {
		if s == want {
			return true, nil
		}
	}
	return false, nil
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
