package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/sdk"
)

var errStore = errors.New("store gone")

func api() *API {
	return &API{Options: Options{
		BodyBytes:   1 << 10,
		PublicURL:   "https://api.example.com",
		Unavailable: func(err error) bool { return errors.Is(err, errStore) },
	}}
}

func TestErrorsAreToldAsTheContractSays(t *testing.T) {
	denied := func(code string) error { return &login.Denied{Code: code} }
	for _, tt := range []struct {
		err    error
		status int
		code   string
	}{
		{denied(sdk.CodeInvalidCredentials), 401, "INVALID_CREDENTIALS"},
		{denied(sdk.CodeEmailNotVerified), 403, "EMAIL_NOT_VERIFIED"},
		{denied(login.CodeSuspended), 403, "ACCOUNT_SUSPENDED"},
		{denied(sdk.CodeEmailExists), 409, "EMAIL_ALREADY_EXISTS"},
		{denied(sdk.CodeForbidden), 403, "INSUFFICIENT_PERMISSIONS"},
		{denied(sdk.CodeInvalidEmail), 422, "INVALID_EMAIL_FORMAT"},
		{denied(sdk.CodeWeakPassword), 400, "WEAK_PASSWORD"},
		{denied(sdk.CodeValidation), 422, "VALIDATION_ERROR"},
		{denied(sdk.CodeMissingField), 400, "MISSING_REQUIRED_FIELD"},
		{denied(sdk.CodeInvalidToken), 400, "INVALID_TOKEN"},
		{denied(sdk.CodeUserNotFound), 404, "USER_NOT_FOUND"},
		{denied("A_CODE_OF_ITS_OWN"), 500, "INTERNAL_ERROR"},
		{&sdk.Error{Code: sdk.CodeProviderError, Private: "secret"}, 502, "OAUTH_PROVIDER_ERROR"},
		{&sdk.Error{Code: sdk.CodeUnavailable}, 503, "SERVICE_UNAVAILABLE"},
		{&sdk.Error{Code: sdk.CodeInternal}, 500, "INTERNAL_ERROR"},
		{&plugin.CircuitOpen{Provider: "google", RetryAfter: time.Minute, Err: &sdk.Error{Code: sdk.CodeProviderError}}, 503, "SSO_CIRCUIT_OPEN"},
		{&plugin.Fault{Provider: "email", Kind: plugin.Trap, Err: errors.New("x")}, 503, "SERVICE_UNAVAILABLE"},
		{plugin.ErrUnknown, 404, "NOT_FOUND"},
		{login.ErrSpent, 400, "INVALID_TOKEN"},
		{login.ErrChanged, 503, "SERVICE_UNAVAILABLE"},
		{account.ErrNotFound, 404, "USER_NOT_FOUND"},
		{account.ErrConflict, 409, "EMAIL_ALREADY_EXISTS"},
		{session.ErrInvalid, 401, "INVALID_TOKEN"},
		{session.ErrExpired, 401, "REFRESH_TOKEN_EXPIRED"},
		{session.ErrRevoked, 401, "TOKEN_REVOKED"},
		{session.ErrReused, 401, "TOKEN_REVOKED"},
		{errStore, 503, "SERVICE_UNAVAILABLE"},
		{context.DeadlineExceeded, 503, "SERVICE_UNAVAILABLE"},
	} {
		got, ok := errors.AsType[*edge.Error](api().translate(fmt.Errorf("while at it: %w", tt.err)))
		if !ok || got.Status != tt.status || got.Code != tt.code {
			t.Errorf("translate(%v) = %+v, want %d %s", tt.err, got, tt.status, tt.code)
			continue
		}
		header := make(map[string]bool)
		for _, h := range got.Header {
			header[h[0]] = true
		}
		if header["WWW-Authenticate"] != (tt.status == 401) || header["Retry-After"] != (tt.status == 503) {
			t.Errorf("translate(%v) has headers %v with status %d", tt.err, got.Header, tt.status)
		}
	}
}

func TestWhoCanLinkIsToldSo(t *testing.T) {
	for _, link := range []bool{true, false} {
		err := api().translate(&login.Denied{Code: sdk.CodeEmailExists, Link: link})
		got, ok := errors.AsType[*edge.Error](err)
		if !ok || got.Status != 409 || (got.Details != nil) != link || strings.Contains(got.Message, "link") != link {
			t.Errorf("translate(link %t) = %+v", link, got)
		}
	}
}

func TestOnlyPagesOfTheOwnOriginSpendTheCookie(t *testing.T) {
	for origin, want := range map[string]bool{
		"":                                true,
		"https://api.example.com":         true,
		"https://api.example.com.evil":    false,
		"http://api.example.com":          false,
		"https://app.example.com":         false,
		"null":                            false,
		"https://api.example.com, x":      false,
		"https://user@api.example.com":    false,
		"https://api.example.com:443/x?y": false,
	} {
		var ctx fasthttp.RequestCtx
		if origin != "" {
			ctx.Request.Header.Set("Origin", origin)
		}
		if got := api().ownOrigin(&ctx); got != want {
			t.Errorf("ownOrigin(%q) = %t, want %t", origin, got, want)
		}
	}
}

var loginFields = []sdk.Field{{Name: "email", Required: true}, {Name: "password", Required: true}, {Name: "name"}}

func readBody(body []byte) (map[string]string, error) {
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.Header.SetContentType("application/json")
	ctx.Request.SetBody(body)
	ctx.Request.Header.SetContentLength(len(body))
	return api().readForm(&ctx, loginFields)
}

func TestFormsAreReadStrictly(t *testing.T) {
	for body, want := range map[string]string{
		`{"email":"a@b","password":"p"}`:             "",
		`{"email":"a@b","password":"p","name":null}`: "",
		`{"email":"a@b","password":"p","other":[1]}`: "",
		`{"email":"a@b"}`:                            "MISSING_REQUIRED_FIELD",
		`{"email":"a@b","password":""}`:              "MISSING_REQUIRED_FIELD",
		`{"email":"a@b","password":null}`:            "MISSING_REQUIRED_FIELD",
		`{"email":"a@b","password":["p"]}`:           "VALIDATION_ERROR",
		`{"email":{"$ne":""},"password":"p"}`:        "VALIDATION_ERROR",
		`{"email":1,"password":"p"}`:                 "VALIDATION_ERROR",
		`{"email":false,"password":"p"}`:             "VALIDATION_ERROR",
		`null`:                                       "MISSING_REQUIRED_FIELD",
		`[]`:                                         "INVALID_REQUEST_BODY",
		`"text"`:                                     "INVALID_REQUEST_BODY",
		`{"email":"a@b","password":"p"} {}`:          "INVALID_REQUEST_BODY",
		`{"email":"a@b","password":"p"`:              "INVALID_REQUEST_BODY",
		``:                                           "INVALID_REQUEST_BODY",
		`email=a%40b&password=p`:                     "INVALID_REQUEST_BODY",
		`{"email":"a@b","password":"` + string(long) + `"}`: "REQUEST_TOO_LARGE",
	} {
		_, err := readBody([]byte(body))
		got := ""
		if e, ok := errors.AsType[*edge.Error](err); ok {
			got = e.Code
		}
		if got != want {
			t.Errorf("readForm(%.60s) = %q (%v), want %q", body, got, err, want)
		}
	}
}

var long = make([]byte, 2<<10)

func FuzzReadForm(f *testing.F) {
	f.Add([]byte(`{"email":"a@b","password":"p"}`))
	f.Add([]byte(`{"email":["x"],"password":{}}`))
	f.Add([]byte("{\"email\":\"\xff\",\"password\":\"\\ud800\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		values, err := readBody(body)
		if err != nil {
			if _, ok := errors.AsType[*edge.Error](err); !ok {
				t.Fatalf("readForm() = %v, want an answer", err)
			}
			return
		}
		if !json.Valid(body) || values["email"] == "" || values["password"] == "" {
			t.Fatalf("readForm(%q) accepted %q", body, values)
		}
		for name, value := range values {
			if !utf8.ValidString(value) || len(value) > maxField || name != "email" && name != "password" && name != "name" {
				t.Fatalf("readForm(%q) let %q through", body, name)
			}
		}
	})
}

func TestTheCookieIsBoundToItsHostWhereClientsComeByHTTPS(t *testing.T) {
	for publicURL, want := range map[string]string{
		"https://api.example.com": "__Host-shield_refresh",
		"http://127.0.0.1:8000":   "shield_refresh",
	} {
		if got := CookieName(publicURL); got != want {
			t.Errorf("CookieName(%q) = %q, want %q", publicURL, got, want)
		}
	}
}
