package edge

// Ownership says who may set a header field.
type Ownership uint8

// The kinds of ownership.
const (
	// Foreign fields are the client's and the upstream's; the gateway passes them on.
	Foreign Ownership = iota
	// Owned fields are set by the gateway alone; what a client sends is removed.
	Owned
	// Alias is a spelling that servers of the CGI tradition read as an owned field, or as
	// one that frames or authenticates the request: they turn "-", "_" and ".", and some of
	// them whatever is neither a letter nor a digit, alike into "_". A request with such a
	// field is refused.
	Alias
)

// owned are the fields of identity, origin and trace. Beside those that the gateway sets
// stand those by which clients could contradict what was authorised: another path, another
// method, another address.
var owned = [...]string{
	"x-user-id", "x-user-email", "x-user-name", "x-user-roles", "x-workspace-ids",
	"x-session-id", "x-auth-method", "x-request-id", "forwarded", "x-forwarded", "x-real-ip",
	"traceparent", "tracestate",
	"x-client-ip", "x-cluster-client-ip", "true-client-ip",
	"x-original-url", "x-rewrite-url",
	"x-http-method", "x-http-method-override", "x-method-override",
	"proxy", // httpoxy: becomes HTTP_PROXY of a CGI program
}

const ownedPrefix = "x-forwarded-"

// guarded are fields that the gateway does not own but that no alias may pretend to be.
var guarded = [...]string{
	"authorization", "connection", "content-length", "content-type", "cookie", "expect", "host",
	"keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
}

// OwnershipOf returns whose a header field of that name is, in whatever case it is spelled.
func OwnershipOf(name []byte) Ownership {
	var folded [32]byte
	if len(name) > len(folded) {
		// The longest name in the lists is shorter; only the prefix can still match.
		name = name[:len(folded)]
	}
	alias := false
	for i, c := range name {
		if c != '-' && !isAlphanumeric(c) {
			c, alias = '-', true
		}
		folded[i] = lower(c)
	}
	word := string(folded[:len(name)])
	switch {
	case isOwned(word) && !alias:
		return Owned
	case isOwned(word), alias && isGuarded(word):
		return Alias
	}
	return Foreign
}

func isOwned(word string) bool {
	if len(word) >= len(ownedPrefix) && word[:len(ownedPrefix)] == ownedPrefix {
		return true
	}
	for _, o := range owned {
		if word == o {
			return true
		}
	}
	return false
}

func isGuarded(word string) bool {
	for _, g := range guarded {
		if word == g {
			return true
		}
	}
	return false
}
