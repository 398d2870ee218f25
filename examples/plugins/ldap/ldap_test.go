package ldap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

// searching is how a directory is asked with an account of the provider's.
func searching(s server, more map[string]any) string {
	settings := map[string]any{
		"url": s.secure, "ca_file": s.ca, "bind_dn": "cn=shield,dc=example,dc=com", "base_dn": "dc=example,dc=com",
	}
	return with(settings, more)
}

// naming is how the entry's name is made of the login.
func naming(s server) string {
	return with(map[string]any{"url": s.secure, "ca_file": s.ca, "user_dn": "uid={login},ou=people,dc=example,dc=com"}, nil)
}

func with(settings, more map[string]any) string {
	for k, v := range more {
		settings[k] = v
		if v == nil {
			delete(settings, k)
		}
	}
	b, err := json.Marshal(settings)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// world is a provider in a gateway that has its password.
type world struct {
	t    *testing.T
	host *providertest.Host
	p    sdk.Provider
}

func newWorld(t *testing.T, settings string) world {
	t.Helper()
	return worldOf(t, New(), settings)
}

func worldOf(t *testing.T, p sdk.Provider, settings string) world {
	t.Helper()
	w := world{t, providertest.New(sdk.CapabilitySecret), p}
	w.host.Secret("bind_password", "service-password")
	if faults := w.p.Configure([]byte(settings)); len(faults) > 0 {
		t.Fatalf("Configure(%s) = %v", settings, faults)
	}
	return w
}

var flow = sdk.Flow{ID: "f", Kind: sdk.FlowLogin, Form: formPassword}

func (w world) login(login, password string) (sdk.Step, error) {
	return w.host.Begin(w.t.Context(), w.p, flow, sdk.Request{Fields: map[string]string{"login": login, "password": password}})
}

func (w world) denies(login, password, code string) {
	w.t.Helper()
	step, err := w.login(login, password)
	if err != nil || step.Denied == nil || step.Denied.Code != code {
		w.t.Errorf("login %q, %q = %+v, %v, want %s", login, password, step, err, code)
	}
}

func (w world) lets(login, password string) sdk.Identity {
	w.t.Helper()
	step, err := w.login(login, password)
	if err != nil || step.Done == nil {
		w.t.Fatalf("login %q = %+v, %v, want Done", login, step, err)
	}
	return step.Done.Identity
}

// unavailable demands an error that is nobody's fault who logs in, and that says nothing of
// what was typed.
func (w world) unavailable(login, password string) {
	w.t.Helper()
	step, err := w.login(login, password)
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok || e.Code != sdk.CodeUnavailable || step.Done != nil {
		w.t.Errorf("login %q = %+v, %v, want %s", login, step, err, sdk.CodeUnavailable)
	}
	for _, secret := range []string{"correct horse", "service-password", "ann@"} {
		if strings.Contains(err.Error(), secret) {
			w.t.Errorf("the error tells %q: %v", secret, err)
		}
	}
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// By naming, the host is not asked at all, so the suite's broken host breaks nothing there.
func TestConformance(t *testing.T) {
	data := testData(t)
	suite := providertest.Suite{
		New: func() sdk.Provider { return New() }, Settings: searching(start(t), nil),
		Fields: map[string]map[string]string{formPassword: {"login": "ann", "password": "correct horse"}},
	}
	for _, bad := range data.BadSettings {
		suite.BadSettings = append(suite.BadSettings, string(bad))
	}
	providertest.Run(t, suite)
}

type data struct {
	Settings    json.RawMessage   `json:"settings"`
	BadSettings []json.RawMessage `json:"bad_settings"`
}

// testData is plugin.test.json.
func testData(t *testing.T) data {
	t.Helper()
	text, err := os.ReadFile("plugin.test.json")
	if err != nil {
		t.Fatal(err)
	}
	var d data
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The test data names a directory that is not there, which is all that a test without one
// can hold a provider to.
func TestTestDataIsTrue(t *testing.T) {
	newWorld(t, string(testData(t).Settings)).unavailable("ann", "correct horse")
}

func TestPeopleLogInEitherWay(t *testing.T) {
	s := start(t)
	var subjects []string
	for name, settings := range map[string]string{
		"searching":  searching(s, nil),
		"naming":     naming(s),
		"start tls":  searching(s, map[string]any{"url": s.plain, "start_tls": true}),
		"loopback":   searching(s, map[string]any{"url": s.plain, "ca_file": nil}),
		"groups":     searching(s, map[string]any{"groups_attribute": "employeeType", "email_verified": true}),
		"own filter": searching(s, map[string]any{"filter": "(&(objectClass=inetOrgPerson)(|(uid={login})(mail={login})))"}),
	} {
		w := newWorld(t, settings)
		id := w.lets("ann", "correct horse")
		if !uuid.MatchString(id.Subject) || id.Name != "Ann Example" || id.Email != "ann@example.com" || id.EmailVerified != (name == "groups") {
			t.Errorf("%s: identity = %+v", name, id)
		}
		if name == "groups" && !slices.Equal(id.Groups, []string{"staff", "admins"}) || name != "groups" && id.Groups != nil {
			t.Errorf("%s: groups = %v", name, id.Groups)
		}
		subjects = append(subjects, id.Subject)
		if bob := w.lets("bob", "bob-password"); bob.Subject == id.Subject || bob.Email != "" || bob.EmailVerified {
			t.Errorf("%s: bob = %+v", name, bob)
		}
		w.denies("ann", "bob-password", sdk.CodeInvalidCredentials)
		w.denies("eve", "correct horse", sdk.CodeInvalidCredentials)
	}
	if len(slices.Compact(subjects)) != 1 {
		t.Errorf("ann has the subjects %v", subjects)
	}
}

// A bind with a name and no password succeeds at every directory that does not forbid it:
// RFC 4513 §5.1.2.
func TestEmptyPasswordsReachNoDirectory(t *testing.T) {
	s := start(t)
	for _, settings := range []string{searching(s, nil), naming(s)} {
		w := newWorld(t, settings)
		for _, login := range []string{"ann", "open", ""} {
			w.denies(login, "", sdk.CodeMissingField)
		}
		w.denies("", "correct horse", sdk.CodeMissingField)
		w.denies("open", "anything", sdk.CodeInvalidCredentials)
		w.denies("ann", "\x00", sdk.CodeInvalidCredentials)
		w.denies("ann", "correct horse\x00", sdk.CodeInvalidCredentials)
		w.denies("ann", strings.Repeat("x", 2000), sdk.CodeInvalidCredentials)
		w.denies(strings.Repeat("a", 300), "correct horse", sdk.CodeInvalidCredentials)
		w.denies("ann\xff", "correct horse", sdk.CodeInvalidCredentials)
	}
}

func TestWhatIsTypedStaysAValue(t *testing.T) {
	s := start(t)
	for _, settings := range []string{searching(s, nil), naming(s)} {
		w := newWorld(t, settings)
		for _, login := range []string{
			"*", "a*", "an?", "ann)(uid=*", "*)(|(uid=*", "ann)(objectClass=*", "ann,ou=people", "ann,ou=people,dc=example,dc=com",
			"ann+cn=Ann Example", `ann\`, `\61nn`, "(ann)", "ann\x01", "ann;x", "#616e6e", "cn=shield,dc=example,dc=com", "{login}", "dn:ann",
			"ou=elsewhere",
		} {
			w.denies(login, "correct horse", sdk.CodeInvalidCredentials)
		}
		if id := w.lets(`o,u=x+"\ (*)`, "odd-password"); id.Name != "Odd" {
			t.Errorf("the odd one is %+v", id)
		}
	}
}

// Of a name that is not one person's, nobody is let in: not the first one that is found.
func TestAmbiguousNamesAreNobody(t *testing.T) {
	s := start(t)
	w := newWorld(t, searching(s, nil))
	w.denies("twin", "twin-password", sdk.CodeInvalidCredentials)
	newWorld(t, searching(s, map[string]any{"base_dn": "ou=people,dc=example,dc=com"})).lets("twin", "twin-password")
	newWorld(t, searching(s, map[string]any{"base_dn": "ou=others,dc=example,dc=com"})).denies("twin", "twin-password", sdk.CodeInvalidCredentials)
}

// The referral names a server that nobody listens at: following it would be an error.
func TestReferralsAreNotFollowed(t *testing.T) {
	s := start(t)
	w := newWorld(t, searching(s, map[string]any{"filter": "(|(uid={login})(ou=elsewhere))"}))
	if id := w.lets("ann", "correct horse"); id.Name != "Ann Example" {
		t.Errorf("identity = %+v", id)
	}
	w = newWorld(t, searching(s, map[string]any{"base_dn": "ou=elsewhere,ou=people,dc=example,dc=com"}))
	w.unavailable("ann", "correct horse")
}

func TestTroubleIsNoAnswer(t *testing.T) {
	s := start(t)
	newWorld(t, searching(s, map[string]any{"ca_file": nil})).unavailable("ann", "correct horse") // an authority that nobody knows
	newWorld(t, searching(s, map[string]any{"url": s.plain, "start_tls": true, "ca_file": nil})).unavailable("ann", "correct horse")
	newWorld(t, searching(s, map[string]any{"url": strings.Replace(s.secure, "127.0.0.1", "localhost", 1)})).unavailable("ann", "correct horse") // another name
	newWorld(t, searching(s, map[string]any{"url": "ldaps://127.0.0.1:1"})).unavailable("ann", "correct horse")
	newWorld(t, searching(s, map[string]any{"url": "ldap" + strings.TrimPrefix(s.secure, "ldaps"), "ca_file": nil})).unavailable("ann", "correct horse")
	newWorld(t, searching(s, map[string]any{"subject_attribute": "telexNumber"})).unavailable("ann", "correct horse")
	newWorld(t, searching(s, map[string]any{"base_dn": "ou=nowhere,dc=example,dc=com"})).unavailable("ann", "correct horse")
	w := newWorld(t, searching(s, nil))
	for _, own := range []string{"another", ""} {
		w.host.Secret("bind_password", own)
		w.unavailable("ann", "correct horse")
	}
	w.host = providertest.New(sdk.CapabilitySecret) // no secret at all
	w.unavailable("ann", "correct horse")
}

// A directory that takes the connection and says nothing holds a login no longer than its
// call may last.
func TestSilentDirectoryEndsWithTheCall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan net.Conn, 8)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			taken <- conn
		}
	})
	defer accepting.Wait()
	defer l.Close()
	for _, scheme := range []string{"ldap", "ldaps"} {
		w := newWorld(t, searching(server{secure: scheme + "://" + l.Addr().String()}, map[string]any{"ca_file": nil}))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		from := time.Now()
		_, err := w.host.Begin(ctx, w.p, flow, sdk.Request{Fields: map[string]string{"login": "ann", "password": "p"}})
		cancel()
		if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeUnavailable {
			t.Errorf("%s: %v, want %s", scheme, err, sdk.CodeUnavailable)
		}
		if d := time.Since(from); d > 5*time.Second {
			t.Errorf("%s: it took %v", scheme, d)
		}
		(<-taken).Close()
	}
}

// One instance serves many people at a time, and mixes none of them up.
func TestManyAtATimeAreThemselves(t *testing.T) {
	w := newWorld(t, searching(start(t), nil))
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			login, password, name := "ann", "correct horse", "Ann Example"
			if i%2 == 1 {
				login, password, name = "bob", "bob-password", "Bob"
			}
			step, err := w.login(login, password)
			if err != nil || step.Done == nil || step.Done.Identity.Name != name {
				t.Errorf("%s = %+v, %v", login, step, err)
			}
		})
	}
	wg.Wait()
}

func TestSettingsAreChecked(t *testing.T) {
	good := server{secure: "ldaps://ldap.example.com"}
	for path, more := range map[string]map[string]any{
		"":                  {"bind_password": "in plain"},
		"url":               {"url": "https://ldap.example.com"},
		"start_tls":         {"url": "ldap://ldap.example.com"},
		"ca_file":           {"ca_file": "/nonexistent"},
		"bind_dn":           {"bind_dn": "shield"},
		"base_dn":           {"base_dn": ""},
		"filter":            {"filter": "(uid=ann)"},
		"user_dn":           {"user_dn": "uid={login}"},
		"subject_attribute": {"subject_attribute": "*"},
		"email_attribute":   {"email_attribute": "mail)"},
	} {
		settings := searching(good, map[string]any{"ca_file": nil})
		var m map[string]any
		if err := json.Unmarshal([]byte(settings), &m); err != nil {
			t.Fatal(err)
		}
		faults := New().Configure([]byte(with(m, more)))
		if len(faults) != 1 || faults[0].Path != path {
			t.Errorf("%v: faults %v, want one of %q", more, faults, path)
		}
	}
	for _, url := range []string{
		"", "ldap.example.com", "ldaps://", "ldaps://u:p@h", "ldaps://h/dc=x", "ldaps://h?x", "ldapi:///x", "ldap://127.0.0.1.example.com", "ldap://localhost", "ldap://0.0.0.0",
	} {
		if faults := New().Configure([]byte(searching(good, map[string]any{"ca_file": nil, "url": url}))); len(faults) == 0 {
			t.Errorf("url %q is taken", url)
		}
	}
	for _, url := range []string{"ldap://127.0.0.1", "ldap://[::1]:1389", "ldaps://[::1]", "ldaps://h:1636/"} {
		if faults := New().Configure([]byte(searching(good, map[string]any{"ca_file": nil, "url": url}))); len(faults) > 0 {
			t.Errorf("url %q: %v", url, faults)
		}
	}
	if faults := New().Configure([]byte(searching(good, map[string]any{"ca_file": nil, "filter": "((uid={login})"}))); len(faults) != 1 {
		t.Errorf("a filter that is none: %v", faults)
	}
}

// FuzzLoginStaysAValue shows that no login changes what a filter or a name asks for. The
// directory's own parser of names is asked, and for filters the library's.
func FuzzLoginStaysAValue(f *testing.F) {
	for _, s := range []string{"ann", "*", "a)(b", `\2a`, " x ", "#x", "a,b=c", "a+b", "\"<>;", "ä", "\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, login string) {
		if login == "" || !sendable(login, maxLogin) {
			return
		}
		compiled, err := ldap.CompileFilter("(uid=" + ldap.EscapeFilter(login) + ")")
		if err != nil {
			t.Fatalf("filter of %q: %v", login, err)
		}
		if compiled.Tag != ldap.FilterEqualityMatch || fmt.Sprint(compiled.Children[1].Value) != login {
			t.Errorf("filter of %q asks for %v", login, compiled.Children[1].Value)
		}
		name, err := ldap.ParseDN("uid=" + ldap.EscapeDN(login) + ",dc=x")
		if err != nil {
			t.Fatalf("name of %q: %v", login, err)
		}
		if len(name.RDNs) != 2 || len(name.RDNs[0].Attributes) != 1 || name.RDNs[0].Attributes[0].Value != login {
			t.Errorf("name of %q is %v", login, name)
		}
	})
}
