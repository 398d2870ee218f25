//go:build !linux

package process

import (
	"errors"
	"io"
	"os"
)

// errSystem says that what keeps a plugin's process from outliving the gateway, or from
// taking all memory, is Linux's.
var errSystem = errors.New("plugins as processes need Linux; a plugin that is a WASM module runs anywhere")

type command struct {
	name, file, dir string
	env             []string
	memory          int64
}

type child struct {
	stdout, stderr *os.File
	done           chan struct{}
	state          *os.ProcessState
}

func hide() error { return errSystem }

func launch(command) (*child, error) { return nil, errSystem }

func (*child) kill() {}

func (*child) family() int { return 0 }

func owned(os.FileInfo) bool { return true }

func lock(string, bool) (*os.File, error) { return nil, errSystem }

func writeProgram(string, func(io.Writer) error) error { return errSystem }
