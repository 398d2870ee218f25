package email

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/materi/shield/sdk"
)

// register takes a new address and a password for it. The address belongs to nobody until
// its link is followed, and anybody may register anybody's address. So a password becomes
// valid only by a link that was mailed for its own registration; the first link followed
// wins and the others are dead. Whoever registers a stranger's address gains nothing
// when the stranger then registers too.
//
// A verified address gets a mail that says so. Whether the answer says so as well is the
// gateway's setting and not known here.
func (p *Provider) register(ctx context.Context, host sdk.Host, req sdk.Request) (sdk.Step, error) {
	if faults := missing(req, fieldEmail, fieldPassword); faults != nil {
		return deny(sdk.CodeMissingField, faults...), nil
	}
	address, no := addressOf(req)
	if no != nil {
		return *no, nil
	}
	name, no := nameOf(req)
	if no != nil {
		return *no, nil
	}
	password := req.Fields[fieldPassword]
	no, err := p.settings.choose(ctx, host, fieldPassword, password, address)
	if err != nil {
		return sdk.Step{}, err
	}
	if no != nil {
		return *no, nil
	}
	// Hashed before it is known whether it is needed: the time must not tell.
	hash, err := host.Passwords().Hash(ctx, password)
	if err != nil {
		return sdk.Step{}, fmt.Errorf("hash password: %w", err)
	}
	r, err := load(ctx, host, address)
	if err != nil {
		return sdk.Step{}, err
	}
	if r.verified {
		return sdk.Step{Mail: &sdk.Mail{Template: mailAccountExists, To: address}}, nil
	}
	if r, err = enrol(ctx, host, address, r, hash); err != nil {
		return sdk.Step{}, err
	}
	return mailVerifyLink(link{address: address, subject: r.subject, hash: hash, name: name}), nil
}

// enrol writes down that an address was registered, once more if r exists. From the
// second time on the record holds no password, because it cannot know whose it is; see
// [Provider.resend].
func enrol(ctx context.Context, host sdk.Host, address string, r record, hash string) (record, error) {
	if r.exists() {
		r.hash = ""
		return r, r.store(ctx, host, address)
	}
	r = record{subject: rand.Text(), hash: hash}
	if err := r.store(ctx, host, address); err != nil {
		return record{}, err
	}
	if err := host.KV().Set(ctx, prefixSubject+r.subject, []byte(address), 0); err != nil {
		return record{}, fmt.Errorf("write subject: %w", err)
	}
	return r, nil
}

// resend mails the link of a registration again. If there was more than one, nobody can
// say whose password the asker means: then the link verifies the address and makes no
// password valid, and the owner sets one by recovering.
func (p *Provider) resend(ctx context.Context, host sdk.Host, req sdk.Request) (sdk.Step, error) {
	return withRecord(ctx, host, req, func(address string, r record) sdk.Step {
		if !r.exists() || r.verified {
			return deny(sdk.CodeUserNotFound)
		}
		return mailVerifyLink(link{address: address, subject: r.subject, hash: r.hash})
	})
}

// mailVerifyLink mails a link that verifies an address. The mail does not hold the name:
// it goes to somebody who may know nothing of it, and is no place for a stranger's words.
func mailVerifyLink(l link) sdk.Step {
	return sdk.Step{
		Mail: &sdk.Mail{
			Template: mailVerify,
			To:       l.address,
			Identity: &sdk.Identity{Subject: l.subject, Email: l.address, Name: l.name},
		},
		Save: l.save(),
	}
}

// verify ends a registration: the address is proven, and the password of this link's
// registration becomes valid.
func (p *Provider) verify(ctx context.Context, host sdk.Host, l link) (sdk.Step, error) {
	r, err := load(ctx, host, l.address)
	if err != nil {
		return sdk.Step{}, err
	}
	if r.subject != l.subject || r.verified {
		return deny(sdk.CodeInvalidToken), nil
	}
	r.verified, r.hash = true, l.hash
	if err := r.store(ctx, host, l.address); err != nil {
		return sdk.Step{}, err
	}
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{
		Subject: l.subject, Email: l.address, EmailVerified: true, Name: l.name,
	}}}, nil
}
