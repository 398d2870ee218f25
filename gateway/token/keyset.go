package token

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// setKey is a key of a JWK Set that may verify signatures.
type setKey struct {
	kid        string   // empty: the issuer gave it no name
	algorithms []string // never empty
	public     crypto.PublicKey
}

// keySet is the keys of a JWK Set that may verify signatures, in its order.
type keySet []setKey

var errNoKey = errors.New("JWKS has no key that can be used")

// parseKeySet reads the keys of a JWK Set that may verify signatures of one of the
// algorithms, and says how many others there are.
func parseKeySet(data []byte, algorithms []string) (set keySet, skipped int, err error) {
	if len(data) > maxJWKSBytes {
		return nil, 0, fmt.Errorf("JWKS is longer than %d bytes", maxJWKSBytes)
	}
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return nil, 0, errors.New("JWKS is not a JSON object with keys")
	}
	if len(document.Keys) > maxJWKSKeys {
		return nil, 0, fmt.Errorf("JWKS has more than %d keys", maxJWKSKeys)
	}
	for _, raw := range document.Keys {
		key, ok := readKey(raw, algorithms)
		if !ok {
			skipped++
			continue
		}
		set = append(set, key)
	}
	if len(set) == 0 {
		return nil, 0, errNoKey
	}
	return set, skipped, nil
}

// readKey reads one key with those of the algorithms that it may be used with, and reports
// whether there are any.
func readKey(raw json.RawMessage, algorithms []string) (setKey, bool) {
	members, err := parseObject(raw)
	if err != nil {
		return setKey{}, false
	}
	// A private or symmetric key in a public document is known to everybody.
	for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if members.has(secret) {
			return setKey{}, false
		}
	}
	kid, err := members.text("kid")
	if err != nil || len(kid) > maxKeyIDBytes {
		return setKey{}, false
	}
	if !forVerifying(members) {
		return setKey{}, false
	}
	declared, err := members.text("alg")
	if err != nil {
		return setKey{}, false
	}
	key := setKey{kid: strings.Clone(kid), public: publicKey(raw)}
	for _, alg := range algorithms {
		if (declared == "" || declared == alg) && suits(alg, key.public) {
			key.algorithms = append(key.algorithms, alg)
		}
	}
	return key, len(key.algorithms) > 0
}

// find returns the key that a token means. Many issuers leave kid out of their tokens or of
// their keys; then a key is found only if it is the one key of the set that suits the
// algorithm, because trying several would let a token choose among them (OpenID Connect Core
// §10.1 wants a kid where there are several).
func (s keySet) find(name keyName) (crypto.PublicKey, error) {
	var fitting keySet
	for _, k := range s {
		if !slices.Contains(k.algorithms, name.alg) {
			continue
		}
		if name.kid != "" && k.kid == name.kid {
			return k.public, nil
		}
		fitting = append(fitting, k)
	}
	if len(fitting) == 1 && (name.kid == "" || fitting[0].kid == "") {
		return fitting[0].public, nil
	}
	return nil, ErrUnknownKey
}
