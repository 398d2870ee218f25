package saml

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/materi/shield/sdk"
)

// Serve returns our metadata, for all or for the workspace of the path (Metadata §2.4.4). Both
// say the same of us: which identity providers a workspace has is nobody's business.
func (p *Provider) Serve(_ context.Context, _ sdk.Host, req sdk.Request) (sdk.Response, error) {
	workspace, below := strings.CutPrefix(req.Path, "metadata/")
	place := req.Fields["callback_url"]
	if !below && req.Path != "metadata" || place == "" {
		return sdk.Response{Status: 404, ContentType: "text/plain", Body: []byte("not found\n")}, nil
	}
	if below && (workspace == "" || p.directory.find(query{workspace: workspace}) == nil) {
		return sdk.Response{}, &sdk.Error{Code: sdk.CodeSAMLNotConfigured, Public: "There is no single sign-on for this workspace.", Private: "no identity provider for the workspace"}
	}
	body := append([]byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"), p.metadata(place, req.Fields["logout_url"]).append(nil)...)
	return sdk.Response{Status: 200, ContentType: "application/samlmetadata+xml", Body: append(body, '\n')}, nil
}

func (p *Provider) metadata(place, logout string) *element {
	signs := "false"
	if p.settings.signRequests {
		signs = "true"
	}
	role := tag("md:SPSSODescriptor", "AuthnRequestsSigned", signs, "WantAssertionsSigned", "true", "protocolSupportEnumeration", nsProtocol)
	for _, use := range []string{"signing", "encryption"} {
		for _, c := range []certificate{p.settings.certificate, p.settings.next} {
			if c != nil && (use == "signing" || c.encrypts()) {
				role.with(keyDescriptor(use, c))
			}
		}
	}
	if logout != "" && p.settings.certificate != nil {
		role.with(
			tag("md:SingleLogoutService", "Binding", uriRedirect, "Location", logout),
			tag("md:SingleLogoutService", "Binding", uriPost, "Location", logout))
	}
	role.with(tag("md:AssertionConsumerService", "Binding", uriPost, "Location", place, "index", "0", "isDefault", "true"))
	return tag("md:EntityDescriptor", "xmlns:md", nsMetadata, "xmlns:ds", nsSignature, "entityID", p.settings.entityID).with(role)
}

func keyDescriptor(use string, c certificate) *element {
	return tag("md:KeyDescriptor", "use", use).with(
		tag("ds:KeyInfo").with(tag("ds:X509Data").with(
			tag("ds:X509Certificate").saying(base64.StdEncoding.EncodeToString(c)))))
}
