package gatewaytest

import (
	"net/http"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestRequestsLeaveNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("while it runs", func(t *testing.T) {
		g := onSQLite(t).start(t)
		p, got := g.member(t)
		const workers = 8
		work := func(requests, logins int) {
			var all sync.WaitGroup
			for range workers {
				all.Go(func() {
					for range requests / workers {
						if a, err := g.try(http.MethodGet, "/api/notes", nil, bearer(got.Access)); err != nil || a.status != http.StatusOK {
							t.Errorf("request: %d, %v", a.status, err)
							return
						}
					}
					for range logins / workers {
						if a, err := g.try(http.MethodPost, "/auth/login", p.credentials()); err != nil || a.status != http.StatusOK {
							t.Errorf("login: %d %s, %v", a.status, a.body, err)
							return
						}
					}
				})
			}
			all.Wait()
		}
		work(10*workers, workers) // pools fill
		goroutines, heap := runtime.NumGoroutine(), live()
		work(2000, 200)
		// What is idle may be kept; what grows with the requests may not.
		eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines+2*workers })
		if grown := live() - heap; grown > 32<<20 {
			t.Errorf("%d MiB more are alive than before", grown>>20)
		}
	})
	if err := goleak.Find(append(ownedByFasthttp(), before)...); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

// live returns how many bytes are reachable.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
