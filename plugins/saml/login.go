package saml

import (
	"context"
	"fmt"
	"time"

	"github.com/materi/shield/sdk"
)

// ask sends a person to the identity provider that their request fits.
func (p *Provider) ask(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	i := p.directory.find(query{name: req.Fields[fieldIdP], email: req.Fields[fieldEmail], workspace: req.Fields[fieldWorkspace]})
	if i == nil {
		return answered(host, nil, sdk.Step{}, unknown("nobody"))
	}
	known, err := p.partyOf(ctx, host, i, req.Now)
	if err != nil {
		return sdk.Step{}, err
	}
	place, ok := at(known.sso, i.binding)
	if !ok {
		return answered(host, i, sdk.Step{}, unknown("binding"))
	}
	id := newID()
	signed := i.signRequests || known.wantsSigned && p.settings.certificate != nil
	out, err := p.send(ctx, host, place.binding, place.url, fieldRequest, p.authnRequest(i, id, place.url, flow, req.Now), flow.State, signed)
	if err != nil {
		return sdk.Step{}, err
	}
	step := out.step()
	step.Save = asked{name: i.name, requestID: id}.save()
	return answered(host, i, step, nil)
}

// authnRequest is the question who somebody is (Core §3.4.1).
func (p *Provider) authnRequest(i *idp, id, to string, flow sdk.Flow, now time.Time) *element {
	force, create := "", ""
	if i.forceAuthn {
		force = "true"
	}
	if i.allowCreate && i.nameIDFormat != formatTransient {
		create = "true"
	}
	request := p.message("AuthnRequest", id, to, now,
		"ForceAuthn", force, "ProtocolBinding", uriPost, "AssertionConsumerServiceURL", flow.CallbackURL)
	if create != "" || i.nameIDFormat != "" {
		request.with(tag("samlp:NameIDPolicy", "Format", i.nameIDFormat, "AllowCreate", create))
	}
	if i.context != "" {
		request.with(tag("samlp:RequestedAuthnContext", "Comparison", "exact").with(
			tag("saml:AuthnContextClassRef").saying(i.context)))
	}
	return request
}

// answer takes the answer to a request of ours.
func (p *Provider) answer(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	a, err := openAsked(flow.Saved)
	if err != nil {
		return sdk.Step{}, err
	}
	// Whom this flow asked must answer. That somebody else who is trusted did is the mix-up.
	i := p.directory.named(a.name)
	if i == nil {
		return answered(host, nil, sdk.Step{}, unknown("gone"))
	}
	step, err := p.login(ctx, host, i, flow, req, a.requestID)
	return answered(host, i, step, err)
}

// unsolicited takes an answer to no request, where an identity provider may begin by itself.
// Whoever gets another person to post one logs them in as somebody else, which is why it is
// off where it is not asked for.
func (p *Provider) unsolicited(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	i, err := p.initiator(req)
	if err != nil {
		return answered(host, i, sdk.Step{}, err)
	}
	step, err := p.login(ctx, host, i, flow, req, "")
	return answered(host, i, step, err)
}

// initiator returns who a response is said to come from. What it says is not verified yet, and
// only chooses the keys that it is verified with.
func (p *Provider) initiator(req sdk.Request) (*idp, error) {
	_, root, err := openResponse(req)
	if err != nil {
		return nil, err
	}
	issuer, err := sender(root)
	if err != nil {
		return nil, err
	}
	i := p.directory.issued(issuer)
	if i == nil {
		return nil, invalid("issuer")
	}
	if !i.idpInitiated {
		return i, invalid("unsolicited")
	}
	return i, nil
}

// sender returns the issuer of a response or, if it has none, that of its assertion.
func sender(root *element) (string, error) {
	issuer, err := issuerOf(root)
	if err != nil || issuer != "" {
		return issuer, err
	}
	assertion, err := root.only(nsAssertion, "Assertion")
	if err != nil || assertion == nil {
		return "", invalid("issuer")
	}
	return issuerOf(assertion)
}

// login ends a login by a response. requestID is that of our request, empty if there is none.
func (p *Provider) login(ctx context.Context, host sdk.Host, i *idp, flow sdk.Flow, req sdk.Request, requestID string) (sdk.Step, error) {
	known, err := p.partyOf(ctx, host, i, req.Now)
	if err != nil {
		return sdk.Step{}, err
	}
	r, err := p.open(ctx, host, i, known, req)
	if err != nil {
		return sdk.Step{}, err
	}
	s, err := p.judge(i, r, expectation{
		requestID: requestID, place: flow.CallbackURL, audience: p.settings.entityID, began: flow.StartedAt, now: req.Now,
	})
	if err != nil {
		return sdk.Step{}, err
	}
	id, err := p.identity(i, s)
	if err != nil {
		return sdk.Step{}, err
	}
	if err := p.once(ctx, host, "seen/"+digest(i.name, s.id), s.until.Add(skew).Sub(req.Now)); err != nil {
		return sdk.Step{}, err
	}
	if err := p.remember(ctx, host, i, known, s, id, req.Now); err != nil {
		return sdk.Step{}, err
	}
	return sdk.Step{Done: &sdk.Done{Identity: id}}, nil
}

// once refuses what was here before. That it was is remembered for as long as it would be
// accepted, and only if the answer to this call is.
func (p *Provider) once(ctx context.Context, host sdk.Host, key string, ttl time.Duration) error {
	_, found, err := host.KV().Get(ctx, key)
	if err != nil {
		return fmt.Errorf("look for a replay: %w", err)
	}
	if found {
		return invalid("replayed")
	}
	if err := host.KV().CompareAndSet(ctx, key, 0, []byte("1"), ttl); err != nil {
		return fmt.Errorf("remember a message: %w", err)
	}
	return nil
}
