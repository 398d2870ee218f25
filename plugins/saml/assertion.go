package saml

import (
	"slices"
	"strings"
	"time"
)

// expectation is what an answer has to fit.
type expectation struct {
	requestID string // of our request; empty: there must be none
	place     string // where answers come to
	audience  string // whom they are for: us
	began     time.Time
	now       time.Time
}

// statement is what an assertion says that holds.
type statement struct {
	id         string
	name       nameID // zero: it has none
	attributes map[string][]string
	session    string
	context    string
	until      time.Time // when the assertion is out of date
	ends       time.Time // of the session over there; zero: it does not say
}

// judge holds a response to what it must say (Profiles §4.1.4.2, §4.1.4.3, Core §2.5).
func (p *Provider) judge(i *idp, r response, want expectation) (statement, error) {
	if err := i.around(r, want); err != nil {
		return statement{}, err
	}
	a := r.assertion
	if a.get("Version") != "2.0" || a.get("ID") == "" {
		return statement{}, refuse("version")
	}
	if issuer, err := issuerOf(a); err != nil || issuer != i.entityID {
		return statement{}, invalid("issuer")
	}
	issued, err := parseTime(a.get("IssueInstant"))
	if err != nil || issued.After(want.now.Add(skew)) {
		return statement{}, invalid("future")
	}
	if a.count("EncryptedID", "EncryptedAttribute") > 0 {
		return statement{}, invalid("encrypted")
	}
	s := statement{id: a.get("ID")}
	if err := s.conditions(a, want); err != nil {
		return statement{}, err
	}
	if err := s.subject(a, want); err != nil {
		return statement{}, err
	}
	if err := s.authenticated(i, a, want); err != nil {
		return statement{}, err
	}
	return s, s.attribution(a)
}

// around holds what is around an assertion to it. Unless it is signed it may be missing, and
// must not contradict.
func (i *idp) around(r response, want expectation) error {
	if err := succeeded(r.around); err != nil {
		return err
	}
	destination, said := r.around.lookup("Destination")
	if (said || r.signed) && destination != want.place {
		return invalid("destination")
	}
	if answers, said := r.around.lookup("InResponseTo"); said && (want.requestID == "" || answers != want.requestID) {
		return invalid("request")
	}
	issuer, err := issuerOf(r.around)
	if err != nil {
		return err
	}
	if issuer != i.entityID && (issuer != "" || r.signed || r.encrypted) {
		return invalid("issuer")
	}
	issued, err := parseTime(r.around.get("IssueInstant"))
	if err != nil || issued.After(want.now.Add(skew)) {
		return invalid("future")
	}
	return nil
}

// conditions are when and for whom an assertion is (Core §2.5.1).
func (s *statement) conditions(a *element, want expectation) error {
	conditions, err := a.only(nsAssertion, "Conditions")
	if err != nil {
		return err
	}
	if conditions == nil {
		return invalid("conditions")
	}
	if err := within(conditions, want.now, &s.until); err != nil {
		return err
	}
	forUs := false
	for _, n := range conditions.nodes {
		if n.child == nil {
			continue
		}
		if n.child.space != nsAssertion {
			return invalid("condition")
		}
		switch n.child.local {
		case "AudienceRestriction": // each of them has to hold
			if !slices.ContainsFunc(n.child.all(nsAssertion, "Audience"), func(el *element) bool {
				text, ok := el.text()
				return ok && strings.Trim(text, " \t\r\n") == want.audience
			}) {
				return invalid("audience")
			}
			forUs = true
		case "OneTimeUse", "ProxyRestriction": // as every assertion is used here
		default: // an assertion with a condition that is not understood is not valid (§2.5.1.1)
			return invalid("condition")
		}
	}
	if !forUs {
		return invalid("audience")
	}
	return nil
}

// within holds an element to its NotBefore and NotOnOrAfter, and shortens until to the latter.
func within(el *element, now time.Time, until *time.Time) error {
	if text, ok := el.lookup("NotBefore"); ok {
		from, err := parseTime(text)
		if err != nil || now.Add(skew).Before(from) {
			return invalid("future")
		}
	}
	if text, ok := el.lookup("NotOnOrAfter"); ok {
		end, err := parseTime(text)
		if err != nil || !now.Add(-skew).Before(end) {
			return invalid("expired")
		}
		if until.IsZero() || end.Before(*until) {
			*until = end
		}
	}
	return nil
}

// subject is whom an assertion is about, and who may present it (Profiles §4.1.4.2).
func (s *statement) subject(a *element, want expectation) error {
	subject, err := a.only(nsAssertion, "Subject")
	if err != nil {
		return err
	}
	if subject == nil {
		return invalid("subject")
	}
	name, err := subject.only(nsAssertion, "NameID")
	if err != nil {
		return err
	}
	if name != nil {
		if s.name, err = readNameID(name); err != nil {
			return err
		}
	}
	reason, confirmed := error(invalid("confirmation")), false
	for _, c := range subject.all(nsAssertion, "SubjectConfirmation") {
		if c.get("Method") != methodBearer {
			continue
		}
		var until time.Time
		if err := confirms(c, want, &until); err != nil {
			reason = err
			continue
		}
		confirmed = true
		if s.until.IsZero() || until.After(s.until) {
			s.until = until // of several ends the latest is how long it might be accepted
		}
	}
	if confirmed {
		return nil
	}
	return reason
}

// confirms reports whether somebody who brings an assertion may.
func confirms(confirmation *element, want expectation, until *time.Time) error {
	data, err := confirmation.only(nsAssertion, "SubjectConfirmationData")
	if err != nil {
		return err
	}
	if data == nil {
		return invalid("confirmation")
	}
	if data.get("Recipient") != want.place {
		return invalid("recipient")
	}
	if _, ok := data.lookup("NotOnOrAfter"); !ok {
		return invalid("confirmation")
	}
	if err := within(data, want.now, until); err != nil {
		return err
	}
	answers, said := data.lookup("InResponseTo")
	if said != (want.requestID != "") || answers != want.requestID {
		return invalid("request")
	}
	return nil
}

// authenticated is that and how somebody logged in (Core §2.7.2).
func (s *statement) authenticated(i *idp, a *element, want expectation) error {
	statements := a.all(nsAssertion, "AuthnStatement")
	if len(statements) == 0 {
		return invalid("authentication")
	}
	el := statements[0]
	at, err := parseTime(el.get("AuthnInstant"))
	if err != nil || at.After(want.now.Add(skew)) {
		return invalid("future")
	}
	if i.forceAuthn && want.requestID != "" && at.Before(want.began.Add(-skew)) {
		return invalid("stale")
	}
	if text, ok := el.lookup("SessionNotOnOrAfter"); ok {
		if s.ends, err = parseTime(text); err != nil || !want.now.Add(-skew).Before(s.ends) {
			return invalid("expired")
		}
	}
	s.session = el.get("SessionIndex")
	context, err := el.only(nsAssertion, "AuthnContext")
	if err != nil {
		return err
	}
	if context == nil {
		return invalid("authentication")
	}
	class, err := context.only(nsAssertion, "AuthnContextClassRef")
	if err != nil {
		return err
	}
	if class != nil {
		s.context, _ = class.text()
	}
	if i.context != "" && s.context != i.context {
		return invalid("context")
	}
	return nil
}

// attribution takes the attributes (Core §2.7.3). A value that is no text says nothing here.
func (s *statement) attribution(a *element) error {
	s.attributes = map[string][]string{}
	for _, list := range a.all(nsAssertion, "AttributeStatement") {
		for _, el := range list.all(nsAssertion, "Attribute") {
			name := el.get("Name")
			for _, value := range el.all(nsAssertion, "AttributeValue") {
				if text, ok := value.text(); ok && text != "" {
					s.attributes[name] = append(s.attributes[name], text)
				}
			}
		}
	}
	return nil
}
