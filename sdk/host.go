package sdk

import (
	"context"
	"errors"
	"time"
)

// Host is what the gateway does for a provider. Each part works only if the operator
// granted it and the manifest asked for it; otherwise its calls return [ErrNotGranted].
type Host interface {
	KV() KV
	Passwords() Passwords
	Log(level Level, message string, args ...string) // args are pairs of key and value
	HTTP() HTTP
	JWT() JWT
	XMLDSig() XMLDSig
	Secrets() Secrets
}

// Level is the weight of a log record, as in log/slog.
type Level int

// The levels.
const (
	LevelDebug Level = -4
	LevelInfo  Level = 0
	LevelWarn  Level = 4
	LevelError Level = 8
)

// Bounds of [KV].
const (
	MaxKey   = 512      // bytes of a key
	MaxValue = 64 << 10 // bytes of a value
)

// Entry is a value of [KV]. Version changes with each write and is never 0.
type Entry struct {
	Value   []byte
	Version int64
}

// KV is a map of the provider's own, kept in the gateway's database. Writes are staged:
// they commit with the answer of the call, or not at all, and the call itself sees them.
type KV interface {
	// Get returns the entry and whether there is one.
	Get(ctx context.Context, key string) (Entry, bool, error)
	// Set writes a value. A ttl of 0 is forever.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// CompareAndSet writes a value if the entry's version is still version, 0 meaning that
	// there is none. If that is no longer so at the commit, the gateway makes the call anew.
	CompareAndSet(ctx context.Context, key string, version int64, value []byte, ttl time.Duration) error
	// Delete removes an entry, if there is one.
	Delete(ctx context.Context, key string) error
}

// Passwords hashes and checks passwords in the host, which is many times as fast as in a
// guest and bounded in parallel.
type Passwords interface {
	// Hash returns the argon2id hash of a password in PHC form.
	Hash(ctx context.Context, password string) (string, error)
	// Verify checks a password against a hash: argon2id, bcrypt or Django's PBKDF2. An empty
	// hash takes the time of a real check and is false. stale says that a true answer's hash
	// should be made anew.
	Verify(ctx context.Context, hash, password string) (ok, stale bool, err error)
	// Common reports whether a password is among the 100,000 most common.
	Common(ctx context.Context, password string) (bool, error)
}

// HTTP asks other servers: those that the operator lists for the provider, and no others.
// Redirects are followed as far as the list allows. There are no cookies, and a request
// has no more time than its call.
type HTTP interface {
	// Fetch makes one request. An answer of any status is no error. The errors are
	// [ErrDenied], [ErrUnreachable], [ErrTooLarge], [ErrInvalid] and [ErrExhausted].
	Fetch(ctx context.Context, r HTTPRequest) (HTTPResponse, error)
}

// HTTPRequest is a request to another server.
type HTTPRequest struct {
	Method string // GET if empty
	URL    string // https://host/path, or http where the operator lists it
	Header []HTTPHeader
	Body   []byte
}

// HTTPHeader is one header field.
type HTTPHeader struct{ Name, Value string }

// HTTPResponse is what another server answered.
type HTTPResponse struct {
	Status int
	Header []HTTPHeader // in the order of their names, without cookies
	Body   []byte
	URL    string // that answered, after redirects
}

// JWT checks the tokens of other issuers, and signs the provider's own assertions.
type JWT interface {
	// Verify checks an id_token (OpenID Connect Core §3.1.3.7) and returns its claims, a JSON
	// object. A token that does not hold is a [*Refused].
	Verify(ctx context.Context, v JWTVerification) (claims []byte, err error)
	// Sign signs claims, a JSON object, as a client assertion (RFC 7523 §2.2). The gateway
	// adds iat, exp and jti where they are missing.
	Sign(ctx context.Context, a JWTAssertion) (token string, err error)
}

// JWTVerification is a token with what it must say. Issuer, Audience, Nonce and Algorithms
// are not optional, and neither is one of Keys and KeysURL.
type JWTVerification struct {
	Token       string
	Issuer      string   // the iss claim, compared exactly
	Audience    string   // that the aud claim must hold
	Nonce       string   // the nonce claim: that of the flow
	Algorithms  []string // "RS256", "PS256", "ES256", "EdDSA", ...; the token has no say
	Keys        []byte   // a JWK Set (RFC 7517 §5)
	KeysURL     string   // where the gateway fetches one, by the rules of [HTTP], and remembers it
	AccessToken string   // if set, at_hash must be there and be its hash
	MaxAge      time.Duration
}

// JWTAssertion is what [JWT.Sign] signs. Secret names a private key of the provider's
// secrets; see [Secrets].
type JWTAssertion struct {
	Claims    []byte
	Secret    string
	Algorithm string
	KeyID     string // kid header, if set
}

// XMLDSig checks, makes and removes the signatures and encryption of XML documents, as SAML
// uses them. What is signed or decrypted names its private key by a name of the provider's
// secrets; see [Secrets].
type XMLDSig interface {
	// Verify checks the enveloped signature of an element and returns the bytes that it
	// covered, without the signature: parse these, and nothing else of the document. A
	// document that does not hold is a [*Refused].
	Verify(ctx context.Context, v XMLVerification) (signed []byte, err error)
	// Sign puts an enveloped signature into the root element of a document, which has an ID.
	Sign(ctx context.Context, s XMLSigning) ([]byte, error)
	// Decrypt returns the plain text of an EncryptedData element with its EncryptedKey. Any
	// failure is one and the same [*Refused].
	Decrypt(ctx context.Context, encrypted []byte, secret string) ([]byte, error)
	// SignBytes signs the query of SAML's redirect binding, which begins with SAMLRequest= or
	// SAMLResponse=. The algorithm is a URI of XML Signature.
	SignBytes(ctx context.Context, algorithm string, data []byte, secret string) ([]byte, error)
	// VerifyBytes checks such a signature against each of the certificates.
	VerifyBytes(ctx context.Context, algorithm string, data, signature []byte, certificates [][]byte) error
}

// XMLVerification is a document with what must be signed in it, by the key of one of the
// certificates. What the document says of its key is not believed.
type XMLVerification struct {
	Document     []byte
	Certificates [][]byte // DER of X.509
	Namespace    string   // of the element that must be signed
	Element      string   // its local name
}

// XMLSigning is a document with who signs it and where the signature goes.
type XMLSigning struct {
	Document    []byte
	Secret      string // name of the private key
	Certificate []byte // DER of X.509, of that key; it goes into the signature
	Namespace   string // of the child of the root that the signature follows
	After       string // its local name; empty: the signature is the first child
}

// Secrets are those of the provider's section of the configuration.
type Secrets interface {
	// Get returns a secret, and whether there is one. Private keys are never handed out: they
	// are used by their name, and asking for one is [ErrDenied].
	Get(ctx context.Context, name string) (string, bool, error)
	// MAC returns the HMAC-SHA-256 of a message under a secret, which has to be there.
	MAC(ctx context.Context, name string, message []byte) ([]byte, error)
}

// Errors of [Host].
var (
	ErrNotGranted  = errors.New("capability not granted")
	ErrConflict    = errors.New("entry changed")
	ErrTooLarge    = errors.New("key or value too large")
	ErrInvalid     = errors.New("argument not valid")  // a key that is empty or no text, a URL that is none, ...
	ErrDenied      = errors.New("not allowed")         // a destination that is not listed, a key that is not handed out
	ErrUnreachable = errors.New("other server failed") // no address, no connection, no answer in time
	ErrExhausted   = errors.New("too often in one call")
)

// Refused says that a signed or encrypted thing does not hold, and why in one word, such as
// "signature", "expired", "issuer", "audience", "nonce", "key" or "malformed".
type Refused struct{ Reason string }

// Error returns the reason.
func (r *Refused) Error() string { return "refused: " + r.Reason }

// Error is a provider's failure with a public code, such as [CodeProviderError]. Public
// is shown to the client; Private goes to the log alone.
type Error struct {
	Code    string
	Public  string
	Private string
}

// Error returns the code and the private text.
func (e *Error) Error() string { return e.Code + ": " + e.Private }

// The public codes that a provider may answer with.
const (
	CodeInvalidCredentials = "INVALID_CREDENTIALS"
	CodeEmailNotVerified   = "EMAIL_NOT_VERIFIED"
	CodeEmailExists        = "EMAIL_ALREADY_EXISTS"
	CodeInvalidEmail       = "INVALID_EMAIL_FORMAT"
	CodeWeakPassword       = "WEAK_PASSWORD"
	CodeValidation         = "VALIDATION_ERROR"
	CodeMissingField       = "MISSING_REQUIRED_FIELD"
	CodeInvalidToken       = "INVALID_TOKEN"
	CodeUserNotFound       = "USER_NOT_FOUND"
	CodeProviderError      = "OAUTH_PROVIDER_ERROR"
	CodeUnavailable        = "SERVICE_UNAVAILABLE"
	CodeOAuthCode          = "OAUTH_CODE_INVALID"       // the other side did not grant, or what it gave does not hold
	CodeSAMLNotConfigured  = "SAML_NOT_CONFIGURED"      // no identity provider for this name, domain or workspace
	CodeSAMLAssertion      = "SAML_ASSERTION_INVALID"   // a response that does not hold
	CodeSAMLSignature      = "SAML_SIGNATURE_INVALID"   // a signature that is missing or does not hold
	CodeForbidden          = "INSUFFICIENT_PERMISSIONS" // known, and may not sign in here

	// CodeInternal is what an error becomes that is not an [*Error].
	CodeInternal = "INTERNAL_ERROR"
)
