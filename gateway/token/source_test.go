package token

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const loginJWKS = "https://login.test/jwks"

// keyServer answers fetches as the test says, and counts them by URL.
type keyServer struct {
	mu      sync.Mutex
	answer  func(ctx context.Context, url string) ([]byte, error)
	fetches map[string]int
}

func (k *keyServer) fetch(ctx context.Context, url string) ([]byte, error) {
	k.mu.Lock()
	k.fetches[url]++
	answer := k.answer
	k.mu.Unlock()
	return answer(ctx, url)
}

func (k *keyServer) say(data []byte, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer = func(context.Context, string) ([]byte, error) { return data, err }
}

func (k *keyServer) count(url string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fetches[url]
}

// loginBench is a source at an issuer of the test.
type loginBench struct {
	*keyServer
	clock  *clock
	source *Source
}

func newLoginBench(t testing.TB) loginBench {
	t.Helper()
	b := loginBench{&keyServer{fetches: map[string]int{}}, newClock(), nil}
	b.say(loginSet(t), nil)
	var err error
	b.source, err = NewSource(SourceOptions{Fetch: b.fetch, Now: b.clock.Now, Refresh: 5 * time.Minute, StaleFor: time.Hour, MaxURLs: 3})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verify checks a token that is always in time.
func (b loginBench) verify(ctx context.Context, url, raw string) error {
	_, err := b.source.Verify(ctx, url, login(raw))
	return err
}

func (b loginBench) unknown(t testing.TB) string {
	return handSign(t, "RS256", sharedHandKeys().rsa, `{"alg":"RS256","kid":"`+rand.Text()+`"}`, string(encode(t, loginClaims())))
}

func TestSourceFetchesOnceForMany(t *testing.T) {
	b := newLoginBench(t)
	raw := loginToken(t, loginClaims())
	arrived, release := make(chan struct{}), make(chan struct{})
	set := loginSet(t)
	b.answer = func(context.Context, string) ([]byte, error) {
		close(arrived)
		<-release
		return set, nil
	}
	var wg sync.WaitGroup
	verify := func() {
		if err := b.verify(t.Context(), loginJWKS, raw); err != nil {
			t.Errorf("Verify() = %v", err)
		}
	}
	wg.Go(verify)
	<-arrived
	for range 32 {
		wg.Go(verify)
	}
	close(release)
	wg.Wait()
	if got := b.count(loginJWKS); got != 1 {
		t.Errorf("%d fetches, want 1", got)
	}
}

func TestSourceIsNotMadeToFetchByUnknownKeys(t *testing.T) {
	b := newLoginBench(t)
	if err := b.verify(t.Context(), loginJWKS, loginToken(t, loginClaims())); err != nil {
		t.Fatal(err)
	}
	for round := 1; round <= 3; round++ {
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if err := b.verify(t.Context(), loginJWKS, b.unknown(t)); !errors.Is(err, ErrUnknownKey) {
					t.Errorf("Verify() = %v, want ErrUnknownKey", err)
				}
			})
		}
		wg.Wait()
		if got := b.count(loginJWKS); got != round {
			t.Errorf("round %d: %d fetches, want one in 30 s", round, got)
		}
		b.clock.Move(fetchGap)
	}
}

func TestSourceDoesNotFetchForWhatCannotBeTaken(t *testing.T) {
	b := newLoginBench(t)
	for _, raw := range []string{"", "x.y.z", loginToken(t, with(loginClaims(), "iss", "https://evil.test")),
		handSign(t, "PS256", sharedHandKeys().rsa, `{"alg":"PS256","kid":"k1"}`, string(encode(t, loginClaims())))} {
		if err := b.verify(t.Context(), loginJWKS, raw); err == nil {
			t.Error("Verify() = nil, want an error")
		}
	}
	for _, url := range []string{"", "http://login.test/jwks", "https://u:p@login.test/", "file:///etc/passwd", "://", "http://127.0.0.1.evil.test/"} {
		if err := b.verify(t.Context(), url, loginToken(t, loginClaims())); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%q: Verify() = %v, want ErrUnavailable", url, err)
		}
	}
	if len(b.fetches) > 0 {
		t.Errorf("fetched %v", b.fetches)
	}
}

func TestSourceTakesRotatedKeysAndForgetsWithdrawnOnes(t *testing.T) {
	b := newLoginBench(t)
	old := loginToken(t, loginClaims())
	if err := b.verify(t.Context(), loginJWKS, old); err != nil {
		t.Fatal(err)
	}
	next := sharedHandKeys().p256
	b.say(handSet(t, handJWK(t, next.Public(), map[string]any{"kid": "k2"})), nil)
	b.clock.Move(fetchGap)
	expected := login(handSign(t, "ES256", next, `{"alg":"ES256","kid":"k2"}`, string(encode(t, loginClaims()))))
	expected.Algorithms = []string{"ES256"}
	if _, err := b.source.Verify(t.Context(), loginJWKS, expected); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
	if err := b.verify(t.Context(), loginJWKS, old); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a token of the withdrawn key: %v, want ErrUnknownKey", err)
	}
}

func TestSourceRefreshesAtUse(t *testing.T) {
	b := newLoginBench(t)
	raw := loginToken(t, loginClaims())
	for i, want := range []int{1, 1, 2, 2} {
		if err := b.verify(t.Context(), loginJWKS, raw); err != nil {
			t.Fatal(err)
		}
		if got := b.count(loginJWKS); got != want {
			t.Errorf("use %d: %d fetches, want %d", i, got, want)
		}
		b.clock.Move(150 * time.Second)
	}
}

func TestSourceServesTheLastGoodKeysForAWhile(t *testing.T) {
	b := newLoginBench(t)
	raw := loginToken(t, loginClaims())
	if err := b.verify(t.Context(), loginJWKS, raw); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		data []byte
		err  error
	}{{nil, errors.New("down")}, {[]byte("<html>"), nil}, {[]byte(`{"keys":[]}`), nil}, {make([]byte, maxJWKSBytes+1), nil}} {
		b.say(bad.data, bad.err)
		b.clock.Move(5 * time.Minute)
		before := b.count(loginJWKS)
		if err := b.verify(t.Context(), loginJWKS, raw); err != nil {
			t.Errorf("with the last good keys: %v", err)
		}
		if b.count(loginJWKS) != before+1 {
			t.Error("no fetch was tried")
		}
	}
	b.clock.Move(45 * time.Minute)
	if err := b.verify(t.Context(), loginJWKS, raw); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an hour and 5 minutes after the last good fetch: %v, want ErrUnavailable", err)
	}
	b.say(loginSet(t), nil)
	b.clock.Move(fetchGap)
	if err := b.verify(t.Context(), loginJWKS, raw); err != nil {
		t.Errorf("after recovery: %v", err)
	}
}

func TestSourceDoesNotPauseLongerForWhatWasNotAsked(t *testing.T) {
	b := newLoginBench(t)
	cause := errors.New("not now")
	b.say(nil, fmt.Errorf("%w: %w", ErrNotAsked, cause))
	raw := loginToken(t, loginClaims())
	for range 60 {
		if err := b.verify(t.Context(), loginJWKS, raw); !errors.Is(err, ErrUnavailable) || !errors.Is(err, cause) {
			t.Fatalf("Verify() = %v, want ErrUnavailable with its cause", err)
		}
		b.clock.Move(500 * time.Millisecond)
	}
	if got := b.count(loginJWKS); got != 30 {
		t.Errorf("%d tries in 30 s, want one a second", got)
	}
	b.say(loginSet(t), nil)
	if err := b.verify(t.Context(), loginJWKS, raw); err != nil {
		t.Errorf("once it may ask again: %v", err)
	}
}

func TestSourcePausesLongerAfterEachFailure(t *testing.T) {
	b := newLoginBench(t)
	b.say(nil, errors.New("down"))
	raw := loginToken(t, loginClaims())
	for range 120 {
		if err := b.verify(t.Context(), loginJWKS, raw); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("Verify() = %v, want ErrUnavailable", err)
		}
		b.clock.Move(time.Second)
	}
	// At 0, 1, 3, 7, 15, 31, then every 30 s: 61, 91.
	if got := b.count(loginJWKS); got != 8 {
		t.Errorf("%d fetches in 2 minutes, want 8", got)
	}
}

func TestSourceTriesAnewWhenTheFetcherGaveUp(t *testing.T) {
	b := newLoginBench(t)
	raw := loginToken(t, loginClaims())
	ctx, cancel := context.WithCancel(t.Context())
	arrived := make(chan struct{})
	b.answer = func(ctx context.Context, _ string) ([]byte, error) {
		close(arrived)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	first := make(chan error)
	go func() { first <- b.verify(ctx, loginJWKS, raw) }()
	<-arrived
	b.say(loginSet(t), nil)
	second := make(chan error)
	go func() { second <- b.verify(t.Context(), loginJWKS, raw) }()
	cancel()
	if err := <-first; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v, want ErrUnavailable for context.Canceled", err)
	}
	if err := <-second; err != nil {
		t.Errorf("who came after: %v", err)
	}
	third, cancel := context.WithCancel(t.Context())
	cancel()
	b.clock.Move(2 * time.Hour)
	if err := b.verify(third, loginJWKS, raw); !errors.Is(err, ErrUnavailable) {
		t.Errorf("with a context that has ended: %v, want ErrUnavailable", err)
	}
}

func TestSourceGivesAFetchADeadline(t *testing.T) {
	b := newLoginBench(t)
	b.answer = func(ctx context.Context, _ string) ([]byte, error) {
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > fetchWait {
			t.Errorf("deadline = %v, %v", end, ok)
		}
		return nil, context.DeadlineExceeded
	}
	if err := b.verify(t.Context(), loginJWKS, loginToken(t, loginClaims())); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Verify() = %v, want ErrUnavailable", err)
	}
}

func TestSourceSurvivesAFetchThatPanics(t *testing.T) {
	b := newLoginBench(t)
	raw := loginToken(t, loginClaims())
	b.answer = func(context.Context, string) ([]byte, error) { panic("a bug") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = b.verify(t.Context(), loginJWKS, raw)
	}()
	b.say(loginSet(t), nil)
	b.clock.Move(fetchGap)
	if err := b.verify(t.Context(), loginJWKS, raw); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestSourceRemembersFewURLs(t *testing.T) {
	b := newLoginBench(t)
	raw := loginToken(t, loginClaims())
	url := func(i int) string { return fmt.Sprintf("https://login.test/%d", i) }
	for _, i := range []int{0, 1, 2, 0, 3, 0} { // 3 takes the place of 1
		if err := b.verify(t.Context(), url(i), raw); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(b.source.entries); got != 3 {
		t.Errorf("%d URLs are remembered, want 3", got)
	}
	for i, want := range []int{1, 1, 1, 1} {
		if got := b.count(url(i)); got != want {
			t.Errorf("URL %d was fetched %d times, want %d", i, got, want)
		}
	}
	if err := b.verify(t.Context(), url(1), raw); err != nil || b.count(url(1)) != 2 {
		t.Errorf("the forgotten URL: %v, fetched %d times", err, b.count(url(1)))
	}
}

func TestSourceKeepsIssuersApart(t *testing.T) {
	b := newLoginBench(t)
	set, other := loginSet(t), handSet(t, handJWK(t, sharedHandKeys().p256.Public(), map[string]any{"kid": "k1"}))
	b.answer = func(_ context.Context, url string) ([]byte, error) {
		if url == loginJWKS {
			return set, nil
		}
		return other, nil
	}
	raw := loginToken(t, loginClaims())
	if err := b.verify(t.Context(), loginJWKS, raw); err != nil {
		t.Error(err)
	}
	if err := b.verify(t.Context(), "https://other.test/jwks", raw); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("with the keys of another issuer: %v, want ErrUnknownKey", err)
	}
}

func TestSourceFetchesOverHTTP(t *testing.T) {
	set := loginSet(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/jwks") {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write(set)
	}))
	defer server.Close()
	source, err := NewSource(SourceOptions{Fetch: fetcher(newJWKSClient()), Now: newClock().Now})
	if err != nil {
		t.Fatal(err)
	}
	expected := login(loginToken(t, loginClaims()))
	if _, err := source.Verify(t.Context(), server.URL+"/jwks", expected); err != nil {
		t.Errorf("Verify() = %v", err)
	}
	if _, err := source.Verify(t.Context(), server.URL+"/gone", expected); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Verify() with a 404 = %v, want ErrUnavailable", err)
	}
}

func TestNewSourceWantsAFetcherAndAClock(t *testing.T) {
	for _, o := range []SourceOptions{{}, {Now: time.Now}, {Fetch: (&keyServer{}).fetch}} {
		if s, err := NewSource(o); err == nil {
			t.Errorf("NewSource() = %v, want an error", s)
		}
	}
}
