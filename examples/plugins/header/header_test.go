package header

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

const builder = "key-of-the-builder-0001"

// script is plugin.test.json.
type script struct {
	Settings    json.RawMessage              `json:"settings"`
	BadSettings []json.RawMessage            `json:"bad_settings"`
	Secrets     map[string]string            `json:"secrets"`
	Fields      map[string]map[string]string `json:"fields"`
	Expect      []struct {
		Form    string            `json:"form"`
		Fields  map[string]string `json:"fields"`
		Step    string            `json:"step"`
		Subject string            `json:"subject"`
	} `json:"expect"`
}

func read(t *testing.T) script {
	t.Helper()
	text, err := os.ReadFile("plugin.test.json")
	if err != nil {
		t.Fatal(err)
	}
	var s script
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// world is a provider in a gateway that has its secrets.
type world struct {
	t    *testing.T
	host *providertest.Host
	p    *Provider
}

func newWorld(t *testing.T) world {
	t.Helper()
	s := read(t)
	w := world{t, providertest.New(sdk.CapabilityKV, sdk.CapabilitySecret), New()}
	for name, value := range s.Secrets {
		w.host.Secret(name, value)
	}
	if faults := w.p.Configure(s.Settings); len(faults) > 0 {
		t.Fatal(faults)
	}
	return w
}

func (w world) begin(form string, req sdk.Request) sdk.Step {
	w.t.Helper()
	step, err := w.host.Begin(w.t.Context(), w.p, sdk.Flow{ID: "f", Kind: sdk.FlowLogin, Form: form}, req)
	if err != nil {
		w.t.Fatalf("Begin(%s) = %v", form, err)
	}
	return step
}

func TestConformance(t *testing.T) {
	s := read(t)
	suite := providertest.Suite{New: func() sdk.Provider { return New() }, Settings: string(s.Settings), Fields: s.Fields}
	for _, bad := range s.BadSettings {
		suite.BadSettings = append(suite.BadSettings, string(bad))
	}
	providertest.Run(t, suite)
}

func TestTestDataIsTrue(t *testing.T) {
	w := newWorld(t)
	for _, e := range read(t).Expect {
		step := w.begin(e.Form, sdk.Request{Fields: e.Fields})
		if step.Kind() != e.Step || step.Done != nil && step.Done.Identity.Subject != e.Subject {
			t.Errorf("%v: %+v, want %s %s", e.Fields, step, e.Step, e.Subject)
		}
	}
}

func TestKeyIsTakenFromItsHeaderAlone(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		headers map[string]string
		field   string
		want    string
	}{
		{map[string]string{"X-Api-Key": builder}, "", "done"},
		{map[string]string{"x-api-key": builder}, "", "done"},
		{map[string]string{"X-Api-Key": builder}, builder, "done"},
		{map[string]string{"X-Api-Key": builder}, builder + "x", "denied"},      // two keys
		{map[string]string{"X-Api-Key": "another-key-0000"}, builder, "denied"}, // two keys
		{map[string]string{"X-Api-Key": builder, "x-api-key": builder}, "", "denied"},
		{map[string]string{"X_Api_Key": builder}, "", "denied"},
		{map[string]string{"X-Api-Keyx": builder}, "", "denied"},
		{map[string]string{"X-Api-Key": ""}, "", "denied"},
		{map[string]string{"X-Api-Key": builder + " "}, "", "denied"},
		{map[string]string{"X-Api-Key": strings.Repeat("k", 600)}, "", "denied"},
		{map[string]string{"X-Api-Key": "short"}, "", "denied"},
		{map[string]string{"": builder}, "", "denied"},
		{nil, "", "denied"},
	} {
		step := w.begin(formKey, sdk.Request{Headers: c.headers, Fields: map[string]string{fieldKey: c.field}})
		if step.Kind() != c.want {
			t.Errorf("%q and %q: %+v, want %s", c.headers, c.field, step, c.want)
		}
	}
}

// The operator wrote the address down, and vouches for it.
func TestKeyMakesKnownWhatTheSettingsSay(t *testing.T) {
	id := newWorld(t).begin(formKey, sdk.Request{Fields: map[string]string{fieldKey: builder}}).Done.Identity
	if id.Name != "The builder" || id.Email != "builder@example.com" || !id.EmailVerified || len(id.Groups) != 1 {
		t.Errorf("identity = %+v", id)
	}
}

// sign makes what a proxy sends. It is written from the documentation, not with message.
func sign(secret, user string, at time.Time, nonce string) map[string]string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "shield-proxy-1\n%s\n%d\n%s", user, at.Unix(), nonce)
	return map[string]string{
		"X-Corporate-User":      user,
		"X-Corporate-Signature": fmt.Sprintf("t=%d,n=%s,s=%s", at.Unix(), nonce, hex.EncodeToString(mac.Sum(nil))),
	}
}

const (
	secret = "a-proxy-secret-for-tests"
	nonce  = "0123456789abcdef"
)

func TestProxyNamesSomebodyOnce(t *testing.T) {
	w := newWorld(t)
	headers := sign(secret, "ann", w.host.Now(), nonce)
	if step := w.begin(formProxy, sdk.Request{Headers: headers}); step.Done == nil || step.Done.Identity.Subject != "ann" {
		t.Errorf("first = %+v, want ann", step)
	}
	if step := w.begin(formProxy, sdk.Request{Headers: headers}); step.Denied == nil {
		t.Errorf("replayed = %+v, want a denial", step)
	}
	// For as long as the assertion could be fresh, its number is remembered.
	for range 7 {
		w.host.Advance(10 * time.Second)
		if step := w.begin(formProxy, sdk.Request{Headers: headers}); step.Denied == nil {
			t.Errorf("replayed at %v = %+v, want a denial", w.host.Now(), step)
		}
	}
	if step := w.begin(formProxy, sdk.Request{Headers: sign(secret, "ann", w.host.Now(), "fedcba9876543210")}); step.Done == nil {
		t.Errorf("the next = %+v, want Done", step)
	}
}

func TestProxyIsBelievedWithinTheWindow(t *testing.T) {
	for _, c := range []struct {
		skew time.Duration
		want string
	}{{-31 * time.Second, "denied"}, {-30 * time.Second, "done"}, {30 * time.Second, "done"}, {31 * time.Second, "denied"}, {-1 << 62, "denied"}} {
		w := newWorld(t)
		step := w.begin(formProxy, sdk.Request{Headers: sign(secret, "ann", w.host.Now().Add(c.skew), nonce)})
		if step.Kind() != c.want {
			t.Errorf("%v away: %+v, want %s", c.skew, step, c.want)
		}
	}
}

func TestForgedAssertionsProveNobody(t *testing.T) {
	w := newWorld(t)
	good := sign(secret, "ann", w.host.Now(), nonce)
	at := fmt.Sprint(w.host.Now().Unix())
	digits := good["X-Corporate-Signature"][len(good["X-Corporate-Signature"])-64:]
	with := func(user, signature string) map[string]string {
		return map[string]string{"X-Corporate-User": user, "X-Corporate-Signature": signature}
	}
	for name, headers := range map[string]map[string]string{
		"another secret":    sign("another", "ann", w.host.Now(), nonce),
		"another person":    with("bob", good["X-Corporate-Signature"]),
		"no signature":      {"X-Corporate-User": "ann"},
		"no person":         {"X-Corporate-Signature": good["X-Corporate-Signature"]},
		"two spellings":     {"X-Corporate-User": "ann", "x-corporate-user": "bob", "X-Corporate-Signature": good["X-Corporate-Signature"]},
		"another time":      with("ann", "t="+at+"0,n="+nonce+",s="+digits),
		"another number":    with("ann", "t="+at+",n=0123456789abcdee,s="+digits),
		"upper case":        with("ann", "t="+at+",n=0123456789ABCDEF,s="+digits),
		"another order":     with("ann", "n="+nonce+",t="+at+",s="+digits),
		"a time with plus":  with("ann", "t=+"+at+",n="+nonce+",s="+digits),
		"a time with zero":  with("ann", "t=0"+at+",n="+nonce+",s="+digits),
		"a part more":       with("ann", good["X-Corporate-Signature"]+",x=1"),
		"a short signature": with("ann", "t="+at+",n="+nonce+",s="+digits[:62]),
		"no digits":         with("ann", "t="+at+",n="+nonce+",s="+strings.Repeat("zz", 32)),
		"lines in a name":   sign(secret, "ann\n"+at, w.host.Now(), nonce),
		"a space before":    sign(secret, " ann", w.host.Now(), nonce),
		"no UTF-8":          sign(secret, "ann\xff", w.host.Now(), nonce),
		"a long name":       sign(secret, strings.Repeat("a", 256), w.host.Now(), nonce),
		"a short number":    sign(secret, "ann", w.host.Now(), "0123456789abcde"),
		"a strange number":  sign(secret, "ann", w.host.Now(), "0123456789abcde/"),
		"nothing":           nil,
	} {
		if step := w.begin(formProxy, sdk.Request{Headers: headers}); step.Denied == nil {
			t.Errorf("%s: %+v, want a denial", name, step)
		}
	}
	if step := w.begin(formProxy, sdk.Request{Headers: good}); step.Done == nil {
		t.Errorf("the good one = %+v, want Done", step)
	}
}

func TestProxyIsOffUnlessConfigured(t *testing.T) {
	w := newWorld(t)
	if faults := w.p.Configure([]byte(`{"keys": [{"subject": "a", "sha256": "` + strings.Repeat("0", 64) + `"}]}`)); len(faults) > 0 {
		t.Fatal(faults)
	}
	if step := w.begin(formProxy, sdk.Request{Headers: sign(secret, "ann", w.host.Now(), nonce)}); step.Denied == nil {
		t.Errorf("%+v, want a denial", step)
	}
}

func TestTwoWithOneAssertionAtATimeAreOne(t *testing.T) {
	w := newWorld(t)
	first, second := w.host.Call(), w.host.Call()
	req := sdk.Request{Headers: sign(secret, "ann", w.host.Now(), nonce), Now: w.host.Now()}
	for _, c := range []*providertest.Call{first, second} {
		step, err := w.p.Begin(t.Context(), c, sdk.Flow{Kind: sdk.FlowLogin, Form: formProxy}, req)
		if err != nil || step.Done == nil {
			t.Fatalf("%+v, %v, want Done", step, err)
		}
	}
	if err := errors.Join(first.Commit(), second.Commit()); !errors.Is(err, sdk.ErrConflict) {
		t.Errorf("both commit: %v, want a conflict", err)
	}
}

func TestMissingSecretsLetNobodyIn(t *testing.T) {
	w := newWorld(t)
	bare := providertest.New(sdk.CapabilityKV, sdk.CapabilitySecret)
	for form, req := range map[string]sdk.Request{
		formKey:   {Fields: map[string]string{fieldKey: builder}},
		formProxy: {Headers: sign("", "ann", bare.Now(), nonce)},
	} {
		step, err := bare.Begin(t.Context(), w.p, sdk.Flow{Kind: sdk.FlowLogin, Form: form}, req)
		if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeUnavailable {
			t.Errorf("%s: %+v, %v, want %s", form, step, err, sdk.CodeUnavailable)
		}
	}
}

func FuzzAssertion(f *testing.F) {
	f.Add("t=1767355200,n=0123456789abcdef,s=" + strings.Repeat("ab", 32))
	f.Add("t=-1,n=0123456789abcdef,s=" + strings.Repeat("AB", 32))
	f.Add(",,")
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := parseAssertion(s)
		if !ok {
			return
		}
		again := fmt.Sprintf("t=%d,n=%s,s=%s", a.at, a.nonce, hex.EncodeToString(a.mac))
		if again != s[:len(s)-64]+strings.ToLower(s[len(s)-64:]) {
			t.Errorf("%q is read as %q", s, again)
		}
	})
}
