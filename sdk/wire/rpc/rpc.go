//go:build !wasip1

// Package rpc is what gateway and plugin agree on when the plugin is a process: how the
// messages of package wire travel over gRPC. It has the names of services and methods, the
// statuses that stand for errors, the codec, and what go-plugin's handshake needs. Both
// sides use it; a WASM module never links it.
package rpc

import (
	"context"
	"errors"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
)

// The handshake. The cookie keeps a plugin that somebody starts by hand from waiting for a
// gateway; it is no secret.
const (
	CookieKey   = "SHIELD_PLUGIN"
	CookieValue = "provider.v1"
	Plugin      = "provider" // go-plugin's name of the one plugin in a process
	Broker      = 1          // id under which go-plugin's broker has the services of the gateway
)

// CallKey is the metadata that ties a request to the gateway to the call that it is made
// for.
const CallKey = "shield-call"

// Envelope is what gRPC may need around a message.
const Envelope = 16 << 10

// pkg is the package of provider.proto.
const pkg = "shield.provider.v1."

// Provider is the service of the plugin.
const Provider = pkg + "Provider"

// Methods returns the methods of [Provider].
func Methods() []wire.Method {
	return []wire.Method{wire.Describe, wire.Configure, wire.Begin, wire.Continue, wire.Serve}
}

// Method returns the name of a method of [Provider] in provider.proto.
func Method(m wire.Method) string { return camel(m.String()) }

// Path returns what gRPC calls a method of [Provider].
func Path(m wire.Method) string { return "/" + Provider + "/" + Method(m) }

// Service returns the name of the service that has the functions of a capability.
func Service(c sdk.Capability) string {
	if c == sdk.CapabilityXMLDSig {
		return pkg + "XMLDSig"
	}
	return pkg + camel(string(c))
}

// Function returns the name of a function of the host in provider.proto.
func Function(f wire.Function) string { return camel(f.Name) }

// FunctionPath returns what gRPC calls a function of the host.
func FunctionPath(f wire.Function) string { return "/" + Service(f.Capability) + "/" + Function(f) }

// camel turns snake_case into the names of provider.proto.
func camel(snake string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(snake, "_") {
		if slices.Contains([]string{"kv", "http", "jwt", "mac"}, word) {
			b.WriteString(strings.ToUpper(word))
			continue
		}
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// Handler answers one request. Both are messages of package wire.
type Handler func(ctx context.Context, request []byte) ([]byte, error)

// Register adds a service to a server, with a handler for each of its methods. The server
// needs the codec of this package.
func Register(s grpc.ServiceRegistrar, service string, handlers map[string]Handler) {
	desc := grpc.ServiceDesc{ServiceName: service}
	for name, handle := range handlers {
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: name, Handler: adapt(handle)})
	}
	s.RegisterService(&desc, nil)
}

func adapt(handle Handler) grpc.MethodHandler {
	return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in []byte
		if err := decode(&in); err != nil {
			return nil, err
		}
		out, err := handle(ctx, in)
		if err != nil {
			return nil, err
		}
		return &out, nil
	}
}

// Ask makes one request over a connection that has the codec of this package.
func Ask(ctx context.Context, conn grpc.ClientConnInterface, path string, in []byte, opts ...grpc.CallOption) ([]byte, error) {
	var out []byte
	if err := conn.Invoke(ctx, path, &in, &out, opts...); err != nil {
		return nil, err
	}
	return out, nil
}

// statuses are the errors of the host's functions with what stands for them in gRPC.
var statuses = []struct {
	err  error
	code codes.Code
}{
	{sdk.ErrNotGranted, codes.Unimplemented},
	{sdk.ErrConflict, codes.Aborted},
	{sdk.ErrTooLarge, codes.OutOfRange},
	{wire.ErrMalformed, codes.InvalidArgument},
	{wire.ErrHost, codes.Internal},
	{sdk.ErrInvalid, codes.FailedPrecondition},
	{sdk.ErrDenied, codes.PermissionDenied},
	{sdk.ErrUnreachable, codes.Unavailable},
	{sdk.ErrExhausted, codes.ResourceExhausted},
}

// Status returns the status that stands for an error of a function of the host. Its text is
// that of the class: the reason stays in the host.
func Status(err error) error {
	if err == nil {
		return nil
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return status.Error(s.code, s.err.Error())
		}
	}
	return status.Error(codes.Internal, wire.ErrHost.Error())
}

// Err returns the error of a function of the host that a status stands for.
func Err(err error) error {
	if err == nil {
		return nil
	}
	code := status.Code(err)
	for _, s := range statuses {
		if s.code == code {
			return s.err
		}
	}
	return wire.ErrHost
}
