package token

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
)

const (
	keyFileName    = "signing-keys.json"
	keyFileVersion = 1
)

// keyFile keeps the signing keys of an installation. They stand in one file, because one
// file can be replaced atomically: a reader sees the keys before a rotation or those after
// it, never a mixture. Gateways that share the directory take turns through a lock file.
type keyFile struct{ dir string }

type keyFileJSON struct {
	Version int           `json:"version"`
	Keys    []keyFileItem `json:"keys"`
}

type keyFileItem struct {
	ID          string    `json:"kid"`
	Algorithm   string    `json:"alg"`
	CreatedAt   time.Time `json:"created_at"`
	ActivatesAt time.Time `json:"activates_at"`
	PrivateKey  string    `json:"private_key"` // PKCS #8 in PEM
}

func (f keyFile) path() string { return filepath.Join(f.dir, keyFileName) }

// read returns the keys, none if there is no file yet.
func (f keyFile) read() ([]ownKey, error) {
	info, err := os.Stat(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// The group may be let in: Kubernetes' fsGroup does so on its own.
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s can be read by everybody (mode %04o): chmod 600 it, and rotate the keys", f.path(), info.Mode().Perm())
	}
	data, err := os.ReadFile(f.path())
	if err != nil {
		return nil, err
	}
	keys, err := decodeKeys(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(), err)
	}
	return keys, nil
}

// update replaces the keys by what change makes of them, with every other gateway locked
// out. change returns nil for "leave them".
func (f keyFile) update(change func([]ownKey) ([]ownKey, error)) ([]ownKey, error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockedfile.MutexAt(f.path() + ".lock").Lock()
	if err != nil {
		return nil, fmt.Errorf("lock the key file: %w", err)
	}
	defer unlock()
	keys, err := f.read()
	if err != nil {
		return nil, err
	}
	changed, err := change(keys)
	if err != nil || changed == nil {
		return keys, err
	}
	if err := f.write(changed); err != nil {
		return nil, fmt.Errorf("write the key file: %w", err)
	}
	return changed, nil
}

// write replaces the file atomically and durably: the new keys must not be lost after a
// token was signed with one.
func (f keyFile) write(keys []ownKey) error {
	data, err := encodeKeys(keys)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(f.dir, keyFileName+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // nothing is left to remove after the rename
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), f.path()); err != nil {
		return err
	}
	dir, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func encodeKeys(keys []ownKey) ([]byte, error) {
	file := keyFileJSON{Version: keyFileVersion}
	for _, k := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(k.private)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k.id, err)
		}
		file.Keys = append(file.Keys, keyFileItem{
			ID: k.id, Algorithm: k.alg, CreatedAt: k.created.UTC(), ActivatesAt: k.activates.UTC(),
			PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		})
	}
	return json.MarshalIndent(file, "", "  ")
}

// decodeKeys reads what encodeKeys wrote. The identifier of each key must be its
// thumbprint, so a file that was put together wrongly is found out. Errors hold nothing of
// the data: it is secret.
func decodeKeys(data []byte) ([]ownKey, error) {
	var file keyFileJSON
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, errors.New("not a key file")
	}
	if file.Version != keyFileVersion {
		return nil, fmt.Errorf("version %d of the key file is not understood", file.Version)
	}
	if len(file.Keys) == 0 {
		return nil, errors.New("the key file holds no key")
	}
	keys := make([]ownKey, 0, len(file.Keys))
	for i, item := range file.Keys {
		private, err := parsePrivate(item.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		key, err := newOwnKey(item.Algorithm, private, private.Public(), item.CreatedAt, item.ActivatesAt)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if key.id != item.ID {
			return nil, fmt.Errorf("key %d: its kid is not its thumbprint", i+1)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
