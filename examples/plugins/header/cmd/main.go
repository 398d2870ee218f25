// The header provider as a plugin. Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o header.wasm ./examples/plugins/header/cmd
package main

import (
	"github.com/materi/shield/examples/plugins/header"
	"github.com/materi/shield/sdk/serve"
)

var plugin = serve.Provider(header.New())

func main() { plugin.Main() }
