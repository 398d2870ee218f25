package saml

import (
	"slices"
	"strings"
	"time"
)

// idp is one identity provider as the settings have it.
type idp struct {
	name         string
	entityID     string
	domains      []string // of addresses that it vouches for, in lower case
	workspaces   []string
	idpInitiated bool

	metadataURL string // then party is empty
	signer      certificate
	party       party // what metadata, or the settings themselves, say

	binding      string // of requests; empty: redirect, or else post
	signRequests bool
	attributes   mapping
	subject      string // the attribute that names a person; empty: the NameID
	nameIDFormat string
	allowCreate  bool
	forceAuthn   bool
	context      string // the AuthnContextClassRef that is asked for
	want         wants
}

// wants are what an answer must have beyond one signature.
type wants struct{ signedResponse, signedAssertion, encryptedAssertion bool }

// party is what an identity provider says of itself in its metadata.
type party struct {
	certificates []certificate
	sso          []endpoint
	slo          []endpoint
	wantsSigned  bool
	validUntil   time.Time // zero: it does not say
	cacheFor     time.Duration
}

// endpoint is a place of one side, by the binding that it takes.
type endpoint struct {
	binding  string
	url      string
	response string // SLO: where answers go; empty: to url
}

// The bindings, as the settings name them.
const (
	bindingRedirect = "redirect"
	bindingPost     = "post"
)

// at returns the endpoint of a binding or, if none is asked for, the best that there is.
func at(list []endpoint, binding string) (endpoint, bool) {
	for _, wanted := range []string{bindingRedirect, bindingPost} {
		if binding != "" && binding != wanted {
			continue
		}
		for _, e := range list {
			if e.binding == wanted {
				return e, true
			}
		}
	}
	return endpoint{}, false
}

// answers returns where an answer goes.
func (e endpoint) answers() string {
	if e.response != "" {
		return e.response
	}
	return e.url
}

// vouches reports whether an address is in one of the domains that an identity provider is
// configured for. It may say any address of anybody; only for these is it believed.
func (i *idp) vouches(address string) bool {
	_, domain, ok := strings.Cut(address, "@")
	return ok && slices.Contains(i.domains, domain)
}

// query is what a person says of where to log in. What is empty is not asked.
type query struct{ name, email, workspace string }

// directory finds identity providers. The settings are one; workspaces that keep their own
// will be another.
type directory interface {
	// find returns the one identity provider that fits all of a query, nil if there is none
	// or more than one.
	find(q query) *idp
	// named returns the one of a name, nil if there is none.
	named(name string) *idp
	// issued returns the one of an entity ID, nil if there is none.
	issued(entityID string) *idp
}

// list is the directory of the settings.
type list []*idp

func (l list) find(q query) *idp {
	var found *idp
	for _, i := range l {
		if !i.fits(q) {
			continue
		}
		if found != nil {
			return nil
		}
		found = i
	}
	return found
}

func (i *idp) fits(q query) bool {
	address, ok := canonicalEmail(q.email)
	return (q.name == "" || q.name == i.name) &&
		(q.workspace == "" || slices.Contains(i.workspaces, strings.ToLower(q.workspace))) &&
		(q.email == "" || ok && i.vouches(address))
}

func (l list) named(name string) *idp { return l.first(func(i *idp) bool { return i.name == name }) }

func (l list) issued(entityID string) *idp {
	return l.first(func(i *idp) bool { return i.entityID == entityID })
}

func (l list) first(is func(*idp) bool) *idp {
	if n := slices.IndexFunc(l, is); n >= 0 {
		return l[n]
	}
	return nil
}
