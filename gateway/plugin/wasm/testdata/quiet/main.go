// Quiet is a provider that asks nothing of the host.
package main

import (
	"context"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/serve"
)

var plugin = serve.Provider(quiet{})

func main() { plugin.Main() }

type quiet struct{}

func (quiet) Describe() sdk.Manifest {
	return sdk.Manifest{ID: "quiet", Version: "1.0.0", ABI: sdk.ABI, Kind: "test"}
}

func (quiet) Configure([]byte) []sdk.Fault { return nil }

func (quiet) Begin(_ context.Context, _ sdk.Host, flow sdk.Flow, _ sdk.Request) (sdk.Step, error) {
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{Subject: flow.ID}}}, nil
}

func (q quiet) Continue(ctx context.Context, h sdk.Host, flow sdk.Flow, req sdk.Request) (sdk.Step, error) {
	return q.Begin(ctx, h, flow, req)
}
