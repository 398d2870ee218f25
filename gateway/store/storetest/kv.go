package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/sdk"
)

func entry(t testing.TB, s *store.Store, provider, key string, now time.Time) (sdk.Entry, bool) {
	t.Helper()
	got, found, err := s.KV(t.Context(), provider, key, now)
	if err != nil {
		t.Fatalf("KV() = %v", err)
	}
	return got, found
}

func kvConditions(t *testing.T, e Engine) {
	const same, other = -1, -2 // versions that stand for the entry's own and another
	s := fresh(t, e)
	for i, c := range []struct {
		name  string
		w     plugin.Write
		held  bool
		after string // value of the entry if the write held, "-" for none
	}{
		{"set, there", plugin.Write{Key: "there"}, true, ""},
		{"set, absent", plugin.Write{Key: "absent", Value: []byte("2")}, true, "2"},
		{"set if absent, absent", plugin.Write{Key: "absent", Checked: true, Value: []byte("2")}, true, "2"},
		{"set if absent, there", plugin.Write{Key: "there", Checked: true}, false, ""},
		{"set if absent, expired", plugin.Write{Key: "expired", Checked: true, Value: []byte("2")}, true, "2"},
		{"set if version, same", plugin.Write{Key: "there", Checked: true, IfVersion: same, Value: []byte("2")}, true, "2"},
		{"set if version, other", plugin.Write{Key: "there", Checked: true, IfVersion: other}, false, ""},
		{"set if version, absent", plugin.Write{Key: "absent", Checked: true, IfVersion: other}, false, ""},
		{"set if version, expired", plugin.Write{Key: "expired", Checked: true, IfVersion: same}, false, ""},
		{"delete, there", plugin.Write{Key: "there", Delete: true}, true, "-"},
		{"delete, absent", plugin.Write{Key: "absent", Delete: true}, true, "-"},
		{"delete if version, same", plugin.Write{Key: "there", Delete: true, Checked: true, IfVersion: same}, true, "-"},
		{"delete if version, other", plugin.Write{Key: "there", Delete: true, Checked: true, IfVersion: other}, false, ""},
		{"delete if version, expired", plugin.Write{Key: "expired", Delete: true, Checked: true, IfVersion: same}, false, ""},
		{"delete if absent, absent", plugin.Write{Key: "absent", Delete: true, Checked: true}, true, "-"},
		{"delete if absent, there", plugin.Write{Key: "there", Delete: true, Checked: true}, false, ""},
		{"delete if absent, expired", plugin.Write{Key: "expired", Delete: true, Checked: true}, true, "-"},
		{"read, same", plugin.Write{Key: "there", ReadOnly: true, Checked: true, IfVersion: same}, true, "1"},
		{"read, other", plugin.Write{Key: "there", ReadOnly: true, Checked: true, IfVersion: other}, false, ""},
		{"read, absent", plugin.Write{Key: "absent", ReadOnly: true, Checked: true}, true, "-"},
		{"read, made since", plugin.Write{Key: "there", ReadOnly: true, Checked: true}, false, ""},
		{"read, gone since", plugin.Write{Key: "absent", ReadOnly: true, Checked: true, IfVersion: other}, false, ""},
		{"read, expired since", plugin.Write{Key: "expired", ReadOnly: true, Checked: true, IfVersion: same}, false, ""},
		{"read, expired before", plugin.Write{Key: "expired", ReadOnly: true, Checked: true}, true, "-"},
	} {
		c.w.Provider = fmt.Sprint("provider", i)
		commit(t, s, login.Commit{Writes: []plugin.Write{
			{Provider: c.w.Provider, Key: "there", Value: []byte("1")},
			{Provider: c.w.Provider, Key: "expired", Value: []byte("1"), ExpiresAt: epoch},
			{Provider: "somebody else", Key: c.w.Key, Value: []byte("theirs")},
		}})
		now, _ := entry(t, s, c.w.Provider, c.w.Key, epoch.Add(-time.Second)) // when "expired" was alive
		switch c.w.IfVersion {
		case same:
			c.w.IfVersion = now.Version
		case other:
			c.w.IfVersion = now.Version + 1
		}

		_, err := s.Commit(t.Context(), login.Commit{Now: epoch, Writes: []plugin.Write{c.w}, TouchIdentity: account.NewID()})
		if undone, _ := entry(t, s, c.w.Provider, c.w.Key, epoch.Add(-time.Second)); err == nil || undone.Version != now.Version {
			t.Errorf("%s: a commit that failed (%v) changed the entry", c.name, err)
		}
		_, err = s.Commit(t.Context(), login.Commit{Now: epoch, Writes: []plugin.Write{c.w}})
		if c.held != (err == nil) || err != nil && !errors.Is(err, login.ErrChanged) {
			t.Errorf("%s: Commit() = %v, want held %v", c.name, err, c.held)
		}
		after, found := entry(t, s, c.w.Provider, c.w.Key, epoch)
		switch {
		case !c.held:
		case found != (c.after != "-"), found && string(after.Value) != c.after:
			t.Errorf("%s: entry = %q, %v, want %q", c.name, after.Value, found, c.after)
		}
		if theirs, _ := entry(t, s, "somebody else", c.w.Key, epoch); string(theirs.Value) != "theirs" {
			t.Errorf("%s: another provider's entry = %q", c.name, theirs.Value)
		}
	}
}

func kvRace(t *testing.T, e Engine) {
	s := fresh(t, e)
	var version int64
	for range 3 { // made by one, then changed by one, then again
		errs := atOnce(16, func(i int) error {
			_, err := s.Commit(t.Context(), login.Commit{Now: epoch, Writes: []plugin.Write{
				{Provider: "email", Key: "k", Value: []byte{byte(i)}, Checked: true, IfVersion: version},
			}})
			return err
		})
		if good, refused := tally(t, errs, login.ErrChanged); good != 1 || refused != 15 {
			t.Errorf("%d writes held and %d did not, want 1 and 15", good, refused)
		}
		got, _ := entry(t, s, "email", "k", epoch)
		version = got.Version
	}
}

func kvExpires(t *testing.T, e Engine) {
	s := fresh(t, e)
	commit(t, s, login.Commit{Writes: []plugin.Write{{Provider: "email", Key: "k", Value: []byte("v"), ExpiresAt: epoch.Add(time.Minute)}}})
	if got, found := entry(t, s, "email", "k", epoch.Add(time.Minute-time.Microsecond)); !found || string(got.Value) != "v" {
		t.Errorf("before the expiry: KV() = %q, %v, want it", got.Value, found)
	}
	if _, found := entry(t, s, "email", "k", epoch.Add(time.Minute)); found {
		t.Error("at the expiry: KV() found it")
	}
}

func kvVersions(t *testing.T, e Engine) {
	s := fresh(t, e)
	seen := map[int64]bool{}
	for i := range 20 {
		commit(t, s, login.Commit{Writes: []plugin.Write{{Provider: "email", Key: "k", Delete: i%3 == 0}}})
		commit(t, s, login.Commit{Writes: []plugin.Write{{Provider: "email", Key: "k", Value: []byte("same")}}})
		got, _ := entry(t, s, "email", "k", epoch)
		if got.Version <= 0 || seen[got.Version] {
			t.Errorf("version %d, want a new positive one", got.Version)
		}
		seen[got.Version] = true
	}
}
