package trial

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

const redacted = "[redacted]"

// maxShown is how much of a value is shown, in bytes.
const maxShown = 120

// String says what was asked and what came of it. Passwords, secrets, tokens and hashes are
// not shown; values that a plugin stores are, up to a length.
func (a Asked) String() string {
	asked, replied := a.readable()
	if a.Err != nil {
		replied = a.Err.Error()
	}
	text := fmt.Sprintf("%s.%s %s", a.Function.Capability, a.Function.Name, asked)
	if replied != "" {
		text += ": " + replied
	}
	return text
}

func (a Asked) readable() (asked, replied string) {
	switch a.Function.Capability {
	case sdk.CapabilityKV:
		return a.kv()
	case sdk.CapabilityPassword:
		return a.password()
	case sdk.CapabilityLog:
		r, _ := wire.DecodeRecord(a.Request)
		return fmt.Sprintf("level %d %s %s", r.Level, shown(r.Message), shownAll(r.Args)), ""
	case sdk.CapabilityHTTP:
		return a.http()
	case sdk.CapabilityJWT:
		return a.jwt()
	case sdk.CapabilityXMLDSig:
		return a.xml()
	case sdk.CapabilitySecret:
		return a.secret()
	}
	return fmt.Sprintf("%d bytes", len(a.Request)), fmt.Sprintf("%d bytes", len(a.Reply))
}

func (a Asked) kv() (asked, replied string) {
	switch a.Function {
	case wire.KVGet:
		key, _ := wire.DecodeKey(a.Request)
		entry, found, _ := wire.DecodeEntry(a.Reply)
		replied = "nothing"
		if found {
			replied = fmt.Sprintf("%s, version %d", shown(string(entry.Value)), entry.Version)
		}
		return shown(key), replied
	case wire.KVDelete:
		key, _ := wire.DecodeKey(a.Request)
		return shown(key), "done"
	}
	p, _ := wire.DecodePut(a.Request)
	asked = shown(p.Key) + " = " + shown(string(p.Value))
	if a.Function == wire.KVCompareAndSet {
		asked += fmt.Sprintf(" if version is %d", p.Version)
	}
	if p.TTL > 0 {
		asked += " for " + p.TTL.Round(time.Millisecond).String()
	}
	return asked, "done"
}

func (a Asked) password() (asked, replied string) {
	switch a.Function {
	case wire.PasswordHash:
		return redacted, "a hash"
	case wire.PasswordVerify:
		ok, stale, _ := wire.DecodeVerdict(a.Reply)
		hash, _, _ := wire.DecodeVerify(a.Request)
		asked, replied = redacted+" against a hash", fmt.Sprint(ok)
		if hash == "" {
			asked = redacted + " against no hash"
		}
		if stale {
			replied += ", the hash is stale"
		}
		return asked, replied
	}
	common, _ := wire.DecodeCommon(a.Reply)
	return redacted, fmt.Sprint(common)
}

func (a Asked) http() (asked, replied string) {
	r, _ := wire.DecodeFetch(a.Request)
	response, _ := wire.DecodeFetched(a.Reply)
	method := r.Method
	if method == "" {
		method = "GET"
	}
	asked = method + " " + shown(r.URL)
	for _, h := range r.Header {
		value := shown(h.Value)
		if strings.EqualFold(h.Name, "Authorization") {
			value = redacted
		}
		asked += fmt.Sprintf(" %s=%s", h.Name, value)
	}
	if len(r.Body) > 0 {
		asked += " body " + shown(string(r.Body))
	}
	return asked, fmt.Sprintf("status %d, body %s", response.Status, shown(string(response.Body)))
}

func (a Asked) jwt() (asked, replied string) {
	result, err := wire.DecodeResult(a.Reply)
	if a.Function == wire.JWTSign {
		s, _ := wire.DecodeJWTSign(a.Request)
		return fmt.Sprintf("%s with key %s by %s", shown(string(s.Claims)), shown(s.Secret), s.Algorithm), outcome("a token", err)
	}
	v, _ := wire.DecodeJWTVerify(a.Request)
	keys := "given keys"
	if v.KeysURL != "" {
		keys = "keys of " + shown(v.KeysURL)
	}
	asked = fmt.Sprintf("a token of %d bytes by %s for %s, algorithms %s, %s",
		len(v.Token), shown(v.Issuer), shown(v.Audience), strings.Join(v.Algorithms, " "), keys)
	return asked, outcome("claims "+shown(string(result)), err)
}

func (a Asked) xml() (asked, replied string) {
	result, err := wire.DecodeResult(a.Reply)
	replied = outcome(fmt.Sprintf("%d bytes", len(result)), err)
	switch a.Function {
	case wire.XMLVerify:
		v, _ := wire.DecodeXMLVerify(a.Request)
		return fmt.Sprintf("a document of %d bytes, element %s of %s, %d certificates",
			len(v.Document), shown(v.Element), shown(v.Namespace), len(v.Certificates)), replied
	case wire.XMLVerifyBytes:
		s, _ := wire.DecodeSignature(a.Request)
		return fmt.Sprintf("%d bytes by %s, %d certificates", len(s.Data), s.Algorithm, len(s.Certificates)), outcome("holds", err)
	}
	s, _ := wire.DecodeSigning(a.Request)
	return fmt.Sprintf("%d bytes with key %s", len(s.Data), shown(s.Secret)), replied
}

func (a Asked) secret() (asked, replied string) {
	if a.Function == wire.SecretMAC {
		name, message, _ := wire.DecodeMAC(a.Request)
		return fmt.Sprintf("%s over %d bytes", shown(name), len(message)), "a code"
	}
	name, _ := wire.DecodeSecretName(a.Request)
	if _, found, _ := wire.DecodeSecret(a.Reply); !found {
		return shown(name), "nothing"
	}
	return shown(name), redacted
}

func outcome(good string, err error) string {
	if err != nil {
		return err.Error()
	}
	return good
}

// shown quotes a text, or gives the size of what is none.
func shown(s string) string {
	if !utf8.ValidString(s) {
		return fmt.Sprintf("(%d bytes)", len(s))
	}
	if len(s) > maxShown {
		return fmt.Sprintf("%q... (%d bytes)", strings.ToValidUTF8(s[:maxShown], ""), len(s))
	}
	return fmt.Sprintf("%q", s)
}

func shownAll(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = shown(s)
	}
	return strings.Join(out, " ")
}

// answer is the JSON of a provider's answer. Its names are those of the list expect in
// plugin.test.json.
type answer struct {
	Step     string            `json:"step"`
	Code     string            `json:"code,omitempty"`
	Public   string            `json:"public,omitempty"`
	Private  string            `json:"private,omitempty"`
	URL      string            `json:"url,omitempty"`
	Template string            `json:"template,omitempty"`
	To       string            `json:"to,omitempty"`
	Vars     map[string]string `json:"vars,omitempty"`
	Issuer   string            `json:"issuer,omitempty"`
	Subject  string            `json:"subject,omitempty"`
	Sessions []string          `json:"sessions,omitempty"`
	Party    string            `json:"party,omitempty"`
	Identity *identity         `json:"identity,omitempty"`
	Fields   any               `json:"fields,omitempty"`
	Save     []byte            `json:"save,omitempty"`

	Status      int    `json:"status,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	Body        string `json:"body,omitempty"`
	Bytes       []byte `json:"bytes,omitempty"` // the body, if it is no text
}

type identity struct {
	Issuer        string            `json:"issuer,omitempty"`
	Subject       string            `json:"subject"`
	Email         string            `json:"email,omitempty"`
	EmailVerified bool              `json:"email_verified,omitempty"`
	Name          string            `json:"name,omitempty"`
	AvatarURL     string            `json:"avatar_url,omitempty"`
	Groups        []string          `json:"groups,omitempty"`
	AMR           []string          `json:"amr,omitempty"`
	ACR           string            `json:"acr,omitempty"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	Session       string            `json:"session,omitempty"`
	Tokens        []byte            `json:"tokens,omitempty"`
}

type field struct {
	Name     string `json:"name"`
	Label    string `json:"label,omitempty"`
	Type     string `json:"type"`
	Required bool   `json:"required,omitempty"`
}

type fieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
}

// StepJSON returns a step as indented JSON.
func StepJSON(s sdk.Step) []byte {
	a := answer{Step: s.Kind(), Party: s.Party, Save: s.Save}
	switch {
	case s.Redirect != nil:
		a.URL = s.Redirect.URL
	case s.Post != nil:
		a.URL, a.Fields = s.Post.URL, s.Post.Fields
	case s.Prompt != nil:
		var list []field
		for _, f := range s.Prompt.Fields {
			list = append(list, field(f))
		}
		a.Fields = list
	case s.Mail != nil:
		a.Template, a.To, a.Vars = s.Mail.Template, s.Mail.To, s.Mail.Vars
		if s.Mail.Identity != nil {
			a.Identity = (*identity)(s.Mail.Identity)
		}
	case s.Done != nil:
		a.Subject, a.Identity = s.Done.Identity.Subject, (*identity)(&s.Done.Identity)
	case s.Changed != nil:
		a.Subject = s.Changed.Subject
	case s.Logout != nil:
		a.Issuer, a.Subject, a.Sessions, a.URL = s.Logout.Issuer, s.Logout.Subject, s.Logout.Sessions, s.Logout.URL
		if len(s.Logout.Fields) > 0 {
			a.Fields = s.Logout.Fields
		}
	case s.Denied != nil:
		a.Code = s.Denied.Code
		var list []fieldError
		for _, f := range s.Denied.Fields {
			list = append(list, fieldError(f))
		}
		if list != nil {
			a.Fields = list
		}
	}
	return indented(a)
}

// ErrorJSON returns a provider's error as indented JSON.
func ErrorJSON(e sdk.Error) []byte {
	return indented(answer{Step: "error", Code: e.Code, Public: e.Public, Private: e.Private})
}

// DocumentJSON returns a document as indented JSON.
func DocumentJSON(r sdk.Response) []byte {
	a := answer{Step: "document", Status: r.Status, ContentType: r.ContentType}
	if utf8.Valid(r.Body) {
		a.Body = string(r.Body)
	} else {
		a.Bytes = r.Body
	}
	return indented(a)
}

func indented(a answer) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(a) // of plain data there is no error
	return b.Bytes()
}
