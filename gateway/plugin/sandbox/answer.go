package sandbox

import (
	"context"
	"errors"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// Answer returns a [Host] that serves requests by an [sdk.Host]: it decodes what is asked,
// asks h, and encodes what h said. It is the other end of package serve, whatever h is.
func Answer(h sdk.Host) Host { return answer{h} }

type answer struct{ host sdk.Host }

func (a answer) Serve(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	switch f.Capability {
	case sdk.CapabilityKV:
		return a.kv(ctx, f, in)
	case sdk.CapabilityPassword:
		return a.password(ctx, f, in)
	case sdk.CapabilityLog:
		return nil, a.log(f, in)
	case sdk.CapabilityHTTP:
		return a.http(ctx, f, in)
	case sdk.CapabilityJWT:
		return a.jwt(ctx, f, in)
	case sdk.CapabilityXMLDSig:
		return a.xml(ctx, f, in)
	case sdk.CapabilitySecret:
		return a.secret(ctx, f, in)
	}
	return nil, sdk.ErrNotGranted
}

func (a answer) kv(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	switch f {
	case wire.KVGet:
		key, err := wire.DecodeKey(in)
		if err != nil {
			return nil, err
		}
		entry, found, err := a.host.KV().Get(ctx, key)
		if err != nil {
			return nil, err
		}
		return wire.EncodeEntry(entry, found), nil
	case wire.KVDelete:
		key, err := wire.DecodeKey(in)
		if err != nil {
			return nil, err
		}
		return nil, a.host.KV().Delete(ctx, key)
	case wire.KVSet, wire.KVCompareAndSet:
		p, err := wire.DecodePut(in)
		if err != nil {
			return nil, err
		}
		if f == wire.KVSet {
			return nil, a.host.KV().Set(ctx, p.Key, p.Value, p.TTL)
		}
		return nil, a.host.KV().CompareAndSet(ctx, p.Key, p.Version, p.Value, p.TTL)
	}
	return nil, sdk.ErrNotGranted
}

func (a answer) password(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	switch f {
	case wire.PasswordHash:
		password, err := wire.DecodePassword(in)
		if err != nil {
			return nil, err
		}
		hash, err := a.host.Passwords().Hash(ctx, password)
		if err != nil {
			return nil, err
		}
		return wire.EncodeHash(hash), nil
	case wire.PasswordVerify:
		hash, password, err := wire.DecodeVerify(in)
		if err != nil {
			return nil, err
		}
		ok, stale, err := a.host.Passwords().Verify(ctx, hash, password)
		if err != nil {
			return nil, err
		}
		return wire.EncodeVerdict(ok, stale), nil
	case wire.PasswordCommon:
		password, err := wire.DecodePassword(in)
		if err != nil {
			return nil, err
		}
		common, err := a.host.Passwords().Common(ctx, password)
		if err != nil {
			return nil, err
		}
		return wire.EncodeCommon(common), nil
	}
	return nil, sdk.ErrNotGranted
}

func (a answer) log(f wire.Function, in []byte) error {
	if f != wire.LogWrite {
		return sdk.ErrNotGranted
	}
	r, err := wire.DecodeRecord(in)
	if err != nil {
		return err
	}
	a.host.Log(r.Level, r.Message, r.Args...)
	return nil
}

func (a answer) http(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	if f != wire.HTTPFetch {
		return nil, sdk.ErrNotGranted
	}
	r, err := wire.DecodeFetch(in)
	if err != nil {
		return nil, err
	}
	response, err := a.host.HTTP().Fetch(ctx, r)
	if err != nil {
		return nil, err
	}
	return wire.EncodeFetched(response), nil
}

func (a answer) jwt(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	switch f {
	case wire.JWTVerify:
		v, err := wire.DecodeJWTVerify(in)
		if err != nil {
			return nil, err
		}
		return result(a.host.JWT().Verify(ctx, v))
	case wire.JWTSign:
		s, err := wire.DecodeJWTSign(in)
		if err != nil {
			return nil, err
		}
		token, err := a.host.JWT().Sign(ctx, s)
		return result([]byte(token), err)
	}
	return nil, sdk.ErrNotGranted
}

func (a answer) xml(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	switch f {
	case wire.XMLVerify:
		v, err := wire.DecodeXMLVerify(in)
		if err != nil {
			return nil, err
		}
		return result(a.host.XMLDSig().Verify(ctx, v))
	case wire.XMLVerifyBytes:
		s, err := wire.DecodeSignature(in)
		if err != nil {
			return nil, err
		}
		return result(nil, a.host.XMLDSig().VerifyBytes(ctx, s.Algorithm, s.Data, s.Signature, s.Certificates))
	case wire.XMLSign, wire.XMLDecrypt, wire.XMLSignBytes:
		s, err := wire.DecodeSigning(in)
		if err != nil {
			return nil, err
		}
		return result(a.keyUse(ctx, f, s))
	}
	return nil, sdk.ErrNotGranted
}

func (a answer) keyUse(ctx context.Context, f wire.Function, s wire.Signing) ([]byte, error) {
	switch f {
	case wire.XMLSign:
		return a.host.XMLDSig().Sign(ctx, sdk.XMLSigning{
			Document: s.Data, Secret: s.Secret, Certificate: s.Certificate, Namespace: s.Namespace, After: s.After,
		})
	case wire.XMLDecrypt:
		return a.host.XMLDSig().Decrypt(ctx, s.Data, s.Secret)
	}
	return a.host.XMLDSig().SignBytes(ctx, s.Algorithm, s.Data, s.Secret)
}

func (a answer) secret(ctx context.Context, f wire.Function, in []byte) ([]byte, error) {
	switch f {
	case wire.SecretGet:
		name, err := wire.DecodeSecretName(in)
		if err != nil {
			return nil, err
		}
		value, found, err := a.host.Secrets().Get(ctx, name)
		if err != nil {
			return nil, err
		}
		return wire.EncodeSecret(value, found), nil
	case wire.SecretMAC:
		name, message, err := wire.DecodeMAC(in)
		if err != nil {
			return nil, err
		}
		return result(a.host.Secrets().MAC(ctx, name, message))
	}
	return nil, sdk.ErrNotGranted
}

// result encodes what was checked or signed. A refusal is a result, any other error is none.
func result(value []byte, err error) ([]byte, error) {
	if refused, ok := errors.AsType[*sdk.Refused](err); ok {
		return wire.EncodeResult(nil, refused), nil
	}
	if err != nil {
		return nil, err
	}
	return wire.EncodeResult(value, nil), nil
}
