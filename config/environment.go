package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// maxValueFile is the most that a file named by a _FILE variable may hold, in bytes.
const maxValueFile = 1 << 20

// environment reads variables. Each name N has a second form N_FILE, which names a file
// that holds the value, as orchestrators mount secrets.
type environment func(name string) (string, bool)

// lookup returns the value of a variable and which variable gave it. An empty variable
// does not hide a file. The error tells neither a value nor the name of a file.
func (e environment) lookup(name string) (value, source string, ok bool, err error) {
	value, ok = e(name)
	file, named := e(name + "_FILE")
	if !named || file == "" {
		return value, name, ok, nil
	}
	source = name + "_FILE"
	if ok && value != "" {
		return "", source, false, fmt.Errorf("both %s and %s are set; set one of them", name, source)
	}
	value, err = readValue(file)
	if err != nil {
		return "", source, false, fmt.Errorf("the file that %s names cannot be read: %w", source, err)
	}
	return value, source, true, nil
}

// readValue returns what a file holds without the one newline that editors put at its end.
func readValue(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", withoutPath(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxValueFile+1))
	if err != nil {
		return "", withoutPath(err)
	}
	if len(b) > maxValueFile {
		return "", errors.New("it is longer than 1 MiB")
	}
	value, found := strings.CutSuffix(string(b), "\n")
	if found {
		value = strings.TrimSuffix(value, "\r")
	}
	return value, nil
}

// withoutPath returns the cause of a file error without the name of the file.
func withoutPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

var reference = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// expand replaces ${NAME} and ${NAME:-default} in text; $${ stands for a literal ${. It
// reports whether anything came from the environment.
func (e environment) expand(text string) (expanded string, used bool, err error) {
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), used, nil
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		b.WriteString(text[:i])
		m := reference.FindStringSubmatch(text[i:])
		if m == nil {
			return "", true, errors.New("a ${ begins no variable; write ${NAME} or ${NAME:-default}, and $${ for a literal ${")
		}
		value, err := e.variable(m[1], m[2] != "", m[3])
		if err != nil {
			return "", true, err
		}
		b.WriteString(value)
		text = text[i+len(m[0]):]
		used = true
	}
}

func (e environment) variable(name string, hasFallback bool, fallback string) (string, error) {
	value, _, ok, err := e.lookup(name)
	if err != nil {
		return "", err
	}
	if hasFallback && (!ok || value == "") {
		return fallback, nil
	}
	if !ok {
		return "", fmt.Errorf("the environment variable %s is not set; set it, or write ${%s:-default}", name, name)
	}
	return value, nil
}
