package saml

import (
	"context"
	"testing"

	"github.com/materi/shield/gateway/plugin/trial"
	"github.com/materi/shield/sdk"
)

// BenchmarkSAMLLogin is a login, there and back, in a module with the real checks of the host
// behind it: what it costs the gateway beside HTTP and its database.
func BenchmarkSAMLLogin(b *testing.B) {
	module, _ := built(b)
	p, err := trial.Open(b.Context(), trial.Options{File: module, CacheDir: workspaceDir})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	})
	for name, document := range map[string]func(w world) string{
		"signed":    func(w world) string { return w.says().signedAssertion(b, idpKey()) },
		"encrypted": func(w world) string { k := idpKey(); return w.says().encrypted(b, &k, spKey(), nsEnc11+"aes256-gcm") },
	} {
		b.Run(name, func(b *testing.B) {
			w := worldOf(b, p.Provider(), with(settingsOf(idpConfig()), "sign_requests", true))
			fields := map[string]string{fieldResponse: b64([]byte(document(w)))}
			back := w.flow(sdk.FlowLogin, formRedirect)
			back.Saved = asked{"corp", requestID}.save()
			for b.Loop() {
				c := real{w.host.Call(), w.grant.Call()} // what it writes is not kept, so that it is no replay
				if _, err := w.p.Begin(context.Background(), c, w.flow(sdk.FlowLogin, formRedirect), sdk.Request{Now: w.host.Now()}); err != nil {
					b.Fatal(err)
				}
				c = real{w.host.Call(), w.grant.Call()}
				step, err := w.p.Continue(context.Background(), c, back, sdk.Request{Fields: fields, Now: w.host.Now()})
				if err != nil || step.Done == nil {
					b.Fatalf("%+v, %v", step, err)
				}
			}
		})
	}
}
