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

// ask makes one call of the host and returns its reply.
func ask(function func(unsafe.Pointer, uint32) int32, request []byte) ([]byte, error) {
	n := function(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	if err := wire.Err(n); err != nil {
		return nil, err
	}
	return pull(n), nil
}

// host is the [sdk.Host] of a guest.
type host struct{}

func (host) KV() sdk.KV               { return kv{} }
func (host) Passwords() sdk.Passwords { return passwords{} }

func (host) Log(level sdk.Level, message string, args ...string) {
	// A record that the host does not take is lost; the call goes on.
	_, _ = ask(logWrite, wire.EncodeRecord(wire.Record{Level: level, Message: message, Args: args}))
}

type kv struct{}

func (kv) Get(_ context.Context, key string) (sdk.Entry, bool, error) {
	reply, err := ask(kvGet, wire.EncodeKey(key))
	if err != nil {
		return sdk.Entry{}, false, err
	}
	return wire.DecodeEntry(reply)
}

func (kv) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := ask(kvSet, wire.EncodePut(wire.Put{Key: key, Value: value, TTL: ttl}))
	return err
}

func (kv) CompareAndSet(_ context.Context, key string, version int64, value []byte, ttl time.Duration) error {
	put := wire.Put{Key: key, Value: value, TTL: ttl, Version: version}
	_, err := ask(kvCompareAndSet, wire.EncodePut(put))
	return err
}

func (kv) Delete(_ context.Context, key string) error {
	_, err := ask(kvDelete, wire.EncodeKey(key))
	return err
}

type passwords struct{}

func (passwords) Hash(_ context.Context, password string) (string, error) {
	reply, err := ask(passwordHash, wire.EncodePassword(password))
	if err != nil {
		return "", err
	}
	return wire.DecodeHash(reply)
}

func (passwords) Verify(_ context.Context, hash, password string) (ok, stale bool, err error) {
	reply, err := ask(passwordVerify, wire.EncodeVerify(hash, password))
	if err != nil {
		return false, false, err
	}
	return wire.DecodeVerdict(reply)
}

func (passwords) Common(_ context.Context, password string) (bool, error) {
	reply, err := ask(passwordCommon, wire.EncodePassword(password))
	if err != nil {
		return false, err
	}
	return wire.DecodeCommon(reply)
}
