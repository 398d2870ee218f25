package token

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/materi/shield/config"
)

// VerifierOptions is what [NewVerifier] needs. Everything but Issuers is required.
type VerifierOptions struct {
	Keyring    *Keyring
	Config     config.Token
	Issuers    []config.Issuer
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Verifier decides whether an access token is authentic, meant for this gateway and valid
// now. It is safe for concurrent use.
type Verifier struct {
	keys    *Keyring
	trusted map[string]*trusted // by iss
	remotes []*remote
	leeway  time.Duration
	now     func() time.Time
}

// trusted is an issuer and the rules for its tokens.
type trusted struct {
	own        bool
	issuer     string
	audience   string
	types      []string // lower case, without "application/"
	scopeClaim string
	rolesClaim string
	key        func(context.Context, keyName) (crypto.PublicKey, error)
}

var errSegments = errors.New("not three base64url segments")

// NewVerifier returns a verifier for tokens of the keyring and of the configured issuers.
// It does not fetch keys: [Verifier.Run] does, so an issuer that is down delays nothing.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	if o.Keyring == nil || o.Now == nil || o.Log == nil || o.Registerer == nil {
		return nil, errors.New("token: Keyring, Now, Log and Registerer are required")
	}
	if o.Config.Issuer == "" || o.Config.Audience == "" {
		return nil, errors.New("token: issuer and audience are required")
	}
	v := &Verifier{keys: o.Keyring, leeway: o.Config.Leeway, now: o.Now, trusted: map[string]*trusted{}}
	v.trusted[o.Config.Issuer] = &trusted{
		own: true, issuer: o.Config.Issuer, audience: o.Config.Audience, types: []string{ownType}, key: o.Keyring.public,
	}
	metrics, err := newRemoteMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("token: register metrics: %w", err)
	}
	for _, cfg := range o.Issuers {
		if err := checkIssuer(cfg); err != nil {
			return nil, fmt.Errorf("token: issuer %s: %w", cfg.Name, err)
		}
		if v.trusted[cfg.Issuer] != nil {
			return nil, fmt.Errorf("token: issuer %s: %s is already an issuer", cfg.Name, cfg.Issuer)
		}
		r := newRemote(cfg, o.Now, o.Log, metrics)
		v.remotes = append(v.remotes, r)
		v.trusted[cfg.Issuer] = &trusted{
			issuer: cfg.Issuer, audience: cfg.Audience, types: acceptedTypes(cfg.Types),
			scopeClaim: cfg.ScopeClaim, rolesClaim: cfg.RolesClaim, key: r.public,
		}
	}
	return v, nil
}

// checkIssuer refuses what would make checks meaningless, whoever made the configuration.
func checkIssuer(cfg config.Issuer) error {
	if cfg.Issuer == "" || cfg.Audience == "" || len(cfg.Algorithms) == 0 {
		return errors.New("issuer, audience and algorithms are required")
	}
	for _, alg := range cfg.Algorithms {
		if _, err := signatureAlgorithm(alg); err != nil {
			return err
		}
	}
	u, err := url.Parse(cfg.JWKSURL)
	if err != nil {
		return errors.New("jwks_url is not a URL")
	}
	if !allowedURL(u) {
		return errors.New("jwks_url must be https, or http on loopback")
	}
	return nil
}

func acceptedTypes(configured []string) []string {
	if len(configured) == 0 {
		return []string{ownType}
	}
	types := make([]string, 0, len(configured))
	for _, t := range configured {
		types = append(types, mediaType(t))
	}
	return types
}

// mediaType brings a typ into the form in which it is compared: media types ignore case,
// and "application/" may be left out (RFC 7515 §4.1.9).
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// Run fetches the keys of the other issuers and keeps them fresh until ctx ends. Tokens of
// these issuers are [ErrUnavailable] while it does not run.
func (v *Verifier) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, r := range v.remotes {
		wg.Go(func() { r.run(ctx) })
	}
	wg.Wait()
}

// Version changes whenever some key begins or ceases to verify. A verdict may be
// remembered for as long as it stays the same.
func (v *Verifier) Version() uint64 {
	version := v.keys.Version()
	for _, r := range v.remotes {
		version += r.version.Load() // each only grows, so the sum never comes back
	}
	return version
}

// Verify checks a token in its compact form and returns its claims, or an error that wraps
// [ErrInvalid], [ErrExpired] or [ErrUnavailable]. It may wait for the keys of another
// issuer, for [fetchWait] at most.
func (v *Verifier) Verify(ctx context.Context, raw string) (Claims, error) {
	if len(raw) > MaxBytes {
		return Claims{}, fmt.Errorf("%w: longer than %d bytes", ErrInvalid, MaxBytes)
	}
	header, payload, err := parse(raw)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	// The issuer is read before the signature is checked, because it says whose keys to
	// check with. It is one of the configured ones or none.
	iss, err := payload.text("iss")
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	t := v.trusted[iss]
	if t == nil {
		return Claims{}, fmt.Errorf("%w: unknown issuer", ErrInvalid)
	}
	if err := t.authenticate(ctx, raw, header); err != nil {
		return Claims{}, err
	}
	if err := t.checkClaims(payload, v.now(), v.leeway); err != nil {
		return Claims{}, err
	}
	claims, err := t.read(payload)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return claims, nil
}

// parse reads header and payload without judging them. Base64url is read strictly: no
// padding, no line breaks, no stray bits, so that one token has one spelling.
func parse(raw string) (header, payload object, err error) {
	segments := strings.Split(raw, ".")
	if len(segments) != 3 {
		return nil, nil, errSegments
	}
	var parsed [2]object
	for i, what := range []string{"header", "payload"} {
		data, err := decodeSegment(segments[i])
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", what, err)
		}
		if parsed[i], err = parseObject(data); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	return parsed[0], parsed[1], nil
}

func decodeSegment(s string) ([]byte, error) {
	// The decoder of the standard library skips line breaks even when strict.
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, errSegments
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errSegments
	}
	return data, nil
}

// splitSignature returns what a token's signature covers, and the signature.
func splitSignature(raw string) (input, signature []byte, err error) {
	dot := strings.LastIndexByte(raw, '.')
	if dot < 0 {
		return nil, nil, errSegments
	}
	signature, err = decodeSegment(raw[dot+1:])
	return []byte(raw[:dot]), signature, err
}

// checkHeader refuses what would change how the rest is read.
func checkHeader(header object) error {
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if header.has(name) {
			return fmt.Errorf("header has %s", name)
		}
	}
	return nil
}

// authenticate checks the header and the signature. jku, jwk, x5u and x5c are never looked
// at: keys come from the configuration.
func (t *trusted) authenticate(ctx context.Context, raw string, header object) error {
	if err := checkHeader(header); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	alg, err := header.text("alg")
	if err != nil || alg == "" {
		return fmt.Errorf("%w: header has no alg", ErrInvalid)
	}
	kid, err := header.text("kid")
	if err != nil || kid == "" {
		return fmt.Errorf("%w: header has no kid", ErrInvalid)
	}
	typ, err := header.text("typ")
	if err != nil || !slices.Contains(t.types, mediaType(typ)) {
		return fmt.Errorf("%w: typ is not accepted", ErrInvalid)
	}
	input, signature, err := splitSignature(raw)
	if err != nil {
		return fmt.Errorf("%w: signature: %w", ErrInvalid, err)
	}
	key, err := t.key(ctx, keyName{kid, alg})
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := verify(alg, key, input, signature); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// checkClaims checks for whom and for when the token is. The signature is known to be
// right, so ErrExpired is only ever said of a token that was once valid.
func (t *trusted) checkClaims(payload object, now time.Time, leeway time.Duration) error {
	aud, err := payload.holds("aud", t.audience)
	if err != nil || !aud {
		return fmt.Errorf("%w: wrong audience", ErrInvalid)
	}
	exp, err := payload.moment("exp")
	if err != nil || exp.IsZero() {
		return fmt.Errorf("%w: no exp", ErrInvalid)
	}
	nbf, err := payload.moment("nbf")
	if err != nil || nbf.After(now.Add(leeway)) {
		return fmt.Errorf("%w: not valid yet", ErrInvalid)
	}
	iat, err := payload.moment("iat")
	if err != nil || iat.After(now.Add(leeway)) {
		return fmt.Errorf("%w: issued in the future", ErrInvalid)
	}
	if !now.Before(exp.Add(leeway)) {
		return ErrExpired
	}
	return nil
}
