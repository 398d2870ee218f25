package saml

import (
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
)

// FuzzResponse changes a response that was signed, and one that is encrypted. Whoever gets in
// must be who was signed for.
func FuzzResponse(f *testing.F) {
	w := newWorld(f, settingsOf(idpConfig("idp_initiated", true), otherConfig("idp_initiated", true)))
	k := idpKey()
	for _, document := range []string{
		w.says().signedAssertion(f, k), w.says().signedResponse(f, k), w.says().encrypted(f, &k, spKey(), nsEnc11+"aes256-gcm"), encryptedInSigned(f, w.says()),
		w.says().response(), w.forgery("_a1").response(),
	} {
		f.Add([]byte(document))
	}
	want := alice()
	f.Fuzz(func(t *testing.T, document []byte) {
		w := world{t: t, host: newHostClock(), grant: w.grant, p: w.p}
		flow := w.flow(sdk.FlowLogin, formRedirect)
		flow.Saved = asked{"corp", requestID}.save()
		fields := map[string]string{fieldResponse: b64(document)}
		step, err := w.call(w.p.Continue, flow, fields)
		mustBeAlice(t, step, err, want)
		step, err = w.call(w.p.Begin, w.flow(sdk.FlowLogin, formUnsolicited), fields)
		mustBeAlice(t, step, err, want)
	})
}

func mustBeAlice(t *testing.T, step sdk.Step, err error, want sdk.Identity) {
	t.Helper()
	if err != nil {
		t.Fatalf("a document is an error: %v", err)
	}
	if err := contract.Step(sdk.FlowLogin, step); err != nil {
		t.Fatalf("the gateway would not take the step: %v", err)
	}
	if step.Done != nil && (step.Done.Identity.Subject != want.Subject || step.Done.Identity.Email != want.Email) {
		t.Fatalf("somebody else got in: %+v", step.Done.Identity)
	}
}

// FuzzLogout changes what comes by the redirect binding and by POST. Only what was signed
// ends sessions.
func FuzzLogout(f *testing.F) {
	w := newWorld(f, settingsOf(idpConfig()))
	query := idpKey().query(f, fieldRequest, w.logoutRequest("_l1", ""), "back")
	f.Add(query, "")
	f.Add(evilKey().query(f, fieldRequest, w.logoutRequest("_l2", ""), ""), "")
	f.Add("", idpKey().sign(f, w.logoutRequest("_l3", template("_l3"))))
	f.Add("SAMLRequest=%zz&SigAlg=&Signature=AAAA", "<a/>")
	f.Fuzz(func(t *testing.T, query, document string) {
		w := world{t: t, host: newHostClock(), grant: w.grant, p: w.p}
		fields := map[string]string{fieldRequest: b64([]byte(document)), "binding": bindingPost}
		if query != "" {
			fields = map[string]string{fieldRequest: "x", "raw_query": query, "binding": bindingRedirect}
		}
		step, err := w.call(w.p.Begin, w.flow(sdk.FlowLogout, formSLO), fields)
		if err != nil {
			t.Fatalf("a message is an error: %v", err)
		}
		if err := contract.Step(sdk.FlowLogout, step); err != nil {
			t.Fatalf("the gateway would not take the step: %v", err)
		}
		if step.Logout != nil && (step.Logout.Subject != "persistent:alice-7" || !strings.HasPrefix(step.Logout.URL, idpLogout+"?")) {
			t.Fatalf("another logout: %+v", step.Logout)
		}
	})
}
