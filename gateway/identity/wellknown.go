package identity

import (
	"encoding/json"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
)

// keysAge is how long the JWKS and the metadata may be cached. Keys are published for
// longer than that before they sign.
const keysAge = "public, max-age=300"

func (a *API) jwks(ctx *fasthttp.RequestCtx, _ Params) error {
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, keysAge)
	return edge.WriteJSON(ctx, fasthttp.StatusOK, json.RawMessage(a.JWKS()))
}

// metadata says what clients and upstreams may rely on (RFC 8414 §2, OpenID Connect
// Discovery 1.0 §3). Shield is no authorization server for others yet, so it names no
// endpoints of one.
func (a *API) metadata(ctx *fasthttp.RequestCtx, _ Params) error {
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, keysAge)
	return edge.WriteJSON(ctx, fasthttp.StatusOK, map[string]any{
		"issuer":                                a.Token.Issuer,
		"jwks_uri":                              a.PublicURL + "/.well-known/jwks.json",
		"response_types_supported":              []string{},
		"grant_types_supported":                 []string{},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{a.Token.Algorithm},
	})
}
