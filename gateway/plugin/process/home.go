package process

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	homePrefix = "p" // of the directory of one process
	copyName   = "plugin"
	maxFile    = 1 << 30 // bytes of a plugin's file

	// MaxDir is how long the path of [Options.Dir] may be.
	MaxDir = maxDir - len("/p1234567890")

	// maxDir is how long the path of a home may be: the path of a socket has at most 107
	// bytes, and go-plugin makes plugin-dir0123456789/plugin0123456789 below the home.
	maxDir = 107 - len("/plugin-dir0123456789/plugin0123456789")
)

// home is the private directory of one process: the copy that runs, its sockets, and
// whatever it writes to where it is. It is locked as long as it is used.
type home struct {
	dir    string
	file   string // the copy
	digest [sha256.Size]byte
	lock   *os.File
}

// openHome makes a home below dir and copies the file there, if it is what digest says.
func openHome(dir, file string, digest [sha256.Size]byte) (*home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("plugin directory: %w", err)
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	h := &home{digest: digest}
	if err := h.make(dir); err != nil {
		return nil, fmt.Errorf("plugin directory: %w", err)
	}
	if err := h.fill(file); err != nil {
		return nil, errors.Join(fmt.Errorf("copy the plugin: %w", err), h.close())
	}
	return h, nil
}

// private makes a directory, or refuses one that others can write to.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("plugin directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("plugin directory: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("plugin directory %s may be written by others, who could run code as this user: want mode 0700", dir)
	}
	if !owned(info) {
		return fmt.Errorf("plugin directory %s belongs to another user, who could run code as this one", dir)
	}
	return nil
}

// make makes the home, and sweeps those away that nobody uses. It holds a lock on dir, so
// that no other gateway sweeps a home before it is locked.
func (h *home) make(dir string) error {
	all, err := lock(dir, true)
	if err != nil {
		return err
	}
	defer all.Close()
	if err := sweep(dir); err != nil {
		return err
	}
	if h.dir, err = os.MkdirTemp(dir, homePrefix); err != nil {
		return err
	}
	if h.lock, err = lock(h.dir, false); err != nil {
		return errors.Join(err, os.RemoveAll(h.dir))
	}
	h.file = filepath.Join(h.dir, copyName)
	if len(h.dir) > maxDir {
		return errors.Join(fmt.Errorf("%s is too long for the sockets in it: at most %d bytes", h.dir, maxDir), h.close())
	}
	return nil
}

// sweep removes homes that nobody has locked: whoever did is gone, and so are its children.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), homePrefix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		l, err := lock(path, false)
		if err != nil {
			continue // in use
		}
		err = errors.Join(os.RemoveAll(path), l.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// fill copies the file and compares what was copied with the digest, so that it does not
// matter who changes the file meanwhile.
func (h *home) fill(file string) error {
	from, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", file)
	}
	sum := sha256.New()
	err = writeProgram(h.file, func(to io.Writer) error {
		n, err := io.Copy(io.MultiWriter(to, sum), io.LimitReader(from, maxFile+1))
		if err == nil && n > maxFile {
			err = fmt.Errorf("%s is larger than %d bytes", file, maxFile)
		}
		return err
	})
	if err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != h.digest {
		return fmt.Errorf("%s was changed since it was checked", file)
	}
	return nil
}

// close removes the home.
func (h *home) close() error {
	return errors.Join(os.RemoveAll(h.dir), h.lock.Close())
}
