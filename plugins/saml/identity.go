package saml

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
)

// Bounds of an identity, as sdk/contract has them.
const (
	maxSubject = 255
	maxLabel   = 256 // a name, a group
	maxGroups  = 1000
)

// nameID is a name that an identity provider gives to a person, with whose name it is.
type nameID struct {
	value     string
	format    string
	qualifier string // NameQualifier
	spFor     string // SPNameQualifier
}

func readNameID(el *element) (nameID, error) {
	value, ok := el.text()
	n := nameID{value: value, format: el.get("Format"), qualifier: el.get("NameQualifier"), spFor: el.get("SPNameQualifier")}
	if n.format == "" {
		n.format = formatUnspecified
	}
	for _, text := range []string{n.value, n.format, n.qualifier, n.spFor} {
		if !isPlain(text) {
			return nameID{}, invalid("name")
		}
	}
	if !ok || value == "" || strings.TrimSpace(value) != value {
		return nameID{}, invalid("name")
	}
	return n, nil
}

// subject is the name with its namespace, so that a name in one is never that of another: its
// format and, where they say something, its qualifiers (Core §2.2.2). Those that name the two
// sides of this exchange say nothing.
func (n nameID) subject(i *idp, entityID string) string {
	kind := url.QueryEscape(n.format)
	for short, uri := range formats {
		if uri == n.format {
			kind = short
		}
	}
	n = n.between(i, entityID)
	if n.qualifier+n.spFor != "" {
		kind += "(" + url.QueryEscape(n.qualifier) + "," + url.QueryEscape(n.spFor) + ")"
	}
	return fitting(kind + ":" + n.value)
}

// between returns a name without the qualifiers that say what is meant anyway: the two sides.
// They may be there in one message and missing in the next (Core §8.3.7).
func (n nameID) between(i *idp, entityID string) nameID {
	if n.qualifier == i.entityID {
		n.qualifier = ""
	}
	if n.spFor == entityID {
		n.spFor = ""
	}
	return n
}

// fitting returns a subject or, of one that is too long, its digest.
func fitting(subject string) string {
	if len(subject) > maxSubject {
		return "sha256:" + digest(subject)
	}
	return subject
}

// identity says who somebody is by what an assertion says.
func (p *Provider) identity(i *idp, s statement) (sdk.Identity, error) {
	subject, err := p.subjectOf(i, s)
	if err != nil {
		return sdk.Identity{}, err
	}
	id := sdk.Identity{
		Issuer:  i.entityID,
		Subject: subject,
		Session: i.session(s.session),
		Name:    s.fullName(i),
		ACR:     whole(s.context, maxLabel),
	}
	if address, ok := canonicalEmail(s.first(i, partEmail)); ok {
		id.Email = address
	} else if address, ok := canonicalEmail(s.name.value); ok && s.name.format == formatEmail {
		id.Email = address
	}
	id.EmailVerified = id.Email != "" && i.vouches(id.Email)
	if picture := s.first(i, partAvatar); strings.HasPrefix(picture, "https://") && isPlace(picture) {
		id.AvatarURL = picture
	}
	for _, group := range s.every(i, partGroups) {
		// One that was changed might be another's name, so it is taken as it is or not at all.
		if whole(group, maxLabel) != "" && len(id.Groups) < maxGroups && !slices.Contains(id.Groups, group) {
			id.Groups = append(id.Groups, group)
		}
	}
	id.Attributes = s.others(i)
	return id, nil
}

// subjectOf names a person so that nobody else has the name, now or later.
func (p *Provider) subjectOf(i *idp, s statement) (string, error) {
	if i.subject != "" {
		values := s.attributes[i.subject]
		if len(values) != 1 || whole(values[0], maxText) == "" {
			return "", invalid("subject")
		}
		return fitting("attribute(" + url.QueryEscape(i.subject) + "):" + values[0]), nil
	}
	if s.name == (nameID{}) || s.name.format == formatTransient {
		return "", invalid("subject") // it is another one at the next login
	}
	if i.nameIDFormat != "" && i.nameIDFormat != formatUnspecified && s.name.format != i.nameIDFormat {
		return "", invalid("format")
	}
	return s.name.subject(i, p.settings.entityID), nil
}

// session names a login there so that it is told from that of any other identity provider.
func (i *idp) session(index string) string {
	if whole(index, maxText-len(i.name)-1) == "" && index != "" {
		index = "sha256:" + digest(index)
	}
	return i.name + ":" + index
}

// every returns the values of a part of an identity: those of the first attribute that is there.
func (s statement) every(i *idp, part string) []string {
	for _, name := range i.attributes[part] {
		if values := s.attributes[name]; len(values) > 0 {
			return values
		}
	}
	return nil
}

func (s statement) first(i *idp, part string) string {
	if values := s.every(i, part); len(values) > 0 {
		return values[0]
	}
	return ""
}

// fullName is for people to read, so what does not fit is cut.
func (s statement) fullName(i *idp) string {
	name := s.first(i, partName)
	if name == "" {
		name = strings.TrimSpace(s.first(i, partFirstName) + " " + s.first(i, partLastName))
	}
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if isPlain(string(r)) {
			return r
		}
		return ' '
	}, name))
	for len(name) > maxLabel {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name
}

// others returns the parts that the gateway has no meaning for. Many values of one are a list
// with commas.
func (s statement) others(i *idp) map[string]string {
	all := map[string]string{}
	for part := range i.attributes {
		switch part {
		case partEmail, partName, partFirstName, partLastName, partGroups, partAvatar:
			continue
		}
		if text := whole(strings.Join(s.every(i, part), ","), maxText); text != "" {
			all[part] = text
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// whole returns a text that is plain and not too long, or none.
func whole(text string, most int) string {
	if len(text) > most || !isPlain(text) {
		return ""
	}
	return text
}

// isPlain reports whether a text is without control characters, line breaks and the marks
// that reverse its direction; see sdk/contract.
func isPlain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
	})
}

// canonicalEmail returns the one spelling of an address of ASCII letters. Others are in no
// identity: of two that look alike only one is somebody's.
func canonicalEmail(s string) (string, bool) {
	local, domain, ok := strings.Cut(s, "@")
	domain = strings.ToLower(domain)
	if !ok || len(s) > 254 || local == "" || len(local) > 64 || !isDomain(domain) {
		return "", false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r))
		}) {
			return "", false
		}
	}
	return strings.ToLower(local) + "@" + domain, true
}

// isDomain reports whether a text is a domain of two labels or more, in lower case.
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 || len(s) > 253 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(l, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return strings.ContainsFunc(last, func(r rune) bool { return r >= 'a' }) // no address of a machine
}

// mostName bounds what a request to log out has to repeat, in bytes.
const mostName = 4096

// mostSession is how long a login is remembered for its logout, if nobody says how long it is.
const mostSession = 30 * 24 * time.Hour

// remember keeps what a logout has to know: for one that we ask for, the name that the other
// side has for the person; for one that it asks for, the subject, where the name is not that.
func (p *Provider) remember(ctx context.Context, host sdk.Host, i *idp, known party, s statement, id sdk.Identity, now time.Time) error {
	if s.name == (nameID{}) || len(known.slo) == 0 || p.settings.certificate == nil {
		return nil
	}
	ttl := mostSession
	if !s.ends.IsZero() {
		ttl = min(ttl, s.ends.Add(skew).Sub(now))
	}
	value := join(i.name, s.session, s.name.value, s.name.format, s.name.qualifier, s.name.spFor)
	if !isPlain(s.session) || len(value) > mostName {
		return nil // it cannot be logged out from here; that is no reason to refuse it
	}
	if err := host.KV().Set(ctx, keyOfLogin(id.Subject, id.Session), value, ttl); err != nil {
		return fmt.Errorf("remember a login: %w", err)
	}
	if i.subject == "" {
		return nil
	}
	if err := host.KV().Set(ctx, i.keyOfName(s.name, p.settings.entityID), []byte(id.Subject), ttl); err != nil {
		return fmt.Errorf("remember a name: %w", err)
	}
	return nil
}

// keyOfLogin is where a login is remembered.
func keyOfLogin(subject, session string) string { return "login/" + digest(subject, session) }

// keyOfName is where the subject is remembered that a name is for.
func (i *idp) keyOfName(n nameID, entityID string) string {
	n = n.between(i, entityID)
	return "name/" + digest(i.name, n.value, n.format, n.qualifier, n.spFor)
}
