package gatewaytest

import (
	"net/http"
	"strconv"
	"testing"
)

// One password tried on many accounts meets no limit of an account; each try costs a hash.
func TestTryingManyAccountsFromOneAddressIsLimited(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t, limited("login-ip", 3))
	for i := range 5 {
		body := object{"email": "somebody-" + strconv.Itoa(i) + "@example.com", "password": "Spring2026!"}
		got := g.post(t, "/auth/login", body)
		if i < 3 {
			got.refused(t, http.StatusUnauthorized, "INVALID_CREDENTIALS")
			continue
		}
		got.refused(t, http.StatusTooManyRequests, "RATE_LIMIT_EXCEEDED")
	}
}
