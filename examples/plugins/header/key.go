package header

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"

	"github.com/materi/shield/sdk"
)

// Bounds of a key that is looked at. A shorter one could be guessed.
const (
	minKey = 16
	maxKey = 512
)

// byKey logs in by an API key.
func (p *Provider) byKey(ctx context.Context, host sdk.Host, req sdk.Request) (sdk.Step, error) {
	key := req.Fields[fieldKey]
	if sent, ok := header(req, p.settings.keyHeader); ok {
		if key != "" && key != sent {
			return deny(sdk.CodeValidation), nil // which of the two, is not ours to choose
		}
		key = sent
	}
	if key == "" {
		return deny(sdk.CodeMissingField), nil
	}
	if len(key) < minKey || len(key) > maxKey || len(p.settings.keys) == 0 {
		return deny(sdk.CodeInvalidCredentials), nil
	}
	digests, err := p.digests(ctx, host, key)
	if err != nil {
		return sdk.Step{}, trouble(err)
	}
	found := p.find(digests)
	if found < 0 {
		return deny(sdk.CodeInvalidCredentials), nil
	}
	k := p.settings.keys[found]
	return sdk.Step{Done: &sdk.Done{Identity: sdk.Identity{
		Subject: k.Subject, Email: k.Email, EmailVerified: k.Email != "", Name: k.Name, Groups: k.Groups,
	}}}, nil
}

// digests returns those of a key that the settings have kinds of.
func (p *Provider) digests(ctx context.Context, host sdk.Host, key string) (map[string]string, error) {
	out := make(map[string]string)
	if p.settings.uses(kindSHA256) {
		sum := sha256.Sum256([]byte(key))
		out[kindSHA256] = hex.EncodeToString(sum[:])
	}
	if p.settings.uses(kindMAC) {
		mac, err := host.Secrets().MAC(ctx, secretPepper, []byte(key))
		if err != nil {
			return nil, err
		}
		out[kindMAC] = hex.EncodeToString(mac)
	}
	return out, nil
}

// find returns the entry with one of the digests, or -1. It compares with all of them, so
// that the time tells neither which nor whether.
func (p *Provider) find(digests map[string]string) int {
	found := -1
	for i, k := range p.settings.keys {
		same := subtle.ConstantTimeCompare([]byte(digests[k.kind()]), []byte(k.digest()))
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	return found
}

// header returns the value of a header. Names have no case, and the gateway may write them
// either way; one that is there under two spellings is nobody's.
func header(req sdk.Request, name string) (string, bool) {
	value, n := "", 0
	for k, v := range req.Headers {
		if name != "" && sameName(k, name) {
			value = v
			n++
		}
	}
	return value, n == 1 && value != ""
}

// sameName compares without the case of ASCII letters, which are all that names have.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
