package plugin

import (
	"context"
	"errors"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
	"github.com/materi/shield/sdk/wire"
)

// The queue for hashing is that of all providers.
func TestPasswordsThatOneCallHashesAreBounded(t *testing.T) {
	ctx := context.Background()
	s := &session{host: &Host{passwords: providertest.New().Call().Passwords()}}
	for n := range maxHashes / 2 {
		if _, err := s.Serve(ctx, wire.PasswordHash, wire.EncodePassword("correct horse")); err != nil {
			t.Fatalf("hash %d: %v", n, err)
		}
		if _, err := s.Serve(ctx, wire.PasswordVerify, wire.EncodeVerify("", "correct horse")); err != nil {
			t.Fatalf("check %d: %v", n, err)
		}
	}
	for f, in := range map[wire.Function][]byte{
		wire.PasswordHash: wire.EncodePassword("more"), wire.PasswordVerify: wire.EncodeVerify("", "more"),
	} {
		if _, err := s.Serve(ctx, f, in); !errors.Is(err, sdk.ErrExhausted) {
			t.Errorf("%s: error %v, want %v", f.Name, err, sdk.ErrExhausted)
		}
	}
}
