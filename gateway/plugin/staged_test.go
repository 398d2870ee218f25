package plugin

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
	"github.com/materi/shield/sdk/wire"
)

func manifestOf(capabilities []sdk.Capability) []byte {
	return wire.EncodeManifest(sdk.Manifest{ID: "x", Version: "1", ABI: sdk.ABI, Kind: "x", Capabilities: capabilities})
}

func newMap() *staged {
	db := &database{entries: map[string]sdk.Entry{"p/old": {Value: []byte("committed"), Version: 3}}}
	return newStaged(db, "p", func() time.Time { return now })
}

func TestStagedMapIsBounded(t *testing.T) {
	ctx := context.Background()
	s := newMap()
	for i := range maxWrites {
		if err := s.Set(ctx, strings.Repeat("k", i+1), nil, 0); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
	if err := s.Set(ctx, "one more", nil, 0); !errors.Is(err, sdk.ErrTooLarge) {
		t.Errorf("write %d: error %v, want %v", maxWrites+1, err, sdk.ErrTooLarge)
	}
	if err := s.Delete(ctx, "one more"); !errors.Is(err, sdk.ErrTooLarge) {
		t.Errorf("deletion %d: error %v, want %v", maxWrites+1, err, sdk.ErrTooLarge)
	}
	if err := s.Set(ctx, "k", []byte("again"), 0); err != nil {
		t.Errorf("a key that is staged already: %v", err)
	}
	s = newMap()
	value := make([]byte, sdk.MaxValue)
	var err error
	for i := 0; err == nil && i < maxWrites; i++ {
		err = s.Set(ctx, strings.Repeat("k", i+1), value, 0)
	}
	if !errors.Is(err, sdk.ErrTooLarge) || s.size > maxStaged {
		t.Errorf("%d bytes are staged, error %v", s.size, err)
	}
	for range 100 { // replacing does not add up
		if err := s.Set(ctx, "k", value, 0); err != nil {
			t.Fatalf("replace: %v", err)
		}
	}
}

func TestKeysAndValuesOutOfBoundsAreRefused(t *testing.T) {
	ctx := context.Background()
	s := newMap()
	for _, c := range []struct {
		key   string
		value int
		ttl   time.Duration
		want  error
	}{
		{"", 0, 0, sdk.ErrInvalid},
		{"\xff", 0, 0, sdk.ErrInvalid},
		{"a\x00b", 0, 0, sdk.ErrInvalid},
		{"k", 0, -1, sdk.ErrInvalid},
		{strings.Repeat("k", sdk.MaxKey+1), 0, 0, sdk.ErrTooLarge},
		{"k", sdk.MaxValue + 1, 0, sdk.ErrTooLarge},
	} {
		if err := s.Set(ctx, c.key, make([]byte, c.value), c.ttl); !errors.Is(err, c.want) {
			t.Errorf("Set(%.10q, %d bytes, %v) = %v, want %v", c.key, c.value, c.ttl, err, c.want)
		}
		if err := s.CompareAndSet(ctx, c.key, 0, make([]byte, c.value), c.ttl); !errors.Is(err, c.want) {
			t.Errorf("CompareAndSet(%.10q, %d bytes, %v) = %v, want %v", c.key, c.value, c.ttl, err, c.want)
		}
	}
	if w := s.writes(); len(w) != 0 {
		t.Errorf("refused writes are staged: %v", w)
	}
}

func TestWriteKeepsTheConditionOfTheFirstComparison(t *testing.T) {
	ctx := context.Background()
	s := newMap()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.CompareAndSet(ctx, "old", 3, []byte("a"), 0))
	e, _, err := s.Get(ctx, "old")
	must(err)
	if e.Version >= 0 {
		t.Errorf("version of a staged entry = %d, want a negative one", e.Version)
	}
	if err := s.CompareAndSet(ctx, "old", 3, []byte("b"), 0); !errors.Is(err, sdk.ErrConflict) {
		t.Errorf("comparison with the version before = %v, want %v", err, sdk.ErrConflict)
	}
	must(s.CompareAndSet(ctx, "old", e.Version, []byte("b"), 0))
	must(s.Set(ctx, "old", []byte("c"), 0))
	must(s.Delete(ctx, "old"))
	must(s.CompareAndSet(ctx, "old", 0, []byte("d"), time.Second))
	w := s.writes()
	if len(w) != 1 || !w[0].Checked || w[0].IfVersion != 3 || string(w[0].Value) != "d" || w[0].Delete {
		t.Errorf("writes = %+v, want one of d if the version is 3", w)
	}
}

func TestWhatAnAnswerWasComputedFromIsHeldAtTheCommit(t *testing.T) {
	ctx := context.Background()
	s := newMap()
	for _, key := range []string{"old", "absent", "written"} {
		if _, _, err := s.Get(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Set(ctx, "written", []byte("a"), 0); err != nil {
		t.Fatal(err)
	}
	want := []Write{
		{Provider: "p", Key: "absent", Checked: true, ReadOnly: true},
		{Provider: "p", Key: "old", Checked: true, IfVersion: 3, ReadOnly: true},
		{Provider: "p", Key: "written", Value: []byte("a")},
	}
	if diff := cmp.Diff(want, s.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestReadsOfOneCallAgree(t *testing.T) {
	ctx := context.Background()
	db := &database{entries: map[string]sdk.Entry{"p/old": {Version: 3}}}
	s := newStaged(db, "p", func() time.Time { return now })
	if _, _, err := s.Get(ctx, "old"); err != nil {
		t.Fatal(err)
	}
	db.put("p", "old", "changed by another", 4)
	if _, _, err := s.Get(ctx, "old"); !errors.Is(err, sdk.ErrConflict) {
		t.Errorf("Get() of an entry that changed during the call = %v, want %v", err, sdk.ErrConflict)
	}
}

func TestReadsAreBounded(t *testing.T) {
	ctx := context.Background()
	s := newMap()
	for i := range maxReads {
		if _, _, err := s.Get(ctx, strings.Repeat("k", i+1)); err != nil {
			t.Fatalf("read %d: %v", i, err)
		}
	}
	if _, _, err := s.Get(ctx, "one more"); !errors.Is(err, sdk.ErrTooLarge) {
		t.Errorf("read %d: error %v, want %v", maxReads+1, err, sdk.ErrTooLarge)
	}
	if _, _, err := s.Get(ctx, "k"); err != nil {
		t.Errorf("a key that was read already: %v", err)
	}
	for range maxAsked {
		if _, _, err := s.Get(ctx, "k"); errors.Is(err, sdk.ErrExhausted) {
			return
		}
	}
	t.Errorf("one key can be read %d times", maxAsked)
}

func TestUncheckedWriteStaysUnchecked(t *testing.T) {
	ctx := context.Background()
	s := newMap()
	if err := s.Set(ctx, "old", []byte("a"), 0); err != nil {
		t.Fatal(err)
	}
	e, _, _ := s.Get(ctx, "old")
	if err := s.CompareAndSet(ctx, "old", e.Version, []byte("b"), 0); err != nil {
		t.Fatal(err)
	}
	if w := s.writes(); w[0].Checked {
		t.Errorf("writes = %+v, want no condition", w)
	}
}

// TestStagedMapBehavesLikeThatOfProvidertest runs random operations on both
// implementations: an author who tested against the one must not be surprised by the other.
func TestStagedMapBehavesLikeThatOfProvidertest(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	keys := []string{"a", "b", "c"}
	for round := range 300 {
		host := providertest.New()
		db := &database{entries: make(map[string]sdk.Entry)}
		for call := range 3 {
			theirs := host.Call()
			ours := newStaged(db, "p", host.Now)
			for range 12 {
				key := keys[r.IntN(len(keys))]
				value := []byte{byte(r.IntN(256))}
				a, foundA, _ := ours.Get(ctx, key)
				b, foundB, _ := theirs.KV().Get(ctx, key)
				if foundA != foundB || string(a.Value) != string(b.Value) {
					t.Fatalf("round %d: Get(%s) = %v %v, providertest says %v %v", round, key, a, foundA, b, foundB)
				}
				var errA, errB error
				switch r.IntN(4) {
				case 0:
					errA, errB = ours.Set(ctx, key, value, 0), theirs.KV().Set(ctx, key, value, 0)
				case 1:
					errA, errB = ours.Delete(ctx, key), theirs.KV().Delete(ctx, key)
				case 2:
					errA = ours.CompareAndSet(ctx, key, a.Version, value, 0)
					errB = theirs.KV().CompareAndSet(ctx, key, b.Version, value, 0)
				case 3:
					errA = ours.CompareAndSet(ctx, key, 1<<40, value, 0)
					errB = theirs.KV().CompareAndSet(ctx, key, 1<<40, value, 0)
				}
				if !errors.Is(errA, errB) {
					t.Fatalf("round %d: error %v, providertest says %v", round, errA, errB)
				}
			}
			if err := theirs.Commit(); err != nil {
				t.Fatal(err)
			}
			for _, w := range ours.writes() {
				if w.Checked && db.entries["p/"+w.Key].Version != w.IfVersion {
					t.Fatalf("round %d: write %+v over %+v", round, w, db.entries["p/"+w.Key])
				}
				if w.ReadOnly {
					continue
				}
				delete(db.entries, "p/"+w.Key)
				if !w.Delete {
					db.put("p", w.Key, string(w.Value), int64(round*10+call+1))
				}
			}
		}
	}
}
