package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/store"
)

func TestCopyHoldsTheSourceUntilItIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	open := func(name string) (url string, s *store.Store) {
		t.Helper()
		url = "sqlite:" + filepath.Join(dir, name)
		s, err := gateway.OpenStore(t.Context(), config.Database{URL: config.NewSecret(url), PoolSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		return url, s
	}
	from, source := open("a.db")
	to, target := open("b.db")
	write := func(s *store.Store, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return s.DeferMail(ctx, account.NewID(), time.Now())
	}

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	said, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := storeCopy(ctx, &call{args: []string{"-hold", "-from", from, "-to", to}, stdout: out})
		_ = out.CloseWithError(io.EOF)
		ended <- err
	}()
	lines, holds := bufio.NewScanner(said), false
	for !holds && lines.Scan() {
		holds = strings.Contains(lines.Text(), "nobody can write to the source")
	}
	if !holds {
		t.Fatalf("it ends without holding the source: %v", <-ended)
	}
	if err := write(source, 200*time.Millisecond); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a write to the source that is held: %v, want ErrUnavailable", err)
	}
	if err := write(target, time.Minute); err != nil {
		t.Errorf("a write to the target: %v", err)
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("storeCopy() = %v", err)
	}
	if err := write(source, time.Minute); err != nil {
		t.Errorf("a write to the source afterwards: %v", err)
	}
}
