// The e-mail provider as a plugin. Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o email.wasm ./plugins/email/cmd
package main

import (
	"github.com/materi/shield/plugins/email"
	"github.com/materi/shield/sdk/serve"
)

var plugin = serve.Provider(email.New())

func main() { plugin.Main() }
