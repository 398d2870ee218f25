package token

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Errors of the checks of an [IDToken], besides [ErrUnknownKey], [ErrSignature],
// [ErrExpired] and [ErrUnavailable]. All but ErrMalformed, ErrUnknownKey and ErrIssuer are
// only ever said of a token whose signature is right. They wrap a reason for the log, which
// never holds a part of the token.
var (
	// ErrIncomplete says that the caller left out what a token must be checked against.
	ErrIncomplete = errors.New("issuer, audience, nonce and algorithms are required")
	// ErrMalformed says that it is not a token that could be an id_token.
	ErrMalformed = errors.New("token malformed")
	// ErrIssuer says that the token is of another issuer.
	ErrIssuer = errors.New("wrong issuer")
	// ErrAudience says that the token is for somebody else, or for somebody else too.
	ErrAudience = errors.New("wrong audience")
	// ErrNonce says that the token belongs to another login.
	ErrNonce = errors.New("wrong nonce")
	// ErrClaims says that another claim is missing, of the wrong type or wrong.
	ErrClaims = errors.New("claims refused")
)

// IDToken is a token that another issuer says about somebody who logged in there, and what
// it must say to be taken (OpenID Connect Core §3.1.3.7). Issuer, Audience, Nonce, Algorithms
// and Now are not optional.
type IDToken struct {
	Token      string
	Issuer     string   // iss, compared exactly
	Audience   string   // aud must hold it: the identifier of the client
	Nonce      string   // of this login
	Algorithms []string // that the issuer signs with; the token has no say
	Now        time.Time
	Leeway     time.Duration

	// AccessToken is the token that came with this one. If it is given, at_hash must be there
	// and match it.
	AccessToken string
	// OptionalHash accepts a token without at_hash, as §3.1.3.6 does in the code flow. One
	// that is there must match.
	OptionalHash bool
	// MaxAge is how long ago the login may have been (auth_time). 0: it does not matter.
	MaxAge time.Duration
}

const maxSubjectBytes = 255 // OpenID Connect Core §2

// idTokenTypes are the typ headers of an id_token. A token of another type, such as at+jwt,
// logout+jwt or dpop+jwt, was made to say something else.
var idTokenTypes = []string{"", "jwt"}

// Verify checks the token with the keys of a JWK Set and returns its claims: the bytes of
// the payload as they were signed, a JSON object in which no member appears twice.
func (t IDToken) Verify(jwks []byte) ([]byte, error) {
	return t.verify(func(name keyName) (crypto.PublicKey, error) {
		set, _, err := parseKeySet(jwks, t.Algorithms)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnknownKey, err)
		}
		return set.find(name)
	})
}

// verify does all checks. find is asked for a key only if the token is of the right issuer
// and of an allowed algorithm.
func (t IDToken) verify(find func(keyName) (crypto.PublicKey, error)) ([]byte, error) {
	if err := t.complete(); err != nil {
		return nil, err
	}
	if len(t.Token) > MaxBytes {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxBytes)
	}
	header, payload, err := parse(t.Token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	input, signature, err := splitSignature(t.Token)
	if err != nil {
		return nil, fmt.Errorf("%w: signature: %w", ErrMalformed, err)
	}
	name, err := t.keyName(header)
	if err != nil {
		return nil, err
	}
	if iss, err := payload.text("iss"); err != nil || iss != t.Issuer {
		return nil, ErrIssuer
	}
	key, err := find(name)
	if err != nil {
		return nil, err
	}
	if err := verify(name.alg, key, input, signature); err != nil {
		return nil, err
	}
	if err := t.check(payload, name.alg); err != nil {
		return nil, err
	}
	return decodeSegment(strings.Split(t.Token, ".")[1])
}

func (t IDToken) complete() error {
	if t.Issuer == "" || t.Audience == "" || t.Nonce == "" || len(t.Algorithms) == 0 || t.Now.IsZero() {
		return ErrIncomplete
	}
	for _, alg := range t.Algorithms {
		if _, err := signatureAlgorithm(alg); err != nil {
			return fmt.Errorf("%w: %w", ErrIncomplete, err)
		}
	}
	return nil
}

// keyName reads from the header which key signed. jku, jwk, x5u and x5c are never looked at.
func (t IDToken) keyName(header object) (keyName, error) {
	if err := checkHeader(header); err != nil {
		return keyName{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	typ, err := header.text("typ")
	if err != nil || !slices.Contains(idTokenTypes, mediaType(typ)) {
		return keyName{}, fmt.Errorf("%w: typ is not accepted", ErrMalformed)
	}
	alg, err := header.text("alg")
	if err != nil || !slices.Contains(t.Algorithms, alg) {
		return keyName{}, fmt.Errorf("%w: alg is not accepted", ErrMalformed)
	}
	kid, err := header.text("kid")
	if err != nil {
		return keyName{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return keyName{kid, alg}, nil
}

// check holds the claims of an authentic token to what is expected.
func (t IDToken) check(payload object, alg string) error {
	if err := t.checkAudience(payload); err != nil {
		return fmt.Errorf("%w: %w", ErrAudience, err)
	}
	nonce, err := payload.text("nonce")
	if err != nil || subtle.ConstantTimeCompare([]byte(nonce), []byte(t.Nonce)) != 1 {
		return ErrNonce
	}
	if err := t.checkTimes(payload); err != nil {
		return err
	}
	sub, err := payload.text("sub")
	if err != nil || sub == "" || len(sub) > maxSubjectBytes {
		return fmt.Errorf("%w: sub is not 1 to %d bytes of text", ErrClaims, maxSubjectBytes)
	}
	if err := t.checkAccessToken(payload, alg); err != nil {
		return fmt.Errorf("%w: %w", ErrClaims, err)
	}
	return nil
}

// checkAudience checks aud and azp: a token for several parties says by azp which one asked
// for it.
func (t IDToken) checkAudience(payload object) error {
	parties, err := payload.list("aud")
	if err != nil {
		return err
	}
	if !slices.Contains(parties, t.Audience) {
		return errors.New("aud does not hold it")
	}
	azp, err := payload.text("azp")
	if err != nil {
		return err
	}
	if azp == "" && len(parties) > 1 || payload.has("azp") && azp != t.Audience {
		return errors.New("azp names another party, or none of several")
	}
	return nil
}

func (t IDToken) checkTimes(payload object) error {
	for _, name := range []string{"exp", "iat"} {
		if !payload.has(name) {
			return fmt.Errorf("%w: no %s", ErrClaims, name)
		}
	}
	var at [4]time.Time
	for i, name := range []string{"exp", "iat", "nbf", "auth_time"} {
		var err error
		if at[i], err = payload.moment(name); err != nil {
			return fmt.Errorf("%w: %w", ErrClaims, err)
		}
		if i > 0 && at[i].After(t.Now.Add(t.Leeway)) {
			return fmt.Errorf("%w: %s is in the future", ErrClaims, name)
		}
	}
	if !t.Now.Before(at[0].Add(t.Leeway)) {
		return ErrExpired
	}
	if t.MaxAge > 0 && (!payload.has("auth_time") || t.Now.After(at[3].Add(t.MaxAge+t.Leeway))) {
		return fmt.Errorf("%w: the login was too long ago", ErrClaims)
	}
	return nil
}

// checkAccessToken compares at_hash, the left half of a hash of the access token (§3.1.3.6).
func (t IDToken) checkAccessToken(payload object, alg string) error {
	if t.AccessToken == "" || t.OptionalHash && !payload.has("at_hash") {
		return nil
	}
	got, err := payload.text("at_hash")
	if err != nil {
		return err
	}
	sum := digest(alg, t.AccessToken)
	want := base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return errors.New("at_hash is of another access token")
	}
	return nil
}

// digest hashes with the hash of a signature algorithm.
func digest(alg, text string) []byte {
	switch {
	case strings.HasSuffix(alg, "256"):
		sum := sha256.Sum256([]byte(text))
		return sum[:]
	case strings.HasSuffix(alg, "384"):
		sum := sha512.Sum384([]byte(text))
		return sum[:]
	default: // the 512s, and EdDSA, which with Ed25519 is SHA-512 (RFC 8032 §5.1)
		sum := sha512.Sum512([]byte(text))
		return sum[:]
	}
}
