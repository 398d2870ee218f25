package ldap

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/materi/shield/sdk"
)

const (
	schemeLDAP  = "ldap"
	schemeLDAPS = "ldaps"
)

// placeholder is where the login goes in filter and user_dn.
const placeholder = "{login}"

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["url"],
  "properties": {
    "url": {"type": "string", "pattern": "^ldaps?://", "description": "ldaps://host[:port], or ldap://host[:port] with start_tls. Without TLS only a loopback address is allowed."},
    "start_tls": {"type": "boolean", "default": false},
    "ca_file": {"type": "string", "description": "PEM of the authorities that sign the directory's certificate, instead of the system's."},
    "bind_dn": {"type": "string", "description": "The provider's own account. Its password is the secret bind_password."},
    "base_dn": {"type": "string", "description": "Where people are searched."},
    "filter": {"type": "string", "default": "(uid={login})", "description": "What finds a person."},
    "user_dn": {"type": "string", "description": "In place of bind_dn, base_dn and filter: a person's entry, such as uid={login},ou=people,dc=example,dc=com."},
    "subject_attribute": {"type": "string", "default": "entryUUID", "description": "What never changes and is never given to another."},
    "name_attribute": {"type": "string", "default": "cn"},
    "email_attribute": {"type": "string", "default": "mail"},
    "email_verified": {"type": "boolean", "default": false, "description": "Whether people cannot choose their address themselves: only then it may join an account that is there."},
    "groups_attribute": {"type": "string", "description": "memberOf, for instance."}
  }
}`

// settings are the provider's section of the configuration.
type settings struct {
	URL              string `json:"url"`
	StartTLS         bool   `json:"start_tls"`
	CAFile           string `json:"ca_file"`
	BindDN           string `json:"bind_dn"`
	BaseDN           string `json:"base_dn"`
	Filter           string `json:"filter"`
	UserDN           string `json:"user_dn"`
	SubjectAttribute string `json:"subject_attribute"`
	NameAttribute    string `json:"name_attribute"`
	EmailAttribute   string `json:"email_attribute"`
	EmailVerified    bool   `json:"email_verified"`
	GroupsAttribute  string `json:"groups_attribute"`

	scheme  string
	address string // host and port
	tls     *tls.Config
}

func defaults() settings {
	return settings{SubjectAttribute: "entryUUID", NameAttribute: "cn", EmailAttribute: "mail"}
}

func (s settings) attributes() []string {
	out := []string{s.SubjectAttribute}
	for _, a := range []string{s.NameAttribute, s.EmailAttribute, s.GroupsAttribute} {
		if a != "" {
			out = append(out, a)
		}
	}
	return out
}

// Configure takes the settings. With a fault none of them apply.
func (p *Provider) Configure(raw []byte) []sdk.Fault {
	s := defaults()
	if err := strictly(raw, &s); err != nil {
		return []sdk.Fault{{Message: err.Error()}}
	}
	c := check{}
	c.server(&s)
	c.person(&s)
	if c.faults == nil {
		p.settings = s
	}
	return c.faults
}

// check collects the faults of settings.
type check struct{ faults []sdk.Fault }

func (c *check) rule(broken bool, path, message string) {
	if broken {
		c.faults = append(c.faults, sdk.Fault{Path: path, Message: message})
	}
}

// server checks how the directory is reached.
func (c *check) server(s *settings) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || u.User != nil || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" || u.Fragment != "" || (u.Scheme != schemeLDAP && u.Scheme != schemeLDAPS) {
		c.rule(true, "url", "must be ldaps://host or ldap://host, with a port if need be and nothing else")
		return
	}
	s.scheme = u.Scheme
	port := u.Port()
	if port == "" {
		port = map[string]string{schemeLDAP: "389", schemeLDAPS: "636"}[u.Scheme]
	}
	s.address = net.JoinHostPort(u.Hostname(), port)
	c.rule(s.scheme == schemeLDAPS && s.StartTLS, "start_tls", "is for ldap://; ldaps:// has TLS from the start")
	c.rule(s.scheme == schemeLDAP && !s.StartTLS && !loopback(u.Hostname()), "start_tls",
		"must be true: the directory is not on this machine, and passwords would be readable on the way")
	s.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	if s.CAFile == "" {
		return
	}
	pem, err := os.ReadFile(s.CAFile)
	s.tls.RootCAs = x509.NewCertPool()
	c.rule(err != nil || !s.tls.RootCAs.AppendCertsFromPEM(pem), "ca_file", "cannot be read, or has no certificate")
}

// loopback reports whether a host is this machine for certain. A name is not: what it
// resolves to is somebody else's word.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// person checks how people are found and made known.
func (c *check) person(s *settings) {
	c.rule(!attribute(s.SubjectAttribute), "subject_attribute", "must be the name of an attribute")
	for _, a := range []struct{ path, name string }{
		{"name_attribute", s.NameAttribute}, {"email_attribute", s.EmailAttribute}, {"groups_attribute", s.GroupsAttribute},
	} {
		c.rule(a.name != "" && !attribute(a.name), a.path, "must be the name of an attribute, or empty")
	}
	if s.UserDN != "" {
		c.rule(s.BindDN != "" || s.BaseDN != "" || s.Filter != "", "user_dn", "is in place of bind_dn, base_dn and filter")
		c.rule(!template(s.UserDN, dn), "user_dn", "must be a distinguished name with "+placeholder+" in it")
		return
	}
	if s.Filter == "" {
		s.Filter = "(uid=" + placeholder + ")"
	}
	c.rule(s.BindDN == "" || !dn(s.BindDN), "bind_dn", "must be a distinguished name")
	c.rule(s.BaseDN == "" || !dn(s.BaseDN), "base_dn", "must be a distinguished name")
	c.rule(!template(s.Filter, filter), "filter", "must be a filter in parentheses with "+placeholder+" in it")
}

// template reports whether a text has the placeholder and is valid with something in it.
func template(s string, valid func(string) bool) bool {
	return strings.Contains(s, placeholder) && valid(strings.ReplaceAll(s, placeholder, "x"))
}

func dn(s string) bool {
	_, err := ldap.ParseDN(s)
	return err == nil
}

func filter(s string) bool {
	_, err := ldap.CompileFilter(s)
	return err == nil
}

// attribute reports whether a text is the name of an attribute (RFC 4512 §2.5), and no wish
// for all of them.
func attribute(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != ';'
	})
}

// strictly decodes one JSON object, all of whose members are known.
func strictly(raw []byte, into any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return errors.New("is not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("is not valid: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("is more than one JSON object")
	}
	return nil
}
