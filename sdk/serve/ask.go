package serve

import (
	"context"
	"time"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// ask makes one request to the host and returns its reply. How, is the transport's; what
// is asked and how the reply is read, is here for both.
type ask func(ctx context.Context, request []byte) ([]byte, error)

func (a ask) kvGet(ctx context.Context, key string) (sdk.Entry, bool, error) {
	reply, err := a(ctx, wire.EncodeKey(key))
	if err != nil {
		return sdk.Entry{}, false, err
	}
	return wire.DecodeEntry(reply)
}

func (a ask) kvPut(ctx context.Context, key string, version int64, value []byte, ttl time.Duration) error {
	_, err := a(ctx, wire.EncodePut(wire.Put{Key: key, Value: value, TTL: ttl, Version: version}))
	return err
}

func (a ask) kvDelete(ctx context.Context, key string) error {
	_, err := a(ctx, wire.EncodeKey(key))
	return err
}

func (a ask) passwordHash(ctx context.Context, password string) (string, error) {
	reply, err := a(ctx, wire.EncodePassword(password))
	if err != nil {
		return "", err
	}
	return wire.DecodeHash(reply)
}

func (a ask) passwordVerify(ctx context.Context, hash, password string) (ok, stale bool, err error) {
	reply, err := a(ctx, wire.EncodeVerify(hash, password))
	if err != nil {
		return false, false, err
	}
	return wire.DecodeVerdict(reply)
}

func (a ask) passwordCommon(ctx context.Context, password string) (bool, error) {
	reply, err := a(ctx, wire.EncodePassword(password))
	if err != nil {
		return false, err
	}
	return wire.DecodeCommon(reply)
}

// log drops a record that the host does not take; the call goes on.
func (a ask) log(ctx context.Context, level sdk.Level, message string, args []string) {
	_, _ = a(ctx, wire.EncodeRecord(wire.Record{Level: level, Message: message, Args: args}))
}

func (a ask) fetch(ctx context.Context, r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
	reply, err := a(ctx, wire.EncodeFetch(r))
	if err != nil {
		return sdk.HTTPResponse{}, err
	}
	return wire.DecodeFetched(reply)
}

// result asks for something that is answered with a Result.
func (a ask) result(ctx context.Context, request []byte) ([]byte, error) {
	reply, err := a(ctx, request)
	if err != nil {
		return nil, err
	}
	return wire.DecodeResult(reply)
}

func (a ask) secret(ctx context.Context, name string) (string, bool, error) {
	reply, err := a(ctx, wire.EncodeSecretName(name))
	if err != nil {
		return "", false, err
	}
	return wire.DecodeSecret(reply)
}
