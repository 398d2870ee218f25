// The SAML provider as a plugin. Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o saml.wasm ./plugins/saml/cmd
package main

import (
	"github.com/materi/shield/plugins/saml"
	"github.com/materi/shield/sdk/serve"
)

var plugin = serve.Provider(saml.New())

func main() { plugin.Main() }
