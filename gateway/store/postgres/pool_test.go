package postgres_test

import (
	"context"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/materi/shield/gateway/store/postgres"
	"github.com/materi/shield/gateway/testbed"
)

// A pool that is as large as it may be is the only way to see that it is no larger: many
// ask at once while the server is counted.
func TestPoolIsNoLargerThanConfigured(t *testing.T) {
	const size = 3
	where, err := url.Parse(testbed.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	name := "pool-" + where.Query().Get("search_path")
	q := where.Query()
	q.Set("application_name", name)
	where.RawQuery = q.Encode()
	s, err := postgres.Open(t.Context(), where.String(), size)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var asking sync.WaitGroup
	for range 8 * size {
		asking.Go(func() {
			for ctx.Err() == nil {
				if err := s.Ping(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("Ping() = %v", err)
					return
				}
			}
		})
	}
	watch, err := pgx.Connect(t.Context(), testbed.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close(context.Background())
	most := 0
	for range 1000 {
		var open int
		if err := watch.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = $1`, name).Scan(&open); err != nil {
			t.Fatal(err)
		}
		most = max(most, open)
	}
	stop()
	asking.Wait()
	if most != size {
		t.Errorf("%d askers had %d connections, want %d", 8*size, most, size)
	}
}
