package gateway

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/materi/shield/config"
)

func TestATokenWaitsForTheRevocationsAfterAStart(t *testing.T) {
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.Database.URL = config.NewSecret("sqlite:" + filepath.Join(cfg.DataDir, "shield.db"))
	g, err := New(Options{Config: cfg, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop(context.Background())
	g.unsure = context.Background() // however slow this machine is
	ignorant := make(chan bool, 1)
	go func() {
		g.revoked("a session")
		select {
		case <-g.sessions.Known():
			ignorant <- false
		default:
			ignorant <- true
		}
	}()
	if err := g.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	running := make(chan struct{})
	go func() {
		defer close(running)
		g.sessions.Run(ctx)
	}()
	if <-ignorant {
		t.Error("revoked() answered before the revocations were read")
	}
	stop()
	<-running
}

func TestATokenIsJudgedWithoutTheDatabaseAfterAWhile(t *testing.T) {
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.Database.URL = config.NewSecret("postgres://127.0.0.1:1/nobody")
	g, err := New(Options{Config: cfg, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop(context.Background())
	over, cancel := context.WithCancel(t.Context())
	cancel()
	g.unsure = over
	if g.revoked("a session") {
		t.Error("revoked() = true of a session of which nothing is known")
	}
}
