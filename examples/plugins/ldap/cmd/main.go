// The LDAP provider as a plugin. Build it with
//
//	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o ldap ./examples/plugins/ldap/cmd
package main

import (
	"github.com/materi/shield/examples/plugins/ldap"
	"github.com/materi/shield/sdk/serve"
)

var plugin = serve.Provider(ldap.New())

func main() { plugin.Main() }
