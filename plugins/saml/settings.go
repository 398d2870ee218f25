package saml

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// Bounds of settings.
const (
	maxIdPs         = 200
	maxText         = 1024 // an entity ID (Metadata §2.2.1), the URL of a place
	maxCertificates = 16   // that the gateway tries for one signature
	maxListed       = 200
	defaultGrace    = 72 * time.Hour
	mostGrace       = 90 * 24 * time.Hour
)

// settings are those of the provider.
type settings struct {
	entityID     string
	certificate  certificate
	next         certificate
	signRequests bool
	grace        time.Duration // how long metadata serves that is out of date and cannot be had
	idps         list
}

// Configure takes the settings. With a fault none of them apply.
func (p *Provider) Configure(raw []byte) []fault {
	s, faults := parseSettings(raw)
	if faults == nil {
		p.settings, p.directory = s, s.idps
	}
	return faults
}

func parseSettings(raw []byte) (settings, []fault) {
	o, ok := openObject(raw)
	if !ok {
		return settings{}, []fault{{Message: "is not a JSON object"}}
	}
	s := settings{
		entityID:     o.entityID("entity_id"),
		certificate:  o.certificate("certificate"),
		next:         o.certificate("next_certificate"),
		signRequests: o.flag("sign_requests", false),
		grace:        o.duration("metadata_grace", defaultGrace, mostGrace),
	}
	o.rule(s.signRequests && !o.has("certificate"), "sign_requests", "needs certificate, and its private key as the secret sp_key")
	o.rule(o.has("next_certificate") && !o.has("certificate"), "next_certificate", "needs certificate, whose successor it is")
	var paths []string
	for _, each := range o.objects("idps", maxIdPs) {
		s.idps, paths = append(s.idps, each.idp(s)), append(paths, each.path)
	}
	o.rule(!o.has("idps"), "idps", "is missing; name at least one identity provider")
	o.unique(paths, "name", s.idps, func(i *idp) string { return i.name })
	o.unique(paths, "entity_id", s.idps, func(i *idp) string { return i.entityID })
	if faults := o.done(); faults != nil {
		return settings{}, faults
	}
	return s, nil
}

// idp takes one identity provider.
func (o *object) idp(s settings) *idp {
	i := &idp{
		name:         o.name("name"),
		entityID:     o.entityID("entity_id"),
		domains:      o.domains("domains"),
		workspaces:   o.workspaces("workspaces"),
		idpInitiated: o.flag("idp_initiated", false),
		binding:      o.choice("binding", "", bindingRedirect, bindingPost),
		signRequests: o.flag("sign_requests", s.signRequests),
		subject:      o.subject("subject"),
		allowCreate:  o.flag("allow_create", true),
		forceAuthn:   o.flag("force_authn", false),
		context:      o.uri("authn_context"),
	}
	o.rule(i.signRequests && s.certificate == nil, "sign_requests", "needs certificate, and its private key as the secret sp_key")
	if want, ok := o.object("want"); ok {
		i.want = wants{
			signedResponse:     want.flag("signed_response", false),
			signedAssertion:    want.flag("signed_assertion", false),
			encryptedAssertion: want.flag("encrypted_assertion", false),
		}
		want.closed()
		want.rule(i.want.encryptedAssertion && !s.certificate.encrypts(), "encrypted_assertion", "needs certificate, of an RSA key")
	}
	known := generic
	if name := o.choice("preset", "", presetNames()...); name != "" {
		known = presets[name]
	}
	i.nameIDFormat = o.nameIDFormat("name_id_format", known.nameIDFormat)
	i.attributes = o.mapping("attributes", known.attributes)
	o.source(i)
	o.closed()
	return i
}

// source takes where the keys and places of an identity provider come from: one of three.
func (o *object) source(i *idp) {
	sources := 0
	for _, name := range []string{"metadata_url", "metadata", "sso_url"} {
		if o.has(name) {
			sources++
		}
	}
	o.rule(sources != 1, "", "needs one of metadata_url, metadata, and sso_url with certificates")
	i.metadataURL = o.url("metadata_url")
	i.signer = o.certificate("metadata_certificate")
	o.rule(i.signer != nil && i.metadataURL == "", "metadata_certificate", "has no effect without metadata_url")
	if text := o.text("metadata", maxMetadata); text != "" {
		var err error
		i.party, err = readMetadata([]byte(text), i.entityID)
		o.rule(err != nil, "metadata", "is not the metadata of an identity provider with this entity_id, with a certificate and a place to log in at")
	}
	byHand := o.has("sso_url")
	for _, name := range []string{"certificates", "slo_url", "slo_response_url"} {
		o.rule(o.has(name) && !byHand, name, "has no effect without sso_url: metadata has its own")
	}
	sso, slo, answers := o.url("sso_url"), o.url("slo_url"), o.url("slo_response_url")
	certificates := o.certificates("certificates")
	if !byHand {
		o.rule(i.party.sso != nil && !offers(i.party, i.binding), "binding", "is not offered by the metadata")
		return
	}
	o.rule(!o.has("certificates"), "certificates", "are missing; write those that the identity provider signs with")
	binding := i.binding
	if binding == "" {
		binding = bindingRedirect
	}
	i.party = party{certificates: certificates, sso: []endpoint{{binding: binding, url: sso}}}
	if slo != "" {
		i.party.slo = []endpoint{{binding: binding, url: slo, response: answers}}
	}
	o.rule(answers != "" && slo == "", "slo_response_url", "has no effect without slo_url")
}

func offers(p party, binding string) bool {
	_, ok := at(p.sso, binding)
	return ok
}

func presetNames() []string {
	var names []string
	for name := range presets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// isPlace reports whether a text is the URL of a place on the web that people and secrets are
// sent to: https, but on the machine itself.
func isPlace(text string) bool {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxText || u.Host == "" || u.User != nil || u.Fragment != "" || strings.ContainsFunc(text, odd) {
		return false
	}
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return u.Scheme == "http" || u.Scheme == "https"
	}
	return u.Scheme == "https"
}

// odd reports whether a character cannot be in a URL that a header holds.
func odd(r rune) bool {
	return r <= ' ' || r > '~' || r == '\\' || r == '#' || r == '"' || r == '<' || r == '>'
}
