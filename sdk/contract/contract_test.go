package contract

import (
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
)

func manifest(change func(*sdk.Manifest)) sdk.Manifest {
	m := sdk.Manifest{
		ID: "email", Version: "1.0.0", ABI: sdk.ABI, Kind: "email",
		Forms: []sdk.Form{{Flow: sdk.FlowLogin, Name: "password", Label: "Log in", Fields: []sdk.Field{
			{Name: "email", Label: "E-mail", Type: "email", Required: true},
		}}},
		Capabilities: []sdk.Capability{sdk.CapabilityKV}, ConfigSchema: []byte(`{"type":"object"}`),
	}
	if change != nil {
		change(&m)
	}
	return m
}

func TestManifest(t *testing.T) {
	if err := Manifest(manifest(nil)); err != nil {
		t.Errorf("a good manifest: %v", err)
	}
	if err := Manifest(manifest(func(m *sdk.Manifest) { m.ABI = sdk.OldestABI })); err != nil {
		t.Errorf("a good manifest of the version before: %v", err)
	}
	for name, change := range map[string]func(*sdk.Manifest){
		"older contract":       func(m *sdk.Manifest) { m.ABI = 0 },
		"newer contract":       func(m *sdk.Manifest) { m.ABI = sdk.ABI + 1 },
		"later capability":     func(m *sdk.Manifest) { m.ABI, m.Capabilities = 1, []sdk.Capability{sdk.CapabilityHTTP} },
		"no id":                func(m *sdk.Manifest) { m.ID = "" },
		"id with a path":       func(m *sdk.Manifest) { m.ID = "../email" },
		"id with a line break": func(m *sdk.Manifest) { m.ID = "a\nb" },
		"no version":           func(m *sdk.Manifest) { m.Version = "" },
		"no kind":              func(m *sdk.Manifest) { m.Kind = "" },
		"unknown capability":   func(m *sdk.Manifest) { m.Capabilities = []sdk.Capability{"exec"} },
		"capability twice":     func(m *sdk.Manifest) { m.Capabilities = []sdk.Capability{"kv", "kv"} },
		"schema is no JSON":    func(m *sdk.Manifest) { m.ConfigSchema = []byte("{") },
		"unknown flow":         func(m *sdk.Manifest) { m.Forms[0].Flow = "sudo" },
		"form without a name":  func(m *sdk.Manifest) { m.Forms[0].Name = "" },
		"form twice":           func(m *sdk.Manifest) { m.Forms = append(m.Forms, m.Forms[0]) },
		"label with markup end": func(m *sdk.Manifest) {
			m.Forms[0].Label = "a\u202eb"
		},
		"field of unknown type": func(m *sdk.Manifest) { m.Forms[0].Fields[0].Type = "file" },
		"field twice":           func(m *sdk.Manifest) { m.Forms[0].Fields = append(m.Forms[0].Fields, m.Forms[0].Fields[0]) },
		"too many forms":        func(m *sdk.Manifest) { m.Forms = make([]sdk.Form, maxForms+1) },
	} {
		if Manifest(manifest(change)) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFlowsThatRecoverNeverEndInALogin(t *testing.T) {
	done := sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: "s"}}}
	changed := sdk.Step{Changed: &sdk.Changed{Subject: "s"}}
	for kind, want := range map[sdk.FlowKind]struct{ done, changed bool }{
		sdk.FlowLogin:    {done: true},
		sdk.FlowRegister: {done: true},
		sdk.FlowVerify:   {done: true},
		sdk.FlowLink:     {done: true},
		sdk.FlowLogout:   {done: true},
		sdk.FlowForget:   {changed: true},
		sdk.FlowRecover:  {changed: true},
		sdk.FlowChange:   {changed: true},
		"":               {},
		"nonsense":       {},
	} {
		if got := Step(kind, done) == nil; got != want.done {
			t.Errorf("flow %q may end in done: %v, want %v", kind, got, want.done)
		}
		if got := Step(kind, changed) == nil; got != want.changed {
			t.Errorf("flow %q may end in changed: %v, want %v", kind, got, want.changed)
		}
	}
}

func TestStepIsRefused(t *testing.T) {
	id := func(change func(*sdk.Identity)) sdk.Step {
		i := sdk.Identity{Subject: "s", Email: "a@example.test"}
		change(&i)
		return sdk.Step{Done: &sdk.Done{Identity: i}}
	}
	mail := func(m sdk.Mail) sdk.Step { return sdk.Step{Mail: &m} }
	long := strings.Repeat("x", 1<<20)
	for name, s := range map[string]sdk.Step{
		"nothing":               {},
		"two things":            {Done: &sdk.Done{Identity: sdk.Identity{Subject: "s"}}, Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}},
		"too much to save":      {Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}, Save: make([]byte, sdk.MaxSave+1)},
		"redirect to script":    {Redirect: &sdk.Redirect{URL: "javascript:alert(1)"}},
		"redirect to data":      {Redirect: &sdk.Redirect{URL: "data:text/html,x"}},
		"relative redirect":     {Redirect: &sdk.Redirect{URL: "//evil.test/x"}},
		"redirect with a user":  {Redirect: &sdk.Redirect{URL: "https://a@evil.test/"}},
		"redirect with a break": {Redirect: &sdk.Redirect{URL: "https://a.test/\r\nSet-Cookie: x"}},
		"redirect by backslash": {Redirect: &sdk.Redirect{URL: `https://a.test\@evil.test/`}},
		"endless redirect":      {Redirect: &sdk.Redirect{URL: "https://a.test/" + long}},
		"post to script":        {Post: &sdk.Post{URL: "javascript:alert(1)"}},
		"post with odd field":   {Post: &sdk.Post{URL: "https://a.test/", Fields: map[string]string{`"><script>`: ""}}},
		"empty prompt":          {Prompt: &sdk.Prompt{}},
		"prompt with odd field": {Prompt: &sdk.Prompt{Fields: []sdk.Field{{Name: "<b>", Type: "text"}}}},
		"unknown template":      mail(sdk.Mail{Template: "offer", To: "a@example.test"}),
		"mail to nobody":        mail(sdk.Mail{Template: "verify"}),
		"mail to two":           mail(sdk.Mail{Template: "verify", To: "a@example.test,b@example.test"}),
		"mail with a header":    mail(sdk.Mail{Template: "verify", To: "a@example.test\r\nBcc: b@example.test"}),
		"mail in a list":        mail(sdk.Mail{Template: "verify", To: "x <a@example.test>"}),
		"mail variable":         mail(sdk.Mail{Template: "verify", To: "a@example.test", Vars: map[string]string{"name": "a\nb"}}),
		"mail about nobody":     mail(sdk.Mail{Template: "verify", To: "a@example.test", Identity: &sdk.Identity{}}),
		"unknown code":          {Denied: &sdk.Denied{Code: "NO"}},
		"denied as internal":    {Denied: &sdk.Denied{Code: sdk.CodeInternal}},
		"denied with markup":    {Denied: &sdk.Denied{Code: sdk.CodeValidation, Fields: []sdk.FieldError{{Field: "<b>", Code: "X"}}}},
		"no subject":            id(func(i *sdk.Identity) { i.Subject = "" }),
		"endless subject":       id(func(i *sdk.Identity) { i.Subject = long }),
		"subject with a break":  id(func(i *sdk.Identity) { i.Subject = "a\nb" }),
		"no address verified":   id(func(i *sdk.Identity) { i.Email, i.EmailVerified = "", true }),
		"address of two":        id(func(i *sdk.Identity) { i.Email = "a@b@c" }),
		"name with NUL":         id(func(i *sdk.Identity) { i.Name = "a\x00" }),
		"name not UTF-8":        id(func(i *sdk.Identity) { i.Name = "\xff" }),
		"avatar over http":      id(func(i *sdk.Identity) { i.AvatarURL = "http://a.test/x" }),
		"reserved attribute":    id(func(i *sdk.Identity) { i.Attributes = map[string]string{"roles": "owner"} }),
		"reserved in capitals":  id(func(i *sdk.Identity) { i.Attributes = map[string]string{"Workspace_IDs": "x"} }),
		"endless attribute":     id(func(i *sdk.Identity) { i.Attributes = map[string]string{"a": long} }),
		"endless session":       id(func(i *sdk.Identity) { i.Session = long }),
		"session with a break":  id(func(i *sdk.Identity) { i.Session = "a\nb" }),
		"endless tokens":        id(func(i *sdk.Identity) { i.Tokens = make([]byte, sdk.MaxTokens+1) }),
		"party with markup":     {Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}, Party: "<b>"},
		"endless party":         {Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}, Party: long},
		"endless groups":        id(func(i *sdk.Identity) { i.Groups = make([]string, maxGroups+1) }),
	} {
		if Step(sdk.FlowLogin, s) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, l := range map[string]sdk.Logout{
		"to script":             {URL: "javascript:alert(1)"},
		"fields for nobody":     {Fields: map[string]string{"a": "b"}},
		"with odd field":        {URL: "https://a.test/", Fields: map[string]string{"<b>": ""}},
		"of subject with break": {Subject: "a\nb"},
		"of endless issuer":     {Issuer: long},
		"of endless session":    {Subject: "s", Sessions: []string{long}},
		"of endless sessions":   {Subject: "s", Sessions: make([]string, maxFields+1)},
	} {
		if Step(sdk.FlowLogout, sdk.Step{Logout: &l}) == nil {
			t.Errorf("logout %s: no error", name)
		}
	}
	if err := Step(sdk.FlowLogout, sdk.Step{Logout: &sdk.Logout{Issuer: "i", Subject: "s", URL: "https://a.test/"}}); err != nil {
		t.Errorf("a good logout: %v", err)
	}
	if Step(sdk.FlowLogin, sdk.Step{Logout: &sdk.Logout{}}) == nil {
		t.Error("logout in a login: no error")
	}
	if err := Step(sdk.FlowRecover, sdk.Step{Changed: &sdk.Changed{}}); err == nil {
		t.Error("changed without a subject: no error")
	}
}

func TestErrorsTextsNeverHoldWhatTheProviderSentWhole(t *testing.T) {
	secret := strings.Repeat("s", maxName) + "tail"
	err := Step(sdk.FlowLogin, sdk.Step{Denied: &sdk.Denied{Code: secret}})
	if err == nil || strings.Contains(err.Error(), "tail") {
		t.Errorf("error = %v, want the code cut", err)
	}
}

func TestError(t *testing.T) {
	if err := Error(sdk.Error{Code: sdk.CodeProviderError, Public: "It is away.", Private: "dial\nrefused"}); err != nil {
		t.Errorf("a good error: %v", err)
	}
	for name, e := range map[string]sdk.Error{
		"unknown code":     {Code: "X"},
		"no code":          {},
		"public of lines":  {Code: sdk.CodeProviderError, Public: "a\nb"},
		"endless public":   {Code: sdk.CodeProviderError, Public: strings.Repeat("x", maxText+1)},
		"endless private":  {Code: sdk.CodeProviderError, Private: strings.Repeat("x", maxPrivate+1)},
		"private no UTF-8": {Code: sdk.CodeProviderError, Private: "\xff"},
	} {
		if Error(e) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestResponse(t *testing.T) {
	if err := Response(sdk.Response{Status: 200, ContentType: "text/xml"}); err != nil {
		t.Errorf("a good document: %v", err)
	}
	for _, r := range []sdk.Response{{}, {Status: 101}, {Status: 1000}, {Status: 200, ContentType: "a\r\nb: c"}} {
		if Response(r) == nil {
			t.Errorf("%+v: no error", r)
		}
	}
}
