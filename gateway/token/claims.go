package token

import (
	"bytes"
	"errors"
)

// read takes the claims of a token that was checked.
func (t *trusted) read(payload object) (Claims, error) {
	c := Claims{Own: t.own, Issuer: t.issuer}
	var errs [6]error
	c.Subject, errs[0] = payload.text("sub")
	c.ID, errs[1] = payload.text("jti")
	c.Name, errs[2] = payload.text("name")
	c.IssuedAt, errs[3] = payload.moment("iat")
	c.ExpiresAt, errs[4] = payload.moment("exp")
	if t.own {
		errs[5] = c.readOwn(payload)
	} else {
		errs[5] = c.readOther(payload, t.scopeClaim, t.rolesClaim)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return Claims{}, err
	}
	if c.Subject == "" {
		return Claims{}, errors.New("no sub")
	}
	return c, nil
}

// readOwn takes the claims that only this gateway gives.
func (c *Claims) readOwn(payload object) error {
	kind, err := payload.text("token_type")
	if err != nil || kind != ownTokenType {
		return errors.New("token_type is not access")
	}
	var errs [8]error
	c.SessionID, errs[0] = payload.text("sid")
	c.Method, errs[1] = payload.text("auth_method")
	_, errs[2] = payload.decode("gen", &c.Generation)
	_, errs[3] = payload.decode("workspace_ids", &c.WorkspaceIDs)
	_, errs[4] = payload.decode("roles", &c.Roles)
	_, errs[5] = payload.decode("permissions", &c.Permissions)
	c.Scopes, errs[6] = payload.words("scope")
	c.Email, errs[7] = payload.text("email")
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	// Without them the token could not be revoked.
	if c.SessionID == "" || c.ID == "" {
		return errors.New("no sid or no jti")
	}
	return nil
}

// readOther takes scopes and roles from where the configuration says. A sid of another
// issuer is not taken: it would name a session of ours that it has no power over. An
// address is taken only if the issuer says that it verified it, because upstreams know
// people by their address, and some issuers let people claim any.
func (c *Claims) readOther(payload object, scopeClaim, rolesClaim string) (err error) {
	var verified bool
	if _, err := payload.decode("email_verified", &verified); err != nil {
		return err
	}
	if verified {
		if c.Email, err = payload.text("email"); err != nil {
			return err
		}
	}
	if scopeClaim == "" {
		scopeClaim = "scope"
	}
	if o, name := payload.at(scopeClaim); o != nil {
		if c.Scopes, err = o.words(name); err != nil {
			return err
		}
	}
	if rolesClaim == "" {
		return nil
	}
	o, name := payload.at(rolesClaim)
	if bytes.HasPrefix(o[name], []byte("{")) {
		_, err = o.decode(name, &c.Roles)
		return err
	}
	c.RoleNames, err = o.words(name)
	return err
}
