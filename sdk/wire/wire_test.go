package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/sdk"
)

var update = flag.Bool("update", false, "write the golden messages anew")

// message is one kind of message with its codec behind one form.
type message struct {
	name   string // in provider.proto; what follows a dot tells samples apart
	abi    int    // the version of the contract that it came with; 0 for the first
	sample any
	encode func(any) []byte
	decode func([]byte) (any, error)
}

func kind[T any](name string, sample T, encode func(T) []byte, decode func([]byte) (T, error)) message {
	return message{
		name: name, sample: sample,
		encode: func(v any) []byte { return encode(v.(T)) },
		decode: func(b []byte) (any, error) { return decode(b) },
	}
}

// Pairs and triples that the codec takes and returns as several values.
type (
	entry struct {
		e     sdk.Entry
		found bool
	}
	verify  struct{ hash, password string }
	verdict struct{ ok, stale bool }
	secret  struct {
		value string
		found bool
	}
	mac struct {
		name    string
		message []byte
	}
)

var (
	at       = time.Unix(0, 1767355200123456789).UTC()
	identity = sdk.Identity{
		Issuer: "https://id.example", Subject: "s-1", Email: "a@example.test", EmailVerified: true,
		Name: "Ä", AvatarURL: "https://x/y.png", Groups: []string{"a", "", "b"}, AMR: []string{"pwd"},
		ACR: "1", Attributes: map[string]string{"k": "v", "empty": "", "": "nameless"},
	}
	fields = []sdk.Field{{Name: "email", Label: "E-mail", Type: "email", Required: true}, {}}
)

func step(name string, s sdk.Step) message {
	m := kind("CallReply", Reply{FlowID: "f", Step: &s}, EncodeReply, DecodeReply)
	m.name += "." + name
	return m
}

func messages() []message {
	second := messagesOf2()
	for i := range second {
		second[i].abi = 2
	}
	return append(messagesOf1(), second...)
}

// messagesOf2 are the messages and fields that came with version 2.
func messagesOf2() []message {
	header := []sdk.HTTPHeader{{Name: "Accept", Value: "application/json"}, {}}
	return []message{
		kind("Manifest.concurrent", sdk.Manifest{ID: "ldap", ABI: 2, Concurrent: true}, EncodeManifest, DecodeManifest),
		kind("CallRequest.headers", Call{Request: sdk.Request{Headers: map[string]string{"X-Api-Key": "k", "": ""}}}, EncodeCall, DecodeCall),
		kind("CallRequest.logout", Call{Flow: sdk.Flow{ID: "f", Kind: sdk.FlowLogout, Subject: "s", Session: "_1"}}, EncodeCall, DecodeCall),
		step("logout", sdk.Step{Party: "corp", Save: []byte{1}, Logout: &sdk.Logout{
			Issuer: "urn:idp", Subject: "s", Sessions: []string{"_1", ""}, URL: "https://x/slo", Fields: map[string]string{"SAMLResponse": "PA=="},
		}}),
		step("done_session", sdk.Step{Party: "corp", Done: &sdk.Done{Identity: sdk.Identity{Subject: "s", Session: "_1", Tokens: []byte("{}")}}}),
		kind("FetchRequest", sdk.HTTPRequest{Method: "POST", URL: "https://x/y", Header: header, Body: []byte("b")}, EncodeFetch, DecodeFetch),
		kind("FetchReply", sdk.HTTPResponse{Status: 404, Header: header, Body: []byte("b"), URL: "https://x/z"}, EncodeFetched, DecodeFetched),
		kind("Result", []byte("value"), func(b []byte) []byte { return EncodeResult(b, nil) }, DecodeResult),
		kind("Result.refused", sdk.Refused{Reason: "expired"},
			func(r sdk.Refused) []byte { return EncodeResult(nil, &r) },
			func(b []byte) (sdk.Refused, error) {
				_, err := DecodeResult(b)
				if refused, ok := errors.AsType[*sdk.Refused](err); ok {
					return *refused, nil
				}
				return sdk.Refused{}, err
			}),
		kind("JWTVerifyRequest", sdk.JWTVerification{
			Token: "t", Issuer: "i", Audience: "a", Nonce: "n", Algorithms: []string{"RS256", "ES256"}, Keys: []byte("{}"),
			KeysURL: "https://x/k", AccessToken: "at", MaxAge: time.Hour,
		}, EncodeJWTVerify, DecodeJWTVerify),
		kind("JWTSignRequest", sdk.JWTAssertion{Claims: []byte("{}"), Secret: "key", Algorithm: "ES256", KeyID: "1"}, EncodeJWTSign, DecodeJWTSign),
		kind("XMLVerifyRequest", sdk.XMLVerification{
			Document: []byte("<x/>"), Certificates: [][]byte{{1}, {2, 3}}, Namespace: "urn:x", Element: "x",
		}, EncodeXMLVerify, DecodeXMLVerify),
		kind("KeyUse", Signing{Data: []byte("d"), Secret: "key", Certificate: []byte{1}, Algorithm: "urn:a", Namespace: "urn:x", After: "Issuer"}, EncodeSigning, DecodeSigning),
		kind("VerifyBytesRequest", Signature{Data: []byte("d"), Signature: []byte("s"), Certificates: [][]byte{{1}}, Algorithm: "urn:a"}, EncodeSignature, DecodeSignature),
		kind("SecretRequest", "client_secret", EncodeSecretName, DecodeSecretName),
		kind("SecretReply", secret{"hush", true},
			func(m secret) []byte { return EncodeSecret(m.value, m.found) },
			func(b []byte) (m secret, err error) { m.value, m.found, err = DecodeSecret(b); return m, err }),
		kind("MACRequest", mac{"key", []byte("m")},
			func(m mac) []byte { return EncodeMAC(m.name, m.message) },
			func(b []byte) (m mac, err error) { m.name, m.message, err = DecodeMAC(b); return m, err }),
	}
}

// messagesOf1 are those of version 1. They stay as they are.
func messagesOf1() []message {
	return []message{
		kind("Manifest", sdk.Manifest{
			ID: "email", Version: "1.2.3", ABI: 1, Kind: "email",
			Forms:        []sdk.Form{{Flow: sdk.FlowLogin, Name: "password", Label: "Log in", Fields: fields}, {}},
			Capabilities: []sdk.Capability{sdk.CapabilityKV, sdk.CapabilityLog}, ConfigSchema: []byte(`{}`),
		}, EncodeManifest, DecodeManifest),
		kind("ConfigureRequest", []byte(`{"a":1}`), EncodeSettings, DecodeSettings),
		kind("ConfigureReply", []sdk.Fault{{Path: "a.b", Message: "is wrong"}, {}}, EncodeFaults, DecodeFaults),
		kind("CallRequest", Call{
			Flow: sdk.Flow{
				ID: "f", Kind: sdk.FlowRegister, Form: "password", CallbackURL: "https://g/cb", State: "s", Nonce: "n",
				PKCEVerifier: "v", PKCEChallenge: "c", Subject: "u", Saved: []byte{0, 1, 255}, StartedAt: at,
			},
			Request: sdk.Request{
				Fields: map[string]string{"email": "a@example.test", "password": "", "z": "z"}, Path: "/m",
				IP: "192.0.2.1", UserAgent: "ua", Locale: "de", Now: at.Add(-1),
			},
		}, EncodeCall, DecodeCall),
		step("redirect", sdk.Step{Redirect: &sdk.Redirect{URL: "https://x"}, Save: []byte("kept")}),
		step("post", sdk.Step{Post: &sdk.Post{URL: "https://x", Fields: map[string]string{"SAMLRequest": "b64"}}}),
		step("prompt", sdk.Step{Prompt: &sdk.Prompt{Fields: fields}}),
		step("mail", sdk.Step{Mail: &sdk.Mail{Template: "verify", To: "a@example.test", Vars: map[string]string{"name": "A"}, Identity: &identity}}),
		step("done", sdk.Step{Done: &sdk.Done{Identity: identity}}),
		step("done_empty", sdk.Step{Done: &sdk.Done{}}),
		step("changed", sdk.Step{Changed: &sdk.Changed{Subject: "s-1"}}),
		step("denied", sdk.Step{Denied: &sdk.Denied{Code: "WEAK_PASSWORD", Fields: []sdk.FieldError{{Field: "password", Code: "TOO_SHORT", Message: "m"}, {}}}}),
		kind("CallReply.error", Reply{FlowID: "f", Error: &sdk.Error{Code: "C", Public: "p", Private: "q"}}, EncodeReply, DecodeReply),
		kind("ServeRequest", sdk.Request{Path: "metadata"}, EncodeServe, DecodeServe),
		kind("ServeReply", Document{Response: &sdk.Response{Status: 200, ContentType: "text/xml", Body: []byte("<x/>")}}, EncodeDocument, DecodeDocument),
		kind("ServeReply.error", Document{Error: &sdk.Error{Code: "C"}}, EncodeDocument, DecodeDocument),
		kind("Key", "addr/a@example.test", EncodeKey, DecodeKey),
		kind("Entry", entry{sdk.Entry{Value: []byte("v"), Version: 1 << 40}, true},
			func(m entry) []byte { return EncodeEntry(m.e, m.found) },
			func(b []byte) (m entry, err error) { m.e, m.found, err = DecodeEntry(b); return m, err }),
		kind("Put", Put{Key: "k", Value: []byte("v"), TTL: time.Minute, Version: -3}, EncodePut, DecodePut),
		kind("HashRequest", "pässword", EncodePassword, DecodePassword),
		kind("HashReply", "$argon2id$", EncodeHash, DecodeHash),
		kind("VerifyRequest", verify{"h", "p"},
			func(m verify) []byte { return EncodeVerify(m.hash, m.password) },
			func(b []byte) (m verify, err error) { m.hash, m.password, err = DecodeVerify(b); return m, err }),
		kind("VerifyReply", verdict{true, true},
			func(m verdict) []byte { return EncodeVerdict(m.ok, m.stale) },
			func(b []byte) (m verdict, err error) { m.ok, m.stale, err = DecodeVerdict(b); return m, err }),
		kind("CommonReply", true, EncodeCommon, DecodeCommon),
		kind("Record", Record{Level: sdk.LevelDebug, Message: "m", Args: []string{"k", "", "v"}}, EncodeRecord, DecodeRecord),
	}
}

var export = cmp.Exporter(func(t reflect.Type) bool {
	return t.PkgPath() == reflect.TypeFor[message]().PkgPath()
})

func TestMessagesSurviveTheWire(t *testing.T) {
	for _, m := range messages() {
		got, err := m.decode(m.encode(m.sample))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		if diff := cmp.Diff(m.sample, got, export); diff != "" {
			t.Errorf("%s (-want +got):\n%s", m.name, diff)
		}
	}
}

// TestMessagesAreThoseOfTheirVersion holds the encoding to files: bytes that a version of the
// contract sent mean the same for ever.
func TestMessagesAreThoseOfTheirVersion(t *testing.T) {
	for _, m := range messages() {
		version := max(m.abi, 1)
		file := filepath.Join("testdata", "golden", fmt.Sprint(version), m.name+".hex")
		got := hex.EncodeToString(m.encode(m.sample)) + "\n"
		if *update && version == sdk.ABI { // those before are frozen
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is %s, version %d has %s", m.name, got, version, want)
		}
		sent, err := hex.DecodeString(strings.TrimSpace(string(want)))
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := m.decode(sent)
		if diff := cmp.Diff(m.sample, decoded, export); diff != "" || err != nil {
			t.Errorf("%s of version %d is read as (-want +got), %v:\n%s", m.name, version, err, diff)
		}
	}
}

// TestEveryGoldenMessageIsHeldTo finds files that no sample belongs to any more.
func TestEveryGoldenMessageIsHeldTo(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "*", "*.hex"))
	if err != nil || len(files) != len(messages()) {
		t.Errorf("%d golden messages for %d samples, %v", len(files), len(messages()), err)
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	unknown := appendString(appendUint(nil, 99, 7), 100, "later")
	unknown = append(appendTag(unknown, 101, typeFixed32), 1, 2, 3, 4)
	unknown = append(appendTag(unknown, 102, typeFixed64), 1, 2, 3, 4, 5, 6, 7, 8)
	for _, m := range messages() {
		got, err := m.decode(append(bytes.Clone(unknown), m.encode(m.sample)...))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		if diff := cmp.Diff(m.sample, got, export); diff != "" {
			t.Errorf("%s (-want +got):\n%s", m.name, diff)
		}
	}
}

func TestLastOneOfAChoiceWins(t *testing.T) {
	b := EncodeReply(Reply{FlowID: "f", Step: &sdk.Step{Done: &sdk.Done{Identity: identity}}})
	b = append(b, EncodeReply(Reply{Error: &sdk.Error{Code: "C"}})...)
	got, err := DecodeReply(b)
	if err != nil || got.Step != nil || got.Error == nil {
		t.Errorf("step then error = %+v, %v", got, err)
	}
	two := encodeStep(sdk.Step{Done: &sdk.Done{}, Denied: &sdk.Denied{Code: "D"}})
	got, err = DecodeReply(appendMessage(nil, 2, two))
	if err != nil || got.Step.Kind() != "denied" {
		t.Errorf("done then denied = %+v, %v", got.Step, err)
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	deep := []byte{}
	for range 10_000 {
		deep = appendMessage(nil, 2, deep)
	}
	many := bytes.Repeat(appendMessage(nil, 1, nil), MaxRepeated+1)
	entries := []byte{}
	for i := range MaxRepeated + 1 {
		entries = appendMessage(entries, 1, appendString([]byte(nil), 1, fmt.Sprint(i)))
	}
	for name, b := range map[string][]byte{
		"tag cut off":         {0x80},
		"field 0":             {0x00, 0x00},
		"field over maximum":  {0x80, 0x80, 0x80, 0x80, 0x10, 0x00},
		"tag over 64 bits":    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"number cut off":      {0x08, 0x80},
		"length over the end": {0x0a, 0x05, 'a'},
		"length of 2^63":      {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"fixed64 cut off":     {0xf9, 0x06, 1, 2},
		"fixed32 cut off":     {0xfd, 0x06, 1},
		"group":               {0x0b, 0x0c},
		"wire type 7":         {0x0f},
		"too large":           make([]byte, MaxMessage+1),
	} {
		for _, m := range messages() {
			if _, err := m.decode(b); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s as %s: error %v, want %v", name, m.name, err, ErrMalformed)
			}
		}
	}
	for name, err := range map[string]error{
		"text that is not UTF-8":  second(DecodeManifest([]byte{0x0a, 0x01, 0xff})),
		"number for text":         second(DecodeManifest([]byte{0x08, 0x01})),
		"text for a number":       second(DecodeManifest([]byte{0x1a, 0x00})),
		"number for a message":    second(DecodeCall([]byte{0x08, 0x01})),
		"too many elements":       second(DecodeFaults(many)),
		"too many map entries":    second(DecodeServe(appendMessage(nil, 1, entries))),
		"map entry with bad text": second(DecodeServe([]byte{0x0a, 0x05, 0x0a, 0x03, 0x0a, 0x01, 0xff})),
	} {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v, want %v", name, err, ErrMalformed)
		}
	}
	if _, err := DecodeCall(deep); err != nil && !errors.Is(err, ErrMalformed) {
		t.Errorf("a deep message: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestDecodedMessagesDoNotAliasTheInput(t *testing.T) {
	b := EncodeCall(Call{Flow: sdk.Flow{ID: "flow", Saved: []byte("saved")}})
	got, err := DecodeCall(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if got.Flow.ID != "flow" || string(got.Flow.Saved) != "saved" {
		t.Errorf("after the input was cleared: %+v", got.Flow)
	}
}

func TestCodesOfTheHostSurviveTheWire(t *testing.T) {
	for _, err := range []error{
		sdk.ErrNotGranted, sdk.ErrConflict, sdk.ErrTooLarge, sdk.ErrInvalid, ErrMalformed,
		sdk.ErrDenied, sdk.ErrUnreachable, sdk.ErrExhausted,
	} {
		if got := Err(Code(fmt.Errorf("wrapped: %w", err))); got != err {
			t.Errorf("Err(Code(%v)) = %v", err, got)
		}
	}
	if got := Err(Code(errors.New("password is hunter2"))); got != ErrHost || strings.Contains(got.Error(), "hunter2") {
		t.Errorf("any other error = %v, want %v", got, ErrHost)
	}
	if got := Err(0); got != nil {
		t.Errorf("Err(0) = %v", got)
	}
}

func BenchmarkDecodeCall(b *testing.B) {
	in := EncodeCall(messages()[3].sample.(Call))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeCall(in); err != nil {
			b.Fatal(err)
		}
	}
}
