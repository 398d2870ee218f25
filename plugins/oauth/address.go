package oauth

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// maxAddress bounds a URL of the other side, so that with all parameters it is one that a
// browser takes.
const maxAddress = 1024

var errAddress = errors.New("must be a URL: https, or http on the loopback, with a host, and without user and fragment")

// readAddress reads the URL of an endpoint. Secrets, codes and keys go over it, so it is
// https; http is for the loopback, where tests and sidecars are.
func readAddress(s string) (*url.URL, error) {
	if s == "" || len(s) > maxAddress || strings.Trim(s, urlBytes) != "" {
		return nil, errAddress
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(s, "#") {
		return nil, errAddress
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, errAddress
	}
	return u, nil
}

// urlBytes are the characters of RFC 3986 §2.
const urlBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$&'()*+,;=%"

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// sameAddress reports whether two URLs are one in two spellings: the host answers with a
// canonical one.
func sameAddress(a, b string) bool {
	x, errX := canonical(a)
	y, errY := canonical(b)
	return errX == nil && errY == nil && x == y
}

func canonical(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[scheme]
	}
	resource := u.RequestURI() // "/" for no path
	return scheme + "://" + host + ":" + port + resource, nil
}
