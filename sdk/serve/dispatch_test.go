package serve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// scripted answers what it is told to.
type scripted struct {
	step sdk.Step
	err  error
	flow sdk.Flow
}

func (*scripted) Describe() sdk.Manifest { return sdk.Manifest{ID: "scripted", ABI: sdk.ABI} }

func (*scripted) Configure(settings []byte) []sdk.Fault {
	return []sdk.Fault{{Path: "x", Message: string(settings)}}
}

func (s *scripted) Begin(_ context.Context, _ sdk.Host, flow sdk.Flow, _ sdk.Request) (sdk.Step, error) {
	s.flow = flow
	return s.step, s.err
}

func (s *scripted) Continue(_ context.Context, _ sdk.Host, flow sdk.Flow, _ sdk.Request) (sdk.Step, error) {
	s.flow = flow
	return s.step, s.err
}

// withDocuments is a provider that serves documents too.
type withDocuments struct{ scripted }

func (s *withDocuments) Serve(_ context.Context, _ sdk.Host, req sdk.Request) (sdk.Response, error) {
	return sdk.Response{Status: 200, Body: []byte(req.Path)}, s.err
}

func begin(t *testing.T, p sdk.Provider) wire.Reply {
	t.Helper()
	in := wire.EncodeCall(wire.Call{Flow: sdk.Flow{ID: "flow", Kind: sdk.FlowLogin}})
	out, status := dispatch(context.Background(), p, nil, wire.Begin, in)
	if status != wire.StatusOK {
		t.Fatalf("status %d", status)
	}
	reply, err := wire.DecodeReply(out)
	if err != nil {
		t.Fatal(err)
	}
	if reply.FlowID != "flow" {
		t.Errorf("the reply belongs to flow %q", reply.FlowID)
	}
	return reply
}

func TestStepReachesTheGateway(t *testing.T) {
	reply := begin(t, &scripted{step: sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: "s"}}}})
	if reply.Error != nil || reply.Step.Done.Identity.Subject != "s" {
		t.Errorf("reply = %+v", reply)
	}
}

func TestErrorsKeepTheirPublicCodeOrBecomeInternal(t *testing.T) {
	public := &sdk.Error{Code: sdk.CodeProviderError, Public: "p", Private: "q"}
	for _, c := range []struct {
		name string
		p    scripted
		want sdk.Error
	}{
		{"public", scripted{err: public}, *public},
		{"public, wrapped", scripted{err: fmt.Errorf("call: %w", public)}, *public},
		{"any other", scripted{err: errors.New("boom")}, sdk.Error{Code: sdk.CodeInternal, Private: "boom"}},
		{"not UTF-8", scripted{err: errors.New("\xff")}, sdk.Error{Code: sdk.CodeInternal, Private: "?"}},
		{"long", scripted{err: errors.New(strings.Repeat("x", 5000))},
			sdk.Error{Code: sdk.CodeInternal, Private: strings.Repeat("x", maxPrivate)}},
		{"no step", scripted{}, sdk.Error{Code: sdk.CodeInternal, Private: "the provider's step is not exactly one thing"}},
		{"two steps", scripted{step: sdk.Step{Done: &sdk.Done{}, Changed: &sdk.Changed{}}},
			sdk.Error{Code: sdk.CodeInternal, Private: "the provider's step is not exactly one thing"}},
	} {
		reply := begin(t, &c.p)
		if reply.Step != nil || reply.Error == nil || *reply.Error != c.want {
			t.Errorf("%s: reply = %+v, %+v, want %+v", c.name, reply.Step, reply.Error, c.want)
		}
	}
}

func TestDispatchAnswersEveryMethod(t *testing.T) {
	ctx := context.Background()
	p := &withDocuments{scripted{step: sdk.Step{Denied: &sdk.Denied{Code: "X"}}}}
	out, status := dispatch(ctx, p, nil, wire.Describe, nil)
	if m, err := wire.DecodeManifest(out); err != nil || status != wire.StatusOK || m.ID != "scripted" {
		t.Errorf("describe = %+v, %v, status %d", m, err, status)
	}
	out, status = dispatch(ctx, p, nil, wire.Configure, wire.EncodeSettings([]byte("{}")))
	if f, err := wire.DecodeFaults(out); err != nil || status != wire.StatusOK || f[0].Message != "{}" {
		t.Errorf("configure = %+v, %v, status %d", f, err, status)
	}
	out, status = dispatch(ctx, p, nil, wire.Continue, wire.EncodeCall(wire.Call{Flow: sdk.Flow{ID: "f", Saved: []byte("s")}}))
	if r, err := wire.DecodeReply(out); err != nil || status != wire.StatusOK || r.Step.Denied == nil || string(p.flow.Saved) != "s" {
		t.Errorf("continue = %+v, %v, status %d", r, err, status)
	}
	out, status = dispatch(ctx, p, nil, wire.Serve, wire.EncodeServe(sdk.Request{Path: "metadata"}))
	if d, err := wire.DecodeDocument(out); err != nil || status != wire.StatusOK || string(d.Response.Body) != "metadata" {
		t.Errorf("serve = %+v, %v, status %d", d, err, status)
	}
	p.err = errors.New("gone")
	out, _ = dispatch(ctx, p, nil, wire.Serve, wire.EncodeServe(sdk.Request{}))
	if d, err := wire.DecodeDocument(out); err != nil || d.Error == nil || d.Response != nil {
		t.Errorf("failed serve = %+v, %v", d, err)
	}
}

func TestDispatchRefusesWhatItCannotAnswer(t *testing.T) {
	ctx := context.Background()
	for _, m := range []wire.Method{wire.Configure, wire.Begin, wire.Continue, wire.Serve} {
		if _, status := dispatch(ctx, &withDocuments{}, nil, m, []byte{0xff}); status != wire.StatusMalformed {
			t.Errorf("%v of garbage: status %d", m, status)
		}
	}
	for _, m := range []wire.Method{0, 6, 1 << 31, wire.Serve} {
		if _, status := dispatch(ctx, &scripted{}, nil, m, nil); status != wire.StatusUnknownMethod {
			t.Errorf("method %d: status %d", m, status)
		}
	}
}
