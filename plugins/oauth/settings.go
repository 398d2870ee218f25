package oauth

import (
	_ "embed"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

// presets are settings that nobody should have to look up: for each name what an operator
// could write instead. What the operator writes beside a preset counts more.
//
//go:embed presets.json
var presets []byte

// schema describes the settings for editors. A test holds it to Configure.
//
//go:embed schema.json
var schema []byte

// settings are those of one instance: one other side.
type settings struct {
	issuer    string    // exact, or with {tenantid}
	endpoints endpoints // zero: the issuer's discovery document has them
	connect   bool      // OpenID Connect: there is an id_token
	tenants   []string  // whose tokens are taken where the issuer has {tenantid}; empty: all

	clientID     string
	clientAuth   string
	keyID        string // private_key_jwt
	keyAlgorithm string
	keyAudience  string

	scopes       []string
	claims       mapping
	algorithms   []string
	hostedDomain string
	prompt       string
	maxAge       time.Duration
	parameters   map[string]string
	requireIss   bool
	keepTokens   bool
}

// endpoints are where the other side is asked.
type endpoints struct {
	authorization, token, userinfo, emails, jwks string
	iss                                          bool // RFC 9207: a callback without iss is refused
}

// mapping says which claims tell what of a person. An empty name is none.
type mapping struct{ subject, email, emailVerified, name, picture, groups string }

// The ways for the client to prove that it is itself.
const (
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
	authKey   = "private_key_jwt"
)

// The audiences of the assertion of private_key_jwt.
const (
	audienceIssuer = "issuer"
	audienceToken  = "token_endpoint"
)

// The names of the secrets.
const (
	secretClient = "client_secret"
	secretKey    = "client_key"
)

// Placeholders in URLs.
const (
	tenantMark   = "{tenant}"   // of an endpoint: what the setting tenant says
	tenantIDMark = "{tenantid}" // of the issuer: the tenant that a token is of
)

const scopeOpenID = "openid"

// names are those of the settings, in the order of the documentation.
var names = []string{
	"preset", "issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "emails_endpoint", "jwks_uri",
	"tenant", "allowed_tenants", "client_id", "client_auth", "client_key_id", "client_key_algorithm", "client_assertion_audience",
	"scopes", "claims", "algorithms", "hosted_domain", "prompt", "max_age", "parameters", "require_iss", "keep_tokens",
}

// asymmetric are the algorithms of signatures that can be configured. With one of the others
// whoever knows the public key, or nothing at all, could sign.
var asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Configure takes the settings. With a fault none of them apply.
func (p *Provider) Configure(raw []byte) []sdk.Fault {
	s, faults := parseSettings(raw)
	if faults == nil {
		p.settings = s
	}
	return faults
}

func parseSettings(raw []byte) (settings, []sdk.Fault) {
	members, err := readObject(raw)
	if err != nil {
		return settings{}, []sdk.Fault{{Message: "is " + err.Error()}}
	}
	r := &reader{given: members, all: maps.Clone(members)}
	r.unknown()
	r.preset()
	s := r.settings()
	slices.SortFunc(r.faults, func(a, b sdk.Fault) int { return strings.Compare(a.Path, b.Path) })
	return s, r.faults
}

// reader reads settings and notes their faults.
type reader struct {
	given  object // what the operator wrote
	all    object // that, and what the preset says beside it
	claims object // those of the preset
	faults []sdk.Fault
}

func (r *reader) fault(path, format string, args ...any) {
	r.faults = append(r.faults, sdk.Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

// rule notes a fault of a setting if there is none of it yet.
func (r *reader) rule(broken bool, path, format string, args ...any) {
	known := slices.ContainsFunc(r.faults, func(f sdk.Fault) bool { return f.Path == path })
	if broken && !known {
		r.fault(path, format, args...)
	}
}

func (r *reader) unknown() {
	for name := range r.given {
		r.rule(!slices.Contains(names, name), name, "is unknown; there are %s", strings.Join(names, ", "))
	}
}

// preset adds what the named preset says.
func (r *reader) preset() {
	if !r.given.has("preset") {
		return
	}
	known, err := readObject(presets)
	if err != nil {
		panic("oauth: the presets are " + err.Error())
	}
	preset, err := readObject(known[r.given.text("preset")])
	if err != nil {
		r.fault("preset", "must be one of %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		return
	}
	for name, value := range preset {
		if !r.given.has(name) {
			r.all[name] = value
		}
	}
	r.claims, _ = readObject(preset["claims"]) // a preset may have none
}

func (r *reader) settings() settings {
	s := settings{
		clientID:     r.text("client_id", 256, true),
		clientAuth:   r.choice("client_auth", authBasic, authBasic, authPost, authKey),
		keyID:        r.text("client_key_id", 256, false),
		keyAlgorithm: r.choice("client_key_algorithm", "RS256", asymmetric...),
		keyAudience:  r.choice("client_assertion_audience", audienceIssuer, audienceIssuer, audienceToken),
		prompt:       r.choice("prompt", "", "login", "consent", "select_account"),
		requireIss:   r.flag("require_iss"),
		keepTokens:   r.flag("keep_tokens"),
		parameters:   r.parameters(),
		maxAge:       r.seconds("max_age"),
	}
	s.hostedDomain = r.domain("hosted_domain")
	s.tenants = r.list("allowed_tenants", nil, isUUID, "the identifier of a tenant, as in 8eaef023-2b34-4da1-9baa-8bc8c9d6a490")
	r.addresses(&s)
	r.flavour(&s)
	r.tenancy(&s)
	r.assertion(s)
	r.rule(len(call{settings: s}.question(strings.Repeat("%", maxHint)).Encode()) > maxQuestion, "scopes",
		"are too long for a URL, with parameters and client_id")
	return s
}

// maxQuestion is the most that a question may have in a URL beside what the flow adds to it.
// The gateway takes URLs of 8 KiB; the rest is for the endpoint's own query and the callback.
const maxQuestion = 3000

// addresses reads the issuer and the endpoints.
func (r *reader) addresses(s *settings) {
	r.rule(!r.all.has("issuer"), "issuer", "is missing; write the issuer of the other side, or a preset")
	s.issuer = r.all.text("issuer")
	plain := strings.Replace(s.issuer, tenantIDMark, "t", 1)
	_, err := readAddress(plain)
	r.rule(err != nil, "issuer", "%v", errAddress)
	r.rule(err == nil && strings.Contains(plain, "?"), "issuer", "must have no query")
	r.rule(len(s.issuer) > maxIssuer, "issuer", "must be at most %d bytes long", maxIssuer)
	before, _, of := strings.Cut(s.issuer, tenantIDMark)
	_, err = readAddress(before)
	r.rule(of && (err != nil || !strings.HasSuffix(before, "/")), "issuer", "may have %s only behind a slash of its path", tenantIDMark)
	for _, e := range []struct {
		name string
		into *string
	}{
		{"authorization_endpoint", &s.endpoints.authorization},
		{"token_endpoint", &s.endpoints.token},
		{"userinfo_endpoint", &s.endpoints.userinfo},
		{"emails_endpoint", &s.endpoints.emails},
		{"jwks_uri", &s.endpoints.jwks},
	} {
		if !r.all.has(e.name) {
			continue
		}
		*e.into = strings.ReplaceAll(r.all.text(e.name), tenantMark, r.all.text("tenant"))
		_, err := readAddress(*e.into)
		r.rule(err != nil, e.name, "%v", errAddress)
	}
}

// flavour finds out whether the other side speaks OpenID Connect, and reads what hangs on it.
func (r *reader) flavour(s *settings) {
	e := s.endpoints
	discovers := e.authorization == "" && e.token == ""
	const both = "is missing; write authorization_endpoint and token_endpoint, or neither and let discovery find them"
	r.rule(!discovers && e.authorization == "", "authorization_endpoint", both)
	r.rule(!discovers && e.token == "", "token_endpoint", both)
	for _, name := range []string{"userinfo_endpoint", "emails_endpoint", "jwks_uri"} {
		r.rule(discovers && r.all.has(name), name, "has no effect with discovery; write authorization_endpoint and token_endpoint too, or remove it")
	}
	r.rule(!discovers && e.jwks == "" && e.userinfo == "", "userinfo_endpoint",
		"is missing; write it for plain OAuth 2.0, or jwks_uri for OpenID Connect")
	s.connect = discovers || e.jwks != ""
	s.endpoints.iss = s.requireIss

	var scopes []string
	if s.connect {
		scopes = []string{scopeOpenID, "email", "profile"}
	}
	s.scopes = r.list("scopes", scopes, isScope, "a scope: printable characters without spaces, quotes and backslashes")
	r.rule(s.connect && !slices.Contains(s.scopes, scopeOpenID), "scopes", "must hold openid, without which there is no id_token")
	r.rule(!s.connect && slices.Contains(s.scopes, scopeOpenID), "scopes",
		"holds openid; write jwks_uri too, so that the id_token can be checked, or remove it")
	s.claims = r.mapping(s.connect)
	s.algorithms = r.list("algorithms", []string{"RS256", "ES256"}, func(a string) bool { return slices.Contains(asymmetric, a) },
		"one of "+strings.Join(asymmetric, ", "))
	r.rule(s.connect && len(s.algorithms) == 0, "algorithms", "is empty")
	for _, name := range []string{"algorithms", "hosted_domain", "max_age"} {
		r.rule(!s.connect && r.given.has(name), name, "has no effect without an id_token; write jwks_uri, or remove it")
	}
	r.rule(s.connect && r.given.has("emails_endpoint"), "emails_endpoint", "is for plain OAuth 2.0; an id_token has the address in it")
}

// tenancy checks what is about tenants.
func (r *reader) tenancy(s *settings) {
	tenant := r.all.text("tenant")
	of := strings.Contains(s.issuer, tenantIDMark)
	marked := false
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
		marked = marked || strings.Contains(r.all.text(name), tenantMark)
	}
	r.rule(r.all.has("tenant") && !slices.Contains([]string{"common", "organizations", "consumers"}, tenant) && !isUUID(tenant), "tenant",
		"must be the identifier of a tenant, as in 8eaef023-2b34-4da1-9baa-8bc8c9d6a490, or common, organizations or consumers")
	r.rule(r.given.has("tenant") && !marked, "tenant", "has no effect; no endpoint has %s in it", tenantMark)
	r.rule(marked && !r.all.has("tenant"), "tenant", "is missing; an endpoint has %s in it", tenantMark)
	r.rule(!of && r.given.has("allowed_tenants"), "allowed_tenants", "has no effect; the issuer has no %s in it", tenantIDMark)
	r.rule(of && !s.connect, "issuer", "has %s in it; write jwks_uri, since only an id_token tells its tenant", tenantIDMark)
	r.rule(of && s.endpoints.token == "", "issuer", "has %s in it; write the endpoints, since discovery is by an exact issuer", tenantIDMark)
	if of && isUUID(tenant) && s.tenants == nil {
		s.tenants = []string{tenant}
	}
}

// assertion checks what is about private_key_jwt.
func (r *reader) assertion(s settings) {
	for _, name := range []string{"client_key_id", "client_key_algorithm", "client_assertion_audience"} {
		r.rule(s.clientAuth != authKey && r.given.has(name), name, "has no effect without client_auth: %s", authKey)
	}
	r.rule(s.clientAuth == authKey && s.keyAudience == audienceIssuer && strings.Contains(s.issuer, tenantIDMark), "client_assertion_audience",
		"must be %s; the issuer is not known before there is a token", audienceToken)
}

// mapping reads the names of claims.
func (r *reader) mapping(connect bool) mapping {
	m := mapping{email: "email", emailVerified: "email_verified", name: "name", picture: "picture"}
	if connect {
		m.subject = "sub"
	}
	members := maps.Clone(r.claims)
	if members == nil {
		members = object{}
	}
	if r.given.has("claims") {
		given, err := readObject(r.given["claims"])
		r.rule(err != nil, "claims", "must be an object")
		maps.Copy(members, given)
	}
	into := map[string]*string{
		"subject": &m.subject, "email": &m.email, "email_verified": &m.emailVerified,
		"name": &m.name, "picture": &m.picture, "groups": &m.groups,
	}
	for name, value := range members {
		at, known := into[name]
		if !known {
			r.fault("claims."+name, "is unknown; there are subject, email, email_verified, name, picture, groups")
			continue
		}
		*at = textOf(value)
		r.rule(*at == "" && string(value) != `""` || len(*at) > 256 || !isText(*at), "claims."+name, "must be the name of a claim, or empty for none")
	}
	written, _ := readObject(r.given["claims"])
	r.rule(written.has("email") && m.email != "email" && m.email != "" && !written.has("email_verified"), "claims.email_verified",
		"is missing; the usual one speaks of the claim email. Name the one that vouches for this address, or write \"\" for none")
	r.rule(m.subject == "", "claims.subject", "is missing; name what never changes of a person, such as id")
	_, err := templateOf(m.subject)
	r.rule(err != nil, "claims.subject", "has a brace without its other half, or without a name in between")
	return m
}

// parameters reads what is sent along to the authorization endpoint.
func (r *reader) parameters() map[string]string {
	if !r.all.has("parameters") {
		return nil
	}
	members, err := readObject(r.all["parameters"])
	r.rule(err != nil, "parameters", "must be an object of texts")
	r.rule(len(members) > 16, "parameters", "has more than 16 members")
	out := make(map[string]string, len(members))
	for name, value := range members {
		path := "parameters." + name
		out[name] = textOf(value)
		r.rule(name == "" || len(name) > 64 || strings.Trim(name, nameBytes) != "", path, "must have a name of letters, digits, dots, dashes and underscores")
		r.rule(slices.Contains(reserved, name), path, "is not yours to set; it has a setting, or is made for each login")
		r.rule(out[name] == "" && string(value) != `""` || len(out[name]) > 256 || !isText(out[name]), path, "must be a text of at most 256 bytes")
	}
	return out
}

const nameBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

// reserved are the parameters that this provider makes, or that would change what comes back
// and how.
var reserved = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"prompt", "max_age", "hd", "login_hint", "request", "request_uri", "id_token_hint", "client_secret", "client_assertion",
}

// text reads a text of printable ASCII.
func (r *reader) text(name string, most int, required bool) string {
	if !r.all.has(name) {
		r.rule(required, name, "is missing")
		return ""
	}
	s := r.all.text(name)
	r.rule(s == "" || len(s) > most || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }), name,
		"must be a text of 1 to %d printable characters", most)
	return s
}

func (r *reader) choice(name, standard string, choices ...string) string {
	if !r.all.has(name) {
		return standard
	}
	s := r.all.text(name)
	r.rule(!slices.Contains(choices, s), name, "must be one of %s", strings.Join(choices, ", "))
	return s
}

func (r *reader) flag(name string) bool {
	value := string(r.all[name])
	r.rule(value != "" && value != "true" && value != "false", name, "must be true or false")
	return value == "true"
}

// seconds reads a number of seconds, up to a year of them.
func (r *reader) seconds(name string) time.Duration {
	const most = 366 * 24 * 3600
	if !r.all.has(name) {
		return 0
	}
	n, err := strconv.Atoi(string(r.all[name]))
	r.rule(err != nil || n < 1 || n > most, name, "must be a whole number of seconds, 1 to %d", most)
	return time.Duration(n) * time.Second
}

// domain reads a domain in lower case.
func (r *reader) domain(name string) string {
	if !r.all.has(name) {
		return ""
	}
	s := r.all.text(name)
	r.rule(!strings.Contains(s, ".") || len(s) > 253 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "", name,
		"must be a domain in lower case, as in example.com")
	return s
}

// list reads a list of texts, each of which is good and there once.
func (r *reader) list(name string, standard []string, good func(string) bool, want string) []string {
	if !r.all.has(name) {
		return standard
	}
	const most = 64
	raw, ok := readList(r.all[name])
	r.rule(!ok, name, "must be a list")
	r.rule(len(raw) > most, name, "has more than %d elements", most)
	out := make([]string, 0, len(raw))
	for i, value := range raw {
		s := textOf(value)
		path := fmt.Sprintf("%s[%d]", name, i)
		r.rule(!good(s), path, "must be %s", want)
		r.rule(slices.Contains(out, s), path, "is there twice")
		out = append(out, s)
	}
	return out
}

// isScope reports whether s is a scope-token of RFC 6749 §3.3.
func isScope(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' })
}

// isUUID reports whether s is a UUID as issuers write it: in lower case, so that one tenant
// has one name.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && strings.IndexByte("0123456789abcdef", s[i]) < 0 {
			return false
		}
	}
	return true
}

// values returns the parameters.
func (s settings) values() url.Values {
	v := make(url.Values)
	for name, value := range s.parameters {
		v.Set(name, value)
	}
	return v
}
