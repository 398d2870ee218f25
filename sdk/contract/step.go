package contract

import (
	"fmt"
	"slices"
	"strings"

	"github.com/materi/shield/sdk"
)

var fieldTypes = []string{"text", "email", "password"}

// codes are the public codes that a provider may use.
var codes = []string{
	sdk.CodeInvalidCredentials, sdk.CodeEmailNotVerified, sdk.CodeEmailExists,
	sdk.CodeInvalidEmail, sdk.CodeWeakPassword, sdk.CodeValidation, sdk.CodeMissingField,
	sdk.CodeInvalidToken, sdk.CodeUserNotFound, sdk.CodeProviderError, sdk.CodeUnavailable,
	sdk.CodeOAuthCode, sdk.CodeSAMLNotConfigured, sdk.CodeSAMLAssertion, sdk.CodeSAMLSignature, sdk.CodeForbidden,
	sdk.CodeInternal,
}

// stepsOf says which steps may end a call of a flow. Above all, a flow that recovers or
// changes credentials never ends in Done, so that a link for one purpose cannot become a
// login.
var stepsOf = map[sdk.FlowKind][]string{
	sdk.FlowLogin:    {"redirect", "post", "prompt", "mail", "done", "denied"},
	sdk.FlowRegister: {"redirect", "post", "prompt", "mail", "done", "denied"},
	sdk.FlowVerify:   {"prompt", "mail", "done", "denied"},
	sdk.FlowRecover:  {"redirect", "prompt", "mail", "changed", "denied"},
	sdk.FlowChange:   {"prompt", "mail", "changed", "denied"},
	sdk.FlowLink:     {"redirect", "post", "prompt", "mail", "done", "denied"},
	sdk.FlowLogout:   {"redirect", "post", "logout", "done", "denied"},
	sdk.FlowForget:   {"changed"},
}

// templates are the mails that the gateway has words for.
var templates = []string{"verify", "reset", "magic_link", "account_exists"}

// reserved are the names of claims that only the gateway may make, in lower case.
var reserved = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "gen", "typ", "kid", "alg",
	"azp", "client_id", "nonce", "acr", "amr", "auth_time", "auth_method", "cnf", "act",
	"scope", "token_type", "user_id", "email", "email_verified", "name", "roles", "groups",
	"permissions", "workspace_ids", "entitlements",
}

// Step returns why a step cannot end a call of a flow of this kind, or nil.
func Step(kind sdk.FlowKind, s sdk.Step) error {
	what := s.Kind()
	if what == "" {
		return fmt.Errorf("a step is exactly one thing")
	}
	if !slices.Contains(stepsOf[kind], what) {
		return fmt.Errorf("a flow of kind %q cannot go on with %q", clip(string(kind)), what)
	}
	if len(s.Save) > sdk.MaxSave {
		return fmt.Errorf("%s: %d bytes to save, at most %d are allowed", what, len(s.Save), sdk.MaxSave)
	}
	if s.Party != "" && !name(s.Party, maxName, "._-") {
		return fmt.Errorf("%s: party %q: want letters, digits, dots, dashes and underscores", what, clip(s.Party))
	}
	if err := content(s); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func content(s sdk.Step) error {
	switch {
	case s.Redirect != nil:
		return location(s.Redirect.URL)
	case s.Post != nil:
		return post(*s.Post)
	case s.Prompt != nil:
		return prompt(*s.Prompt)
	case s.Mail != nil:
		return mail(*s.Mail)
	case s.Done != nil:
		return Identity(s.Done.Identity)
	case s.Changed != nil:
		return subject(s.Changed.Subject)
	case s.Logout != nil:
		return logout(*s.Logout)
	}
	return denied(*s.Denied)
}

func post(p sdk.Post) error {
	if err := location(p.URL); err != nil {
		return err
	}
	return postFields(p.Fields)
}

func postFields(m map[string]string) error {
	if len(m) > maxFields {
		return fmt.Errorf("%d fields: at most %d are allowed", len(m), maxFields)
	}
	for k, v := range m {
		if !name(k, maxName, "_-.") || len(v) > maxPostForm {
			return fmt.Errorf("field %q: its name is not plain or its value too long", clip(k))
		}
	}
	return nil
}

func logout(l sdk.Logout) error {
	if l.Subject != "" {
		if err := subject(l.Subject); err != nil {
			return err
		}
	}
	if !text(l.Issuer, maxText) {
		return fmt.Errorf("issuer is too long or not plain text")
	}
	if !texts(l.Sessions, maxFields, maxText) {
		return fmt.Errorf("sessions are too many, too long or not plain text")
	}
	if l.URL == "" {
		if len(l.Fields) > 0 {
			return fmt.Errorf("there are fields and no URL")
		}
		return nil
	}
	if err := location(l.URL); err != nil {
		return err
	}
	return postFields(l.Fields)
}

func prompt(p sdk.Prompt) error {
	if len(p.Fields) == 0 {
		return fmt.Errorf("there is no field")
	}
	return fields(p.Fields)
}

func mail(m sdk.Mail) error {
	if !slices.Contains(templates, m.Template) {
		return fmt.Errorf("template %q is unknown", clip(m.Template))
	}
	if !address(m.To) {
		return fmt.Errorf("the recipient is not one address")
	}
	if len(m.Vars) > maxFields {
		return fmt.Errorf("%d variables: at most %d are allowed", len(m.Vars), maxFields)
	}
	for k, v := range m.Vars {
		if !name(k, maxName, "_") || !text(v, maxText) {
			return fmt.Errorf("variable %q: its name or value is too long or not plain text", clip(k))
		}
	}
	if m.Identity == nil {
		return nil
	}
	return Identity(*m.Identity)
}

func denied(d sdk.Denied) error {
	if !slices.Contains(codes, d.Code) || d.Code == sdk.CodeInternal {
		return fmt.Errorf("code %q is not one of the gateway's", clip(d.Code))
	}
	if len(d.Fields) > maxFields {
		return fmt.Errorf("%d fields: at most %d are allowed", len(d.Fields), maxFields)
	}
	for _, f := range d.Fields {
		if !name(f.Field, maxName, "_-") || !name(f.Code, maxName, "_") || !text(f.Message, maxText) {
			return fmt.Errorf("field %q: its name, code or message is too long or not plain", clip(f.Field))
		}
	}
	return nil
}

// Identity returns what is wrong with an identity, or nil.
func Identity(id sdk.Identity) error {
	if err := subject(id.Subject); err != nil {
		return err
	}
	if !text(id.Issuer, maxText) {
		return fmt.Errorf("issuer is too long or not plain text")
	}
	if id.Email == "" && id.EmailVerified {
		return fmt.Errorf("no address cannot be verified")
	}
	if id.Email != "" && !address(id.Email) {
		return fmt.Errorf("email is not one address")
	}
	if !text(id.Name, maxLabel) || !text(id.ACR, maxLabel) {
		return fmt.Errorf("name or acr is too long or not plain text")
	}
	if err := avatar(id.AvatarURL); err != nil {
		return err
	}
	if !texts(id.Groups, maxGroups, maxLabel) || !texts(id.AMR, maxFields, maxName) {
		return fmt.Errorf("groups or amr are too many, too long or not plain text")
	}
	if !text(id.Session, maxText) {
		return fmt.Errorf("session is too long or not plain text")
	}
	if len(id.Tokens) > sdk.MaxTokens {
		return fmt.Errorf("%d bytes of tokens, at most %d are allowed", len(id.Tokens), sdk.MaxTokens)
	}
	return attributes(id.Attributes)
}

func subject(s string) error {
	if s == "" || !text(s, maxSubject) {
		return fmt.Errorf("subject is missing, too long or not plain text")
	}
	return nil
}

func avatar(s string) error {
	if s == "" {
		return nil
	}
	if !strings.HasPrefix(s, "https://") {
		return fmt.Errorf("avatar: want https")
	}
	return location(s)
}

func texts(list []string, most, limit int) bool {
	return len(list) <= most && !slices.ContainsFunc(list, func(s string) bool { return !text(s, limit) })
}

func attributes(m map[string]string) error {
	if len(m) > maxFields {
		return fmt.Errorf("%d attributes: at most %d are allowed", len(m), maxFields)
	}
	for k, v := range m {
		if k == "" || !text(k, maxLabel) || !text(v, maxText) {
			return fmt.Errorf("attribute %q: its name or value is too long or not plain text", clip(k))
		}
		if slices.Contains(reserved, strings.ToLower(k)) {
			return fmt.Errorf("attribute %q: the name is reserved for the gateway", k)
		}
	}
	return nil
}
