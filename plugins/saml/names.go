package saml

// Namespaces.
const (
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsSignature = "http://www.w3.org/2000/09/xmldsig#"
)

// The values of SAML that count here (Core §3.2.2.2, §8.3, Bindings §3.4, §3.5, Profiles §3.3).
const (
	uriRedirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	uriPost     = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"

	methodBearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

	statusSuccess          = "urn:oasis:names:tc:SAML:2.0:status:Success"
	statusRequester        = "urn:oasis:names:tc:SAML:2.0:status:Requester"
	statusUnknownPrincipal = "urn:oasis:names:tc:SAML:2.0:status:UnknownPrincipal"

	formatEmail       = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
	formatUnspecified = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
	formatPersistent  = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
	formatTransient   = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
	formatEntity      = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
)

// formats are the formats of NameID that have a short name, by it.
var formats = map[string]string{
	"emailAddress": formatEmail,
	"unspecified":  formatUnspecified,
	"persistent":   formatPersistent,
	"transient":    formatTransient,
}
