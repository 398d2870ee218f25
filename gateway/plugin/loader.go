package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// loader makes instances of one provider ready. All of them must say that they are the
// same provider as the first.
type loader struct {
	settings []byte
	granted  []sdk.Capability

	mu       sync.Mutex
	manifest []byte // of the first instance
}

// prepare asks an instance what it is and gives it its settings.
func (l *loader) prepare(ctx context.Context, call sandbox.Caller) error {
	manifest, err := call(ctx, wire.Describe, nil)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	if err := l.same(manifest); err != nil {
		return err
	}
	reply, err := call(ctx, wire.Configure, wire.EncodeSettings(l.settings))
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	faults, err := wire.DecodeFaults(reply)
	if err != nil {
		return fmt.Errorf("%w: configure: %w", sandbox.ErrProtocol, err)
	}
	return settingsError(faults)
}

func (l *loader) same(manifest []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.manifest == nil {
		l.manifest = bytes.Clone(manifest)
	}
	if !bytes.Equal(l.manifest, manifest) {
		return fmt.Errorf("%w: the manifest is another than at the start", sandbox.ErrProtocol)
	}
	return nil
}

// admit checks the manifest against what the module imports and what is granted. The
// order of things: the operator grants, the manifest declares no more than that, and the
// module imports no more than its manifest declares.
func (l *loader) admit(imported []sdk.Capability) (sdk.Manifest, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, err := checkManifest(l.manifest)
	if err != nil {
		return m, err
	}
	for _, c := range m.Capabilities {
		if !slices.Contains(l.granted, c) {
			return m, fmt.Errorf("plugin %s needs capability %q, which is not granted", m.ID, c)
		}
	}
	for _, c := range imported {
		if !slices.Contains(m.Capabilities, c) {
			return m, fmt.Errorf("plugin %s imports capability %q, which its manifest does not declare", m.ID, c)
		}
	}
	return m, nil
}

// settingsError joins the faults of a provider's settings into one error, a line for each.
func settingsError(faults []sdk.Fault) error {
	var errs []error
	for _, f := range faults {
		path := "config"
		if f.Path != "" {
			path += "." + f.Path
		}
		errs = append(errs, errors.New(line(path, 128)+": "+line(f.Message, 256)))
	}
	return errors.Join(errs...)
}

// line makes text of a plugin one line of at most n bytes.
func line(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		s = s[:n] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
