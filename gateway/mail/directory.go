package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// directory writes each mail into a file of its own, for development and for a mail system
// that picks files up.
type directory struct{ path string }

// newDirectory makes the directory. Its mode is 0700, since mails hold one-time links.
func newDirectory(path string) (*directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("mail directory: %w", err)
	}
	return &directory{path}, nil
}

// deliver writes the mail under a name that begins with its time and holds its id, so
// that a listing is in order and a second try replaces the first. Whoever reads the
// directory sees a mail whole or not at all. Lines end with LF, as in a maildir.
func (d *directory) deliver(_ context.Context, l letter) error {
	var raw bytes.Buffer
	if _, err := l.msg.WriteTo(&raw); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	content := bytes.ReplaceAll(raw.Bytes(), []byte("\r\n"), []byte("\n"))
	name := l.created.UTC().Format("20060102T150405.000Z") + "-" + l.id + ".eml"
	return writeFile(d.path, name, content)
}

func writeFile(dir, name string, content []byte) (err error) {
	f, err := os.CreateTemp(dir, ".mail-*") // mode 0600
	if err != nil {
		return fmt.Errorf("make mail file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write mail file: %w", err)
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("name mail file: %w", err)
	}
	return nil
}
