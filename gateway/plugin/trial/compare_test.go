package trial

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/materi/shield/gateway/plugin/sandbox"
	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

func transcript(list ...Exchange) *Transcript {
	t := &Transcript{}
	for _, e := range list {
		t.Add(e)
	}
	return t
}

// began is a call of the form "f" with an answer.
func began(step sdk.Step, asked ...Asked) Exchange {
	return Exchange{
		Method: wire.Begin, In: wire.EncodeCall(wire.Call{Flow: sdk.Flow{ID: "i", Kind: sdk.FlowLogin, Form: "f"}}),
		Asked: asked, Out: wire.EncodeReply(wire.Reply{FlowID: "i", Step: &step}),
	}
}

func failed(e sdk.Error) Exchange {
	x := began(sdk.Step{})
	x.Out = wire.EncodeReply(wire.Reply{FlowID: "i", Error: &e})
	return x
}

func TestCompareFindsWhatDiffers(t *testing.T) {
	done := func(subject string) sdk.Step {
		return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: subject}}}
	}
	denied := sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}}
	get := func(key string) Asked {
		return Asked{Function: wire.KVGet, Request: wire.EncodeKey(key), Reply: wire.EncodeEntry(sdk.Entry{}, false)}
	}
	trap := began(sdk.Step{})
	trap.Out, trap.Err = nil, errors.Join(sandbox.ErrTrap, errors.New("at 0x1"))
	elsewhere := trap
	elsewhere.Err = errors.Join(sandbox.ErrTrap, errors.New("at 0x2"))
	for _, c := range []struct {
		name         string
		ours, theirs Exchange
		want         string // empty: nothing
	}{
		{"the same", began(done("a"), get("k")), began(done("a"), get("k")), ""},
		{"another subject", began(done("a")), began(done("b")), `"subject\": \"b\"`},
		{"another kind", began(done("a")), began(denied), "one answers done, the other denied"},
		{"another request", began(done("a"), get("k")), began(done("a"), get("l")), `the other kv.get "l"`},
		{"a request less", began(done("a"), get("k")), began(done("a")), "one asks the host for kv.get, the other"},
		{"another error", failed(sdk.Error{Code: "X"}), failed(sdk.Error{Code: "Y"}), "one answers error X, the other error Y"},
		{"other words for the log", failed(sdk.Error{Code: "X", Private: "p"}), failed(sdk.Error{Code: "X", Private: "q"}), ""},
		{"a trap", trap, began(done("a")), "one answers plugin trapped, the other done"},
		{"a trap elsewhere", trap, elsewhere, ""},
	} {
		reference := transcript(c.ours)
		got := strings.Join(Compare(reference, reference, transcript(c.theirs)), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: Compare() = %q, want %q", c.name, got, c.want)
		}
	}
	short := Compare(transcript(trap, trap), transcript(trap, trap), transcript(trap))
	if len(short) != 1 || !strings.Contains(short[0], "one took 2 calls, the other 1") {
		t.Errorf("Compare() of rows of different length = %q", short)
	}
}

func TestWhatThePluginDrawsIsNotCompared(t *testing.T) {
	ctx := context.Background()
	row := func(way Way) *Transcript {
		t.Helper()
		made := &Transcript{}
		p := open(t, Options{File: everythingFile(t), Way: way, Watch: made.Add}).Provider()
		p.Configure([]byte("{}"))
		for _, what := range []string{"random", "count"} {
			h := scene()
			if _, err := h.Begin(ctx, p, login, act(h, what)); err != nil {
				t.Fatal(err)
			}
		}
		return made
	}
	a, again, b := row(Compiler), row(Compiler), row(Interpreter)
	if d := Compare(a, a, b); len(d) != 1 || !strings.Contains(d[0], "state=") {
		t.Errorf("Compare() without a second run = %q, want the one answer that is drawn", d)
	}
	if d := Compare(a, again, b); len(d) != 0 {
		t.Errorf("Compare() = %q, want nothing", d)
	}
}

func TestTooManyDifferencesAreCut(t *testing.T) {
	a, b := &Transcript{}, &Transcript{}
	for range 50 {
		a.Add(failed(sdk.Error{Code: "X"}))
		b.Add(failed(sdk.Error{Code: "Y"}))
	}
	if d := Compare(a, a, b); len(d) != maxDifferences+1 || d[maxDifferences] != "and more" {
		t.Errorf("Compare() = %d lines: %q", len(d), d)
	}
}

func TestAnswersAsJSON(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"redirect", StepJSON(sdk.Step{Redirect: &sdk.Redirect{URL: "https://a.test/?a=1&b=2"}, Save: []byte("s")}),
			`{"step":"redirect","url":"https://a.test/?a=1&b=2","save":"cw=="}`},
		{"post", StepJSON(sdk.Step{Post: &sdk.Post{URL: "https://a.test", Fields: map[string]string{"b": "2", "a": "1"}}}),
			`{"step":"post","url":"https://a.test","fields":{"a":"1","b":"2"}}`},
		{"prompt", StepJSON(sdk.Step{Prompt: &sdk.Prompt{Fields: []sdk.Field{{Name: "n", Type: "text", Required: true}}}}),
			`{"step":"prompt","fields":[{"name":"n","type":"text","required":true}]}`},
		{"mail", StepJSON(sdk.Step{Mail: &sdk.Mail{Template: "verify", To: "a@example.test", Identity: &sdk.Identity{Subject: "s"}}}),
			`{"step":"mail","template":"verify","to":"a@example.test","identity":{"subject":"s"}}`},
		{"changed", StepJSON(sdk.Step{Changed: &sdk.Changed{Subject: "s"}}), `{"step":"changed","subject":"s"}`},
		{"denied", StepJSON(sdk.Step{Denied: &sdk.Denied{Code: "X", Fields: []sdk.FieldError{{Field: "f", Code: "c"}}}}),
			`{"step":"denied","code":"X","fields":[{"field":"f","code":"c"}]}`},
		{"nothing", StepJSON(sdk.Step{}), `{"step":""}`},
		{"error", ErrorJSON(sdk.Error{Code: "X", Public: "<p>", Private: "q"}), `{"step":"error","code":"X","public":"<p>","private":"q"}`},
		{"document", DocumentJSON(sdk.Response{Status: 200, ContentType: "t", Body: []byte("b")}), `{"step":"document","status":200,"content_type":"t","body":"b"}`},
		{"bytes", DocumentJSON(sdk.Response{Status: 200, Body: []byte{0xff}}), `{"step":"document","status":200,"bytes":"/w=="}`},
	} {
		flat := strings.NewReplacer("\n", "", "  ", "", `": `, `":`).Replace(string(c.got))
		if flat != c.want {
			t.Errorf("%s: %s, want %s", c.name, flat, c.want)
		}
	}
}
