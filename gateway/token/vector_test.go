package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"strings"
	"testing"
)

// The key and the signature of RFC 7515 A.2.
func TestRFC7515RS256(t *testing.T) {
	public := rsaFromJWK(t, rfc7515RSAModulus, "AQAB")
	checkVector(t, "RS256", public, rfc7515RSAToken)
}

// The key and the signature of RFC 7515 A.3.
func TestRFC7515ES256(t *testing.T) {
	point := append([]byte{4}, decodeB64(t, "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")...)
	point = append(point, decodeB64(t, "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")...)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	checkVector(t, "ES256", public, "eyJhbGciOiJFUzI1NiJ9"+rfc7515Payload+
		".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
}

// The key and the signature of RFC 8037 A.4.
func TestRFC8037EdDSA(t *testing.T) {
	public := ed25519.PublicKey(decodeB64(t, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))
	checkVector(t, "EdDSA", public, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."+
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
}

// The key and the identifier of RFC 7638 §3.1.
func TestRFC7638Thumbprint(t *testing.T) {
	id, err := thumbprint(rsaFromJWK(t, rfc7638Modulus, "AQAB"))
	if want := "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; err != nil || id != want {
		t.Errorf("thumbprint() = %s, %v, want %s", id, err, want)
	}
}

// The public keys of RFC 7517 A.1.
func TestRFC7517KeySet(t *testing.T) {
	keys, skipped, err := parseJWKS([]byte(`{"keys":[
		{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
		 "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"},
		{"kty":"RSA","n":"`+rfc7638Modulus+`","e":"AQAB","alg":"RS256","kid":"2011-04-29"}]}`), []string{"RS256", "ES256"})
	if err != nil || skipped != 1 || len(keys) != 1 {
		t.Fatalf("parseJWKS() = %d keys, %d skipped, %v", len(keys), skipped, err)
	}
	public, ok := keys[keyName{"2011-04-29", "RS256"}].(*rsa.PublicKey)
	if !ok || b64(public.N.Bytes()) != rfc7638Modulus || public.E != 65537 {
		t.Errorf("key = %+v", public)
	}
}

func checkVector(t *testing.T, alg string, public any, raw string) {
	t.Helper()
	input, signature, err := splitSignature(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(alg, public, input, signature); err != nil {
		t.Errorf("verify: %v", err)
	}
	for i := range signature {
		signature[i] ^= 0x40
		if verify(alg, public, input, signature) == nil {
			t.Errorf("a signature with byte %d changed was accepted", i)
		}
		signature[i] ^= 0x40
	}
	if verify(alg, public, []byte(strings.ToUpper(string(input))), signature) == nil {
		t.Error("another input was accepted")
	}
}

const rfc7515Payload = ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

const rfc7515RSAModulus = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT" +
	"-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg" +
	"665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"

const rfc7515RSAToken = "eyJhbGciOiJSUzI1NiJ9" + rfc7515Payload +
	".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4" +
	"BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv" +
	"hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

const rfc7638Modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
	"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI" +
	"SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
