package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/materi/shield/gateway/edge"
	"github.com/materi/shield/gateway/login"
)

// discreet keeps what an answer says, and from which URL it came, from caches and from other
// sites.
func discreet(next func(*fasthttp.RequestCtx, Params) error) func(*fasthttp.RequestCtx, Params) error {
	return func(ctx *fasthttp.RequestCtx, p Params) error {
		err := next(ctx, p)
		if err == nil {
			ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
			ctx.Response.Header.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
			return nil
		}
		e, ok := errors.AsType[*edge.Error](err)
		if !ok {
			e = edge.Internal(err)
		}
		return e.With(fasthttp.HeaderReferrerPolicy, "no-referrer") // an error is never stored
	}
}

// send takes the browser to another site.
func send(ctx *fasthttp.RequestCtx, to login.Leave) error {
	if len(to.Fields) == 0 {
		return redirect(ctx, to.URL)
	}
	return post(ctx, to)
}

// errTarget is a provider's fault: it named a place that no header can hold.
var errTarget = errors.New("the provider named a URL that cannot be gone to")

// redirect takes the browser to a URL, by GET whatever brought it here.
func redirect(ctx *fasthttp.RequestCtx, target string) error {
	if strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return edge.Internal(errTarget)
	}
	ctx.Response.Header.Set(fasthttp.HeaderLocation, target)
	ctx.SetStatusCode(fasthttp.StatusFound)
	if ctx.IsPost() {
		ctx.SetStatusCode(fasthttp.StatusSeeOther)
	}
	return nil
}

// submit is the whole script of the page. The policy of the page names its hash, so that no
// other runs whatever a provider puts into the fields.
const submit = `document.forms[0].submit()`

var submitHash = hashOfScript(submit)

func hashOfScript(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

var page = template.Must(template.New("post").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Sign in</title></head>
<body>
<form method="post" action="{{.URL}}">
{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}<p>You are being taken to the site where you sign in. If nothing happens, go on by yourself:</p>
<button type="submit">Continue</button>
</form>
<script>` + submit + `</script>
</body>
</html>
`))

// post answers with a page whose form submits itself to another site.
func post(ctx *fasthttp.RequestCtx, to login.Leave) error {
	targets, err := targetsOf(to.URL)
	if err != nil {
		return edge.Internal(err)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, to); err != nil {
		return edge.Internal(fmt.Errorf("page: %w", err))
	}
	h := &ctx.Response.Header
	h.Set("Content-Security-Policy", "default-src 'none'; script-src "+submitHash+"; form-action "+targets+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.SetContentType("text/html; charset=utf-8")
	ctx.SetStatusCode(fasthttp.StatusOK)
	ctx.Response.SetBodyRaw(b.Bytes())
	return nil
}

// targetsOf returns where the policy of a page lets its one form go. That cannot be the origin
// of the target alone: some browsers hold each redirect after a POST to it, too, and identity
// providers redirect to others of their hosts, to the provider that they trust in turn, and in
// a logout to every other application.
func targetsOf(target string) (string, error) {
	u, err := url.Parse(target)
	switch {
	case err != nil || u.Host == "":
		return "", errTarget
	case u.Scheme == "https":
		return "https:", nil
	case u.Scheme == "http": // of a developer
		return "http: https:", nil
	}
	return "", errTarget
}

// with adds parameters to a URI of the configuration, which has no fragment.
func with(uri string, pairs ...string) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	var b strings.Builder
	b.WriteString(uri)
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString(separator + pairs[i] + "=" + url.QueryEscape(pairs[i+1]))
		separator = "&"
	}
	return b.String()
}
