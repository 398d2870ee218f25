package saml

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
)

// logsIn is the identity of an answer that is changed before it is signed.
func logsIn(t *testing.T, settings []any, change func(w world, s *said)) sdk.Identity {
	t.Helper()
	w := newWorld(t, settingsOf(idpConfig(settings...)))
	s := w.says()
	change(w, &s)
	id := w.wantsDone(w.answer(s.signedAssertion(t, idpKey())))
	if err := contract.Identity(id); err != nil {
		t.Errorf("the gateway would not take the identity: %v", err)
	}
	return id
}

// Two names are one subject only if both sides mean the same by them.
func TestSubjectsHaveTheirNamespace(t *testing.T) {
	i := &idp{entityID: idpEntity}
	for _, c := range []struct {
		name nameID
		want string
	}{
		{nameID{value: "a", format: formatPersistent}, "persistent:a"},
		{nameID{value: "a", format: formatEmail}, "emailAddress:a"},
		{nameID{value: "a", format: formatUnspecified}, "unspecified:a"},
		{nameID{value: "a", format: "urn:x:y"}, "urn%3Ax%3Ay:a"},
		{nameID{value: "a:b(c)", format: formatPersistent}, "persistent:a:b(c)"},
		{nameID{value: "a", format: formatPersistent, qualifier: idpEntity, spFor: spEntity}, "persistent:a"},
		{nameID{value: "a", format: formatPersistent, qualifier: "urn:q"}, "persistent(urn%3Aq,):a"},
		{nameID{value: "a", format: formatPersistent, spFor: "urn:q"}, "persistent(,urn%3Aq):a"},
		{nameID{value: "a", format: formatPersistent, qualifier: "x,y", spFor: "z"}, "persistent(x%2Cy,z):a"},
		{nameID{value: "a", format: formatPersistent, qualifier: "x", spFor: "y,z"}, "persistent(x,y%2Cz):a"},
	} {
		if got := c.name.subject(i, spEntity); got != c.want {
			t.Errorf("subject of %+v = %q, want %q", c.name, got, c.want)
		}
	}
	long := nameID{value: strings.Repeat("a", 250), format: formatPersistent}
	other := nameID{value: strings.Repeat("a", 249) + "b", format: formatPersistent}
	if a, b := long.subject(i, spEntity), other.subject(i, spEntity); a == b || len(a) > maxSubject || !strings.HasPrefix(a, "sha256:") {
		t.Errorf("long names become %q and %q", a, b)
	}
}

func TestSubjectFromAnAttribute(t *testing.T) {
	id := logsIn(t, []any{"subject", "urn:oid:0.9.2342.19200300.100.1.1"}, func(w world, s *said) {
		s.subject = w.subject(`<saml:NameID Format="` + formatTransient + `">_x</saml:NameID>`)
		s.attributes = attributeStatement("urn:oid:0.9.2342.19200300.100.1.1", "u 1")
	})
	if id.Subject != "attribute(urn%3Aoid%3A0.9.2342.19200300.100.1.1):u 1" {
		t.Errorf("subject = %q", id.Subject)
	}
	id = logsIn(t, []any{"subject", "uid"}, func(w world, s *said) {
		s.subject = w.subject("")
		s.attributes = attributeStatement("uid", strings.Repeat("u", 300))
	})
	if !strings.HasPrefix(id.Subject, "sha256:") {
		t.Errorf("subject = %q", id.Subject)
	}
}

func TestAddressesAreVerifiedInTheirDomainsAlone(t *testing.T) {
	for _, c := range []struct {
		said, name     string // the attribute, and the NameID of format emailAddress
		email          string
		verified       bool
		domains, other []string
	}{
		{said: "Alice@IDP.test", email: "alice@idp.test", verified: true},
		{said: "alice@else.test", email: "alice@else.test"},
		{said: "alice@sub.idp.test", email: "alice@sub.idp.test"},
		{said: "alice@idp.test.evil.test", email: "alice@idp.test.evil.test"},
		{said: "alice@notidp.test", email: "alice@notidp.test"},
		{said: "no address", email: ""},
		{said: "a@b@idp.test", email: ""},
		{said: "älice@idp.test", email: ""},
		{said: "alice@idp.test|admin@idp.test", email: "alice@idp.test", verified: true},
		{name: "Bob@idp.test", email: "bob@idp.test", verified: true},
		{said: "no address", name: "bob@idp.test", email: "bob@idp.test", verified: true},
	} {
		id := logsIn(t, nil, func(w world, s *said) {
			s.attributes = ""
			if c.said != "" {
				s.attributes = attributeStatement("email", c.said)
			}
			if c.name != "" {
				s.subject = w.subject(`<saml:NameID Format="` + formatEmail + `">` + c.name + `</saml:NameID>`)
			}
		})
		if id.Email != c.email || id.EmailVerified != c.verified {
			t.Errorf("%q, %q: email %q, verified %v, want %q, %v", c.said, c.name, id.Email, id.EmailVerified, c.email, c.verified)
		}
	}
}

// Each preset against what the product sends, as its manual has it.
func TestPresetsMapWhatProductsSend(t *testing.T) {
	const claim = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	for preset, attributes := range map[string]string{
		"":     attributeStatement("urn:oid:0.9.2342.19200300.100.1.3", "alice@idp.test", "urn:oid:2.5.4.42", "Alice", "urn:oid:2.5.4.4", "Example", "urn:oid:1.3.6.1.4.1.5923.1.5.1.1", "a|b"),
		"okta": attributeStatement("email", "alice@idp.test", "firstName", "Alice", "lastName", "Example", "groups", "a|b"),
		"entra": attributeStatement(claim+"emailaddress", "alice@idp.test", claim+"name", "alice@tenant.onmicrosoft.test", claim+"givenname", "Alice", claim+"surname", "Example",
			"http://schemas.microsoft.com/identity/claims/displayname", "Alice Example", "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "a|b"),
		"onelogin": attributeStatement("User.email", "alice@idp.test", "User.FirstName", "Alice", "User.LastName", "Example", "memberOf", "a|b"),
		"google":   attributeStatement("firstName", "Alice", "lastName", "Example", "groups", "a|b"),
		"adfs":     attributeStatement(claim+"emailaddress", "alice@idp.test", claim+"name", "Alice Example", "http://schemas.xmlsoap.org/claims/Group", "a|b"),
	} {
		var settings []any
		if preset != "" {
			settings = []any{"preset", preset}
		}
		id := logsIn(t, settings, func(w world, s *said) {
			s.attributes = attributes
			if preset == "google" {
				s.subject = w.subject(`<saml:NameID Format="` + formatEmail + `">alice@idp.test</saml:NameID>`)
			}
		})
		if id.Email != "alice@idp.test" || id.Name != "Alice Example" || !cmp.Equal(id.Groups, []string{"a", "b"}) {
			t.Errorf("preset %q: %+v", preset, id)
		}
	}
}

func TestWhatIsSaidIsKeptToWhatFits(t *testing.T) {
	var many []string
	for n := range 1100 {
		many = append(many, fmt.Sprintf("g%d", n))
	}
	id := logsIn(t, []any{"attributes", map[string]any{"department": []string{"x", "department"}, "phones": "phones", "long": "long", "odd": "odd", "avatar_url": "picture"}}, func(_ world, s *said) {
		s.attributes = attributeStatement(
			"displayName", "Ann\tÄ "+strings.Repeat("ü", 200), "department", "Q&amp;A &quot;x&quot;", "phones", "1|2", "long", strings.Repeat("l", 1100), "odd", "a&#10;b",
			"picture", "https://idp.test/a.png", "groups", "one|one|two\u202e|"+strings.Repeat("g", 300)+"|"+strings.Join(many, "|"))
	})
	if len(id.Name) > maxLabel || !strings.HasPrefix(id.Name, "Ann Ä üü") {
		t.Errorf("name = %q", id.Name)
	}
	if diff := cmp.Diff(map[string]string{"department": `Q&A "x"`, "phones": "1,2"}, id.Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if len(id.Groups) != maxGroups || id.Groups[0] != "one" || id.Groups[1] != "g0" {
		t.Errorf("%d groups, %q", len(id.Groups), id.Groups[:3])
	}
	if id.AvatarURL != "https://idp.test/a.png" {
		t.Errorf("avatar = %q", id.AvatarURL)
	}
}

func TestSessionsAreOfTheirIdentityProvider(t *testing.T) {
	for index, want := range map[string]string{"": "corp:", "s1": "corp:s1", strings.Repeat("s", 2000): "corp:sha256:" + digest(strings.Repeat("s", 2000)), "a&#10;b": "corp:sha256:" + digest("a\nb")} {
		id := logsIn(t, nil, func(_ world, s *said) {
			s.authn = strings.Replace(s.authn, ` SessionIndex="s1"`, ` SessionIndex="`+index+`"`, 1)
		})
		if id.Session != want {
			t.Errorf("session of %.20q = %.80q, want %.80q", index, id.Session, want)
		}
	}
}

func TestUnsolicitedAnswersWhereTheyAreAllowed(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig("idp_initiated", true), otherConfig()))
	s := w.says()
	s.answers = ""
	s.subject = strings.Replace(s.subject, ` InResponseTo="`+requestID+`"`, "", 1)
	if diff := cmp.Diff(alice(), w.wantsDone(w.unsolicited(s.signedAssertion(t, idpKey())))); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	s.assertionID, s.responseIssuer = "_a2", ""
	w.wantsDone(w.unsolicited(s.signedAssertion(t, idpKey())))
}

// One key that cannot be read must not keep the others from counting.
func TestAKeyThatIsBrokenIsPassedOver(t *testing.T) {
	broken := certificate(append([]byte(nil), idpKey().cert.Raw...))
	broken[len(broken)-300] ^= 0xff // within the key, which is then no number
	list := []string{b64(idpKey().cert.Raw)}
	if broken.algorithm() != "" {
		list = append([]string{b64(broken)}, list...)
	}
	curve := strings.Replace(string(ecKey().cert.Raw), string(oidP256), string(oidP256), 1)
	w := newWorld(t, settingsOf(idpConfig("certificates", append([]string{b64([]byte(curve))}, list...))))
	w.wantsDone(w.answer(w.says().signedAssertion(t, idpKey())))

	invalid := errors.New("not asked")
	calls := 0
	err := eachKey([]certificate{{1}, {2}, {3}}, func(list [][]byte) error {
		calls++
		if len(list) > 1 || list[0][0] == 1 {
			return sdk.ErrInvalid
		}
		if list[0][0] == 2 {
			return invalid
		}
		return nil
	})
	if err != nil || calls != 4 {
		t.Errorf("eachKey() = %v after %d calls", err, calls)
	}
}

func TestHostTroubleIsAnErrorAndNoAnswer(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig("idp_initiated", true)))
	document := w.says().signedAssertion(t, idpKey())
	broken := errors.New("broken")
	w.host.FailOnly(sdk.CapabilityKV, broken)
	flow := w.flow(sdk.FlowLogin, formRedirect)
	flow.Saved = asked{"corp", requestID}.save()
	step, err := w.call(w.p.Continue, flow, map[string]string{fieldResponse: b64([]byte(document))})
	if !errors.Is(err, broken) || step.Done != nil {
		t.Errorf("Continue() = %+v, %v, want the host's error", step, err)
	}
	for _, saved := range []string{"", "1\n", "1\ncorp", "1\ncorp\n", "2\ncorp\n_1", "1\ncorp\n_1\nmore"} {
		flow.Saved = []byte(saved)
		if step, err := w.call(w.p.Continue, flow, map[string]string{fieldResponse: b64([]byte(document))}); err == nil {
			t.Errorf("Continue() with %q saved = %+v", saved, step)
		}
	}
}
