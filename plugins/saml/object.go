package saml

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

type fault = sdk.Fault

// object is a JSON object that is taken apart member by member. What is wrong with any is
// noted with its path, and what nobody took is wrong too.
type object struct {
	path    string
	members map[string]json.RawMessage
	taken   []string
	faults  *[]fault
}

func openObject(raw []byte) (*object, bool) {
	o := &object{faults: &[]fault{}}
	return o, json.Unmarshal(raw, &o.members) == nil && o.members != nil
}

// at returns the path of a member; that of the object itself for an empty name.
func (o *object) at(name string) string {
	if o.path == "" || name == "" {
		return o.path + name
	}
	return o.path + "." + name
}

func (o *object) rule(broken bool, name, message string) {
	if broken {
		*o.faults = append(*o.faults, fault{Path: o.at(name), Message: message})
	}
}

func (o *object) has(name string) bool {
	_, ok := o.members[name]
	return ok
}

// done ends the reading of an object, and returns the faults of all.
func (o *object) done() []fault {
	o.closed()
	if len(*o.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(*o.faults, func(a, b fault) int { return strings.Compare(a.Path, b.Path) })
	return *o.faults
}

// closed notes the members that nobody took.
func (o *object) closed() {
	for name := range o.members {
		o.rule(!slices.Contains(o.taken, name), name, "is unknown; there are "+strings.Join(o.taken, ", "))
	}
}

// take decodes a member, if it is there. encoding/json takes null for anything.
func (o *object) take(name string, into any, want string) (ok bool) {
	if !slices.Contains(o.taken, name) {
		o.taken = append(o.taken, name)
	}
	raw, there := o.members[name]
	if !there {
		return false
	}
	ok = string(raw) != "null" && json.Unmarshal(raw, into) == nil
	o.rule(!ok, name, want)
	return ok
}

func (o *object) flag(name string, otherwise bool) bool {
	value := otherwise
	o.take(name, &value, "must be true or false")
	return value
}

// text takes a text that is not empty.
func (o *object) text(name string, most int) string {
	var value string
	if o.take(name, &value, "must be text") {
		o.rule(value == "" || len(value) > most, name, fmt.Sprintf("must be text of 1 to %d bytes", most))
	}
	return value
}

// checked takes a text for which good is true.
func (o *object) checked(name, want string, good func(string) bool) string {
	var value string
	if o.take(name, &value, want) && !good(value) {
		o.rule(true, name, want)
		return ""
	}
	return value
}

func (o *object) entityID(name string) string {
	const want = "must be the entity ID, a URI of at most 1024 bytes"
	o.rule(!o.has(name), name, want)
	return o.checked(name, want, isURI)
}

func (o *object) uri(name string) string { return o.checked(name, "must be a URI", isURI) }

// isURI reports whether a text is one, in the sense that whoever compares it needs.
func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && s != "" && len(s) <= maxText && isPlain(s) && u.Scheme+u.Path != "" && !strings.Contains(s, " ")
}

func (o *object) url(name string) string {
	return o.checked(name, "must be an https URL (http on this machine alone) without a user and a fragment", isPlace)
}

// name takes a name that metrics can tell.
func (o *object) name(name string) string {
	const want = "must be a name of 1 to 64 letters, digits, dots, dashes and underscores"
	o.rule(!o.has(name), name, want)
	return o.checked(name, want, func(s string) bool {
		return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r))
		})
	})
}

func (o *object) choice(name, otherwise string, of ...string) string {
	if !o.has(name) {
		o.taken = append(o.taken, name)
		return otherwise
	}
	return o.checked(name, "must be one of "+strings.Join(of, ", "), func(s string) bool { return slices.Contains(of, s) })
}

func (o *object) duration(name string, otherwise, most time.Duration) time.Duration {
	if !o.has(name) {
		o.taken = append(o.taken, name)
		return otherwise
	}
	var value time.Duration
	o.checked(name, "must be a duration from 0s to "+most.String()+", such as 72h", func(s string) bool {
		var err error
		value, err = time.ParseDuration(s)
		return err == nil && value >= 0 && value <= most
	})
	return value
}

const wantCertificate = "must be a certificate (PEM or base64 of DER) of an RSA key, or of one on P-256, P-384 or P-521"

func (o *object) certificate(name string) certificate {
	var c certificate
	o.checked(name, wantCertificate, func(s string) (ok bool) {
		c, ok = parseCertificate(s)
		return ok
	})
	return c
}

func (o *object) certificates(name string) []certificate {
	var list []certificate
	for n, text := range o.texts(name, maxCertificates) {
		c, ok := parseCertificate(text)
		o.rule(!ok, name+index(n), wantCertificate)
		list = append(list, c)
	}
	return list
}

func index(n int) string { return "[" + strconv.Itoa(n) + "]" }

// texts takes a list of at least one text.
func (o *object) texts(name string, most int) []string {
	var list []string
	want := fmt.Sprintf("must be a list of 1 to %d texts", most)
	if o.take(name, &list, want) {
		o.rule(len(list) == 0 || len(list) > most || slices.Contains(list, ""), name, want)
	}
	return list
}

func (o *object) domains(name string) []string {
	var list []string
	for n, text := range o.texts(name, maxListed) {
		text = strings.ToLower(text)
		o.rule(!isDomain(text), name+index(n), "must be a domain such as example.com; other letters than ASCII in their xn-- form")
		list = append(list, text)
	}
	return list
}

func (o *object) workspaces(name string) []string {
	var list []string
	for n, text := range o.texts(name, maxListed) {
		o.rule(!isUUID(text), name+index(n), "must be the UUID of a workspace")
		list = append(list, strings.ToLower(text))
	}
	return list
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
			continue
		}
		if _, ok := digit(c); !ok {
			return false
		}
	}
	return true
}

// subject takes what names a person.
func (o *object) subject(name string) string {
	value := o.checked(name, "must be nameid, or the name of an attribute", func(s string) bool { return s != "" && len(s) <= 256 && isPlain(s) })
	if value == "nameid" {
		return ""
	}
	return value
}

func (o *object) nameIDFormat(name, otherwise string) string {
	if !o.has(name) {
		o.taken = append(o.taken, name)
		return otherwise
	}
	value := o.checked(name, "must be emailAddress, persistent, transient or unspecified, or a URI", isURI)
	if uri, ok := formats[value]; ok {
		return uri
	}
	o.rule(value != "" && !strings.Contains(value, ":"), name, "must be emailAddress, persistent, transient or unspecified, or a URI")
	return value
}

// mapping takes the names of attributes for the parts of an identity.
func (o *object) mapping(name string, known mapping) mapping {
	all := mapping{}
	for part, names := range known {
		all[part] = names
	}
	own, ok := o.object(name)
	if !ok {
		return all
	}
	for part := range own.members {
		const want = "must be the name of an attribute, or a list of names of which the first that is there counts"
		own.rule(slices.Contains(reserved, strings.ToLower(part)) || len(part) > 256 || part == "" || !isPlain(part), part,
			"cannot be the name of an attribute: the gateway has it for itself")
		var names []string
		var single string
		own.taken = append(own.taken, part)
		switch raw := own.members[part]; {
		case string(raw) == "null":
		case json.Unmarshal(raw, &single) == nil:
			names = []string{single}
		case json.Unmarshal(raw, &names) != nil:
			names = nil
		}
		lower := strings.ToLower(part)
		own.rule(part != lower && (lower == "email" || lower == "name" || lower == "groups"), part, "must be written as "+lower)
		own.rule(len(names) == 0 || len(names) > 16 || slices.Contains(names, ""), part, want)
		all[part] = names
	}
	own.rule(len(all) > 60, "", "has too many parts, at most 60")
	return all
}

// reserved are names that the gateway makes, and no assertion can; see sdk/contract.
var reserved = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "gen", "typ", "kid", "alg",
	"azp", "client_id", "nonce", "acr", "amr", "auth_time", "auth_method", "cnf", "act",
	"scope", "token_type", "user_id", "email_verified", "roles",
	"permissions", "workspace_ids", "entitlements",
}

// object takes a member that is an object.
func (o *object) object(name string) (*object, bool) {
	below := &object{path: o.at(name), faults: o.faults}
	if !o.take(name, &below.members, "must be an object") {
		return nil, false
	}
	return below, true
}

// objects takes a list of objects.
func (o *object) objects(name string, most int) []*object {
	var raw []json.RawMessage
	want := fmt.Sprintf("must be a list of 1 to %d objects", most)
	if !o.take(name, &raw, want) {
		return nil
	}
	o.rule(len(raw) == 0 || len(raw) > most, name, want)
	var list []*object
	for n, each := range raw {
		below := &object{path: o.at(name + index(n)), faults: o.faults}
		if json.Unmarshal(each, &below.members) != nil || below.members == nil {
			o.rule(true, name+index(n), "must be an object")
			continue
		}
		list = append(list, below)
	}
	return list
}

// unique notes the identity providers, at their paths, that have the same of something.
func (o *object) unique(paths []string, name string, all list, of func(*idp) string) {
	for n, i := range all {
		if of(i) != "" && slices.ContainsFunc(all[:n], func(earlier *idp) bool { return of(earlier) == of(i) }) {
			o.rule(true, paths[n]+"."+name, "is there twice")
		}
	}
}
