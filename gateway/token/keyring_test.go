package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/config"
)

// states are the states of the keys, newest first.
func states(k *Keyring) string {
	var s []string
	for _, key := range k.List() {
		s = append(s, string(key.State))
	}
	return strings.Join(s, " ")
}

func TestCheckFailsWhenWhatIsSignedDoesNotVerify(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		keys, others := newBench(t, alg).keys, newBench(t, alg).keys
		broken := *keys.current.Load()
		broken.active.public = others.current.Load().active.public
		keys.current.Store(&broken)
		if err := keys.Check(); err == nil {
			t.Errorf("%s: Check() of a key whose halves are of two pairs = nil", alg)
		}
	}
}

func TestKeyringSignsAtOnceWithTheFirstKey(t *testing.T) {
	b := newBench(t, "RS256")
	if got := states(b.keys); got != "active" {
		t.Errorf("states = %q", got)
	}
	if err := b.keys.Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestKeyringFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "keys")
	openKeyring(t, testConfig("EdDSA"), dir, newClock())
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, keyFileName): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s = %04o, want %04o", path, got, want)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}

func TestKeyringRefusesAKeyFileThatEverybodyCanRead(t *testing.T) {
	dir := t.TempDir()
	c := newClock()
	openKeyring(t, testConfig("EdDSA"), dir, c)
	if err := os.Chmod(filepath.Join(dir, keyFileName), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyring(KeyringOptions{Config: testConfig("EdDSA"), Dir: dir, Now: c.Now, Log: quiet()}); err == nil {
		t.Error("OpenKeyring() = nil, want an error")
	}
}

func TestKeyringRefusesADamagedKeyFile(t *testing.T) {
	dir := t.TempDir()
	c := newClock()
	openKeyring(t, testConfig("EdDSA"), dir, c)
	path := filepath.Join(dir, keyFileName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"empty":         "",
		"cut":           string(good[:len(good)/2]),
		"no keys":       `{"version":1,"keys":[]}`,
		"other version": strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"other kid":     strings.Replace(string(good), `"kid": "`, `"kid": "x`, 1),
		"other alg":     strings.Replace(string(good), `EdDSA`, `RS256`, 1),
	} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenKeyring(KeyringOptions{Config: testConfig("EdDSA"), Dir: dir, Now: c.Now, Log: quiet()})
		if err == nil || contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: OpenKeyring() = %v", name, err)
		}
		if left, _ := os.ReadFile(path); string(left) != data {
			t.Errorf("%s: the damaged file was written over", name)
		}
	}
}

func TestKeyringSurvivesARestart(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		dir, c := t.TempDir(), newClock()
		first := openKeyring(t, testConfig(algorithm), dir, c)
		second := openKeyring(t, testConfig(algorithm), dir, c)
		if diff := cmp.Diff(first.List(), second.List()); diff != "" {
			t.Errorf("%s: keys after a restart (-before +after):\n%s", algorithm, diff)
		}
	}
}

func TestGatewaysThatStartTogetherMakeOneKey(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	var wg sync.WaitGroup
	rings := make([]*Keyring, 8)
	for i := range rings {
		wg.Go(func() {
			var err error
			rings[i], err = OpenKeyring(KeyringOptions{Config: testConfig("ES256"), Dir: dir, Now: c.Now, Log: quiet()})
			if err != nil {
				t.Errorf("OpenKeyring: %v", err)
			}
		})
	}
	wg.Wait()
	for _, k := range rings {
		if diff := cmp.Diff(rings[0].List(), k.List()); diff != "" {
			t.Errorf("keys differ:\n%s", diff)
		}
	}
}

func TestRotationDropsNoToken(t *testing.T) {
	b := newBench(t, "EdDSA")
	old := b.issue(t, sampleClaims())
	oldKey := b.keys.active().id
	version := b.verifier.Version()

	made, err := b.keys.Rotate()
	if err != nil || made.State != Next {
		t.Fatalf("Rotate() = %+v, %v", made, err)
	}
	if got := states(b.keys); got != "next active" {
		t.Errorf("after Rotate: %q", got)
	}
	if b.keys.active().id != oldKey {
		t.Error("the new key signs before it was published")
	}
	if !contains(string(b.keys.JWKS()), made.ID) {
		t.Error("the next key is not in the JWKS")
	}
	if b.verifier.Version() == version {
		t.Error("Version did not change with a new key")
	}
	if again, err := b.keys.Rotate(); err != nil || again.ID != made.ID {
		t.Errorf("second Rotate() = %+v, %v, want the waiting key", again, err)
	}

	b.clock.Move(10 * time.Minute)
	last := b.issue(t, sampleClaims()) // a gateway that has not looked at the clock yet
	b.keys.reload()
	if got := states(b.keys); got != "active retiring" || b.keys.active().id != made.ID {
		t.Errorf("after publication: %q", got)
	}
	for name, raw := range map[string]string{"last of the old key": last, "first of the new key": b.issue(t, sampleClaims())} {
		if _, err := b.verifier.Verify(t.Context(), raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.verifier.Verify(t.Context(), old); err != nil {
		t.Errorf("token from before the rotation: %v", err)
	}

	version = b.verifier.Version()
	b.clock.Move(7 * 24 * time.Hour)
	b.keys.reload()
	if got := states(b.keys); got != "active" || contains(string(b.keys.JWKS()), oldKey) {
		t.Errorf("after the overlap: %q", got)
	}
	if b.verifier.Version() == version {
		t.Error("Version did not change when a key was removed")
	}
	if _, err := b.verifier.Verify(t.Context(), last); !errors.Is(err, ErrInvalid) {
		t.Errorf("token of a removed key: %v, want ErrInvalid", err)
	}
}

func TestOverlapIsNeverShorterThanATokenLives(t *testing.T) {
	cfg := testConfig("EdDSA")
	cfg.Overlap, cfg.Publish = 0, 0
	c := newClock()
	k := openKeyring(t, cfg, t.TempDir(), c)
	old := k.active()
	if _, err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	c.Move(cfg.AccessTTL)
	k.reload()
	if _, ok := k.current.Load().public[keyName{old.id, old.alg}]; !ok {
		t.Error("the old key is gone while its tokens live")
	}
}

func TestKeysRotateByThemselvesOnceForAllGateways(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	a, b := openKeyring(t, testConfig("EdDSA"), dir, c), openKeyring(t, testConfig("EdDSA"), dir, c)
	c.Move(90*24*time.Hour - 10*time.Minute - time.Second)
	a.reload()
	if got := states(a); got != "active" {
		t.Errorf("a moment before: %q", got)
	}
	c.Move(time.Second)
	a.reload()
	b.reload()
	if got := states(b); got != "next active" {
		t.Errorf("when due: %q", got)
	}
	if diff := cmp.Diff(a.List(), b.List()); diff != "" {
		t.Errorf("gateways differ:\n%s", diff)
	}
	c.Move(10 * time.Minute)
	a.reload()
	if got := states(a); got != "active retiring" {
		t.Errorf("at the age of 90 days: %q", got)
	}
	// Years later the file holds no more than what verifies.
	for range 8 {
		c.Move(90 * 24 * time.Hour)
		a.reload()
		c.Move(10 * time.Minute)
		a.reload()
	}
	keys, err := a.file.read()
	if err != nil || len(keys) > 2 {
		t.Errorf("%d keys in the file, %v", len(keys), err)
	}
}

func TestAKeyThatAnotherGatewayMadeIsKnownAtOnce(t *testing.T) {
	cfg := testConfig("EdDSA")
	cfg.Publish = 0
	dir, c := t.TempDir(), newClock()
	a, b := openKeyring(t, cfg, dir, c), openKeyring(t, cfg, dir, c)
	if _, err := a.Rotate(); err != nil {
		t.Fatal(err)
	}
	c.Move(time.Second)
	name := keyName{a.active().id, "EdDSA"}
	if _, err := b.public(t.Context(), name); err != nil {
		t.Errorf("public(new key): %v", err)
	}
	// The next look has to wait, whatever is asked for.
	if _, err := a.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.public(t.Context(), keyName{a.active().id, "EdDSA"}); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("public(newer key) a moment later: %v, want ErrUnknownKey", err)
	}
}

func TestAlgorithmChangesWithoutAGap(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	openKeyring(t, testConfig("RS256"), dir, c)
	k := openKeyring(t, testConfig("ES256"), dir, c)
	if got := states(k); got != "next active" || k.active().alg != "RS256" {
		t.Fatalf("after the change: %q, signing with %s", got, k.active().alg)
	}
	c.Move(10 * time.Minute)
	k.reload()
	if k.active().alg != "ES256" {
		t.Errorf("after publication the keyring signs with %s", k.active().alg)
	}
}

func TestKeyringKeepsItsKeysWhenTheFileIsGone(t *testing.T) {
	b := newBench(t, "EdDSA")
	raw := b.issue(t, sampleClaims())
	if err := os.Remove(b.keys.file.path()); err != nil {
		t.Fatal(err)
	}
	b.clock.Move(time.Minute)
	b.keys.reload()
	if _, err := b.verifier.Verify(t.Context(), raw); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if _, err := os.Stat(b.keys.file.path()); err == nil {
		t.Error("a new key was made in place of the lost ones")
	}
}

func TestAClockThatGoesBackStillSigns(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	openKeyring(t, testConfig("EdDSA"), dir, c)
	c.Move(-time.Hour)
	k := openKeyring(t, testConfig("EdDSA"), dir, c)
	if got := states(k); got != "active" {
		t.Errorf("states = %q", got)
	}
}

func TestConfiguredKeysAreUsedAsGiven(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	before, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig("ES256")
	cfg.PrivateKey = config.NewSecret(privatePEM(t, private))
	cfg.PublicKey = string(pkixPEM(t, private.Public())) + string(pkixPEM(t, before.Public()))
	k := openKeyring(t, cfg, "", newClock())
	if got := states(k); got != "active retiring" {
		t.Errorf("states = %q", got)
	}
	if _, err := k.Rotate(); !errors.Is(err, ErrStatic) {
		t.Errorf("Rotate() = %v, want ErrStatic", err)
	}
	if err := k.Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestConfiguredKeysThatDoNotFitAreRefused(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const canary = "c2VjcmV0LWNhbmFyeQ"
	for name, change := range map[string]func(*config.Token){
		"RSA too short": func(c *config.Token) { c.PrivateKey = config.NewSecret(privatePEM(t, short)) },
		"wrong curve":   func(c *config.Token) { c.PrivateKey = config.NewSecret(privatePEM(t, p384)) },
		"no PEM":        func(c *config.Token) { c.PrivateKey = config.NewSecret(canary) },
		"a public key":  func(c *config.Token) { c.PrivateKey = config.NewSecret(string(pkixPEM(t, p384.Public()))) },
		"damaged": func(c *config.Token) {
			c.PrivateKey = config.NewSecret("-----BEGIN PRIVATE KEY-----\n" + canary + "==\n-----END PRIVATE KEY-----\n")
		},
		"public RSA too short": func(c *config.Token) { c.PublicKey = string(pkixPEM(t, short.Public())) },
		"public no PEM":        func(c *config.Token) { c.PublicKey = canary },
		"private as public":    func(c *config.Token) { c.PublicKey = privatePEM(t, p384) },
	} {
		cfg := testConfig("RS256")
		change(&cfg)
		_, err := OpenKeyring(KeyringOptions{Config: cfg, Dir: t.TempDir(), Now: newClock().Now, Log: quiet()})
		if err == nil || contains(err.Error(), canary) {
			t.Errorf("%s: OpenKeyring() = %v", name, err)
		}
	}
}

func TestJWKSHoldsNoPrivateMember(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		b := newBench(t, algorithm)
		if _, err := b.keys.Rotate(); err != nil {
			t.Fatal(err)
		}
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(b.keys.JWKS(), &set); err != nil || len(set.Keys) != 2 {
			t.Fatalf("JWKS = %s, %v", b.keys.JWKS(), err)
		}
		for _, key := range set.Keys {
			for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
				if _, ok := key[member]; ok {
					t.Errorf("%s: JWK has %s", algorithm, member)
				}
			}
		}
	}
}
