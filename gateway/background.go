package gateway

import (
	"context"
	"time"
)

const (
	sweepEvery  = time.Minute
	retryAtMost = 10 * time.Second
	// migrateTime bounds one try to bring the schema up to date; another gateway may be at it.
	migrateTime = 5 * time.Minute
)

// background starts what runs beside the requests. It ends with g.run, and Stop waits for
// it.
func (g *Gateway) background() {
	g.work.Go(func() { g.keys.Run(g.run) })
	g.work.Go(func() { g.verifier.Run(g.run) })
	g.work.Go(func() { g.limiter.Run(g.run) })
	g.work.Go(func() {
		if g.untilDone("load providers", g.plugins.Load) {
			g.pluginsLoaded.Store(true)
		}
	})
	g.work.Go(func() {
		// What reads the schema waits for it; all else does not.
		if !g.untilDone("use the database", g.schema) {
			return
		}
		g.schemaReady.Store(true)
		g.work.Go(func() { g.sessions.Run(g.run) })
		if g.outbox != nil {
			g.work.Go(func() { g.outbox.Run(g.run) })
		}
		g.sweep()
	})
}

// untilDone does something until it succeeds, more slowly each time, and reports whether
// it did before the gateway was stopped.
func (g *Gateway) untilDone(what string, do func(context.Context) error) bool {
	pause := 250 * time.Millisecond
	for g.run.Err() == nil {
		err := do(g.run)
		if err == nil {
			return true
		}
		if g.run.Err() != nil {
			return false
		}
		g.log.Error("cannot "+what+", trying again", "error", err.Error(), "pause", pause.String())
		if !g.pause(pause) {
			return false
		}
		pause = min(2*pause, retryAtMost)
	}
	return false
}

// schema brings the schema up to date where that is configured, and else waits for the
// operator to do it.
func (g *Gateway) schema(ctx context.Context) error {
	if !g.cfg.Database.Migrate {
		return g.checkMigrations(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, migrateTime)
	defer cancel()
	return g.store.Migrate(ctx)
}

// sweep removes what has expired from the database, at once and then every sweepEvery.
func (g *Gateway) sweep() {
	for {
		ctx, cancel := context.WithTimeout(g.run, sweepEvery/2)
		if err := g.store.Sweep(ctx, g.now()); err != nil && g.run.Err() == nil {
			g.log.Warn("cannot sweep the database", "error", err.Error())
		}
		cancel()
		if !g.pause(sweepEvery) {
			return
		}
	}
}

// pause waits, and reports whether the gateway goes on.
func (g *Gateway) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-g.run.Done():
		return false
	}
}
