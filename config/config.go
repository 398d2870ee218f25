// Package config is what an operator may say to Shield: plain structs with their
// defaults, a strict loader that reports every fault at once with its place, and the
// JSON Schema that editors use. It imports nothing else of this module; each package
// of the gateway is given its own section and never the whole.
package config

import "time"

// Config is a whole configuration file. The zero value is not usable: start from
// [Default] or [Load].
//
// The tags of the fields are the one description of a file that there is: the loader, the
// environment and the schema all read them. yaml is the key, doc its description, env the
// environment variable that overrides it; enum lists what is allowed and also further
// spellings; min and max are inclusive; required keys have no default; format names an
// entry of the formats table.
type Config struct {
	Server             Server      `yaml:"server" doc:"The listener: where clients connect, and what they may send."`
	Debug              bool        `yaml:"debug" env:"DEBUG" doc:"Development mode. It changes defaults that reveal more to clients; never set it in production."`
	DataDir            string      `yaml:"data_dir" doc:"Directory for what the gateway makes itself: keys, the SQLite file, the compile cache. Made with mode 0700."`
	SecretKey          Secret      `yaml:"secret_key" format:"secret" env:"SECRET_KEY" doc:"At least 32 random characters. Refresh tokens, one-time links and stored secrets are bound to it. Made in data_dir when absent."`
	PreviousSecretKeys []Secret    `yaml:"previous_secret_keys" format:"secret" doc:"Secret keys of before, the newest first. Tokens of other sites that are kept encrypted under one of them can still be read; nothing new is bound to it."`
	Log                Log         `yaml:"log" doc:"The log on standard error, one JSON record a line."`
	Admin              Admin       `yaml:"admin" doc:"Probes and metrics."`
	Tracing            Tracing     `yaml:"tracing" doc:"W3C trace context."`
	Database           Database    `yaml:"database" doc:"Where users, sessions and flows are kept."`
	Redis              Redis       `yaml:"redis" doc:"Shared rate limits. Without it limits are counted in this process."`
	Token              Token       `yaml:"token" doc:"The access tokens that Shield issues, and their keys."`
	Issuers            []Issuer    `yaml:"issuers" doc:"Other issuers whose access tokens are accepted, each with its JWKS."`
	Session            Session     `yaml:"session" doc:"Refresh tokens and sessions."`
	Login              Login       `yaml:"login" doc:"What holds for every way to log in."`
	Mail               Mail        `yaml:"mail" doc:"How mail leaves."`
	Plugins            Plugins     `yaml:"plugins" doc:"What holds for every plugin file: signatures."`
	Providers          []Provider  `yaml:"providers" doc:"The ways to prove who one is: plugins and their settings."`
	RateLimits         []RateLimit `yaml:"rate_limits" doc:"Named limits. A route refers to them by name; the built-in ones may be changed here."`
	Upstreams          []Upstream  `yaml:"upstreams" doc:"The services behind the gateway."`
	Routes             []Route     `yaml:"routes" doc:"Which request goes where, and who may send it."`
}

// Server is the section of the listener.
type Server struct {
	Listen         string   `yaml:"listen" format:"hostport" doc:"host:port to listen on."`
	PublicURL      string   `yaml:"public_url" format:"origin" doc:"The scheme and authority that clients use. Links in mails and the issuer default come from it."`
	AllowedHosts   []string `yaml:"allowed_hosts" format:"hosts" env:"ALLOWED_HOSTS" doc:"Hosts that requests may name. \"*\" is any; \".example.com\" is the domain and all below it."`
	TrustedProxies []string `yaml:"trusted_proxies" format:"cidr" doc:"Addresses or CIDR blocks whose X-Forwarded-For is believed."`
	Limits         Limits   `yaml:"limits" doc:"Sizes of a request."`
	Timeouts       Timeouts `yaml:"timeouts" doc:"How long a client may take."`
}

// Limits bounds what one request may hold.
type Limits struct {
	HeaderBytes      Size `yaml:"header_bytes" min:"4KiB" max:"1MiB" doc:"All header fields and the request line together. More is answered 431."`
	BodyBytes        Size `yaml:"body_bytes" min:"0" doc:"A body that is proxied; a route may set its own. 0 is unlimited."`
	IdentityBytes    Size `yaml:"identity_bytes" min:"1KiB" max:"16MiB" doc:"A body of the gateway's own endpoints."`
	Connections      int  `yaml:"connections" min:"1" doc:"Open client connections."`
	ConnectionsPerIP int  `yaml:"connections_per_ip" min:"0" doc:"Open connections from one address. 0 is unlimited."`
}

// Timeouts bounds how long one client may hold a connection.
type Timeouts struct {
	Read  time.Duration `yaml:"read" min:"1s" max:"1h" doc:"From the first byte of a request to the end of its head, and between two reads of a body. A body that stays below 1 KiB/s on average for so long is answered 408, too."`
	Write time.Duration `yaml:"write" min:"1s" max:"1h" doc:"Between two writes of an answer."`
	Idle  time.Duration `yaml:"idle" min:"1s" max:"1h" doc:"Between two requests of a connection."`
	Drain time.Duration `yaml:"drain" min:"0" max:"1h" doc:"How long running requests may finish after SIGTERM."`
	Grace time.Duration `yaml:"grace" min:"0" max:"10m" doc:"How long readiness says 503 after SIGTERM before the listener closes."`
}

// Log is the section of the log.
type Log struct {
	Level  string `yaml:"level" also:"DEBUG=debug,INFO=info,WARN=warn,WARNING=warn,warning=warn,ERROR=error,CRITICAL=error" env:"LOG_LEVEL" enum:"debug,info,warn,error" doc:"The least level that is written. DEBUG, INFO, WARNING and ERROR are also understood."`
	Access bool   `yaml:"access" doc:"One record for each request."`
}

// Admin is the section of probes and metrics.
type Admin struct {
	Metrics    bool     `yaml:"metrics" env:"ENABLE_METRICS" doc:"Serve /metrics/."`
	Listen     string   `yaml:"listen" format:"hostport" doc:"host:port of a second listener for probes and metrics. When set, /metrics/ is no longer on the public one."`
	ReadyNeeds []string `yaml:"ready_needs" enum:"database,redis,migrations,plugins,keys" doc:"Checks without which /ready/ answers 503. A failing check that is not named is told too, but keeps the traffic: without Redis everything goes on."`
}

// Tracing is the section of trace context.
type Tracing struct {
	Enabled bool `yaml:"enabled" env:"ENABLE_TRACING" doc:"Give each proxied request a traceparent of the gateway and log its trace id."`
}

// Database is the section of the store.
type Database struct {
	URL      Secret `yaml:"url" format:"database" env:"DATABASE_URL" doc:"postgres://... or sqlite:PATH. Default: sqlite in data_dir."`
	PoolSize int    `yaml:"pool_size" env:"DATABASE_POOL_SIZE" min:"1" max:"1000" doc:"Most connections to the database."`
	Migrate  bool   `yaml:"migrate" doc:"Bring the schema up to date at start. Otherwise shield migrate up does it, and /ready/ says pending until then."`
}

// Redis is the section of Redis.
type Redis struct {
	URL       Secret `yaml:"url" format:"redis" env:"REDIS_URL" doc:"redis://, rediss:// or unix://; redis-sentinel://HOST:PORT,.../MASTER; redis-cluster://HOST:PORT,... (rediss-... by TLS). Empty: Redis is not used."`
	KeyPrefix string `yaml:"key_prefix" format:"word" doc:"Put before every key, so that installations can share a server."`
}

// Token is the section of the access tokens that Shield issues.
type Token struct {
	Issuer      string        `yaml:"issuer" format:"text" doc:"The iss claim. Default: server.public_url."`
	Audience    string        `yaml:"audience" format:"text" doc:"The aud claim, also demanded of tokens that come in. Default: the issuer."`
	Algorithm   string        `yaml:"algorithm" enum:"RS256,ES256,EdDSA" doc:"How access tokens are signed."`
	AccessTTL   time.Duration `yaml:"access_ttl" min:"1m" max:"24h" doc:"How long an access token is valid."`
	Leeway      time.Duration `yaml:"leeway" min:"0" max:"5m" doc:"How far clocks may differ when exp and nbf are checked."`
	CacheSize   int           `yaml:"cache_size" min:"1" max:"10000000" doc:"How many verified tokens are remembered."`
	PrivateKey  Secret        `yaml:"private_key" format:"private-key" env:"JWT_PRIVATE_KEY" doc:"PEM of the signing key. Without it keys are made and rotated in data_dir."`
	PublicKey   string        `yaml:"public_key" format:"public-key" env:"JWT_PUBLIC_KEY" doc:"PEM of further keys that verify, for instance the one before."`
	RotateEvery time.Duration `yaml:"rotate_every" min:"0" max:"3650d" doc:"Age at which a key in data_dir is replaced. 0: only by shield keys rotate."`
	Overlap     time.Duration `yaml:"overlap" min:"1m" max:"3650d" doc:"How long a replaced key still verifies."`
	Publish     time.Duration `yaml:"publish" min:"0" max:"30d" doc:"How long a new key stands in the JWKS before it signs."`
}

// Issuer is another issuer whose access tokens are accepted.
type Issuer struct {
	Name       string        `yaml:"name" required:"true" format:"id" doc:"Its name in logs and metrics."`
	Issuer     string        `yaml:"issuer" required:"true" format:"text" doc:"The iss claim, compared exactly."`
	JWKSURL    string        `yaml:"jwks_url" required:"true" format:"https" doc:"Where its keys are. https, or http on loopback."`
	Audience   string        `yaml:"audience" required:"true" format:"text" doc:"The aud claim that its tokens must hold."`
	Algorithms []string      `yaml:"algorithms" required:"true" enum:"RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA" doc:"The algorithms that it signs with. The token has no say."`
	Types      []string      `yaml:"types" format:"word" doc:"Accepted typ headers. Default: at+jwt alone, so that an id_token is refused."`
	ScopeClaim string        `yaml:"scope_claim" format:"text" doc:"The claim that holds scopes."`
	RolesClaim string        `yaml:"roles_claim" format:"text" doc:"The claim that holds roles. Empty: none are taken."`
	Refresh    time.Duration `yaml:"refresh" min:"1m" max:"24h" doc:"How often its keys are fetched anew."`
	StaleFor   time.Duration `yaml:"stale_for" min:"0" max:"30d" doc:"How long the last good keys serve while its JWKS cannot be fetched."`
}

// Session is the section of sessions and refresh tokens.
type Session struct {
	RefreshTTL  time.Duration `yaml:"refresh_ttl" min:"1m" max:"3650d" doc:"How long a refresh token is valid; each rotation begins anew."`
	MaxLifetime time.Duration `yaml:"max_lifetime" min:"0" max:"3650d" doc:"How long a session may last however often it is refreshed. 0 is unlimited."`
	Grace       time.Duration `yaml:"grace" min:"0" max:"5m" doc:"How long the token before the current one may be repeated."`
	Cookie      bool          `yaml:"cookie" doc:"Also hand the refresh token out as an HttpOnly cookie."`
}

// Login is the section of what holds for every way to log in.
type Login struct {
	Provider        string        `yaml:"provider" doc:"The provider that /auth/login, /auth/register and the other endpoints without a provider in their path ask. Default: the first that has the form; with several providers name one, or while it is not loaded another could be asked."`
	SAMLProvider    string        `yaml:"saml_provider" doc:"The provider that the endpoints below /auth/saml ask. Default: the first of the kind saml."`
	RedirectURIs    []string      `yaml:"redirect_uris" format:"redirect-uri" doc:"Where a browser may be sent to after a login at another site, each spelled exactly as clients name it in redirect_uri: https, http on loopback, or a scheme of an app that has a dot in it, such as com.example.app:/signed-in."`
	ExistingAccount string        `yaml:"existing_account" enum:"silent,conflict" doc:"What registering a known address answers: the same as an unknown one, or 409. Default: silent, and conflict with debug."`
	VerifiedPage    string        `yaml:"verified_page" format:"page" doc:"Where the browser goes after a verified link. Empty: a JSON answer."`
	VerifyTTL       time.Duration `yaml:"verify_ttl" min:"1m" max:"7d" doc:"How long a verification link is valid."`
	ResetTTL        time.Duration `yaml:"reset_ttl" min:"1m" max:"1d" doc:"How long a password reset link is valid."`
	MagicTTL        time.Duration `yaml:"magic_ttl" min:"1m" max:"1d" doc:"How long a magic link is valid."`
	ResetPage       string        `yaml:"reset_page" format:"page" doc:"Page that a reset link opens; the token is appended as its fragment. Empty: the link names the token only."`
	UniformDelay    time.Duration `yaml:"uniform_delay" min:"0" max:"5s" doc:"The least time that answers take which must not tell whether an address is known."`
}

// Mail is the section of outgoing mail. Exactly one of SMTP and Directory is used.
type Mail struct {
	From      string        `yaml:"from" format:"mailbox" doc:"The sender, as in RFC 5322: Name <address>."`
	Directory string        `yaml:"directory" doc:"Write each mail into this directory as a .eml file instead of sending it."`
	SMTP      SMTP          `yaml:"smtp" doc:"The server that mail is handed to."`
	Retry     time.Duration `yaml:"retry" min:"1s" max:"1h" doc:"Pause before the second try; it doubles up to an hour."`
	GiveUp    time.Duration `yaml:"give_up" min:"1m" max:"30d" doc:"Age at which a mail that could not be sent is dropped, with an error in the log."`
}

// SMTP names a mail server.
type SMTP struct {
	Host     string        `yaml:"host" format:"host" doc:"Its name. Empty: SMTP is not used."`
	Port     int           `yaml:"port" min:"1" max:"65535" doc:"Its port."`
	Username string        `yaml:"username" doc:"Empty: no authentication."`
	Password Secret        `yaml:"password" doc:"For the user name."`
	TLS      string        `yaml:"tls" enum:"starttls,implicit,none" doc:"starttls is mandatory STARTTLS; none is for a server on loopback."`
	CAFile   string        `yaml:"ca_file" doc:"PEM of the authority that signed its certificate, beside the system's."`
	Timeout  time.Duration `yaml:"timeout" min:"1s" max:"5m" doc:"For one mail."`
}

// RateLimit is a named limit.
type RateLimit struct {
	Name   string        `yaml:"name" required:"true" format:"name" doc:"Routes refer to it by this name. login, login-ip, login-account, sso, register, password-reset, magic-link, verify-resend and refresh are built in."`
	Limit  int           `yaml:"limit" min:"1" doc:"How many requests in the period."`
	Period time.Duration `yaml:"period" min:"1s" max:"31d" doc:"The period."`
	Burst  int           `yaml:"burst" min:"0" doc:"How many at once. Default: limit."`
	Key    []string      `yaml:"key" enum:"ip,subject,route" doc:"Who shares a budget: any combination."`
}

// Upstream is a service behind the gateway.
type Upstream struct {
	Name           string        `yaml:"name" required:"true" format:"id" doc:"Routes refer to it by this name."`
	URL            string        `yaml:"url" required:"true" format:"upstream" doc:"http://host:port or https://host:port, without a path."`
	Connections    int           `yaml:"connections" min:"1" doc:"Most connections to it."`
	ConnectTimeout time.Duration `yaml:"connect_timeout" min:"10ms" max:"5m" doc:"For a new connection."`
}

// Route says where requests go and who may send them.
type Route struct {
	Name        string        `yaml:"name" required:"true" format:"id" doc:"Its name in logs and metrics."`
	Host        string        `yaml:"host" format:"host" doc:"The host that it is for. Empty: any."`
	Path        string        `yaml:"path" format:"path" doc:"The exact path, spelled as requests are matched: without needless escapes. One of path and prefix is needed."`
	Prefix      string        `yaml:"prefix" format:"path" doc:"The path and everything below it; with a / at its end, everything below it alone."`
	Methods     []string      `yaml:"methods" enum:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS" doc:"Empty: all of them."`
	Upstream    string        `yaml:"upstream" required:"true" doc:"The name of an upstream."`
	StripPrefix string        `yaml:"strip_prefix" format:"path" doc:"Taken off the path before it goes upstream. The path must begin with it."`
	Auth        string        `yaml:"auth" required:"true" enum:"required,optional,public" doc:"required: a valid token. optional: a valid token or none. public: tokens are not looked at. There is no default."`
	Scopes      []string      `yaml:"scopes" format:"word" doc:"Scopes that the token must hold, all of them."`
	Roles       []string      `yaml:"roles" format:"word" doc:"Roles of which the token must hold one, in any workspace."`
	RateLimits  []string      `yaml:"rate_limits" doc:"Names of limits."`
	Timeout     time.Duration `yaml:"timeout" min:"10ms" max:"1h" doc:"Until the upstream's answer begins, and between two reads of it."`
	BodyBytes   Size          `yaml:"body_bytes" min:"0" doc:"Most bytes of a body, instead of server.limits.body_bytes."`
}
