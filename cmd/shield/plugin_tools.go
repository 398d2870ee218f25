package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/materi/shield/sdk/providertest"
)

// scriptName is the file beside a plugin with what its tests must know; see
// providertest.Script.
const scriptName = "plugin.test.json"

// toolFlags returns a set of flags that prints nothing by itself.
func toolFlags() *flag.FlagSet {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

// positionals parses flags that stand before, between or after as many other arguments as
// are wanted, at least least and at most most.
func positionals(flags *flag.FlagSet, args []string, least, most int) ([]string, error) {
	var rest []string
	for {
		if err := flags.Parse(args); err != nil {
			return nil, errUsage
		}
		if flags.NArg() == 0 {
			break
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
	if len(rest) < least || len(rest) > most {
		return nil, errUsage
	}
	return rest, nil
}

// readScript reads the test data at path, or that beside the plugin if there is some. The
// second result is the name of the file, empty if there is none.
func readScript(path, plugin string) (providertest.Script, string, error) {
	missing := path == ""
	if missing {
		path = filepath.Join(filepath.Dir(plugin), scriptName)
	}
	b, err := os.ReadFile(path)
	if missing && errors.Is(err, os.ErrNotExist) {
		return providertest.Script{}, "", nil
	}
	if err != nil {
		return providertest.Script{}, "", err
	}
	s, err := providertest.ReadScript(b)
	if err != nil {
		return s, path, fmt.Errorf("%s is not valid:\n%w", path, err)
	}
	return s, path, nil
}

// indent puts every line of text behind a margin.
func indent(text, margin string) string {
	return margin + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+margin)
}
