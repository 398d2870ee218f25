package gatewaytest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// upstream is a service behind the gateway that notes everything that reaches it.
type upstream struct {
	url string

	mu   sync.Mutex
	seen []arrival
	slow map[string]chan struct{} // by path: what an answer waits for
	late chan string              // the paths that have begun to wait
}

// arrival is a request as the upstream got it.
type arrival struct {
	method, uri, host string
	header            http.Header
	body              string
}

func newUpstream(t testing.TB) *upstream {
	u := &upstream{slow: map[string]chan struct{}{}, late: make(chan string, 16)}
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	u.url = server.URL
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	u.mu.Lock()
	u.seen = append(u.seen, arrival{r.Method, r.RequestURI, r.Host, r.Header.Clone(), string(body)})
	wait := u.slow[r.URL.Path]
	u.mu.Unlock()
	if wait != nil {
		u.late <- r.URL.Path
		<-wait
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("RateLimit-Remaining", "999999") // an upstream's own has no say
	_ = json.NewEncoder(w).Encode(map[string]string{"from": "upstream"})
}

// hold makes answers to a path wait for the function that it returns.
func (u *upstream) hold(t testing.TB, path string) (release func()) {
	gate := make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release) // before the server is closed, which waits for its answers
	u.mu.Lock()
	defer u.mu.Unlock()
	u.slow[path] = gate
	return release
}

func (u *upstream) arrivals() []arrival {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.seen)
}

// last returns the newest request.
func (u *upstream) last(t testing.TB) arrival {
	t.Helper()
	all := u.arrivals()
	if len(all) == 0 {
		t.Fatal("nothing reached the upstream")
	}
	return all[len(all)-1]
}

// untouched fails if more than n requests have come.
func (u *upstream) untouched(t testing.TB, n int) {
	t.Helper()
	if all := u.arrivals(); len(all) != n {
		t.Errorf("%d requests reached the upstream, want %d; the last: %+v", len(all), n, all[len(all)-1])
	}
}
