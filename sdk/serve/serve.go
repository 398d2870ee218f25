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
// and becomes, from this one source, a module for the gateway's sandbox or a process that
// the gateway starts:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o email.wasm ./cmd
//	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o email ./cmd
//
// # Module
//
// The provider is made in a variable because a module is a library: the gateway calls what
// it exports, and main never runs.
//
// A module asks for the host's capabilities by importing them, and the gateway compares
// that with what the operator granted before it runs any of it. Nothing need be done for
// that: the linker drops the import of what the provider does not use. (It cannot know
// that in a program that calls methods by reflection, as text/template does. Such a plugin
// imports all capabilities and needs all of them granted.)
//
// # Process
//
// A process gets one call at a time unless the manifest says Concurrent. Its context ends a
// little before the time of the call is over: a provider that heeds it can still answer;
// one that does not is ended with its process. A panic ends the process, too, and the
// gateway starts another one.
//
// It has no arguments, no standard input, and none of the gateway's environment. What it
// prints goes to the gateway's log if the operator granted the capability log, and not all
// of it if it is much. Its file descriptors, memory and privileges are limited where the
// kernel allows it. It does not outlive the gateway.
package serve

import "github.com/materi/shield/sdk"

// Plugin is a provider that waits for the gateway.
type Plugin struct{ provider sdk.Provider }
