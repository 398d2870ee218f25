package route

import "errors"

// ErrPath says that a path has no canonical form that every server reads alike.
var ErrPath = errors.New("path is ambiguous")

const upperHex = "0123456789ABCDEF"

// Canonical returns the one form of a request path that the route decision, the log and
// the upstream see. Escapes of characters that stand for themselves in a path are decoded,
// the others get upper-case digits, and bytes that RFC 3986 does not allow in a path are
// escaped. RFC 3986 §2.2 would keep "%40" and "@" apart; servers do not, so a route for
// "/@admin" must not be passed by with "/%40admin". Only "+" is always escaped, since some
// servers read it as a space.
//
// Whatever two servers might read differently has no canonical form and gives [ErrPath]:
// a path that does not begin with a slash, empty segments, dot segments in any spelling, an
// escaped slash, backslash or control character, a broken escape, a backslash, a path
// parameter (";", which some servers cut off before they match), and a fragment.
//
// A path that is canonical already is returned as it is, without an allocation.
func Canonical(path string) (string, error) {
	if len(path) == 0 || path[0] != '/' {
		return "", ErrPath
	}
	n, err := firstChange(path)
	if err != nil {
		return "", err
	}
	if n == len(path) {
		return path, checkSegments(path)
	}
	canonical, err := rewrite(path, n)
	if err != nil {
		return "", err
	}
	return canonical, checkSegments(canonical)
}

// firstChange returns how many bytes of path are canonical already, escapes excluded.
func firstChange(path string) (int, error) {
	for i := range len(path) {
		switch class(path[i]) {
		case forbidden:
			return 0, ErrPath
		case escaped, percent:
			return i, nil
		}
	}
	return len(path), nil
}

func rewrite(path string, from int) (string, error) {
	out := append(make([]byte, 0, len(path)+16), path[:from]...)
	for i := from; i < len(path); i++ {
		c := path[i]
		switch class(c) {
		case forbidden:
			return "", ErrPath
		case literal:
			out = append(out, c)
		case escaped:
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		case percent:
			if i+2 >= len(path) {
				return "", ErrPath
			}
			hi, lo := unhex(path[i+1]), unhex(path[i+2])
			if hi < 0 || lo < 0 {
				return "", ErrPath
			}
			i += 2
			d := byte(hi<<4 | lo)
			switch {
			case d < 0x20 || d == 0x7f || d == '/' || d == '\\':
				return "", ErrPath
			case class(d) == literal:
				out = append(out, d)
			default:
				out = append(out, '%', upperHex[d>>4], upperHex[d&15])
			}
		}
	}
	return string(out), nil
}

// checkSegments refuses empty segments and dot segments. The last segment may be empty:
// "/a/" is another path than "/a".
func checkSegments(path string) error {
	start := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		segment := path[start:i]
		if segment == "." || segment == ".." || segment == "" && i < len(path) {
			return ErrPath
		}
		start = i + 1
	}
	return nil
}

type byteClass uint8

const (
	forbidden byteClass = iota // has no place in a path
	literal                    // stands for itself
	escaped                    // must be written as an escape
	percent                    // begins an escape
)

// class sorts a byte by pchar of RFC 3986 §3.3, without ";" and "+".
func class(c byte) byteClass {
	switch {
	case unreserved(c):
		return literal
	case c == '%':
		return percent
	case c < 0x20, c == 0x7f, c == '\\', c == ';', c == '?', c == '#':
		return forbidden
	}
	switch c {
	case '/', '!', '$', '&', '\'', '(', ')', '*', ',', '=', ':', '@':
		return literal
	}
	return escaped
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
