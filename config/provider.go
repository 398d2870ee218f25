package config

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"time"
)

// Plugins is the section of what holds for every plugin file.
type Plugins struct {
	RequireSigned bool        `yaml:"require_signed" doc:"Refuse every plugin that has no signature by one of keys beside it."`
	Keys          []PluginKey `yaml:"keys" doc:"Keys whose signatures are believed. A signature that is there must be by one of them, also where none is required."`
}

// PluginKey is a key whose signatures of plugins are believed.
type PluginKey struct {
	Name      string `yaml:"name" required:"true" format:"id" doc:"Its name in the log."`
	PublicKey string `yaml:"public_key" required:"true" format:"public-key" doc:"PEM of the Ed25519 public key."`
}

// Provider is one configured plugin.
type Provider struct {
	Name           string           `yaml:"name" required:"true" format:"name" doc:"Its name in paths, logs and metrics: lower-case letters, digits, dashes."`
	Label          string           `yaml:"label" format:"text" doc:"Its name for people, on login pages."`
	Plugin         string           `yaml:"plugin" required:"true" format:"text" doc:"Path of the .wasm file, or of the executable, relative to the configuration file."`
	Transport      string           `yaml:"transport" enum:"wasm,process" doc:"How the plugin runs: in the sandbox, or as a child process. Default: wasm if the file's name ends in .wasm, else process."`
	SHA256         string           `yaml:"sha256" format:"sha256" doc:"The digest that the file must have, in hexadecimal. Any other file is refused."`
	Capabilities   []string         `yaml:"capabilities" enum:"kv,password,log,http,jwt,xmldsig,secret" doc:"What the plugin may ask of the host. A module that imports more is refused."`
	TrustEmail     []string         `yaml:"trust_email" format:"domains" doc:"Domains whose owner runs this provider, or lets it speak for their addresses: an address of them that it calls verified joins the account that has it, and is told to upstreams and as is_verified. \"*\" is any domain. Nothing is trusted by default."`
	AllowedDomains []string         `yaml:"allowed_domains" format:"domain" doc:"Who may log in through this provider: people with a verified address of one of these domains. Empty: everybody."`
	Headers        []string         `yaml:"headers" format:"header" doc:"Request headers that the plugin is shown. Authorization and Cookie cannot be."`
	HTTP           Egress           `yaml:"http" doc:"What the capabilities http and jwt may reach."`
	Secrets        []ProviderSecret `yaml:"secrets" doc:"What the capabilities secret, jwt and xmldsig know by name. Private keys (PEM) can be used by the plugin, never read."`
	MemoryBytes    Size             `yaml:"memory_bytes" min:"1MiB" max:"4GiB" doc:"Most memory of one instance."`
	Timeout        time.Duration    `yaml:"timeout" min:"10ms" max:"5m" doc:"Most time of one call."`
	Fuel           int              `yaml:"fuel" min:"1" doc:"Most work of one call, in millions of instructions (wasm)."`
	Interruption   string           `yaml:"interruption" enum:"metered,deadline" doc:"How a guest is stopped (wasm). metered counts its work, also in recursion, and costs it next to nothing; deadline looks at the clock in each loop, which slows it down, and knows no fuel."`
	Isolation      string           `yaml:"isolation" enum:"pooled,per_call" doc:"pooled: an instance serves many calls, one after another. per_call: each call has a new one (wasm)."`
	Instances      int              `yaml:"instances" min:"1" max:"1024" doc:"Most calls at a time."`
	Wait           time.Duration    `yaml:"wait" min:"0" max:"1m" doc:"How long a call waits for a free instance."`
	MaxCalls       int              `yaml:"max_calls" min:"0" doc:"Calls after which an instance is replaced (wasm). 0: none."`
	MaxAge         time.Duration    `yaml:"max_age" min:"0" max:"30d" doc:"Age at which an instance is replaced (wasm). 0: none."`
	Config         Settings         `yaml:"config" doc:"The plugin's own settings, handed to it as JSON."`
}

// Egress is what a plugin may reach over the network.
type Egress struct {
	Allow       []string      `yaml:"allow" format:"egress" doc:"Servers, as scheme://host or scheme://host:port. https://*.example.com is every name below that domain. What is not listed is refused, also behind a redirect."`
	Addresses   []string      `yaml:"addresses" format:"cidr" doc:"Addresses that may be dialled although they are loopback, private, link-local or otherwise not of the public Internet."`
	CAFile      string        `yaml:"ca_file" doc:"PEM of authorities that sign the servers' certificates, instead of the system's."`
	Timeout     time.Duration `yaml:"timeout" min:"10ms" max:"1m" doc:"For one request with its redirects and its body."`
	MaxResponse Size          `yaml:"max_response" min:"1KiB" max:"960KiB" doc:"Most bytes of a body that is fetched."`
	MaxRequests int           `yaml:"max_requests" min:"1" max:"64" doc:"Most requests in one call."`
	Circuit     Circuit       `yaml:"circuit" doc:"When servers that keep failing are not asked any more: all of the provider's together, or for a provider of the kind saml each by itself. What is 0 follows from the kind."`
}

// Circuit says when servers that keep failing are not asked for a while.
type Circuit struct {
	Failures int           `yaml:"failures" min:"0" max:"1000" doc:"How many requests have to fail: without a connection, without an answer in time, or with an answer of 500 and above. 0: 5, and 3 for a provider of the kind saml."`
	Within   time.Duration `yaml:"within" min:"0" max:"1h" doc:"In which time. 0: 30s, and 60s for saml."`
	Open     time.Duration `yaml:"open" min:"0" max:"1h" doc:"How long they are not asked then. After that one request finds out whether they are well. 0: 60s, and 120s for saml."`
}

// ProviderSecret is a secret that a plugin knows by its name.
type ProviderSecret struct {
	Name  string `yaml:"name" required:"true" format:"id" doc:"Its name for the plugin."`
	Value Secret `yaml:"value" required:"true" doc:"The secret, by ${VAR}."`
}

func (p *Provider) setDefaults() {
	p.HTTP = Egress{Timeout: 5 * time.Second, MaxResponse: 512 * KiB, MaxRequests: 16}
	p.MemoryBytes = 64 * MiB
	p.Timeout = 5 * time.Second
	p.Fuel = 10_000
	p.Interruption = "metered"
	p.Isolation = "pooled"
	p.Instances = 16
	p.Wait = 2 * time.Second
	p.MaxCalls = 100_000
	p.MaxAge = time.Hour
}

// IsProcess reports whether the plugin runs as a child process.
func (p Provider) IsProcess() bool { return p.Transport == "process" }

// Grants reports whether the operator grants a capability.
func (p Provider) Grants(capability string) bool { return slices.Contains(p.Capabilities, capability) }

func (l *loader) checkPlugins(c *Config) {
	unique(l, "plugins.keys", "name", c.Plugins.Keys, func(k PluginKey) string { return k.Name })
	l.rule(c.Plugins.RequireSigned && len(c.Plugins.Keys) == 0, "plugins.keys",
		"is missing; plugins.require_signed needs at least one key, or every plugin would be refused")
	for i, k := range c.Plugins.Keys {
		_, err := k.Ed25519()
		l.rule(err != nil, index("plugins.keys", i)+".public_key",
			"is not an Ed25519 key; make one with: openssl genpkey -algorithm ed25519, and write its public half")
	}
}

// Ed25519 returns the key.
func (k PluginKey) Ed25519() (ed25519.PublicKey, error) {
	block, rest := pem.Decode([]byte(k.PublicKey))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("not one PEM block")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("not an Ed25519 key")
	}
	return public, nil
}

func (l *loader) checkProviders(c *Config) {
	refers(l, "login.provider", c.Login.Provider, "providers", c.Providers, func(p Provider) string { return p.Name })
	refers(l, "login.saml_provider", c.Login.SAMLProvider, "providers", c.Providers, func(p Provider) string { return p.Name })
	unique(l, "providers", "name", c.Providers, func(p Provider) string { return p.Name })
	for i, p := range c.Providers {
		l.checkProvider(p, index("providers", i))
	}
}

func (l *loader) checkProvider(p Provider, path string) {
	unique(l, path+".capabilities", "", p.Capabilities, itself)
	unique(l, path+".trust_email", "", p.TrustEmail, itself)
	l.rule(len(p.TrustEmail) > 1 && slices.Contains(p.TrustEmail, "*"), path+".trust_email",
		"names domains beside \"*\", which is all of them; keep one or the other")
	unique(l, path+".allowed_domains", "", p.AllowedDomains, itself)
	unique(l, path+".headers", "", p.Headers, strings.ToLower)
	unique(l, path+".secrets", "name", p.Secrets, func(s ProviderSecret) string { return s.Name })
	for i, s := range p.Secrets {
		below := index(path+".secrets", i) + ".value"
		l.rule(s.Value.Empty(), below, "is empty; write the secret, by ${VAR}")
	}
	reaches := p.Grants("http") || p.Grants("jwt")
	l.rule(p.Grants("http") && len(p.HTTP.Allow) == 0, path+".http.allow",
		"is missing; with the capability http write the servers that the plugin may reach, such as https://login.example.com")
	l.rule(!reaches && l.given(path+".http"), path+".http",
		"has no effect; grant the capability http, or remove the section")
	uses := p.Grants("secret") || p.Grants("jwt") || p.Grants("xmldsig")
	l.rule(!uses && len(p.Secrets) > 0, path+".secrets",
		"have no effect; grant the capability that uses them (secret, jwt or xmldsig), or remove them")
	if !p.IsProcess() {
		l.rule(p.Interruption == "deadline" && l.given(path+".fuel"), path+".fuel",
			"has no effect with interruption deadline; remove it, or choose metered")
		return
	}
	for _, key := range []string{"fuel", "interruption", "isolation", "max_calls", "max_age"} {
		l.rule(l.given(path+"."+key), path+"."+key, "is for modules; remove it, or name a .wasm file")
	}
}
