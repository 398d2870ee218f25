package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Default returns the configuration of an empty file in the current directory: complete,
// but with no route, no provider and no way for mail to leave.
func Default() Config {
	cfg := base()
	cfg.derive()
	cfg.RateLimits = builtinLimits()
	return cfg
}

// base returns what holds before the file is read. What follows from other values is left
// empty for derive.
func base() Config {
	return Config{
		Server: Server{
			Listen: "127.0.0.1:8000",
			Limits: Limits{
				HeaderBytes:   32 * KiB,
				BodyBytes:     GiB,
				IdentityBytes: 64 * KiB,
				Connections:   16384,
			},
			Timeouts: Timeouts{
				Read:  30 * time.Second,
				Write: 30 * time.Second,
				Idle:  75 * time.Second,
				Drain: 25 * time.Second,
				Grace: 5 * time.Second,
			},
		},
		DataDir:  "data",
		Log:      Log{Level: "info", Access: true},
		Admin:    Admin{Metrics: true, ReadyNeeds: []string{"database", "migrations", "plugins", "keys"}},
		Tracing:  Tracing{Enabled: true},
		Database: Database{PoolSize: 50},
		Redis:    Redis{KeyPrefix: "shield:"},
		Token: Token{
			Algorithm:   "RS256",
			AccessTTL:   15 * time.Minute,
			Leeway:      30 * time.Second,
			CacheSize:   65536,
			RotateEvery: 90 * day,
			Overlap:     7 * day,
			Publish:     10 * time.Minute,
		},
		Session: Session{RefreshTTL: 30 * day, Grace: 10 * time.Second},
		Login: Login{
			VerifyTTL:    day,
			ResetTTL:     time.Hour,
			MagicTTL:     15 * time.Minute,
			UniformDelay: 250 * time.Millisecond,
		},
		Mail: Mail{
			SMTP:   SMTP{Port: 587, TLS: "starttls", Timeout: 10 * time.Second},
			Retry:  30 * time.Second,
			GiveUp: day,
		},
	}
}

// builtinLimits are the limits of the gateway's own endpoints. What they count beside the
// key (the account of a login, the session of a refresh) the endpoint adds.
func builtinLimits() []RateLimit {
	ip := func(name string, limit int, period time.Duration) RateLimit {
		return RateLimit{Name: name, Limit: limit, Period: period, Burst: limit, Key: []string{"ip"}}
	}
	return []RateLimit{
		ip("login", 5, 15*time.Minute),
		ip("login-ip", 300, 15*time.Minute),
		{Name: "login-account", Limit: 20, Period: 15 * time.Minute, Burst: 20},
		ip("sso", 600, 15*time.Minute), // an office is one address, and every login takes two
		ip("register", 3, time.Hour),
		ip("password-reset", 3, time.Hour),
		ip("magic-link", 3, time.Hour),
		ip("verify-resend", 3, time.Hour),
		{Name: "refresh", Limit: 10, Period: time.Minute, Burst: 10},
	}
}

func (i *Issuer) setDefaults() {
	i.Types = []string{"at+jwt"}
	i.ScopeClaim = "scope"
	i.Refresh = 15 * time.Minute
	i.StaleFor = day
}

func (u *Upstream) setDefaults() {
	u.Connections = 512
	u.ConnectTimeout = 5 * time.Second
}

func (r *Route) setDefaults() { r.Timeout = 30 * time.Second }

// finish makes a configuration that passed every rule complete: paths are absolute from
// dir, what was left out follows from the rest.
func (c *Config) finish(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("the directory of the configuration is unknown: %w", err)
	}
	resolve := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	resolve(&c.DataDir)
	resolve(&c.Mail.Directory)
	resolve(&c.Mail.SMTP.CAFile)
	for i := range c.Providers {
		resolve(&c.Providers[i].Plugin)
		resolve(&c.Providers[i].HTTP.CAFile)
	}
	if file, ok := strings.CutPrefix(c.Database.URL.Reveal(), "sqlite:"); ok {
		file = strings.TrimPrefix(file, "//")
		resolve(&file)
		c.Database.URL = NewSecret("sqlite:" + file)
	}
	c.derive()
	c.RateLimits = withBuiltins(c.RateLimits)
	return nil
}

// derive fills in what follows from other values.
func (c *Config) derive() {
	fill := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	fill(&c.Server.PublicURL, "http://"+c.Server.Listen)
	c.Server.PublicURL = strings.TrimSuffix(c.Server.PublicURL, "/")
	if len(c.Server.AllowedHosts) == 0 {
		// As the deployments expect. No answer and no link is made from what a request names.
		c.Server.AllowedHosts = []string{"*"}
	}
	fill(&c.Token.Issuer, c.Server.PublicURL)
	fill(&c.Token.Audience, c.Token.Issuer)
	if c.Database.URL.Empty() {
		c.Database.URL = NewSecret("sqlite:" + filepath.Join(c.DataDir, "shield.db"))
	}
	existing := "silent"
	if c.Debug {
		existing = "conflict"
	}
	fill(&c.Login.ExistingAccount, existing)
	for i := range c.Providers {
		fill(&c.Providers[i].Label, c.Providers[i].Name)
	}
	for i := range c.Upstreams {
		c.Upstreams[i].URL = strings.TrimSuffix(c.Upstreams[i].URL, "/")
	}
}

// withBuiltins returns the built-in limits, each as own changes it, and then the rest of
// own.
func withBuiltins(own []RateLimit) []RateLimit {
	all := builtinLimits()
	for _, limit := range own {
		i := slices.IndexFunc(all, func(b RateLimit) bool { return b.Name == limit.Name })
		if i < 0 {
			all = append(all, limit)
			continue
		}
		all[i] = limit
	}
	return all
}
