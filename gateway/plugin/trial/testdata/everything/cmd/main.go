// Everything as a plugin.
package main

import (
	"github.com/materi/shield/gateway/plugin/trial/testdata/everything"
	"github.com/materi/shield/sdk/serve"
)

var plugin = serve.Provider(&everything.Provider{})

func main() { plugin.Main() }
