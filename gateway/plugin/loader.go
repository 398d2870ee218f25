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
	"github.com/materi/shield/sdk/contract"
	"github.com/materi/shield/sdk/wire"
)

// loader makes instances of one provider ready. All of them must say that they are the
// same provider as the first.
type loader struct {
	settings []byte
	granted  []sdk.Capability

	mu       sync.Mutex
	bytes    []byte // the manifest of the first instance, as it came
	manifest sdk.Manifest
}

// prepare asks an instance what it is, and gives its settings to one that may have them.
func (l *loader) prepare(ctx context.Context, call sandbox.Caller) error {
	manifest, err := call(ctx, wire.Describe, nil)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	if err := l.admit(manifest); err != nil {
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

// admit holds the first manifest to the contract and to what is granted, and each further
// one to the first.
func (l *loader) admit(manifest []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes != nil {
		if !bytes.Equal(l.bytes, manifest) {
			return fmt.Errorf("%w: the manifest is another than at the start", sandbox.ErrProtocol)
		}
		return nil
	}
	m, err := wire.DecodeManifest(manifest)
	if err == nil {
		err = contract.Manifest(m)
	}
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	for _, c := range m.Capabilities {
		if !slices.Contains(l.granted, c) {
			return fmt.Errorf("manifest: plugin %s needs capability %q, which is not granted", m.ID, c)
		}
	}
	l.bytes, l.manifest = bytes.Clone(manifest), m
	return nil
}

// agree checks what the transport knows of the module against its manifest, and returns
// that. The order of things: the operator grants, the manifest declares no more than that,
// and the module imports no more than its manifest declares.
func (l *loader) agree(m module) (sdk.Manifest, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes == nil {
		return sdk.Manifest{}, errors.New("manifest: the transport did not ask for it")
	}
	if v, ok := m.(versioned); ok && v.ABI() != l.manifest.ABI {
		return sdk.Manifest{}, fmt.Errorf("manifest: it names version %d of the contract, and the module speaks version %d", l.manifest.ABI, v.ABI())
	}
	i, ok := m.(importer)
	if !ok {
		return l.manifest, nil
	}
	for _, c := range i.Capabilities() {
		if !slices.Contains(l.manifest.Capabilities, c) {
			return sdk.Manifest{}, fmt.Errorf("manifest: plugin %s imports capability %q and does not declare it", l.manifest.ID, c)
		}
	}
	return l.manifest, nil
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

// selfTest makes one real call, of a form that no provider has: any answer that the
// contract allows will do, a refusal or an error as well. What traps, hangs or answers
// nonsense is found here and not by a person. The host of the call grants nothing, so
// nothing can come of it.
func selfTest(ctx context.Context, m module) error {
	flow := sdk.Flow{ID: "self-test", Kind: sdk.FlowLogin, Form: "self-test"}
	out, err := m.Call(ctx, wire.Begin, wire.EncodeCall(wire.Call{Flow: flow}), refusing{})
	if err == nil {
		_, err = judge(out, flow)
	}
	if _, said := errors.AsType[*sdk.Error](err); err == nil || said {
		return nil
	}
	return fmt.Errorf("self-test: %w", err)
}

// refusing is the host of a self-test.
type refusing struct{}

// Serve grants nothing.
func (refusing) Serve(context.Context, wire.Function, []byte) ([]byte, error) {
	return nil, sdk.ErrNotGranted
}
