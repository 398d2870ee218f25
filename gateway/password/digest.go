package password

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// unusable begins what Django stores for an account without a password.
const unusable = '!'

// Bounds of stored hashes. Whoever can write one (an import, another service on the same
// database) must not be able to make a login take gigabytes or minutes. Django's own
// defaults, 100 MiB and 1,200,000 iterations, are inside.
const (
	maxHash       = 512
	maxMemory     = 128 << 10 // KiB
	maxPasses     = 10
	maxLanes      = 16
	maxBcryptCost = 15
	maxIterations = 4_000_000
	maxSalt       = 64
	minKey        = 16
	maxKey        = 64
)

type scheme int

const (
	argon2id     scheme = iota + 1
	argon2i             // Django until 3.1
	bcryptPlain         // as other systems store it, or behind Django's "bcrypt$"
	bcryptSHA256        // Django: bcrypt over the hexadecimal SHA-256
	pbkdf2SHA256        // Django's default
)

// cost is what argon2 is told.
type cost struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
}

// digest is a stored hash that was understood and is within bounds.
type digest struct {
	scheme     scheme
	own        bool   // over the normalised password; others hashed it as it came
	cost       cost   // argon2
	iterations int    // PBKDF2
	salt, key  []byte // argon2, PBKDF2
	bcrypt     []byte // bcrypt, with its version, cost and salt
}

// current reports whether d is as [Hasher.Hash] makes them. Another cost is stale even if
// it is higher: that all checks cost the same is what hides who has an account.
func (d digest) current() bool {
	return d.own && d.scheme == argon2id && d.cost == own && len(d.salt) == saltBytes && len(d.key) == keyBytes
}

// phc writes an argon2id hash in the PHC string format.
func (d digest) phc() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, d.cost.memory, d.cost.passes, d.cost.lanes,
		base64.RawStdEncoding.EncodeToString(d.salt), base64.RawStdEncoding.EncodeToString(d.key))
}

// matchForeign is [Hasher.match] for the schemes that are only read.
func (d digest) matchForeign(password []byte) bool {
	switch d.scheme {
	case argon2i:
		key := argon2.Key(password, d.salt, d.cost.passes, d.cost.memory, d.cost.lanes, uint32(len(d.key)))
		return subtle.ConstantTimeCompare(key, d.key) == 1
	case bcryptPlain:
		return bcrypt.CompareHashAndPassword(d.bcrypt, password) == nil
	case bcryptSHA256:
		sum := sha256.Sum256(password)
		return bcrypt.CompareHashAndPassword(d.bcrypt, []byte(hex.EncodeToString(sum[:]))) == nil
	case pbkdf2SHA256:
		key, err := pbkdf2.Key(sha256.New, string(password), d.salt, d.iterations, len(d.key))
		return err == nil && subtle.ConstantTimeCompare(key, d.key) == 1
	default:
		return false
	}
}

// parse understands a stored hash. Its errors tell nothing of the hash.
func parse(hash string) (digest, error) {
	if len(hash) > maxHash {
		return digest{}, errors.New("longer than any that is known")
	}
	algorithm, rest, _ := strings.Cut(hash, "$")
	switch algorithm {
	case "":
		return parseModular(hash)
	case "argon2":
		d, err := parseArgon2("$" + rest)
		d.own = false
		return d, err
	case "bcrypt":
		return parseBcrypt(bcryptPlain, rest)
	case "bcrypt_sha256":
		return parseBcrypt(bcryptSHA256, rest)
	case "pbkdf2_sha256":
		return parsePBKDF2(rest)
	default:
		return digest{}, errors.New("unknown kind")
	}
}

// parseModular reads the forms that begin with a dollar sign.
func parseModular(hash string) (digest, error) {
	if strings.HasPrefix(hash, "$argon2") {
		return parseArgon2(hash)
	}
	return parseBcrypt(bcryptPlain, hash)
}

// parseArgon2 reads "$argon2id$v=19$m=19456,t=2,p=1$salt$key".
func parseArgon2(hash string) (digest, error) {
	part := strings.Split(hash, "$")
	if len(part) != 6 {
		return digest{}, errors.New("argon2: not of five parts")
	}
	d := digest{own: true}
	switch part[1] {
	case "argon2id":
		d.scheme = argon2id
	case "argon2i":
		d.scheme = argon2i
	default:
		return digest{}, errors.New("argon2: unknown variant")
	}
	if part[2] != "v="+strconv.Itoa(argon2.Version) {
		return digest{}, errors.New("argon2: unknown version")
	}
	var err error
	if d.cost, err = parseCost(part[3]); err != nil {
		return digest{}, err
	}
	if d.salt, err = decode(base64.RawStdEncoding, part[4], 8, maxSalt); err != nil {
		return digest{}, fmt.Errorf("argon2: salt: %w", err)
	}
	if d.key, err = decode(base64.RawStdEncoding, part[5], minKey, maxKey); err != nil {
		return digest{}, fmt.Errorf("argon2: key: %w", err)
	}
	return d, nil
}

// parseCost reads "m=19456,t=2,p=1" and bounds it. RFC 9106 §3.1 demands 8 KiB a lane.
func parseCost(s string) (cost, error) {
	part := strings.Split(s, ",")
	if len(part) != 3 {
		return cost{}, errors.New("argon2: not of three parameters")
	}
	var value [3]int
	for i, p := range []struct {
		name string
		most int
	}{{"m=", maxMemory}, {"t=", maxPasses}, {"p=", maxLanes}} {
		digits, found := strings.CutPrefix(part[i], p.name)
		n, err := number(digits, p.most)
		if !found || err != nil {
			return cost{}, errors.New("argon2: parameters malformed or out of bounds")
		}
		value[i] = n
	}
	if value[0] < 8*value[2] {
		return cost{}, errors.New("argon2: too little memory for its lanes")
	}
	return cost{memory: uint32(value[0]), passes: uint32(value[1]), lanes: uint8(value[2])}, nil
}

// parseBcrypt reads "$2b$12$" and the 53 characters of salt and key. Version 2x is left
// out, since it marks the hashes of a faulty implementation.
func parseBcrypt(s scheme, hash string) (digest, error) {
	if len(hash) != 60 || hash[6] != '$' {
		return digest{}, errors.New("bcrypt: malformed")
	}
	if v := hash[:4]; v != "$2a$" && v != "$2b$" && v != "$2y$" {
		return digest{}, errors.New("unknown kind")
	}
	if n, err := number(hash[4:6], maxBcryptCost); err != nil || n < bcrypt.MinCost {
		return digest{}, errors.New("bcrypt: cost out of bounds")
	}
	return digest{scheme: s, bcrypt: []byte(hash)}, nil
}

// parsePBKDF2 reads Django's "600000$salt$key", where the salt is text.
func parsePBKDF2(s string) (digest, error) {
	part := strings.Split(s, "$")
	if len(part) != 3 {
		return digest{}, errors.New("pbkdf2: not of three parts")
	}
	n, err := number(part[0], maxIterations)
	if err != nil {
		return digest{}, errors.New("pbkdf2: iterations malformed or out of bounds")
	}
	if part[1] == "" || len(part[1]) > maxSalt {
		return digest{}, errors.New("pbkdf2: salt too short or too long")
	}
	key, err := decode(base64.StdEncoding, part[2], minKey, maxKey)
	if err != nil {
		return digest{}, fmt.Errorf("pbkdf2: key: %w", err)
	}
	return digest{scheme: pbkdf2SHA256, iterations: n, salt: []byte(part[1]), key: key}, nil
}

// number reads a decimal from 1 to most.
func number(digits string, most int) (int, error) {
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n < 1 || n > uint64(most) {
		return 0, errors.New("out of bounds")
	}
	return int(n), nil
}

// decode reads base64 of least to most bytes. encoding/base64 skips line breaks; here
// they are a fault, so that one hash has one form.
func decode(e *base64.Encoding, s string, least, most int) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("not base64")
	}
	b, err := e.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("not base64")
	}
	if len(b) < least || len(b) > most {
		return nil, errors.New("too short or too long")
	}
	return b, nil
}
