package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/seal"
)

// secretKey returns the configured secret key, or the one of the data directory, which is
// made at the first start.
func secretKey(cfg config.Config) (*seal.Key, error) {
	secret := cfg.SecretKey.Reveal()
	if secret == "" {
		var err error
		if secret, err = keptSecret(filepath.Join(cfg.DataDir, "secret_key")); err != nil {
			return nil, fmt.Errorf("secret key: %w", err)
		}
	}
	key, err := seal.NewKey(secret)
	if err != nil {
		return nil, fmt.Errorf("secret_key: %w", err)
	}
	return key, nil
}

// previousKeys returns the secret keys of before.
func previousKeys(cfg config.Config) ([]*seal.Key, error) {
	var keys []*seal.Key
	for i, secret := range cfg.PreviousSecretKeys {
		key, err := seal.NewKey(secret.Reveal())
		if err != nil {
			return nil, fmt.Errorf("previous_secret_keys[%d]: %w", i, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// keptSecret reads a secret from a file, and makes it first where there is none. Of several
// processes that start at once one makes it, whole, and all read the same.
func keptSecret(path string) (string, error) {
	secret, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(secret)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := makeSecret(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	secret, err = os.ReadFile(path)
	return strings.TrimSpace(string(secret)), err
}

// makeSecret writes a new secret beside path and links it there, which fails if another
// was first.
func makeSecret(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(base64.RawURLEncoding.EncodeToString(seal.Random(48)) + "\n"); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
