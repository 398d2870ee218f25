package identity

import (
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/sdk"
)

const loadingRetry = time.Second

// Forms of the e-mail endpoints, whichever provider has them.
const (
	formPassword = "password"
	formResend   = "resend"
)

// message is an answer that only says something.
type message struct {
	Message string `json:"message"`
}

var accepted = message{"If the address has an account, a mail is on its way."}

func (a *API) register(ctx *fasthttp.RequestCtx, _ Params) error {
	out, values, err := a.begin(ctx, sdk.FlowRegister, formPassword, a.perAddress("register"))
	if err != nil {
		return err
	}
	if out.User != nil {
		return edge.WriteJSON(ctx, fasthttp.StatusCreated, struct {
			User userJSON `json:"user"`
			message
		}{a.userOf(*out.User), message{"A mail with a link to verify the address is on its way."}})
	}
	// The answer must not tell whether the address was known, so it says only what the
	// client said itself.
	return edge.WriteJSON(ctx, fasthttp.StatusAccepted, struct {
		User registered `json:"user"`
		message
	}{registered{Email: account.CanonicalEmail(values["email"]), Name: values["name"]}, message{"A mail to this address says how to go on."}})
}

// registered is a user of which nothing is told yet.
type registered struct {
	Email    string `json:"email"`
	Name     string `json:"name"`
	Verified bool   `json:"is_verified"`
}

func (a *API) verify(ctx *fasthttp.RequestCtx, p Params) error {
	if ctx.IsHead() {
		return ask(ctx)
	}
	if _, err := a.follow(ctx, p("token"), sdk.FlowRegister, sdk.FlowVerify); err != nil {
		return err
	}
	if page := a.Login.VerifiedPage; page != "" {
		ctx.Response.Header.Set(fasthttp.HeaderLocation, page)
		ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
		ctx.SetStatusCode(fasthttp.StatusFound)
		return nil
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, message{"The address is verified. You can sign in now."})
}

// ask answers HEAD for a one-time link without following it: mail scanners ask that way.
func ask(ctx *fasthttp.RequestCtx) error {
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

func (a *API) resend(ctx *fasthttp.RequestCtx, _ Params) error {
	return a.mailed(ctx, sdk.FlowVerify, formResend, "verify-resend")
}

func (a *API) resetPassword(ctx *fasthttp.RequestCtx, _ Params) error {
	return a.mailed(ctx, sdk.FlowRecover, formPassword, "password-reset")
}

func (a *API) magicLink(ctx *fasthttp.RequestCtx, _ Params) error {
	return a.mailed(ctx, sdk.FlowLogin, login.FormMagicLink, "magic-link")
}

func (a *API) mailed(ctx *fasthttp.RequestCtx, kind sdk.FlowKind, name, limit string) error {
	if _, _, err := a.begin(ctx, kind, name, a.perAddress(limit)); err != nil {
		return err
	}
	return edge.WriteJSON(ctx, fasthttp.StatusAccepted, accepted)
}

func (a *API) login(ctx *fasthttp.RequestCtx, _ Params) error {
	f, err := a.formFor(sdk.FlowLogin, formPassword)
	if err != nil {
		return err
	}
	out, _, err := a.submit(ctx, f, a.perAccount(f))
	if err != nil {
		return err
	}
	return a.writeLogin(ctx, out)
}

// loginAt begins the login form of one provider: any that /auth/providers tells of.
func (a *API) loginAt(ctx *fasthttp.RequestCtx, p Params) error {
	f, err := a.formOf(p("provider"), p("form"))
	if err != nil {
		return err
	}
	admit := a.perAccount(f)
	if f.Name == login.FormMagicLink && !f.secret() {
		admit = a.perAddress("magic-link")
	}
	out, _, err := a.submit(ctx, f, admit)
	if err != nil {
		return err
	}
	if out.Mailed {
		return edge.WriteJSON(ctx, fasthttp.StatusAccepted, accepted)
	}
	return a.writeLogin(ctx, out)
}

func (a *API) writeLogin(ctx *fasthttp.RequestCtx, out login.Outcome) error {
	if out.LoggedIn == nil {
		return edge.Internal(fmt.Errorf("login: %w", login.ErrUnsupported))
	}
	return a.writeTokens(ctx, out.LoggedIn.User, out.LoggedIn.Session, out.LoggedIn.Refresh)
}

func (a *API) followMagicLink(ctx *fasthttp.RequestCtx, p Params) error {
	if ctx.IsHead() {
		return ask(ctx)
	}
	out, err := a.follow(ctx, p("token"), sdk.FlowLogin)
	if err != nil {
		return err
	}
	return a.writeLogin(ctx, out)
}

func (a *API) confirmReset(ctx *fasthttp.RequestCtx, _ Params) error {
	values, err := a.readForm(ctx, []sdk.Field{
		{Name: "token", Required: true},
		{Name: "password", Required: true},
	})
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	_, err = a.Flows.Continue(c, values["token"], []sdk.FlowKind{sdk.FlowRecover}, login.Attempt{
		Fields: map[string]string{"password": values["password"]},
		Client: client(ctx),
	})
	if err != nil {
		return a.translate(err)
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, message{"The password is changed. Sign in with the new one."})
}

// gate counts an attempt against its limits before any work is done for it.
type gate func(ctx *fasthttp.RequestCtx, values map[string]string) error

func (a *API) perAddress(limit string) gate {
	return func(ctx *fasthttp.RequestCtx, _ map[string]string) error {
		return a.Limiter.Check(ctx, limit, address(ctx))
	}
}

// perAccount counts a login against the address that it comes from and the account that it
// is for.
func (a *API) perAccount(f form) gate {
	return func(ctx *fasthttp.RequestCtx, values map[string]string) error {
		// By address alone first: each attempt costs a hash, and somebody who tries one password
		// on many accounts meets neither of the others.
		if err := a.Limiter.Check(ctx, "login-ip", address(ctx)); err != nil {
			return err
		}
		who := f.account(values)
		if who == "" {
			return nil
		}
		if err := a.Limiter.Check(ctx, "login", address(ctx), who); err != nil {
			return err
		}
		return a.Limiter.Check(ctx, "login-account", who)
	}
}

// begin starts the flow of the first provider that has a form.
func (a *API) begin(ctx *fasthttp.RequestCtx, kind sdk.FlowKind, name string, admit gate) (login.Outcome, map[string]string, error) {
	f, err := a.formFor(kind, name)
	if err != nil {
		return login.Outcome{}, nil, err
	}
	return a.submit(ctx, f, admit)
}

// submit reads a form and starts its flow.
func (a *API) submit(ctx *fasthttp.RequestCtx, f form, admit gate) (login.Outcome, map[string]string, error) {
	edge.RecordOf(ctx).Provider = f.provider.Name
	values, err := a.readForm(ctx, f.Fields)
	if err != nil {
		return login.Outcome{}, nil, err
	}
	headers, err := shown(ctx, f.provider)
	if err != nil {
		return login.Outcome{}, nil, err
	}
	if err := admit(ctx, values); err != nil {
		return login.Outcome{}, nil, err
	}
	c, cancel := deadline()
	defer cancel()
	out, err := a.Flows.Begin(c, login.Attempt{
		Provider: f.provider.Name, Kind: f.Flow, Form: f.Name, Fields: values, Headers: headers, Client: client(ctx),
	})
	if err != nil {
		return login.Outcome{}, nil, a.translate(err)
	}
	return out, values, nil
}

// follow continues the flow of a one-time link.
func (a *API) follow(ctx *fasthttp.RequestCtx, token string, purposes ...sdk.FlowKind) (login.Outcome, error) {
	c, cancel := deadline()
	defer cancel()
	out, err := a.Flows.Continue(c, token, purposes, login.Attempt{Client: client(ctx)})
	if err != nil {
		return login.Outcome{}, a.translate(err)
	}
	return out, nil
}

type fieldJSON struct {
	Name     string `json:"name"`
	Label    string `json:"label"`
	Type     string `json:"type"`
	Required bool   `json:"required"`
}

// formJSON is one thing that a page can offer. URL is where the browser goes for it, with the
// fields as a query, instead of sending them.
type formJSON struct {
	Flow   string      `json:"flow"`
	Name   string      `json:"name"`
	Label  string      `json:"label"`
	URL    string      `json:"url,omitempty"`
	Fields []fieldJSON `json:"fields"`
}

func (a *API) providers(ctx *fasthttp.RequestCtx, _ Params) error {
	type providerJSON struct {
		Name  string     `json:"name"`
		Kind  string     `json:"kind"`
		Label string     `json:"label"`
		Forms []formJSON `json:"forms"`
	}
	list := []providerJSON{}
	for _, p := range a.Providers() {
		out := providerJSON{Name: p.Name, Kind: p.Manifest.Kind, Label: p.Label, Forms: []formJSON{}}
		for _, f := range p.Manifest.Forms {
			url := a.departure(p, f)
			if !forPeople(f.Flow) || elsewhere(p, f.Name) && url == "" {
				continue // nobody begins it on a page
			}
			fields := []fieldJSON{}
			for _, field := range f.Fields {
				fields = append(fields, fieldJSON(field))
			}
			out.Forms = append(out.Forms, formJSON{string(f.Flow), f.Name, f.Label, url, fields})
		}
		list = append(list, out)
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, map[string]any{"providers": list})
}

// forPeople reports whether forms of a flow are for a page to show. The others are begun by
// the gateway itself, or by endpoints of their own.
func forPeople(kind sdk.FlowKind) bool {
	switch kind {
	case sdk.FlowLink, sdk.FlowLogout, sdk.FlowForget:
		return false
	}
	return true
}

// departure is where a login at another site begins, empty for any other form. Only one
// provider is behind the endpoint of SAML.
func (a *API) departure(p plugin.Info, f sdk.Form) string {
	if f.Flow != sdk.FlowLogin || f.Name != login.FormRedirect {
		return ""
	}
	switch p.Manifest.Kind {
	case login.KindOAuth:
		return a.PublicURL + "/auth/oauth/" + p.Name
	case login.KindSAML:
		if chosen, err := a.samlProvider(); err == nil && chosen.Name == p.Name {
			return a.PublicURL + "/auth/saml/login"
		}
	}
	return ""
}
