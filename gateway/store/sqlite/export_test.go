package sqlite

import (
	"context"

	"github.com/materi/shield/gateway/store"
)

// OpenEngine opens the engine without the store on it.
func OpenEngine(ctx context.Context, where string) (store.Engine, error) {
	return open(ctx, where)
}
