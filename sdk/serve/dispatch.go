package serve

import (
	"context"
	"errors"
	"strings"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// dispatch answers one call: it decodes the request, asks the provider and encodes what
// it said. It is the whole of what the transports have in common.
func dispatch(ctx context.Context, p sdk.Provider, host sdk.Host, method wire.Method, in []byte) ([]byte, wire.Status) {
	switch method {
	case wire.Describe:
		return wire.EncodeManifest(p.Describe()), wire.StatusOK
	case wire.Configure:
		settings, err := wire.DecodeSettings(in)
		if err != nil {
			return nil, wire.StatusMalformed
		}
		return wire.EncodeFaults(p.Configure(settings)), wire.StatusOK
	case wire.Begin:
		return call(ctx, p.Begin, host, in)
	case wire.Continue:
		return call(ctx, p.Continue, host, in)
	case wire.Serve:
		return document(ctx, p, host, in)
	}
	return nil, wire.StatusUnknownMethod
}

type step func(context.Context, sdk.Host, sdk.Flow, sdk.Request) (sdk.Step, error)

func call(ctx context.Context, next step, host sdk.Host, in []byte) ([]byte, wire.Status) {
	c, err := wire.DecodeCall(in)
	if err != nil {
		return nil, wire.StatusMalformed
	}
	s, err := next(ctx, host, c.Flow, c.Request)
	if err == nil && s.Kind() == "" {
		err = errors.New("the provider's step is not exactly one thing")
	}
	if err != nil {
		return wire.EncodeReply(wire.Reply{FlowID: c.Flow.ID, Error: failure(err)}), wire.StatusOK
	}
	return wire.EncodeReply(wire.Reply{FlowID: c.Flow.ID, Step: &s}), wire.StatusOK
}

func document(ctx context.Context, p sdk.Provider, host sdk.Host, in []byte) ([]byte, wire.Status) {
	server, ok := p.(sdk.Server)
	if !ok {
		return nil, wire.StatusUnknownMethod
	}
	req, err := wire.DecodeServe(in)
	if err != nil {
		return nil, wire.StatusMalformed
	}
	r, err := server.Serve(ctx, host, req)
	if err != nil {
		return wire.EncodeDocument(wire.Document{Error: failure(err)}), wire.StatusOK
	}
	return wire.EncodeDocument(wire.Document{Response: &r}), wire.StatusOK
}

// maxPrivate is how much of an error's text goes to the log.
const maxPrivate = 1024

// failure returns err as what crosses to the gateway.
func failure(err error) *sdk.Error {
	e := &sdk.Error{Code: sdk.CodeInternal, Private: err.Error()}
	if public, ok := errors.AsType[*sdk.Error](err); ok {
		c := *public
		e = &c
	}
	e.Private = strings.ToValidUTF8(e.Private[:min(len(e.Private), maxPrivate)], "?")
	return e
}
