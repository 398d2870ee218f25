package saml

import (
	"testing"

	"github.com/materi/shield/gateway/plugin/trial"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

func TestConformance(t *testing.T) {
	suite := conformance(t)
	suite.New = func() sdk.Provider { return New() }
	providertest.Run(t, suite)
}

// TestConformanceOfThePlugin is the same of what is built, in each way in which it can run,
// and all have to do the same.
func TestConformanceOfThePlugin(t *testing.T) {
	module, executable := built(t)
	var reference, again *trial.Transcript
	for _, run := range []struct {
		file string
		way  trial.Way
	}{{module, trial.Compiler}, {module, trial.Compiler}, {module, trial.Interpreter}, {executable, trial.Process}} {
		made := &trial.Transcript{}
		p, err := trial.Open(t.Context(), trial.Options{File: run.file, Way: run.way, CacheDir: workspaceDir, Watch: made.Add})
		if err != nil {
			t.Fatal(err)
		}
		suite := conformance(t)
		suite.New, suite.After = p.Provider, p.Release
		t.Run(string(run.way), func(t *testing.T) { providertest.Run(t, suite) })
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		switch {
		case reference == nil:
			reference = made
		case again == nil:
			again = made
		default:
			for _, difference := range trial.Compare(reference, again, made) {
				t.Errorf("%s: %s", run.way, difference)
			}
		}
	}
}

func conformance(t testing.TB) providertest.Suite {
	t.Helper()
	w := newWorld(t, settingsOf(idpConfig()))
	bare := w.says()
	bare.answers = ""
	document := bare.response()
	return providertest.Suite{
		Settings: string(rawOf(t, settingsOf(
			idpConfig("idp_initiated", true),
			otherConfig("sso_url", nil, "certificates", nil, "metadata_url", "https://other.test/metadata.xml", "sign_requests", true),
		))),
		BadSettings: []string{
			`{}`, `{"entity_id": "urn:a", "idps": []}`, `{"entity_id": "urn:a", "idps": [{}]}`, `{"entity_id": "urn:a", "idps": [null]}`, `{"entity_id": "urn:a", "idps": {"name": "a"}}`,
		},
		Fields: map[string]map[string]string{
			formRedirect:    {fieldIdP: "other", fieldEmail: "bob@other.test"},
			formUnsolicited: {fieldResponse: b64([]byte(document))},
			formSLO:         {fieldRequest: b64([]byte(w.logoutRequest("_l1", ""))), "binding": bindingPost},
		},
		Prepare: func(h *providertest.Host) {
			h.PrivateKey(secretKey)
			h.PrivateKey(secretNextKey)
			h.Site("https://other.test/metadata.xml", func(sdk.HTTPRequest) (sdk.HTTPResponse, error) {
				return sdk.HTTPResponse{Status: 200, Body: []byte(otherMetadata())}, nil
			})
		},
	}
}
