package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
)

// named is an environment variable that deployments set for the provider of a certain name. It
// stands over what the file has: a setting, or else a secret.
type named struct {
	variable, provider string
	setting, secret    string
	format             string // of the formats table
}

// namedVariables are all of them. The table is never changed.
var namedVariables = []named{
	{"GOOGLE_CLIENT_ID", "google", "client_id", "", "text"},
	{"GOOGLE_CLIENT_SECRET", "google", "", "client_secret", ""},
	{"GITHUB_CLIENT_ID", "github", "client_id", "", "text"},
	{"GITHUB_CLIENT_SECRET", "github", "", "client_secret", ""},
	{"MICROSOFT_CLIENT_ID", "microsoft", "client_id", "", "text"},
	{"MICROSOFT_CLIENT_SECRET", "microsoft", "", "client_secret", ""},
	{"SAML_SP_ENTITY_ID", "saml", "entity_id", "", "text"},
	{"SAML_SP_X509_CERT", "saml", "certificate", "", "certificate"},
	{"SAML_SP_PRIVATE_KEY", "saml", "", "sp_key", "private-key"},
}

// Unused is an environment variable that is set and has no effect, since no provider has the
// name that it is for.
type Unused struct{ Variable, Provider string }

// UnusedVariables returns what of env is set for providers that the configuration does not
// have. That is no fault, since deployments set the variables of all of them, but most likely
// not what was meant.
func UnusedVariables(c Config, env func(string) (string, bool)) []Unused {
	var unused []Unused
	for _, n := range namedVariables {
		if n.find(c.Providers) >= 0 {
			continue
		}
		for _, name := range []string{n.variable, n.variable + "_FILE"} {
			if value, ok := env(name); ok && value != "" {
				unused = append(unused, Unused{name, n.provider})
			}
		}
	}
	return unused
}

// find returns which provider a variable is for, -1 if there is none.
func (n named) find(list []Provider) int {
	return slices.IndexFunc(list, func(p Provider) bool { return p.Name == n.provider })
}

// overrideNamed puts the variables of providers over what the file has.
func (l *loader) overrideNamed(c *Config) {
	for _, n := range namedVariables {
		if i := n.find(c.Providers); i >= 0 {
			l.overrideProvider(&c.Providers[i], index("providers", i), n)
		}
	}
}

func (l *loader) overrideProvider(p *Provider, path string, n named) {
	value, source, ok, err := l.env.lookup(n.variable)
	if err == nil && (!ok || value == "") {
		return
	}
	at := place{file: "$" + source}
	if err == nil {
		value, err = n.checked(value)
	}
	if n.setting != "" {
		path += ".config." + n.setting
		if p.Config == nil {
			p.Config = Settings{}
		}
		p.Config[n.setting] = value
	} else {
		path = l.overrideSecret(p, path, n.secret, value, at)
	}
	l.places[path], l.hidden[path] = at, true
	if err != nil {
		l.reject(path, "%s", err)
	}
}

// overrideSecret sets a secret of a provider, adds it if there is none of its name, and returns
// the path of its value.
func (l *loader) overrideSecret(p *Provider, path, name, value string, at place) string {
	i := slices.IndexFunc(p.Secrets, func(s ProviderSecret) bool { return s.Name == name })
	if i < 0 {
		i = len(p.Secrets)
		p.Secrets = append(p.Secrets, ProviderSecret{Name: name})
		l.places[index(path+".secrets", i)] = at
	}
	p.Secrets[i].Value = NewSecret(value)
	return index(path+".secrets", i) + ".value"
}

// checked returns the value as it is meant. The error does not repeat it.
func (n named) checked(value string) (string, error) {
	if n.format == "text" {
		value = strings.TrimSpace(value)
	}
	if strings.ContainsRune(value, 0) {
		return "", errors.New("the value holds a NUL byte; remove it")
	}
	if n.format == "" {
		return value, nil
	}
	f := formats[n.format]
	if f.key {
		value = strings.ReplaceAll(value, `\n`, "\n")
	}
	if err := f.check(value); err != nil {
		return "", errors.New("the value " + err.Error())
	}
	return value, nil
}

func certificate(s string) error {
	wrong := errors.New("is not one certificate; write PEM that begins with -----BEGIN CERTIFICATE-----")
	block, rest := pem.Decode([]byte(s))
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return wrong
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return wrong
	}
	return nil
}
