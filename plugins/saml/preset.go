package saml

// preset is what is known of a product: data, so that another one is a few lines. What a
// provider's own settings say counts before it.
type preset struct {
	nameIDFormat string
	attributes   mapping
}

// mapping says which attributes of an assertion make which part of an identity: the first of
// the names that is there.
type mapping map[string][]string

// The parts of an identity with a meaning to the gateway. Any other name is an attribute.
const (
	partEmail     = "email"
	partName      = "name"
	partFirstName = "first_name"
	partLastName  = "last_name"
	partGroups    = "groups"
	partAvatar    = "avatar_url"
)

const (
	claims    = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	microsoft = "http://schemas.microsoft.com/"
)

// generic is what identity providers use that keep to LDAP's names, or to plain ones.
var generic = preset{attributes: mapping{
	partEmail:     {"email", "mail", "urn:oid:0.9.2342.19200300.100.1.3", claims + "emailaddress"},
	partName:      {"displayName", "urn:oid:2.16.840.1.113730.3.1.241", "name", "cn", "urn:oid:2.5.4.3", claims + "name"},
	partFirstName: {"firstName", "givenName", "urn:oid:2.5.4.42", claims + "givenname"},
	partLastName:  {"lastName", "surname", "sn", "urn:oid:2.5.4.4", claims + "surname"},
	partGroups:    {"groups", "memberOf", "urn:oid:1.3.6.1.4.1.5923.1.5.1.1"},
}}

var presets = map[string]preset{
	"okta": {attributes: mapping{
		partEmail:     {"email"},
		partName:      {"displayName"},
		partFirstName: {"firstName"},
		partLastName:  {"lastName"},
		partGroups:    {"groups"},
	}},
	"entra": {attributes: mapping{
		partEmail:     {claims + "emailaddress"},
		partName:      {microsoft + "identity/claims/displayname"}, // claims + "name" is the login name
		partFirstName: {claims + "givenname"},
		partLastName:  {claims + "surname"},
		partGroups:    {microsoft + "ws/2008/06/identity/claims/groups"},
	}},
	"onelogin": {attributes: mapping{
		partEmail:     {"User.email"},
		partFirstName: {"User.FirstName"},
		partLastName:  {"User.LastName"},
		partGroups:    {"memberOf"},
	}},
	"google": {nameIDFormat: formatEmail, attributes: mapping{
		partEmail:     {"email"},
		partFirstName: {"firstName"},
		partLastName:  {"lastName"},
		partGroups:    {"groups"},
	}},
	"adfs": {attributes: mapping{
		partEmail:     {claims + "emailaddress"},
		partName:      {claims + "name"},
		partFirstName: {claims + "givenname"},
		partLastName:  {claims + "surname"},
		partGroups:    {"http://schemas.xmlsoap.org/claims/Group"},
	}},
}
