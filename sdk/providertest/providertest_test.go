package providertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/providertest"
)

// pin is a provider for tests: who knows the PIN of a name is that name.
type pin struct{}

func (pin) Describe() sdk.Manifest {
	return sdk.Manifest{
		ID: "pin", Version: "1.0.0", ABI: sdk.ABI, Kind: "pin",
		Forms: []sdk.Form{{Flow: sdk.FlowLogin, Name: "pin", Fields: []sdk.Field{
			{Name: "name", Type: "text", Required: true}, {Name: "pin", Type: "password", Required: true},
		}}},
		Capabilities: []sdk.Capability{sdk.CapabilityKV, sdk.CapabilityPassword},
	}
}

func (pin) Configure(settings []byte) []sdk.Fault {
	var s map[string]any
	if err := json.Unmarshal(settings, &s); err != nil || s == nil {
		return []sdk.Fault{{Message: "must be a JSON object"}}
	}
	return nil
}

func (pin) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	denied := sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeInvalidCredentials}}
	name := req.Fields["name"]
	if flow.Kind != sdk.FlowLogin || flow.Form != "pin" || name == "" || len(name) > 100 {
		return denied, nil
	}
	entry, _, err := host.KV().Get(ctx, "pin/"+name)
	if errors.Is(err, sdk.ErrInvalid) {
		return denied, nil
	}
	if err != nil {
		return sdk.Step{}, err
	}
	ok, _, err := host.Passwords().Verify(ctx, string(entry.Value), req.Fields["pin"])
	if err != nil {
		return sdk.Step{}, err
	}
	if !ok {
		return denied, nil
	}
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: name}}}, nil
}

func (pin) Continue(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error) {
	return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeInvalidToken}}, nil
}

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Suite{
		New:         func() sdk.Provider { return pin{} },
		BadSettings: []string{`7`},
		Fields:      map[string]map[string]string{"pin": {"name": "ada", "pin": "1815-12-10"}},
	})
}

func TestHostCommitsWithTheAnswer(t *testing.T) {
	h := providertest.New()
	ctx := context.Background()
	c := h.Call()
	if err := c.KV().Set(ctx, "pin/ada", []byte(h.Hash("1815")), 0); err != nil {
		t.Fatal(err)
	}
	login := sdk.Flow{ID: "f", Kind: sdk.FlowLogin, Form: "pin"}
	req := sdk.Request{Fields: map[string]string{"name": "ada", "pin": "1815"}}
	if s, err := h.Begin(ctx, pin{}, login, req); err != nil || s.Denied == nil {
		t.Errorf("before the commit: %+v, %v", s, err)
	}
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	if s, err := h.Begin(ctx, pin{}, login, req); err != nil || s.Done == nil {
		t.Errorf("after the commit: %+v, %v", s, err)
	}
	if n := h.Checks(); n != 2 {
		t.Errorf("Checks() = %d, want 2", n)
	}
}

func TestOverlappingCallsConflictOnceOneCommitted(t *testing.T) {
	h := providertest.New()
	ctx := context.Background()
	a, b := h.Call(), h.Call()
	for _, c := range []*providertest.Call{a, b} {
		if err := c.KV().CompareAndSet(ctx, "k", 0, []byte("mine"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Commit(); err != nil {
		t.Errorf("first Commit: %v", err)
	}
	if err := b.Commit(); !errors.Is(err, sdk.ErrConflict) {
		t.Errorf("second Commit: %v, want %v", err, sdk.ErrConflict)
	}
}

func TestEntriesExpireByTheHostsClock(t *testing.T) {
	h := providertest.New()
	ctx := context.Background()
	c := h.Call()
	if err := c.KV().Set(ctx, "k", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	h.Advance(time.Minute - 1)
	if _, ok, err := h.Call().KV().Get(ctx, "k"); !ok || err != nil {
		t.Errorf("just before its end: %v, %v", ok, err)
	}
	h.Advance(1)
	if _, ok, err := h.Call().KV().Get(ctx, "k"); ok || err != nil {
		t.Errorf("at its end: %v, %v", ok, err)
	}
	if keys := h.Keys(); len(keys) != 0 {
		t.Errorf("Keys() = %v", keys)
	}
}

func TestHostGrantsOnlyWhatIsNamed(t *testing.T) {
	h := providertest.New(sdk.CapabilityLog)
	c, ctx := h.Call(), context.Background()
	if _, _, err := c.KV().Get(ctx, "k"); !errors.Is(err, sdk.ErrNotGranted) {
		t.Errorf("KV().Get = %v, want %v", err, sdk.ErrNotGranted)
	}
	if _, err := c.Passwords().Hash(ctx, "p"); !errors.Is(err, sdk.ErrNotGranted) {
		t.Errorf("Passwords().Hash = %v, want %v", err, sdk.ErrNotGranted)
	}
	c.Log(sdk.LevelInfo, "hello", "k", "v")
	if r := h.Records(); len(r) != 1 || r[0].Message != "hello" {
		t.Errorf("Records() = %v", r)
	}
}

func TestStaleHash(t *testing.T) {
	h := providertest.New()
	ok, stale, err := h.Call().Passwords().Verify(context.Background(), h.StaleHash("p"), "p")
	if !ok || !stale || err != nil {
		t.Errorf("Verify = %v, %v, %v, want a stale match", ok, stale, err)
	}
}
