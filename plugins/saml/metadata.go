package saml

import (
	"strings"
	"time"
)

// maxMetadata is the most that metadata may have, in bytes. Products that list every claim
// they know come to a fifth of it.
const maxMetadata = 512 << 10

// readMetadata reads the metadata of the identity provider of an entity ID, and takes what
// counts of it.
func readMetadata(data []byte, entityID string) (party, error) {
	root, err := read(data, lenience{size: maxMetadata, comments: true})
	if err != nil {
		return party{}, err
	}
	return partyFrom(root, entityID)
}

func partyFrom(root *element, entityID string) (party, error) {
	if !root.is(nsMetadata, "EntityDescriptor") || root.get("entityID") != entityID {
		return party{}, refuse("not the metadata of this entity ID")
	}
	var role *element
	for _, each := range root.all(nsMetadata, "IDPSSODescriptor") {
		if !contains(strings.Fields(each.get("protocolSupportEnumeration")), nsProtocol) {
			continue
		}
		if role != nil {
			return party{}, refuse("more than one role")
		}
		role = each
	}
	if role == nil {
		return party{}, refuse("not the metadata of an identity provider")
	}
	p := party{wantsSigned: role.get("WantAuthnRequestsSigned") == "true" || role.get("WantAuthnRequestsSigned") == "1"}
	for _, el := range []*element{root, role} {
		if err := p.limit(el); err != nil {
			return party{}, err
		}
	}
	for _, key := range role.all(nsMetadata, "KeyDescriptor") {
		if use := key.get("use"); use == "" || use == "signing" {
			p.keys(key)
		}
	}
	p.sso = endpoints(role, "SingleSignOnService")
	p.slo = endpoints(role, "SingleLogoutService")
	if len(p.certificates) == 0 || len(p.sso) == 0 {
		return party{}, refuse("no key or no place to log in at")
	}
	return p, nil
}

// limit takes how long an element of metadata is valid and may be kept: the shortest of all
// that is said (Metadata §2.3.2, §2.4.1).
func (p *party) limit(el *element) error {
	if text, ok := el.lookup("validUntil"); ok {
		until, err := parseTime(text)
		if err != nil {
			return err
		}
		if p.validUntil.IsZero() || until.Before(p.validUntil) {
			p.validUntil = until
		}
	}
	if text, ok := el.lookup("cacheDuration"); ok {
		d, ok := parseDuration(text)
		if !ok {
			return refuse("cacheDuration")
		}
		if p.cacheFor == 0 || d < p.cacheFor {
			p.cacheFor = d
		}
	}
	return nil
}

// keys takes the certificates of a KeyDescriptor. One that cannot be used is passed over: it
// must not take the others with it.
func (p *party) keys(descriptor *element) {
	for _, info := range descriptor.all(nsSignature, "KeyInfo") {
		for _, data := range info.all(nsSignature, "X509Data") {
			for _, el := range data.all(nsSignature, "X509Certificate") {
				text, ok := el.text()
				if !ok {
					continue
				}
				der, ok := decodeBase64(text)
				if ok && certificate(der).algorithm() != "" && len(p.certificates) < maxCertificates {
					p.certificates = append(p.certificates, der)
				}
			}
		}
	}
}

// endpoints returns the places of a role, one for each binding.
func endpoints(role *element, local string) []endpoint {
	var list []endpoint
	for _, el := range role.all(nsMetadata, local) {
		e := endpoint{url: el.get("Location"), response: el.get("ResponseLocation")}
		switch el.get("Binding") {
		case uriRedirect:
			e.binding = bindingRedirect
		case uriPost:
			e.binding = bindingPost
		default:
			continue
		}
		if _, there := at(list, e.binding); there || !isPlace(e.url) || e.response != "" && !isPlace(e.response) {
			continue
		}
		list = append(list, e)
	}
	return list
}

func contains(list []string, s string) bool {
	for _, each := range list {
		if each == s {
			return true
		}
	}
	return false
}

// parseTime reads an xs:dateTime. SAML has them in UTC (Core §1.3.3); another zone that is
// named is as good.
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, refuse("time")
	}
	return t, nil
}

// parseDuration reads an xs:duration such as PT1H or P1DT12H. A year is 365 days and a month
// 30: what is kept a day more or less is no matter.
func parseDuration(text string) (time.Duration, bool) {
	rest, ok := strings.CutPrefix(text, "P")
	if !ok {
		return 0, false
	}
	date, clock, hasClock := strings.Cut(rest, "T")
	if rest == "" || hasClock && clock == "" {
		return 0, false
	}
	const day = 24 * time.Hour
	days, ok := sumOf(date, []unit{{'Y', 365 * day}, {'M', 30 * day}, {'D', day}})
	if !ok {
		return 0, false
	}
	hours, ok := sumOf(clock, []unit{{'H', time.Hour}, {'M', time.Minute}, {'S', time.Second}})
	return days + hours, ok
}

// unit is a part of a duration.
type unit struct {
	mark byte
	of   time.Duration
}

// mostDuration is the longest that is told apart from another one.
const mostDuration = 100 * 365 * 24 * time.Hour

// sumOf adds parts up, each of them at most once and in the order of units.
func sumOf(text string, units []unit) (total time.Duration, ok bool) {
	for text != "" {
		n := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if n < 1 || n > 9 {
			return 0, false
		}
		var value time.Duration
		for _, d := range []byte(text[:n]) {
			value = value*10 + time.Duration(d-'0')
		}
		text = text[n:]
		if fraction, ok := strings.CutPrefix(text, "."); ok {
			text = strings.TrimLeft(fraction, "0123456789")
			if text != "S" {
				return 0, false
			}
		}
		i := 0
		for i < len(units) && units[i].mark != text[0] {
			i++
		}
		if i == len(units) || value > mostDuration/units[i].of {
			return 0, false
		}
		total += value * units[i].of
		units, text = units[i+1:], text[1:]
	}
	return total, true
}
