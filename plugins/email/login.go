package email

import (
	"context"
	"errors"
	"fmt"

	"github.com/materi/shield/sdk"
)

// login checks an address and a password. An unknown address is checked against no hash,
// which the host makes as long as a real check, and is answered as a wrong password.
func (p *Provider) login(ctx context.Context, host sdk.Host, req sdk.Request) (sdk.Step, error) {
	if faults := missing(req, fieldEmail, fieldPassword); faults != nil {
		return deny(sdk.CodeMissingField, faults...), nil
	}
	address, no := addressOf(req)
	if no != nil {
		return *no, nil
	}
	r, err := load(ctx, host, address)
	if err != nil {
		return sdk.Step{}, err
	}
	password := req.Fields[fieldPassword]
	ok, stale, err := host.Passwords().Verify(ctx, r.hash, password)
	if err != nil {
		return sdk.Step{}, fmt.Errorf("check password: %w", err)
	}
	if !ok {
		return deny(sdk.CodeInvalidCredentials), nil
	}
	if !r.verified {
		return deny(sdk.CodeEmailNotVerified), nil
	}
	if stale {
		if err := rehash(ctx, host, address, r, password); err != nil {
			return sdk.Step{}, err
		}
	}
	return done(address, r, amrPassword), nil
}

// rehash replaces a hash that is out of date while the password is at hand. If somebody
// changed the record in the meantime, theirs counts.
func rehash(ctx context.Context, host sdk.Host, address string, r record, password string) error {
	hash, err := host.Passwords().Hash(ctx, password)
	if err != nil {
		return fmt.Errorf("hash password anew: %w", err)
	}
	r.hash = hash
	if err := r.store(ctx, host, address); err != nil && !errors.Is(err, sdk.ErrConflict) {
		return err
	}
	return nil
}

// mailMagicLink mails a link that logs in.
func (p *Provider) mailMagicLink(ctx context.Context, host sdk.Host, req sdk.Request) (sdk.Step, error) {
	return withRecord(ctx, host, req, func(address string, r record) sdk.Step {
		if !r.verified {
			return deny(sdk.CodeUserNotFound)
		}
		return mailLink(mailMagicLink, address, r)
	})
}

// followMagicLink logs in, unless the password was changed since the link was mailed or
// the address went to somebody else.
func (p *Provider) followMagicLink(ctx context.Context, host sdk.Host, l link) (sdk.Step, error) {
	r, err := load(ctx, host, l.address)
	if err != nil {
		return sdk.Step{}, err
	}
	if !r.verified || !r.fits(l) {
		return deny(sdk.CodeInvalidToken), nil
	}
	return done(l.address, r, amrOnce), nil
}

// fits reports whether a link was made for this record and its present password.
func (r record) fits(l link) bool {
	return r.exists() && r.subject == l.subject && r.generation == l.generation
}

// mailLink mails a link to the person of a record.
func mailLink(template, address string, r record) sdk.Step {
	return sdk.Step{
		Mail: &sdk.Mail{Template: template, To: address},
		Save: link{address: address, subject: r.subject, generation: r.generation}.save(),
	}
}

// done says who logged in.
func done(address string, r record, amr string) sdk.Step {
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{
		Subject: r.subject, Email: address, EmailVerified: true, AMR: []string{amr},
	}}}
}
