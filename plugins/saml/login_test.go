package saml

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
)

func alice() sdk.Identity {
	return sdk.Identity{
		Issuer: idpEntity, Subject: "persistent:alice-7", Email: "alice@idp.test", EmailVerified: true, Name: "Alice",
		ACR: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", Session: "corp:s1",
	}
}

// What xmlsec1 signs and encrypts is what identity providers do.
func TestAnswersThatHoldLogIn(t *testing.T) {
	for name, of := range map[string]func(world) string{
		"signed assertion": func(w world) string { return w.says().signedAssertion(t, idpKey()) },
		"signed response":  func(w world) string { return w.says().signedResponse(t, idpKey()) },
		"both signed": func(w world) string {
			s := w.says()
			s.assertionSig = template("_a1")
			s.raw = idpKey().sign(t, s.assertion())
			s.raw = s.raw[len("<?xml version=\"1.0\"?>\n"):]
			return s.signedResponse(t, idpKey())
		},
		"encrypted, GCM":             func(w world) string { k := idpKey(); return w.says().encrypted(t, &k, spKey(), nsEnc11+"aes256-gcm") },
		"encrypted, GCM of 128":      func(w world) string { k := idpKey(); return w.says().encrypted(t, &k, spKey(), nsEnc11+"aes128-gcm") },
		"encrypted, CBC":             func(w world) string { k := idpKey(); return w.says().encrypted(t, &k, spKey(), nsEnc+"aes256-cbc") },
		"encrypted, CBC of 128":      func(w world) string { k := idpKey(); return w.says().encrypted(t, &k, spKey(), nsEnc+"aes128-cbc") },
		"encrypted for the next key": func(w world) string { k := idpKey(); return w.says().encrypted(t, &k, nextKey(), nsEnc11+"aes256-gcm") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, settingsOf(idpConfig()))
			got := w.wantsDone(w.answer(of(w)))
			if diff := cmp.Diff(alice(), got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

func encryptedInSigned(t testing.TB, s said) string {
	s.raw = spKey().encrypt(t, s.assertion(), nsEnc11+"aes256-gcm")
	return s.signedResponse(t, idpKey())
}
