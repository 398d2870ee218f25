package gatewaytest

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Each bad request gets exactly this status and code, and nothing of it reaches the
// upstream.
func TestBadRequestsAreRefused(t *testing.T) {
	t.Parallel()
	g := onSQLite(t).start(t)
	_, who := g.member(t)
	token := "Authorization: Bearer " + who.Access + "\r\n"
	head := "Host: " + g.address + "\r\n"
	login := "POST /auth/login HTTP/1.1\r\n" + head
	get := "GET /api/notes HTTP/1.1\r\n" + head + token
	large := `{"email":"ann@example.com","password":"` + strings.Repeat("a", 5<<20) + `"}`
	smuggled := "GET /api/notes/smuggled HTTP/1.1\r\n" + head + token + "\r\n"

	for _, c := range []struct {
		name   string
		raw    string
		status int
		code   string
	}{
		{"malformed JSON", body(login, "application/json", `{"email":"ann@example.com",`), 400, "INVALID_REQUEST_BODY"},
		{"JSON behind JSON", body(login, "application/json", `{"email":"a@b.c","password":"x"}{}`), 400, "INVALID_REQUEST_BODY"},
		{"JSON that is no object", body(login, "application/json", `["a@b.c"]`), 400, "INVALID_REQUEST_BODY"},
		{"JSON of wrong types", body(login, "application/json", `{"email":1,"password":[]}`), 422, "VALIDATION_ERROR"},
		{"no body", body(login, "application/json", ""), 400, "INVALID_REQUEST_BODY"},
		{"missing fields", body(login, "application/json", "{}"), 400, "MISSING_REQUIRED_FIELD"},
		{"wrong content type", body(login, "text/plain", `{"email":"a@b.c","password":"x"}`), 400, "INVALID_REQUEST_BODY"},
		{"a form", body(login, "application/x-www-form-urlencoded", "email=a@b.c&password=x"), 400, "INVALID_REQUEST_BODY"},
		{"no content type", login + "Connection: close\r\nContent-Length: 2\r\n\r\n{}", 400, "INVALID_REQUEST_BODY"},
		{"wrong charset", body(login, "application/json; charset=utf-16", "{}"), 400, "INVALID_REQUEST_BODY"},
		{"5 MiB login body", body(login, "application/json", large), 413, "REQUEST_TOO_LARGE"},
		{"5 MiB login body in chunks", chunked(login, large), 413, "REQUEST_TOO_LARGE"},
		{"header of 40 KiB", get + "X-A: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", 431, "REQUEST_TOO_LARGE"},
		{"NUL in the path", "GET /api/notes/\x00 HTTP/1.1\r\n" + head + token + "\r\n", 400, "BAD_REQUEST"},
		{"escaped NUL in the path", "GET /api/notes/%00 HTTP/1.1\r\n" + head + token + "\r\n", 400, "BAD_REQUEST"},
		{"escaped slash in the path", "GET /api%2fnotes HTTP/1.1\r\n" + head + token + "\r\n", 400, "BAD_REQUEST"},
		{"climbing path", "GET /status/../api/notes HTTP/1.1\r\n" + head + "\r\n", 400, "BAD_REQUEST"},
		{"two Authorization headers", get + token + "\r\n", 400, "BAD_REQUEST"},
		{"two Authorization headers on a public route", "GET /status HTTP/1.1\r\n" + head + token + "authorization: Basic eA==\r\n\r\n", 400, "BAD_REQUEST"},
		{"Content-Length with Transfer-Encoding", strings.Replace(get, "GET", "POST", 1) + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "BAD_REQUEST"},
		{"Transfer-Encoding with Content-Length", strings.Replace(get, "GET", "POST", 1) + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + smuggled, 400, "BAD_REQUEST"},
		{"X_User_ID", get + "X_User_ID: admin\r\n\r\n", 400, "BAD_REQUEST"},
		{"X.User.Id", get + "X.User.Id: admin\r\n\r\n", 400, "BAD_REQUEST"},
		{"x_workspace-ids", get + "x_workspace-ids: all\r\n\r\n", 400, "BAD_REQUEST"},
		{"X_Auth_Method on a public route", "GET /status HTTP/1.1\r\n" + head + "X_Auth_Method: saml\r\n\r\n", 400, "BAD_REQUEST"},
		{"two Hosts", get + "Host: evil.example\r\n\r\n", 400, "BAD_REQUEST"},
		{"user in the Host", "GET /status HTTP/1.1\r\nHost: admin@" + g.address + "\r\n\r\n", 400, "BAD_REQUEST"},
		{"folded line", get + "X-A: b\r\n c\r\n\r\n", 400, "BAD_REQUEST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(g.in.upstream.arrivals())
			g.raw(t, c.raw).refused(t, c.status, c.code)
			g.in.upstream.untouched(t, before)
		})
	}
	// The gateway has taken no harm, and the token was good all the time.
	g.get(t, "/api/notes", bearer(who.Access)).ok(t, http.StatusOK)
	g.in.upstream.untouched(t, 1)
}

// body is a request whose connection ends with it.
func body(head, contentType, content string) string {
	return head + "Connection: close\r\nContent-Type: " + contentType + "\r\nContent-Length: " + strconv.Itoa(len(content)) + "\r\n\r\n" + content
}

func chunked(head, content string) string {
	var b strings.Builder
	b.WriteString(head + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
	const size = 64 << 10
	for len(content) > 0 {
		n := min(size, len(content))
		b.WriteString(strconv.FormatInt(int64(n), 16) + "\r\n" + content[:n] + "\r\n")
		content = content[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
}

func TestBadTokensAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		f := g.forger(t)
		g.get(t, "/api/notes", bearer(f.rs256(t))).ok(t, http.StatusOK) // the rest differs from this one
		g.in.upstream.untouched(t, 1)
		good := f.rs256(t)
		ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
		cases := map[string]struct{ token, code string }{
			"expired":                      {f.with(object{"exp": ago(31 * time.Second)}).rs256(t), "TOKEN_EXPIRED"},
			"expired long ago":             {f.with(object{"exp": 1}).rs256(t), "TOKEN_EXPIRED"},
			"not valid yet":                {f.with(object{"nbf": ago(-time.Minute)}).rs256(t), "INVALID_TOKEN"},
			"no exp":                       {f.with(object{"exp": nil}).rs256(t), "INVALID_TOKEN"},
			"exp is text":                  {f.with(object{"exp": "9999999999"}).rs256(t), "INVALID_TOKEN"},
			"wrong issuer":                 {f.with(object{"iss": "https://evil.example"}).rs256(t), "INVALID_TOKEN"},
			"issuer with a slash":          {f.with(object{"iss": g.cfg.Token.Issuer + "/"}).rs256(t), "INVALID_TOKEN"},
			"no issuer":                    {f.with(object{"iss": nil}).rs256(t), "INVALID_TOKEN"},
			"wrong audience":               {f.with(object{"aud": "https://other.example"}).rs256(t), "INVALID_TOKEN"},
			"wrong audiences":              {f.with(object{"aud": []string{"a", "b"}}).rs256(t), "INVALID_TOKEN"},
			"no audience":                  {f.with(object{"aud": nil}).rs256(t), "INVALID_TOKEN"},
			"no subject":                   {f.with(object{"sub": nil}).rs256(t), "INVALID_TOKEN"},
			"no session":                   {f.with(object{"sid": nil}).rs256(t), "INVALID_TOKEN"},
			"a refresh token by its claim": {f.with(object{"token_type": "refresh"}).rs256(t), "INVALID_TOKEN"},
			"wrong typ":                    {f.head(object{"typ": "JWT"}).rs256(t), "INVALID_TOKEN"},
			"typ of an id_token":           {f.head(object{"typ": "id_token"}).rs256(t), "INVALID_TOKEN"},
			"no typ":                       {f.head(object{"typ": nil}).rs256(t), "INVALID_TOKEN"},
			"unknown kid":                  {f.head(object{"kid": "other"}).rs256(t), "INVALID_TOKEN"},
			"no kid":                       {f.head(object{"kid": nil}).rs256(t), "INVALID_TOKEN"},
			"critical header":              {f.head(object{"crit": []string{"x"}, "x": 1}).rs256(t), "INVALID_TOKEN"},
			"alg said RS512":               {f.head(object{"alg": "RS512"}).rs256(t), "INVALID_TOKEN"},
			"none":                         {f.unsigned("none"), "INVALID_TOKEN"},
			"NONE":                         {f.unsigned("NONE"), "INVALID_TOKEN"},
			"none with a signature":        {f.unsigned("none") + "AAAA", "INVALID_TOKEN"},
			"RS256 without a signature":    {f.unsigned("RS256"), "INVALID_TOKEN"},
			"payload of another token":     {swapped(f.with(object{"sub": "0198c0de-0000-7000-8000-00000000beef"}).rs256(t), good), "INVALID_TOKEN"},
			"flipped signature":            {flipped(good), "INVALID_TOKEN"},
			"two segments":                 {good[:strings.LastIndexByte(good, '.')], "INVALID_TOKEN"},
			"four segments":                {good + ".AAAA", "INVALID_TOKEN"},
			"not a token":                  {"AAAA", "INVALID_TOKEN"},
			"too long":                     {good + strings.Repeat("A", 9<<10), "INVALID_TOKEN"},
		}
		for name, key := range f.publicForms(t) {
			cases["HS256 by the public key as "+name] = struct{ token, code string }{f.hs256(key), "INVALID_TOKEN"}
		}
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				for _, path := range []string{"/api/notes", "/maybe", "/api/users/me"} {
					a := g.get(t, path, bearer(c.token)).refused(t, http.StatusUnauthorized, c.code)
					if challenge := a.header.Get("Www-Authenticate"); !strings.Contains(challenge, `error="invalid_token"`) {
						t.Errorf("%s: WWW-Authenticate: %s", path, challenge)
					}
				}
				g.in.upstream.untouched(t, 1)
			})
		}
		t.Run("no token", func(t *testing.T) {
			a := g.get(t, "/api/notes").refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
			if challenge := a.header.Get("Www-Authenticate"); strings.Contains(challenge, "error") {
				t.Errorf("WWW-Authenticate: %s; RFC 6750 §3.1 wants no error for a request without a token", challenge)
			}
		})
		t.Run("another scheme", func(t *testing.T) {
			g.get(t, "/api/notes", field("Authorization", "Basic "+good)).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
		})
		t.Run("in the query", func(t *testing.T) {
			g.get(t, "/api/notes?access_token="+good).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
		})
		g.in.upstream.untouched(t, 1)
	})
}

// swapped is a token with the claims of one and the signature of another.
func swapped(claims, signature string) string {
	c, s := strings.Split(claims, "."), strings.Split(signature, ".")
	return c[0] + "." + c[1] + "." + s[2]
}

// flipped has another bit in the middle of its signature.
func flipped(token string) string {
	dot := strings.LastIndexByte(token, '.')
	raw, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		panic(err) // it was made here
	}
	raw[len(raw)/2] ^= 0x10
	return token[:dot+1] + base64.RawURLEncoding.EncodeToString(raw)
}

func TestRefreshTokenWithAFlippedBitIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, in *installation) {
		g := in.start(t)
		_, who := g.member(t)
		raw, err := base64.RawURLEncoding.DecodeString(who.Refresh)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			bad := append([]byte{}, raw...)
			bad[i] ^= 1 << (i % 8)
			g.refresh(t, base64.RawURLEncoding.EncodeToString(bad)).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
		}
		for name, bad := range map[string]string{
			"cut": who.Refresh[:len(who.Refresh)-1], "longer": who.Refresh + "A", "padded": who.Refresh + "=",
			"access token": who.Access, "not base64": strings.Repeat("!", len(who.Refresh)),
		} {
			t.Run(name, func(t *testing.T) {
				g.refresh(t, bad).refused(t, http.StatusUnauthorized, "INVALID_TOKEN")
			})
		}
		// Guessing has not ended the session of who holds the real one.
		next := g.refresh(t, who.Refresh).tokens(t)
		g.get(t, "/api/notes", bearer(next.Access)).ok(t, http.StatusOK)
	})
}
