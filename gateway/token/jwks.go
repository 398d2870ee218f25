package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

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

// fetchKeys gets a JWKS and returns its keys for the given algorithms, and how many it did
// not take.
func fetchKeys(ctx context.Context, client *http.Client, rawURL string, algorithms []string) (keys map[keyName]crypto.PublicKey, skipped int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch JWKS: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("fetch JWKS: status %d", resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKSBytes+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read JWKS: %w", err)
	}
	if len(data) > maxJWKSBytes {
		return nil, 0, fmt.Errorf("JWKS is longer than %d bytes", maxJWKSBytes)
	}
	return parseJWKS(data, algorithms)
}

// parseJWKS reads a JWK Set. A key that is not understood, not public, not for signatures
// or not for one of the algorithms is skipped (RFC 7517 §5); a set without any key that can
// be used is an error, so that it does not replace a good one.
func parseJWKS(data []byte, algorithms []string) (keys map[keyName]crypto.PublicKey, skipped int, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, 0, errors.New("JWKS is not a JSON object with keys")
	}
	if len(set.Keys) > maxJWKSKeys {
		return nil, 0, fmt.Errorf("JWKS has more than %d keys", maxJWKSKeys)
	}
	keys = map[keyName]crypto.PublicKey{}
	for _, raw := range set.Keys {
		if !addKey(keys, raw, algorithms) {
			skipped++
		}
	}
	if len(keys) == 0 {
		return nil, 0, errors.New("JWKS has no key that can be used")
	}
	return keys, skipped, nil
}

// addKey adds one key under each of the algorithms that it may be used with, and reports
// whether there was any. The first of two keys with one name stays.
func addKey(keys map[keyName]crypto.PublicKey, raw json.RawMessage, algorithms []string) bool {
	members, err := parseObject(raw)
	if err != nil {
		return false
	}
	// A private or symmetric key in a public document is known to everybody.
	for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if members.has(secret) {
			return false
		}
	}
	kid, err := members.text("kid")
	if err != nil || kid == "" || len(kid) > maxKeyIDBytes {
		return false
	}
	if !forVerifying(members) {
		return false
	}
	declared, err := members.text("alg")
	if err != nil {
		return false
	}
	public := publicKey(raw)
	added := false
	for _, alg := range algorithms {
		name := keyName{strings.Clone(kid), alg}
		if declared != "" && declared != alg || !suits(alg, public) || keys[name] != nil {
			continue
		}
		keys[name] = public
		added = true
	}
	return added
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
