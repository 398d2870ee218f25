// Guest is a provider that misbehaves on demand: the login form "act" does what its field
// "act" says.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/serve"
	"github.com/materi/shield/sdk/wire"
)

var plugin = serve.Provider(&guest{})

func main() { plugin.Main() }

type guest struct {
	calls    int
	settings string
	hoard    [][]byte
}

func (g *guest) Describe() sdk.Manifest {
	return sdk.Manifest{
		ID: "guest", Version: "1.0.0", ABI: sdk.ABI, Kind: "test",
		Forms:        []sdk.Form{{Flow: sdk.FlowLogin, Name: "act", Fields: []sdk.Field{{Name: "act", Type: "text"}}}},
		Capabilities: []sdk.Capability{sdk.CapabilityKV, sdk.CapabilityPassword, sdk.CapabilityLog},
	}
}

func (g *guest) Configure(settings []byte) []sdk.Fault {
	g.settings = string(settings)
	if g.settings == `{"bad":true}` {
		return []sdk.Fault{{Path: "bad", Message: "must not be true"}}
	}
	return nil
}

func (g *guest) Begin(ctx context.Context, host sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	g.calls++
	arg := req.Fields["arg"]
	switch req.Fields["act"] {
	case "echo":
		return say(arg), nil
	case "calls":
		return say(strconv.Itoa(g.calls)), nil
	case "settings":
		return say(g.settings), nil
	case "decode":
		return decode(arg)
	case "clock":
		return say(strconv.FormatInt(time.Now().UnixNano(), 10)), nil
	case "random":
		b := make([]byte, 16)
		_, err := rand.Read(b)
		return say(hex.EncodeToString(b)), err
	case "sleep":
		d, _ := time.ParseDuration(arg)
		time.Sleep(d)
		return say("awake"), nil
	case "surroundings":
		_, err := os.ReadFile("/etc/passwd")
		return say("env=" + strconv.Itoa(len(os.Environ())) + " args=" + strconv.Itoa(len(os.Args)) +
			" file=" + strconv.FormatBool(err == nil)), nil
	case "loop":
		for i := 0; ; i++ {
			g.calls = i
		}
	case "panic":
		panic("guest: " + arg)
	case "exit":
		os.Exit(0)
	case "deadlock":
		<-make(chan int)
	case "hoard":
		for {
			g.hoard = append(g.hoard, make([]byte, 1<<20))
		}
	case "two steps":
		return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeUserNotFound}, Done: &sdk.Done{}}, nil
	case "reserved":
		return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: "s", Attributes: map[string]string{"Roles": "owner"}}}}, nil
	case "recoverable":
		return sdk.Step{}, &sdk.Error{Code: sdk.CodeProviderError, Public: "It is away.", Private: "dial: refused"}
	case "error":
		return sdk.Step{}, errors.New("plain error")
	case "complain":
		return sdk.Step{}, &sdk.Error{Code: sdk.CodeProviderError, Private: "cannot use " + arg}
	case "strange code":
		return sdk.Step{}, &sdk.Error{Code: "OPEN_SESAME"}
	case "get":
		e, ok, err := host.KV().Get(ctx, arg)
		return say(strconv.FormatBool(ok) + " " + string(e.Value) + " " + strconv.FormatInt(e.Version, 10)), err
	case "set":
		return say("set"), host.KV().Set(ctx, arg, []byte("value"), time.Minute)
	case "delete":
		return say("deleted"), host.KV().Delete(ctx, arg)
	case "count":
		return g.count(ctx, host, arg)
	case "swallow":
		_, _, err := host.KV().Get(ctx, arg)
		return say("got " + strconv.FormatBool(err == nil)), nil
	case "password":
		return password(ctx, host, arg)
	case "log":
		host.Log(sdk.LevelWarn, arg, "key", "value", "odd")
		return say("logged"), nil
	case "shout":
		host.Log(sdk.LevelWarn, strings.ToUpper(arg), "key", "value")
		return say("logged"), nil
	case "chatter":
		for range 1000 {
			host.Log(sdk.LevelInfo, "again")
		}
		return say("logged"), nil
	}
	return sdk.Step{Denied: &sdk.Denied{Code: sdk.CodeValidation}}, nil
}

// count adds one to a counter by compare-and-set.
func (g *guest) count(ctx context.Context, host sdk.Host, key string) (sdk.Step, error) {
	e, _, err := host.KV().Get(ctx, key)
	if err != nil {
		return sdk.Step{}, err
	}
	n, _ := strconv.Atoi(string(e.Value))
	n++
	if err := host.KV().CompareAndSet(ctx, key, e.Version, []byte(strconv.Itoa(n)), 0); err != nil {
		return sdk.Step{}, err
	}
	return say(strconv.Itoa(n)), nil
}

func password(ctx context.Context, host sdk.Host, password string) (sdk.Step, error) {
	common, err := host.Passwords().Common(ctx, password)
	if err != nil {
		return sdk.Step{}, err
	}
	hash, err := host.Passwords().Hash(ctx, password)
	if err != nil {
		return sdk.Step{}, err
	}
	ok, stale, err := host.Passwords().Verify(ctx, hash, password)
	return say(strconv.FormatBool(common) + " " + strconv.FormatBool(ok) + " " + strconv.FormatBool(stale)), err
}

// decode reads a request of one KiB so many times.
func decode(times string) (sdk.Step, error) {
	n, err := strconv.Atoi(times)
	if err != nil {
		return sdk.Step{}, err
	}
	in := wire.EncodeCall(wire.Call{
		Flow: sdk.Flow{ID: "flow", Kind: sdk.FlowLogin, Form: "act", State: "state", Nonce: "nonce", CallbackURL: "https://example.com/callback"},
		Request: sdk.Request{Fields: map[string]string{
			"email": "person@example.com", "password": "correct horse battery staple", "next": "/somewhere/to/go",
			"note": strings.Repeat("x", 800),
		}},
	})
	for range n {
		if _, err := wire.DecodeCall(in); err != nil {
			return sdk.Step{}, err
		}
	}
	return say(strconv.Itoa(len(in))), nil
}

func (g *guest) Continue(_ context.Context, _ sdk.Host, flow sdk.Flow, _ sdk.Request) (sdk.Step, error) {
	return say(string(flow.Saved)), nil
}

// say answers with a text, as the subject of an identity.
func say(s string) sdk.Step {
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: s}}, Save: []byte("saved")}
}
