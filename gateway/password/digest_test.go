package password

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

// The hashes were made by other implementations: argon2's reference tests, Python's
// hashlib, and libxcrypt.
func TestVerifyReadsHashesOfOtherSystems(t *testing.T) {
	phc := func(kind, params, salt, key string) string {
		raw, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		return "$" + kind + "$v=19$" + params + "$" + base64.RawStdEncoding.EncodeToString([]byte(salt)) + "$" + base64.RawStdEncoding.EncodeToString(raw)
	}
	id := phc("argon2id", "m=256,t=2,p=1", "somesalt", "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe")
	idLanes := phc("argon2id", "m=256,t=2,p=2", "somesalt", "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037")
	i := phc("argon2i", "m=256,t=2,p=1", "somesalt", "89e9029f4637b295beb027056a7336c414fadd43f6b208645281cb214a56452f")
	h, _ := hasher(t)
	for name, c := range map[string]struct{ hash, password string }{
		"argon2id":              {id, "password"},
		"argon2id, two lanes":   {idLanes, "password"},
		"argon2i":               {i, "password"},
		"Django argon2id":       {"argon2" + id, "password"},
		"Django argon2i":        {"argon2" + i, "password"},
		"Django PBKDF2":         {"pbkdf2_sha256$20000$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=", "lètmein"},
		"bcrypt 2b":             {"$2b$04$abcdefghijklmnopqrstuuanVo7Xut1CH8VGIGlz1JovQh9GJbbtG", "lètmein"},
		"bcrypt 2y of 72 bytes": {"$2y$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i", strings.Repeat("x", 72)},
		"Django bcrypt":         {"bcrypt$$2b$04$abcdefghijklmnopqrstuuanVo7Xut1CH8VGIGlz1JovQh9GJbbtG", "lètmein"},
		"Django bcrypt_sha256":  {"bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuulyx/yrfLnuLCi6gwFG5mrkJjuQKpL6S", "lètmein"},
	} {
		if ok, stale := verify(t, h, c.hash, c.password); !ok || !stale {
			t.Errorf("%s: Verify() = %v, stale %v, want true, stale true", name, ok, stale)
		}
		if ok, stale := verify(t, h, c.hash, c.password[1:]); ok || stale {
			t.Errorf("%s: Verify(wrong) = %v, stale %v, want false, false", name, ok, stale)
		}
	}
}

func TestVerifyTakesForeignHashesAsTheyWereMade(t *testing.T) {
	// Django hashes "lètmein" as its bytes came. The decomposed form is another password there.
	h, _ := hasher(t)
	hash := "pbkdf2_sha256$20000$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0="
	if ok, _ := verify(t, h, hash, "le\u0300tmein"); ok {
		t.Error("a foreign hash was checked with a changed password")
	}
}

func TestVerifyRefusesHashesOutOfBounds(t *testing.T) {
	salt, key := "c29tZXNhbHQ", "c29tZXNhbHRzb21lc2FsdA"
	h, _ := hasher(t)
	var log bytes.Buffer
	h.log = slog.New(slog.NewTextHandler(&log, nil))
	for name, hash := range map[string]string{
		"4 GiB":                     "$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + key,
		"memory over 32 bits":       "$argon2id$v=19$m=4294967304,t=1,p=1$" + salt + "$" + key,
		"passes":                    "$argon2id$v=19$m=64,t=4294967295,p=1$" + salt + "$" + key,
		"no passes":                 "$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key,
		"lanes":                     "$argon2id$v=19$m=65536,t=1,p=255$" + salt + "$" + key,
		"no lanes":                  "$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + key,
		"lanes over 8 bits":         "$argon2id$v=19$m=65536,t=1,p=257$" + salt + "$" + key,
		"less memory than lanes":    "$argon2id$v=19$m=8,t=1,p=2$" + salt + "$" + key,
		"negative":                  "$argon2id$v=19$m=-64,t=1,p=1$" + salt + "$" + key,
		"parameters in disorder":    "$argon2id$v=19$t=1,m=64,p=1$" + salt + "$" + key,
		"parameter too many":        "$argon2id$v=19$m=64,t=1,p=1,data=AA$" + salt + "$" + key,
		"old version":               "$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + key,
		"no version":                "$argon2id$m=64,t=1,p=1$" + salt + "$" + key,
		"argon2d":                   "$argon2d$v=19$m=64,t=1,p=1$" + salt + "$" + key,
		"empty key":                 "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$",
		"short key":                 "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$AAAA",
		"long key":                  "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + strings.Repeat("AAAA", 30),
		"empty salt":                "$argon2id$v=19$m=64,t=1,p=1$$" + key,
		"padded base64":             "$argon2id$v=19$m=64,t=1,p=1$" + salt + "=$" + key,
		"line break in base64":      "$argon2id$v=19$m=64,t=1,p=1$" + salt + "\n$" + key,
		"loose last bits":           "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHR$" + key,
		"bcrypt cost":               "$2b$31$abcdefghijklmnopqrstuuanVo7Xut1CH8VGIGlz1JovQh9GJbbtG",
		"bcrypt low cost":           "$2b$03$abcdefghijklmnopqrstuuanVo7Xut1CH8VGIGlz1JovQh9GJbbtG",
		"bcrypt of the faulty kind": "$2x$04$abcdefghijklmnopqrstuuanVo7Xut1CH8VGIGlz1JovQh9GJbbtG",
		"bcrypt too short":          "$2b$04$abcdefghijklmnopqrstuuanVo7Xut1CH8VGIGlz1JovQh9GJbbt",
		"bcrypt too long":           "$2b$04$abcdefghijklmnopqrstuuanVo7Xut1CH8VGIGlz1JovQh9GJbbtGG",
		"bcrypt not base64":         "$2b$04$abcdefghijklmnopqrst!!anVo7Xut1CH8VGIGlz1JovQh9GJbbtG",
		"pbkdf2 iterations":         "pbkdf2_sha256$4294967295$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=",
		"pbkdf2 no iterations":      "pbkdf2_sha256$0$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=",
		"pbkdf2 no salt":            "pbkdf2_sha256$1$$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=",
		"pbkdf2 no key":             "pbkdf2_sha256$1$seasalt$",
		"pbkdf2 a part too many":    "pbkdf2_sha256$1$sea$salt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=",
		"unsalted MD5":              "5f4dcc3b5aa765d61d8327deb882cf99",
		"plain text":                "hunter2",
		"plain text, Django style":  "plain$$password",
		"too long":                  strings.Repeat("$", maxHash+1),
	} {
		log.Reset()
		if ok, stale := verify(t, h, hash, "password"); ok || stale {
			t.Errorf("%s: Verify() = %v, stale %v, want false, false", name, ok, stale)
		}
		if name != "bcrypt not base64" && log.Len() == 0 { // bcrypt itself finds that one
			t.Errorf("%s: nothing in the log", name)
		}
		if strings.Contains(log.String(), hash) || strings.Contains(log.String(), "seasalt") || strings.Contains(log.String(), salt) {
			t.Errorf("%s: the log holds the hash: %s", name, log.String())
		}
	}
}

func TestVerifyCallsOtherCostsStale(t *testing.T) {
	h, _ := hasher(t)
	for _, c := range []cost{{own.memory * 2, own.passes, 1}, {own.memory, 1, 1}, {own.memory, own.passes, 2}} {
		d := digest{scheme: argon2id, own: true, cost: c, salt: make([]byte, saltBytes)}
		d.key = argon2.IDKey([]byte("password"), d.salt, c.passes, c.memory, c.lanes, keyBytes)
		if ok, stale := verify(t, h, d.phc(), "password"); !ok || !stale {
			t.Errorf("%s: Verify() = %v, stale %v, want true, stale true", d.phc(), ok, stale)
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, hash := range []string{
		"", "!", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA",
		"argon2$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA",
		"pbkdf2_sha256$1$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0=",
		"$2b$04$abcdefghijklmnopqrstuuanVo7Xut1CH8VGIGlz1JovQh9GJbbtG",
		"bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuulyx/yrfLnuLCi6gwFG5mrkJjuQKpL6S",
	} {
		f.Add(hash)
	}
	f.Fuzz(func(t *testing.T, hash string) {
		d, err := parse(hash)
		if err != nil {
			if hash != "" && len(hash) > 12 && strings.Contains(err.Error(), hash) {
				t.Errorf("the error tells the hash: %v", err)
			}
			return
		}
		if d.cost.memory > maxMemory || d.cost.passes > maxPasses || d.cost.lanes > maxLanes || d.iterations > maxIterations ||
			len(d.salt) > maxSalt || len(d.key) > maxKey {
			t.Errorf("parse(%q) is out of bounds: %+v", hash, d)
		}
		argon := d.scheme == argon2id || d.scheme == argon2i
		if argon && (d.cost.passes < 1 || d.cost.lanes < 1 || len(d.key) < minKey) {
			t.Errorf("parse(%q) would panic in argon2: %+v", hash, d)
		}
		if d.scheme == argon2id && d.own && d.phc() != hash {
			again, err := parse(d.phc())
			if err != nil || again.cost != d.cost || !bytes.Equal(again.key, d.key) {
				t.Errorf("parse(%q) does not survive writing: %v", hash, err)
			}
		}
	})
}
