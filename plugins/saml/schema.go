package saml

// schema describes the settings for editors. A test holds it to Configure.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["entity_id", "idps"],
  "properties": {
    "entity_id": {"type": "string", "minLength": 1, "maxLength": 1024,
      "description": "Our name to identity providers, by custom the URL of our metadata."},
    "certificate": {"type": "string",
      "description": "Our certificate, PEM or base64 of DER. Its private key is the secret sp_key. Needed to sign requests, to log out at identity providers and to read what is encrypted."},
    "next_certificate": {"type": "string",
      "description": "The certificate that will follow. Its private key is the secret sp_next_key. It is in the metadata beforehand, and what is encrypted for it is read."},
    "sign_requests": {"type": "boolean", "default": false,
      "description": "Sign every request to log in. One whose metadata asks for it is signed anyway, if there is a certificate."},
    "metadata_grace": {"type": "string", "default": "72h",
      "description": "How long metadata still serves that is out of date and cannot be fetched, at most 2160h."},
    "idps": {"type": "array", "minItems": 1, "maxItems": 200, "items": {"$ref": "#/$defs/idp"}}
  },
  "$defs": {
    "names": {"oneOf": [
      {"type": "string", "minLength": 1},
      {"type": "array", "minItems": 1, "maxItems": 16, "items": {"type": "string", "minLength": 1}}
    ]},
    "idp": {
      "type": "object",
      "additionalProperties": false,
      "required": ["name", "entity_id"],
      "oneOf": [{"required": ["metadata_url"]}, {"required": ["metadata"]}, {"required": ["sso_url", "certificates"]}],
      "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$",
          "description": "Its name here, in the field idp, in the log and in metrics."},
        "entity_id": {"type": "string", "minLength": 1, "maxLength": 1024,
          "description": "Its entity ID. Metadata and answers must name it."},
        "metadata_url": {"type": "string", "description": "Where its metadata is fetched, once in an hour if it does not say otherwise."},
        "metadata_certificate": {"type": "string", "description": "Who signs the metadata. Without it, the connection is all that vouches for it."},
        "metadata": {"type": "string", "description": "Its metadata, as XML."},
        "sso_url": {"type": "string", "description": "Where people log in, if there is no metadata."},
        "slo_url": {"type": "string", "description": "Where people log out, if there is no metadata."},
        "slo_response_url": {"type": "string", "description": "Where answers about logouts go, if not to slo_url."},
        "certificates": {"type": "array", "minItems": 1, "maxItems": 16, "items": {"type": "string"},
          "description": "What it signs with, if there is no metadata: the present certificate, and the next one before it is used."},
        "binding": {"enum": ["redirect", "post"], "description": "How requests are sent. Default: redirect where it is offered."},
        "domains": {"type": "array", "minItems": 1, "maxItems": 200, "items": {"type": "string"},
          "description": "Domains of the addresses that it vouches for. Others are not verified. People are sent to it by them, too."},
        "workspaces": {"type": "array", "minItems": 1, "maxItems": 200, "items": {"type": "string"},
          "description": "Ids of the workspaces whose members log in there."},
        "idp_initiated": {"type": "boolean", "default": false,
          "description": "Accept logins that began there. Anybody can then log anybody in as somebody else."},
        "sign_requests": {"type": "boolean", "description": "As above, for this one."},
        "preset": {"enum": ["adfs", "entra", "google", "okta", "onelogin"], "description": "Names of attributes as the product has them."},
        "attributes": {"type": "object", "additionalProperties": {"$ref": "#/$defs/names"},
          "description": "Names of attributes, by what they become: email, name, first_name, last_name, groups, avatar_url, or an attribute of that name. The first that is there counts."},
        "subject": {"type": "string", "minLength": 1, "maxLength": 256, "default": "nameid",
          "description": "The attribute that names a person for good, or nameid. A change makes everybody somebody else."},
        "name_id_format": {"type": "string", "description": "The format of NameID that is asked for and accepted: emailAddress, persistent, transient, unspecified or a URI."},
        "allow_create": {"type": "boolean", "default": true, "description": "Let it make a name for somebody who has none yet."},
        "force_authn": {"type": "boolean", "default": false, "description": "Ask for the password again, however recently it was given."},
        "authn_context": {"type": "string", "description": "The AuthnContextClassRef that the login must have."},
        "want": {
          "type": "object",
          "additionalProperties": false,
          "description": "What an answer must have beyond one signature.",
          "properties": {
            "signed_response": {"type": "boolean", "default": false},
            "signed_assertion": {"type": "boolean", "default": false},
            "encrypted_assertion": {"type": "boolean", "default": false}
          }
        }
      }
    }
  }
}`
