package plugin

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin/signature"
)

// maxFile is the most bytes that a plugin file may have.
const maxFile = 64 << 20

// file is a plugin file that was read once and checked: what runs are these bytes,
// whatever stands on the disk by then.
type file struct {
	code     []byte
	digest   signature.Digest
	signedBy string // the name of a key, empty without a signature that was checked
}

// trust says which plugin files may run.
type trust struct {
	signed bool // only those that a key signed
	keys   []signature.Key
}

func newTrust(section config.Plugins) (trust, error) {
	keys, err := Keys(section)
	return trust{section.RequireSigned, keys}, err
}

// Keys returns the keys of a configuration whose signatures are believed.
func Keys(section config.Plugins) ([]signature.Key, error) {
	var keys []signature.Key
	for _, k := range section.Keys {
		public, err := k.Ed25519()
		if err != nil {
			// The cause is left out: who took the wrong file may have given a private key.
			return nil, fmt.Errorf("%s: not an Ed25519 public key", k.Name)
		}
		keys = append(keys, signature.Key{Name: k.Name, Public: public})
	}
	return keys, nil
}

// ReadFile reads a plugin file, which must be a regular file of at most 64 MiB.
func ReadFile(path string) ([]byte, error) {
	return readFile(path, maxFile)
}

// ReadSignature reads the signature file beside a plugin. An error is fs.ErrNotExist if there
// is none.
func ReadSignature(plugin string) ([]byte, error) {
	return readFile(plugin+signature.Suffix, signature.MaxFile)
}

func readFile(path string, most int64) ([]byte, error) {
	// Opening a pipe would wait for somebody to write into it.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	tooLong := fmt.Errorf("%s has more than %d bytes", path, most)
	if info.Size() > most {
		return nil, tooLong
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var data bytes.Buffer
	data.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := data.ReadFrom(io.LimitReader(f, most+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) > most {
		return nil, tooLong // it has grown
	}
	return data.Bytes(), nil
}

// check reads the plugin file of a provider and holds it to its pin and its signature.
func (t trust) check(cfg config.Provider) (file, error) {
	code, err := ReadFile(cfg.Plugin)
	if err != nil {
		return file{}, fmt.Errorf("read: %w", err)
	}
	f := file{code: code, digest: sha256.Sum256(code)}
	if got := fmt.Sprintf("%x", f.digest); cfg.SHA256 != "" && got != cfg.SHA256 {
		return file{}, fmt.Errorf("pin: the file's digest is %s, and sha256 wants %s", got, cfg.SHA256)
	}
	if f.signedBy, err = t.signer(cfg.Plugin, f.digest); err != nil {
		return file{}, fmt.Errorf("signature: %w; sign it with: shield plugin sign", err)
	}
	return f, nil
}

// signer returns the name of the key that signed a plugin. A signature that is there must
// be good, also where none is asked for: else one that was tampered with would do no worse
// than none. Without keys nothing can be told from it.
func (t trust) signer(path string, digest signature.Digest) (string, error) {
	if len(t.keys) == 0 && !t.signed {
		return "", nil
	}
	sig, err := ReadSignature(path)
	if errors.Is(err, fs.ErrNotExist) && !t.signed {
		return "", nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("there is none beside the file, and plugins.require_signed wants one")
	}
	if err != nil {
		return "", err
	}
	return signature.Verify(sig, digest, t.keys)
}
