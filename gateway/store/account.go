package store

import (
	"context"
	"fmt"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
)

const (
	userColumns     = `u.id, u.email, u.verified, u.verified_by, u.name, u.avatar_url, u.timezone, u.language, u.status, u.created_at, u.updated_at`
	identityColumns = `i.id, i.user_id, i.provider, i.issuer, i.subject, i.email, i.created_at, i.last_used_at`
)

// User returns a user by id, or [account.ErrNotFound]. Deleted users are not found.
func (s *Store) User(ctx context.Context, id string) (account.User, error) {
	if !isID(id) {
		return account.User{}, account.ErrNotFound
	}
	var u account.User
	err := s.one(ctx, "read user", account.ErrNotFound,
		`SELECT `+userColumns+` FROM shield_users u WHERE u.id = $1 AND u.status <> 'deleted'`,
		[]any{id}, userFields(&u)...)
	return u, err
}

// UserByEmail returns the user with this canonical address, or [account.ErrNotFound].
func (s *Store) UserByEmail(ctx context.Context, email string) (account.User, error) {
	if !isText(email) {
		return account.User{}, account.ErrNotFound
	}
	var u account.User
	err := s.one(ctx, "read user by address", account.ErrNotFound,
		`SELECT `+userColumns+` FROM shield_users u WHERE u.email = $1 AND u.status <> 'deleted'`,
		[]any{email}, userFields(&u)...)
	return u, err
}

// UserByIdentity returns an identity and its user, or [account.ErrNotFound].
func (s *Store) UserByIdentity(ctx context.Context, provider, issuer, subject string) (account.User, account.Identity, error) {
	if !isText(provider, issuer, subject) {
		return account.User{}, account.Identity{}, account.ErrNotFound
	}
	var u account.User
	var i account.Identity
	err := s.one(ctx, "read user by identity", account.ErrNotFound,
		`SELECT `+userColumns+`, `+identityColumns+`
		FROM shield_identities i JOIN shield_users u ON u.id = i.user_id
		WHERE i.provider = $1 AND i.issuer = $2 AND i.subject = $3 AND u.status <> 'deleted'`,
		[]any{provider, issuer, subject}, append(userFields(&u), identityFields(&i)...)...)
	return u, i, err
}

// IdentitiesOf returns the identities of a user, oldest first.
func (s *Store) IdentitiesOf(ctx context.Context, userID string) ([]account.Identity, error) {
	if !isID(userID) {
		return nil, nil
	}
	var all []account.Identity
	err := s.query(ctx, "read identities",
		`SELECT `+identityColumns+` FROM shield_identities i WHERE i.user_id = $1 ORDER BY i.created_at, i.id`,
		[]any{userID}, func() { all = nil }, func(r Row) error {
			var i account.Identity
			err := r.Scan(identityFields(&i)...)
			all = append(all, i)
			return err
		})
	return all, err
}

func userFields(u *account.User) []any {
	return []any{&u.ID, &u.Email, &u.Verified, &u.VerifiedBy, &u.Name, &u.AvatarURL, &u.Timezone, &u.Language,
		(*string)(&u.Status), &u.CreatedAt, &u.UpdatedAt}
}

func identityFields(i *account.Identity) []any {
	return []any{&i.ID, &i.UserID, &i.Provider, &i.Issuer, &i.Subject, &i.Email, &i.CreatedAt, &i.LastUsedAt}
}

func insertUser(ctx context.Context, c Conn, u account.User) error {
	_, err := c.Exec(ctx,
		`INSERT INTO shield_users (id, email, verified, verified_by, name, avatar_url, timezone, language, status, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		u.ID, u.Email, u.Verified, u.VerifiedBy, u.Name, u.AvatarURL, u.Timezone, u.Language, string(u.Status), u.CreatedAt, u.UpdatedAt)
	return err
}

func insertIdentity(ctx context.Context, c Conn, i account.Identity, tokens []byte) error {
	_, err := c.Exec(ctx,
		`INSERT INTO shield_identities (id, user_id, provider, issuer, subject, email, created_at, last_used_at, tokens)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		i.ID, i.UserID, i.Provider, i.Issuer, i.Subject, i.Email, i.CreatedAt, i.LastUsedAt, tokens)
	return err
}

// Tokens returns the encrypted tokens that are kept beside an identity, if any, or
// [account.ErrNotFound].
func (s *Store) Tokens(ctx context.Context, identityID string) ([]byte, error) {
	if !isID(identityID) {
		return nil, account.ErrNotFound
	}
	var tokens []byte
	err := s.one(ctx, "read tokens", account.ErrNotFound,
		`SELECT tokens FROM shield_identities WHERE id = $1`, []any{identityID}, &tokens)
	return tokens, err
}

// unlink takes identities from a user, who is locked.
func unlink(ctx context.Context, c Conn, u login.Unlink) error {
	for _, id := range u.IDs {
		n, err := c.Exec(ctx, `DELETE FROM shield_identities WHERE id = $1 AND user_id = $2`, id, u.UserID)
		if err != nil {
			return fmt.Errorf("unlink identity: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("unlink identity: it is gone: %w", login.ErrChanged)
		}
	}
	rest := 0
	err := c.Query(ctx, `SELECT count(*) FROM shield_identities WHERE user_id = $1`, []any{u.UserID}, func(r Row) error {
		return r.Scan(&rest)
	})
	if err != nil {
		return fmt.Errorf("count identities: %w", err)
	}
	if rest != u.Rest {
		return fmt.Errorf("unlink identity: the others have changed: %w", login.ErrChanged)
	}
	return nil
}
