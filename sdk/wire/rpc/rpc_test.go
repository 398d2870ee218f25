//go:build !wasip1

package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/materi/shield/sdk"
	"github.com/materi/shield/sdk/wire"
	"github.com/materi/shield/sdk/wire/rpc"
)

func schema(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{ImportPaths: []string{".."}}}
	files, err := c.Compile(context.Background(), "provider.proto")
	if err != nil {
		t.Fatalf("provider.proto: %v", err)
	}
	return files[0]
}

func TestNamesAreThoseOfTheContract(t *testing.T) {
	want := map[string]bool{}
	services := schema(t).Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			want["/"+string(services.Get(i).FullName())+"/"+string(methods.Get(j).Name())] = true
		}
	}
	got := map[string]bool{}
	for _, m := range rpc.Methods() {
		got[rpc.Path(m)] = true
	}
	for _, f := range wire.Functions() {
		got[rpc.FunctionPath(f)] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-provider.proto +package rpc):\n%s", diff)
	}
}

func TestErrorsCrossAsTheContractSays(t *testing.T) {
	for _, c := range []struct {
		err  error
		code codes.Code
		want error
	}{
		{sdk.ErrNotGranted, codes.Unimplemented, sdk.ErrNotGranted},
		{sdk.ErrConflict, codes.Aborted, sdk.ErrConflict},
		{sdk.ErrTooLarge, codes.OutOfRange, sdk.ErrTooLarge},
		{wire.ErrMalformed, codes.InvalidArgument, wire.ErrMalformed},
		{errors.New("password of the database is x"), codes.Internal, wire.ErrHost},
		{fmt.Errorf("key: %w", sdk.ErrInvalid), codes.FailedPrecondition, sdk.ErrInvalid},
		{sdk.ErrDenied, codes.PermissionDenied, sdk.ErrDenied},
		{sdk.ErrUnreachable, codes.Unavailable, sdk.ErrUnreachable},
		{sdk.ErrExhausted, codes.ResourceExhausted, sdk.ErrExhausted},
	} {
		s := rpc.Status(c.err)
		if status.Code(s) != c.code || !errors.Is(rpc.Err(s), c.want) {
			t.Errorf("Status(%v) = %v, and back %v; want %v and %v", c.err, s, rpc.Err(s), c.code, c.want)
		}
		if strings.Contains(s.Error(), "database") {
			t.Errorf("Status(%v) tells the reason: %v", c.err, s)
		}
	}
	if rpc.Status(nil) != nil || rpc.Err(nil) != nil {
		t.Error("no error becomes one")
	}
	if err := rpc.Err(status.Error(codes.Code(99), "?")); !errors.Is(err, wire.ErrHost) {
		t.Errorf("Err(unknown) = %v, want %v", err, wire.ErrHost)
	}
}

// serve starts a server with the codec and returns connections to it, with and without.
func serve(t *testing.T, handle rpc.Handler) (ours, theirs *grpc.ClientConn) {
	t.Helper()
	s := grpc.NewServer(grpc.ForceServerCodecV2(rpc.Codec()))
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	rpc.Register(s, rpc.Service(sdk.CapabilityKV), map[string]rpc.Handler{rpc.Function(wire.KVGet): handle})
	l := bufconn.Listen(1 << 20)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	connect := func(opts ...grpc.DialOption) *grpc.ClientConn {
		conn, err := grpc.NewClient("passthrough:///", append(opts,
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
			grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	return connect(grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rpc.Codec()))), connect()
}

func TestBytesPassAsTheyAre(t *testing.T) {
	ours, _ := serve(t, func(_ context.Context, in []byte) ([]byte, error) {
		if string(in) == "fail" {
			return nil, rpc.Status(sdk.ErrConflict)
		}
		return append(in, '!'), nil
	})
	ctx := context.Background()
	for _, text := range []string{"", "\xff\x00 no message at all", strings.Repeat("x", 300_000)} {
		got, err := rpc.Ask(ctx, ours, rpc.FunctionPath(wire.KVGet), []byte(text))
		if err != nil || string(got) != text+"!" {
			t.Errorf("asked %.20q: %.20q, %v", text, got, err)
		}
	}
	if _, err := rpc.Ask(ctx, ours, rpc.FunctionPath(wire.KVGet), []byte("fail")); !errors.Is(rpc.Err(err), sdk.ErrConflict) {
		t.Errorf("error %v, want %v", err, sdk.ErrConflict)
	}
	if _, err := rpc.Ask(ctx, ours, rpc.FunctionPath(wire.SecretGet), nil); !errors.Is(rpc.Err(err), sdk.ErrNotGranted) {
		t.Errorf("a service that is not there: error %v, want %v", err, sdk.ErrNotGranted)
	}
	if _, err := grpc_health_v1.NewHealthClient(ours).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("health over the same connection: %v", err)
	}
}

// TestAnyProtobufClientIsUnderstood asks with gRPC's own codec and messages that the
// protobuf library made from provider.proto, as a plugin in another language would.
func TestAnyProtobufClientIsUnderstood(t *testing.T) {
	_, theirs := serve(t, func(_ context.Context, in []byte) ([]byte, error) {
		key, err := wire.DecodeKey(in)
		return wire.EncodeEntry(sdk.Entry{Value: []byte("value of " + key), Version: 7}, true), err
	})
	method := schema(t).Services().ByName("KV").Methods().ByName("Get")
	in, out := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
	in.Set(method.Input().Fields().ByName("key"), protoreflect.ValueOfString("k"))
	path := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	if err := theirs.Invoke(context.Background(), path, proto.Message(in), proto.Message(out)); err != nil {
		t.Fatal(err)
	}
	value := out.Get(method.Output().Fields().ByName("value")).Bytes()
	version := out.Get(method.Output().Fields().ByName("version")).Int()
	if string(value) != "value of k" || version != 7 {
		t.Errorf("reply is %q, version %d", value, version)
	}
}

func TestCodecPassesOtherTypesOn(t *testing.T) {
	if _, err := rpc.Codec().Marshal(io.EOF); err == nil {
		t.Error("the codec took something that is no message")
	}
}
