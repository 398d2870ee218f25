package email

import (
	"context"
	"fmt"

	"github.com/materi/shield/sdk"
)

// mailReset mails a link that sets a new password. An address that was registered but not
// verified gets one too: the link proves it just as well.
func (p *Provider) mailReset(ctx context.Context, host sdk.Host, req sdk.Request) (sdk.Step, error) {
	return withRecord(ctx, host, req, func(address string, r record) sdk.Step {
		if !r.exists() {
			return deny(sdk.CodeUserNotFound)
		}
		return mailLink(mailReset, address, r)
	})
}

// reset sets the password by a link. A password that breaks the rules leaves the link
// valid for another try.
func (p *Provider) reset(ctx context.Context, host sdk.Host, l link, req sdk.Request) (sdk.Step, error) {
	if faults := missing(req, fieldPassword); faults != nil {
		return deny(sdk.CodeMissingField, faults...), nil
	}
	r, err := load(ctx, host, l.address)
	if err != nil {
		return sdk.Step{}, err
	}
	if !r.fits(l) {
		return deny(sdk.CodeInvalidToken), nil
	}
	password := req.Fields[fieldPassword]
	no, err := p.settings.choose(ctx, host, fieldPassword, password, l.address)
	if err != nil {
		return sdk.Step{}, err
	}
	if no != nil {
		return *no, nil
	}
	r.verified = true
	return setPassword(ctx, host, l.address, r, password)
}

// change sets the password of somebody who is logged in and knows the current one.
func (p *Provider) change(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	if faults := missing(req, fieldCurrent, fieldNew); faults != nil {
		return deny(sdk.CodeMissingField, faults...), nil
	}
	entry, found, err := host.KV().Get(ctx, prefixSubject+flow.Subject)
	if err != nil {
		return sdk.Step{}, fmt.Errorf("read subject: %w", err)
	}
	if !found {
		return deny(sdk.CodeUserNotFound), nil
	}
	address := string(entry.Value)
	r, err := load(ctx, host, address)
	if err != nil {
		return sdk.Step{}, err
	}
	if !r.verified || r.subject != flow.Subject {
		return deny(sdk.CodeUserNotFound), nil
	}
	ok, _, err := host.Passwords().Verify(ctx, r.hash, req.Fields[fieldCurrent])
	if err != nil {
		return sdk.Step{}, fmt.Errorf("check password: %w", err)
	}
	if !ok {
		return deny(sdk.CodeInvalidCredentials, sdk.FieldError{
			Field: fieldCurrent, Code: "wrong", Message: "This is not the current password.",
		}), nil
	}
	no, err := p.settings.choose(ctx, host, fieldNew, req.Fields[fieldNew], address)
	if err != nil {
		return sdk.Step{}, err
	}
	if no != nil {
		return *no, nil
	}
	return setPassword(ctx, host, address, r, req.Fields[fieldNew])
}

// setPassword gives a record another password. Links that were mailed before are dead.
func setPassword(ctx context.Context, host sdk.Host, address string, r record, password string) (sdk.Step, error) {
	hash, err := host.Passwords().Hash(ctx, password)
	if err != nil {
		return sdk.Step{}, fmt.Errorf("hash password: %w", err)
	}
	r.hash = hash
	r.generation++
	if err := r.store(ctx, host, address); err != nil {
		return sdk.Step{}, err
	}
	return sdk.Step{Changed: &sdk.Changed{Subject: r.subject}}, nil
}
