package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Keys of RFC 8032 §7.1, tests 1 and 2: their seeds and public halves.
const (
	seed1, public1 = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
	seed2, public2 = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
)

// What openssl made of them: ids with
//
//	xxd -r -p | openssl dgst -sha256
//
// of the public keys, and the signature of key 1 with
//
//	{ printf 'shield plugin v1\n'; printf plugin | openssl dgst -sha256 -binary; } > message
//	openssl pkeyutl -sign -rawin -inkey key1.pem -in message | base64 -w0
const (
	id1, id2  = "21fe31dfa154a261", "39f713d0a644253f"
	pluginSHA = "5e689e2b01672bf33996e75d5e372ff60c536ce1599a1458e867cd8f4bef5160"
	signed1   = "ynKbqKlj7Yk8613QCZfUC9vCf4teSuFRLyOIy3de90ickBKukxbCmWC4s3sZC70pRl9aPIve3iNDggBGYMKmAw=="
)

func private(t testing.TB, seed string) ed25519.PrivateKey {
	t.Helper()
	b, err := hex.DecodeString(seed)
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(b)
}

func key(t testing.TB, name, public string) Key {
	t.Helper()
	b, err := hex.DecodeString(public)
	if err != nil {
		t.Fatal(err)
	}
	return Key{name, b}
}

func line(id, digest, signature string) string {
	return "ed25519 " + id + " " + digest + " " + signature + "\n"
}

func TestSignatureIsTheOneThatOpensslMakes(t *testing.T) {
	digest := sha256.Sum256([]byte("plugin"))
	got := string(Sign(digest, private(t, seed1)))
	if want := line(id1, pluginSHA, signed1); got != want {
		t.Errorf("Sign() = %q, want %q", got, want)
	}
	if got := ID(key(t, "", public2).Public); got != id2 {
		t.Errorf("ID() = %s, want %s", got, id2)
	}
	if by, err := Verify([]byte(line(id1, pluginSHA, signed1)), digest, []Key{key(t, "other", public2), key(t, "release", public1)}); by != "release" || err != nil {
		t.Errorf("Verify() = %q, %v", by, err)
	}
}

func TestVerifyWantsABelievedKeyAndThisFile(t *testing.T) {
	digest, other := sha256.Sum256([]byte("plugin")), sha256.Sum256([]byte("another"))
	one, two := []Key{key(t, "one", public1)}, []Key{key(t, "two", public2)}
	sig1, sig2 := string(Sign(digest, private(t, seed1))), string(Sign(digest, private(t, seed2)))
	moved := line(id1, hex.EncodeToString(other[:]), signed1)
	undated := base64.StdEncoding.EncodeToString(ed25519.Sign(private(t, seed1), digest[:]))
	for _, c := range []struct {
		name, file string
		digest     Digest
		keys       []Key
		want       error
	}{
		{"a key that is not believed", sig1, digest, two, ErrUntrusted},
		{"no keys", sig1, digest, nil, ErrUntrusted},
		{"another file", sig1, other, one, ErrOther},
		{"the digest of the line alone is changed", moved, other, one, ErrForged},
		{"the signature of another key under its id", line(id1, pluginSHA, strings.Fields(sig2)[3]), digest, one, ErrForged},
		{"a signature without the name in front", line(id1, pluginSHA, undated), digest, one, ErrForged},
		{"a key that is no key", sig1, digest, []Key{{"short", []byte("short")}}, ErrUntrusted},
		{"two that signed, one believed", sig1 + sig2, digest, two, nil},
		{"an old line beside a good one", string(Sign(other, private(t, seed1))) + sig2, digest, append(one, two...), nil},
	} {
		by, err := Verify([]byte(c.file), c.digest, c.keys)
		if !errors.Is(err, c.want) || (err == nil) != (by != "") {
			t.Errorf("%s: Verify() = %q, %v, want %v", c.name, by, err, c.want)
		}
	}
}

func TestParseIsStrict(t *testing.T) {
	good := line(id1, pluginSHA, signed1)
	many := ""
	for i := range MaxLines + 1 {
		many += line(fmt.Sprintf("%016x", i), pluginSHA, signed1)
	}
	for name, file := range map[string]string{
		"empty":               "",
		"a line end":          "\n",
		"a blank line":        good + "\n",
		"a blank line before": "\n" + good,
		"carriage returns":    strings.ReplaceAll(good, "\n", "\r\n"),
		"two spaces":          strings.Replace(good, " ", "  ", 1),
		"a tab":               strings.Replace(good, " ", "\t", 1),
		"a comment":           "# signed\n" + good,
		"more on the line":    strings.TrimSuffix(good, "\n") + " more\n",
		"another algorithm":   strings.Replace(good, "ed25519", "rsa", 1),
		"upper case":          line(strings.ToUpper(id1), pluginSHA, signed1),
		"upper-case digest":   line(id1, strings.ToUpper(pluginSHA), signed1),
		"a short id":          line(id1[:14], pluginSHA, signed1),
		"a short digest":      line(id1, pluginSHA[:62], signed1),
		"a short signature":   line(id1, pluginSHA, base64.StdEncoding.EncodeToString(make([]byte, 63))),
		"no padding":          line(id1, pluginSHA, strings.TrimRight(signed1, "=")),
		"loose padding bits":  line(id1, pluginSHA, strings.TrimSuffix(signed1, "w==")+"x=="),
		"URL base64":          line(id1, pluginSHA, strings.Repeat("_", 86)+"=="),
		"the same key twice":  good + good,
		"too many lines":      many,
		"NUL":                 strings.Replace(good, " ", "\x00", 1),
		"too long":            strings.Repeat("x", MaxFile+1),
	} {
		if lines, err := Parse([]byte(file)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Parse() = %v, %v, want %v", name, lines, err, ErrMalformed)
		}
	}
	if lines, err := Parse([]byte(strings.TrimSuffix(good, "\n"))); err != nil || len(lines) != 1 {
		t.Errorf("without a line end: Parse() = %v, %v", lines, err)
	}
}

func TestAddKeepsWhatSpeaksOfThisFile(t *testing.T) {
	digest, old := sha256.Sum256([]byte("plugin")), sha256.Sum256([]byte("the build before"))
	first, second := Sign(digest, private(t, seed1)), Sign(digest, private(t, seed2))
	file, err := Add(nil, Sign(old, private(t, seed1)))
	for _, l := range [][]byte{first, second, first} {
		if err == nil {
			file, err = Add(file, l)
		}
	}
	if want := string(second) + string(first); err != nil || string(file) != want {
		t.Errorf("Add() = %q, %v, want %q", file, err, want)
	}
	if _, err := Add([]byte("nonsense"), first); !errors.Is(err, ErrMalformed) {
		t.Errorf("Add() to nonsense = %v, want %v", err, ErrMalformed)
	}
	full := []byte{}
	for i := range MaxLines {
		full = append(full, line(fmt.Sprintf("%016x", i), pluginSHA, signed1)...)
	}
	if _, err := Add(full, first); err == nil {
		t.Error("Add() to a full file = nil")
	}
}

// FuzzParse holds that whatever is read has one spelling, and that what no believed key
// made is never believed.
func FuzzParse(f *testing.F) {
	digest := sha256.Sum256([]byte("plugin"))
	good := line(id1, pluginSHA, signed1)
	f.Add([]byte(good))
	f.Add([]byte(good + string(Sign(digest, private(f, seed2)))))
	f.Add([]byte("ed25519 "))
	f.Add(bytes.Repeat([]byte("\n"), MaxLines))
	stranger := []Key{key(f, "two", public2)}
	f.Fuzz(func(t *testing.T, file []byte) {
		lines, err := Parse(file)
		if err != nil {
			return
		}
		var again []byte
		for _, l := range lines {
			again = append(again, l.encode()...)
		}
		if strings.TrimSuffix(string(again), "\n") != strings.TrimSuffix(string(file), "\n") {
			t.Errorf("%q was read as %q", file, again)
		}
		if by, err := Verify(file, sha256.Sum256([]byte("never signed")), stranger); err == nil {
			t.Errorf("%q is believed to be signed by %s", file, by)
		}
	})
}
