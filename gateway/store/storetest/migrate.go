package storetest

import (
	"errors"
	"testing"

	"github.com/materi/shield/gateway/store"
)

func migrateConcurrently(t *testing.T, e Engine) {
	var stores []*store.Store
	for range 3 {
		where := e.Fresh(t)
		stores = stores[:0]
		for range 8 {
			s := open(t, e, where)
			if err := s.Ping(t.Context()); err != nil { // connected, so that all start at once
				t.Fatal(err)
			}
			stores = append(stores, s)
		}
		errs := atOnce(len(stores), func(i int) error { return stores[i].Migrate(t.Context()) })
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("Migrate() = %v", err)
		}
	}
	all, err := stores[0].Migrations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range all {
		if m.Version != i+1 || m.Name == "" || m.AppliedAt.IsZero() {
			t.Errorf("migration %d = %d %q, applied %v", i, m.Version, m.Name, m.AppliedAt)
		}
	}
	activeUser(t, stores[7])
}

func migrateDiffers(t *testing.T, e Engine) {
	s, where := freshAt(t, e)
	e.Exec(t, where, `UPDATE shield_migrations SET checksum = 'another' WHERE version = 1`)
	if err := s.Migrate(t.Context()); !errors.Is(err, store.ErrMigration) {
		t.Errorf("Migrate() = %v, want ErrMigration", err)
	}
	if _, err := s.Pending(t.Context()); !errors.Is(err, store.ErrMigration) {
		t.Errorf("Pending() = %v, want ErrMigration", err)
	}
}

func migrateNewer(t *testing.T, e Engine) {
	s, where := freshAt(t, e)
	e.Exec(t, where, `INSERT INTO shield_migrations (version, name, checksum, applied_at) VALUES (9999, 'later', 'x', '2030-01-01T00:00:00Z')`)
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate() = %v, want nil: the release before must work with a newer schema", err)
	}
	if pending, err := s.Pending(t.Context()); err != nil || len(pending) != 0 {
		t.Errorf("Pending() = %v, %v, want none", pending, err)
	}
}

func migratePending(t *testing.T, e Engine) {
	s := open(t, e, e.Fresh(t))
	for range 2 {
		pending, err := s.Pending(t.Context())
		if err != nil || len(pending) == 0 {
			t.Fatalf("Pending() = %v, %v, want all", pending, err)
		}
	}
	if _, err := s.User(t.Context(), newUser("").ID); err == nil {
		t.Error("User() without a schema = nil error")
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pending, err := s.Pending(t.Context()); err != nil || len(pending) != 0 {
		t.Errorf("Pending() = %v, %v, want none", pending, err)
	}
}
