package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/materi/shield/gateway/plugin/egress"
	"github.com/materi/shield/gateway/token"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// leeway is how far the clock of another issuer may be from ours.
const leeway = 30 * time.Second

// reasons are the words for why a token does not hold.
var reasons = []struct {
	err    error
	reason string
}{
	{token.ErrMalformed, "malformed"},
	{token.ErrUnknownKey, "key"},
	{token.ErrSignature, "signature"},
	{token.ErrExpired, "expired"},
	{token.ErrIssuer, "issuer"},
	{token.ErrAudience, "audience"},
	{token.ErrNonce, "nonce"},
	{token.ErrClaims, "claims"},
}

func (c *Call) verifyToken(ctx context.Context, in []byte) ([]byte, error) {
	v, err := wire.DecodeJWTVerify(in)
	if err != nil {
		return nil, err
	}
	if (len(v.Keys) == 0) == (v.KeysURL == "") {
		return nil, fmt.Errorf("%w: one of keys and keys_url is needed", sdk.ErrInvalid)
	}
	t := token.IDToken{
		Token: v.Token, Issuer: v.Issuer, Audience: v.Audience, Nonce: v.Nonce, Algorithms: v.Algorithms,
		AccessToken: v.AccessToken, MaxAge: v.MaxAge, Now: c.g.now(), Leeway: leeway,
	}
	claims, err := c.claims(ctx, t, v)
	if err == nil {
		return wire.EncodeResult(claims, nil), nil
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return wire.EncodeResult(nil, &sdk.Refused{Reason: r.reason}), nil
		}
	}
	if errors.Is(err, token.ErrIncomplete) {
		return nil, fmt.Errorf("%w: %w", sdk.ErrInvalid, err)
	}
	if errors.Is(err, token.ErrUnavailable) {
		return nil, fmt.Errorf("%w: %w", sdk.ErrUnreachable, err)
	}
	return nil, err
}

func (c *Call) claims(ctx context.Context, t token.IDToken, v sdk.JWTVerification) ([]byte, error) {
	if v.KeysURL == "" {
		return t.Verify(v.Keys)
	}
	left, refusing := c.g.circuits.Refusing(egress.Origin(v.KeysURL))
	claims, err := c.g.issuers.Verify(ctx, v.KeysURL, t)
	if refusing && errors.Is(err, token.ErrUnavailable) {
		c.refused = max(c.refused, left)
	}
	return claims, err
}

func (c *Call) signToken(in []byte) ([]byte, error) {
	a, err := wire.DecodeJWTSign(in)
	if err != nil {
		return nil, err
	}
	key, err := c.g.secrets.key(a.Secret)
	if err != nil {
		return nil, err
	}
	signed, err := token.ClientAssertion{
		Claims: a.Claims, Key: key.text, Algorithm: a.Algorithm, KeyID: a.KeyID, Now: c.g.now(),
	}.Sign()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sdk.ErrInvalid, err)
	}
	return wire.EncodeResult([]byte(signed), nil), nil
}
