package ldap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/materi/shield/sdk"
)

// timeout bounds a login whose context has no deadline, and sizeLimit what a search brings:
// two entries are as many as it takes to know that a name is not one person's.
const (
	timeout   = 10 * time.Second
	sizeLimit = 2
)

// identify finds out whose the name and the password are.
func (p *Provider) identify(ctx context.Context, host sdk.Host, login, password string) (sdk.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := p.connect(ctx)
	if err != nil {
		return sdk.Identity{}, err
	}
	defer conn.Close()
	// The library knows no contexts; a connection that is closed ends what it waits for.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if p.settings.UserDN != "" {
		return p.bindByName(conn, login, password)
	}
	return p.searchAndBind(ctx, conn, host, login, password)
}

// connect returns a connection that nobody on the way can read.
func (p *Provider) connect(ctx context.Context) (*ldap.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", p.settings.address)
	if err != nil {
		return nil, fmt.Errorf("%w: connect", errDirectory)
	}
	deadline, _ := ctx.Deadline()
	if p.settings.scheme == schemeLDAPS {
		secured := tls.Client(raw, p.settings.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, fmt.Errorf("%w: TLS: %w", errDirectory, err)
		}
		raw = secured
	}
	conn := ldap.NewConn(raw, p.settings.scheme == schemeLDAPS)
	conn.SetTimeout(time.Until(deadline))
	conn.Start()
	if !p.settings.StartTLS {
		return conn, nil
	}
	if err := conn.StartTLS(p.settings.tls); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%w: StartTLS: %w", errDirectory, err)
	}
	return conn, nil
}

// searchAndBind looks the entry up with the provider's own account.
func (p *Provider) searchAndBind(ctx context.Context, conn *ldap.Conn, host sdk.Host, login, password string) (sdk.Identity, error) {
	own, found, err := host.Secrets().Get(ctx, secretPassword)
	if err != nil {
		return sdk.Identity{}, fmt.Errorf("secret %s: %w", secretPassword, err)
	}
	if !found || own == "" {
		return sdk.Identity{}, errNoSecret
	}
	if err := conn.Bind(p.settings.BindDN, own); err != nil {
		return sdk.Identity{}, trouble("bind as the provider", err)
	}
	filter := strings.ReplaceAll(p.settings.Filter, placeholder, ldap.EscapeFilter(login))
	entry, err := p.search(conn, p.settings.BaseDN, ldap.ScopeWholeSubtree, filter)
	if errors.Is(err, errNobody) {
		// A bind as nobody, so that a name that is not there takes as long as one that is.
		_ = conn.Bind("cn="+rand.Text()+","+p.settings.BaseDN, password)
	}
	if err != nil {
		return sdk.Identity{}, err
	}
	if err := bind(conn, entry.DN, password); err != nil {
		return sdk.Identity{}, err
	}
	return p.identity(entry)
}

// bindByName makes the entry's name of the login, and lets the person read the own entry.
func (p *Provider) bindByName(conn *ldap.Conn, login, password string) (sdk.Identity, error) {
	dn := strings.ReplaceAll(p.settings.UserDN, placeholder, ldap.EscapeDN(login))
	if err := bind(conn, dn, password); err != nil {
		return sdk.Identity{}, err
	}
	entry, err := p.search(conn, dn, ldap.ScopeBaseObject, "(objectClass=*)")
	if err != nil {
		return sdk.Identity{}, err
	}
	return p.identity(entry)
}

// search returns the one entry that there is. Referrals are not followed: the password would
// go to a server that the operator did not name. Neither are aliases.
func (p *Provider) search(conn *ldap.Conn, base string, scope int, filter string) (*ldap.Entry, error) {
	result, err := conn.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases,
		sizeLimit, int(timeout.Seconds()), false, filter, p.settings.attributes(), nil))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		return nil, errNobody
	}
	if err != nil {
		return nil, trouble("search", err)
	}
	if len(result.Entries) != 1 || result.Entries[0].DN == "" {
		return nil, errNobody
	}
	return result.Entries[0], nil
}

// bind proves the password. Begin has refused an empty one; so does the library.
func bind(conn *ldap.Conn, dn, password string) error {
	err := conn.Bind(dn, password)
	for _, code := range []uint16{
		ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, // also: it has no password
		ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultNoSuchObject,
		ldap.ErrorEmptyPassword,
	} {
		if ldap.IsErrorWithCode(err, code) {
			return errRefused
		}
	}
	if err != nil {
		return trouble("bind", err)
	}
	return nil
}

// trouble names what failed and the directory's code for it. Its text stays out: it can
// repeat what was sent.
func trouble(what string, err error) error {
	var e *ldap.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%w: %s", errDirectory, what)
	}
	return fmt.Errorf("%w: %s: result %d (%s)", errDirectory, what, e.ResultCode, ldap.LDAPResultCodeMap[e.ResultCode])
}

// identity makes an identity of an entry.
func (p *Provider) identity(entry *ldap.Entry) (sdk.Identity, error) {
	subjects := entry.GetEqualFoldAttributeValues(p.settings.SubjectAttribute)
	if len(subjects) != 1 || !plain(subjects[0]) || subjects[0] == "" {
		return sdk.Identity{}, fmt.Errorf("%w: %s", errEntry, p.settings.SubjectAttribute)
	}
	identity := sdk.Identity{Subject: subjects[0], AMR: []string{"pwd"}}
	if name := first(entry, p.settings.NameAttribute); plain(name) {
		identity.Name = name
	}
	if email := first(entry, p.settings.EmailAttribute); address(email) {
		identity.Email, identity.EmailVerified = email, p.settings.EmailVerified
	}
	if p.settings.GroupsAttribute == "" {
		return identity, nil
	}
	for _, group := range entry.GetEqualFoldAttributeValues(p.settings.GroupsAttribute) {
		if plain(group) && len(identity.Groups) < maxGroups {
			identity.Groups = append(identity.Groups, group)
		}
	}
	return identity, nil
}

// maxGroups is how many an identity may have.
const maxGroups = 1000

func first(entry *ldap.Entry, attribute string) string {
	if attribute == "" {
		return ""
	}
	return entry.GetEqualFoldAttributeValue(attribute)
}

// plain reports whether the gateway takes a text as it is.
func plain(s string) bool {
	return len(s) <= 255 && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// address reports whether a text is one address of the plain kind; others are left out.
func address(s string) bool {
	name, domain, ok := strings.Cut(s, "@")
	return ok && name != "" && strings.Contains(domain, ".") && len(s) <= 254 &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return r > unicode.MaxASCII || !unicode.IsPrint(r) || strings.ContainsRune(` "(),:;<>[\]`, r)
		}) &&
		!strings.Contains(domain, "@") && !strings.Contains(s, "..") && !strings.HasSuffix(s, ".") && !strings.HasPrefix(domain, ".")
}
