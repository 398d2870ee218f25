package token

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Whatever comes in, only tokens that the keyring signed are accepted. EdDSA signatures
// are deterministic and one token has one spelling, so an accepted input is one of ours.
func FuzzVerify(f *testing.F) {
	b := newBench(f, "EdDSA")
	good := b.issue(f, sampleClaims())
	f.Add(good)
	f.Add(good + ".")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(b.mint(f, b.header(), with(b.payload(), "exp", "x")))
	f.Add(b.mint(f, with(b.header(), "crit", []string{"x"}), b.payload()))
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := b.verifier.Verify(t.Context(), raw); err == nil && raw != good {
			t.Errorf("accepted %q", raw)
		}
	})
}

// What the claims of a correctly signed token hold never makes the reader panic, and what
// is accepted has what the rest of the gateway relies on.
func FuzzClaims(f *testing.F) {
	b := newBench(f, "EdDSA")
	good, err := json.Marshal(b.payload())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good))
	f.Add(`{"exp":1e309}`)
	f.Add(`{"iss":"` + testIssuer + `","aud":["` + testAudience + `"],"exp":99999999999,"sub":"u","roles":{"a":1}}`)
	f.Fuzz(func(t *testing.T, payload string) {
		claims, err := b.verifier.Verify(t.Context(), b.mint(t, b.header(), payload))
		if err != nil {
			return
		}
		if !json.Valid([]byte(payload)) {
			t.Errorf("accepted a payload that is not JSON: %q", payload)
		}
		if claims.Subject == "" || claims.SessionID == "" || claims.ID == "" || !claims.Own || claims.ExpiresAt.IsZero() {
			t.Errorf("accepted %+v", claims)
		}
	})
}

// The scanner is checked against encoding/json: it takes the same values under the same
// names, and refuses exactly the objects that have a name twice or nest too deep.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 , "b":[ 1,{"c":null} ,"]}"], "d\"":"x\\" } `, `{"a":1,"\u0061":2}`, `{"x":{"a":1,"a":2}}`,
		`{"a":[[[{"b":{"c":[true,false,-1.5e+3]}}]]]}`, `[]`, `null`, `{"a":1}x`, `{"":"","":""}`, nest(20), `{"a":` + nest(15) + `}`, `{"a":` + nest(16) + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseObject(data)
		if want := plainlyStrict(data); (err == nil) != want {
			t.Fatalf("parseObject(%q) = %v, want accepted %t", data, err, want)
		}
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(object(want), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("parseObject(%q) (-want +got):\n%s", data, diff)
		}
	})
}

// plainlyStrict says by the tokens of encoding/json whether parseObject should take data.
func plainlyStrict(data []byte) bool {
	var o map[string]json.RawMessage
	if !utf8.Valid(data) || json.Unmarshal(data, &o) != nil || o == nil {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return walk(d, 0)
}

func walk(d *json.Decoder, depth int) bool {
	start, err := d.Token()
	delim, composite := start.(json.Delim)
	if err != nil || depth > maxDepth || !composite {
		return err == nil && depth <= maxDepth
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, _ := d.Token()
			if seen[name.(string)] {
				return false
			}
			seen[name.(string)] = true
		}
		if !walk(d, depth+1) {
			return false
		}
	}
	_, err = d.Token()
	return err == nil
}

func FuzzJWKS(f *testing.F) {
	f.Add(newBench(f, "RS256").keys.JWKS())
	f.Add(newBench(f, "ES256").keys.JWKS())
	f.Add(newBench(f, "EdDSA").keys.JWKS())
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA","kid":"1"},null,1]}`))
	algorithms := []string{"RS256", "ES256", "EdDSA"}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := parseJWKS(data, algorithms)
		if err != nil {
			return
		}
		for name, key := range keys {
			if name.kid == "" || !suits(name.alg, key) {
				t.Errorf("took %v", name)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(algorithm, func(b *testing.B) {
			bench := newBench(b, algorithm)
			raw := bench.issue(b, sampleClaims())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bench.verifier.Verify(b.Context(), raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkIssue(b *testing.B) {
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(algorithm, func(b *testing.B) {
			bench := newBench(b, algorithm)
			for b.Loop() {
				bench.issue(b, sampleClaims())
			}
		})
	}
}
