package serve

import (
	"context"
	"time"
	"unsafe"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// Each import below is reached by one method alone, never through a table, so that the
// linker can drop those that the provider does not call.

//go:wasmimport shield_kv get
func kvGet(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_kv set
func kvSet(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_kv compare_and_set
func kvCompareAndSet(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_kv delete
func kvDelete(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_password hash
func passwordHash(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_password verify
func passwordVerify(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_password common
func passwordCommon(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_log write
func logWrite(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_http fetch
func httpFetch(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_jwt verify
func jwtVerify(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_jwt sign
func jwtSign(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_xmldsig verify
func xmlVerify(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_xmldsig sign
func xmlSign(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_xmldsig decrypt
func xmlDecrypt(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_xmldsig sign_bytes
func xmlSignBytes(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_xmldsig verify_bytes
func xmlVerifyBytes(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_secret get
func secretGet(p unsafe.Pointer, n uint32) int32

//go:wasmimport shield_secret mac
func secretMAC(p unsafe.Pointer, n uint32) int32

// through asks by a function of the host.
func through(function func(unsafe.Pointer, uint32) int32) ask {
	return func(_ context.Context, request []byte) ([]byte, error) {
		n := function(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
		if err := wire.Err(n); err != nil {
			return nil, err
		}
		return pull(n), nil
	}
}

// host is the [sdk.Host] of a guest. Its parts are types of their own, so that a provider
// links those alone that it calls.
type host struct{}

func (host) KV() sdk.KV               { return kv{} }
func (host) Passwords() sdk.Passwords { return passwords{} }
func (host) HTTP() sdk.HTTP           { return web{} }
func (host) JWT() sdk.JWT             { return jwt{} }
func (host) XMLDSig() sdk.XMLDSig     { return xmldsig{} }
func (host) Secrets() sdk.Secrets     { return secrets{} }

func (host) Log(level sdk.Level, message string, args ...string) {
	through(logWrite).log(context.Background(), level, message, args)
}

type kv struct{}

func (kv) Get(ctx context.Context, key string) (sdk.Entry, bool, error) {
	return through(kvGet).kvGet(ctx, key)
}

func (kv) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return through(kvSet).kvPut(ctx, key, 0, value, ttl)
}

func (kv) CompareAndSet(ctx context.Context, key string, version int64, value []byte, ttl time.Duration) error {
	return through(kvCompareAndSet).kvPut(ctx, key, version, value, ttl)
}

func (kv) Delete(ctx context.Context, key string) error {
	return through(kvDelete).kvDelete(ctx, key)
}

type passwords struct{}

func (passwords) Hash(ctx context.Context, password string) (string, error) {
	return through(passwordHash).passwordHash(ctx, password)
}

func (passwords) Verify(ctx context.Context, hash, password string) (ok, stale bool, err error) {
	return through(passwordVerify).passwordVerify(ctx, hash, password)
}

func (passwords) Common(ctx context.Context, password string) (bool, error) {
	return through(passwordCommon).passwordCommon(ctx, password)
}

type web struct{}

func (web) Fetch(ctx context.Context, r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
	return through(httpFetch).fetch(ctx, r)
}

type jwt struct{}

func (jwt) Verify(ctx context.Context, v sdk.JWTVerification) ([]byte, error) {
	return through(jwtVerify).result(ctx, wire.EncodeJWTVerify(v))
}

func (jwt) Sign(ctx context.Context, a sdk.JWTAssertion) (string, error) {
	token, err := through(jwtSign).result(ctx, wire.EncodeJWTSign(a))
	return string(token), err
}

type xmldsig struct{}

func (xmldsig) Verify(ctx context.Context, v sdk.XMLVerification) ([]byte, error) {
	return through(xmlVerify).result(ctx, wire.EncodeXMLVerify(v))
}

func (xmldsig) Sign(ctx context.Context, s sdk.XMLSigning) ([]byte, error) {
	return through(xmlSign).result(ctx, wire.EncodeSigning(wire.Signing{
		Data: s.Document, Secret: s.Secret, Certificate: s.Certificate, Namespace: s.Namespace, After: s.After,
	}))
}

func (xmldsig) Decrypt(ctx context.Context, encrypted []byte, secret string) ([]byte, error) {
	return through(xmlDecrypt).result(ctx, wire.EncodeSigning(wire.Signing{Data: encrypted, Secret: secret}))
}

func (xmldsig) SignBytes(ctx context.Context, algorithm string, data []byte, secret string) ([]byte, error) {
	return through(xmlSignBytes).result(ctx, wire.EncodeSigning(wire.Signing{Data: data, Secret: secret, Algorithm: algorithm}))
}

func (xmldsig) VerifyBytes(ctx context.Context, algorithm string, data, signature []byte, certificates [][]byte) error {
	s := wire.Signature{Data: data, Signature: signature, Certificates: certificates, Algorithm: algorithm}
	_, err := through(xmlVerifyBytes).result(ctx, wire.EncodeSignature(s))
	return err
}

type secrets struct{}

func (secrets) Get(ctx context.Context, name string) (string, bool, error) {
	return through(secretGet).secret(ctx, name)
}

func (secrets) MAC(ctx context.Context, name string, message []byte) ([]byte, error) {
	return through(secretMAC).result(ctx, wire.EncodeMAC(name, message))
}
