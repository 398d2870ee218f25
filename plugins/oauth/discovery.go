package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/materi/shield/sdk"
)

// How long what an issuer says of itself is remembered.
const (
	fresh = time.Hour      // it is not asked again
	stale = 24 * time.Hour // it is believed while the issuer is away
	pause = time.Minute    // before an issuer that was away is asked again
	kept  = "discovery/"   // key in KV, in front of the issuer
	where = "/.well-known/openid-configuration"
)

// maxIssuer bounds an issuer, in bytes: what is remembered of it stands under its name.
const maxIssuer = sdk.MaxKey - len(kept)

// maxDocument is the most bytes of any document of the other side.
const maxDocument = 256 << 10

// discovered is what an issuer says of itself.
type discovered struct {
	endpoints endpoints
	at        time.Time // when it said so
	due       time.Time // when it is asked again
}

// endpoints returns where the other side is asked: as it is configured, or as the issuer
// says. What it said is returned for [call.began] to keep.
func (c call) endpoints(ctx context.Context) (e endpoints, said string, err error) {
	if c.settings.endpoints.token != "" {
		return c.settings.endpoints, "", nil
	}
	d, err := c.discover(ctx)
	return c.demanding(d.endpoints), string(d.save()), err
}

// endpointsOf returns where a flow was sent that has begun.
func (c call) endpointsOf(ctx context.Context, saved []byte) (endpoints, error) {
	said, ok := strings.CutPrefix(string(saved), c.began())
	if !ok {
		return endpoints{}, refuse("the login began with another issuer in the settings")
	}
	if d, ok := openDiscovered([]byte(said)); ok && c.settings.endpoints.token == "" {
		return c.demanding(d.endpoints), nil
	}
	e, _, err := c.endpoints(ctx)
	return e, err
}

// demanding adds what the settings demand beyond what the issuer says of itself.
func (c call) demanding(e endpoints) endpoints {
	e.iss = e.iss || c.settings.requireIss
	return e
}

func (c call) discover(ctx context.Context) (discovered, error) {
	entry, _, err := c.host.KV().Get(ctx, kept+c.settings.issuer)
	if err != nil {
		return discovered{}, fmt.Errorf("read what is known of the issuer: %w", err)
	}
	known, ok := openDiscovered(entry.Value)
	ok = ok && c.now.Before(known.at.Add(stale))
	if ok && c.now.Before(known.due) {
		return known, nil
	}
	said, err := c.ask(ctx)
	away, isAway := errors.AsType[*sdk.Error](err)
	switch {
	case err == nil:
		known = discovered{endpoints: said, at: c.now, due: c.now.Add(fresh)}
	case ok && isAway:
		c.host.Log(sdk.LevelWarn, "discovery failed, the document of before is used", "reason", away.Private)
		known.due = c.now.Add(pause)
	default:
		return discovered{}, err
	}
	if err := c.host.KV().Set(ctx, kept+c.settings.issuer, known.save(), known.at.Add(stale).Sub(c.now)); err != nil {
		return discovered{}, fmt.Errorf("remember what is known of the issuer: %w", err)
	}
	return known, nil
}

// ask fetches the issuer's document (OpenID Connect Discovery §4).
func (c call) ask(ctx context.Context) (endpoints, error) {
	answer, err := c.fetch(ctx, "discovery", sdk.HTTPRequest{
		Method: "GET", URL: strings.TrimSuffix(c.settings.issuer, "/") + where, Header: accept(),
	})
	if err != nil {
		return endpoints{}, err
	}
	if answer.Status != 200 {
		return endpoints{}, failed("discovery: status %d", answer.Status)
	}
	return readDiscovery(answer.Body, c.settings.issuer)
}

// readDiscovery reads what an issuer says of itself. It has to be the one that was asked, to
// the letter: a document that names another one would lend that one's name to these
// endpoints (§4.3).
func readDiscovery(body []byte, issuer string) (endpoints, error) {
	o, err := readObject(body)
	if err != nil {
		return endpoints{}, failed("discovery: the document is %v", err)
	}
	if o.text("issuer") != issuer {
		return endpoints{}, failed("discovery: the document is of another issuer; write it in the settings as it is written there, to the last slash")
	}
	e := endpoints{
		authorization: o.text("authorization_endpoint"), token: o.text("token_endpoint"),
		userinfo: o.text("userinfo_endpoint"), jwks: o.text("jwks_uri"),
		iss: string(o["authorization_response_iss_parameter_supported"]) == "true",
	}
	for name, address := range map[string]string{
		"authorization_endpoint": e.authorization, "token_endpoint": e.token, "jwks_uri": e.jwks,
	} {
		if _, err := readAddress(address); err != nil {
			return endpoints{}, failed("discovery: %s %v", name, err)
		}
	}
	if _, err := readAddress(e.userinfo); err != nil {
		e.userinfo = "" // it may be left out
	}
	return e, nil
}

// save writes what is remembered: the form's version and the parts, a line each. URLs have no
// line breaks in them.
func (d discovered) save() []byte {
	e := d.endpoints
	return []byte(strings.Join([]string{
		"1", strconv.FormatInt(d.at.Unix(), 10), strconv.FormatInt(d.due.Unix(), 10), strconv.FormatBool(e.iss),
		e.authorization, e.token, e.userinfo, e.jwks,
	}, "\n"))
}

// openDiscovered reads what save wrote, or reports that it is of another version.
func openDiscovered(b []byte) (discovered, bool) {
	part := strings.Split(string(b), "\n")
	if len(part) != 8 || part[0] != "1" {
		return discovered{}, false
	}
	at, errAt := strconv.ParseInt(part[1], 10, 64)
	due, errDue := strconv.ParseInt(part[2], 10, 64)
	d := discovered{at: time.Unix(at, 0), due: time.Unix(due, 0), endpoints: endpoints{
		iss: part[3] == "true", authorization: part[4], token: part[5], userinfo: part[6], jwks: part[7],
	}}
	return d, errAt == nil && errDue == nil && d.endpoints.token != ""
}

// fetch makes a request. Its error says in which part of the login it was and what the
// operator can do, and nothing of what was sent or answered.
func (c call) fetch(ctx context.Context, what string, r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
	answer, err := c.host.HTTP().Fetch(ctx, r)
	switch {
	case errors.Is(err, sdk.ErrDenied):
		return answer, failed("%s: %s may not be reached; list it in http.allow", what, hostOf(r.URL))
	case errors.Is(err, sdk.ErrUnreachable):
		return answer, failed("%s: %s does not answer", what, hostOf(r.URL))
	case errors.Is(err, sdk.ErrTooLarge):
		return answer, failed("%s: the answer of %s is too large", what, hostOf(r.URL))
	case err != nil:
		return answer, fmt.Errorf("%s: %w", what, err)
	case len(answer.Body) > maxDocument:
		return answer, failed("%s: the answer of %s is too large", what, hostOf(r.URL))
	case !sameAddress(answer.URL, r.URL):
		// The host follows redirects. An answer of another place is not of whom we trust with
		// the question.
		return answer, failed("%s: %s sends elsewhere; write the address that it sends to", what, hostOf(r.URL))
	case answer.Status >= 500 || answer.Status == 429:
		return answer, failed("%s: %s answers with status %d", what, hostOf(r.URL), answer.Status)
	}
	return answer, nil
}

// failed is an error that is the other side's, or of how it is configured. It is never made
// out of what a browser sent; see [unclear].
func failed(format string, args ...any) error {
	return &sdk.Error{Code: sdk.CodeProviderError, Private: fmt.Sprintf(format, args...)}
}

func accept() []sdk.HTTPHeader { return []sdk.HTTPHeader{{Name: "Accept", Value: "application/json"}} }

// hostOf returns the host of a URL, which may stand in a log.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	return u.Host
}
