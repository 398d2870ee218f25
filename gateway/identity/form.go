package identity

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/plugin"
	"github.com/materi/shield/sdk"
)

// maxField is the longest value of a form field in bytes.
const maxField = 4096

// form is a provider's form for a purpose.
type form struct {
	provider plugin.Info
	sdk.Form
}

// formFor finds the form of the provider that the operator named, or else of the first that
// has it. While providers are being loaded it cannot be known, so the client is asked to come back.
func (a *API) formFor(kind sdk.FlowKind, name string) (form, error) {
	for _, p := range a.Providers() {
		if a.Login.Provider != "" && a.Login.Provider != p.Name {
			continue
		}
		for _, f := range p.Manifest.Forms {
			if f.Flow == kind && f.Name == name {
				return form{p, f}, nil
			}
		}
	}
	return form{}, a.noForm()
}

// formOf finds the login form of one provider.
func (a *API) formOf(provider, name string) (form, error) {
	for _, p := range a.Providers() {
		if p.Name != provider {
			continue
		}
		for _, f := range p.Manifest.Forms {
			if f.Flow == sdk.FlowLogin && f.Name == name && !elsewhere(p, f) {
				return form{p, f}, nil
			}
		}
	}
	return form{}, a.noForm()
}

// elsewhere reports whether a form is of a flow that begins at endpoints of its own: it goes
// to another site, or comes from there.
func elsewhere(p plugin.Info, f sdk.Form) bool {
	speaks := p.Manifest.Kind == login.KindOAuth || p.Manifest.Kind == login.KindSAML
	return speaks && slices.Contains([]string{login.FormRedirect, login.FormUnsolicited, login.FormLogout}, f.Name)
}

// offered reports whether a form is for people to begin with.
func offered(f sdk.Form) bool {
	return !slices.Contains([]sdk.FlowKind{sdk.FlowLink, sdk.FlowLogout, sdk.FlowForget}, f.Flow) && f.Name != login.FormUnsolicited
}

func (a *API) noForm() error {
	if a.Loading() {
		return edge.Unavailable("The identity provider is not available now.", loadingRetry, nil)
	}
	return edge.NotFound(edge.CodeNotFound, "This way to sign in is not enabled here.", nil)
}

// account names whose budget an attempt with these values takes from: the address, as at
// the endpoints that ask for one, else what the form's fields say of the person. It is
// empty for a form that asks for secrets alone, or for nothing.
func (f form) account(values map[string]string) string {
	var who []string
	for _, field := range f.naming() {
		if field.Name == "email" {
			if address := account.CanonicalEmail(values["email"]); address != "" {
				return address
			}
		}
		who = append(who, field.Name, folded(values[field.Name]))
	}
	if len(who) == 0 {
		return ""
	}
	return strings.Join(append(who, f.provider.Name), "\x00")
}

// naming returns the fields by which a form names somebody: those that must be filled in, if
// there are such. Others can be left out or varied at will, for a new budget each time.
func (f form) naming() []sdk.Field {
	var required, all []sdk.Field
	for _, field := range f.Fields {
		if field.Type == "password" {
			continue
		}
		all = append(all, field)
		if field.Required {
			required = append(required, field)
		}
	}
	if len(required) > 0 {
		return required
	}
	return all
}

// secret reports whether a form asks for something that could be guessed by trying.
func (f form) secret() bool {
	return slices.ContainsFunc(f.Fields, func(field sdk.Field) bool { return field.Type == "password" })
}

// folded makes one of the spellings that directories take for one name (RFC 4518): those that
// differ in case, spaces or forms of characters. Two people may come to share a budget so;
// one must not have several.
func folded(name string) string {
	return strings.Join(strings.Fields(cases.Fold().String(norm.NFKC.String(name))), " ")
}

// shown takes from a request the headers that the operator shows to a provider. One that is
// there twice could be read in two ways, and is refused.
func shown(ctx *fasthttp.RequestCtx, p plugin.Info) (map[string]string, error) {
	var out map[string]string
	for _, name := range p.Headers {
		values := ctx.Request.Header.PeekAll(name)
		if len(values) > 1 {
			return nil, edge.BadRequest(edge.CodeBadRequest, "A header of the login is there more than once.", nil)
		}
		if len(values) == 0 {
			continue
		}
		if len(values[0]) > maxField || !utf8.Valid(values[0]) {
			return nil, edge.BadRequest(edge.CodeBadRequest, "A header of the login is too long or not UTF-8.", nil)
		}
		if out == nil {
			out = make(map[string]string, len(p.Headers))
		}
		out[strings.ToLower(name)] = string(values[0])
	}
	return out, nil
}

// readForm takes the fields of a form from a JSON body: those that the form has, as text.
// Anything else in the body is ignored; a required field that is missing or empty is a 400
// that names it.
func (a *API) readForm(ctx *fasthttp.RequestCtx, fields []sdk.Field) (map[string]string, error) {
	var body map[string]any
	if err := edge.ReadJSON(ctx, a.BodyBytes, &body); err != nil {
		return nil, err
	}
	return takeFields(body, fields)
}

// takeFields takes the fields of a form from what was sent.
func takeFields(body map[string]any, fields []sdk.Field) (map[string]string, error) {
	values := make(map[string]string, len(fields))
	var missing, wrong []sdk.FieldError
	for _, f := range fields {
		value, fault := fieldValue(body, f)
		switch {
		case fault == nil:
			values[f.Name] = value
		case fault.Code == sdk.CodeMissingField:
			missing = append(missing, *fault)
		default:
			wrong = append(wrong, *fault)
		}
	}
	if len(missing) > 0 {
		return nil, coded(sdk.CodeMissingField, missing, nil)
	}
	if len(wrong) > 0 {
		return nil, coded(sdk.CodeValidation, wrong, nil)
	}
	return values, nil
}

func fieldValue(body map[string]any, f sdk.Field) (string, *sdk.FieldError) {
	raw, present := body[f.Name]
	if !present || raw == nil || raw == "" {
		if f.Required {
			return "", &sdk.FieldError{Field: f.Name, Code: sdk.CodeMissingField, Message: "This field is required."}
		}
		return "", nil
	}
	text, ok := raw.(string)
	if !ok {
		return "", &sdk.FieldError{Field: f.Name, Code: sdk.CodeValidation, Message: "This field is text."}
	}
	if len(text) > maxField || !utf8.ValidString(text) {
		return "", &sdk.FieldError{Field: f.Name, Code: sdk.CodeValidation, Message: fmt.Sprintf("This field is text of at most %d bytes.", maxField)}
	}
	return text, nil
}
