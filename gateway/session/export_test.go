package session

import "context"

// Poll is one poll of Run, at the test's time.
func (k *Keeper) Poll(ctx context.Context) { k.poll(ctx) }
