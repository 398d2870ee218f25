package gateway

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway/seal"
)

func TestSecretIsMadeOnceAndKept(t *testing.T) {
	cfg := config.Config{DataDir: t.TempDir()}
	first, err := secretKey(cfg)
	if err != nil {
		t.Fatal(err)
	}
	second, err := secretKey(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Derive("x"), second.Derive("x")) {
		t.Error("the second start uses another secret than the first")
	}
	another, err := secretKey(config.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first.Derive("x"), another.Derive("x")) {
		t.Error("two installations made the same secret")
	}
}

func TestSecretFileIsItsOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret_key")
	secret, err := keptSecret(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of the secret = %04o, want 0600", mode)
	}
	if len(secret) < seal.MinSecret {
		t.Errorf("the secret has %d bytes, want at least %d", len(secret), seal.MinSecret)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the directory holds %v, want the secret alone", entries)
	}
}

func TestStartsAtOnceAgreeOnOneSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret_key")
	const starts = 64
	got := make([]string, starts)
	errs := make([]error, starts)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range starts {
		wg.Go(func() {
			<-begin
			got[i], errs[i] = keptSecret(path)
		})
	}
	close(begin)
	wg.Wait()
	for i := range starts {
		if errs[i] != nil {
			t.Fatalf("keptSecret() = %v", errs[i])
		}
		if got[i] != got[0] || len(got[i]) < seal.MinSecret {
			t.Fatalf("start %d has another secret than start 0, or none", i)
		}
	}
}

func TestGivenSecretIsUsedAndNotWritten(t *testing.T) {
	const given = "0123456789abcdefghijklmnopqrstuvwxyz"
	cfg := config.Config{DataDir: t.TempDir(), SecretKey: config.NewSecret(given)}
	got, err := secretKey(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want, err := seal.NewKey(given)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Derive("x"), want.Derive("x")) {
		t.Error("the configured secret is not the one in use")
	}
	entries, err := os.ReadDir(cfg.DataDir)
	if err != nil || len(entries) != 0 {
		t.Errorf("the data directory holds %v, %v, want nothing", entries, err)
	}
}

func TestDamagedSecretIsRefusedAndNotReplaced(t *testing.T) {
	cfg := config.Config{DataDir: t.TempDir()}
	path := filepath.Join(cfg.DataDir, "secret_key")
	for _, damaged := range []string{"", "too short\n"} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := secretKey(cfg)
		if err == nil {
			t.Fatalf("secretKey() with %q kept = nil, want an error", damaged)
		}
		if damaged != "" && strings.Contains(err.Error(), strings.TrimSpace(damaged)) {
			t.Errorf("the error tells the secret: %v", err)
		}
		if kept, err := os.ReadFile(path); err != nil || string(kept) != damaged {
			t.Errorf("the file was replaced: %q, %v", kept, err)
		}
	}
}

func TestDirectoryThatIsMissingIsAnError(t *testing.T) {
	if _, err := keptSecret(filepath.Join(t.TempDir(), "no", "secret_key")); err == nil {
		t.Error("keptSecret() = nil, want an error")
	}
}
