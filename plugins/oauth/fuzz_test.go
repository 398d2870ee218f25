package oauth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/contract"
	"github.com/materi/shield/sdk/providertest"
)

var start = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// believing is a host whose checks say yes to whatever it is asked: what an issuer signs can be
// anything.
type believing struct {
	*providertest.Call
	document []byte // of every address
}

func (b believing) HTTP() sdk.HTTP { return b }
func (b believing) JWT() sdk.JWT   { return b }

func (b believing) Fetch(_ context.Context, r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
	return sdk.HTTPResponse{Status: 200, Body: b.document, URL: r.URL}, nil
}

func (b believing) Verify(_ context.Context, v sdk.JWTVerification) ([]byte, error) {
	if v.Issuer == "" || v.Audience == "" || v.Nonce == "" || len(v.Algorithms) == 0 || v.KeysURL == "" {
		return nil, sdk.ErrInvalid
	}
	return b.document, nil
}

func (b believing) Sign(context.Context, sdk.JWTAssertion) (string, error) {
	return "", sdk.ErrInvalid
}

// fuzzedSettings are read once: reading them takes longer than what is tried with them.
var fuzzedSettings = map[string]func() settings{"google": settingsOf("google"), "microsoft": settingsOf("microsoft"), "github": settingsOf("github")}

func settingsOf(preset string) func() settings {
	return sync.OnceValue(func() settings {
		s, faults := parseSettings([]byte(`{"preset": "` + preset + `", "client_id": "c", "keep_tokens": true, "claims": {"groups": "a.groups"}}`))
		if faults != nil {
			panic(faults)
		}
		return s
	})
}

func fuzzed(t testing.TB, preset string, document []byte) (call, endpoints, tokens) {
	t.Helper()
	s := fuzzedSettings[preset]()
	h := believing{providertest.New(sdk.CapabilityKV, sdk.CapabilityLog).Call(), document}
	e := s.endpoints
	if e.token == "" {
		e.jwks, e.userinfo = "https://i.example/j", "https://i.example/u"
	}
	c := call{settings: s, host: h, flow: sdk.Flow{ID: "f", Kind: sdk.FlowLogin, Form: form, Nonce: "n", State: "s"}, now: start}
	return c, e, tokens{access: "a", id: "e30." + base64.RawURLEncoding.EncodeToString(document) + ".e30"}
}

// holds demands that whatever was read makes a valid step or a known error.
func holds(t *testing.T, id sdk.Identity, err error) {
	t.Helper()
	if err == nil {
		if err := contract.Identity(id); err != nil {
			t.Errorf("the gateway would refuse the identity: %v", err)
		}
		return
	}
	var public *sdk.Error
	var no refusal
	if !errors.As(err, &public) && !errors.As(err, &no) {
		t.Errorf("error %v would be an internal one", err)
	}
	if public != nil && contract.Error(*public) != nil {
		t.Errorf("the gateway would refuse the error: %v", contract.Error(*public))
	}
}

func FuzzIDToken(f *testing.F) {
	for _, s := range []string{
		`{"sub":"ann","email":"a@example.com","email_verified":true,"name":"Ann","at_hash":"x","amr":["pwd"],"acr":"1","sid":"s","a":{"groups":["g"]}}`,
		`{"tid":"8eaef023-2b34-4da1-9baa-8bc8c9d6a490","oid":"o","email":"a@example.com","xms_edov":"1"}`,
		`{"sub":"a\u0000b"}`, `{"sub":7}`, `{"sub":"\ud800"}`, `{"sub":"a","name":"\u202e","picture":"https://a/\\"}`, `{"sub":"a","sub":"b"}`, `[]`, `{`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, preset := range []string{"google", "microsoft"} {
			c, e, tokens := fuzzed(t, preset, payload)
			id, err := c.connected(t.Context(), e, tokens, "")
			holds(t, id, err)
		}
	})
}

func FuzzUserinfo(f *testing.F) {
	for _, s := range []string{
		`{"id":7,"name":"Ann","avatar_url":"https://a.example/p","a":{"groups":"g"}}`, `{"id":"7"}`, `{"id":1e3}`, `{"id":-7}`, `{"id":null}`, `[{"email":"a@example.com","primary":true,"verified":true}]`,
		`[{"email":"a@b@c","primary":true,"verified":true}]`, `[null]`, `[[]]`, `{"id":7,"id":8}`, `"x"`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, e, tokens := fuzzed(t, "github", body)
		e.emails = ""
		id, err := c.plain(t.Context(), e, tokens)
		holds(t, id, err)
		address, err := readEmails(body)
		holds(t, sdk.Identity{Subject: "s", Email: address, EmailVerified: address != ""}, err)
	})
}

func FuzzTokenAnswer(f *testing.F) {
	for _, s := range []string{
		`{"access_token":"a","token_type":"Bearer","expires_in":3600,"id_token":"a.b.c","refresh_token":"r","scope":"s"}`, `{"access_token":"a","token_type":"bearer","expires_in":"60"}`,
		`{"error":"invalid_grant"}`, `{"error":7}`, `{"access_token":"a b","token_type":"bearer"}`, `{"access_token":"a","token_type":"bearer","expires_in":1e300}`, `[]`, ``,
	} {
		f.Add(200, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		got, err := readTokens(status, body, start)
		if err == nil && (got.access == "" || status != 200 || !isToken(got.access)) {
			t.Errorf("status %d and %q are %+v", status, body, got)
		}
		kept := got.keep(func(sdk.Level, string, ...string) {})
		holds(t, sdk.Identity{Subject: "s", Tokens: kept}, err)
		if kept != nil && !json.Valid(kept) {
			t.Errorf("what is kept is no JSON: %q", kept)
		}
	})
}

func FuzzDiscovery(f *testing.F) {
	for _, s := range []string{
		discoveryDocument, `{"issuer":"https://idp.example.test","token_endpoint":"javascript:x"}`, `{"issuer":"https://evil.example"}`, `{}`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := readDiscovery(body, "https://idp.example.test")
		holds(t, sdk.Identity{Subject: "s"}, err)
		if err != nil {
			return
		}
		for _, address := range []string{e.authorization, e.token, e.jwks} {
			if _, err := readAddress(address); err != nil {
				t.Errorf("%q of %q is no address to trust", address, body)
			}
		}
		d := discovered{endpoints: e, at: start, due: start.Add(fresh)}
		again, ok := openDiscovered(d.save())
		if !ok || again.endpoints != e || !again.at.Equal(d.at) || !again.due.Equal(d.due) {
			t.Errorf("%+v is remembered as %+v, %v", d, again, ok)
		}
		c, _, _ := fuzzed(t, "google", body)
		c.settings.endpoints = e
		step, err := c.redirect(t.Context(), "hint")
		if err != nil {
			t.Fatalf("redirect() = %v", err)
		}
		if err := contract.Step(sdk.FlowLogin, step); err != nil {
			t.Errorf("the gateway would refuse the redirect to %q: %v", e.authorization, err)
		}
	})
}

func FuzzRemembered(f *testing.F) {
	f.Add([]byte("1\n0\n0\ntrue\na\nb\nc\nd"))
	f.Add([]byte("1\n\n\n\n\n\n\n"))
	f.Fuzz(func(t *testing.T, entry []byte) {
		if d, ok := openDiscovered(entry); ok && d.endpoints.token == "" {
			t.Errorf("%q is %+v", entry, d)
		}
	})
}

func FuzzCallback(f *testing.F) {
	f.Add("code", "s", "https://accounts.google.com", true, "", false, "1\nhttps://accounts.google.com\n", "hint")
	f.Add("", "s", "", false, "access_denied", true, "", "\x00")
	f.Fuzz(func(t *testing.T, code, state, iss string, named bool, failed string, erred bool, saved, hint string) {
		fields := map[string]string{"code": code, "state": state}
		if named {
			fields["iss"] = iss
		}
		if erred {
			fields["error"] = failed
		}
		for _, preset := range []string{"google", "microsoft"} {
			c, e, _ := fuzzed(t, preset, []byte(`{}`))
			c.flow.Saved = []byte(saved)
			err := c.callback(e, fields)
			holds(t, sdk.Identity{Subject: "s"}, err)
			if err == nil && (state != "s" || code == "" || erred || named && !c.issued(iss)) {
				t.Errorf("%v is taken", fields)
			}
			if step, err := c.returned(t.Context(), fields); err == nil && step.Done != nil {
				t.Errorf("%v is a login", fields)
			}
			c.settings.endpoints = endpoints{authorization: "https://i.example/a?x=y", token: "https://i.example/t"}
			if step, err := c.redirect(t.Context(), hint); err != nil || contract.Step(sdk.FlowLogin, step) != nil {
				t.Errorf("hint %q: %+v, %v", hint, step, err)
			}
		}
	})
}

func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\\x00\x1f\u2028ü", `\"\\\/\b\f\n\r\t\u00fc\ud83d\ude00`, `\ud83d`, `\ud83d\ud83d\ude00`, `\ude00\u0041`, `\ud83dx`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// And the other way around: a string is read as encoding/json reads it.
		if raw := []byte(`"` + s + `"`); utf8.ValidString(s) && json.Valid(raw) {
			var want string
			if err := json.Unmarshal(raw, &want); err != nil || nameText(raw) != want {
				t.Errorf("nameText(%s) = %q, want %q, %v", raw, nameText(raw), want, err)
			}
		}
		var got string
		if err := json.Unmarshal([]byte(quoted(s)), &got); utf8.ValidString(s) && (err != nil || got != s) {
			t.Errorf("quoted(%q) is read as %q, %v", s, got, err)
		}
	})
}

// The objects are those of encoding/json, but for the ones that have two readings.
func FuzzObject(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[1,{"c":"]}"}],"d":{"e":null},"f":-1.5e3,"g":true}`, ` { "a" : "\"" , "\u0062" : [ ] } `, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `[1,"a",{}]`, `{}`, `[]`, `"a"`, `7`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]json.RawMessage
		if !utf8.Valid(data) { // encoding/json mends it
			return
		}
		valid := json.Unmarshal(data, &want) == nil && want != nil
		got, err := readObject(data)
		if errors.Is(err, errDuplicate) {
			return
		}
		if (err == nil) != valid {
			t.Fatalf("readObject(%q) = %v, want valid %v", data, err, valid)
		}
		if len(got) != len(want) {
			t.Errorf("readObject(%q) has %d members, want %d", data, len(got), len(want))
		}
		for name, value := range want {
			if !bytes.Equal(got[name], value) {
				t.Errorf("readObject(%q): %q is %q, want %q", data, name, got[name], value)
			}
		}
		var list []json.RawMessage
		isList := json.Unmarshal(data, &list) == nil && list != nil
		elements, ok := readList(data)
		if ok != isList || len(elements) != len(list) {
			t.Fatalf("readList(%q) = %d elements, %v, want %d, %v", data, len(elements), ok, len(list), isList)
		}
		for i := range list {
			if !bytes.Equal(elements[i], list[i]) {
				t.Errorf("readList(%q)[%d] = %q, want %q", data, i, elements[i], list[i])
			}
		}
	})
}
