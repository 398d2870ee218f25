package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

// Bounds of a JWKS.
const (
	maxJWKSBytes  = 512 << 10
	maxJWKSKeys   = 100
	maxKeyIDBytes = 256
	maxRedirects  = 3
)

// newJWKSClient makes the client that keys are fetched with. It follows no proxy of the
// environment and no redirect to another host, because both would put somebody in the
// place of the issuer whom the configuration does not name.
func newJWKSClient() *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: fetchTimeout / 2}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    fetchTimeout / 2,
			ResponseHeaderTimeout:  fetchTimeout / 2,
			MaxResponseHeaderBytes: 32 << 10,
			DisableKeepAlives:      true, // fetches are minutes apart
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			first := via[0].URL
			if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
				return errors.New("redirected to another host")
			}
			if len(via) > maxRedirects {
				return errors.New("redirected too often")
			}
			return nil
		},
	}
}

// allowedURL reports whether keys may be fetched from u: over TLS, or from this machine.
func allowedURL(u *url.URL) bool {
	if u.Host == "" || u.User != nil {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && addr.IsLoopback())
}

// Fetcher gets the document at a URL. It reports any answer but a success as an error, obeys
// the context, and may cut the document off beyond 512 KiB: more is refused.
type Fetcher func(ctx context.Context, url string) ([]byte, error)

// fetcher fetches with an HTTP client.
func fetcher(client *http.Client) Fetcher {
	return func(ctx context.Context, rawURL string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
		if err != nil {
			return nil, fmt.Errorf("make request: %w", err)
		}
		req.Header.Set("Accept", "application/jwk-set+json, application/json")
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("status %d", resp.StatusCode)
		}
		return io.ReadAll(io.LimitReader(resp.Body, maxJWKSBytes+1))
	}
}

// fetchKeys gets a JWKS and returns its keys for the given algorithms, and how many it did
// not take.
func fetchKeys(ctx context.Context, fetch Fetcher, rawURL string, algorithms []string) (keys map[keyName]crypto.PublicKey, skipped int, err error) {
	data, err := fetch(ctx, rawURL)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch JWKS: %w", err)
	}
	return parseJWKS(data, algorithms)
}

// parseJWKS reads a JWK Set. A key that is not understood, has no name, is not public, not
// for signatures or not for one of the algorithms is skipped (RFC 7517 §5); a set without any
// key that can be used is an error, so that it does not replace a good one. The first of two
// keys with one name stays.
func parseJWKS(data []byte, algorithms []string) (keys map[keyName]crypto.PublicKey, skipped int, err error) {
	set, skipped, err := parseKeySet(data, algorithms)
	if err != nil {
		return nil, 0, err
	}
	keys = map[keyName]crypto.PublicKey{}
	for _, k := range set {
		added := false
		for _, alg := range k.algorithms {
			if name := (keyName{k.kid, alg}); k.kid != "" && keys[name] == nil {
				keys[name] = k.public
				added = true
			}
		}
		if !added {
			skipped++
		}
	}
	if len(keys) == 0 {
		return nil, 0, errNoKey
	}
	return keys, skipped, nil
}

// forVerifying reports whether use and key_ops allow to verify signatures (RFC 7517 §4.2,
// §4.3). Both may be absent.
func forVerifying(members object) bool {
	use, err := members.text("use")
	if err != nil || use != "" && use != "sig" {
		return false
	}
	var ops []string
	found, err := members.decode("key_ops", &ops)
	return err == nil && (!found || slices.Contains(ops, "verify"))
}

// publicKey reads a key that suits can judge, or returns nil.
func publicKey(raw []byte) crypto.PublicKey {
	key, err := jwk.ParseKey(raw)
	if err != nil {
		return nil
	}
	var exported any
	if err := jwk.Export(key, &exported); err != nil {
		return nil
	}
	switch k := exported.(type) {
	case *rsa.PublicKey:
		if k.E < 3 || k.E%2 == 0 {
			return nil
		}
		return k
	case *ecdsa.PublicKey:
		if _, err := k.ECDH(); err != nil { // not a point of the curve
			return nil
		}
		return k
	case ed25519.PublicKey:
		return k
	}
	return nil
}
