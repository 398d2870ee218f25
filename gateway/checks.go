package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/materi/shield/gateway/admin"
	"github.com/materi/shield/gateway/plugin"
)

// unsureAtMost is how long after the start a token of this gateway waits for the revocations
// to be read, which takes some milliseconds with a database that answers. Without one
// proxying goes on, and readiness says that revocations may be missed.
const unsureAtMost = 2 * time.Second

// revoked reports whether a session has ended. A gateway that was just started does not
// answer from ignorance.
func (g *Gateway) revoked(sessionID string) bool {
	select {
	case <-g.sessions.Known():
	default:
		select {
		case <-g.sessions.Known():
		case <-g.unsure.Done():
		}
	}
	return g.sessions.Revoked(sessionID)
}

// checks are what readiness asks, in the order in which it tells.
func (g *Gateway) checks() []admin.Check {
	checks := []admin.Check{
		{Name: "database", Public: "Database connection failed", Ask: g.checkDatabase},
		{Name: "redis", Public: "Redis connection failed"},
		{Name: "migrations", Public: "Pending migrations", Ask: g.checkSchema},
		{Name: "plugins", Public: "A plugin is not loaded", Degraded: "A plugin could not be loaded, or is gone; all others serve", Ask: g.checkPlugins},
		{Name: "keys", Public: "No usable signing key", Ask: func(context.Context) error { return g.keys.Check() }},
	}
	if g.redis != nil {
		checks[1].Ask = func(ctx context.Context) error { return g.redis.Ping(ctx).Err() }
	}
	for i := range checks {
		checks[i].Needed = slices.Contains(g.cfg.Admin.ReadyNeeds, checks[i].Name)
	}
	return checks
}

// checkDatabase also says no while the revocations are not read: a gateway that was just
// started would take tokens of sessions that ended long ago.
func (g *Gateway) checkDatabase(ctx context.Context) error {
	if err := g.store.Ping(ctx); err != nil {
		return err
	}
	if !g.schemaReady.Load() {
		return nil // there is nothing to read yet, and the next check says so
	}
	return g.sessions.Check()
}

func (g *Gateway) checkSchema(ctx context.Context) error {
	if err := g.checkMigrations(ctx); err != nil {
		return err
	}
	if !g.schemaReady.Load() {
		return admin.ErrPending // up to date since a moment ago
	}
	return nil
}

func (g *Gateway) checkMigrations(ctx context.Context) error {
	pending, err := g.store.Pending(ctx)
	if err != nil {
		return err
	}
	if len(pending) > 0 {
		return fmt.Errorf("%d migrations: %w", len(pending), admin.ErrPending)
	}
	return nil
}

// checkPlugins is pending while providers are being loaded for the first time, and an error
// while one cannot be. Once all were there this replica has its traffic for good: a reload
// that failed, and a plugin that is gone, are told, but every replica has the same file,
// and what serves must go on.
func (g *Gateway) checkPlugins(context.Context) error {
	ready := g.plugins.Ready()
	if len(ready) == 0 {
		return admin.ErrUnused
	}
	var failed []error
	for _, err := range ready {
		if errors.Is(err, plugin.ErrPending) {
			return admin.ErrPending
		}
		failed = append(failed, err)
	}
	if g.pluginsLoaded.Load() {
		for _, err := range g.plugins.Stale() {
			failed = append(failed, err)
		}
		if err := errors.Join(failed...); err != nil {
			return fmt.Errorf("%w: %w", admin.ErrDegraded, err)
		}
		return nil
	}
	return errors.Join(failed...)
}

// loading reports whether a provider cannot be asked yet.
func (g *Gateway) loading() bool {
	for _, err := range g.plugins.Ready() {
		if err != nil {
			return true
		}
	}
	return false
}
