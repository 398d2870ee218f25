// Package password hashes and checks passwords for the providers, which reach it through
// [sdk.Passwords]. It makes argon2id hashes alone and reads those that other systems left
// behind. It owns the cost and the list of common passwords; it keeps no password, knows
// no account, and leaves the rules of a good password to the provider.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/materi/shield/sdk"
)

var _ sdk.Passwords = (*Hasher)(nil)

// MaxBytes is the longest password that is hashed. It is far above what people use and
// keeps a request from buying unbounded work.
const MaxBytes = 1024

// ErrPassword says that a password cannot be hashed: it is empty, longer than [MaxBytes]
// or not UTF-8.
var ErrPassword = errors.New("password is empty, too long or not UTF-8")

const (
	saltBytes = 16
	keyBytes  = 32
)

// own is what new hashes cost: the first choice of OWASP's password storage cheat sheet
// (19 MiB, two passes, one lane), 20 to 40 ms.
var own = cost{memory: 19 << 10, passes: 2, lanes: 1}

// Options is what a [Hasher] may be told. The zero value serves.
type Options struct {
	// Parallel is how many hashes are computed at a time, each in some 19 MiB; others wait.
	// 0 is the number of processors that Go uses, beyond which nothing is won.
	Parallel int
	// Log hears of stored hashes that cannot be used. nil: nobody does.
	Log *slog.Logger
}

// Hasher hashes and checks passwords. It is safe for concurrent use.
type Hasher struct {
	slots  chan struct{} // holds a token for each hash being computed
	log    *slog.Logger
	common *list
	argon2 func(password, salt []byte, passes, memory uint32, lanes uint8, n uint32) []byte
	decoy  digest // what a password is checked against when there is nothing else
}

// New returns a hasher. It unpacks the list of common passwords, which takes a few ms.
func New(o Options) (*Hasher, error) {
	if o.Parallel < 0 {
		return nil, fmt.Errorf("password: parallel is %d, must not be negative", o.Parallel)
	}
	if o.Parallel == 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	common, err := loadCommon()
	if err != nil {
		return nil, fmt.Errorf("password: list of common passwords: %w", err)
	}
	decoy := digest{scheme: argon2id, own: true, cost: own, salt: make([]byte, saltBytes), key: make([]byte, keyBytes)}
	rand.Read(decoy.salt)
	rand.Read(decoy.key)
	return &Hasher{
		slots:  make(chan struct{}, o.Parallel),
		log:    o.Log,
		common: common,
		argon2: argon2.IDKey,
		decoy:  decoy,
	}, nil
}

// Hash returns the argon2id hash of a password in PHC form, or [ErrPassword]. It waits for
// its turn, for as long as ctx allows. The password is hashed in Unicode's NFKC (NIST SP
// 800-63B), so that two keyboards that write one character differently agree.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if !hashable(password) {
		return "", ErrPassword
	}
	release, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	d := digest{scheme: argon2id, cost: own, salt: salt}
	d.key = h.argon2(normal(password), salt, own.passes, own.memory, own.lanes, keyBytes)
	return d.phc(), nil
}

// Verify checks a password against a stored hash; stale says that a true answer's hash
// is not one that Hash would make today. It waits for its turn, for as long as ctx allows.
//
// An absent hash takes the work of a real check and is false, so that the time does not
// tell whether there is an account. The same holds for a password that cannot be hashed,
// and for a hash that cannot be used: malformed, of an unknown kind, or so costly that
// checking it would be an attack. That is logged and not an error, because an error would
// tell that there is an account; its owner can reset the password.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (ok, stale bool, err error) {
	release, err := h.turn(ctx)
	if err != nil {
		return false, false, err
	}
	defer release()
	if hash == "" || hash[0] == unusable || !hashable(password) {
		h.match(h.decoy, password)
		return false, false, nil
	}
	d, err := parse(hash)
	if err != nil {
		h.log.LogAttrs(ctx, slog.LevelWarn, "stored password hash cannot be used", slog.Any("reason", err))
		h.match(h.decoy, password)
		return false, false, nil
	}
	if !h.match(d, password) {
		return false, false, nil
	}
	return true, !d.current(), nil
}

// Common reports whether a password is among the 100,000 most common, in whatever case.
func (h *Hasher) Common(_ context.Context, password string) (bool, error) {
	if !hashable(password) {
		return false, nil
	}
	return h.common.has(fold(password)), nil
}

// turn waits until a hash may be computed and returns what ends the turn.
func (h *Hasher) turn(ctx context.Context) (release func(), err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("wait to hash a password: %w", err)
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to hash a password: %w", context.Cause(ctx))
	}
}

// match computes d's function of the password and compares in constant time. An
// unhashable password is computed as a short one: what it costs must not depend on it.
func (h *Hasher) match(d digest, password string) bool {
	text := []byte(password)
	switch {
	case !hashable(password):
		text = nil
	case d.own:
		text = normal(password)
	}
	if d.scheme == argon2id {
		key := h.argon2(text, d.salt, d.cost.passes, d.cost.memory, d.cost.lanes, uint32(len(d.key)))
		return subtle.ConstantTimeCompare(key, d.key) == 1
	}
	return d.matchForeign(text)
}

func hashable(password string) bool {
	return password != "" && len(password) <= MaxBytes && utf8.ValidString(password)
}

func normal(password string) []byte { return norm.NFKC.Bytes([]byte(password)) }
