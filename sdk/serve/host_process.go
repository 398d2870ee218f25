//go:build !wasip1

package serve

import (
	"context"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
	"github.com/materi/shield/sdk/wire/rpc"
)

// gateway is the way to the gateway's services.
type gateway struct {
	ready chan struct{} // closed when conn is there
	conn  *grpc.ClientConn
}

func newGateway() *gateway { return &gateway{ready: make(chan struct{})} }

// dial waits for the gateway to say where its services are. The broker gives up after some
// seconds; the gateway may take longer.
func (g *gateway) dial(broker *goplugin.GRPCBroker) {
	for g.conn == nil {
		g.conn, _ = broker.DialWithOptions(rpc.Broker, grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(rpc.Codec()),
			grpc.MaxCallRecvMsgSize(wire.MaxMessage+rpc.Envelope),
			grpc.MaxCallSendMsgSize(wire.MaxMessage+rpc.Envelope)))
	}
	close(g.ready)
}

// host returns the [sdk.Host] of a call that came with ctx.
func (g *gateway) host(ctx context.Context) sdk.Host {
	return host{gateway: g, ctx: ctx, token: token(ctx)}
}

// host is the [sdk.Host] of one call. What is asked after the call ended fails.
type host struct {
	gateway *gateway
	ctx     context.Context // of the call
	token   string          // that the gateway gave to the call
}

// ask asks by a function of the gateway. It takes no longer than the call, whatever context
// the provider uses.
func (h host) ask(f wire.Function) ask {
	return func(ctx context.Context, request []byte) ([]byte, error) {
		if h.token == "" {
			return nil, sdk.ErrNotGranted
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(h.ctx, cancel)()
		select {
		case <-h.gateway.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		ctx = metadata.AppendToOutgoingContext(ctx, rpc.CallKey, h.token)
		reply, err := rpc.Ask(ctx, h.gateway.conn, rpc.FunctionPath(f), request)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return reply, rpc.Err(err)
	}
}

func (h host) KV() sdk.KV               { return kv{h} }
func (h host) Passwords() sdk.Passwords { return passwords{h} }
func (h host) HTTP() sdk.HTTP           { return web{h} }
func (h host) JWT() sdk.JWT             { return jwt{h} }
func (h host) XMLDSig() sdk.XMLDSig     { return xmldsig{h} }
func (h host) Secrets() sdk.Secrets     { return secrets{h} }

func (h host) Log(level sdk.Level, message string, args ...string) {
	h.ask(wire.LogWrite).log(h.ctx, level, message, args)
}

type kv struct{ host }

func (k kv) Get(ctx context.Context, key string) (sdk.Entry, bool, error) {
	return k.ask(wire.KVGet).kvGet(ctx, key)
}

func (k kv) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return k.ask(wire.KVSet).kvPut(ctx, key, 0, value, ttl)
}

func (k kv) CompareAndSet(ctx context.Context, key string, version int64, value []byte, ttl time.Duration) error {
	return k.ask(wire.KVCompareAndSet).kvPut(ctx, key, version, value, ttl)
}

func (k kv) Delete(ctx context.Context, key string) error {
	return k.ask(wire.KVDelete).kvDelete(ctx, key)
}

type passwords struct{ host }

func (p passwords) Hash(ctx context.Context, password string) (string, error) {
	return p.ask(wire.PasswordHash).passwordHash(ctx, password)
}

func (p passwords) Verify(ctx context.Context, hash, password string) (ok, stale bool, err error) {
	return p.ask(wire.PasswordVerify).passwordVerify(ctx, hash, password)
}

func (p passwords) Common(ctx context.Context, password string) (bool, error) {
	return p.ask(wire.PasswordCommon).passwordCommon(ctx, password)
}

type web struct{ host }

func (w web) Fetch(ctx context.Context, r sdk.HTTPRequest) (sdk.HTTPResponse, error) {
	return w.ask(wire.HTTPFetch).fetch(ctx, r)
}

type jwt struct{ host }

func (j jwt) Verify(ctx context.Context, v sdk.JWTVerification) ([]byte, error) {
	return j.ask(wire.JWTVerify).result(ctx, wire.EncodeJWTVerify(v))
}

func (j jwt) Sign(ctx context.Context, a sdk.JWTAssertion) (string, error) {
	token, err := j.ask(wire.JWTSign).result(ctx, wire.EncodeJWTSign(a))
	return string(token), err
}

type xmldsig struct{ host }

func (x xmldsig) Verify(ctx context.Context, v sdk.XMLVerification) ([]byte, error) {
	return x.ask(wire.XMLVerify).result(ctx, wire.EncodeXMLVerify(v))
}

func (x xmldsig) Sign(ctx context.Context, s sdk.XMLSigning) ([]byte, error) {
	return x.ask(wire.XMLSign).result(ctx, wire.EncodeSigning(wire.Signing{
		Data: s.Document, Secret: s.Secret, Certificate: s.Certificate, Namespace: s.Namespace, After: s.After,
	}))
}

func (x xmldsig) Decrypt(ctx context.Context, encrypted []byte, secret string) ([]byte, error) {
	return x.ask(wire.XMLDecrypt).result(ctx, wire.EncodeSigning(wire.Signing{Data: encrypted, Secret: secret}))
}

func (x xmldsig) SignBytes(ctx context.Context, algorithm string, data []byte, secret string) ([]byte, error) {
	s := wire.Signing{Data: data, Secret: secret, Algorithm: algorithm}
	return x.ask(wire.XMLSignBytes).result(ctx, wire.EncodeSigning(s))
}

func (x xmldsig) VerifyBytes(ctx context.Context, algorithm string, data, signature []byte, certificates [][]byte) error {
	s := wire.Signature{Data: data, Signature: signature, Certificates: certificates, Algorithm: algorithm}
	_, err := x.ask(wire.XMLVerifyBytes).result(ctx, wire.EncodeSignature(s))
	return err
}

type secrets struct{ host }

func (s secrets) Get(ctx context.Context, name string) (string, bool, error) {
	return s.ask(wire.SecretGet).secret(ctx, name)
}

func (s secrets) MAC(ctx context.Context, name string, message []byte) ([]byte, error) {
	return s.ask(wire.SecretMAC).result(ctx, wire.EncodeMAC(name, message))
}
