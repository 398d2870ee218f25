package wasm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/materi/shield/gateway/plugin/wasm/meter"
)

// rewritten returns what package meter makes of a module. Reading it takes as long as all else
// of a start with compiled code, so what was made once is kept beside that code, by the digest
// of the module and of all that the rewriting depends on. A file that is not whole is made anew.
func (m *Module) rewritten(code []byte) ([]byte, error) {
	if m.opts.CacheDir == "" {
		return rewrite(code)
	}
	if err := private(m.opts.CacheDir); err != nil {
		return nil, err
	}
	file := filepath.Join(m.opts.CacheDir, fmt.Sprintf("metered-%x", rewriteKey(code)))
	if kept, ok := whole(file); ok {
		return kept, nil
	}
	out, err := rewrite(code)
	if err != nil {
		return nil, err
	}
	if err := keep(file, out); err != nil { // costs the next start some time, and nothing else
		m.opts.Log.Warn("rewritten plugin cannot be kept", "provider", m.opts.Name)
	}
	return out, nil
}

func rewrite(code []byte) ([]byte, error) {
	return meter.Rewrite(code, meter.Options{Call: costOf, Start: startExport})
}

// rewriteKey tells apart whatever is rewritten in another way.
func rewriteKey(code []byte) []byte {
	free := make([]string, 0, len(quick))
	for name := range quick {
		free = append(free, name)
	}
	slices.Sort(free)
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d %q %q %x", meter.Version, quantum, hostCall, startExport, free, sha256.Sum256(code))
	return h.Sum(nil)
}

// whole returns what keep wrote, if it is all there.
func whole(file string) ([]byte, bool) {
	data, err := os.ReadFile(file)
	if err != nil || len(data) < sha256.Size {
		return nil, false
	}
	sum := sha256.Sum256(data[sha256.Size:])
	return data[sha256.Size:], bytes.Equal(sum[:], data[:sha256.Size])
}

// keep writes a file that is there whole or not at all.
func keep(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "metering-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // not there any more if all went well
	sum := sha256.Sum256(data)
	_, err = f.Write(append(sum[:], data...))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
