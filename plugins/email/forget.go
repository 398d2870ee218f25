package email

import (
	"context"
	"errors"
	"fmt"

	"github.com/materi/shield/sdk"
)

// forget removes the record of a subject, with its password, and with it whatever the links
// are worth that were mailed for it. Somebody who is not there is forgotten already.
func (p *Provider) forget(ctx context.Context, host sdk.Host, flow sdk.Flow) (sdk.Step, error) {
	if flow.Subject == "" {
		return sdk.Step{}, errors.New("email: nobody to forget")
	}
	forgotten := sdk.Step{Changed: &sdk.Changed{Subject: flow.Subject}}
	entry, found, err := host.KV().Get(ctx, prefixSubject+flow.Subject)
	if err != nil {
		return sdk.Step{}, fmt.Errorf("read subject: %w", err)
	}
	if !found {
		return forgotten, nil
	}
	address := string(entry.Value)
	r, err := load(ctx, host, address)
	if err != nil {
		return sdk.Step{}, err
	}
	if r.subject == flow.Subject {
		if err := r.remove(ctx, host, address); err != nil {
			return sdk.Step{}, err
		}
	}
	if err := host.KV().Delete(ctx, prefixSubject+flow.Subject); err != nil {
		return sdk.Step{}, fmt.Errorf("remove subject: %w", err)
	}
	return forgotten, nil
}

// remove deletes the record of an address if it is still the one that was loaded. A deletion
// has no condition of its own, but keeps that of a write before it.
func (r record) remove(ctx context.Context, host sdk.Host, address string) error {
	if err := r.store(ctx, host, address); err != nil {
		return err
	}
	if err := host.KV().Delete(ctx, prefixAddress+address); err != nil {
		return fmt.Errorf("remove record: %w", err)
	}
	return nil
}
