package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/materi/shield/config"
)

// ownType is the typ header of our tokens (RFC 9068 §2.1).
const ownType = "at+jwt"

// ownTokenType is the token_type claim of our access tokens.
const ownTokenType = "access"

// Issuer makes access tokens. It is safe for concurrent use.
type Issuer struct {
	keys *Keyring
	cfg  config.Token
	now  func() time.Time
}

// NewIssuer returns an issuer that signs with the active key of keys.
func NewIssuer(keys *Keyring, cfg config.Token, now func() time.Time) (*Issuer, error) {
	if keys == nil || now == nil {
		return nil, errors.New("token: a keyring and a clock are required")
	}
	if cfg.Issuer == "" || cfg.Audience == "" || cfg.AccessTTL <= 0 {
		return nil, errors.New("token: issuer, audience and access_ttl are required")
	}
	return &Issuer{keys: keys, cfg: cfg, now: now}, nil
}

type headerJSON struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

type payloadJSON struct {
	Issuer       string              `json:"iss"`
	Subject      string              `json:"sub"`
	Audience     string              `json:"aud"`
	ExpiresAt    int64               `json:"exp"`
	IssuedAt     int64               `json:"iat"`
	NotBefore    int64               `json:"nbf"`
	ID           string              `json:"jti"`
	SessionID    string              `json:"sid"`
	Generation   int64               `json:"gen"`
	Method       string              `json:"auth_method"`
	UserID       string              `json:"user_id"`
	Email        string              `json:"email"`
	Name         string              `json:"name"`
	WorkspaceIDs []string            `json:"workspace_ids"`
	Roles        map[string]string   `json:"roles"`
	Permissions  map[string][]string `json:"permissions"`
	Scope        string              `json:"scope"`
	TokenType    string              `json:"token_type"`
}

// Issue signs an access token with claims c and returns it with the time of its expiry.
// It takes about 2 ms with RS256, and 0.1 ms with ES256 and EdDSA.
func (i *Issuer) Issue(ctx context.Context, c Claims) (token string, expires time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return "", time.Time{}, fmt.Errorf("token: issue: %w", err)
	}
	if c.Subject == "" || c.SessionID == "" {
		return "", time.Time{}, errors.New("token: issue: a subject and a session are required")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("token: issue: %w", err)
	}
	now := i.now().Truncate(time.Second)
	expires = now.Add(i.cfg.AccessTTL)
	payload, err := json.Marshal(payloadJSON{
		Issuer:       i.cfg.Issuer,
		Subject:      c.Subject,
		Audience:     i.cfg.Audience,
		ExpiresAt:    expires.Unix(),
		IssuedAt:     now.Unix(),
		NotBefore:    now.Unix(),
		ID:           id.String(),
		SessionID:    c.SessionID,
		Generation:   c.Generation,
		Method:       c.Method,
		UserID:       c.Subject,
		Email:        c.Email,
		Name:         c.Name,
		WorkspaceIDs: append([]string{}, c.WorkspaceIDs...),
		Roles:        orEmpty(c.Roles),
		Permissions:  permissions(c.Permissions),
		Scope:        strings.Join(c.Scopes, " "),
		TokenType:    ownTokenType,
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("token: issue: encode claims: %w", err)
	}
	key := i.keys.active()
	header, err := json.Marshal(headerJSON{Algorithm: key.alg, KeyID: key.id, Type: ownType})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("token: issue: encode header: %w", err)
	}
	token, err = sign(key.alg, key.private, header, payload)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("token: issue: sign with key %s: %w", key.id, err)
	}
	if len(token) > MaxBytes {
		return "", time.Time{}, fmt.Errorf("token: issue: it would be longer than %d bytes", MaxBytes)
	}
	return token, expires, nil
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// permissions makes sure of the two members that clients read without looking first.
func permissions(given map[string][]string) map[string][]string {
	out := map[string][]string{"documents": {}, "workspaces": {}}
	for resource, actions := range given {
		out[resource] = append([]string{}, actions...)
	}
	return out
}
