package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/plugin/signature"
)

// maxKeyFile is far above what a key takes.
const maxKeyFile = 64 << 10

// pluginKeygen makes a key that signs plugins. The public half goes to standard output, as
// the configuration wants it.
func pluginKeygen(_ context.Context, c *call) error {
	if len(c.args) != 1 || strings.HasPrefix(c.args[0], "-") {
		return errUsage
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	half, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return pem.Encode(c.stdout, &pem.Block{Type: "PUBLIC KEY", Bytes: half})
}

// pluginSign adds a signature to the signature file beside a plugin.
func pluginSign(_ context.Context, c *call) error {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	keyFile := flags.String("key", "", "")
	if err := flags.Parse(c.args); err != nil || flags.NArg() != 1 || *keyFile == "" {
		return errUsage
	}
	key, err := signingKey(*keyFile)
	if err != nil {
		return err
	}
	digest, err := digestOf(flags.Arg(0))
	if err != nil {
		return err
	}
	path := flags.Arg(0) + signature.Suffix
	before, err := plugin.ReadSignature(flags.Arg(0))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := signature.Add(before, signature.Sign(digest, key))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := replaceFile(path, file); err != nil {
		return err
	}
	public, _ := key.Public().(ed25519.PublicKey)
	_, err = fmt.Fprintf(c.stdout, "sha256:%x\nsigned by key %s: %s\n", digest, signature.ID(public), path)
	return err
}

// pluginVerify checks who signed a plugin, as the gateway does when it loads one.
func pluginVerify(_ context.Context, c *call) error {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var keyFiles []string
	flags.Func("key", "", func(s string) error {
		keyFiles = append(keyFiles, s)
		return nil
	})
	configFile := flags.String("config", "", "")
	if err := flags.Parse(c.args); err != nil || flags.NArg() != 1 || (len(keyFiles) > 0) == (*configFile != "") {
		return errUsage
	}
	keys, err := believed(c, keyFiles, *configFile)
	if err != nil {
		return err
	}
	digest, err := digestOf(flags.Arg(0))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "sha256:%x\n", digest)
	path := flags.Arg(0) + signature.Suffix
	file, err := plugin.ReadSignature(flags.Arg(0))
	if err != nil {
		return err
	}
	by, err := signature.Verify(file, digest, keys)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = fmt.Fprintln(c.stdout, "signed by", by)
	return err
}

// believed returns the keys of files, named by them, or those of a configuration.
func believed(c *call, files []string, configFile string) ([]signature.Key, error) {
	section := config.Plugins{}
	if configFile != "" {
		cfg, err := config.Load(configFile, c.env)
		if err != nil {
			return nil, err
		}
		if len(cfg.Plugins.Keys) == 0 {
			return nil, fmt.Errorf("%s: plugins.keys is empty: no signature is believed", configFile)
		}
		section = cfg.Plugins
	}
	for _, name := range files {
		text, err := readAtMost(name, maxKeyFile)
		if err != nil {
			return nil, err
		}
		section.Keys = append(section.Keys, config.PluginKey{Name: name, PublicKey: string(text)})
	}
	return plugin.Keys(section)
}

// signingKey reads a private key, and refuses one that anybody on the machine can have. The
// group may be let in, as with the signing keys of tokens.
func signingKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s can be read by everybody (mode %04o): chmod 600 it, and make a new key", path, info.Mode().Perm())
	}
	text, err := readAtMost(path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	wrong := fmt.Errorf("%s is not the PEM of an Ed25519 private key (PKCS #8); make one with: shield plugin keygen", path)
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || strings.TrimSpace(string(rest)) != "" {
		return nil, wrong
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, wrong // the cause could hold bytes of the key
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, wrong
	}
	return private, nil
}

// digestOf returns the SHA-256 of a plugin file, read under the gateway's own bounds.
func digestOf(path string) (signature.Digest, error) {
	code, err := plugin.ReadFile(path)
	if err != nil {
		return signature.Digest{}, err
	}
	return sha256.Sum256(code), nil
}

func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return data, nil
}

// replaceFile writes a file whole or not at all: a gateway may be reading it.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sig-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
