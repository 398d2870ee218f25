package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/materi/shield/config"
	"github.com/materi/shield/gateway"
)

// serve runs the gateway. SIGHUP makes it read its configuration anew.
func serve(ctx context.Context, c *call) error {
	// First of all, since a SIGHUP that nobody waits for ends the process. One that comes
	// while another is worked on is kept; more than one would read the same file.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	cfg, err := load(c)
	if err != nil {
		return err
	}
	log := newLog(c.stderr, cfg.Log)
	warnOfUnused(log, c, cfg)
	g, err := gateway.New(gateway.Options{Config: cfg, Version: version, Log: log})
	if err != nil {
		return err
	}
	reloading, cancel := context.WithCancel(ctx)
	var reloads sync.WaitGroup
	reloads.Go(func() {
		reloadOn(reloading, hup, g, func() (config.Config, error) {
			cfg, err := load(c)
			if err == nil {
				warnOfUnused(log, c, cfg)
			}
			return cfg, err
		})
	})
	err = g.Run(ctx)
	cancel()
	reloads.Wait()
	return err
}

// reloadOn reloads at each signal until ctx ends. The gateway says itself how it went.
func reloadOn(ctx context.Context, hup <-chan os.Signal, g *gateway.Gateway, read func() (config.Config, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			_ = g.ReloadFrom(ctx, read)
		}
	}
}
