// Package signature signs plugin files and checks who signed one. A signature is detached:
// it stands in a file of its own beside the plugin, so that the plugin stays what its
// author built. Which keys are believed is the caller's business.
//
// The file has a line for each signature, so that two keys can sign while one replaces the
// other, and the files of several signers can be joined with cat:
//
//	ed25519 KEY DIGEST SIGNATURE
//
// KEY is the [ID] of the public key, DIGEST the SHA-256 of the plugin in hexadecimal, and
// SIGNATURE, in base64, is made over the line "shield plugin v1" and the 32 bytes of the
// digest. The name in front keeps a signature from being taken for one of something else.
package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Suffix is what the name of a signature file has after that of the plugin.
const Suffix = ".sig"

// MaxFile is the most bytes that a signature file may have; MaxLines is its most signatures.
const (
	MaxFile  = 4 << 10
	MaxLines = 16
)

const (
	algorithm = "ed25519"
	domain    = "shield plugin v1\n"
)

// Errors of [Parse] and [Verify].
var (
	ErrMalformed = errors.New("malformed signature file")
	// ErrUntrusted says that no believed key signed the file.
	ErrUntrusted = errors.New("no signature by a configured key")
	// ErrOther says that a believed key signed another file than this.
	ErrOther = errors.New("the signature is that of another file")
	// ErrForged says that a line names a believed key, and that key did not make it.
	ErrForged = errors.New("the signature is not by the key that it names")
)

// Digest is the SHA-256 of a plugin file.
type Digest = [sha256.Size]byte

// Key is a public key whose signatures are believed.
type Key struct {
	Name   string
	Public ed25519.PublicKey
}

// Line is one signature.
type Line struct {
	KeyID     string
	Digest    Digest
	Signature []byte
}

// ID names a public key: the first 16 hexadecimal digits of its SHA-256.
func ID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:8])
}

// Sign returns the line of a signature, with its line end.
func Sign(digest Digest, key ed25519.PrivateKey) []byte {
	public, _ := key.Public().(ed25519.PublicKey)
	return Line{KeyID: ID(public), Digest: digest, Signature: ed25519.Sign(key, message(digest))}.encode()
}

// Verify returns the name of a key that signed the digest. It is an error if none did,
// however many others have.
func Verify(file []byte, digest Digest, keys []Key) (signedBy string, err error) {
	lines, err := Parse(file)
	if err != nil {
		return "", err
	}
	err = ErrUntrusted
	for _, l := range lines {
		for _, k := range keys {
			if len(k.Public) != ed25519.PublicKeySize || ID(k.Public) != l.KeyID {
				continue
			}
			switch {
			case l.Digest != digest:
				err = fmt.Errorf("%w (key %s)", ErrOther, k.Name)
			case !ed25519.Verify(k.Public, message(digest), l.Signature):
				err = fmt.Errorf("%w (key %s)", ErrForged, k.Name)
			default:
				return k.Name, nil
			}
		}
	}
	return "", err
}

// Add returns a signature file with one more line. Lines of other digests and an earlier
// one of the same key are dropped: they speak of files that are gone.
func Add(file, line []byte) ([]byte, error) {
	added, err := Parse(line)
	if err != nil {
		return nil, err
	}
	var old []Line
	if len(file) > 0 {
		if old, err = Parse(file); err != nil {
			return nil, err
		}
	}
	old = slices.DeleteFunc(old, func(l Line) bool { return l.Digest != added[0].Digest || l.KeyID == added[0].KeyID })
	if len(old) == MaxLines {
		return nil, fmt.Errorf("there are %d signatures already", MaxLines)
	}
	var out []byte
	for _, l := range append(old, added[0]) {
		out = append(out, l.encode()...)
	}
	return out, nil
}

// Parse reads a signature file. It is strict: a signature has one spelling, and nothing
// else stands in the file.
func Parse(file []byte) ([]Line, error) {
	if len(file) == 0 || len(file) > MaxFile {
		return nil, fmt.Errorf("%w: %d bytes, want 1 to %d", ErrMalformed, len(file), MaxFile)
	}
	text := strings.Split(strings.TrimSuffix(string(file), "\n"), "\n")
	if len(text) > MaxLines {
		return nil, fmt.Errorf("%w: more than %d lines", ErrMalformed, MaxLines)
	}
	lines := make([]Line, 0, len(text))
	for i, t := range text {
		l, err := parse(t)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrMalformed, i+1, err)
		}
		if slices.ContainsFunc(lines, func(o Line) bool { return o.KeyID == l.KeyID && o.Digest == l.Digest }) {
			return nil, fmt.Errorf("%w: line %d: the key has signed above", ErrMalformed, i+1)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func parse(text string) (Line, error) {
	parts := strings.Split(text, " ")
	if len(parts) != 4 || parts[0] != algorithm {
		return Line{}, errors.New("want: ed25519 KEY DIGEST SIGNATURE")
	}
	if id, err := lowerHex(parts[1]); err != nil || len(id) != 8 {
		return Line{}, errors.New("the key's id is not 16 lower-case hexadecimal digits")
	}
	digest, err := lowerHex(parts[2])
	if err != nil || len(digest) != sha256.Size {
		return Line{}, errors.New("the digest is not 64 lower-case hexadecimal digits")
	}
	// Decoding skips line ends, of which there is none, and carriage returns.
	sig, err := base64.StdEncoding.Strict().DecodeString(parts[3])
	if err != nil || len(sig) != ed25519.SignatureSize || strings.Contains(parts[3], "\r") {
		return Line{}, errors.New("the signature is not 64 bytes in base64")
	}
	return Line{KeyID: parts[1], Digest: Digest(digest), Signature: sig}, nil
}

func lowerHex(s string) ([]byte, error) {
	if s != strings.ToLower(s) {
		return nil, errors.New("not lower-case")
	}
	return hex.DecodeString(s)
}

func (l Line) encode() []byte {
	return fmt.Appendf(nil, "%s %s %x %s\n", algorithm, l.KeyID, l.Digest, base64.StdEncoding.EncodeToString(l.Signature))
}

func message(digest Digest) []byte { return append([]byte(domain), digest[:]...) }
