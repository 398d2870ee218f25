package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	loginIssuer = "https://login.test"
	loginClient = "client-1"
	loginNonce  = "n-0S6_WzA2Mj"
)

var loginNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// login is what the tests expect of an id_token.
func login(raw string) IDToken {
	return IDToken{
		Token: raw, Issuer: loginIssuer, Audience: loginClient, Nonce: loginNonce,
		Algorithms: []string{"RS256"}, Now: loginNow, Leeway: 30 * time.Second,
	}
}

func loginClaims() map[string]any {
	return map[string]any{
		"iss": loginIssuer, "aud": loginClient, "sub": "248289761001", "nonce": loginNonce,
		"exp": loginNow.Unix() + 300, "iat": loginNow.Unix() - 5, "email": "jane@login.test",
	}
}

func loginSet(t testing.TB) []byte {
	return handSet(t, handJWK(t, sharedHandKeys().rsa.Public(), map[string]any{"kid": "k1", "alg": "RS256", "use": "sig"}))
}

// loginToken signs claims, or a text as it is, as the issuer does.
func loginToken(t testing.TB, claims any) string {
	return handSign(t, "RS256", sharedHandKeys().rsa, `{"alg":"RS256","kid":"k1","typ":"JWT"}`, string(encode(t, claims)))
}

func TestIDTokenGivesTheSignedBytes(t *testing.T) {
	payload := "{ \"iss\" : \"" + loginIssuer + "\",\n\"aud\":[\"" + loginClient + `"],"sub":"é\u00e9","nonce":"` + loginNonce +
		`","exp":1795262700.5,"iat":1795262300,"x":1.0}`
	got, err := login(loginToken(t, payload)).Verify(loginSet(t))
	if err != nil || string(got) != payload {
		t.Errorf("Verify() = %s, %v, want %s", got, err, payload)
	}
}

func TestIDTokenOfEachAlgorithm(t *testing.T) {
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			key := sharedHandKeys().of(alg)
			set := handSet(t, handJWK(t, key.Public(), map[string]any{"kid": "k"}))
			payload := encode(t, loginClaims())
			raw := handSign(t, alg, key, `{"alg":"`+alg+`","kid":"k"}`, string(payload))
			expected := login(raw)
			expected.Algorithms = []string{alg}
			if got, err := expected.Verify(set); err != nil || !bytes.Equal(got, payload) {
				t.Errorf("Verify() = %s, %v", got, err)
			}
			for _, other := range allAlgorithms {
				expected.Algorithms = []string{other}
				if _, err := expected.Verify(set); other != alg && !errors.Is(err, ErrMalformed) {
					t.Errorf("Verify() of %s where %s is allowed = %v, want ErrMalformed", alg, other, err)
				}
			}
		})
	}
}

func TestIDTokenWantsToBeCheckedAgainstEverything(t *testing.T) {
	for name, change := range map[string]func(*IDToken){
		"no issuer":     func(i *IDToken) { i.Issuer = "" },
		"no audience":   func(i *IDToken) { i.Audience = "" },
		"no nonce":      func(i *IDToken) { i.Nonce = "" },
		"no algorithms": func(i *IDToken) { i.Algorithms = nil },
		"no time":       func(i *IDToken) { i.Now = time.Time{} },
		"none allowed":  func(i *IDToken) { i.Algorithms = []string{"RS256", "none"} },
		"HS256 allowed": func(i *IDToken) { i.Algorithms = []string{"HS256"} },
	} {
		claims := loginClaims()
		expected := login("")
		change(&expected)
		// What a token says in the place of what is not asked must not matter.
		claims["iss"], claims["aud"], claims["nonce"] = expected.Issuer, expected.Audience, expected.Nonce
		expected.Token = loginToken(t, claims)
		if got, err := expected.Verify(loginSet(t)); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: Verify() = %s, %v, want ErrIncomplete", name, got, err)
		}
		expected.Token = "not a token"
		if _, err := expected.Verify(nil); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: Verify() before anything is parsed = %v, want ErrIncomplete", name, err)
		}
	}
}

func TestIDTokenForgeriesAreRefused(t *testing.T) {
	keys := sharedHandKeys()
	payload := string(encode(t, loginClaims()))
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := loginToken(t, loginClaims())
	parts := strings.Split(good, ".")
	jwk := handJWK(t, stranger.Public(), map[string]any{"kid": "k1"})
	header := func(members string) string { return `{"kid":"k1",` + members + `}` }
	sign := func(members string) string { return handSign(t, "RS256", keys.rsa, header(members), payload) }
	public := pkixPEM(t, keys.rsa.Public())
	cases := map[string]struct {
		raw  string
		want error
	}{
		"empty":                  {"", ErrMalformed},
		"no signature":           {parts[0] + "." + parts[1] + ".", ErrMalformed},
		"two segments":           {parts[0] + "." + parts[1], ErrMalformed},
		"JWE":                    {good + ".x.y", ErrMalformed},
		"huge":                   {good + strings.Repeat("A", MaxBytes), ErrMalformed},
		"huge payload":           {loginToken(t, with(loginClaims(), "x", strings.Repeat("x", MaxBytes))), ErrMalformed},
		"none":                   {b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", ErrMalformed},
		"none with a signature":  {sign(`"alg":"none"`), ErrMalformed},
		"nOnE":                   {sign(`"alg":"nOnE"`), ErrMalformed},
		"alg missing":            {sign(`"x":1`), ErrMalformed},
		"alg empty":              {sign(`"alg":""`), ErrMalformed},
		"alg list":               {sign(`"alg":["RS256"]`), ErrMalformed},
		"Alg":                    {sign(`"Alg":"RS256"`), ErrMalformed},
		"alg twice":              {sign(`"alg":"RS256","alg":"RS256"`), ErrMalformed},
		"alg twice, escaped":     {sign(`"alg":"RS256","\u0061lg":"none"`), ErrMalformed},
		"HS256, public key PEM":  {handSign(t, "HS256", public, header(`"alg":"HS256"`), payload), ErrMalformed},
		"HMAC said to be RS256":  {handSign(t, "HS256", public, header(`"alg":"RS256"`), payload), ErrSignature},
		"HMAC of the DER, RS256": {handSign(t, "HS256", pkix(t, keys.rsa.Public()), header(`"alg":"RS256"`), payload), ErrSignature},
		"PS256":                  {handSign(t, "PS256", keys.rsa, header(`"alg":"PS256"`), payload), ErrMalformed},
		"PS256 said to be RS256": {handSign(t, "PS256", keys.rsa, header(`"alg":"RS256"`), payload), ErrSignature},
		"RS512 said to be RS256": {handSign(t, "RS512", keys.rsa, header(`"alg":"RS256"`), payload), ErrSignature},
		"EC said to be RS256":    {handSign(t, "ES256", keys.p256, header(`"alg":"RS256"`), payload), ErrSignature},
		"ES256":                  {handSign(t, "ES256", keys.p256, header(`"alg":"ES256"`), payload), ErrMalformed},
		"stranger":               {handSign(t, "RS256", stranger, header(`"alg":"RS256"`), payload), ErrSignature},
		"stranger's jwk":         {handSign(t, "RS256", stranger, header(`"alg":"RS256","jwk":`+string(encode(t, jwk))), payload), ErrSignature},
		"stranger's jku":         {handSign(t, "RS256", stranger, header(`"alg":"RS256","jku":"https://evil.test"`), payload), ErrSignature},
		"unknown kid":            {handSign(t, "RS256", keys.rsa, `{"alg":"RS256","kid":"k2"}`, payload), ErrUnknownKey},
		"kid with a path":        {handSign(t, "RS256", keys.rsa, `{"alg":"RS256","kid":"../k1"}`, payload), ErrUnknownKey},
		"kid a number":           {handSign(t, "RS256", keys.rsa, `{"alg":"RS256","kid":1}`, payload), ErrMalformed},
		"kid twice":              {handSign(t, "RS256", keys.rsa, `{"alg":"RS256","kid":"k1","kid":"k1"}`, payload), ErrMalformed},
		"crit":                   {sign(`"alg":"RS256","crit":["exp"]`), ErrMalformed},
		"crit empty":             {sign(`"alg":"RS256","crit":[]`), ErrMalformed},
		"b64":                    {sign(`"alg":"RS256","b64":false`), ErrMalformed},
		"zip":                    {sign(`"alg":"RS256","zip":"DEF"`), ErrMalformed},
		"an access token":        {sign(`"alg":"RS256","typ":"at+jwt"`), ErrMalformed},
		"an access token, long":  {sign(`"alg":"RS256","typ":"application/AT+JWT"`), ErrMalformed},
		"a logout token":         {sign(`"alg":"RS256","typ":"logout+jwt"`), ErrMalformed},
		"typ null":               {sign(`"alg":"RS256","typ":null`), ErrMalformed},
		"payload changed":        {parts[0] + "." + b64([]byte(strings.Replace(payload, "248289761001", "248289761002", 1))) + "." + parts[2], ErrSignature},
		"header changed":         {b64([]byte(header(`"alg":"RS256"`))) + "." + parts[1] + "." + parts[2], ErrSignature},
		"payload a list":         {loginToken(t, `[]`), ErrMalformed},
		"payload twice":          {loginToken(t, payload+payload), ErrMalformed},
		"payload not UTF-8":      {loginToken(t, payload[:len(payload)-1]+",\"x\":\"\xff\"}"), ErrMalformed},
		"sub twice":              {loginToken(t, payload[:len(payload)-1]+`,"sub":"admin"}`), ErrMalformed},
		"sub twice, escaped":     {loginToken(t, payload[:len(payload)-1]+`,"s\u0075b":"admin"}`), ErrMalformed},
		"a member twice, deep":   {loginToken(t, payload[:len(payload)-1]+`,"x":[{"a":1,"a":2}]}`), ErrMalformed},
		"too deep":               {loginToken(t, payload[:len(payload)-1]+`,"x":`+nest(4000)+`}`), ErrMalformed},
		"padding":                {good + "=", ErrMalformed},
		"line break":             {good[:9] + "\n" + good[9:], ErrMalformed},
		"space":                  {good + " ", ErrMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := login(c.raw).Verify(loginSet(t)); !errors.Is(err, c.want) || got != nil {
				t.Errorf("Verify() = %s, %v, want %v", got, err, c.want)
			}
		})
	}
	if _, err := login(good).Verify(loginSet(t)); err != nil {
		t.Errorf("the token that the forgeries were made from: %v", err)
	}
}

func TestIDTokenClaimsAreHeldToTheLogin(t *testing.T) {
	base, now := loginClaims(), loginNow.Unix()
	raw := func(name, value string) string {
		text := string(encode(t, with(base, name, nil)))
		return text[:len(text)-1] + `,"` + name + `":` + value + `}`
	}
	cases := map[string]struct {
		claims any
		want   error // nil: accepted
	}{
		"as it should be":                    {base, nil},
		"iss missing":                        {with(base, "iss", nil), ErrIssuer},
		"iss with a slash":                   {with(base, "iss", loginIssuer+"/"), ErrIssuer},
		"iss in capitals":                    {with(base, "iss", "https://LOGIN.test"), ErrIssuer},
		"iss a prefix":                       {with(base, "iss", loginIssuer+".evil.test"), ErrIssuer},
		"iss with a zero":                    {with(base, "iss", loginIssuer+"\x00"), ErrIssuer},
		"iss with a space":                   {with(base, "iss", loginIssuer+" "), ErrIssuer},
		"iss with an invisible letter":       {with(base, "iss", "https://login.test\u200b"), ErrIssuer},
		"iss in other letters":               {with(base, "iss", "https://lоgin.test"), ErrIssuer},
		"iss in full width":                  {with(base, "iss", "https://login．test"), ErrIssuer},
		"iss escaped":                        {raw("iss", `"https:\/\/login\u002etest"`), nil},
		"iss a list":                         {with(base, "iss", []string{loginIssuer}), ErrIssuer},
		"Iss":                                {with(with(base, "iss", nil), "Iss", loginIssuer), ErrIssuer},
		"ISS beside iss":                     {with(base, "ISS", "https://evil.test"), nil},
		"aud missing":                        {with(base, "aud", nil), ErrAudience},
		"aud other":                          {with(base, "aud", "client-2"), ErrAudience},
		"aud a prefix":                       {with(base, "aud", "client-11"), ErrAudience},
		"aud empty":                          {with(base, "aud", ""), ErrAudience},
		"aud empty list":                     {with(base, "aud", []string{}), ErrAudience},
		"aud null":                           {raw("aud", "null"), ErrAudience},
		"aud an object":                      {with(base, "aud", map[string]any{loginClient: true}), ErrAudience},
		"aud nested":                         {with(base, "aud", []any{[]any{loginClient}}), ErrAudience},
		"aud mixed":                          {with(base, "aud", []any{loginClient, 1}), ErrAudience},
		"aud words":                          {with(base, "aud", "x "+loginClient), ErrAudience},
		"aud a list of one":                  {with(base, "aud", []string{loginClient}), nil},
		"aud several":                        {with(base, "aud", []string{loginClient, "x"}), ErrAudience},
		"aud twice the same":                 {with(base, "aud", []string{loginClient, loginClient}), ErrAudience},
		"aud several, azp":                   {with(with(base, "aud", []string{"x", loginClient}), "azp", loginClient), nil},
		"aud several, azp other":             {with(with(base, "aud", []string{"x", loginClient}), "azp", "x"), ErrAudience},
		"azp other":                          {with(base, "azp", "x"), ErrAudience},
		"azp empty":                          {with(base, "azp", ""), ErrAudience},
		"azp a list":                         {with(base, "azp", []string{loginClient}), ErrAudience},
		"azp":                                {with(base, "azp", loginClient), nil},
		"nonce missing":                      {with(base, "nonce", nil), ErrNonce},
		"nonce other":                        {with(base, "nonce", "n-0S6_WzA2Mk"), ErrNonce},
		"nonce empty":                        {with(base, "nonce", ""), ErrNonce},
		"nonce longer":                       {with(base, "nonce", loginNonce+"x"), ErrNonce},
		"nonce a list":                       {with(base, "nonce", []string{loginNonce}), ErrNonce},
		"Nonce":                              {with(with(base, "nonce", nil), "Nonce", loginNonce), ErrNonce},
		"exp missing":                        {with(base, "exp", nil), ErrClaims},
		"exp text":                           {with(base, "exp", "9999999999"), ErrClaims},
		"exp null":                           {raw("exp", "null"), ErrClaims},
		"exp overflows":                      {raw("exp", "1e400"), ErrClaims},
		"exp negative":                       {with(base, "exp", -1), ErrClaims},
		"exp true":                           {with(base, "exp", true), ErrClaims},
		"Exp":                                {with(with(base, "exp", nil), "Exp", now+300), ErrClaims},
		"expired within the leeway":          {with(base, "exp", now-29), nil},
		"expired by the leeway":              {with(base, "exp", now-30), ErrExpired},
		"expired by a second over":           {with(base, "exp", now-31), ErrExpired},
		"expired long ago":                   {with(base, "exp", 0), ErrExpired},
		"iat missing":                        {with(base, "iat", nil), ErrClaims},
		"iat within the leeway":              {with(base, "iat", now+30), nil},
		"iat in the future":                  {with(base, "iat", now+31), ErrClaims},
		"iat text":                           {with(base, "iat", "0"), ErrClaims},
		"nbf within the leeway":              {with(base, "nbf", now+30), nil},
		"nbf in the future":                  {with(base, "nbf", now+31), ErrClaims},
		"nbf a list":                         {with(base, "nbf", []int{0}), ErrClaims},
		"sub missing":                        {with(base, "sub", nil), ErrClaims},
		"sub empty":                          {with(base, "sub", ""), ErrClaims},
		"sub a number":                       {with(base, "sub", 1), ErrClaims},
		"sub too long":                       {with(base, "sub", strings.Repeat("s", 256)), ErrClaims},
		"auth_time text, not asked":          {with(base, "auth_time", "x"), ErrClaims},
		"at_hash though no token came":       {with(base, "at_hash", "x"), nil},
		"claims that nobody asked for":       {with(base, "x", map[string]any{"y": []any{1, nil}}), nil},
		"wrong in many ways, issuer first":   {map[string]any{"iss": "x", "aud": "x"}, ErrIssuer},
		"wrong in many ways, audience first": {with(with(base, "aud", "x"), "exp", 0), ErrAudience},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := login(loginToken(t, c.claims)).Verify(loginSet(t))
			if !errors.Is(err, c.want) || (got == nil) != (c.want != nil) {
				t.Errorf("Verify() = %s, %v, want %v", got, err, c.want)
			}
		})
	}
}

// The access token and its hash of OpenID Connect Core A.3; and hashes made with
// sha384sum and sha512sum.
func TestIDTokenChecksTheAccessToken(t *testing.T) {
	const access = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
	for _, c := range []struct {
		alg, hash string
		optional  bool
		want      error
	}{
		{"RS256", "77QmUPtjPfzWtF2AnpK9RQ", false, nil},
		{"ES256", "77QmUPtjPfzWtF2AnpK9RQ", false, nil},
		{"ES384", handHash384, false, nil},
		{"RS512", handHash512, false, nil},
		{"EdDSA", handHash512, false, nil},
		{"RS256", "77QmUPtjPfzWtF2AnpK9RQ", true, nil},
		{"RS256", "", false, ErrClaims},
		{"RS256", "", true, nil},
		{"RS256", "77QmUPtjPfzWtF2AnpK9RR", true, ErrClaims},
		{"RS256", "77QmUPtjPfzWtF2AnpK9RQ==", true, ErrClaims},
		{"RS256", "77QmUPtjPfzWtF2AnpK9", false, ErrClaims},
		{"ES384", "77QmUPtjPfzWtF2AnpK9RQ", false, ErrClaims},
		{"EdDSA", "77QmUPtjPfzWtF2AnpK9RQ", false, ErrClaims},
	} {
		key := sharedHandKeys().of(c.alg)
		claims := loginClaims()
		if c.hash != "" {
			claims["at_hash"] = c.hash
		}
		expected := login(handSign(t, c.alg, key, `{"alg":"`+c.alg+`","kid":"k"}`, string(encode(t, claims))))
		expected.Algorithms, expected.AccessToken, expected.OptionalHash = []string{c.alg}, access, c.optional
		if _, err := expected.Verify(handSet(t, handJWK(t, key.Public(), map[string]any{"kid": "k"}))); !errors.Is(err, c.want) {
			t.Errorf("Verify() with %s and at_hash %q = %v, want %v", c.alg, c.hash, err, c.want)
		}
	}
}

func TestIDTokenChecksTheAgeOfTheLogin(t *testing.T) {
	now := loginNow.Unix()
	for name, c := range map[string]struct {
		at   any
		want error
	}{
		"missing":       {nil, ErrClaims},
		"at the limit":  {now - 90, nil},
		"a second over": {now - 91, ErrClaims},
		"in the future": {now + 31, ErrClaims},
		"text":          {"0", ErrClaims},
	} {
		expected := login(loginToken(t, with(loginClaims(), "auth_time", c.at)))
		expected.MaxAge = time.Minute
		if _, err := expected.Verify(loginSet(t)); !errors.Is(err, c.want) {
			t.Errorf("%s: Verify() = %v, want %v", name, err, c.want)
		}
	}
}

func TestIDTokenFindsTheRightKey(t *testing.T) {
	keys := sharedHandKeys()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwk := func(more map[string]any) map[string]any { return handJWK(t, keys.rsa.Public(), more) }
	stranger := func(more map[string]any) map[string]any { return handJWK(t, other.Public(), more) }
	ec := handJWK(t, keys.p256.Public(), map[string]any{"kid": "k1"})
	kid := func(s string) map[string]any { return map[string]any{"kid": s} }
	named := loginToken(t, loginClaims())
	nameless := handSign(t, "RS256", keys.rsa, `{"alg":"RS256"}`, string(encode(t, loginClaims())))
	for name, c := range map[string]struct {
		raw  string
		set  []byte
		want error
	}{
		"by kid among several":              {named, handSet(t, stranger(kid("k0")), jwk(kid("k1"))), nil},
		"the same kid for another kind":     {named, handSet(t, ec, jwk(kid("k1"))), nil},
		"the same kid twice, ours first":    {named, handSet(t, jwk(kid("k1")), stranger(kid("k1"))), nil},
		"the same kid twice, ours second":   {named, handSet(t, stranger(kid("k1")), jwk(kid("k1"))), ErrSignature},
		"the kid is of an EC key":           {named, handSet(t, ec, jwk(kid("k2"))), ErrUnknownKey},
		"no kid, one key":                   {nameless, handSet(t, jwk(kid("k1"))), nil},
		"no kid, one nameless key":          {nameless, handSet(t, jwk(nil)), nil},
		"no kid, one fits":                  {nameless, handSet(t, ec, jwk(nil)), nil},
		"no kid, two fit":                   {nameless, handSet(t, jwk(kid("k1")), stranger(kid("k2"))), ErrUnknownKey},
		"no kid, the same key twice":        {nameless, handSet(t, jwk(kid("k1")), jwk(kid("k2"))), ErrUnknownKey},
		"kid, one nameless key":             {named, handSet(t, jwk(nil)), nil},
		"kid, a nameless one and another":   {named, handSet(t, jwk(nil), stranger(kid("k2"))), ErrUnknownKey},
		"alg of the key is another":         {named, handSet(t, jwk(map[string]any{"kid": "k1", "alg": "PS256"})), ErrUnknownKey},
		"key for encryption":                {named, handSet(t, jwk(map[string]any{"kid": "k1", "use": "enc"})), ErrUnknownKey},
		"private key":                       {named, handSet(t, jwk(map[string]any{"kid": "k1", "d": b64(keys.rsa.D.Bytes())})), ErrUnknownKey},
		"symmetric key":                     {named, []byte(`{"keys":[{"kty":"oct","kid":"k1","k":"AAAA"}]}`), ErrUnknownKey},
		"key with a member twice":           {named, []byte(strings.Replace(string(loginSet(t)), `"kid"`, `"kid":"x","kid"`, 1)), ErrUnknownKey},
		"empty":                             {named, []byte(`{"keys":[]}`), ErrUnknownKey},
		"no JSON":                           {named, []byte(`<html>`), ErrUnknownKey},
		"nothing":                           {named, nil, ErrUnknownKey},
		"too long":                          {named, append(loginSet(t), bytes.Repeat([]byte(" "), maxJWKSBytes)...), ErrUnknownKey},
		"unknown keys beside the right one": {named, handSet(t, map[string]any{"kty": "XYZ"}, jwk(kid("k1"))), nil},
	} {
		if _, err := login(c.raw).Verify(c.set); !errors.Is(err, c.want) {
			t.Errorf("%s: Verify() = %v, want %v", name, err, c.want)
		}
	}
}

func TestIDTokenErrorsHoldNothingOfTheToken(t *testing.T) {
	const canary = "canary-4711"
	base := loginClaims()
	for _, claims := range []map[string]any{
		with(base, "iss", canary), with(base, "aud", canary), with(base, "azp", canary), with(base, "nonce", canary),
		with(base, "exp", canary), with(base, "sub", []string{canary}), with(base, "at_hash", canary),
	} {
		expected := login(loginToken(t, claims))
		expected.AccessToken = canary
		_, err := expected.Verify(loginSet(t))
		if err == nil || strings.Contains(err.Error(), canary) || len(err.Error()) > 120 {
			t.Errorf("Verify() = %v", err)
		}
	}
}

// fuzzKey is the same in each process of a fuzzer, so that its seeds mean something to all.
func fuzzKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

// One token was signed, and whatever is made of it, only its own bytes are accepted.
// Ed25519 signatures are deterministic and one token has one spelling.
func FuzzIDToken(f *testing.F) {
	key := fuzzKey()
	set := handSet(f, handJWK(f, key.Public(), map[string]any{"kid": "k"}))
	payload := string(encode(f, loginClaims()))
	good := handSign(f, "EdDSA", key, `{"alg":"EdDSA","kid":"k"}`, payload)
	parts := strings.Split(good, ".")
	f.Add(good)
	f.Add(good + "A")
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add(parts[0] + "." + b64([]byte(strings.Replace(payload, "jane", "john", 1))) + "." + parts[2])
	f.Add(b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".AA")
	f.Add(handSign(f, "EdDSA", sharedHandKeys().of("EdDSA"), `{"alg":"EdDSA"}`, `{"iss":"`+loginIssuer+`"}`))
	f.Fuzz(func(t *testing.T, raw string) {
		expected := login(raw)
		expected.Algorithms = []string{"EdDSA", "ES256", "RS256"}
		got, err := expected.Verify(set)
		if err == nil && (raw != good || string(got) != payload) {
			t.Errorf("accepted %q with %q", raw, got)
		}
		if err != nil && got != nil {
			t.Errorf("Verify() = %q, %v", got, err)
		}
	})
}

// What the claims of a correctly signed token hold never makes the reader panic, and what is
// accepted says what was expected, also to a reader that is not ours.
func FuzzIDTokenClaims(f *testing.F) {
	key := fuzzKey()
	set := handSet(f, handJWK(f, key.Public(), map[string]any{"kid": "k"}))
	good := string(encode(f, loginClaims()))
	f.Add(good)
	f.Add(good[:len(good)-1] + `,"iss":"x"}`)
	f.Add(`{"iss":"` + loginIssuer + `","aud":["` + loginClient + `"],"nonce":"` + loginNonce + `","exp":1e10,"iat":0,"sub":"s"}`)
	f.Fuzz(func(t *testing.T, payload string) {
		expected := login(handSign(t, "EdDSA", key, `{"alg":"EdDSA","kid":"k"}`, payload))
		expected.Algorithms = []string{"EdDSA"}
		got, err := expected.Verify(set)
		if err != nil {
			return
		}
		var claims struct {
			Iss, Nonce, Sub string
			Exp, Iat        float64
		}
		if string(got) != payload || !plainlyStrict(got) || json.Unmarshal(got, &claims) != nil {
			t.Fatalf("accepted %q as %q", payload, got)
		}
		latest := float64(loginNow.Unix() + 30)
		if claims.Iss != loginIssuer || claims.Nonce != loginNonce || claims.Sub == "" || claims.Exp < latest-60 || claims.Iat > latest {
			t.Errorf("accepted %q", payload)
		}
	})
}

func BenchmarkIDToken(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			key := sharedHandKeys().of(alg)
			expected := login(handSign(b, alg, key, `{"alg":"`+alg+`","kid":"k"}`, string(encode(b, loginClaims()))))
			expected.Algorithms = []string{alg}
			set := handSet(b, handJWK(b, key.Public(), map[string]any{"kid": "k"}))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := expected.Verify(set); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

const (
	handHash384 = "jtAeDp945y1dDqU3nkIVGNZP1HjH_MFs"
	handHash512 = "q7nS86GgvvFaZkzALLWqJYaJIKw2wCDAVfCAsm5CrBM"
)
