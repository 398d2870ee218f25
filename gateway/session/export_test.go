package session

import "context"

// Poll is one poll of Run, at the test's time.
func (k *Keeper) Poll(ctx context.Context) { k.poll(ctx) }

// Flush records what was seen, as Run does.
func (k *Keeper) Flush(ctx context.Context) { k.flush(ctx) }
