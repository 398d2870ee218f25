package egress

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// redirected returns the request that an answer asks to send instead (RFC 9110 §15.4), nil
// if it asks for none, or why that one is not sent.
func (c *Client) redirected(h hop, resp *http.Response) (*hop, error) {
	locations := resp.Header.Values("Location")
	if !redirects(resp.StatusCode) || len(locations) == 0 {
		return nil, nil
	}
	if len(locations) > 1 {
		return nil, fmt.Errorf("%w: %s: redirected to several places", ErrUnreachable, h.to.destination)
	}
	to, err := locate(h.to, locations[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %s: redirected to a URL that %w", ErrDenied, h.to.destination, err)
	}
	if !c.allowed.allows(to.destination) {
		return nil, fmt.Errorf("%w: %s: redirected there, and it is not listed", ErrDenied, to.destination)
	}
	if h.to.scheme == "https" && to.scheme == "http" {
		return nil, fmt.Errorf("%w: %s: redirected there from https", ErrDenied, to.destination)
	}
	next := h.follow(resp.StatusCode, to)
	if next.to.destination == h.to.destination {
		return &next, nil
	}
	// What was written for one origin, a client secret maybe, is not for another one.
	if len(next.body) > 0 {
		return nil, fmt.Errorf("%w: %s: redirected there with a body, from another origin", ErrDenied, to.destination)
	}
	next.header = keep(next.header, func(name string) bool { return slices.Contains(harmless, name) })
	return &next, nil
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// locate resolves a Location. It is held to the letter before net/url may read it, and
// what net/url made of it once more after.
func locate(from target, location string) (target, error) {
	if !onlyURLBytes(location) {
		return target{}, fmt.Errorf("has a character that has to be escaped, or an escape that is none")
	}
	if strings.Contains(location, "#") {
		return target{}, fmt.Errorf("has a fragment")
	}
	base, err := url.Parse(from.String())
	if err != nil {
		return target{}, fmt.Errorf("cannot be resolved")
	}
	resolved, err := base.Parse(location)
	if err != nil {
		return target{}, fmt.Errorf("cannot be read") // the error of net/url repeats it
	}
	return parseURL(resolved.String())
}

// follow makes the next hop: 303 is a GET, as is a POST after 301 and 302; everything else
// keeps its method and its body.
func (h hop) follow(status int, to target) hop {
	h.to = to
	turns := status == http.StatusSeeOther && h.method != http.MethodHead ||
		h.method == http.MethodPost && (status == http.StatusMovedPermanently || status == http.StatusFound)
	if !turns {
		return h
	}
	h.method, h.body = http.MethodGet, nil
	h.header = keep(h.header, func(name string) bool { return !strings.HasPrefix(name, "Content-") })
	return h
}

func keep(header http.Header, wanted func(name string) bool) http.Header {
	out := make(http.Header, len(header))
	for name, values := range header {
		if wanted(name) {
			out[name] = values
		}
	}
	return out
}
