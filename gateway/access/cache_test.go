package access

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/materi/shield/gateway/token"
)

func living() *Principal { return &Principal{ExpiresAt: time.Unix(1000, 0)} }

func TestCacheKeepsItsBoundOfEntries(t *testing.T) {
	for _, size := range []int{1, 7, 64, 1000} {
		c := newCache(size, 1<<30)
		for i := range 5000 {
			c.put(fmt.Sprint("token", i), 0, time.Unix(0, 0), living())
			if n, _ := c.size(); n > size {
				t.Fatalf("%d entries, want at most %d", n, size)
			}
		}
	}
}

func TestCacheKeepsItsBoundOfBytes(t *testing.T) {
	const bound = 64 * 40 << 10
	c := newCache(100_000, bound)
	for i := range 5000 {
		c.put(fmt.Sprint(strings.Repeat("x", i%(16<<10)), i), 0, time.Unix(0, 0), living())
		if _, bytes := c.size(); bytes > bound {
			t.Fatalf("%d bytes, want at most %d", bytes, bound)
		}
	}
	if n, _ := c.size(); n == 0 {
		t.Error("nothing was kept")
	}
	for range 3 {
		c.put(strings.Repeat("x", 40<<10), 0, time.Unix(0, 0), living())
	}
	if c.get([]byte(strings.Repeat("x", 40<<10)), 0, time.Unix(0, 0)) != nil {
		t.Error("an entry beyond the bound was kept")
	}
}

func TestCacheOfNoSizeRemembersNothing(t *testing.T) {
	c := newCache(0, 1<<20)
	c.put("token", 0, time.Unix(0, 0), living())
	if c.get([]byte("token"), 0, time.Unix(0, 0)) != nil {
		t.Error("remembered")
	}
}

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	c := newCache(10, 1<<30)
	now := time.Unix(0, 0)
	c.put("hot", 0, now, living())
	for i := range 1000 {
		if c.get([]byte("hot"), 0, now) == nil {
			t.Fatalf("the entry in use was forgotten after %d others", i)
		}
		c.put(fmt.Sprint("cold", i), 0, now, living())
	}
}

func TestCacheTellsTokensApart(t *testing.T) {
	c := newCache(100, 1<<30)
	now := time.Unix(0, 0)
	c.put("token", 1, now, living())
	for _, other := range []string{"", "toke", "token1", "Token", "tokem"} {
		if c.get([]byte(other), 1, now) != nil {
			t.Errorf("get(%q) found another token", other)
		}
	}
	if c.get([]byte("token"), 2, now) != nil {
		t.Error("found for another version")
	}
	if c.get([]byte("token"), 1, time.Unix(1000, 0)) != nil {
		t.Error("found at its expiry")
	}
	if c.get([]byte("token"), 1, time.Unix(999, 0)) == nil {
		t.Error("not found")
	}
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	c := newCache(50, 1<<20)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				name := fmt.Sprint("token", (g+i)%100)
				p := c.get([]byte(name), uint64(i/500), time.Unix(0, 0))
				if p != nil && p.Subject != name {
					t.Errorf("get(%s) = %s", name, p.Subject)
				}
				fresh := living()
				fresh.Subject = name
				c.put(name, uint64(i/500), time.Unix(0, 0), fresh)
			}
		})
	}
	wg.Wait()
}

func TestHitDoesNotAllocate(t *testing.T) {
	g := newGate(t, 10, 0)
	raw := []byte(g.token(t, token.Claims{}))
	if _, err := g.authenticate(raw); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = g.authenticate(raw) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkAuthenticateHit(b *testing.B) {
	g := newGate(b, 100_000, 0)
	raw := []byte(g.token(b, token.Claims{}))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := g.authenticate(raw); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkAuthenticateMiss(b *testing.B) {
	g := newGate(b, 0, 0)
	raw := []byte(g.token(b, token.Claims{}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.authenticate(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzBearer(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("bearer  a.b.c")
	f.Add("Basic x")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		ctx := request(value)
		raw, err := bearer(&ctx.Request.Header)
		if err == nil && (len(raw) == 0 || !isToken(raw) || !strings.Contains(value, string(raw))) {
			t.Errorf("bearer(%q) = %q", value, raw)
		}
	})
}
