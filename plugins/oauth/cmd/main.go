// The provider for OAuth 2.0 and OpenID Connect as a plugin. Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o oauth.wasm ./plugins/oauth/cmd
package main

import (
	"github.com/materi/shield/plugins/oauth"
	"github.com/materi/shield/sdk/serve"
)

var plugin = serve.Provider(oauth.New())

func main() { plugin.Main() }
