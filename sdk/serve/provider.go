//go:build !wasip1

package serve

import "github.com/materi/shield/sdk"

// Provider makes p the provider of this plugin. Call it once.
func Provider(p sdk.Provider) *Plugin { return &Plugin{p} }
