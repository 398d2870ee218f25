package token

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ClientAssertion is by what a client shows another issuer who it is, in place of a secret:
// private_key_jwt of OpenID Connect Core §9, as RFC 7523 §2.2 has it.
type ClientAssertion struct {
	// Claims is a JSON object. iss and sub must be there and be equal, and aud must be there:
	// the key signs nothing but who its client is. iat is set, jti and exp where they are
	// missing.
	Claims    []byte
	Key       string // one private key in PEM: PKCS #8, PKCS #1 or SEC 1
	Algorithm string
	KeyID     string // kid; empty: none
	Now       time.Time
}

// maxAssertionLife is how long a client assertion may be valid: it is used at once.
const maxAssertionLife = 5 * time.Minute

// Sign makes the token. No error holds a part of the key.
func (c ClientAssertion) Sign() (string, error) {
	private, err := parsePrivate(c.Key)
	if err != nil {
		return "", fmt.Errorf("client assertion: %w", err)
	}
	if !suits(c.Algorithm, private.Public()) {
		return "", fmt.Errorf("client assertion: a %s cannot be used with this algorithm", describe(private.Public()))
	}
	payload, err := c.payload()
	if err != nil {
		return "", fmt.Errorf("client assertion: %w: %w", ErrClaims, err)
	}
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid,omitempty"`
		Type      string `json:"typ"`
	}{c.Algorithm, c.KeyID, "JWT"})
	if err != nil {
		return "", fmt.Errorf("client assertion: encode header: %w", err)
	}
	raw, err := sign(c.Algorithm, private, header, payload)
	if err != nil {
		return "", fmt.Errorf("client assertion: sign: %w", err)
	}
	return raw, nil
}

// payload completes the claims.
func (c ClientAssertion) payload() ([]byte, error) {
	if len(c.Claims) > MaxBytes/2 {
		return nil, fmt.Errorf("longer than %d bytes", MaxBytes/2)
	}
	claims, err := parseObject(c.Claims)
	if err != nil {
		return nil, err
	}
	if err := checkClient(claims); err != nil {
		return nil, err
	}
	claims["iat"] = json.RawMessage(strconv.FormatInt(c.Now.Unix(), 10))
	latest := c.Now.Add(maxAssertionLife)
	if !claims.has("exp") {
		claims["exp"] = json.RawMessage(strconv.FormatInt(latest.Unix(), 10))
	}
	exp, err := claims.moment("exp")
	if err != nil {
		return nil, err
	}
	if !exp.After(c.Now) || exp.After(latest) {
		return nil, fmt.Errorf("exp is not within %v", maxAssertionLife)
	}
	if !claims.has("jti") {
		claims["jti"] = json.RawMessage(strconv.Quote(rand.Text()))
	}
	if jti, err := claims.text("jti"); err != nil || jti == "" {
		return nil, errors.New("jti is not text")
	}
	return json.Marshal(claims)
}

// checkClient checks who speaks to whom (RFC 7523 §3).
func checkClient(claims object) error {
	iss, err := claims.text("iss")
	if err != nil {
		return err
	}
	sub, err := claims.text("sub")
	if err != nil {
		return err
	}
	if iss == "" || iss != sub {
		return errors.New("iss and sub are not the client")
	}
	aud, err := claims.list("aud")
	if err != nil {
		return err
	}
	if len(aud) == 0 || aud[0] == "" {
		return errors.New("no aud")
	}
	return nil
}
