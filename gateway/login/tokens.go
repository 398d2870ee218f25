package login

import (
	"context"
	"fmt"

	"github.com/materi/shield/sdk"
)

// keepTokens adds to a commit that what the other site issued is kept beside the identity
// that logs in, or that nothing is.
func (l *Login) keepTokens(c *Commit, id sdk.Identity) {
	var sealed []byte
	if len(id.Tokens) > 0 {
		sealed = l.tokens.Seal(id.Tokens, identityOf(*c))
	}
	c.KeepTokens = &sealed
}

// Tokens returns what the other site issued at the last login by an identity, or nothing if
// none are kept. It fails with [seal.ErrOpen] if they were encrypted under a secret key that
// is not configured any more, and with account.ErrNotFound if there is no such identity.
func (l *Login) Tokens(ctx context.Context, identityID string) ([]byte, error) {
	sealed, err := l.store.Tokens(ctx, identityID)
	if err != nil || len(sealed) == 0 {
		return nil, err
	}
	tokens, err := l.tokens.Open(sealed, identityID)
	if err != nil {
		return nil, fmt.Errorf("tokens of identity %s: %w", identityID, err)
	}
	return tokens, nil
}
