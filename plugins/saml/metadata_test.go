package saml

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
)

const metadataURL = "https://idp.test/metadata.xml"

// idpMetadata is metadata of "corp" with these keys.
func idpMetadata(keys ...signer) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(`<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="` + nsSignature + `"><ds:X509Data><ds:X509Certificate>` + "\n" + b64(k.cert.Raw) + "\n" + `</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>`)
	}
	return `<?xml version="1.0"?><!-- by hand --><md:EntityDescriptor xmlns:md="` + nsMetadata + `" entityID="` + idpEntity + `">` +
		`<md:IDPSSODescriptor protocolSupportEnumeration="` + nsProtocol + `">` + b.String() +
		`<md:SingleLogoutService Binding="` + uriRedirect + `" Location="` + idpLogout + `" ResponseLocation="` + idpLogout + `/back"/>` +
		`<md:NameIDFormat>` + formatPersistent + `</md:NameIDFormat>` +
		`<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:SOAP" Location="https://idp.test/soap"/>` +
		`<md:SingleSignOnService Binding="` + uriPost + `" Location="https://idp.test/post"/>` +
		`<md:SingleSignOnService Binding="` + uriRedirect + `" Location="` + idpPlace + `"/>` +
		`</md:IDPSSODescriptor></md:EntityDescriptor>`
}

// otherMetadata is that of "other".
func otherMetadata() string {
	return strings.ReplaceAll(idpMetadata(otherKey()), "https://idp.test", "https://other.test")
}

func TestReadMetadataTakesWhatCounts(t *testing.T) {
	text := strings.Replace(idpMetadata(idpKey(), rollKey()), ` entityID=`, ` validUntil="2026-02-01T00:00:00Z" cacheDuration="PT6H" entityID=`, 1)
	text = strings.Replace(text, `<md:IDPSSODescriptor `, `<md:IDPSSODescriptor WantAuthnRequestsSigned="true" validUntil="2026-01-20T00:00:00Z" cacheDuration="P1D" `, 1)
	text = strings.Replace(text, `<md:KeyDescriptor use="signing">`, `<md:KeyDescriptor use="encryption"><ds:KeyInfo xmlns:ds="`+nsSignature+`"><ds:X509Data><ds:X509Certificate>`+b64(evilKey().cert.Raw)+`</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:KeyDescriptor>`, 1)
	text = strings.Replace(text, `</md:KeyDescriptor><md:SingleLogout`, `</md:KeyDescriptor><md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="`+nsSignature+`"><ds:X509Data><ds:X509Certificate>AAAA</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleLogout`, 1)
	got, err := readMetadata([]byte(text), idpEntity)
	if err != nil {
		t.Fatal(err)
	}
	want := party{
		certificates: []certificate{idpKey().cert.Raw, rollKey().cert.Raw},
		sso:          []endpoint{{binding: "post", url: "https://idp.test/post"}, {binding: "redirect", url: idpPlace}},
		slo:          []endpoint{{binding: "redirect", url: idpLogout, response: idpLogout + "/back"}},
		wantsSigned:  true, validUntil: time.Date(2026, 1, 20, 0, 0, 0, 0, time.UTC), cacheFor: 6 * time.Hour,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(party{}, endpoint{})); diff != "" {
		t.Errorf("readMetadata() (-want +got):\n%s", diff)
	}
}

func TestReadMetadataRefusesWhatIsOfSomebodyElse(t *testing.T) {
	good := idpMetadata(idpKey())
	for name, text := range map[string]string{
		"another entity":         strings.Replace(good, `entityID="`+idpEntity, `entityID="`+idpEntity+"/", 1),
		"another namespace":      strings.ReplaceAll(good, nsMetadata, "urn:x"),
		"a service provider":     strings.ReplaceAll(good, "IDPSSODescriptor", "SPSSODescriptor"),
		"SAML 1":                 strings.Replace(good, nsProtocol, "urn:oasis:names:tc:SAML:1.1:protocol", 1),
		"two roles":              strings.Replace(good, "</md:EntityDescriptor>", good[strings.Index(good, "<md:IDPSSO"):], 1),
		"no key":                 idpMetadata(),
		"no key for signatures":  strings.Replace(good, `use="signing"`, `use="encryption"`, 1),
		"no place":               strings.ReplaceAll(good, "SingleSignOnService", "Else"),
		"no place that is safe":  strings.ReplaceAll(good, "https://idp.test", "http://idp.test"),
		"script for a place":     strings.ReplaceAll(good, "https://idp.test", "javascript://idp.test"),
		"validUntil in words":    strings.Replace(good, " entityID=", ` validUntil="soon" entityID=`, 1),
		"cacheDuration in words": strings.Replace(good, " entityID=", ` cacheDuration="soon" entityID=`, 1),
		"DTD":                    strings.Replace(good, "<md:Entity", "<!DOCTYPE a><md:Entity", 1),
		"too long":               good + strings.Repeat(" ", maxMetadata),
	} {
		if got, err := readMetadata([]byte(text), idpEntity); !errors.Is(err, errXML) {
			t.Errorf("%s: readMetadata() = %+v, %v, want it refused", name, got, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT1H": time.Hour, "P1D": 24 * time.Hour, "P1DT12H": 36 * time.Hour, "PT604800S": 7 * 24 * time.Hour, "PT1.5S": time.Second, "P1Y2M3DT4H5M6S": (365+60+3)*24*time.Hour + 4*time.Hour + 5*time.Minute + 6*time.Second,
		"P1M": 30 * 24 * time.Hour, "PT1M": time.Minute, "P0D": 0,
	} {
		if got, ok := parseDuration(text); !ok || got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "P", "PT", "P1", "1D", "-P1D", "P1H", "PT1D", "P1DT", "PT1H1H", "PT1S1M", "P1.5D", "PT1.5", "PT.S", "P999999999Y", "PTT1S", "P D", "PT1H "} {
		if got, ok := parseDuration(text); ok {
			t.Errorf("parseDuration(%q) = %v, want none", text, got)
		}
	}
}

// site is the place of the metadata, which a test changes.
type site struct {
	text    string
	status  int
	err     error
	fetched int
}

func (s *site) answer(sdk.HTTPRequest) (sdk.HTTPResponse, error) {
	s.fetched++
	return sdk.HTTPResponse{Status: s.status, Body: []byte(s.text)}, s.err
}

func fetching(more ...any) map[string]any {
	return settingsOf(idpConfig(append([]any{"sso_url", nil, "slo_url", nil, "certificates", nil, "metadata_url", metadataURL}, more...)...))
}

func worldWithSite(t *testing.T, settings map[string]any) (world, *site) {
	t.Helper()
	w := newWorld(t, settings)
	s := &site{text: idpMetadata(idpKey()), status: 200}
	w.host.Site(metadataURL, s.answer)
	return w, s
}

func (w world) goes(t *testing.T) {
	t.Helper()
	if step := w.begin(sdk.FlowLogin, formRedirect, nil); step.Redirect == nil {
		t.Errorf("step = %s %+v, want a redirect", step.Kind(), step.Denied)
	}
}

func (w world) isUnavailable(t *testing.T) {
	t.Helper()
	_, err := w.call(w.p.Begin, w.flow(sdk.FlowLogin, formRedirect), nil)
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeUnavailable {
		t.Errorf("Begin() = %v, want %s", err, sdk.CodeUnavailable)
	}
}

func TestMetadataIsFetchedOnceInAnHour(t *testing.T) {
	w, s := worldWithSite(t, fetching())
	for range 3 {
		w.goes(t)
	}
	w.host.Advance(59 * time.Minute)
	w.goes(t)
	if s.fetched != 1 {
		t.Errorf("within an hour it was fetched %d times", s.fetched)
	}
	w.host.Advance(2 * time.Minute)
	w.goes(t)
	if s.fetched != 2 {
		t.Errorf("after an hour it was fetched %d times", s.fetched)
	}
}

func TestMetadataSaysHowLongItIsKept(t *testing.T) {
	for duration, want := range map[string]time.Duration{"PT6H": 6 * time.Hour, "PT1S": leastRefresh, "P30D": mostRefresh} {
		w, s := worldWithSite(t, fetching())
		s.text = strings.Replace(s.text, " entityID=", ` cacheDuration="`+duration+`" entityID=`, 1)
		w.goes(t)
		w.host.Advance(want - time.Second)
		w.goes(t)
		before := s.fetched
		w.host.Advance(time.Second)
		w.goes(t)
		if before != 1 || s.fetched != 2 {
			t.Errorf("%s: fetched %d times before %v, %d after", duration, before, want, s.fetched)
		}
	}
	w, s := worldWithSite(t, fetching())
	s.text = strings.Replace(s.text, " entityID=", fmt.Sprintf(` validUntil="%s" entityID=`, w.at(10*time.Minute)), 1)
	w.goes(t)
	w.host.Advance(10 * time.Minute)
	s.text = idpMetadata(rollKey())
	w.goes(t)
	if s.fetched != 2 {
		t.Errorf("metadata that ran out was fetched %d times", s.fetched)
	}
}

func TestTheLastGoodMetadataServesForAWhile(t *testing.T) {
	for name, breaks := range map[string]func(s *site){
		"away":           func(s *site) { s.err = sdk.ErrUnreachable },
		"too large":      func(s *site) { s.err = sdk.ErrTooLarge },
		"error":          func(s *site) { s.status = 500 },
		"no XML":         func(s *site) { s.text = "<html>" },
		"another entity": func(s *site) { s.text = strings.ReplaceAll(s.text, idpEntity, "https://evil.test") },
		"out of date": func(s *site) {
			s.text = strings.Replace(s.text, " entityID=", ` validUntil="2026-01-01T00:00:00Z" entityID=`, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := worldWithSite(t, fetching())
			w.goes(t)
			breaks(s)
			w.host.Advance(2 * time.Hour)
			w.goes(t)
			w.goes(t)
			if s.fetched != 2 {
				t.Errorf("while it is broken it was fetched %d times, want once in %v", s.fetched-1, leastRefresh)
			}
			w.host.Advance(leastRefresh)
			w.goes(t)
			if s.fetched != 3 {
				t.Errorf("it was not tried again")
			}
			w.host.Advance(defaultGrace)
			w.isUnavailable(t)
			s.err, s.status, s.text = nil, 200, idpMetadata(idpKey())
			w.host.Advance(leastRefresh)
			w.goes(t)
		})
	}
}

func TestWithoutMetadataNobodyIsAsked(t *testing.T) {
	w, s := worldWithSite(t, fetching())
	s.err = sdk.ErrUnreachable
	w.isUnavailable(t)
	s.err, s.text = nil, strings.ReplaceAll(s.text, idpEntity, "https://evil.test")
	w.isUnavailable(t)
	if keys := w.host.Keys(); len(keys) > 0 {
		t.Errorf("what is not good was kept: %v", keys)
	}
}

func TestMetadataOfTheSettingsRunsOut(t *testing.T) {
	w := newWorld(t, settingsOf(idpConfig("sso_url", nil, "slo_url", nil, "certificates", nil,
		"metadata", strings.Replace(idpMetadata(idpKey()), " entityID=", ` validUntil="2026-01-03T00:00:00Z" entityID=`, 1))))
	w.goes(t)
	w.host.Advance(12 * time.Hour)
	w.goes(t)
	w.host.Advance(time.Second)
	w.isUnavailable(t)
}

// A key that nobody told us of is looked for in the metadata, once in a while.
func TestRolloverNeedsNoOutage(t *testing.T) {
	w, s := worldWithSite(t, fetching())
	w.wantsDone(w.answer(w.says().signedAssertion(t, idpKey())))
	s.text = idpMetadata(rollKey(), idpKey())
	s2 := w.says()
	s2.assertionID = "_a2"
	w.wants(codeSignature, w.answer(s2.signedAssertion(t, rollKey())))
	w.host.Advance(leastRefresh)
	s3 := w.says()
	s3.assertionID = "_a3"
	w.wantsDone(w.answer(s3.signedAssertion(t, rollKey())))
	s4 := w.says()
	s4.assertionID = "_a4"
	w.wantsDone(w.answer(s4.signedAssertion(t, idpKey())))
	fetched := s.fetched
	for range 5 {
		w.host.Advance(time.Minute / 2)
		s5 := w.says()
		w.wants(codeSignature, w.answer(s5.signedAssertion(t, evilKey())))
	}
	if s.fetched > fetched+1 {
		t.Errorf("five forgeries had the metadata fetched %d times", s.fetched-fetched)
	}
}

func TestSignedMetadata(t *testing.T) {
	signed := func(by signer) string {
		text := strings.Replace(idpMetadata(idpKey()), "<!-- by hand -->", "", 1)
		text = strings.Replace(text, ` entityID=`, ` ID="_m1" entityID=`, 1)
		text = strings.Replace(text, `<md:IDPSSODescriptor`, template("_m1")+`<md:IDPSSODescriptor`, 1)
		return by.sign(t, text)
	}
	w, s := worldWithSite(t, fetching("metadata_certificate", pemOf(otherKey())))
	s.text = signed(otherKey())
	w.goes(t)
	w.wantsDone(w.answer(w.says().signedAssertion(t, idpKey())))
	for name, text := range map[string]string{
		"unsigned": idpMetadata(evilKey()), "by another": signed(evilKey()),
		"changed": strings.Replace(signed(otherKey()), b64(idpKey().cert.Raw), b64(evilKey().cert.Raw), 1),
	} {
		w, s := worldWithSite(t, fetching("metadata_certificate", pemOf(otherKey())))
		s.text = text
		if _, err := w.call(w.p.Begin, w.flow(sdk.FlowLogin, formRedirect), nil); err == nil {
			t.Errorf("%s: metadata was believed", name)
		}
	}
}

func TestKeptMetadataSurvives(t *testing.T) {
	for _, text := range []string{"", "1", "2\n0\n0\n0\n0\nfalse\nkey AAAA\n", "1\nx\n0\n0\n0\nfalse\nkey AAAA\n", "1\n0\n0\n0\n0\nfalse\nkey *\n", "1\n0\n0\n0\n0\nfalse\nelse\n", "1\n0\n0\n0\n0\nfalse\n"} {
		if k, ok := parseKept(text); ok {
			t.Errorf("parseKept(%q) = %+v", text, k)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(idpMetadata(idpKey())))
	f.Add([]byte(idpMetadata()))
	f.Add([]byte(`<a validUntil="2026-01-01T00:00:00Z" cacheDuration="P1D"/>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := readMetadata(data, idpEntity)
		if err != nil {
			return
		}
		if len(p.certificates) == 0 || len(p.certificates) > maxCertificates || len(p.sso) == 0 || len(p.sso) > 2 || len(p.slo) > 2 || p.cacheFor < 0 {
			t.Errorf("readMetadata(%q) = %+v", data, p)
		}
		for _, e := range append(p.sso, p.slo...) {
			if !isPlace(e.url) || e.response != "" && !isPlace(e.response) {
				t.Errorf("readMetadata(%q) has the place %+v", data, e)
			}
		}
	})
}
