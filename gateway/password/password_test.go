package password

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/argon2"
)

// work is one run of argon2id.
type work struct {
	passes, memory uint32
	lanes          uint8
	keyBytes       uint32
}

// hasher returns a hasher that computes in full and writes down what it computed, so that
// tests compare work, which is exact, and not time, which is not.
func hasher(t testing.TB) (*Hasher, func() []work) {
	t.Helper()
	h, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var runs []work
	h.argon2 = func(password, salt []byte, passes, memory uint32, lanes uint8, n uint32) []byte {
		mu.Lock()
		runs = append(runs, work{passes, memory, lanes, n})
		mu.Unlock()
		return argon2.IDKey(password, salt, passes, memory, lanes, n)
	}
	return h, func() []work {
		mu.Lock()
		defer mu.Unlock()
		r := runs
		runs = nil
		return r
	}
}

func verify(t testing.TB, h *Hasher, hash, password string) (ok, stale bool) {
	t.Helper()
	ok, stale, err := h.Verify(t.Context(), hash, password)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return ok, stale
}

func TestHashVerifiesOnlyItsPassword(t *testing.T) {
	h, _ := hasher(t)
	hash, err := h.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if want := "$argon2id$v=19$m=19456,t=2,p=1$"; !strings.HasPrefix(hash, want) {
		t.Errorf("Hash() = %q, want it to begin with %q", hash, want)
	}
	for password, want := range map[string]bool{
		"correct horse":     true,
		"correct horse ":    false,
		"Correct horse":     false,
		"correct horse\x00": false,
		"":                  false,
	} {
		if ok, stale := verify(t, h, hash, password); ok != want || stale {
			t.Errorf("Verify(%q) = %v, stale %v, want %v, stale false", password, ok, stale, want)
		}
	}
}

func TestHashSaltsEachTime(t *testing.T) {
	h, _ := hasher(t)
	one, err := h.Hash(t.Context(), "the same")
	if err != nil {
		t.Fatal(err)
	}
	two, err := h.Hash(t.Context(), "the same")
	if err != nil {
		t.Fatal(err)
	}
	if one == two {
		t.Error("two hashes of one password are equal")
	}
}

func TestHashRefusesWhatCannotBeHashed(t *testing.T) {
	h, runs := hasher(t)
	for name, password := range map[string]string{
		"empty":     "",
		"too long":  strings.Repeat("x", MaxBytes+1),
		"not UTF-8": "pass\xffword",
	} {
		if _, err := h.Hash(t.Context(), password); !errors.Is(err, ErrPassword) {
			t.Errorf("Hash(%s) error = %v, want ErrPassword", name, err)
		}
	}
	if n := len(runs()); n != 0 {
		t.Errorf("refused passwords were hashed %d times", n)
	}
	if _, err := h.Hash(t.Context(), strings.Repeat("x", MaxBytes)); err != nil {
		t.Errorf("Hash of the longest password: %v", err)
	}
}

func TestVerifyIgnoresHowUnicodeIsWritten(t *testing.T) {
	h, _ := hasher(t)
	hash, err := h.Hash(t.Context(), "caf\u00e9 \uff11\uff12") // composed, full-width digits
	if err != nil {
		t.Fatal(err)
	}
	if ok, _ := verify(t, h, hash, "cafe\u0301 12"); !ok {
		t.Error("the decomposed form of the password does not verify")
	}
	if ok, _ := verify(t, h, hash, "cafe 12"); ok {
		t.Error("the password without its accent verifies")
	}
}

// Nobody can learn from the time of an answer whether an account exists: every way to
// fail costs exactly the work of a wrong password.
func TestEveryFailureCostsTheWorkOfAWrongPassword(t *testing.T) {
	h, runs := hasher(t)
	known, err := h.Hash(t.Context(), "right password")
	if err != nil {
		t.Fatal(err)
	}
	runs()
	verify(t, h, known, "wrong password")
	want := fmt.Sprint(runs())
	if want != fmt.Sprint([]work{{own.passes, own.memory, own.lanes, keyBytes}}) {
		t.Fatalf("a wrong password costs %v", want)
	}
	long := strings.Repeat("x", MaxBytes+1)
	for name, c := range map[string]struct{ hash, password string }{
		"right password":                {known, "right password"},
		"unknown address":               {"", "wrong password"},
		"unknown address, no password":  {"", ""},
		"unknown address, long":         {"", long},
		"known address, no password":    {known, ""},
		"known address, long":           {known, long},
		"known address, not UTF-8":      {known, "\xff"},
		"account without a password":    {"!Xw3", "wrong password"},
		"malformed hash":                {"$argon2id$", "wrong password"},
		"hash of an unknown kind":       {"md5$salt$0123456789abcdef", "wrong password"},
		"hash of 4 GiB":                 {"$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA", "wrong password"},
		"hash of a long password guess": {"!", long},
	} {
		verify(t, h, c.hash, c.password)
		if got := fmt.Sprint(runs()); got != want {
			t.Errorf("%s costs %v, want %v", name, got, want)
		}
	}
}

func TestAbsentHashIsFalseForEveryPassword(t *testing.T) {
	h, _ := hasher(t)
	for _, hash := range []string{"", "!", "!0123456789012345678901234567890123456789"} {
		for _, password := range []string{"", "!", "password"} {
			if ok, stale := verify(t, h, hash, password); ok || stale {
				t.Errorf("Verify(%q, %q) = %v, stale %v, want false, false", hash, password, ok, stale)
			}
		}
	}
}

func TestNoMoreHashesAtATimeThanParallel(t *testing.T) {
	h, err := New(Options{Parallel: 2})
	if err != nil {
		t.Fatal(err)
	}
	var running, most atomic.Int32
	entered, leave := make(chan struct{}, 16), make(chan struct{})
	h.argon2 = func(_, _ []byte, _, _ uint32, _ uint8, n uint32) []byte {
		if now := running.Add(1); now > most.Load() {
			most.Store(now)
		}
		entered <- struct{}{}
		<-leave
		running.Add(-1)
		return make([]byte, n)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := h.Hash(t.Context(), "password"); err != nil {
				t.Errorf("Hash: %v", err)
			}
		})
	}
	<-entered
	<-entered

	cause := errors.New("client gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := h.Hash(ctx, "password"); !errors.Is(err, cause) {
		t.Errorf("Hash with a cancelled context: %v, want %v", err, cause)
	}
	waiting := make(chan error)
	ctx, cancel = context.WithCancelCause(t.Context())
	go func() {
		_, _, err := h.Verify(ctx, "", "password")
		waiting <- err
	}()
	cancel(cause)
	if err := <-waiting; !errors.Is(err, cause) {
		t.Errorf("Verify cancelled while it waits: %v, want %v", err, cause)
	}

	close(leave)
	all.Wait()
	if most.Load() != 2 {
		t.Errorf("%d hashes at a time, want 2", most.Load())
	}
	if _, _, err := h.Verify(t.Context(), "", "password"); err != nil {
		t.Errorf("Verify after all is done: %v", err)
	}
}

func TestNewRefusesNegativeParallel(t *testing.T) {
	if _, err := New(Options{Parallel: -1}); err == nil {
		t.Error("New(Parallel: -1) is fine, want an error")
	}
}

func BenchmarkHash(b *testing.B) {
	h, _ := hasher(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Hash(b.Context(), "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyUnknown(b *testing.B) {
	h, _ := hasher(b)
	for b.Loop() {
		if _, _, err := h.Verify(b.Context(), "", "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}
