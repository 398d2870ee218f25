package saml

import (
	"context"
	"fmt"
	"time"

	"github.com/materi/shield/sdk"
)

// window is how old a message of logout may be. It takes no longer to come through a browser.
const window = 5 * time.Minute

// maxRelay is the most that is sent back of what came with a request. It should be 80 bytes
// (Bindings §3.4.3), and is more with products that keep their place in it.
const maxRelay = 2048

// askLogout asks the identity provider of a session to end its own.
func (p *Provider) askLogout(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	key := keyOfLogin(flow.Subject, flow.Session)
	entry, found, err := host.KV().Get(ctx, key)
	if err != nil {
		return sdk.Step{}, fmt.Errorf("read a login: %w", err)
	}
	if !found {
		return answered(host, nil, sdk.Step{}, unknown("login"))
	}
	part, err := split(entry.Value, 6)
	if err != nil {
		return sdk.Step{}, err
	}
	i := p.directory.named(part[0])
	if i == nil || p.settings.certificate == nil {
		return answered(host, nil, sdk.Step{}, unknown("gone"))
	}
	known, err := p.partyOf(ctx, host, i, req.Now)
	if err != nil {
		return sdk.Step{}, err
	}
	place, ok := at(known.slo, "")
	if !ok {
		return answered(host, i, sdk.Step{}, unknown("logout"))
	}
	id := newID()
	request := p.message("LogoutRequest", id, place.url, req.Now, "NotOnOrAfter", req.Now.Add(window).UTC().Format("2006-01-02T15:04:05Z"))
	request.with(tag("saml:NameID", "Format", part[3], "NameQualifier", part[4], "SPNameQualifier", part[5]).saying(part[2]))
	if part[1] != "" {
		request.with(tag("samlp:SessionIndex").saying(part[1]))
	}
	out, err := p.send(ctx, host, place.binding, place.url, fieldRequest, request, flow.State, true)
	if err != nil {
		return sdk.Step{}, err
	}
	if err := host.KV().Delete(ctx, key); err != nil {
		return sdk.Step{}, fmt.Errorf("forget a login: %w", err)
	}
	step := out.step()
	step.Save = asked{name: i.name, requestID: id}.save()
	return answered(host, i, step, nil)
}

// loggedOut takes the answer to askLogout. Our session has ended already.
func (p *Provider) loggedOut(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	a, err := openAsked(flow.Saved)
	if err != nil {
		return sdk.Step{}, err
	}
	i := p.directory.named(a.name)
	if i == nil {
		return answered(host, nil, sdk.Step{}, unknown("gone"))
	}
	err = p.endedThere(ctx, host, i, flow, req, a.requestID)
	return answered(host, i, sdk.Step{Logout: &sdk.Logout{}}, err)
}

func (p *Provider) endedThere(ctx context.Context, host sdk.Host, i *idp, flow sdk.Flow, req sdk.Request, requestID string) error {
	in, err := receive(req, fieldResponse)
	if err != nil {
		return err
	}
	message, err := p.verified(ctx, host, i, in, "LogoutResponse", req.Now)
	if err != nil {
		return err
	}
	if err := i.sent(message, "LogoutResponse", flow.CallbackURL, req.Now); err != nil {
		return err
	}
	if message.get("InResponseTo") != requestID {
		return invalid("request")
	}
	return succeeded(message)
}

// sent holds a message of logout to what each must say.
func (i *idp) sent(message *element, local, place string, now time.Time) error {
	if !message.is(nsProtocol, local) || message.get("Version") != "2.0" || message.get("ID") == "" {
		return invalid("message")
	}
	if issuer, err := issuerOf(message); err != nil || issuer != i.entityID {
		return invalid("issuer")
	}
	if message.get("Destination") != place {
		return invalid("destination")
	}
	issued, err := parseTime(message.get("IssueInstant"))
	if err != nil || issued.After(now.Add(skew)) {
		return invalid("future")
	}
	if issued.Before(now.Add(-window - skew)) {
		return invalid("expired")
	}
	return nil
}

// logout takes the request of an identity provider to end sessions.
func (p *Provider) logout(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	in, i, err := p.asking(req)
	if err != nil {
		return answered(host, i, sdk.Step{}, err)
	}
	step, err := p.end(ctx, host, i, in, flow, req)
	return answered(host, i, step, err)
}

// asking returns a request with who is said to send it, which chooses the keys for it.
func (p *Provider) asking(req sdk.Request) (incoming, *idp, error) {
	in, err := receive(req, fieldRequest)
	if err != nil {
		return incoming{}, nil, err
	}
	issuer, err := issuerOf(in.root)
	if err != nil {
		return incoming{}, nil, err
	}
	i := p.directory.issued(issuer)
	if i == nil {
		return incoming{}, nil, invalid("issuer")
	}
	if p.settings.certificate == nil {
		return incoming{}, i, unknown("logout") // no answer could be signed
	}
	return in, i, nil
}

// end says whose sessions end, and sends the browser back with the answer.
func (p *Provider) end(ctx context.Context, host sdk.Host, i *idp, in incoming, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	message, err := p.verified(ctx, host, i, in, "LogoutRequest", req.Now)
	if err != nil {
		return sdk.Step{}, err
	}
	if err := i.sent(message, "LogoutRequest", flow.CallbackURL, req.Now); err != nil {
		return sdk.Step{}, err
	}
	until := req.Now.Add(window)
	if err := within(message, req.Now, &until); err != nil {
		return sdk.Step{}, err
	}
	name, err := message.only(nsAssertion, "NameID")
	if err != nil {
		return sdk.Step{}, err
	}
	if name == nil {
		return sdk.Step{}, invalid("name")
	}
	person, err := readNameID(name)
	if err != nil {
		return sdk.Step{}, err
	}
	if err := p.once(ctx, host, "seen/"+digest(i.name, message.get("ID")), 2*(window+skew)); err != nil {
		return sdk.Step{}, err
	}
	out := sdk.Logout{Issuer: i.entityID}
	if out.Subject, err = p.subjectBehind(ctx, host, i, person); err != nil {
		return sdk.Step{}, err
	}
	if out.Subject != "" {
		for _, el := range message.all(nsProtocol, "SessionIndex") {
			index, ok := el.text()
			if !ok || len(out.Sessions) >= maxListedSessions {
				return sdk.Step{}, invalid("session")
			}
			out.Sessions = append(out.Sessions, i.session(index))
		}
		for _, session := range out.Sessions {
			if err := host.KV().Delete(ctx, keyOfLogin(out.Subject, session)); err != nil {
				return sdk.Step{}, fmt.Errorf("forget a login: %w", err)
			}
		}
	}
	back, err := p.confirm(ctx, host, i, message.get("ID"), in.relay, out.Subject != "", req.Now)
	if err != nil {
		return sdk.Step{}, err
	}
	out.URL, out.Fields = back.url, back.fields
	return sdk.Step{Logout: &out}, nil
}

// maxListedSessions is how many sessions sdk/contract lets a step name.
const maxListedSessions = 64

// subjectBehind returns the subject of a name, empty if nobody here has it.
func (p *Provider) subjectBehind(ctx context.Context, host sdk.Host, i *idp, person nameID) (string, error) {
	if i.subject == "" {
		return person.subject(i, p.settings.entityID), nil
	}
	entry, _, err := host.KV().Get(ctx, i.keyOfName(person, p.settings.entityID))
	if err != nil {
		return "", fmt.Errorf("read a name: %w", err)
	}
	return string(entry.Value), nil
}

// confirm is the answer to a request to log out, to where the metadata says; nothing if it
// does not.
func (p *Provider) confirm(ctx context.Context, host sdk.Host, i *idp, requestID, relay string, known bool, now time.Time) (outgoing, error) {
	said, err := p.partyOf(ctx, host, i, now)
	if err != nil {
		return outgoing{}, err
	}
	place, ok := at(said.slo, "")
	if !ok {
		return outgoing{}, nil
	}
	status := tag("samlp:StatusCode", "Value", statusSuccess)
	if !known {
		status = tag("samlp:StatusCode", "Value", statusRequester).with(tag("samlp:StatusCode", "Value", statusUnknownPrincipal))
	}
	answer := p.message("LogoutResponse", newID(), place.answers(), now, "InResponseTo", requestID).with(tag("samlp:Status").with(status))
	if len(relay) > maxRelay || !isPlain(relay) {
		relay = ""
	}
	return p.send(ctx, host, place.binding, place.answers(), fieldResponse, answer, relay, true)
}
