package identity

import (
	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/access"
	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/sdk"
)

// userJSON is a user as the API shows it.
type userJSON struct {
	ID         string      `json:"id"`
	Email      string      `json:"email"`
	Name       string      `json:"name"`
	AvatarURL  string      `json:"avatar_url"`
	Timezone   string      `json:"timezone"`
	Language   string      `json:"language"`
	Verified   bool        `json:"is_verified"`
	CreatedAt  string      `json:"created_at"`
	UpdatedAt  string      `json:"updated_at"`
	Workspaces []workspace `json:"workspaces"`
}

// workspace is a user's place in a workspace.
type workspace struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"`
}

func (a *API) userOf(u account.User) userJSON {
	return userJSON{
		ID: u.ID, Email: u.Email, Name: u.Name, AvatarURL: u.AvatarURL, Timezone: u.Timezone, Language: u.Language,
		Verified: a.Proven(u), CreatedAt: stamp(u.CreatedAt), UpdatedAt: stamp(u.UpdatedAt), Workspaces: []workspace{},
	}
}

func (a *API) getUser(ctx *fasthttp.RequestCtx, params Params) error {
	p, err := self(ctx, params("id"))
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	u, err := a.Users.User(c, p.Subject)
	if err != nil {
		return a.translate(err)
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, a.userOf(u))
}

func (a *API) changePassword(ctx *fasthttp.RequestCtx, params Params) error {
	p, err := self(ctx, params("id"))
	if err != nil {
		return err
	}
	f, err := a.formFor(sdk.FlowChange, formPassword)
	if err != nil {
		return err
	}
	edge.RecordOf(ctx).Provider = f.provider.Name
	values, err := a.readForm(ctx, f.Fields)
	if err != nil {
		return err
	}
	// Who stole an access token must not be able to try out the password with it.
	if err := a.Limiter.Check(ctx, "login-account", p.Subject); err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	_, err = a.Flows.Begin(c, login.Attempt{
		Provider: f.provider.Name, Kind: sdk.FlowChange, Form: formPassword, Fields: values, Client: client(ctx),
		Caller: &login.Caller{UserID: p.Subject, SessionID: p.SessionID},
	})
	if err != nil {
		return a.translate(err)
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, message{"The password is changed. The other sessions have ended."})
}

// self returns the principal if it is the user of the id, or of "me". Another user is
// answered like one that does not exist.
func self(ctx *fasthttp.RequestCtx, id string) (*access.Principal, error) {
	p, err := own(ctx)
	if err != nil {
		return nil, err
	}
	if id == "me" {
		return p, nil
	}
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != p.Subject {
		return nil, edge.Forbidden("INSUFFICIENT_PERMISSIONS", "This is another user.", nil)
	}
	return p, nil
}
