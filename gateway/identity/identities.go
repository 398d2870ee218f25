package identity

import (
	"errors"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/sdk"
)

// identityJSON is a login that belongs to a user, as the API shows it. The subject is the
// other site's business.
type identityJSON struct {
	ID         string `json:"id"`
	Provider   string `json:"provider"`
	Kind       string `json:"kind"` // empty: the provider is not there now
	Issuer     string `json:"issuer"`
	Email      string `json:"email"`
	CreatedAt  string `json:"created_at"`
	LastUsedAt string `json:"last_used_at"`
}

func (a *API) listIdentities(ctx *fasthttp.RequestCtx, params Params) error {
	p, err := self(ctx, params("id"))
	if err != nil {
		return err
	}
	c, cancel := deadline()
	defer cancel()
	all, err := a.Users.IdentitiesOf(c, p.Subject)
	if err != nil {
		return a.translate(err)
	}
	kinds := make(map[string]string)
	for _, info := range a.Providers() {
		kinds[info.Name] = info.Manifest.Kind
	}
	out := make([]identityJSON, 0, len(all))
	for _, i := range all {
		out = append(out, identityJSON{
			ID: i.ID, Provider: i.Provider, Kind: kinds[i.Provider], Issuer: i.Issuer, Email: i.Email,
			CreatedAt: stamp(i.CreatedAt), LastUsedAt: stamp(i.LastUsedAt),
		})
	}
	return edge.WriteJSON(ctx, fasthttp.StatusOK, map[string]any{"identities": out})
}

func (a *API) unlinkIdentity(ctx *fasthttp.RequestCtx, params Params) error {
	p, err := self(ctx, params("id"))
	if err != nil {
		return err
	}
	id, err := uuid.Parse(params("identity_id"))
	if err != nil {
		return edge.NotFound(edge.CodeNotFound, "There is no such login.", nil)
	}
	c, cancel := deadline()
	defer cancel()
	err = a.Flows.Unlink(c, login.Caller{UserID: p.Subject, SessionID: p.SessionID}, id.String(), client(ctx))
	switch {
	case errors.Is(err, login.ErrNoIdentity):
		return edge.NotFound(edge.CodeNotFound, "There is no such login.", err)
	case errors.Is(err, login.ErrLast):
		return edge.NewError(fasthttp.StatusUnprocessableEntity, sdk.CodeValidation, "This is the only way to sign in. Link another one first.", err)
	case err != nil:
		return a.translate(err)
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
