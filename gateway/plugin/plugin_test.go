package plugin

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/materi/shield/config"
	"github.com/materi/shield/sdk"
)

func TestBeginAndContinueReachTheProvider(t *testing.T) {
	b := loaded(t, configured("one"))
	got, _, err := b.begin("one", "echo", "somebody")
	if err != nil || got != "somebody" {
		t.Errorf("Begin() = %q, %v", got, err)
	}
	flow := login
	flow.Saved = []byte("what was saved")
	a, err := b.Continue(context.Background(), "one", flow, sdk.Request{})
	if err != nil || a.Step.Done == nil || a.Step.Done.Identity.Subject != "what was saved" {
		t.Errorf("Continue() = %+v, %v", a, err)
	}
	if string(a.Step.Save) != "saved" {
		t.Errorf("Save = %q", a.Step.Save)
	}
}

func TestProvidersAreListedInConfiguredOrder(t *testing.T) {
	b := loaded(t, configured("zeta"), configured("alpha"), configured("mid"))
	var names []string
	for _, p := range b.Providers() {
		names = append(names, p.Name)
		if p.Manifest.ID != "guest" || p.Label != "Label of "+p.Name {
			t.Errorf("Providers() holds %+v", p)
		}
	}
	if diff := cmp.Diff([]string{"zeta", "alpha", "mid"}, names); diff != "" {
		t.Errorf("Providers() (-want +got):\n%s", diff)
	}
}

func TestUnknownProvider(t *testing.T) {
	b := loaded(t)
	if _, _, err := b.begin("nobody", "echo", ""); !errors.Is(err, ErrUnknown) {
		t.Errorf("Begin() = %v, want %v", err, ErrUnknown)
	}
}

func TestProviderIsAFaultUntilItIsLoadedAndAfterStop(t *testing.T) {
	b := newBed(t, io.Discard, configured("one"))
	if err := b.Ready()["one"]; !errors.Is(err, ErrPending) {
		t.Errorf("Ready() before Load = %v, want %v", err, ErrPending)
	}
	want := func(when string) {
		t.Helper()
		_, _, err := b.begin("one", "echo", "")
		if f, ok := errors.AsType[*Fault](err); !ok || f.Kind != NotLoaded {
			t.Errorf("Begin() %s = %v, want a fault of kind %s", when, err, NotLoaded)
		}
	}
	want("before Load")
	if err := b.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := b.Ready()["one"]; err != nil {
		t.Errorf("Ready() after Load = %v", err)
	}
	if err := b.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	want("after Stop")
	if err := b.Load(context.Background()); err == nil || len(b.Providers()) != 0 {
		t.Errorf("Load() after Stop = %v with providers %v", err, b.Providers())
	}
	if got := b.faults(t, "one", NotLoaded); got != 2 {
		t.Errorf("materi_plugin_faults_total = %v, want 2", got)
	}
}

func TestProviderThatCannotBeLoadedLeavesTheOthersAlone(t *testing.T) {
	missing := configured("missing")
	missing.Plugin = filepath.Join(workspace, "no-such-file.wasm")
	greedy := configured("greedy")
	greedy.Capabilities = []string{"kv"}
	wrong := configured("wrong")
	wrong.Config = config.Settings{"bad": true}
	b := newBed(t, io.Discard, missing, configured("good"), greedy, wrong)
	err := b.Load(context.Background())
	for _, want := range []string{
		"load provider missing: ",
		"/no-such-file.wasm: read: stat /",
		`/guest.wasm: module imports shield_password`,
		"/guest.wasm: start: config.bad: must not be true",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load() = %v, want %q", err, want)
		}
	}
	if got, _, err := b.begin("good", "echo", "x"); got != "x" {
		t.Errorf("the good provider answers %q, %v", got, err)
	}
	ready := b.Ready()
	if ready["good"] != nil || ready["missing"] == nil || ready["greedy"] == nil || ready["wrong"] == nil {
		t.Errorf("Ready() = %v", ready)
	}
}

func TestManifestMustDeclareNoMoreThanIsGranted(t *testing.T) {
	for _, c := range []struct {
		declared, imported []sdk.Capability
		want               string
	}{
		{[]sdk.Capability{"kv"}, []sdk.Capability{"kv"}, ""},
		{[]sdk.Capability{"kv"}, nil, ""},
		{[]sdk.Capability{"kv", "log"}, []sdk.Capability{"kv"}, `"log", which is not granted`},
		{nil, []sdk.Capability{"kv"}, `"kv" and does not declare it`},
	} {
		l := &loader{granted: []sdk.Capability{sdk.CapabilityKV}}
		err := l.admit(manifestOf(c.declared))
		if err == nil {
			_, err = l.agree(&puppet{imported: c.imported, abi: sdk.ABI})
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("declared %v, imported %v: %v, want %q", c.declared, c.imported, err, c.want)
		}
	}
}

func TestFaultsAreCountedByKindAndHarmNobodyElse(t *testing.T) {
	hasty := configured("hasty")
	hasty.Timeout, hasty.Fuel = time.Second, 1_000_000
	thrifty := configured("thrifty")
	thrifty.Fuel = 100
	b := loaded(t, configured("one"), hasty, thrifty, configured("two"))
	for _, c := range []struct {
		what string
		kind Kind
	}{
		{"panic", Trap}, {"exit", Exit}, {"loop", Timeout}, {"loop", Fuel}, {"hoard", Memory},
		{"reserved", Undecodable}, {"strange code", Undecodable},
	} {
		name := "one"
		switch c.kind {
		case Timeout:
			name = "hasty"
		case Fuel:
			name = "thrifty"
		}
		_, _, err := b.begin(name, c.what, "")
		f, ok := errors.AsType[*Fault](err)
		if !ok || f.Provider != name {
			t.Errorf("%s: error %v, want a fault of provider %s", c.what, err, name)
			continue
		}
		if f.Kind != c.kind {
			t.Errorf("%s: %v, want kind %s", c.what, f, c.kind)
		}
		if got := b.faults(t, name, c.kind); got == 0 {
			t.Errorf("%s: not counted", c.what)
		}
		for _, other := range []string{name, "two"} {
			if got, _, err := b.begin(other, "echo", "alive"); got != "alive" {
				t.Errorf("after %s of %s, %s answers %q, %v", c.what, name, other, got, err)
			}
		}
	}
}

func TestProviderErrorIsHandedOn(t *testing.T) {
	b := loaded(t, configured("one"))
	_, _, err := b.begin("one", "recoverable", "")
	e, ok := errors.AsType[*sdk.Error](err)
	want := &sdk.Error{Code: sdk.CodeProviderError, Public: "It is away.", Private: "dial: refused"}
	if !ok || *e != *want {
		t.Errorf("Begin() = %v, want %v", err, want)
	}
	_, _, err = b.begin("one", "error", "")
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeInternal || e.Private != "plain error" || e.Public != "" {
		t.Errorf("a plain error = %v, want %s without a public text", err, sdk.CodeInternal)
	}
	_, _, err = b.begin("one", "two steps", "")
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeInternal {
		t.Errorf("a step that is two things = %v, want %s", err, sdk.CodeInternal)
	}
}

func TestWritesComeWithTheAnswerAndNotWithAnError(t *testing.T) {
	b := loaded(t, configured("one"))
	_, writes, err := b.begin("one", "set", "key")
	want := []Write{{Provider: "one", Key: "key", Value: []byte("value"), ExpiresAt: now.Add(time.Minute)}}
	if diff := cmp.Diff(want, writes); err != nil || diff != "" {
		t.Errorf("Begin() wrote (-want +got), %v:\n%s", err, diff)
	}
	if got, _, _ := b.begin("one", "get", "key"); got != "false  0" {
		t.Errorf("the next call sees %q although nothing was committed", got)
	}
	if _, _, err := b.begin("one", "set", ""); err == nil {
		t.Error("a write without a key got an answer")
	}
}

func TestCompareAndSetIsCheckedAtTheCommit(t *testing.T) {
	b := loaded(t, configured("one"), configured("two"))
	b.db.put("one", "n", "41", 9)
	got, writes, err := b.begin("one", "count", "n")
	want := []Write{{Provider: "one", Key: "n", Value: []byte("42"), Checked: true, IfVersion: 9}}
	if diff := cmp.Diff(want, writes); err != nil || got != "42" || diff != "" {
		t.Errorf("Begin() = %q, %v, writes (-want +got):\n%s", got, err, diff)
	}
	if got, _, err := b.begin("two", "count", "n"); got != "1" {
		t.Errorf("another provider sees %q, %v, want its own map", got, err)
	}
}

func TestCallIsMadeAnewAfterAConflict(t *testing.T) {
	b := loaded(t, configured("one"))
	b.db.put("one", "n", "1", 1)
	reads := 0
	b.db.onRead = func() {
		reads++
		if reads == 1 { // between the guest's Get and its CompareAndSet
			b.db.put("one", "n", "5", 2)
		}
	}
	got, writes, err := b.begin("one", "count", "n")
	if err != nil || got != "6" || len(writes) != 1 || writes[0].IfVersion != 2 {
		t.Errorf("Begin() = %q, %v, %v, want the count over the newer value", got, writes, err)
	}
	version := int64(2)
	b.db.onRead = func() {
		version++
		b.db.put("one", "n", "5", version)
	}
	if _, _, err := b.begin("one", "count", "n"); err == nil {
		t.Error("a call that conflicts for ever got an answer")
	}
}

func TestFailureOfTheHostIsNoAnswerWhateverTheProviderMakesOfIt(t *testing.T) {
	b := loaded(t, configured("one"))
	away := errors.New("database is away")
	b.db.err = away
	for _, what := range []string{"get", "swallow", "count"} {
		_, _, err := b.begin("one", what, "key")
		_, isFault := errors.AsType[*Fault](err)
		_, isProviders := errors.AsType[*sdk.Error](err)
		if !errors.Is(err, away) || isFault || isProviders {
			t.Errorf("%s: error %v, want the database's", what, err)
		}
	}
}

func TestPasswordCapability(t *testing.T) {
	b := loaded(t, configured("one"))
	if got, _, err := b.begin("one", "password", "correct horse"); got != "false true false" {
		t.Errorf("password = %q, %v", got, err)
	}
	if got, _, err := b.begin("one", "password", "password"); got != "true true false" {
		t.Errorf("password = %q, %v", got, err)
	}
}

func TestLogIsBoundedAndCannotForgeRecords(t *testing.T) {
	var out lockedBuilder
	b := newBed(t, &out, configured("one"))
	if err := b.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.begin("one", "shout", "first\nlevel=error msg=forged "+strings.Repeat("x ", 2500)); err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(out.String()) {
		if strings.HasPrefix(l, "LEVEL=ERROR") || len(l) > 2000 {
			t.Errorf("the log holds %.100q of %d bytes", l, len(l))
		}
	}
	if !strings.Contains(out.String(), "FIRST LEVEL=ERROR MSG=FORGED X X") {
		t.Errorf("the log does not hold what was said: %.500q", out.String())
	}
	if !strings.Contains(out.String(), "level=WARN msg=\"provider says\" provider=one") || !strings.Contains(out.String(), "plugin.key=value") {
		t.Errorf("the log holds %.500q", out.String())
	}
	if _, _, err := b.begin("one", "chatter", ""); err != nil {
		t.Errorf("chatter: %v", err)
	}
	if n := strings.Count(out.String(), "again"); n != maxRecords {
		t.Errorf("%d records of one call, want %d", n, maxRecords)
	}
}

func TestRequestIsMendedOrRefusedBeforeTheProviderSeesIt(t *testing.T) {
	b := loaded(t, configured("one"))
	ctx := context.Background()
	req := act("echo", "fine")
	req.UserAgent, req.Locale = "agent \xff"+strings.Repeat("x", 10_000), "\xfe"
	if a, err := b.Begin(ctx, "one", login, req); err != nil || a.Step.Done.Identity.Subject != "fine" {
		t.Errorf("Begin() with an odd user agent = %v", err)
	}
	many := make(map[string]string)
	for i := range 100 {
		many[strings.Repeat("k", i+1)] = ""
	}
	for name, fields := range map[string]map[string]string{
		"invalid UTF-8":    {"act": "echo", "arg": "\xff"},
		"invalid name":     {"\xff": ""},
		"a long name":      {strings.Repeat("n", 1000): ""},
		"very many fields": many,
		"a huge field":     {"arg": strings.Repeat("x", 1<<20)},
	} {
		_, err := b.Begin(ctx, "one", login, sdk.Request{Fields: fields})
		if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeValidation {
			t.Errorf("%s: error %v, want %s", name, err, sdk.CodeValidation)
		}
	}
	if _, err := b.Begin(ctx, "one", sdk.Flow{Kind: sdk.FlowLogin}, act("echo", "")); err == nil {
		t.Error("a flow without an id was taken")
	}
}

func TestStepThatDoesNotFitTheFlowIsAFault(t *testing.T) {
	b := loaded(t, configured("one"))
	for _, kind := range []sdk.FlowKind{sdk.FlowRecover, sdk.FlowChange, "nonsense"} {
		flow := login
		flow.Kind = kind
		_, err := b.Begin(context.Background(), "one", flow, act("echo", "intruder"))
		if f, ok := errors.AsType[*Fault](err); !ok || f.Kind != Undecodable {
			t.Errorf("an identity in a flow of kind %q: error %v, want a fault", kind, err)
		}
	}
}

func TestCallsRunConcurrently(t *testing.T) {
	b := loaded(t, configured("one"))
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			flow := login
			flow.ID = strings.Repeat("f", 5)
			if _, err := b.Begin(context.Background(), "one", flow, act("echo", "x")); err != nil {
				t.Errorf("Begin: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestCallerThatGaveUpIsNoFault(t *testing.T) {
	b := loaded(t, configured("one"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := b.Begin(ctx, "one", login, act("echo", ""))
	if _, isFault := errors.AsType[*Fault](err); !errors.Is(err, context.Canceled) || isFault {
		t.Errorf("Begin() with an ended context = %v", err)
	}
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
