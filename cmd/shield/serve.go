package main

import (
	"context"

	"github.com/materi/shield/gateway"
)

func serve(ctx context.Context, c *call) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	log := newLog(c.stderr, cfg.Log)
	g, err := gateway.New(gateway.Options{Config: cfg, Version: version, Log: log})
	if err != nil {
		return err
	}
	return g.Run(ctx)
}
