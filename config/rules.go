package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// fill sets what was not given and depends on what was, before the rules look at it.
func (l *loader) fill(c *Config) {
	if c.Mail.SMTP.TLS == "implicit" && !l.given("mail.smtp.port") {
		c.Mail.SMTP.Port = 465
	}
	for i := range c.Routes {
		if !l.given(index("routes", i) + ".body_bytes") {
			c.Routes[i].BodyBytes = c.Server.Limits.BodyBytes
		}
	}
	for i := range c.Providers {
		if p := &c.Providers[i]; p.Transport == "" {
			p.Transport = "process"
			if strings.HasSuffix(p.Plugin, ".wasm") {
				p.Transport = "wasm"
			}
		}
	}
	for i := range c.RateLimits {
		l.fillLimit(&c.RateLimits[i], index("rate_limits", i))
	}
}

// fillLimit gives a limit with a built-in name what it does not change of it.
func (l *loader) fillLimit(limit *RateLimit, path string) {
	for _, builtin := range builtinLimits() {
		if builtin.Name != limit.Name {
			continue
		}
		if !l.given(path + ".limit") {
			limit.Limit = builtin.Limit
		}
		if !l.given(path + ".period") {
			limit.Period = builtin.Period
		}
		if !l.given(path + ".key") {
			limit.Key = builtin.Key
		}
	}
	if !l.given(path + ".burst") {
		limit.Burst = limit.Limit
	}
}

// check holds the whole to the rules that no single value can break.
func (l *loader) check(c *Config) {
	l.checkServer(c)
	l.checkToken(c)
	l.checkIssuers(c)
	l.checkSession(c)
	unique(l, "login.redirect_uris", "", c.Login.RedirectURIs, itself)
	l.checkMail(c)
	l.checkPlugins(c)
	l.checkProviders(c)
	l.checkLimits(c)
	l.checkUpstreams(c)
	l.checkRoutes(c)
}

// rule rejects the value at path if it is broken, unless the value or its parts have a
// fault already, so that one mistake is reported once.
func (l *loader) rule(broken bool, path, format string, args ...any) {
	if broken && !l.brokenBelow(path) && !l.brokenAbove(path) {
		l.rejectAt(l.placeOf(path), path, format, args...)
	}
}

func (l *loader) checkServer(c *Config) {
	s := c.Server
	if s.PublicURL == "" {
		h, port, _ := net.SplitHostPort(s.Listen)
		l.rule(!isLoopback(h) && !l.brokenBelow("server.listen"), "server.public_url",
			"is missing; write the URL that clients use, as the listener is not on loopback")
		l.rule(isLoopback(h) && port == "0", "server.public_url",
			"is missing; write the URL that clients use, as the port is not known beforehand")
	}
	if u, err := url.Parse(s.PublicURL); err == nil && s.PublicURL != "" {
		l.rule(!isPrivate(u) && !c.Debug, "server.public_url",
			"%s sends tokens in clear; use https (http is for loopback, or with debug)", l.show("server.public_url", s.PublicURL))
	}
	l.rule(c.Admin.Listen != "" && c.Admin.Listen == s.Listen && !strings.HasSuffix(s.Listen, ":0"), "admin.listen",
		"is the address of server.listen; choose another port")
	l.rule(l.given("data_dir") && c.DataDir == "", "data_dir", "is empty; name a directory")
}

func (l *loader) checkToken(c *Config) {
	t := c.Token
	l.rule(t.Overlap < t.AccessTTL+t.Leeway, "token.overlap",
		"is shorter than token.access_ttl and token.leeway together, so tokens would die with their key; at least %s is needed",
		formatDuration(t.AccessTTL+t.Leeway))
	l.rule(t.RotateEvery != 0 && t.RotateEvery < t.Publish+time.Hour, "token.rotate_every",
		"is too short for keys to be published before they sign; at least %s is needed, or 0 for never",
		formatDuration(t.Publish+time.Hour))
}

func (l *loader) checkIssuers(c *Config) {
	unique(l, "issuers", "name", c.Issuers, func(i Issuer) string { return i.Name })
	unique(l, "issuers", "issuer", c.Issuers, func(i Issuer) string { return i.Issuer })
	own := c.Token.Issuer
	if own == "" {
		own = strings.TrimSuffix(c.Server.PublicURL, "/")
	}
	for i, issuer := range c.Issuers {
		l.rule(own != "" && issuer.Issuer == own, index("issuers", i)+".issuer",
			"is Shield's own issuer, whose keys are known; remove it, or set token.issuer")
	}
}

func (l *loader) checkSession(c *Config) {
	s := c.Session
	l.rule(s.RefreshTTL <= c.Token.AccessTTL, "session.refresh_ttl",
		"is not longer than token.access_ttl, so no token could ever be refreshed; more than %s is needed", formatDuration(c.Token.AccessTTL))
	l.rule(s.MaxLifetime != 0 && s.MaxLifetime < c.Token.AccessTTL, "session.max_lifetime",
		"is shorter than token.access_ttl; at least %s is needed, or 0 for no end", formatDuration(c.Token.AccessTTL))
}

func (l *loader) checkMail(c *Config) {
	m := c.Mail
	both := m.Directory != "" && m.SMTP.Host != ""
	neither := m.Directory == "" && m.SMTP.Host == ""
	l.rule(both, "mail.directory", "is set beside mail.smtp.host; keep one of them")
	l.rule(neither && len(c.Providers) > 0, "mail",
		"has no way out, and providers send mail; set mail.smtp.host or mail.directory")
	l.rule(!neither && m.From == "", "mail.from", "is missing; write the sender, such as Example <no-reply@example.com>")
	l.rule(m.GiveUp <= m.Retry, "mail.give_up", "is not longer than mail.retry, so no mail would get a second try; more than %s is needed",
		formatDuration(m.Retry))
	if m.SMTP.Host == "" {
		l.rule(m.SMTP.Username != "" || m.SMTP.CAFile != "", "mail.smtp.host", "is missing; write the name of the mail server")
		return
	}
	l.rule(m.SMTP.Username != "" && m.SMTP.Password.Empty(), "mail.smtp.password", "is missing; a user name needs one")
	l.rule(m.SMTP.Username == "" && !m.SMTP.Password.Empty(), "mail.smtp.username", "is missing; a password needs one")
	l.rule(m.SMTP.TLS == "none" && !isLoopback(m.SMTP.Host), "mail.smtp.tls",
		"is none, which sends one-time links in clear; use starttls or implicit (none is for loopback alone)")
}

func (l *loader) checkLimits(c *Config) {
	unique(l, "rate_limits", "name", c.RateLimits, func(r RateLimit) string { return r.Name })
	for i, r := range c.RateLimits {
		path := index("rate_limits", i)
		unique(l, path+".key", "", r.Key, itself)
		l.rule(r.Limit == 0, path+".limit", "is missing; write how many requests the period allows")
		l.rule(r.Period == 0, path+".period", "is missing; write the period, such as 1m")
		l.rule(len(r.Key) == 0 && !isBuiltin(r.Name), path+".key", "is missing; write who shares the budget: any of ip, subject, route")
		l.rule(l.given(path+".burst") && r.Burst == 0, path+".burst", "is 0, so no request would ever pass; write at least 1, or remove the key")
	}
}

func isBuiltin(name string) bool {
	return slices.ContainsFunc(builtinLimits(), func(b RateLimit) bool { return b.Name == name })
}

func (l *loader) checkUpstreams(c *Config) {
	unique(l, "upstreams", "name", c.Upstreams, func(u Upstream) string { return u.Name })
}

func (l *loader) checkRoutes(c *Config) {
	unique(l, "routes", "name", c.Routes, func(r Route) string { return r.Name })
	for i, r := range c.Routes {
		path := index("routes", i)
		l.checkMatch(r, path)
		for j, before := range c.Routes[:i] {
			l.rule(sameRequests(before, r), path, "matches the same requests as %s, and neither is more specific; tell them apart by host, path or methods",
				index("routes", j))
		}
		refers(l, path+".upstream", r.Upstream, "upstreams", c.Upstreams, func(u Upstream) string { return u.Name })
		limits := withBuiltins(c.RateLimits)
		for j, name := range r.RateLimits {
			refers(l, index(path+".rate_limits", j), name, "rate_limits", limits, func(r RateLimit) string { return r.Name })
		}
		unique(l, path+".rate_limits", "", r.RateLimits, itself)
		unique(l, path+".methods", "", r.Methods, itself)
		l.rule(len(r.Scopes) > 0 && r.Auth != "required" && r.Auth != "", path+".scopes", "are checked with auth: required alone; write that, or remove the key")
		l.rule(len(r.Roles) > 0 && r.Auth != "required" && r.Auth != "", path+".roles", "are checked with auth: required alone; write that, or remove the key")
	}
}

// checkMatch holds what a route matches by to the rules.
func (l *loader) checkMatch(r Route, path string) {
	l.rule(r.Path != "" && r.Prefix != "", path+".prefix", "is set beside path; keep one of them")
	l.rule(r.Path == "" && r.Prefix == "" && !l.brokenBelow(path+".path") && !l.brokenBelow(path+".prefix"), path+".path",
		"is missing; write path for exactly one path, or prefix for all below it")
	if r.StripPrefix == "" || r.Path+r.Prefix == "" || l.brokenBelow(path+".path") || l.brokenBelow(path+".prefix") {
		return
	}
	l.rule(!below(r.Path+r.Prefix, r.StripPrefix), path+".strip_prefix",
		"%s is not the beginning of the path that the route matches; write whole segments of it", l.show(path+".strip_prefix", r.StripPrefix))
}

// below reports whether path is prefix or lies below it, by whole segments.
func below(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// sameRequests reports whether there are requests that two routes match equally well.
func sameRequests(a, b Route) bool {
	if a.Host != b.Host || a.Path != b.Path || a.Prefix != b.Prefix || a.Path+a.Prefix == "" {
		return false
	}
	if len(a.Methods) == 0 || len(b.Methods) == 0 {
		return true
	}
	return slices.ContainsFunc(a.Methods, func(m string) bool { return slices.Contains(b.Methods, m) })
}

func itself(s string) string { return s }

// unique rejects each item of a list whose key an earlier one has. An empty key compares
// the items themselves.
func unique[T any](l *loader, list, key string, items []T, value func(T) string) {
	first := map[string]int{}
	for i, item := range items {
		path := index(list, i)
		if key != "" {
			path += "." + key
		}
		v := value(item)
		j, seen := first[v]
		if !seen {
			first[v] = i
			continue
		}
		l.rule(v != "", path, "%s is taken by %s; choose another, or remove one", l.show(path, v), index(list, j))
	}
}

// refers rejects a name that no item of a list has. While the list itself has faults
// nothing is known of its names.
func refers[T any](l *loader, path, name, list string, items []T, value func(T) string) {
	if name == "" || l.brokenBelow(list) {
		return
	}
	if slices.ContainsFunc(items, func(item T) bool { return value(item) == name }) {
		return
	}
	hint := "add it there"
	if !l.hidesBelow(list) && !l.isHidden(path) {
		hint = hintOf(name, items, value)
	}
	l.rule(true, path, "%s is not in %s; %s", l.show(path, name), list, hint)
}

func hintOf[T any](name string, items []T, value func(T) string) string {
	var known []string
	for _, item := range items {
		known = append(known, value(item))
	}
	if meant := alternative(name, known); meant != "" {
		return "did you mean " + meant + "?"
	}
	if len(known) == 0 {
		return "add it there"
	}
	return "add it there, or use one of " + strings.Join(known, ", ")
}

// hidesBelow reports whether any value below path came from the environment.
func (l *loader) hidesBelow(path string) bool {
	for hidden := range l.hidden {
		if strings.HasPrefix(hidden, path+"[") || strings.HasPrefix(hidden, path+".") {
			return true
		}
	}
	return false
}
