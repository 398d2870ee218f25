// Package sdk is what the author of an identity provider needs: the contract between a
// provider and the gateway as plain Go data. It imports the standard library alone. A
// provider answers one question, who is this, and hands everything that must not be
// forgotten (state, one-time links, sessions, tokens, limits) to the gateway.
//
// The same source becomes a sandboxed WASM module or a process: see package serve.
package sdk

import (
	"context"
	"time"
)

// ABI is the version of the contract that this package speaks. A gateway of version N also
// runs plugins of version N-1, which is [OldestABI].
//
//	1  the capabilities kv, password and log
//	2  the capabilities http, jwt, xmldsig and secret; [Request.Headers]; [Manifest.Concurrent];
//	   [Logout], [FlowForget], [Step.Party], [Flow.Session], [Identity.Session], [Identity.Tokens]
const (
	ABI       = 2
	OldestABI = 1
)

// MaxSave is the most that a [Step] may ask the gateway to keep, in bytes.
const MaxSave = 16 << 10

// MaxTokens is the most that [Identity.Tokens] may hold, in bytes.
const MaxTokens = 16 << 10

// Provider is one way to prove who one is. The gateway never calls one instance
// concurrently unless [Manifest.Concurrent] says that it may; it may run many instances, and
// may drop one after any call, so what must last goes through [Host] or [Step.Save].
type Provider interface {
	// Describe says what the provider is. It is called before Configure, without a host.
	Describe() Manifest

	// Configure takes the provider's section of the gateway's configuration as a JSON
	// object and returns every fault of it, or none.
	Configure(settings []byte) []Fault

	// Begin starts a flow. An error that is an [*Error] reaches the client by its public
	// code; any other is an internal error.
	Begin(ctx context.Context, host Host, flow Flow, req Request) (Step, error)

	// Continue goes on with a flow after the person came back: from a mailed link, from
	// another site, or with the fields of a prompt. flow.Saved is what the last step saved.
	Continue(ctx context.Context, host Host, flow Flow, req Request) (Step, error)
}

// Server is implemented by a provider that also serves plain documents, such as metadata.
type Server interface {
	Serve(ctx context.Context, host Host, req Request) (Response, error)
}

// Capability names something that a provider may ask of the host.
type Capability string

// The capabilities.
const (
	CapabilityKV       Capability = "kv"
	CapabilityPassword Capability = "password"
	CapabilityLog      Capability = "log"
	CapabilityHTTP     Capability = "http"    // since version 2
	CapabilityJWT      Capability = "jwt"     // since version 2
	CapabilityXMLDSig  Capability = "xmldsig" // since version 2
	CapabilitySecret   Capability = "secret"  // since version 2
)

// Capabilities returns all of them.
func Capabilities() []Capability {
	return []Capability{
		CapabilityKV, CapabilityPassword, CapabilityLog,
		CapabilityHTTP, CapabilityJWT, CapabilityXMLDSig, CapabilitySecret,
	}
}

// Since returns the version of the contract that a capability came with, 0 for one that
// there is not.
func (c Capability) Since() uint32 {
	switch c {
	case CapabilityKV, CapabilityPassword, CapabilityLog:
		return 1
	case CapabilityHTTP, CapabilityJWT, CapabilityXMLDSig, CapabilitySecret:
		return 2
	}
	return 0
}

// FlowKind is the purpose of a flow.
type FlowKind string

// The kinds of flow.
const (
	FlowLogin    FlowKind = "login"
	FlowRegister FlowKind = "register"
	FlowVerify   FlowKind = "verify"
	FlowRecover  FlowKind = "recover"
	FlowChange   FlowKind = "change"
	FlowLink     FlowKind = "link"
	FlowLogout   FlowKind = "logout"

	// FlowForget removes whatever the provider keeps by which [Flow.Subject] could log in, and
	// ends in [Changed]. Nobody can begin it: the gateway does, when an identity is taken from an
	// account. A provider that keeps such things has a form of it, any other has none.
	FlowForget FlowKind = "forget"
)

// Manifest says what a provider is.
type Manifest struct {
	ID           string       // reverse domain name or short name: "email"
	Version      string       // semantic version of the provider
	ABI          uint32       // [ABI]
	Kind         string       // "email", "oauth", "saml", or a name of the author's
	Forms        []Form       // the flows that a person can begin, in order of preference
	Capabilities []Capability // what it needs of the host
	ConfigSchema []byte       // JSON Schema of its settings, may be nil

	// Concurrent says that one instance takes several calls at a time. It counts for a
	// process alone, which else gets one call after another; in a WASM module there is
	// always one call at a time.
	Concurrent bool
}

// Form is what one flow asks of a person at its beginning.
type Form struct {
	Flow   FlowKind
	Name   string // tells two forms of one flow apart: "password", "magic_link"
	Label  string
	Fields []Field
}

// Field is one input of a [Form] or of a [Prompt].
type Field struct {
	Name     string
	Label    string
	Type     string // "text", "email" or "password"
	Required bool
}

// Fault is one thing that is wrong with a provider's settings.
type Fault struct {
	Path    string // "password.min_length"
	Message string // what is wrong and what would be right
}

// Flow is one attempt to prove who one is. Everything in it is made by the gateway; a
// provider can rely on it.
type Flow struct {
	ID            string
	Kind          FlowKind
	Form          string // [Form.Name] of the form that began it
	CallbackURL   string // where another site sends the person back to
	State         string // single use, bound to the browser
	Nonce         string // single use
	PKCEVerifier  string // RFC 7636; its S256 challenge is PKCEChallenge
	PKCEChallenge string
	Subject       string // change, link, logout, forget: the person's subject at this provider
	Session       string // logout: [Identity.Session] of the login that ends
	Saved         []byte // Continue: what the step before saved
	StartedAt     time.Time
}

// Request is what a person sent.
type Request struct {
	Fields    map[string]string // form fields, JSON members or query parameters; untrusted
	Headers   map[string]string // those of the request that the operator names, by their names in lower case; untrusted
	Path      string            // Serve: the rest of the path
	IP        string
	UserAgent string
	Locale    string
	Now       time.Time
}

// Response is a plain document, the answer of [Server].
type Response struct {
	Status      int
	ContentType string
	Body        []byte
}

// Step is a provider's answer: exactly one of its pointers is set. Save is kept by the
// gateway, encrypted, and given to the next Continue of the flow.
type Step struct {
	Redirect *Redirect
	Post     *Post
	Prompt   *Prompt
	Mail     *Mail
	Done     *Done
	Changed  *Changed
	Denied   *Denied
	Logout   *Logout

	Save []byte // at most [MaxSave] bytes

	// Party names the other side of the flow where one provider speaks to several: a name of the
	// provider's settings, of letters, digits, dots, dashes and underscores. Metrics tell it.
	Party string
}

// Kind names the one pointer that is set: "redirect", "post", "prompt", "mail", "done",
// "changed", "denied" or "logout". It is empty when none or several are, which is no valid step.
func (s Step) Kind() string {
	kind, n := "", 0
	for _, c := range [...]struct {
		set  bool
		kind string
	}{
		{s.Redirect != nil, "redirect"},
		{s.Post != nil, "post"},
		{s.Prompt != nil, "prompt"},
		{s.Mail != nil, "mail"},
		{s.Done != nil, "done"},
		{s.Changed != nil, "changed"},
		{s.Denied != nil, "denied"},
		{s.Logout != nil, "logout"},
	} {
		if c.set {
			kind = c.kind
			n++
		}
	}
	if n != 1 {
		return ""
	}
	return kind
}

// Redirect sends the browser to another site.
type Redirect struct{ URL string }

// Post sends the browser to another site with a form that submits itself.
type Post struct {
	URL    string
	Fields map[string]string
}

// Prompt asks for more fields.
type Prompt struct{ Fields []Field }

// Mail sends a mail. The gateway mints the one-time link of the templates that have one
// ("verify", "reset", "magic_link") and continues the flow when it is followed;
// "account_exists" has none and ends the flow. The words of the mail are the operator's.
type Mail struct {
	Template string
	To       string
	Vars     map[string]string
	// Identity is whom the mail is about. With the template "verify" the gateway makes
	// the user that it will belong to, inactive until the flow ends in Done.
	Identity *Identity
}

// Done says who the person is. It ends the flow.
type Done struct{ Identity Identity }

// Changed says that the credentials of a subject changed; the gateway ends the sessions of
// the user behind it (for FlowChange all but the one that asked). It ends the flow.
type Changed struct{ Subject string }

// Denied says no. Code is one of the gateway's public codes; see the Code constants. It
// leaves the flow as it was, so that a one-time link still serves after a mistake; but a
// flow that came back from another site is over, whatever the answer.
type Denied struct {
	Code   string
	Fields []FieldError // for CodeValidation, CodeWeakPassword
}

// Logout ends sessions because the other side says so, or says that it has ended its own. It
// ends a flow of [FlowLogout].
type Logout struct {
	// Issuer and Subject say whose sessions end: those that this provider began. Without a
	// subject none does.
	Issuer  string
	Subject string
	// Sessions are those of the other side, as [Identity.Session] named them. Empty: all.
	Sessions []string
	// URL is where the browser takes the answer to, by redirect, or by a form that submits itself
	// if there are Fields. Empty: nobody waits for one.
	URL    string
	Fields map[string]string
}

// FieldError says what is wrong with one field.
type FieldError struct {
	Field   string
	Code    string
	Message string
}

// Identity is what a provider asserts about a person. Issuer and Subject name the person
// at this provider and never change; the provider can speak of no other namespace.
type Identity struct {
	Issuer        string
	Subject       string
	Email         string
	EmailVerified bool
	Name          string
	AvatarURL     string
	Groups        []string
	AMR           []string // RFC 8176
	ACR           string
	Attributes    map[string]string

	// Session is what the other side calls this login: the SessionIndex of SAML, the sid of
	// OpenID Connect. [FlowLogout] is told it.
	Session string
	// Tokens are what the other side issued for later use, if the operator wants them kept. The
	// gateway keeps them encrypted beside the identity. At most [MaxTokens] bytes.
	Tokens []byte
}
