package main

import (
	"context"
	"fmt"
	"time"

	"github.com/materi/shield/gateway"
	"github.com/materi/shield/gateway/store"
)

// withStore does something with the configured database.
func withStore(ctx context.Context, c *call, do func(context.Context, *store.Store) error) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	s, err := gateway.OpenStore(ctx, cfg.Database)
	if err != nil {
		return err
	}
	defer s.Close()
	return do(ctx, s)
}

func migrateUp(ctx context.Context, c *call) error {
	return withStore(ctx, c, func(ctx context.Context, s *store.Store) error {
		pending, err := s.Pending(ctx)
		if err != nil {
			return err
		}
		if err := s.Migrate(ctx); err != nil {
			return err
		}
		for _, m := range pending {
			fmt.Fprintf(c.stdout, "%04d %s: applied\n", m.Version, m.Name)
		}
		_, err = fmt.Fprintln(c.stdout, "the schema is up to date")
		return err
	})
}

func migrateStatus(ctx context.Context, c *call) error {
	return withStore(ctx, c, func(ctx context.Context, s *store.Store) error {
		applied, err := s.Migrations(ctx)
		if err != nil {
			return err
		}
		pending, err := s.Pending(ctx)
		if err != nil {
			return err
		}
		for _, m := range applied {
			if !m.AppliedAt.IsZero() {
				fmt.Fprintf(c.stdout, "%04d %s: applied %s\n", m.Version, m.Name, m.AppliedAt.UTC().Format(time.RFC3339))
			}
		}
		for _, m := range pending {
			fmt.Fprintf(c.stdout, "%04d %s: pending\n", m.Version, m.Name)
		}
		if len(pending) > 0 {
			return fmt.Errorf("%d migrations are pending: run shield migrate up", len(pending))
		}
		return nil
	})
}
