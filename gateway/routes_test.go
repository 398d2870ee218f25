package gateway

import (
	"testing"

	"github.com/materi/shield/config"
)

// config check and serve must be of one mind about which paths are free.
func TestRoutesThatCollideWithTheGatewaysOwnAreFaults(t *testing.T) {
	for _, tt := range []struct {
		path, admin string
		free        bool
	}{
		{"/health", "", false},
		{"/ready/", "127.0.0.1:9090", false},
		{"/v1/auth/login", "", false},
		{"/.well-known/jwks.json", "", false},
		{"/metrics", "", false},
		{"/metrics", "127.0.0.1:9090", true},
		{"/status", "", true},
	} {
		cfg := config.Default()
		cfg.Admin.Listen = tt.admin
		cfg.Routes = []config.Route{{Name: "mine", Path: tt.path, Methods: []string{"GET", "POST"}}}
		if err := CheckRoutes(cfg); (err == nil) != tt.free {
			t.Errorf("CheckRoutes(%s, admin.listen %q) = %v, want free: %t", tt.path, tt.admin, err, tt.free)
		}
	}
}
