// Package serve turns a provider into a plugin. The main package of a plugin is a shell:
//
//	package main
//
//	import (
//		"github.com/materi/shield/plugins/email"
//		"github.com/materi/shield/sdk/serve"
//	)
//
//	var plugin = serve.Provider(email.New())
//
//	func main() { plugin.Main() }
//
// and is built for the gateway's sandbox with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o email.wasm ./cmd
//
// The provider is made in a variable because such a module is a library: the gateway
// calls what it exports, and main never runs.
//
// A module asks for the host's capabilities by importing them, and the gateway compares
// that with what the operator granted before it runs any of it. Nothing need be done for
// that: the linker drops the import of what the provider does not use. (It cannot know
// that in a program that calls methods by reflection, as text/template does. Such a plugin
// imports all capabilities and needs all of them granted.)
package serve

import (
	"os"

	"github.com/materi/shield/sdk"
)

// Plugin is a provider that waits for the gateway.
type Plugin struct{ provider sdk.Provider }

// Main is the main function of a plugin that runs as a process. A WASM module never calls
// it. So far there is no process transport: Main says so and exits with status 2.
func (*Plugin) Main() {
	_, _ = os.Stderr.WriteString("This is a plugin of Shield, not a program. Build it with GOOS=wasip1 GOARCH=wasm " +
		"and -buildmode=c-shared, and name the file in the gateway's configuration.\n")
	os.Exit(2)
}
