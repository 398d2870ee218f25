package identity

import (
	"fmt"
	"maps"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/sdk"
)

// Bounds of what a form brings from another site. The encoding of a form makes some
// characters of base64 three.
const (
	maxSAML     = 384 << 10 // base64 of a document
	maxSAMLForm = 512 << 10
)

// samlProvider is the provider behind the endpoints below /auth/saml.
func (a *API) samlProvider() (plugin.Info, error) {
	if a.Login.SAMLProvider != "" {
		return a.providerOf(a.Login.SAMLProvider, login.KindSAML)
	}
	for _, p := range a.Providers() {
		if p.Manifest.Kind == login.KindSAML {
			return p, nil
		}
	}
	return plugin.Info{}, a.noForm()
}

func (a *API) acsURL() string    { return a.PublicURL + "/auth/saml/acs" }
func (a *API) logoutURL() string { return a.PublicURL + "/auth/saml/slo" }

func (a *API) samlLogin(ctx *fasthttp.RequestCtx, _ Params) error {
	if ctx.IsHead() {
		return ask(ctx)
	}
	p, err := a.samlProvider()
	if err != nil {
		return err
	}
	values, err := a.readValues(ctx)
	if err != nil {
		return err
	}
	if relay := values["relay_state"]; relay != "" { // what redirect_uri was called here before
		if uri := values["redirect_uri"]; uri != "" && uri != relay {
			return refuse("relay_state", sdk.CodeValidation, "It is another name of redirect_uri, which says something else.")
		}
		values["redirect_uri"] = relay
	}
	return a.depart(ctx, p, values, a.acsURL(), bindSAML)
}

// readValues reads the query of a GET, and the body of a POST, a form or JSON.
func (a *API) readValues(ctx *fasthttp.RequestCtx) (map[string]string, error) {
	if !ctx.IsPost() {
		return query(ctx)
	}
	if isForm(ctx) {
		return readPairs(ctx, a.BodyBytes)
	}
	var body map[string]any
	if err := edge.ReadJSON(ctx, a.BodyBytes, &body); err != nil {
		return nil, err
	}
	values := make(map[string]string, len(body))
	for name, raw := range body {
		text, ok := raw.(string)
		if !ok && raw != nil {
			return nil, edge.BadRequest(edge.CodeInvalidBody, "The members of the body are text.", nil)
		}
		values[name] = text
	}
	return values, nil
}

func (a *API) samlACS(ctx *fasthttp.RequestCtx, _ Params) error {
	p, err := a.samlProvider()
	if err != nil {
		return err
	}
	values, err := readPairs(ctx, maxSAMLForm)
	if err != nil {
		return err
	}
	if err := bounded(values, "SAMLResponse"); err != nil {
		return err
	}
	// Each answer is some thousand checks of a document; a browser brings few.
	if err := a.Limiter.Check(ctx, "sso", address(ctx)); err != nil {
		return err
	}
	if state := values["RelayState"]; login.IsToken(state) {
		return a.arrive(ctx, p, state, bindSAML, values, sdk.CodeSAMLAssertion, sdk.FlowLogin, sdk.FlowLink)
	}
	return a.unsolicited(ctx, p, values)
}

// bounded demands a document in a parameter, of a size that documents have.
func bounded(values map[string]string, name string) error {
	switch n := len(values[name]); {
	case n == 0:
		return refuse(name, sdk.CodeMissingField, "This field is required.")
	case n > maxSAML:
		return edge.TooLarge(fmt.Errorf("%s of %d bytes", name, n))
	}
	return nil
}

// unsolicited hands an answer that nobody asked for here to the provider, if it takes such.
func (a *API) unsolicited(ctx *fasthttp.RequestCtx, p plugin.Info, values map[string]string) error {
	if _, err := a.formAt(p, sdk.FlowLogin, login.FormUnsolicited); err != nil {
		return coded(sdk.CodeSAMLAssertion, nil, fmt.Errorf("provider %s takes no answers that were not asked for", p.Name))
	}
	out, err := a.tell(ctx, p, sdk.FlowLogin, login.FormUnsolicited, a.acsURL(), values)
	if err != nil {
		return err
	}
	return a.writeLogin(ctx, out)
}

// tell begins a flow with what another site sent by itself to a place of ours.
func (a *API) tell(ctx *fasthttp.RequestCtx, p plugin.Info, kind sdk.FlowKind, name, place string, values map[string]string) (login.Outcome, error) {
	edge.RecordOf(ctx).Provider = p.Name
	headers, err := shown(ctx, p)
	if err != nil {
		return login.Outcome{}, err
	}
	c, cancel := deadline()
	defer cancel()
	out, err := a.Flows.Begin(c, login.Attempt{
		Provider: p.Name, Kind: kind, Form: name, Fields: values, Headers: headers, Client: client(ctx), Place: place,
	})
	if err != nil {
		return login.Outcome{}, a.translate(err)
	}
	return out, nil
}

// samlSLO takes what another site says of a logout: that somebody has signed out there, or
// that it has done what was asked of it.
func (a *API) samlSLO(ctx *fasthttp.RequestCtx, _ Params) error {
	if ctx.IsHead() {
		return ask(ctx)
	}
	p, err := a.samlProvider()
	if err != nil {
		return err
	}
	binding, values := "redirect", map[string]string(nil)
	if ctx.IsPost() {
		binding = "post"
		values, err = readPairs(ctx, maxSAMLForm)
	} else {
		values, err = query(ctx)
	}
	if err != nil {
		return err
	}
	if err := a.Limiter.Check(ctx, "sso", address(ctx)); err != nil {
		return err
	}
	values = maps.Clone(values)
	values["binding"] = binding
	delete(values, "raw_query")
	if binding == "redirect" {
		values["raw_query"] = edge.Query(ctx) // what was signed is the encoding that was sent
	}
	if values["SAMLResponse"] != "" && values["SAMLRequest"] != "" {
		return coded(sdk.CodeSAMLAssertion, nil, fmt.Errorf("a request and a response at once"))
	}
	if values["SAMLResponse"] != "" {
		if err := bounded(values, "SAMLResponse"); err != nil {
			return err
		}
		return a.arrive(ctx, p, values["RelayState"], bindSAML, values, sdk.CodeSAMLAssertion, sdk.FlowLogout)
	}
	if err := bounded(values, "SAMLRequest"); err != nil {
		return err
	}
	if _, err := a.formAt(p, sdk.FlowLogout, login.FormLogout); err != nil {
		return coded(sdk.CodeSAMLNotConfigured, nil, err)
	}
	out, err := a.tell(ctx, p, sdk.FlowLogout, login.FormLogout, a.logoutURL(), values)
	if err != nil {
		return err
	}
	return a.writeLogout(ctx, out)
}

// writeLogout takes the browser on after a logout, where somebody waits for it.
func (a *API) writeLogout(ctx *fasthttp.RequestCtx, out login.Outcome) error {
	if !out.LoggedOut {
		return edge.Internal(fmt.Errorf("logout: %w", login.ErrUnsupported))
	}
	if out.Leave != nil {
		return send(ctx, *out.Leave)
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, message{"You are signed out."})
}

// samlLogout ends the caller's session, whatever the site where it began makes of that, and
// tells where to take the browser so that the other site learns of it.
func (a *API) samlLogout(ctx *fasthttp.RequestCtx, _ Params) error {
	p, err := own(ctx)
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	if err := a.Sessions.Revoke(c, p.Subject, p.SessionID, session.ReasonLogout); err != nil {
		return a.translate(err)
	}
	provider, err := a.samlProvider()
	if err != nil {
		return a.noContent(ctx)
	}
	record := edge.RecordOf(ctx)
	record.Provider = provider.Name
	out, err := a.Flows.Logout(c, login.Attempt{
		Provider: provider.Name, Client: client(ctx), Caller: &login.Caller{UserID: p.Subject, SessionID: p.SessionID},
		Away: &login.Away{Callback: a.logoutURL()},
	})
	if err != nil {
		record.Fail(a.translate(err)) // the session has ended; there is nothing that the client could try again
	}
	if err != nil || out.Leave == nil {
		return a.noContent(ctx)
	}
	a.clearCookie(ctx)
	return edge.WriteJSON(ctx, fasthttp.StatusOK, struct {
		URL    string            `json:"url"`
		Fields map[string]string `json:"fields,omitempty"`
	}{out.Leave.URL, out.Leave.Fields})
}

// samlMetadata serves the provider's own description of the gateway.
func (a *API) samlMetadata(ctx *fasthttp.RequestCtx, params Params) error {
	p, err := a.samlProvider()
	if err != nil {
		return err
	}
	path := "metadata"
	if workspace := params("workspace_id"); workspace != "" {
		id, err := uuid.Parse(workspace)
		if err != nil {
			return edge.NotFound(edge.CodeNotFound, "There is no such workspace.", nil)
		}
		path += "/" + id.String()
	}
	edge.RecordOf(ctx).Provider = p.Name
	c, cancel := deadline()
	defer cancel()
	document, err := a.Document(c, p.Name, sdk.Request{
		Path: path, Fields: map[string]string{"callback_url": a.acsURL(), "logout_url": a.logoutURL()},
		IP: edge.ClientIP(ctx).String(), Now: a.Now(),
	})
	if err != nil {
		return a.translate(err)
	}
	h := &ctx.Response.Header
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'") // whatever it is, it runs nothing
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.SetContentType(document.ContentType)
	ctx.SetStatusCode(document.Status)
	ctx.Response.SetBodyRaw(document.Body)
	return nil
}
