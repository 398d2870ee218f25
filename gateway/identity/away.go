package identity

import (
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/access"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/sdk"
)

// codeState is the code of a state that is not known here.
const codeState = "OAUTH_STATE_INVALID"

// providerOf finds a provider that speaks to other sites.
func (a *API) providerOf(name, kind string) (plugin.Info, error) {
	for _, p := range a.Providers() {
		if p.Name == name && p.Manifest.Kind == kind {
			return p, nil
		}
	}
	return plugin.Info{}, a.noForm()
}

// formAt finds a form of a provider.
func (a *API) formAt(p plugin.Info, kind sdk.FlowKind, name string) (form, error) {
	for _, f := range p.Manifest.Forms {
		if f.Flow == kind && f.Name == name {
			return form{p, f}, nil
		}
	}
	return form{}, a.noForm()
}

func (a *API) oauthLogin(ctx *fasthttp.RequestCtx, params Params) error {
	if ctx.IsHead() {
		return ask(ctx)
	}
	p, err := a.providerOf(params("provider"), login.KindOAuth)
	if err != nil {
		return err
	}
	values, err := query(ctx)
	if err != nil {
		return err
	}
	return a.depart(ctx, p, values, a.PublicURL+"/auth/oauth/"+p.Name+"/callback", bindOAuth)
}

// depart begins a flow that goes to another site. Beside the fields of the provider's form
// the values are the gateway's own.
func (a *API) depart(ctx *fasthttp.RequestCtx, p plugin.Info, values map[string]string, callback string, b binding) error {
	edge.RecordOf(ctx).Provider = p.Name
	f, err := a.formAt(p, sdk.FlowLogin, login.FormRedirect)
	if err != nil {
		return err
	}
	declared := make(map[string]any, len(f.Fields))
	for _, field := range f.Fields {
		declared[field.Name] = values[field.Name]
	}
	fields, err := takeFields(declared, f.Fields)
	if err != nil {
		return err
	}
	away := login.Away{Callback: callback, Workspace: values["workspace_id"], Link: values["link"]}
	if away.Workspace != "" && uuid.Validate(away.Workspace) != nil {
		return refuse("workspace_id", sdk.CodeValidation, "This is no workspace.")
	}
	kind := sdk.FlowLogin
	if away.Link != "" {
		kind = sdk.FlowLink
	} else if away.Return, err = a.wayBack(values); err != nil {
		return err
	}
	headers, err := shown(ctx, p)
	if err != nil {
		return err
	}
	if err := a.Limiter.Check(ctx, "sso", address(ctx)); err != nil {
		return err
	}
	away.Browser = a.bind(ctx, b)
	c, cancel := deadline()
	defer cancel()
	out, err := a.Flows.Begin(c, login.Attempt{
		Provider: p.Name, Kind: kind, Form: f.Name, Fields: fields, Headers: headers, Client: client(ctx), Away: &away,
	})
	if err != nil {
		return a.translate(err)
	}
	return send(ctx, *out.Leave)
}

// wayBack reads where a page wants its visitor back. The URI is one of the configuration's,
// letter by letter.
func (a *API) wayBack(values map[string]string) (*login.Return, error) {
	back := login.Return{URI: values["redirect_uri"], Challenge: values["code_challenge"]}
	switch {
	case back.URI == "" && back.Challenge == "":
		return nil, nil
	case back.URI == "":
		return nil, refuse("redirect_uri", sdk.CodeMissingField, "A code_challenge is for a redirect_uri.")
	case !slices.Contains(a.Login.RedirectURIs, back.URI):
		return nil, refuse("redirect_uri", sdk.CodeValidation, "This is not a redirect_uri of the configuration, exactly as it stands there.")
	case back.Challenge == "":
		return nil, refuse("code_challenge", sdk.CodeMissingField, "A redirect_uri needs a code_challenge.")
	case !login.IsChallenge(back.Challenge):
		return nil, refuse("code_challenge", sdk.CodeValidation, "This is not the base64url SHA-256 of a code_verifier.")
	}
	if method := values["code_challenge_method"]; method != "" && method != "S256" {
		return nil, refuse("code_challenge_method", sdk.CodeValidation, "S256 is the only one.")
	}
	return &back, nil
}

// refuse answers that one field is not right.
func refuse(field, code, message string) error {
	return coded(code, []sdk.FieldError{{Field: field, Code: code, Message: message}}, nil)
}

func (a *API) oauthCallback(ctx *fasthttp.RequestCtx, params Params) error {
	if ctx.IsHead() {
		return ask(ctx)
	}
	p, err := a.providerOf(params("provider"), login.KindOAuth)
	if err != nil {
		return err
	}
	values, err := query(ctx)
	if err != nil {
		return err
	}
	if values["state"] == "" {
		return coded(codeState, nil, nil)
	}
	if values["code"] == "" && values["error"] == "" {
		return coded(sdk.CodeOAuthCode, nil, nil)
	}
	return a.arrive(ctx, p, values["state"], bindOAuth, values, codeState, sdk.FlowLogin, sdk.FlowLink)
}

// arrive goes on with a flow that is back from another site. unknown is the code of a state
// that is not known.
func (a *API) arrive(ctx *fasthttp.RequestCtx, p plugin.Info, state string, b binding, values map[string]string, unknown string, kinds ...sdk.FlowKind) error {
	record := edge.RecordOf(ctx)
	record.Provider = p.Name
	headers, err := shown(ctx, p)
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	out, err := a.Flows.Arrive(c, state, a.shows(ctx, b), kinds, login.Attempt{
		Provider: p.Name, Fields: values, Headers: headers, Client: client(ctx),
	})
	if errors.Is(err, login.ErrSpent) {
		err = coded(unknown, nil, err)
	}
	if err != nil {
		err = a.translate(err)
	}
	switch {
	case err != nil && out.Return != nil:
		failed := record.Fail(err)
		return redirect(ctx, with(out.Return.URI, "error", failed.Code, "request_id", record.RequestID))
	case err != nil:
		return err
	case out.LoggedOut:
		return a.writeLogout(ctx, out)
	case out.Code != "":
		return redirect(ctx, with(out.Return.URI, "code", out.Code))
	}
	return a.writeLogin(ctx, out)
}

// exchange trades the one-time code that a page got for what it stands for.
func (a *API) exchange(ctx *fasthttp.RequestCtx, _ Params) error {
	values, err := a.readForm(ctx, []sdk.Field{{Name: "code", Required: true}, {Name: "code_verifier", Required: true}})
	if err != nil {
		return err
	}
	if err := a.Limiter.Check(ctx, "sso", address(ctx)); err != nil {
		return err
	}
	attempt := login.Attempt{Client: client(ctx)}
	if p, ok := access.PrincipalOf(ctx); ok && p.Own {
		attempt.Caller = &login.Caller{UserID: p.Subject, SessionID: p.SessionID}
	}
	c, cancel := deadline()
	defer cancel()
	out, err := a.Flows.Exchange(c, values["code"], values["code_verifier"], attempt)
	switch {
	case errors.Is(err, login.ErrSpent):
		return coded(sdk.CodeOAuthCode, nil, err)
	case errors.Is(err, login.ErrCaller):
		return unauthorized("INVALID_TOKEN", "This code links a login. Send the access token of the session that began it, too.", err)
	case err != nil:
		return a.translate(err)
	case out.Linked != nil:
		return edge.WriteJSON(ctx, fasthttp.StatusOK, map[string]any{"linked": linkedJSON(*out.Linked)})
	}
	return a.writeLogin(ctx, out)
}

type linkedJSON struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
	Email    string `json:"email"`
}

// startLink tells a page where to take its visitor, to link a login at another site.
func (a *API) startLink(ctx *fasthttp.RequestCtx, params Params) error {
	p, err := self(ctx, params("id"))
	if err != nil {
		return err
	}
	values, err := a.readForm(ctx, []sdk.Field{
		{Name: "provider", Required: true}, {Name: "redirect_uri", Required: true}, {Name: "code_challenge", Required: true}, {Name: "code_challenge_method"},
	})
	if err != nil {
		return err
	}
	back, err := a.wayBack(values)
	if err != nil {
		return err
	}
	path, err := a.loginPath(values["provider"])
	if err != nil {
		return err
	}
	if err := a.Limiter.Check(ctx, "sso", address(ctx)); err != nil {
		return err
	}
	edge.RecordOf(ctx).Provider = values["provider"]
	c, cancel := deadline()
	defer cancel()
	token, err := a.Flows.StartLink(c, values["provider"], login.Caller{UserID: p.Subject, SessionID: p.SessionID}, *back)
	if err != nil {
		return a.translate(err)
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, map[string]string{"url": with(a.PublicURL+path, "link", token)})
}

// loginPath is where a login at a provider begins.
func (a *API) loginPath(provider string) (string, error) {
	p, err := a.providerOf(provider, login.KindOAuth)
	if err == nil {
		return "/auth/oauth/" + p.Name, nil
	}
	if p, samlErr := a.samlProvider(); samlErr == nil && p.Name == provider {
		return "/auth/saml/login", nil
	}
	return "", err
}
