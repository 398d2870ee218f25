package providertest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

const goodScript = `{
  "settings": {"realm": "x"},
  "bad_settings": [7, {"realm": 7}],
  "fields": {"pin": {"name": "ada", "pin": "1815"}},
  "headers": {"x-user": "ada"},
  "secrets": {"key": "hunter2"},
  "private_keys": ["signing"],
  "sites": [
    {"url": "https://a.test/users", "header": {"b": "2", "a": "1"}, "body": {"id": 7}},
    {"url": "https://a.test/users", "method": "POST", "status": 201, "body": "made"},
    {"url": "https://away.test", "error": "unreachable"}
  ],
  "expect": [{"form": "pin", "fields": {"name": "eve"}, "step": "denied", "code": "INVALID_CREDENTIALS"}]
}`

func TestScriptBecomesASuite(t *testing.T) {
	s, err := providertest.ReadScript([]byte(goodScript))
	if err != nil {
		t.Fatal(err)
	}
	suite := s.Suite(func() sdk.Provider { return pin{} })
	if suite.Settings != `{"realm": "x"}` || len(suite.BadSettings) != 2 || suite.BadSettings[1] != `{"realm": 7}` {
		t.Errorf("settings %s, bad ones %q", suite.Settings, suite.BadSettings)
	}
	if suite.Fields["pin"]["pin"] != "1815" || suite.Headers["x-user"] != "ada" || len(suite.Expect) != 1 {
		t.Errorf("suite = %+v", suite)
	}
}

func TestScriptSetsTheScene(t *testing.T) {
	s, err := providertest.ReadScript([]byte(goodScript))
	if err != nil {
		t.Fatal(err)
	}
	h, ctx := providertest.New(), context.Background()
	s.Prepare(h)
	c := h.Call()
	if v, ok, err := c.Secrets().Get(ctx, "key"); v != "hunter2" || !ok || err != nil {
		t.Errorf("Get(key) = %q, %v, %v", v, ok, err)
	}
	if _, _, err := c.Secrets().Get(ctx, "signing"); !errors.Is(err, sdk.ErrDenied) {
		t.Errorf("Get(signing) = %v, want %v", err, sdk.ErrDenied)
	}
	r, err := c.HTTP().Fetch(ctx, sdk.HTTPRequest{URL: "https://a.test/users?id=7"})
	if err != nil || r.Status != 200 || string(r.Body) != `{"id":7}` || len(r.Header) != 2 || r.Header[0].Name != "a" {
		t.Errorf("GET = %+v, %v", r, err)
	}
	r, err = c.HTTP().Fetch(ctx, sdk.HTTPRequest{URL: "https://a.test/users", Method: "POST"})
	if err != nil || r.Status != 201 || string(r.Body) != "made" {
		t.Errorf("POST = %+v, %v", r, err)
	}
	if _, err := c.HTTP().Fetch(ctx, sdk.HTTPRequest{URL: "https://away.test/x"}); !errors.Is(err, sdk.ErrUnreachable) {
		t.Errorf("GET of a server that is away = %v, want %v", err, sdk.ErrUnreachable)
	}
	if _, err := c.HTTP().Fetch(ctx, sdk.HTTPRequest{URL: "https://other.test/"}); !errors.Is(err, sdk.ErrDenied) {
		t.Errorf("GET of a server that is not listed = %v, want %v", err, sdk.ErrDenied)
	}
}

func TestBadScriptsSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no end"},
		{"{", "no end"},
		{"null", "want a JSON object"},
		{"[]", "line 1"},
		{"{}{}", "line 1: something follows"},
		{"{\n\"sites\": x}", "line 2: not JSON"},
		{"{\n\n\"sites\": 7}", "line 3: sites must not be a JSON number"},
		{`{"setings": {}}`, `unknown field "setings"`},
		{`{"fields": {"a": {}, "a": {}}}`, `line 1: "a" is there twice`},
		{`{"settings": null}`, "settings: want a JSON object"},
		{`{"settings": [1]}`, "settings: want a JSON object"},
		{`{"sites": [{"url": "a.test"}]}`, "sites[0].url"},
		{`{"sites": [{"url": "file:///etc/passwd"}]}`, "sites[0].url"},
		{`{"sites": [{"url": "https://a.test", "status": 700}]}`, "sites[0].status 700"},
		{`{"sites": [{"url": "https://a.test", "error": "boom"}]}`, `sites[0].error "boom"`},
		{`{"sites": [{"url": "https://a.test", "error": "denied", "status": 200}]}`, "an error has no status"},
		{`{"expect": [{"form": "x", "step": "fine"}]}`, `expect[0]: step "fine"`},
		{`{"expect": [{"step": "done"}]}`, "expect[0]: want form"},
		{`{"expect": [{"continue": true, "step": "done"}]}`, "needs a step before it"},
		{`{"expect": [{"form": "x", "step": "done", "code": "X"}]}`, `code has no meaning for step "done"`},
		{`{"expect": [{"form": "x", "step": "denied", "subject": "X"}]}`, "subject has no meaning"},
		{`{"expect": [{"document": "m", "form": "x", "step": "document"}]}`, "document is instead of form"},
		{`{"expect": [{"form": "x", "step": "?"}, {"form": "y", "step": "!"}]}`, `expect[1]: step "!"`},
		{strings.Repeat(" ", providertest.MaxScript+1), "bytes, at most"},
	} {
		_, err := providertest.ReadScript([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("ReadScript(%.60s) = %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzReadScript(f *testing.F) {
	f.Add([]byte(goodScript))
	f.Add([]byte(`{"fields": {"a": {"b": "\ud800"}}}`))
	f.Add([]byte(`{"sites": [{"url": "http://[::1", "body": 1e999}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := providertest.ReadScript(b)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		h := providertest.New()
		s.Prepare(h)
		for _, site := range s.Sites {
			_, _ = h.Call().HTTP().Fetch(context.Background(), sdk.HTTPRequest{URL: site.URL})
		}
		for _, c := range s.Suite(func() sdk.Provider { return pin{} }).Checks() {
			if strings.HasPrefix(c.Name, "expect") {
				c.Failures()
			}
		}
	})
}
