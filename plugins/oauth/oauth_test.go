package oauth

import (
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

const discoveryDocument = `{"issuer": "https://idp.example.test", "authorization_endpoint": "https://idp.example.test/authorize",
	"token_endpoint": "https://idp.example.test/token", "jwks_uri": "https://idp.example.test/jwks", "userinfo_endpoint": "https://idp.example.test/userinfo"}`

func TestConformance(t *testing.T) {
	for name, settings := range map[string]string{
		"discovery": `{"issuer": "https://idp.example.test", "client_id": "c", "algorithms": ["EdDSA"]}`,
		"github":    `{"preset": "github", "client_id": "c"}`,
		"microsoft": `{"preset": "microsoft", "client_id": "c", "tenant": "organizations", "keep_tokens": true}`,
	} {
		t.Run(name, func(t *testing.T) {
			providertest.Run(t, providertest.Suite{
				New:      func() sdk.Provider { return New() },
				Settings: settings,
				BadSettings: []string{
					`{}`, `{"client_id": "c"}`, `{"preset": "github"}`, `{"preset": "github", "client_id": "c", "client_id": "d"}`,
					`{"preset": "google", "client_id": "c", "algorithms": ["none"]}`, `{"issuer": "http://idp.example.test", "client_id": "c"}`,
				},
				Fields: map[string]map[string]string{form: {fieldHint: "ann@example.com"}},
				Prepare: func(h *providertest.Host) {
					h.Secret(secretClient, "hush-hush-hush")
					h.Site("https://idp.example.test/", func(r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
						if strings.HasSuffix(r.URL, where) {
							return sdk.HTTPResponse{Status: 200, Body: []byte(discoveryDocument)}, nil
						}
						return sdk.HTTPResponse{Status: 500}, nil
					})
				},
			})
		})
	}
}
